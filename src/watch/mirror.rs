//! What a cluster's Kubernetes shows, kept as it changes.
//!
//! Of each object only what is needed is kept, some hundred bytes for a pod that waits and a few
//! for one that runs: 200 clusters with 500 pods each fit into little memory.
//!
//! **Invariant:** nothing is shown before the lists of pods, nodes and warnings were seen whole, and
//! nothing while the connection is lost: that is [`Look::Failed`] with the reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};

use crate::domain::diagnosis::{Look, SeenKubernetes, SeenNode, WaitingPod};
use crate::domain::sample::Sample;
use crate::looks::seen;
use crate::services::kubernetes::{Change, Counted, Observed, PodState, PodWarning, counted};

/// The most warnings that are kept of a cluster; more say nothing new.
const WARNINGS: usize = 1000;

/// The most characters of why the connection is lost.
const WHY_LENGTH: usize = 500;

/// Whether a mirror shows something.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    /// The first lists are on their way.
    Opening,
    /// It shows what there is.
    Live,
    /// It does not, and why.
    Lost(String),
}

/// What one cluster's Kubernetes shows.
#[derive(Debug)]
pub struct Mirror {
    /// The namespace of the hub, whose pods are counted.
    namespace: String,
    kept: Mutex<Kept>,
    sight: watch::Sender<Sight>,
    /// Somebody looks, though the connection is lost.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    pods: Listed<KeptPod>,
    nodes: Listed<SeenNode>,
    warnings: Listed<PodWarning>,
}

#[derive(Clone, Debug)]
struct KeptPod {
    /// As what it counts; `None` outside the hub's namespace.
    counted: Option<Counted>,
    waiting: Option<Box<WaitingPod>>,
}

/// Objects by `namespace/name`, and those of a list that is not whole yet.
#[derive(Debug)]
struct Listed<T> {
    objects: BTreeMap<Box<str>, T>,
    coming: BTreeMap<Box<str>, T>,
    /// Whether it was whole once.
    is_whole: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            coming: BTreeMap::new(),
            is_whole: false,
        }
    }
}

impl<T> Listed<T> {
    /// Takes in what happened to an object, of which `of` makes what is kept.
    fn take<U>(&mut self, event: Change<U>, most: usize, of: impl Fn(U) -> (Box<str>, T)) {
        match event {
            Change::Apply(object) => keep(&mut self.objects, of(object), most),
            Change::Delete(object) => {
                self.objects.remove(&of(object).0);
            }
            Change::Init => self.coming.clear(),
            Change::InitApply(object) => keep(&mut self.coming, of(object), most),
            Change::InitDone => {
                self.objects = std::mem::take(&mut self.coming);
                self.is_whole = true;
            }
        }
    }
}

/// Keeps an object, unless that would be more than `most`.
fn keep<T>(objects: &mut BTreeMap<Box<str>, T>, (key, object): (Box<str>, T), most: usize) {
    if objects.len() < most || objects.contains_key(&key) {
        objects.insert(key, object);
    }
}

impl Kept {
    fn is_whole(&self) -> bool {
        self.pods.is_whole && self.nodes.is_whole && self.warnings.is_whole
    }

    /// Whether somebody waits for a node, and whether all nodes are ready: when one of them turns,
    /// it is time to look.
    fn turns(&self) -> (bool, bool) {
        let mut waiting = self.pods.objects.values().flat_map(|pod| &pod.waiting);
        let demand = waiting.any(|pod| pod.unschedulable.is_some());
        (demand, self.nodes.objects.values().all(|node| node.ready))
    }
}

impl Mirror {
    /// One that has seen nothing yet. Pods of `namespace` are counted for samples.
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            kept: Mutex::default(),
            sight: watch::Sender::new(Sight::Opening),
            wanted: Notify::new(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what happened; whether it is worth a look.
    pub(super) fn take(&self, observed: Observed) -> bool {
        let mut kept = self.kept();
        let before = (kept.is_whole(), kept.turns());
        match observed {
            Observed::Pod(event) => kept.pods.take(event, usize::MAX, |pod| self.pod(&pod)),
            Observed::Node(event) => kept.nodes.take(event, usize::MAX, |node| {
                (key("", &node.name), seen::node(&node))
            }),
            Observed::Warning(event) => kept.warnings.take(event, WARNINGS, |warning| {
                (key(&warning.namespace, &warning.name), warning)
            }),
        }
        let after = (kept.is_whole(), kept.turns());
        drop(kept);
        if after.0 {
            self.sight.send_if_modified(|sight| {
                let is_new = *sight != Sight::Live;
                *sight = Sight::Live;
                is_new
            });
        }
        before != after
    }

    fn pod(&self, pod: &PodState) -> (Box<str>, KeptPod) {
        let kept = KeptPod {
            counted: (pod.namespace == self.namespace).then(|| Counted::of(pod)),
            waiting: seen::waiting(pod).map(Box::new),
        };
        (key(&pod.namespace, &pod.name), kept)
    }

    /// The connection is lost; what there is comes whole again with the next one.
    pub(super) fn lose(&self, why: &str) {
        *self.kept() = Kept::default();
        let why = why.chars().take(WHY_LENGTH).collect();
        self.sight.send_replace(Sight::Lost(why));
    }

    /// Whether it shows something now.
    pub(super) fn is_live(&self) -> bool {
        *self.sight.borrow() == Sight::Live
    }

    /// Waits until somebody looks.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// What there is. A connection that is lost is tried anew before that is said.
    pub(super) async fn look(&self) -> Look<SeenKubernetes> {
        let is_lost = self.sight.send_if_modified(|sight| {
            let is_lost = matches!(sight, Sight::Lost(_));
            if is_lost {
                *sight = Sight::Opening;
            }
            is_lost
        });
        if is_lost {
            self.wanted.notify_one();
        }
        let mut sight = self.sight.subscribe();
        let sight = match sight.wait_for(|sight| *sight != Sight::Opening).await {
            Ok(sight) => sight.clone(),
            Err(_closed) => Sight::Opening,
        };
        match sight {
            Sight::Live => Look::At(self.seen()),
            Sight::Lost(why) => Look::Failed(why),
            Sight::Opening => Look::Failed("nobody looks at it now".to_owned()),
        }
    }

    fn seen(&self) -> SeenKubernetes {
        let kept = self.kept();
        let waiting = kept.pods.objects.values().flat_map(|pod| &pod.waiting);
        let mut waiting: Vec<WaitingPod> = waiting.map(|pod| WaitingPod::clone(pod)).collect();
        let warnings: Vec<&PodWarning> = kept.warnings.objects.values().collect();
        seen::warn(&mut waiting, &warnings);
        SeenKubernetes {
            waiting,
            nodes: kept.nodes.objects.values().cloned().collect(),
        }
    }

    /// How many nodes and pods there are; `None` while it shows nothing.
    pub(super) fn sample(&self, at: DateTime<Utc>) -> Option<Sample> {
        if !self.is_live() {
            return None;
        }
        let kept = self.kept();
        let nodes = kept.nodes.objects.values();
        let ready = nodes.filter(|node| node.ready && !node.is_control_plane);
        let pods = kept.pods.objects.values().filter_map(|pod| pod.counted);
        Some(counted(at, ready.count(), pods))
    }
}

fn key(namespace: &str, name: &str) -> Box<str> {
    format!("{namespace}/{name}").into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::kubernetes::{Container, NodeState};

    fn pod(name: &str, phase: &str) -> PodState {
        PodState {
            namespace: "daskhub".to_owned(),
            name: name.to_owned(),
            phase: phase.to_owned(),
            ..PodState::default()
        }
    }

    fn waits(name: &str) -> PodState {
        PodState {
            unschedulable: Some(("0/1 nodes are available".to_owned(), None)),
            ..pod(name, "Pending")
        }
    }

    fn node(name: &str, ready: bool) -> NodeState {
        NodeState {
            name: name.to_owned(),
            is_control_plane: false,
            ready,
            cordoned: false,
            allocatable_cpu: "8".to_owned(),
            allocatable_memory: "32Gi".to_owned(),
            kubelet_version: "v1.28.15".to_owned(),
        }
    }

    fn warning(name: &str, pod: &str, at: i64) -> PodWarning {
        PodWarning {
            name: name.to_owned(),
            namespace: "daskhub".to_owned(),
            pod: pod.to_owned(),
            reason: name.to_owned(),
            message: "m".repeat(900),
            at: DateTime::from_timestamp(at, 0),
        }
    }

    /// A mirror with one node and these pods.
    fn live(pods: Vec<PodState>) -> Mirror {
        let mirror = Mirror::new("daskhub");
        mirror.take(Observed::Node(Change::Init));
        mirror.take(Observed::Node(Change::InitApply(node("wn1", true))));
        mirror.take(Observed::Node(Change::InitDone));
        mirror.take(Observed::Warning(Change::InitDone));
        mirror.take(Observed::Pod(Change::Init));
        for pod in pods {
            mirror.take(Observed::Pod(Change::InitApply(pod)));
        }
        assert!(!mirror.is_live(), "a list that is not whole is shown");
        assert!(mirror.take(Observed::Pod(Change::InitDone)));
        mirror
    }

    #[track_caller]
    fn names(mirror: &Mirror) -> Vec<String> {
        let seen = mirror.seen();
        seen.waiting.into_iter().map(|pod| pod.name).collect()
    }

    #[tokio::test]
    async fn nothing_is_shown_before_all_lists_are_whole_nor_when_the_connection_is_lost() {
        let mirror = live(vec![waits("jupyter-ana"), pod("jupyter-ben", "Running")]);
        assert_eq!(names(&mirror), ["jupyter-ana"]);
        mirror.lose("no route to host");
        assert_eq!(mirror.sample(DateTime::UNIX_EPOCH), None);
        let tries = async {
            mirror.wanted().await;
            mirror.lose("refused");
        };
        let (look, ()) = tokio::join!(mirror.look(), tries);
        assert_eq!(look, Look::Failed("refused".to_owned()));
    }

    #[tokio::test]
    async fn a_list_anew_replaces_what_was_there() {
        let mirror = live(vec![waits("jupyter-ana")]);
        mirror.take(Observed::Pod(Change::Init));
        mirror.take(Observed::Pod(Change::InitApply(waits("jupyter-eva"))));
        assert_eq!(names(&mirror), ["jupyter-ana"], "before it is whole");
        mirror.take(Observed::Pod(Change::InitDone));
        assert_eq!(names(&mirror), ["jupyter-eva"]);
    }

    #[tokio::test]
    async fn it_is_worth_a_look_when_somebody_begins_or_ceases_to_wait_or_a_node_turns() {
        let mirror = live(Vec::new());
        let apply = |pod| mirror.take(Observed::Pod(Change::Apply(pod)));
        assert!(!apply(pod("jupyter-ben", "Running")));
        assert!(apply(waits("jupyter-ana")));
        assert!(!apply(waits("jupyter-eva")), "somebody waits already");
        assert!(!mirror.take(Observed::Pod(Change::Delete(waits("jupyter-eva")))));
        assert!(apply(pod("jupyter-ana", "Running")));
        assert!(mirror.take(Observed::Node(Change::Apply(node("wn1", false)))));
        assert!(!mirror.take(Observed::Node(Change::Apply(node("wn1", false)))));
    }

    #[tokio::test]
    async fn pods_are_counted_in_the_namespace_of_the_hub_and_those_of_the_system_do_not_wait() {
        let elsewhere = PodState {
            namespace: "kube-system".to_owned(),
            ..waits("coredns-1")
        };
        let mirror = live(vec![
            waits("jupyter-ana"),
            waits("user-placeholder-0"),
            pod("hub-1", "Running"),
            elsewhere,
        ]);
        assert_eq!(names(&mirror), ["jupyter-ana"]);
        let sample = mirror.sample(DateTime::UNIX_EPOCH).unwrap();
        let counts = (sample.nodes_ready, sample.pods_running, sample.pods_pending);
        assert_eq!(counts, (1, 1, 1));
    }

    #[tokio::test]
    async fn the_newest_warning_about_a_pod_stands_with_it() {
        let stuck = PodState {
            containers: vec![Container::default()],
            ..pod("jupyter-ana", "Pending")
        };
        let mirror = live(vec![stuck]);
        for (name, pod, at) in [
            ("FailedMount", "jupyter-ana", 20),
            ("BackOff", "jupyter-ana", 10),
            ("Evicted", "jupyter-ben", 30),
        ] {
            mirror.take(Observed::Warning(Change::Apply(warning(name, pod, at))));
        }
        let seen = mirror.seen();
        let (reason, message) = seen.waiting[0].warning.clone().unwrap();
        assert_eq!((reason.as_str(), message.len()), ("FailedMount", 300));
    }

    #[tokio::test]
    async fn warnings_have_a_limit() {
        let mirror = live(Vec::new());
        for number in 0..WARNINGS + 10 {
            let one = warning(&format!("w{number}"), "jupyter-ana", 1);
            mirror.take(Observed::Warning(Change::Apply(one)));
        }
        assert_eq!(mirror.kept().warnings.objects.len(), WARNINGS);
    }
}
