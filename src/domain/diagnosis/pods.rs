//! The pods that wait: for more than there can be, or for something that no node gives.

use super::{Remedy, Seen, SeenKubernetes, Verdict, WaitingPod};

/// Reasons for which a container does not start though its pod has a node.
const STUCK: &[&str] = &[
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// Those of them that are about its image.
const IMAGE: &[&str] = &["ErrImagePull", "ImagePullBackOff", "InvalidImageName"];

/// The reason of a container that starts again and again.
const CRASHES: &str = "CrashLoopBackOff";

/// Warnings of a pod that has a node and does not start there.
const STUCK_WARNINGS: &[&str] = &[
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "FailedMapVolume",
];

/// What the scheduler says when more nodes of the same kind do not help.
const NO_NODE_HELPS: &[&str] = &[
    "PersistentVolumeClaim",
    "persistentvolumeclaim",
    "volume node affinity conflict",
    "didn't match Pod's node affinity",
    "exceeded quota",
];

/// A pod asks for more than the biggest node has.
pub fn never_fits(seen: &Seen) -> Verdict {
    seen.kubernetes.judge(|kubernetes| {
        let Some(real) = seen.real_worker() else {
            return Verdict::Unknown(
                "no worker and no flavour is known to compare with".to_owned(),
            );
        };
        let too_big: Vec<&WaitingPod> = kubernetes
            .demand()
            .filter(|pod| !pod.asks.fits(real))
            .collect();
        let lines: Vec<String> = too_big
            .iter()
            .map(|pod| {
                format!(
                    "{} asks for {}, the biggest node has {}",
                    pod.name,
                    pod.asks.words(),
                    real.words()
                )
            })
            .collect();
        if lines.is_empty() {
            let demand = kubernetes.demand().count();
            return Verdict::Fine(format!("{demand} pods wait for a node, all would fit"));
        }
        Verdict::found(lines, asks_less(&too_big))
    })
}

/// What lowers what such pods ask for: the guarantee of notebooks, or what people may choose for Dask
/// workers. Who waits with too much asks anew then.
fn asks_less(too_big: &[&WaitingPod]) -> Remedy {
    let of = |prefix: &str| too_big.iter().any(|pod| pod.name.starts_with(prefix));
    Remedy {
        words: "lower what the pod asks for (what is guaranteed to a notebook, or the options of Dask workers), or deploy bigger workers; who waits has to start anew",
        command: if of("jupyter-") {
            Some("values notebook")
        } else if of("dask-") {
            Some("values worker-options")
        } else {
            None
        },
    }
}

/// A pod waits for an image, a volume, a quota or a certain node.
pub fn not_scaling(seen: &Seen) -> Verdict {
    const LOOK: Remedy = Remedy {
        words: "no node helps: see what the line says",
        command: None,
    };
    const BACK: Remedy = Remedy {
        words: "no node helps: see what the line says; if the image was changed last, go back to the revision before",
        command: Some("values rollback"),
    };
    seen.kubernetes.judge(|kubernetes| {
        let lines: Vec<String> = kubernetes.waiting.iter().filter_map(other_reason).collect();
        if lines.is_empty() {
            return Verdict::Fine(format!(
                "none of {} waiting pods waits for something else",
                kubernetes.waiting.len()
            ));
        }
        let lacks_image = kubernetes.waiting.iter().any(|pod| {
            let waiting = pod.waiting.as_ref();
            waiting.is_some_and(|(reason, _)| IMAGE.contains(&reason.as_str()))
        });
        Verdict::found(lines, if lacks_image { BACK } else { LOOK })
    })
}

/// The pods that start again and again. They have a node, so this is no cause of a stall.
pub fn crashing(kubernetes: &SeenKubernetes) -> impl Iterator<Item = &WaitingPod> {
    kubernetes.waiting.iter().filter(|pod| {
        let waiting = pod.waiting.as_ref();
        waiting.is_some_and(|(reason, _)| reason == CRASHES)
    })
}

/// Why more nodes do not help a pod.
pub(super) fn other_reason(pod: &WaitingPod) -> Option<String> {
    if let Some((reason, message)) = &pod.waiting
        && STUCK.contains(&reason.as_str())
    {
        return Some(format!("{}: {reason} {message}", pod.name));
    }
    if pod.unschedulable.is_none()
        && let Some((reason, message)) = &pod.warning
        && STUCK_WARNINGS.contains(&reason.as_str())
    {
        return Some(format!("{}: {reason} {message}", pod.name));
    }
    let message = pod.unschedulable.as_ref()?;
    NO_NODE_HELPS
        .iter()
        .any(|text| message.contains(text))
        .then(|| format!("{}: {message}", pod.name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{amount, evidence, kubernetes_of, wants, well};
    use super::*;

    #[test]
    fn a_pod_that_is_bigger_than_any_node_is_found() {
        let mut seen = well();
        kubernetes_of(&mut seen).waiting.push(wants(amount(8, 31)));
        assert!(matches!(never_fits(&seen), Verdict::Fine(_)));
        kubernetes_of(&mut seen).waiting.push(wants(amount(1, 40)));
        assert_eq!(
            evidence(&never_fits(&seen)),
            "jupyter-ana asks for 1 CPUs, 40.0 GiB, the biggest node has 8 CPUs, 31.0 GiB"
        );
        let command = |verdict| match verdict {
            Verdict::Found { remedy, .. } => remedy.command,
            Verdict::Fine(_) | Verdict::Unknown(_) => None,
        };
        assert_eq!(command(never_fits(&seen)), Some("values notebook"));
        for pod in &mut kubernetes_of(&mut seen).waiting {
            "dask-worker-1".clone_into(&mut pod.name);
        }
        assert_eq!(command(never_fits(&seen)), Some("values worker-options"));
    }

    #[test]
    fn a_pod_that_gets_no_volume_on_its_node_is_known_by_its_event() {
        let warned = |reason: &str, unschedulable: Option<&str>| WaitingPod {
            name: "jupyter-ben".to_owned(),
            unschedulable: unschedulable.map(str::to_owned),
            waiting: Some(("ContainerCreating".to_owned(), String::new())),
            warning: Some((reason.to_owned(), "mount.nfs: timed out".to_owned())),
            ..WaitingPod::default()
        };
        let stuck = warned("FailedMount", None);
        let told = "jupyter-ben: FailedMount mount.nfs: timed out";
        assert_eq!(other_reason(&stuck).as_deref(), Some(told));
        assert_eq!(other_reason(&warned("Unhealthy", None)), None);
        let cpu = Some("0/2 nodes are available: 2 Insufficient cpu.");
        assert_eq!(other_reason(&warned("FailedMount", cpu)), None);
    }

    #[test]
    fn pods_that_wait_for_something_else_are_told_apart() {
        for (unschedulable, waiting, found) in [
            (
                Some("0/2 nodes are available: 2 Insufficient cpu."),
                None,
                false,
            ),
            (
                Some("pod has unbound immediate PersistentVolumeClaims"),
                None,
                true,
            ),
            (
                None,
                Some(("ImagePullBackOff", "Back-off pulling image")),
                true,
            ),
            (None, Some(("ContainerCreating", "")), false),
        ] {
            let mut seen = well();
            kubernetes_of(&mut seen).waiting.push(WaitingPod {
                name: "jupyter-ben".to_owned(),
                unschedulable: unschedulable.map(str::to_owned),
                waiting: waiting
                    .map(|(reason, message): (&str, &str)| (reason.to_owned(), message.to_owned())),
                ..WaitingPod::default()
            });
            let verdict = not_scaling(&seen);
            assert_eq!(
                matches!(verdict, Verdict::Found { .. }),
                found,
                "{unschedulable:?} {waiting:?}"
            );
            if found {
                assert!(evidence(&verdict).starts_with("jupyter-ben: "));
            }
        }
    }
}
