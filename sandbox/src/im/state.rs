//! What the server remembers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::InfrastructureView;
use super::auth::{Cloud, CloudKind, Owner};
use super::design::Design;

#[derive(Default, Serialize, Deserialize)]
pub(super) struct ImState {
    /// By id; deleted ones are gone.
    pub(super) infrastructures: BTreeMap<String, Infrastructure>,
    pub(super) created: u64,
    pub(super) deleted: u64,
    pub(super) reconfigured: u64,
    /// What others use of a site, and the limit, by resource.
    pub(super) quotas: BTreeMap<String, (f64, f64)>,
}

/// The state of a VM, in IM's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum VmState {
    Pending,
    Running,
    Configured,
    Unconfigured,
    Stopped,
    Failed,
}

impl VmState {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Configured => "configured",
            Self::Unconfigured => "unconfigured",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Vm {
    pub(super) number: u32,
    /// The name of its system.
    pub(super) system: String,
    /// The name of the node, if it was added for one.
    #[serde(default)]
    pub(super) node: Option<String>,
    pub(super) state: VmState,
    /// The address on its private network.
    pub(super) private_address: Option<String>,
    pub(super) public_address: Option<String>,
    pub(super) user: Option<String>,
    pub(super) private_key: Option<String>,
    pub(super) password: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Infrastructure {
    /// Counts up with each create.
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) owners: Vec<Owner>,
    pub(super) design: Design,
    /// Where it runs; `None` if the header named no cloud.
    pub(super) cloud: Option<Cloud>,
    pub(super) vms: Vec<Vm>,
    pub(super) next_vm: u32,
    /// The contextualisation log.
    pub(super) contmsg: String,
    /// Whether machines are being added: it can't be deleted then.
    pub(super) adding: bool,
    pub(super) deleting: bool,
    /// Whether no cloud could take it.
    pub(super) failed: bool,
    pub(super) configured: u32,
    /// Counts up with each configuration, so that an older one knows that it is over.
    pub(super) configuration: u64,
    /// When it was created; absent after a restart, by when it has long been taken in.
    #[serde(skip)]
    pub(super) created_at: Option<Instant>,
}

impl Infrastructure {
    /// The state of the whole (`GetInfrastructureState` of IM 2.0.0).
    pub(super) fn state(&self) -> &'static str {
        if self.deleting {
            return "deleting";
        }
        let any = |state| self.vms.iter().any(|vm| vm.state == state);
        let order = [
            VmState::Failed,
            VmState::Pending,
            VmState::Running,
            VmState::Unconfigured,
            VmState::Stopped,
            VmState::Configured,
        ];
        match order.into_iter().find(|state| any(*state)) {
            Some(state) => state.word(),
            None if self.failed => "failed",
            None if self.adding => "pending",
            None => "unknown",
        }
    }

    /// Whether the list shows it, which it does this long after the create.
    pub(super) fn is_listed(&self, after: Duration) -> bool {
        self.created_at.is_none_or(|at| at.elapsed() >= after)
    }

    pub(super) fn is_dummy(&self) -> bool {
        self.cloud
            .as_ref()
            .is_some_and(|c| c.kind == CloudKind::Dummy)
    }

    pub(super) fn vm(&self, number: u32) -> Option<&Vm> {
        self.vms.iter().find(|vm| vm.number == number)
    }

    /// Whether a machine other than the front end was not configured.
    pub(super) fn has_unconfigured_workers(&self) -> bool {
        let is_broken = |vm: &Vm| vm.number != 0 && vm.state == VmState::Unconfigured;
        self.vms.iter().any(is_broken)
    }

    pub(super) fn vm_mut(&mut self, number: u32) -> Option<&mut Vm> {
        self.vms.iter_mut().find(|vm| vm.number == number)
    }

    pub(super) fn set_all(&mut self, from: &[VmState], to: VmState) {
        for vm in self.vms.iter_mut().filter(|vm| from.contains(&vm.state)) {
            vm.state = to;
        }
    }

    /// Cores, memory in GiB, machines and public addresses of the VMs that there are.
    pub(super) fn needs(&self) -> [(&'static str, f64); 4] {
        let mut design = self.design.clone();
        for system in &mut design.systems {
            let takes_room = |vm: &&Vm| vm.system == system.name && vm.state != VmState::Failed;
            system.count = self.vms.iter().filter(takes_room).count();
        }
        design.needs()
    }

    /// A new VM of a system.
    pub(super) fn add_vm(&mut self, system: &str) -> u32 {
        let number = self.next_vm;
        self.next_vm += 1;
        self.vms.push(Vm {
            number,
            system: system.to_owned(),
            node: None,
            state: VmState::Pending,
            private_address: None,
            public_address: None,
            user: None,
            private_key: None,
            password: None,
        });
        number
    }

    pub(super) fn view(&self) -> InfrastructureView {
        InfrastructureView {
            id: self.id.clone(),
            name: self.design.name.clone(),
            state: self.state().to_owned(),
            vms: self
                .vms
                .iter()
                .map(|vm| (vm.number, vm.state.word().to_owned()))
                .collect(),
            address: self.vm(0).and_then(|vm| vm.public_address.clone()),
            inputs: self.design.inputs.clone(),
            owners: self.owners.iter().map(|o| o.username.clone()).collect(),
            configured: self.configured,
        }
    }
}
