//! What CLUES, on the front end of an elastic cluster, asks for: VMs of worker nodes.
//!
//! The real CLUES sends the whole template with a count that is one higher and the node's name in
//! it (`_get_template` of CLUES' `cluesplugins/im.py`); here it is a call, with the same outcome.

use std::sync::{Arc, Weak};

use super::auth::{self, Refusal};
use super::state::{Infrastructure, Vm};
use super::{Inner, life, site};
use crate::machines::{Refused, WorkerVm, Workers};

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

fn bad_request(text: impl Into<String>) -> Refused {
    Refused {
        reason: "Bad Request",
        text: text.into(),
    }
}

/// Whether whoever has this token may act on the infrastructure.
fn admits(im: &Inner, infrastructure: &str, token: Option<&str>) -> Result<(), Refused> {
    let Some(token) = token else {
        return Ok(());
    };
    let owner = auth::token_owner(token, im.checkin.as_deref()).map_err(|refusal| {
        let text = match refusal {
            Refusal::NoHeader => "No authentication data provided".to_owned(),
            Refusal::Invalid(text) | Refusal::Other(text) => text,
        };
        Refused {
            reason: "Unauthorized",
            text,
        }
    })?;
    let state = im.state.read();
    let found = state.infrastructures.get(infrastructure);
    let found = found.ok_or_else(|| bad_request(GONE))?;
    // Accounts that were let in by name have no password.
    let is_owner = found.owners.iter().any(|o| o.username == owner.username);
    is_owner.then_some(()).ok_or_else(|| Refused {
        reason: "Forbidden",
        text: "Access to this infrastructure not granted.".to_owned(),
    })
}

impl Elastic {
    fn server(&self) -> Result<Arc<Inner>, Refused> {
        let server = self.0.upgrade();
        server.ok_or_else(|| bad_request("Connection refused"))
    }
}

impl Workers for Elastic {
    fn add(&self, infrastructure: &str, node: &str, token: Option<&str>) -> Result<u32, Refused> {
        let im = self.server()?;
        admits(&im, infrastructure, token)?;
        let number = {
            let mut state = im.state.change();
            let found = state.infrastructures.get(infrastructure);
            let found = found.ok_or_else(|| bad_request(GONE))?;
            if let Some(text) = site::no_room_for(&state, found, WORKER) {
                let id = found.cloud.as_ref().map_or("egi", |cloud| &cloud.id);
                return Err(bad_request(format!(
                    "Error adding resources: Error launching the VMs of type {WORKER} to cloud ID \
                     {id} of type OpenStack. {text}"
                )));
            }
            let found = state.infrastructures.get_mut(infrastructure);
            let found = found.ok_or_else(|| bad_request(GONE))?;
            let number = found.add_vm(WORKER);
            if let Some(vm) = found.vms.last_mut() {
                vm.node = Some(node.to_owned());
            }
            found.adding = true;
            number
        };
        life::launch_worker(&im, infrastructure.to_owned(), number);
        Ok(number)
    }

    fn remove(&self, infrastructure: &str, vm: u32, token: Option<&str>) -> Result<(), Refused> {
        let im = self.server()?;
        admits(&im, infrastructure, token)?;
        let removed = life::change(&im, infrastructure, |i| {
            i.vms.retain(|one| one.number != vm);
        });
        removed.ok_or_else(|| bad_request(GONE))
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
