//! What CLUES, on the front end of an elastic cluster, asks for: VMs of worker nodes.
//!
//! The real CLUES sends the whole template with a count that is one higher and the node's name in
//! it (`_get_template` of CLUES' `cluesplugins/im.py`); here it is a call, with the same outcome.

use std::sync::{Arc, Weak};

use super::state::{Infrastructure, Vm};
use super::{Inner, change, life};
use crate::machines::{WorkerVm, Workers};

/// The system of worker nodes.
const WORKER: &str = "wn";

const GONE: &str = "Invalid infrastructure ID or access not granted.";

/// Calls into a server as long as it runs.
pub(super) struct Elastic(pub(super) Weak<Inner>);

/// The name of the node that runs on a VM.
pub(super) fn node_name(infrastructure: &Infrastructure, vm: &Vm) -> Option<String> {
    if infrastructure.is_dummy() || vm.system != WORKER {
        return None;
    }
    let first = || format!("wn{}", vm.number);
    Some(vm.node.clone().unwrap_or_else(first))
}

impl Elastic {
    fn server(&self) -> Result<Arc<Inner>, String> {
        let server = self.0.upgrade();
        server.ok_or_else(|| "Connection refused".to_owned())
    }
}

impl Workers for Elastic {
    fn add(&self, infrastructure: &str, node: &str) -> Result<u32, String> {
        let im = self.server()?;
        let added = life::change(&im, infrastructure, |i| {
            let number = i.add_vm(WORKER);
            if let Some(vm) = i.vms.last_mut() {
                vm.node = Some(node.to_owned());
            }
            i.adding = true;
            (number, i.cloud.clone())
        });
        let (number, cloud) = added.ok_or(GONE)?;
        life::launch(&im, infrastructure.to_owned(), cloud);
        Ok(number)
    }

    fn remove(&self, infrastructure: &str, vm: u32) -> Result<(), String> {
        let im = self.server()?;
        let removed = life::change(&im, infrastructure, |i| change::remove(i, &vm.to_string()));
        match removed.ok_or(GONE)? {
            Ok(()) => Ok(()),
            Err(_failure) => Err("Invalid VM ID".to_owned()),
        }
    }

    fn list(&self, infrastructure: &str) -> Vec<WorkerVm> {
        let Ok(im) = self.server() else {
            return Vec::new();
        };
        let state = im.state.read();
        let Some(found) = state.infrastructures.get(infrastructure) else {
            return Vec::new();
        };
        let of = |vm: &Vm| {
            let node = node_name(found, vm)?;
            let state = vm.state.word().to_owned();
            Some(WorkerVm {
                number: vm.number,
                node,
                state,
            })
        };
        found.vms.iter().filter_map(of).collect()
    }
}
