//! Counts of nodes and pods.

use chrono::{DateTime, Utc};

use super::{NodeState, PodState};
use crate::domain::sample::Sample;

/// What a cluster has at a moment, of its nodes and the pods of the hub's namespace.
pub fn sample(at: DateTime<Utc>, nodes: &[NodeState], pods: &[PodState]) -> Sample {
    let ready = |node: &&NodeState| node.ready && !node.is_control_plane;
    Sample {
        at,
        nodes_ready: count(nodes.iter().filter(ready)),
        pods_running: count(pods.iter().filter(|pod| pod.phase == "Running")),
        pods_pending: count(pods.iter().filter(|pod| waits(pod))),
    }
}

/// Whether a pod waits and is wanted.
fn waits(pod: &PodState) -> bool {
    pod.phase == "Pending" && !pod.is_nobodys()
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_the_control_plane_are_not_counted() {
        let pod = |name: &str, phase: &str| PodState {
            name: name.to_owned(),
            phase: phase.to_owned(),
            ..PodState::default()
        };
        let node = |name: &str, is_control_plane, ready| NodeState {
            name: name.to_owned(),
            is_control_plane,
            ready,
            cordoned: false,
            allocatable_cpu: "8".to_owned(),
            allocatable_memory: "32Gi".to_owned(),
            kubelet_version: "v1.28.15".to_owned(),
        };
        let nodes = [
            node("front", true, true),
            node("wn1", false, true),
            node("wn2", false, false),
        ];
        let pods = [
            pod("hub-1", "Running"),
            pod("jupyter-ana", "Pending"),
            pod("user-placeholder-0", "Pending"),
            pod("hook-image-puller-1", "Succeeded"),
        ];
        let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let expected = Sample {
            at,
            nodes_ready: 1,
            pods_running: 1,
            pods_pending: 1,
        };
        assert_eq!(sample(at, &nodes, &pods), expected);
    }
}
