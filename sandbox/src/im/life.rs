//! What becomes of an infrastructure over time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::auth::Cloud;
use super::state::{Infrastructure, VmState};
use super::{Inner, Mishap, log, site};
use crate::machines::{Machine, MachineRequest};

/// Runs a task until the server ends.
fn spawn(im: &Arc<Inner>, task: impl Future<Output = ()> + Send + 'static) {
    let ended = im.ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = task => {}
        }
    });
}

/// Continues everything that was under way when the server stopped.
pub(super) fn resume(im: &Arc<Inner>) {
    let known: Vec<(String, Option<Cloud>, &'static str)> = im
        .state
        .read()
        .infrastructures
        .values()
        .map(|i| (i.id.clone(), i.cloud.clone(), i.state()))
        .collect();
    for (id, cloud, state) in known {
        match state {
            "pending" => launch(im, id, cloud),
            "deleting" => delete(im, id),
            _ => {
                let im_again = Arc::clone(im);
                let again = state == "running";
                spawn(im, async move {
                    if let Err(error) = start_machine(&im_again, &id).await {
                        tracing::warn!(error = format!("{error:#}"), id, "no front end");
                    }
                    if again {
                        configure(&im_again, id);
                    }
                });
            }
        }
    }
}

/// Lets the cloud start the machines, then configures them. The cloud comes with its token, which
/// IM does not keep.
pub(super) fn launch(im: &Arc<Inner>, id: String, cloud: Option<Cloud>) {
    let task_im = Arc::clone(im);
    spawn(im, async move {
        let im = task_im;
        let Some(cloud) = cloud else {
            let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S%.6f");
            change(&im, &id, |i| {
                i.vms.clear();
                i.contmsg = format!("{now}: No cloud provider available\n");
                i.failed = true;
                i.adding = false;
            });
            return;
        };
        if im.take_mishap(|m| *m == Mishap::StaysPending).is_some() {
            change(&im, &id, |i| i.adding = false);
            return;
        }
        let dummy = change(&im, &id, |i| i.is_dummy()).unwrap_or(true);
        if !dummy {
            tokio::time::sleep(im.speed().pending).await;
        }
        let failed = im.take_mishap(|m| matches!(m, Mishap::LaunchFails(_)));
        let refused = match failed {
            Some(Mishap::LaunchFails(text)) => Some(text),
            Some(Mishap::StaysPending | Mishap::ConfigureFails | Mishap::WorkerFails(_)) | None => {
                let design = change(&im, &id, |i| i.design.clone());
                design.and_then(|design| site::refusal(&im, &cloud, &design))
            }
        };
        let started = match refused {
            Some(text) => Err(anyhow::anyhow!(text)),
            None => start_machine(&im, &id).await,
        };
        match started {
            Ok(()) => {
                change(&im, &id, |i| {
                    i.set_all(&[VmState::Pending], VmState::Running);
                    i.adding = false;
                });
                configure(&im, id);
            }
            Err(error) => {
                change(&im, &id, |i| {
                    launch_failed(i, &cloud, &format!("{error:#}"));
                });
            }
        }
    });
}

/// Lets the cloud start one more worker and configures it; the other machines go on meanwhile.
pub(super) fn launch_worker(im: &Arc<Inner>, id: String, number: u32) {
    let task_im = Arc::clone(im);
    spawn(im, async move {
        let im = task_im;
        let stays = im.take_mishap(|m| *m == Mishap::StaysPending).is_some();
        if !stays {
            tokio::time::sleep(im.speed().pending).await;
        }
        let mishap = im.take_mishap(|m| matches!(m, Mishap::LaunchFails(_)));
        let runs = change(&im, &id, |i| {
            let before = i.vm(number).map(|vm| vm.state);
            let after = match &mishap {
                Some(_) => VmState::Failed,
                None if stays => VmState::Pending,
                None => VmState::Running,
            };
            note_worker(i, number, after);
            i.adding = !stays && i.vms.iter().any(|vm| vm.state == VmState::Pending);
            before == Some(VmState::Pending) && after == VmState::Running
        });
        if runs != Some(true) {
            return;
        }
        tokio::time::sleep(im.speed().configuring).await;
        let is_mine = |m: &Mishap| *m == Mishap::WorkerFails(id.clone());
        let fails = im.take_mishap(is_mine).is_some();
        change(&im, &id, |i| {
            let (state, word) = if fails {
                (VmState::Unconfigured, "fatal: FAILED!")
            } else {
                (VmState::Configured, "ok")
            };
            note_worker(i, number, state);
            let node = format!("vnode-{number}");
            i.contmsg.push_str(&log::worker(&node, word));
        });
    });
}

/// Notes what became of a worker, if it is still there.
fn note_worker(infrastructure: &mut Infrastructure, number: u32, state: VmState) {
    let front = infrastructure.vm(0);
    let (user, key) = front.map_or((None, None), |front| {
        (front.user.clone(), front.private_key.clone())
    });
    if let Some(vm) = infrastructure.vm_mut(number) {
        vm.state = state;
        vm.private_address = Some(format!("10.0.0.{}", 10 + number % 200));
        vm.user = user;
        vm.private_key = key;
    }
}

/// Configures the workers whose configuration failed.
pub(super) fn heal_workers(im: &Inner, id: &str) {
    change(im, id, |i| {
        let broken =
            |vm: &&mut super::state::Vm| vm.number != 0 && vm.state == VmState::Unconfigured;
        for vm in i.vms.iter_mut().filter(broken) {
            vm.state = VmState::Configured;
        }
    });
}

fn launch_failed(infrastructure: &mut Infrastructure, cloud: &Cloud, text: &str) {
    infrastructure.set_all(&[VmState::Pending], VmState::Failed);
    infrastructure.adding = false;
    let systems: Vec<&str> = infrastructure
        .vms
        .iter()
        .map(|vm| vm.system.as_str())
        .collect();
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S%.6f");
    let mut lines = String::new();
    for system in systems {
        lines.push_str(&format!(
            "{now}: Error launching the VMs of type {system} to cloud ID {} of type OpenStack. \
             {text}\n",
            cloud.id
        ));
    }
    infrastructure.contmsg.push_str(&lines);
}

/// Starts the machine of the front end (again) and notes its address and key.
async fn start_machine(im: &Inner, id: &str) -> anyhow::Result<()> {
    let request = change(im, id, |i| {
        let failed = i.failed || i.vm(0).is_some_and(|vm| vm.state == VmState::Failed);
        let wanted = !i.is_dummy() && !i.vms.is_empty() && !failed;
        wanted.then(|| MachineRequest {
            infrastructure: i.id.clone(),
            inputs: i.design.inputs.clone(),
        })
    });
    let machine = match request.flatten() {
        Some(request) => Some(im.machines.start(request).await?),
        None => None,
    };
    change(im, id, |i| note_machine(i, machine.as_ref()));
    Ok(())
}

fn note_machine(infrastructure: &mut Infrastructure, machine: Option<&Machine>) {
    for vm in &mut infrastructure.vms {
        match machine {
            None => {
                vm.private_address = Some("10.0.0.1".to_owned());
                vm.user = Some("username".to_owned());
                vm.password = Some("password".to_owned());
            }
            Some(machine) => {
                vm.private_address = Some(format!("10.0.0.{}", 10 + vm.number % 200));
                vm.user = Some(machine.user.clone());
                vm.private_key = Some(machine.private_key.clone());
                if vm.number == 0 {
                    vm.public_address = Some(machine.address.to_string());
                }
            }
        }
    }
}

/// Configures the machines (again): the log grows, then they are `configured`.
pub(super) fn configure(im: &Arc<Inner>, id: String) {
    let task_im = Arc::clone(im);
    spawn(im, async move {
        if let Err(error) = configuring(&task_im, &id).await {
            tracing::warn!(error = format!("{error:#}"), id, "configuring failed");
            change(&task_im, &id, |i| {
                i.set_all(&[VmState::Running], VmState::Unconfigured);
            });
        }
    });
}

async fn configuring(im: &Inner, id: &str) -> anyhow::Result<()> {
    const ALL: [VmState; 3] = [VmState::Configured, VmState::Unconfigured, VmState::Running];
    let begun = change(im, id, |i| {
        i.configuration += 1;
        if i.is_dummy() {
            i.contmsg = "Contextualization disabled by the RADL/TOSCA template.\n\n".to_owned();
            i.set_all(&ALL, VmState::Configured);
            i.configured += 1;
            return None;
        }
        i.set_all(&ALL, VmState::Running);
        i.contmsg = log::head();
        Some(i.configuration)
    });
    let Some(configuration) = begun.flatten() else {
        return Ok(());
    };
    let fails = im.take_mishap(|m| *m == Mishap::ConfigureFails).is_some();
    let pieces = log::pieces(fails);
    let pause = im.speed().configuring / u32::try_from(pieces.len()).unwrap_or(1);
    for piece in pieces {
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
        let goes_on = change(im, id, |i| {
            i.contmsg.push_str(&piece);
            i.configuration == configuration && !i.deleting
        });
        if goes_on != Some(true) {
            return Ok(());
        }
    }
    if fails {
        change(im, id, |i| {
            i.set_all(&[VmState::Running], VmState::Unconfigured);
        });
        return Ok(());
    }
    let found = change(im, id, |i| {
        let address = i.vm(0).and_then(|vm| vm.public_address.clone());
        let inputs = i.design.inputs.clone();
        (i.design.host().map(str::to_owned), address, inputs)
    });
    let Some((host, address, inputs)) = found else {
        return Ok(());
    };
    im.machines.template_is(id, &inputs);
    let address: Option<IpAddr> = address.and_then(|address| address.parse().ok());
    let points_here = match (&im.dns, &host) {
        (Some(dns), Some(host)) => address.is_some() && dns.lookup(host) == address,
        (Some(_) | None, _) => false,
    };
    im.machines
        .configured(id, host.as_deref(), points_here)
        .await?;
    change(im, id, |i| {
        if let Some(host) = &host {
            i.contmsg.push_str(&log::certificate(host, points_here));
        }
        i.set_all(&[VmState::Running], VmState::Configured);
        i.configured += 1;
    });
    Ok(())
}

/// Stops the machines, then forgets the infrastructure.
pub(super) fn delete(im: &Arc<Inner>, id: String) {
    let task_im = Arc::clone(im);
    spawn(im, async move {
        let im = task_im;
        let dummy = change(&im, &id, |i| {
            i.deleting = true;
            i.is_dummy() || i.cloud.is_none()
        });
        if dummy == Some(false) {
            tokio::time::sleep(im.speed().deleting).await;
            if let Err(error) = im.machines.stop(&id).await {
                tracing::warn!(error = format!("{error:#}"), id, "a front end did not stop");
            }
        }
        let mut state = im.state.change();
        if state.infrastructures.remove(&id).is_some() {
            state.deleted += 1;
        }
    });
}

/// Looks at an infrastructure to change it; `None` if it is gone.
pub(super) fn change<T>(
    im: &Inner,
    id: &str,
    with: impl FnOnce(&mut Infrastructure) -> T,
) -> Option<T> {
    im.state.change().infrastructures.get_mut(id).map(with)
}
