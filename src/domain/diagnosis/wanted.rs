//! How many nodes a cluster wants: those that are ready, and as many more as the pods need that
//! find none, or as are on their way already if those are more.

use super::pods::other_reason;
use super::{Amount, SeenKubernetes, WaitingPod};

/// How many more workers the pods need that find no node.
///
/// Each is put onto the first worker with room, the largest first; one that no worker could hold
/// needs none. `flavour` is the size of a worker where there is none to be measured.
pub fn missing(kubernetes: &SeenKubernetes, flavour: Option<Amount>) -> usize {
    let helped = |pod: &&WaitingPod| other_reason(pod).is_none();
    let Some(worker) = kubernetes.biggest_worker().or(flavour) else {
        return usize::from(kubernetes.demand().any(|pod| helped(&pod)));
    };
    let mut asks: Vec<Amount> = kubernetes
        .demand()
        .filter(helped)
        .map(|pod| pod.asks)
        .filter(|asks| asks.fits(worker))
        .collect();
    asks.sort_by_key(|asks| std::cmp::Reverse((asks.memory, asks.cpu_milli)));
    let mut nodes: Vec<Amount> = Vec::new();
    for one in asks {
        match nodes.iter_mut().find(|used| used.plus(one).fits(worker)) {
            Some(used) => *used = used.plus(one),
            None => nodes.push(one),
        }
    }
    nodes.len()
}

#[cfg(test)]
mod tests {
    use super::super::SeenNode;
    use super::super::tests::{amount, wants};
    use super::*;

    fn seen(worker: Option<Amount>, asks: &[(u64, u64)]) -> SeenKubernetes {
        SeenKubernetes {
            waiting: asks
                .iter()
                .map(|(cpus, gib)| wants(amount(*cpus, *gib)))
                .collect(),
            nodes: worker
                .into_iter()
                .map(|allocatable| SeenNode {
                    name: "wn1".to_owned(),
                    ready: true,
                    allocatable,
                    ..SeenNode::default()
                })
                .collect(),
        }
    }

    #[test]
    fn pods_are_put_onto_as_few_workers_as_hold_them() {
        let worker = Some(amount(8, 32));
        for (asks, expected) in [
            (vec![], 0),
            (vec![(2, 8)], 1),
            (vec![(2, 8); 4], 1),
            (vec![(2, 8); 5], 2),
            // One kind of room is used up before the other.
            (vec![(6, 4), (6, 4), (2, 4), (2, 4)], 2),
            (vec![(1, 20), (1, 12), (1, 20), (1, 12)], 2),
            // What no worker holds needs none.
            (vec![(16, 8), (2, 8)], 1),
        ] {
            assert_eq!(missing(&seen(worker, &asks), None), expected, "{asks:?}");
        }
    }

    #[test]
    fn without_a_worker_the_flavour_counts_and_without_that_one_node() {
        let asks = [(6, 8), (6, 8)];
        assert_eq!(missing(&seen(None, &asks), Some(amount(8, 32))), 2);
        assert_eq!(missing(&seen(None, &asks), None), 1);
        assert_eq!(missing(&seen(None, &[]), None), 0);
    }

    #[test]
    fn a_pod_that_waits_for_something_else_needs_no_node() {
        let mut seen = seen(Some(amount(8, 32)), &[(2, 8)]);
        seen.waiting[0].unschedulable =
            Some("pod has unbound immediate PersistentVolumeClaims".to_owned());
        assert_eq!(missing(&seen, None), 0);
    }
}
