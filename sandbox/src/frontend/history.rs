//! What changed in a cluster, with the versions that the Kubernetes API gives its objects, and the
//! watches that tell it.
//!
//! Objects follow from the cluster's state ([`objects`]); whenever it is looked at,
//! what differs from the last look gets a new version. Versions grow over restarts of the sandbox
//! too. Like the real API (Kubernetes, API concepts, "Efficient detection of changes") it remembers
//! changes for a while only: a watch that wants older ones is told `410 Expired` as an event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::objects;
use super::state::{Cluster, Server, WorkerNode, Workload};

/// How many changes are remembered.
const REMEMBERED: usize = 4000;

/// How long the real API keeps an event whose reason is gone.
const EVENTS_KEPT: Duration = Duration::from_secs(3600);

/// A kind of object that can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Node,
    Pod,
    Event,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Node, Self::Pod, Self::Event];

    /// The word of the API.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Event => "Event",
        }
    }

    fn objects(self, cluster: &Cluster) -> Vec<Value> {
        match self {
            Self::Node => objects::node_items(cluster),
            Self::Pod => objects::pod_items(cluster),
            Self::Event => objects::event_items(cluster),
        }
    }
}

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    kind: Kind,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) what: &'static str,
    pub(super) object: Value,
}

/// That changes are asked for which nobody remembers.
#[derive(Debug)]
pub(super) struct Expired {
    /// The oldest version after which changes are known.
    pub(super) oldest: u64,
}

/// What a test can do to all watches at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// How often they were ended, as by a restart of the API server.
    pub(super) ends: u32,
    /// How often they were told that their version has expired.
    pub(super) expiries: u32,
}

/// What the objects follow from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Basis {
    nodes: BTreeMap<String, WorkerNode>,
    servers: Vec<Server>,
    workload: Workload,
    crashing: BTreeMap<String, u32>,
    configured: bool,
    inputs: serde_json::Map<String, Value>,
}

impl Basis {
    fn is_of(&self, cluster: &Cluster) -> bool {
        self.nodes == cluster.clues.nodes
            && self.servers == cluster.servers
            && self.workload == cluster.workload
            && self.crashing == cluster.crashing
            && self.configured == cluster.configured
            && self.inputs == cluster.inputs
    }

    fn of(cluster: &Cluster) -> Self {
        Self {
            nodes: cluster.clues.nodes.clone(),
            servers: cluster.servers.clone(),
            workload: cluster.workload.clone(),
            crashing: cluster.crashing.clone(),
            configured: cluster.configured,
            inputs: cluster.inputs.clone(),
        }
    }
}

#[derive(Debug)]
struct Inner {
    version: u64,
    oldest: u64,
    basis: Option<Basis>,
    objects: BTreeMap<(Kind, String), Value>,
    /// Objects that do not follow from the cluster's state.
    beside: BTreeSet<(Kind, String)>,
    changes: VecDeque<Change>,
    /// Events whose reason is gone, and until when they stay.
    fading: BTreeMap<String, Instant>,
}

/// The history of one cluster.
#[derive(Debug)]
pub(super) struct History {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
    orders: watch::Sender<Orders>,
}

impl History {
    pub(super) fn new() -> Self {
        // Larger than any version of a run before, which made fewer than 1,000 changes a second.
        let seconds = u64::try_from(Utc::now().timestamp()).unwrap_or_default();
        let version = seconds * 1000;
        Self {
            inner: Mutex::new(Inner {
                version,
                oldest: version,
                basis: None,
                objects: BTreeMap::new(),
                beside: BTreeSet::new(),
                changes: VecDeque::new(),
                fading: BTreeMap::new(),
            }),
            version: watch::Sender::new(version),
            orders: watch::Sender::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a cluster is like now. Events fade sooner where pretend time is `times` as fast.
    pub(super) fn observe(&self, cluster: &Cluster, times: u32) {
        let mut inner = self.lock();
        let now = Instant::now();
        let faded = inner.fading.values().any(|until| *until <= now);
        if !faded && inner.basis.as_ref().is_some_and(|b| b.is_of(cluster)) {
            return;
        }
        inner.basis = Some(Basis::of(cluster));
        let before = inner.version;
        if cluster.configured {
            for kind in Kind::ALL {
                inner.update(kind, kind.objects(cluster), now, EVENTS_KEPT / times.max(1));
            }
        }
        let after = inner.version;
        drop(inner);
        if before != after {
            self.version.send_replace(after);
        }
    }

    /// Puts an object beside those that follow from the cluster's state.
    pub(super) fn put(&self, kind: Kind, object: Value) {
        let mut inner = self.lock();
        let key = key(&object);
        let is_new = inner.beside.insert((kind, key.clone()));
        let what = if is_new { "ADDED" } else { "MODIFIED" };
        inner.note(kind, what, key, object);
        let after = inner.version;
        drop(inner);
        self.version.send_replace(after);
    }

    /// All objects of a kind, and the version of the list.
    pub(super) fn list(&self, kind: Kind) -> (Vec<Value>, u64) {
        let inner = self.lock();
        let of_kind = |((its, _), _): &(&(Kind, String), &Value)| *its == kind;
        let objects = inner.objects.iter().filter(of_kind);
        (
            objects.map(|(_, object)| object.clone()).collect(),
            inner.version,
        )
    }

    /// What changed after a version, and the version that is now.
    pub(super) fn after(&self, kind: Kind, version: u64) -> Result<(Vec<Change>, u64), Expired> {
        let inner = self.lock();
        if version < inner.oldest {
            return Err(Expired {
                oldest: inner.oldest,
            });
        }
        let newer = |change: &&Change| change.kind == kind && change.version > version;
        let changes = inner.changes.iter().filter(newer).cloned().collect();
        Ok((changes, inner.version.max(version)))
    }

    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(super) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    /// Ends all watches.
    pub(super) fn end_watches(&self) {
        self.orders.send_modify(|orders| orders.ends += 1);
    }

    /// Forgets all changes, and tells the watches so.
    pub(super) fn expire_watches(&self) {
        let mut inner = self.lock();
        inner.version += 1;
        inner.oldest = inner.version;
        inner.changes.clear();
        drop(inner);
        self.orders.send_modify(|orders| orders.expiries += 1);
    }
}

impl Inner {
    fn update(&mut self, kind: Kind, objects: Vec<Value>, now: Instant, kept: Duration) {
        let mut gone: Vec<String> = self
            .objects
            .keys()
            .filter(|its| its.0 == kind && !self.beside.contains(its))
            .map(|(_, key)| key.clone())
            .collect();
        for mut object in objects {
            let key = key(&object);
            gone.retain(|other| *other != key);
            self.fading.remove(&key);
            let old = self.objects.get(&(kind, key.clone()));
            let what = match old {
                Some(old) if is_same(kind, old, &object) => continue,
                Some(_) => "MODIFIED",
                None => "ADDED",
            };
            if kind == Kind::Event {
                count(&mut object, old);
            }
            self.note(kind, what, key, object);
        }
        for key in gone {
            if kind == Kind::Event {
                let until = self.fading.entry(key.clone()).or_insert(now + kept);
                if *until > now {
                    continue;
                }
                self.fading.remove(&key);
            }
            if let Some(object) = self.objects.get(&(kind, key.clone())).cloned() {
                self.note(kind, "DELETED", key, object);
            }
        }
    }

    fn note(&mut self, kind: Kind, what: &'static str, key: String, mut object: Value) {
        self.version += 1;
        if let Some(metadata) = object.get_mut("metadata") {
            metadata["resourceVersion"] = json!(self.version.to_string());
        }
        if what == "DELETED" {
            self.objects.remove(&(kind, key));
        } else {
            self.objects.insert((kind, key), object.clone());
        }
        self.changes.push_back(Change {
            version: self.version,
            kind,
            what,
            object,
        });
        if self.changes.len() > REMEMBERED
            && let Some(oldest) = self.changes.pop_front()
        {
            self.oldest = oldest.version;
        }
    }
}

fn key(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let namespace = text("/metadata/namespace").unwrap_or_default();
    let name = text("/metadata/name").unwrap_or_default();
    format!("{namespace}/{name}")
}

/// Whether nothing but the version differs.
fn is_same(kind: Kind, old: &Value, new: &Value) -> bool {
    if kind == Kind::Event {
        return old.get("message") == new.get("message");
    }
    let mut new = new.clone();
    if let (Some(metadata), Some(version)) = (
        new.get_mut("metadata"),
        old.pointer("/metadata/resourceVersion"),
    ) {
        metadata["resourceVersion"] = version.clone();
    }
    *old == new
}

/// An event that happens again.
fn count(event: &mut Value, old: Option<&Value>) {
    let times = old.and_then(|old| old.get("count")?.as_u64());
    event["count"] = json!(times.unwrap_or_default() + 1);
    event["lastTimestamp"] = json!(Utc::now());
    if let Some(first) = old.and_then(|old| old.get("firstTimestamp")) {
        event["firstTimestamp"] = first.clone();
    }
}
