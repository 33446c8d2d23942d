//! Pods and their logs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::LogParams;

use super::{Kubernetes, KubernetesError, params};

/// The most bytes of a pod's log that are kept, from its end. A kubelet rotates at 10 MiB.
const LOG_LIMIT: usize = 4 * 1024 * 1024;

/// The most pods that are read of one cluster; ten times what the largest course had.
const PODS_MAX: usize = 5000;

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The CPU that it asks for, as Kubernetes writes it.
    pub cpu: Option<String>,
    /// The memory that it asks for, as Kubernetes writes it.
    pub memory: Option<String>,
    /// How often it was started again.
    pub restarts: i32,
    /// Why it does not run, such as `ImagePullBackOff`, and the message.
    pub waiting: Option<(String, String)>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Where it runs.
    pub node: Option<String>,
    /// The kind of what made it, such as `ReplicaSet`.
    pub owner: Option<String>,
    /// The user whose server it is.
    pub user: Option<String>,
    /// Whether it is ending.
    pub terminating: bool,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// The scheduler's message if it finds no node (`PodScheduled=False`, `Unschedulable`), and
    /// since when.
    pub unschedulable: Option<(String, Option<DateTime<Utc>>)>,
    /// Its containers, in order.
    pub containers: Vec<Container>,
}

/// Pods of Zero to JupyterHub that hold room free (`scheduling.userPlaceholder`) or pull images
/// ahead (`prePuller`).
const FILLERS: [&str; 3] = [
    "user-placeholder-",
    "hook-image-puller-",
    "continuous-image-puller-",
];

impl PodState {
    /// Whether nobody waits for it, though it may wait: it holds room, pulls images or is ending.
    pub fn is_nobodys(&self) -> bool {
        let is_daemon = self.owner.as_deref() == Some("DaemonSet");
        is_daemon || self.terminating || FILLERS.iter().any(|filler| self.name.starts_with(filler))
    }
}

/// Which part of a pod's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogAsk {
    /// Lines from its end.
    pub lines: usize,
    /// Only what was written within this time.
    pub since: Option<Duration>,
    /// Whether each line begins with the time at which it was written, and a space.
    pub timestamps: bool,
}

impl Kubernetes {
    /// The pods of a namespace, or of all, by name; read in pages, at most 5000.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn pods(&self, namespace: Option<&str>) -> Result<Vec<PodState>, KubernetesError> {
        let api: Api<Pod> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let mut pods: Vec<PodState> = Vec::new();
        let mut page = params();
        loop {
            let list = self.call("list pods", api.list(&page)).await?;
            pods.extend(list.items.iter().map(pod_state));
            let next = list.metadata.continue_.filter(|next| !next.is_empty());
            let Some(next) = next.filter(|_| pods.len() < PODS_MAX) else {
                break;
            };
            page = params().continue_token(&next);
        }
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(pods)
    }

    /// The end of a container's log, at most 4 MiB.
    ///
    /// # Errors
    /// When the API does not answer, there is no such pod, or its container has not started.
    pub async fn pod_log(
        &self,
        pod: &PodState,
        container: Option<&str>,
        ask: LogAsk,
    ) -> Result<String, KubernetesError> {
        const DOING: &str = "read the log of a pod";
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let params = LogParams {
            container: container.map(str::to_owned),
            tail_lines: i64::try_from(ask.lines).ok(),
            since_seconds: ask
                .since
                .and_then(|since| i64::try_from(since.as_secs()).ok()),
            timestamps: ask.timestamps,
            ..LogParams::default()
        };
        let read = async {
            let mut stream = Box::pin(api.log_stream(&pod.name, &params).await?);
            let mut kept: Vec<u8> = Vec::new();
            let mut buffer = vec![0_u8; 64 * 1024];
            loop {
                let count = stream
                    .read(&mut buffer)
                    .await
                    .map_err(kube::Error::ReadEvents)?;
                if count == 0 {
                    break;
                }
                kept.extend(buffer.iter().take(count));
                if kept.len() > 2 * LOG_LIMIT {
                    kept.drain(..kept.len() - LOG_LIMIT);
                }
            }
            Ok(kept)
        };
        let mut bytes = self.call(DOING, read).await?;
        if bytes.len() > LOG_LIMIT {
            // From the beginning of a line: what stands before may be half of a secret.
            let from = bytes.len() - LOG_LIMIT;
            let rest = bytes.split_off(from);
            let begin = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            bytes = rest.get(begin..).unwrap_or_default().to_vec();
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Where `KubeSpawner` writes whose server a pod is: an annotation, and a label with its special
/// characters escaped.
const USER: &str = "hub.jupyter.org/username";

pub(super) fn pod_state(pod: &Pod) -> PodState {
    let status = pod.status.clone().unwrap_or_default();
    let unschedulable = status
        .conditions
        .unwrap_or_default()
        .into_iter()
        .find(|condition| {
            condition.type_ == "PodScheduled"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("Unschedulable")
        })
        .map(|condition| {
            let since = condition
                .last_transition_time
                .and_then(|time| of_kubernetes(&time));
            (condition.message.unwrap_or_default(), since)
        });
    let statuses: BTreeMap<String, ContainerStatus> = status
        .container_statuses
        .unwrap_or_default()
        .into_iter()
        .map(|status| (status.name.clone(), status))
        .collect();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    PodState {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        phase: status.phase.unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        owner: pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.kind.clone()),
        user: [&pod.metadata.annotations, &pod.metadata.labels]
            .into_iter()
            .find_map(|texts| texts.as_ref()?.get(USER).cloned()),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        created_at: pod
            .metadata
            .creation_timestamp
            .as_ref()
            .and_then(of_kubernetes),
        unschedulable,
        containers: containers
            .map(|container| {
                let requests = container
                    .resources
                    .as_ref()
                    .and_then(|resources| resources.requests.clone())
                    .unwrap_or_default();
                let request = |name: &str| requests.get(name).map(|quantity| quantity.0.clone());
                let status = statuses.get(&container.name);
                let waiting = status
                    .and_then(|status| status.state.as_ref()?.waiting.as_ref())
                    .map(|waiting| {
                        let reason = waiting.reason.clone().unwrap_or_default();
                        (reason, waiting.message.clone().unwrap_or_default())
                    });
                Container {
                    name: container.name.clone(),
                    cpu: request("cpu"),
                    memory: request("memory"),
                    restarts: status.map_or(0, |status| status.restart_count),
                    waiting,
                }
            })
            .collect(),
    }
}

/// Kubernetes' time as ours.
pub(super) fn of_kubernetes(
    time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.0.as_second(), 0)
}
