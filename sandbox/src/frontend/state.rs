//! What a pretend cluster is: kept over restarts of the sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::load::Load;

/// All clusters, by IM's id of the infrastructure.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Clusters {
    pub(super) clusters: BTreeMap<String, Cluster>,
    /// Counts the clusters ever made; names their folders.
    pub(super) made: u32,
}

/// One cluster with its front end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) folder: String,
    pub(super) address: Ipv4Addr,
    pub(super) private_key: String,
    pub(super) inputs: Map<String, Value>,
    /// Whether IM configured it: before, there is no Kubernetes.
    pub(super) configured: bool,
    /// The host names that have a valid certificate; an old one stays good.
    #[serde(default)]
    pub(super) certified: BTreeSet<String>,
    /// The chart version whose custom resource definitions are installed.
    pub(super) crds: Option<String>,
    pub(super) releases: Vec<Revision>,
    pub(super) workload: Workload,
    /// How often `helm upgrade` was run for real.
    pub(super) helm_runs: u32,
    /// CLUES and the nodes that it powers.
    #[serde(default)]
    pub(super) clues: Clues,
    /// The servers of users, and what they started.
    #[serde(default)]
    pub(super) servers: Vec<Server>,
    /// Users who come and go by themselves.
    #[serde(default)]
    pub(super) load: Option<Load>,
    /// Deployments whose pods start again and again, and how often they did.
    #[serde(default)]
    pub(super) crashing: BTreeMap<String, u32>,
    /// The tokens that users made at the hub, and whose they are.
    #[serde(default)]
    pub(super) hub_tokens: BTreeMap<String, String>,
}

/// CLUES, as it runs on the front end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clues {
    /// Whether it was stopped or has died.
    pub(super) down: bool,
    /// How often it was started.
    #[serde(default)]
    pub(super) starts: u32,
    /// What it read from its files when it started; the files may say something else since.
    pub(super) config: CluesConfig,
    /// All nodes that ever were, by name.
    pub(super) nodes: BTreeMap<String, WorkerNode>,
}

/// What CLUES reads when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CluesConfig {
    /// `KUBERNETES_NODE_SLOTS`.
    pub(super) slots: u64,
    /// `KUBERNETES_NODE_MEMORY`, bytes.
    pub(super) memory: u64,
    /// `IDLE_TIME`, seconds.
    pub(super) idle_s: u64,
    /// `EXTRA_NODES_FREE`.
    pub(super) extra_free: usize,
    /// `MAX_BOOTING_NODES`.
    pub(super) max_booting: usize,
    /// `RECONSIDER_JOB_TIME`, seconds.
    pub(super) reconsider_s: u64,
    /// `MAX_WAIT_POWERON`, seconds.
    pub(super) max_wait_on_s: u64,
    /// `RETRIES_POWER_ON`.
    pub(super) retries: u32,
    /// `LOGGER_MARK`, seconds.
    pub(super) mark_s: u64,
    /// `IM_VIRTUAL_CLUSTER_DROP_FAILING_VMS`, seconds.
    pub(super) drop_failing_s: u64,
}

impl Default for CluesConfig {
    fn default() -> Self {
        Self {
            slots: 1,
            memory: 1 << 30,
            idle_s: 900,
            extra_free: 0,
            max_booting: 5,
            reconsider_s: 60,
            max_wait_on_s: 3000,
            retries: 3,
            mark_s: 1800,
            drop_failing_s: 600,
        }
    }
}

/// The state of a node, in CLUES' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PowerState {
    Idle,
    Used,
    #[default]
    Off,
    PowOn,
    PowOff,
    OffErr,
    OnErr,
}

impl PowerState {
    /// The word of `clues status`, which cuts it after 8 characters.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Used => "used",
            Self::Off => "off",
            Self::PowOn => "powon",
            Self::PowOff => "powoff",
            Self::OffErr => "off (err",
            Self::OnErr => "on (err)",
        }
    }
}

/// A node that CLUES powers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorkerNode {
    pub(super) state: PowerState,
    pub(super) disabled: bool,
    pub(super) since: DateTime<Utc>,
    /// Whether it is a node of Kubernetes.
    pub(super) joined: bool,
    /// Whether Kubernetes puts nothing new on it.
    pub(super) cordoned: bool,
    /// Whether its kubelet does not answer.
    #[serde(default)]
    pub(super) not_ready: bool,
    /// Whether its machine was not configured to the end: it joined without a network.
    #[serde(default)]
    pub(super) unconfigured: bool,
    /// How often it could not be powered on since it last was on.
    #[serde(default)]
    pub(super) on_fails: u32,
    /// How often it could not be powered off.
    #[serde(default)]
    pub(super) off_fails: u32,
    /// Its VM.
    pub(super) vm: Option<u32>,
}

impl WorkerNode {
    pub(super) fn new() -> Self {
        Self {
            state: PowerState::Off,
            disabled: false,
            since: Utc::now(),
            joined: false,
            cordoned: false,
            not_ready: false,
            unconfigured: false,
            on_fails: 0,
            off_fails: 0,
            vm: None,
        }
    }

    /// Whether Kubernetes puts pods on it.
    pub(super) fn takes_pods(&self) -> bool {
        self.joined && !self.cordoned && !self.not_ready && !self.unconfigured
    }

    /// It is a node of Kubernetes from now on.
    pub(super) fn join(&mut self) {
        self.joined = true;
        self.cordoned = false;
        self.not_ready = false;
        self.on_fails = 0;
        self.set(PowerState::Idle);
    }

    pub(super) fn set(&mut self, state: PowerState) {
        if self.state != state {
            self.state = state;
            self.since = Utc::now();
        }
    }
}

/// A pod that takes room on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Server {
    /// The pod's name, such as `jupyter-ana`.
    pub(super) pod: String,
    /// Whose it is.
    pub(super) user: String,
    pub(super) cpu_milli: u64,
    pub(super) memory: u64,
    /// Where it runs; nowhere while it is pending.
    pub(super) node: Option<String>,
    pub(super) since: DateTime<Utc>,
    /// Why it does not start whatever nodes there are.
    #[serde(default)]
    pub(super) trouble: Option<Trouble>,
}

impl Server {
    /// A server that wants a place.
    pub(super) fn new(
        user: &str,
        (cpu_milli, memory): (u64, u64),
        trouble: Option<Trouble>,
    ) -> Self {
        Self {
            pod: format!("jupyter-{user}"),
            user: user.to_owned(),
            cpu_milli,
            memory,
            node: None,
            since: Utc::now(),
            trouble,
        }
    }

    /// The pod's unique id.
    pub(super) fn uid(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.pod, self.since.timestamp_micros()).hash(&mut hasher);
        let low = hasher.finish();
        uuid::Uuid::from_u64_pair(low.rotate_left(17), low).to_string()
    }
}

/// What keeps a server from starting that no node cures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// Its image can't be pulled.
    Image,
    /// Its volume is not bound.
    Volume,
}

/// One revision of the release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revision {
    /// From 1.
    pub revision: u32,
    /// helm's word for its state.
    pub status: String,
    /// Name of the chart.
    #[serde(default = "usual_chart")]
    pub chart: String,
    /// Version of the chart.
    pub chart_version: String,
    /// helm's description.
    pub description: String,
    /// When it last changed.
    pub updated: DateTime<Utc>,
    /// The values, as the text that was sent.
    pub values: String,
}

/// The chart of releases that were saved without its name.
fn usual_chart() -> String {
    super::chart::NAME.to_owned()
}

/// How the pods of DaskHub are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Workload {
    /// There are none.
    #[default]
    Absent,
    /// They start.
    Starting,
    /// They are ready.
    Ready,
    /// One deployment does not become ready.
    Broken { deployment: String, message: String },
}

impl Cluster {
    /// A cluster of workers with 8 cores and 32 GB, without nodes.
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        let inputs = serde_json::json!({ "wn_cpus": 8, "wn_mem": "32 GB" });
        Self {
            folder: String::new(),
            address: Ipv4Addr::LOCALHOST,
            private_key: String::new(),
            inputs: inputs.as_object().cloned().unwrap_or_default(),
            configured: true,
            certified: BTreeSet::new(),
            crds: None,
            releases: Vec::new(),
            workload: Workload::Absent,
            helm_runs: 0,
            clues: Clues::default(),
            servers: Vec::new(),
            load: None,
            crashing: BTreeMap::new(),
            hub_tokens: BTreeMap::new(),
        }
    }

    /// An input of the template as text.
    pub(super) fn input(&self, name: &str) -> Option<String> {
        let value = self.inputs.get(name)?;
        if value.is_null() {
            return None;
        }
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    }

    /// The Kubernetes version with its `v`.
    pub(super) fn kubernetes_version(&self) -> String {
        let version = self
            .input("kube_version")
            .unwrap_or_else(|| "1.28.15".to_owned());
        format!("v{}", version.trim_start_matches('v'))
    }

    /// The minor version of Kubernetes, 28 for 1.28.15.
    pub(super) fn kubernetes_minor(&self) -> u32 {
        self.kubernetes_version()
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse().ok())
            .unwrap_or(28)
    }

    pub(super) fn newest(&self) -> Option<&Revision> {
        self.releases.last()
    }

    /// The revision that runs.
    pub(super) fn deployed(&self) -> Option<&Revision> {
        self.releases
            .iter()
            .rev()
            .find(|revision| revision.status == "deployed")
    }

    pub(super) fn revision_mut(&mut self, number: u32) -> Option<&mut Revision> {
        self.releases
            .iter_mut()
            .find(|revision| revision.revision == number)
    }

    /// The host that the values of the running release send to the hub.
    pub(super) fn ingress_host(&self) -> Option<String> {
        let values: Value = serde_saphyr::from_str(&self.deployed()?.values).ok()?;
        values
            .pointer("/jupyterhub/ingress/hosts/0")?
            .as_str()
            .map(str::to_owned)
    }
}
