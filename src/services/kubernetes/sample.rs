//! Counts of nodes and pods.

use chrono::{DateTime, Utc};

use super::{NodeState, PodState};
use crate::domain::sample::Sample;

/// As what a pod of the hub's namespace is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It runs, and is a user's server.
    Server,
    /// It runs, and is something else.
    Running,
    /// It waits and is wanted.
    Waiting,
    /// Nobody waits for it, or it has ended.
    Neither,
}

impl Counted {
    /// Of a pod.
    pub fn of(pod: &PodState) -> Self {
        match pod.phase.as_str() {
            "Running" if pod.user.is_some() && !pod.terminating => Self::Server,
            "Running" => Self::Running,
            "Pending" if !pod.is_nobodys() => Self::Waiting,
            _other => Self::Neither,
        }
    }
}

/// What a cluster has at a moment, of its nodes and the pods of the hub's namespace.
pub fn sample(at: DateTime<Utc>, nodes: &[NodeState], pods: &[PodState]) -> Sample {
    let ready = |node: &&NodeState| node.ready && !node.is_control_plane;
    let pods = pods.iter().map(Counted::of);
    counted(at, nodes.iter().filter(ready).count(), pods)
}

/// The same of what is counted already.
pub fn counted(
    at: DateTime<Utc>,
    nodes_ready: usize,
    pods: impl Iterator<Item = Counted> + Clone,
) -> Sample {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let pods = |what: Counted| number(pods.clone().filter(|pod| *pod == what).count());
    let servers = pods(Counted::Server);
    Sample {
        at,
        nodes_ready: number(nodes_ready),
        pods_running: pods(Counted::Running).saturating_add(servers),
        pods_pending: pods(Counted::Waiting),
        nodes_wanted: None,
        servers,
    }
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
            PodState {
                user: Some("ben".to_owned()),
                ..pod("jupyter-ben", "Running")
            },
            pod("jupyter-ana", "Pending"),
            pod("user-placeholder-0", "Pending"),
            pod("hook-image-puller-1", "Succeeded"),
        ];
        let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let expected = Sample {
            at,
            nodes_ready: 1,
            pods_running: 2,
            pods_pending: 1,
            nodes_wanted: None,
            servers: 1,
        };
        assert_eq!(sample(at, &nodes, &pods), expected);
    }
}
