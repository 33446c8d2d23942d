//! Watching: what changes in a cluster, told as it happens.
//!
//! Listing, watching on from the version that was seen, bookmarks and the list anew after
//! `410 Expired` are `kube::runtime`'s (Kubernetes, API concepts, "Efficient detection of changes").

use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::Api;
use kube::runtime::WatchStreamExt as _;
pub use kube::runtime::watcher::Event as Change;
use kube::runtime::watcher::{self, Config, watcher};

use super::pods::{of_kubernetes, pod_state};
use super::{Kubernetes, KubernetesError, NodeState, PodState, node_state};

/// What is told of pods that are in trouble; events about anything else are not needed.
pub(super) const POD_WARNINGS: &str = "type=Warning,involvedObject.kind=Pod";

/// How many objects of the first list are held at once, before they are reduced.
const PAGE: u32 = 50;

/// How long a watch lasts before it is made anew, in seconds; what a real server ends later and a
/// dead connection never.
const WATCH_S: u32 = 240;

/// What changed. A [`Change`] is of one object, or says that a list begins or is whole.
#[derive(Debug)]
pub enum Observed {
    /// A pod, of any namespace.
    Pod(Change<PodState>),
    /// A node.
    Node(Change<NodeState>),
    /// A warning about a pod.
    Warning(Change<PodWarning>),
}

/// What Kubernetes says about a pod in trouble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodWarning {
    /// The name of the event itself, in the pod's namespace.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// A word, such as `FailedMount`.
    pub reason: String,
    /// The sentence.
    pub message: String,
    /// When it was last said.
    pub at: Option<DateTime<Utc>>,
}

impl Kubernetes {
    /// Everything that there is of nodes, pods and warnings about pods, and what changes from then
    /// on. What the server forgot is listed anew by itself; any other failure is told once, and a
    /// caller that goes on reading waits longer each time.
    pub fn watch(&self) -> BoxStream<'static, Result<Observed, KubernetesError>> {
        let whole = || Config::default().timeout(WATCH_S).page_size(PAGE);
        let warnings = whole().fields(POD_WARNINGS);
        let client = || self.client.clone();
        let pods = watcher(Api::<Pod>::all(client()), whole()).default_backoff();
        let nodes = watcher(Api::<Node>::all(client()), whole()).default_backoff();
        let events = watcher(Api::<Event>::all(client()), warnings).default_backoff();
        select_all([
            pods.map(|event| event.map(|event| Observed::Pod(reduced(event, pod_state))))
                .boxed(),
            nodes
                .map(|event| event.map(|event| Observed::Node(reduced(event, node_state))))
                .boxed(),
            events
                .map(|event| event.map(|event| Observed::Warning(reduced(event, pod_warning))))
                .boxed(),
        ])
        .filter_map(async |observed| match observed {
            Ok(observed) => Some(Ok(observed)),
            Err(error) if is_expired(&error) => None,
            Err(source) => Some(Err(KubernetesError::Watch(Box::new(source)))),
        })
        .boxed()
    }
}

/// Whether the watcher mends it by a new list.
fn is_expired(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

/// The same event with only what is needed of its object.
fn reduced<T, U>(event: Change<T>, of: impl Fn(&T) -> U) -> Change<U> {
    match event {
        Change::Apply(object) => Change::Apply(of(&object)),
        Change::Delete(object) => Change::Delete(of(&object)),
        Change::Init => Change::Init,
        Change::InitApply(object) => Change::InitApply(of(&object)),
        Change::InitDone => Change::InitDone,
    }
}

pub(super) fn pod_warning(event: &Event) -> PodWarning {
    let about = &event.involved_object;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    PodWarning {
        name: text(&event.metadata.name),
        namespace: text(&about.namespace),
        pod: text(&about.name),
        reason: text(&event.reason),
        message: text(&event.message),
        at: event
            .last_timestamp
            .as_ref()
            .or(event.metadata.creation_timestamp.as_ref())
            .and_then(of_kubernetes),
    }
}
