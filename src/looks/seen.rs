//! What of Kubernetes' objects has to do with growing.

use crate::domain::diagnosis::{Amount, SeenNode, WaitingPod};
use crate::services::kubernetes::{NodeState, PodState, PodWarning};

/// Namespaces that CLUES does not count.
const OWN_NAMESPACES: [&str; 2] = ["kube-system", "kube-flannel"];

/// The most characters of a warning that are kept.
const WARNING_LENGTH: usize = 300;

/// A pod that waits and is wanted; `None` for every other one.
pub(crate) fn waiting(pod: &PodState) -> Option<WaitingPod> {
    let is_stuck = pod.containers.iter().any(|one| one.waiting.is_some());
    let is_ours = !OWN_NAMESPACES.contains(&pod.namespace.as_str())
        && !pod.is_nobodys()
        && (pod.phase == "Pending" || is_stuck);
    if !is_ours {
        return None;
    }
    let asks = pod.containers.iter().fold(Amount::default(), |sum, one| {
        let (cpu, memory) = (one.cpu.as_deref(), one.memory.as_deref());
        sum.plus(Amount::of_kubernetes(
            cpu.unwrap_or("0"),
            memory.unwrap_or("0"),
        ))
    });
    Some(WaitingPod {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        unschedulable: pod.unschedulable.as_ref().map(|(why, _)| why.clone()),
        since: pod.unschedulable.as_ref().and_then(|(_, since)| *since),
        asks,
        waiting: pod.containers.iter().find_map(|one| one.waiting.clone()),
        restarts: pod.containers.iter().map(|one| one.restarts).sum(),
        warning: None,
    })
}

/// A node, with what pods can have of it.
pub(crate) fn node(node: &NodeState) -> SeenNode {
    SeenNode {
        name: node.name.clone(),
        is_control_plane: node.is_control_plane,
        ready: node.ready,
        allocatable: Amount::of_kubernetes(&node.allocatable_cpu, &node.allocatable_memory),
    }
}

/// Keeps with each of these pods the newest warning about it.
pub(crate) fn warn(pods: &mut [WaitingPod], warnings: &[&PodWarning]) {
    for pod in pods {
        let about = |one: &&&PodWarning| one.pod == pod.name && one.namespace == pod.namespace;
        let newest = warnings.iter().filter(about).max_by_key(|one| one.at);
        pod.warning = newest.map(|one| shortened(one));
    }
}

fn shortened(warning: &PodWarning) -> (String, String) {
    let message = warning.message.chars().take(WARNING_LENGTH).collect();
    (warning.reason.clone(), message)
}
