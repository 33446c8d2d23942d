//! Why a cluster does not grow: what was seen of it, and what each cause makes of that.
//!
//! Demand exists and capacity does not follow: that is a stall, and it has a cause (`Cause`).
//! [`Seen`] is one look at all systems; each cause is a pure function from it to a [`Verdict`] with
//! its evidence, in [`token`], [`clues`], [`machines`] and [`pods`]. `/pangeo diagnose` shows all
//! of them; the watch asks the same functions ([`stall`]).
//!
//! **Invariant:** no I/O, and no verdict from what was not seen: that is [`Verdict::Unknown`], with
//! the reason. Evidence is a line of a log or a value as it was read, never a guess.

pub mod clues;
pub mod machines;
pub mod pods;
pub mod stall;
pub mod token;
pub mod wanted;

use chrono::{DateTime, Utc};

use crate::domain::clues::{NodeState, first_label, quantity};

/// Something that was looked at, or why that failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Look<T> {
    /// It was seen.
    At(T),
    /// It was not: why, in a sentence.
    Failed(String),
}

impl<T> Look<T> {
    /// What was seen.
    pub fn seen(&self) -> Option<&T> {
        match self {
            Self::At(seen) => Some(seen),
            Self::Failed(_) => None,
        }
    }

    /// The verdict of `judge` over what was seen, or that it is not known.
    fn judge(&self, judge: impl FnOnce(&T) -> Verdict) -> Verdict {
        match self {
            Self::At(seen) => judge(seen),
            Self::Failed(why) => Verdict::Unknown(why.clone()),
        }
    }
}

/// An amount of compute: of a node, or what a pod asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory: u64,
}

impl Amount {
    /// As Kubernetes writes it: CPUs such as `8` or `7910m`, memory such as `32780552Ki`. What
    /// can't be read counts as nothing.
    pub fn of_kubernetes(cpu: &str, memory: &str) -> Self {
        Self {
            cpu_milli: quantity::cpu_milli(cpu).unwrap_or(0),
            memory: quantity::bytes(memory).unwrap_or(0),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    /// What is left of it without another.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory: self.memory.saturating_sub(other.memory),
        }
    }

    /// Whether it fits into another.
    pub fn fits(self, room: Self) -> bool {
        self.cpu_milli <= room.cpu_milli && self.memory <= room.memory
    }

    /// For people: `8 CPUs, 31.3 GiB`.
    pub fn words(self) -> String {
        const GIB: u64 = 1024 * 1024 * 1024;
        let tenths = self.memory.saturating_mul(10) / GIB;
        let cpus = if self.cpu_milli.is_multiple_of(1000) {
            format!("{}", self.cpu_milli / 1000)
        } else {
            format!("{}m", self.cpu_milli)
        };
        format!("{cpus} CPUs, {}.{} GiB", tenths / 10, tenths % 10)
    }
}

/// A pod that waits: not yet running, outside `kube-system` and `kube-flannel`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The scheduler's message, if it finds no node.
    pub unschedulable: Option<String>,
    /// Since when it waits.
    pub since: Option<DateTime<Utc>>,
    /// What its containers ask for together.
    pub asks: Amount,
    /// Why a container does not start, such as `ImagePullBackOff`, and the message.
    pub waiting: Option<(String, String)>,
    /// How often its containers were started again.
    pub restarts: i32,
    /// The newest warning that Kubernetes tells of it: a word such as `FailedMount`, and the message.
    pub warning: Option<(String, String)>,
}

/// A node of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenNode {
    /// Its name.
    pub name: String,
    /// Whether it is the control plane, where no user pods run.
    pub is_control_plane: bool,
    /// Condition `Ready`.
    pub ready: bool,
    /// What pods can have of it.
    pub allocatable: Amount,
}

/// What Kubernetes shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenKubernetes {
    /// Pods that wait.
    pub waiting: Vec<WaitingPod>,
    /// All nodes.
    pub nodes: Vec<SeenNode>,
}

impl SeenKubernetes {
    /// Pods that find no node: the demand.
    pub fn demand(&self) -> impl Iterator<Item = &WaitingPod> {
        self.waiting
            .iter()
            .filter(|pod| pod.unschedulable.is_some())
    }

    /// The biggest worker that there is.
    pub fn biggest_worker(&self) -> Option<Amount> {
        self.nodes
            .iter()
            .filter(|node| !node.is_control_plane)
            .map(|node| node.allocatable)
            .max_by_key(|amount| (amount.memory, amount.cpu_milli))
    }
}

/// A node as `clues status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CluesNode {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: NodeState,
    /// Whether CLUES may use it.
    pub enabled: bool,
    /// For how many seconds it has been in this state; `None` if CLUES' words do not read.
    pub stable_s: Option<i64>,
    /// What CLUES believes of its size.
    pub believed: Amount,
}

/// What CLUES shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenClues {
    /// Whether `clues status` finds no CLUES to answer.
    pub stopped: bool,
    /// Its nodes; none if it is stopped.
    pub nodes: Vec<CluesNode>,
    /// The lines of its log of the last hour, oldest first, without secrets.
    pub recent: Vec<String>,
    /// How long ago its log was written to, or emptied; `None` if it has none.
    pub quiet_s: Option<i64>,
}

impl SeenClues {
    /// The newest recent line that contains one of these texts.
    pub fn last_line(&self, texts: &[&str]) -> Option<&str> {
        let has = |line: &&String| texts.iter().any(|text| line.contains(text));
        self.recent.iter().rev().find(has).map(String::as_str)
    }

    /// The same, unless a newer line contains one of `past`.
    pub fn last_line_since(&self, texts: &[&str], past: &[&str]) -> Option<&str> {
        let newer = self.recent.iter().rev();
        let mut newer = newer.take_while(|line| !past.iter().any(|text| line.contains(text)));
        newer
            .find(|line| texts.iter().any(|text| line.contains(text)))
            .map(String::as_str)
    }
}

/// The token files of EC3 on the front end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenToken {
    /// When the access token in `auth.dat` ends; `None` if it has no readable end.
    pub ends_at: Option<DateTime<Utc>>,
    /// When `auth.dat` was last written.
    pub written_at: Option<DateTime<Utc>>,
    /// When `refresh.dat` was last written; `None` if it is missing.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// When the refresh token in it ends; `None` if it has no readable end.
    pub refresh_ends_at: Option<DateTime<Utc>>,
}

/// A quota of the cloud.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenQuota {
    /// What of: `cores`, `ram`, `instances`.
    pub name: String,
    /// How much is used.
    pub used: f64,
    /// How much there is; negative is without limit.
    pub limit: f64,
}

/// One look at everything that has to do with growing.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When.
    pub now: DateTime<Utc>,
    /// Kubernetes.
    pub kubernetes: Look<SeenKubernetes>,
    /// CLUES' state and log.
    pub clues: Look<SeenClues>,
    /// The token files.
    pub token: Look<SeenToken>,
    /// IM's states of the VMs, by number.
    pub vms: Look<Vec<(u32, String)>>,
    /// The quotas of the cloud.
    pub quotas: Look<Vec<SeenQuota>>,
    /// The size of workers as the cluster was deployed.
    pub flavour: Option<Amount>,
}

impl Seen {
    /// What a worker can give to pods: the biggest that there is, else the flavour.
    pub fn real_worker(&self) -> Option<Amount> {
        let kubernetes = self.kubernetes.seen();
        kubernetes
            .and_then(SeenKubernetes::biggest_worker)
            .or(self.flavour)
    }

    /// Whether Kubernetes shows a node as ready, or does not show it at all.
    pub fn is_ready(&self, name: &str) -> bool {
        let nodes = self.kubernetes.seen().into_iter().flat_map(|k| &k.nodes);
        let mut of_it = nodes.filter(|node| first_label(&node.name) == first_label(name));
        of_it.all(|node| node.ready)
    }

    /// Whether a pod would run if there were one more node.
    pub fn is_helped(&self, pod: &WaitingPod) -> bool {
        let real = self.real_worker();
        real.is_none_or(|real| pod.asks.fits(real)) && pods::other_reason(pod).is_none()
    }

    /// How many pods would run if there were one more node; 0 if that is not known.
    pub fn wants_nodes(&self) -> usize {
        let kubernetes = self.kubernetes.seen();
        kubernetes.map_or(0, |seen| {
            seen.demand().filter(|pod| self.is_helped(pod)).count()
        })
    }
}

/// What a cause makes of what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not this; what was seen instead.
    Fine(String),
    /// It is this.
    Found {
        /// The very lines or values that show it; at least one.
        evidence: Vec<String>,
        /// What to do, in words.
        remedy: Remedy,
    },
    /// It was not seen; why.
    Unknown(String),
}

impl Verdict {
    fn found(evidence: impl IntoIterator<Item = String>, remedy: Remedy) -> Self {
        Self::Found {
            evidence: evidence.into_iter().take(MAX_EVIDENCE).collect(),
            remedy,
        }
    }
}

/// The most lines of evidence of a cause.
const MAX_EVIDENCE: usize = 4;

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// In words, for who does it by hand.
    pub words: &'static str,
    /// The command that does it, below `/pangeo`; it takes the cluster as `name`. Shown where the
    /// bot has it.
    pub command: Option<&'static str>,
}

/// A cause of a stall, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The access token on the front end has ended.
    TokenExpired,
    /// The access token is not refreshed.
    RefreshFailing,
    /// CLUES does not run.
    CluesDead,
    /// CLUES believes in nodes of another size.
    WrongNodeSize,
    /// All nodes are on.
    MaximumReached,
    /// The cloud gives no more.
    CloudRefuses,
    /// A VM was made but not configured.
    NotConfigured,
    /// A node joined but is not ready.
    NodeNotReady,
    /// A pod asks for more than any node has.
    PodNeverFits,
    /// CLUES gave up to power a node on.
    PowerOnGivenUp,
    /// CLUES may not use a node.
    NodesDisabled,
    /// Pods wait for something else.
    NotScaling,
}

impl Cause {
    /// All of them, what explains most first.
    pub const ALL: [Self; 12] = [
        Self::TokenExpired,
        Self::RefreshFailing,
        Self::CluesDead,
        Self::WrongNodeSize,
        Self::MaximumReached,
        Self::CloudRefuses,
        Self::NotConfigured,
        Self::NodeNotReady,
        Self::PodNeverFits,
        Self::PowerOnGivenUp,
        Self::NodesDisabled,
        Self::NotScaling,
    ];

    /// Its name for people; alerts keep it in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenExpired => "token expired",
            Self::RefreshFailing => "token not refreshed",
            Self::CluesDead => "CLUES dead",
            Self::WrongNodeSize => "wrong node size in CLUES",
            Self::MaximumReached => "maximum reached",
            Self::CloudRefuses => "quota or cloud error",
            Self::NotConfigured => "VM never configured",
            Self::NodeNotReady => "node not ready",
            Self::PodNeverFits => "pod can never fit",
            Self::PowerOnGivenUp => "power-on given up",
            Self::NodesDisabled => "nodes disabled",
            Self::NotScaling => "not a scaling matter",
        }
    }

    /// The cause of a name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }

    /// Whether it is this.
    pub fn judge(self, seen: &Seen) -> Verdict {
        match self {
            Self::TokenExpired => token::expired(seen),
            Self::RefreshFailing => token::refresh_failing(seen),
            Self::CluesDead => clues::dead(seen),
            Self::WrongNodeSize => clues::wrong_node_size(seen),
            Self::MaximumReached => clues::maximum_reached(seen),
            Self::CloudRefuses => machines::cloud_refuses(seen),
            Self::NotConfigured => machines::not_configured(seen),
            Self::NodeNotReady => machines::node_not_ready(seen),
            Self::PodNeverFits => pods::never_fits(seen),
            Self::PowerOnGivenUp => clues::power_on_given_up(seen),
            Self::NodesDisabled => clues::nodes_disabled(seen),
            Self::NotScaling => pods::not_scaling(seen),
        }
    }
}

/// All causes with their verdicts, in order.
pub fn judge_all(seen: &Seen) -> Vec<(Cause, Verdict)> {
    Cause::ALL
        .into_iter()
        .map(|cause| (cause, cause.judge(seen)))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const GIB: u64 = 1024 * 1024 * 1024;

    pub(crate) fn amount(cpus: u64, gib: u64) -> Amount {
        Amount {
            cpu_milli: cpus * 1000,
            memory: gib * GIB,
        }
    }

    pub(crate) fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    pub(crate) fn clues_node(name: &str, state: NodeState) -> CluesNode {
        CluesNode {
            name: name.to_owned(),
            state,
            enabled: true,
            stable_s: Some(3600),
            believed: amount(8, 31),
        }
    }

    pub(crate) fn wants(asks: Amount) -> WaitingPod {
        WaitingPod {
            name: "jupyter-ana".to_owned(),
            unschedulable: Some("0/2 nodes are available: 2 Insufficient memory.".to_owned()),
            asks,
            ..WaitingPod::default()
        }
    }

    /// A cluster that is well: one worker of 8 CPUs and 31 GiB, another one off, no demand.
    pub(crate) fn well() -> Seen {
        let worker = SeenNode {
            name: "wn1".to_owned(),
            ready: true,
            allocatable: amount(8, 31),
            ..SeenNode::default()
        };
        Seen {
            now: at(0),
            kubernetes: Look::At(SeenKubernetes {
                waiting: Vec::new(),
                nodes: vec![worker],
            }),
            clues: Look::At(SeenClues {
                nodes: vec![
                    clues_node("wn1", NodeState::Used),
                    clues_node("wn2", NodeState::Off),
                ],
                quiet_s: Some(60),
                ..SeenClues::default()
            }),
            token: Look::At(SeenToken {
                ends_at: Some(at(40)),
                written_at: Some(at(-20)),
                refreshed_at: Some(at(-20)),
                refresh_ends_at: None,
            }),
            vms: Look::At(vec![
                (0, "configured".to_owned()),
                (1, "configured".to_owned()),
            ]),
            quotas: Look::At(vec![SeenQuota {
                name: "cores".to_owned(),
                used: 12.0,
                limit: 64.0,
            }]),
            flavour: Some(amount(8, 32)),
        }
    }

    pub(crate) fn clues_of(seen: &mut Seen) -> &mut SeenClues {
        match &mut seen.clues {
            Look::At(clues) => clues,
            Look::Failed(why) => panic!("{why}"),
        }
    }

    pub(crate) fn kubernetes_of(seen: &mut Seen) -> &mut SeenKubernetes {
        match &mut seen.kubernetes {
            Look::At(kubernetes) => kubernetes,
            Look::Failed(why) => panic!("{why}"),
        }
    }

    /// The first line of evidence.
    #[track_caller]
    pub(crate) fn evidence(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Found { evidence, .. } => &evidence[0],
            Verdict::Fine(_) | Verdict::Unknown(_) => panic!("not found: {verdict:?}"),
        }
    }

    #[test]
    fn a_cluster_that_is_well_has_no_cause() {
        for (cause, verdict) in judge_all(&well()) {
            assert!(
                matches!(verdict, Verdict::Fine(_)),
                "{}: {verdict:?}",
                cause.as_str()
            );
        }
    }

    #[test]
    fn nothing_is_judged_that_was_not_seen() {
        let failed = "it did not answer".to_owned();
        let blind = Seen {
            kubernetes: Look::Failed(failed.clone()),
            clues: Look::Failed(failed.clone()),
            token: Look::Failed(failed.clone()),
            vms: Look::Failed(failed.clone()),
            quotas: Look::Failed(failed),
            ..well()
        };
        for (cause, verdict) in judge_all(&blind) {
            assert!(
                matches!(verdict, Verdict::Unknown(_)),
                "{}: {verdict:?}",
                cause.as_str()
            );
        }
    }

    #[test]
    fn amounts_are_read_as_kubernetes_writes_them() {
        for (cpu, memory, expected) in [
            ("8", "32780552Ki", (8000, 33_567_285_248)),
            ("7910m", "2Gi", (7910, 2 * GIB)),
            ("0.5", "1G", (500, 1_000_000_000)),
            ("1.25", "1073741824", (1250, GIB)),
            ("", "lots", (0, 0)),
        ] {
            let amount = Amount::of_kubernetes(cpu, memory);
            assert_eq!(
                (amount.cpu_milli, amount.memory),
                expected,
                "{cpu} {memory}"
            );
        }
    }

    #[test]
    fn amounts_are_said_in_words() {
        assert_eq!(amount(8, 31).words(), "8 CPUs, 31.0 GiB");
        let half = Amount {
            cpu_milli: 500,
            memory: GIB / 2,
        };
        assert_eq!(half.words(), "500m CPUs, 0.5 GiB");
    }
}
