//! Changes of a running infrastructure: other numbers of VMs, power, removal.

use std::sync::Arc;

use serde_json::Value;

use super::Inner;
use super::answer::{Failure, NO_SUCH_VM};
use super::auth::Cloud;
use super::design::Design;
use super::state::{Infrastructure, VmState};
use super::{life, tosca};

/// What an update did.
pub(super) struct Updated {
    pub(super) added: Vec<u32>,
    pub(super) removed: usize,
}

/// Merges a template into an infrastructure and makes the numbers of VMs fit.
pub(super) fn update(
    infrastructure: &mut Infrastructure,
    sent: Design,
) -> Result<Updated, Failure> {
    let merged = match (&infrastructure.design.tosca, sent.tosca) {
        (Some(old), Some(new)) => {
            let mut document = old.clone();
            tosca::merge(&mut document, &new);
            tosca::design(document).map_err(Failure::Bad)?
        }
        (None, Some(new)) => tosca::design(new).map_err(Failure::Bad)?,
        // RADL names what is to be added.
        (_, None) => {
            let mut design = infrastructure.design.clone();
            design.systems.extend(sent.systems);
            design
        }
    };
    let mut updated = Updated {
        added: Vec::new(),
        removed: 0,
    };
    for system in &merged.systems {
        let before = infrastructure.vms.len();
        infrastructure
            .vms
            .retain(|vm| vm.system != system.name || !system.removal_list.contains(&vm.number));
        let of_system = |vm: &&super::state::Vm| vm.system == system.name;
        while infrastructure.vms.iter().filter(of_system).count() > system.count {
            // IM takes the oldest away first.
            let Some(at) = infrastructure.vms.iter().position(|vm| of_system(&vm)) else {
                break;
            };
            infrastructure.vms.remove(at);
        }
        updated.removed += before - infrastructure.vms.len();
        while infrastructure.vms.iter().filter(of_system).count() < system.count {
            updated.added.push(infrastructure.add_vm(&system.name));
        }
    }
    infrastructure.design = merged;
    infrastructure.adding = !updated.added.is_empty();
    Ok(updated)
}

/// Lets the changes of an update take place.
pub(super) fn after_update(
    im: &Arc<Inner>,
    id: &str,
    cloud: Option<Cloud>,
    updated: &Updated,
    context: bool,
) {
    if !updated.added.is_empty() {
        life::launch(im, id.to_owned(), cloud);
    } else if context {
        life::configure(im, id.to_owned());
    }
}

/// Removes VMs by a list of numbers such as `1,3`.
pub(super) fn remove(infrastructure: &mut Infrastructure, list: &str) -> Result<(), Failure> {
    let mut numbers = Vec::new();
    for word in list.split(',') {
        let number: u32 = word.parse().map_err(|_not_a_number| NO_SUCH_VM)?;
        if infrastructure.vm(number).is_none() {
            return Err(if number < infrastructure.next_vm {
                Failure::Missing("Deleted VM.")
            } else {
                NO_SUCH_VM
            });
        }
        numbers.push(number);
    }
    infrastructure
        .vms
        .retain(|vm| !numbers.contains(&vm.number));
    Ok(())
}

/// `start`, `stop` or `reboot` of one VM or of all.
pub(super) fn power(
    infrastructure: &mut Infrastructure,
    number: Option<u32>,
    word: &str,
) -> Result<(), Failure> {
    if number.is_some_and(|number| infrastructure.vm(number).is_none()) {
        return Err(NO_SUCH_VM);
    }
    for vm in &mut infrastructure.vms {
        if number.is_some_and(|number| number != vm.number) {
            continue;
        }
        match (word, vm.state) {
            ("stop", VmState::Running | VmState::Configured | VmState::Unconfigured) => {
                vm.state = VmState::Stopped;
            }
            ("start", VmState::Stopped) => vm.state = VmState::Configured,
            (_, _) => {}
        }
    }
    Ok(())
}

/// The outputs of the template as they are now.
pub(super) fn outputs(infrastructure: &Infrastructure) -> Option<Value> {
    let document = infrastructure.design.tosca.as_ref()?;
    let front = infrastructure.vm(0);
    let address = front.and_then(|vm| vm.public_address.clone());
    let login = front.and_then(|vm| {
        let user = vm.user.clone()?;
        match (&vm.private_key, &vm.password) {
            (Some(key), _) => Some((user, key.clone(), "private_key")),
            (None, Some(password)) => Some((user, password.clone(), "password")),
            (None, None) => None,
        }
    });
    let configured = front.is_some_and(|vm| vm.state == VmState::Configured);
    let kubeconfig = address.as_ref().filter(|_| configured).map(|address| {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: kubernetes\n  cluster:\n    \
             server: https://{address}:6443\n"
        )
    });
    let facts = tosca::Facts {
        public_address: address,
        login,
        kubeconfig,
        inputs: &infrastructure.design.inputs,
    };
    Some(Value::Object(tosca::outputs(document, &facts)))
}
