//! A cluster as the watch sees it, look by look, over simulated days: users come and go, CLUES
//! powers nodes on and off, faults come and are cured.
//!
//! Only the systems are imitated here; what is made of them is the product's own:
//! [`stall::scaling`] and [`alert::next`]. The same file serves `tests/week.rs` and `make bench`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use pangeo_bot::domain::alert::{self, Alert, AlertKind, AlertState, Step};
use pangeo_bot::domain::clues::NodeState;
use pangeo_bot::domain::diagnosis::stall::{self, Limits, Memory};
use pangeo_bot::domain::diagnosis::{
    Amount, Cause, CluesNode, Look, Seen, SeenClues, SeenKubernetes, SeenNode, SeenQuota,
    SeenToken, WaitingPod,
};
use pangeo_bot::domain::ids::ClusterId;

/// The pause between two looks, in seconds.
pub(crate) const LOOK_S: i64 = 30;
/// The most workers.
const MAX_NODES: usize = 12;
/// How many servers fit on a worker.
const PER_NODE: usize = 3;
/// How long CLUES waits before it gives an idle node back, in seconds.
const IDLE_S: i64 = 600;

const GIB: u64 = 1024 * 1024 * 1024;
const WORKER: Amount = Amount {
    cpu_milli: 8000,
    memory: 31 * GIB,
};
const SERVER: Amount = Amount {
    cpu_milli: 2000,
    memory: 10 * GIB,
};

/// The limits of the default configuration.
pub(crate) fn limits() -> Limits {
    Limits {
        stalls_after: TimeDelta::minutes(5),
        latent_after: TimeDelta::minutes(10),
        boot: TimeDelta::minutes(25),
    }
}

/// What breaks, by the cause that it should be told as. A token that lives and is not refreshed is told
/// by an alert of its own kind, see [`Cause::RefreshFailing`] in `tests/week/live.rs`.
pub(crate) const FAULTS: [Cause; 11] = [
    Cause::TokenExpired,
    Cause::CluesDead,
    Cause::WrongNodeSize,
    Cause::CloudRefuses,
    Cause::NotConfigured,
    Cause::NodeNotReady,
    Cause::PowerOnGivenUp,
    Cause::NodesDisabled,
    Cause::PodNeverFits,
    Cause::MaximumReached,
    Cause::NotScaling,
];

/// A fault from one moment to another, in seconds since the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// What.
    pub(crate) cause: Cause,
    /// From when.
    pub(crate) from: i64,
    /// Until when.
    pub(crate) until: i64,
}

/// Numbers by a seed (Steele, Lea, Flood, "Fast splittable pseudorandom number generators").
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// By a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = (mixed ^ (mixed >> 31)) >> 33;
        i64::try_from(number).unwrap_or(0) % limit.max(1)
    }
}

#[derive(Clone, Debug)]
struct Server {
    since: i64,
    until: i64,
    node: Option<usize>,
    wants: Wants,
}

/// What a server wants.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wants {
    /// A place on a node.
    Place,
    /// More than any node has.
    TooMuch,
    /// An image that can't be pulled.
    NoImage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Power {
    Off,
    Booting {
        ready_at: i64,
    },
    On {
        idle_since: i64,
    },
    GivenUp,
    /// Its VM was made and never configured.
    Lost,
}

/// The cluster.
pub(crate) struct Simulation {
    dice: Dice,
    now: i64,
    nodes: Vec<(Power, i64)>,
    servers: Vec<Server>,
    faults: Vec<Fault>,
    log: Vec<(i64, String)>,
}

/// What the watch told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The cause, as far as it was known.
    pub(crate) cause: Option<String>,
    /// When, in seconds since the beginning.
    pub(crate) at: i64,
    /// When the alert was over, if it was.
    pub(crate) until: Option<i64>,
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
}

impl Simulation {
    /// A cluster with one worker, and faults to come.
    pub(crate) fn new(seed: u64, faults: Vec<Fault>) -> Self {
        let mut nodes = vec![(Power::Off, 0); MAX_NODES];
        if let Some(first) = nodes.first_mut() {
            first.0 = Power::On { idle_since: 0 };
        }
        Self {
            dice: Dice::new(seed),
            now: 0,
            nodes,
            servers: Vec::new(),
            faults,
            log: Vec::new(),
        }
    }

    /// Lives and is looked at for so long; answers what was told, in order.
    pub(crate) fn watch(&mut self, seconds: i64) -> Vec<Told> {
        let (limits, cluster) = (limits(), ClusterId::new());
        let mut memory = Memory::default();
        let mut open: Option<Alert> = None;
        let mut told: Vec<Told> = Vec::new();
        while self.now < seconds {
            self.now += LOOK_S;
            self.live();
            let seen = self.seen();
            memory = memory.after(&seen, &limits);
            let known = open
                .as_ref()
                .and_then(|alert| Cause::from_word(alert.told_cause()?));
            let look = alert::Look {
                cluster,
                kind: AlertKind::Scaling,
                sighting: stall::scaling(&seen, &memory, known, &limits),
                held: false,
                resolves_after: TimeDelta::minutes(1),
                counted_from: None,
                now: seen.now,
            };
            let before = open.as_ref().map(|alert| alert.state);
            match alert::next(open.as_ref(), &look) {
                Step::Stay => {}
                Step::Forget => open = None,
                Step::Become(alert) => {
                    if alert.state == AlertState::Firing && before != Some(AlertState::Firing) {
                        told.push(Told {
                            cause: alert.finding.cause.clone(),
                            at: self.now,
                            until: None,
                        });
                    }
                    open = Some(*alert).filter(|alert| alert.state != AlertState::Resolved);
                    if open.is_none()
                        && let Some(last) = told.last_mut()
                    {
                        last.until = Some(self.now);
                    }
                }
            }
        }
        told
    }

    fn has(&self, cause: Cause) -> bool {
        let now = self.now;
        let mut faults = self.faults.iter();
        faults.any(|fault| fault.cause == cause && (fault.from..fault.until).contains(&now))
    }

    /// One step of everybody.
    fn live(&mut self) {
        self.people();
        self.place();
        self.nodes_become();
        if !self.has(Cause::CluesDead) {
            self.clues();
        }
        self.place();
        self.log.retain(|(at, _)| *at > self.now - 3600);
    }

    /// People come by day, in courses at nine and fourteen, and with every fault; hardly at night.
    fn people(&mut self) {
        let now = self.now;
        self.servers.retain(|server| server.until > now);
        let (day, second) = (now / 86_400, now % 86_400);
        let hour = second / 3600;
        let mut come = 0;
        let one_in = match hour {
            0..7 => 480,
            7..9 | 18..24 => 60,
            _ => 24,
        };
        if self.dice.below(one_in) == 0 {
            come += 1;
        }
        let is_course = day % 7 < 5 && (hour == 9 || hour == 14) && second % 3600 < LOOK_S;
        if is_course {
            come += 8 + self.dice.below(10);
        }
        // Never more than there can be, with those who come with a fault.
        for _one in 0..come {
            if self.servers.len() < (MAX_NODES - 3) * PER_NODE {
                let stays = 1800 + self.dice.below(4 * 3600);
                self.server(stays, Wants::Place);
            }
        }
        let faults: Vec<Fault> = self.faults.clone();
        for fault in faults {
            let starts = (fault.from..fault.from + LOOK_S).contains(&now);
            if starts {
                self.come_with(fault);
            }
        }
    }

    /// Who makes a fault matter.
    fn come_with(&mut self, fault: Fault) {
        let lasts = fault.until - self.now;
        if fault.cause == Cause::MaximumReached {
            // Every place that there can be, whoever was there leaves meanwhile, and one more.
            for _one in 0..=MAX_NODES * PER_NODE {
                self.server(lasts, Wants::Place);
            }
            return;
        }
        // Enough for two nodes more than there are or come, for as long as it is broken; never more
        // than there can be, which would be another fault.
        let wanted = (self.room() + 2 * PER_NODE).saturating_sub(self.waiting());
        let possible = (MAX_NODES * PER_NODE).saturating_sub(self.servers.len());
        for _one in 0..wanted.min(possible) {
            self.server(lasts + 1800, Wants::Place);
        }
        if fault.cause == Cause::PodNeverFits {
            self.server(lasts, Wants::TooMuch);
        } else if fault.cause == Cause::NotScaling {
            self.server(lasts, Wants::NoImage);
        }
    }

    fn server(&mut self, stays: i64, wants: Wants) {
        self.servers.push(Server {
            since: self.now,
            until: self.now + stays,
            node: None,
            wants,
        });
    }

    fn takes(&self, number: usize) -> bool {
        let is_on = matches!(self.nodes.get(number), Some((Power::On { .. }, _)));
        is_on && !(number == 0 && self.has(Cause::NodeNotReady))
    }

    fn on_node(&self, number: usize) -> usize {
        let servers = self.servers.iter();
        servers.filter(|server| server.node == Some(number)).count()
    }

    /// How many servers wait for a place.
    fn waiting(&self) -> usize {
        let waits = |server: &&Server| server.node.is_none() && server.wants == Wants::Place;
        self.servers.iter().filter(waits).count()
    }

    /// How many more servers the nodes take that are on, or on their way.
    fn room(&self) -> usize {
        let comes = |number: usize| {
            let node = self.nodes.get(number);
            matches!(node, Some((Power::Booting { .. }, _)))
        };
        (0..MAX_NODES)
            .filter(|number| self.takes(*number) || comes(*number))
            .map(|number| PER_NODE.saturating_sub(self.on_node(number)))
            .sum()
    }

    fn place(&mut self) {
        for index in 0..self.servers.len() {
            let waits = self
                .servers
                .get(index)
                .is_some_and(|server| server.node.is_none() && server.wants == Wants::Place);
            if !waits {
                continue;
            }
            let place = (0..MAX_NODES)
                .find(|number| self.takes(*number) && self.on_node(*number) < PER_NODE);
            if let Some(server) = self.servers.get_mut(index) {
                server.node = place;
            }
        }
    }

    fn nodes_become(&mut self) {
        let now = self.now;
        let lost = self.has(Cause::NotConfigured);
        let given_up = self.has(Cause::PowerOnGivenUp);
        for number in 0..MAX_NODES {
            let used = self.on_node(number) > 0;
            let Some((power, since)) = self.nodes.get_mut(number) else {
                continue;
            };
            let next = match *power {
                Power::Booting { ready_at } if ready_at <= now => {
                    if lost {
                        Power::Lost
                    } else {
                        Power::On { idle_since: now }
                    }
                }
                Power::On { .. } if used => Power::On { idle_since: now },
                // What was cured is off again.
                Power::Lost if !lost => Power::Off,
                Power::GivenUp if !given_up => Power::Off,
                Power::Off
                | Power::Booting { .. }
                | Power::On { .. }
                | Power::GivenUp
                | Power::Lost => *power,
            };
            if std::mem::discriminant(&next) != std::mem::discriminant(power) {
                *since = now;
            }
            *power = next;
        }
    }

    /// CLUES powers a node on for those who wait, and gives idle ones back.
    fn clues(&mut self) {
        let now = self.now;
        let waits = self.waiting();
        let booting = self
            .nodes
            .iter()
            .filter(|(power, _)| matches!(power, Power::Booting { .. } | Power::Lost))
            .count();
        if waits > booting * PER_NODE
            && !self.has(Cause::WrongNodeSize)
            && !self.has(Cause::NodesDisabled)
        {
            self.power_on();
        }
        if waits == 0 {
            for (power, since) in self.nodes.iter_mut().skip(1) {
                if matches!(power, Power::On { idle_since } if now - *idle_since > IDLE_S) {
                    *power = Power::Off;
                    *since = now;
                }
            }
        }
    }

    fn power_on(&mut self) {
        let now = self.now;
        let refused = if self.has(Cause::TokenExpired) {
            Some("Error adding resources Unauthorized. OIDC auth Token expired.")
        } else if self.has(Cause::CloudRefuses) {
            Some("Error adding resources Bad Request. Quota exceeded for cores.")
        } else {
            None
        };
        let boots_in = 480 + self.dice.below(420);
        let given_up = self.has(Cause::PowerOnGivenUp);
        let off = self
            .nodes
            .iter_mut()
            .find(|(power, _)| *power == Power::Off);
        let Some((power, since)) = off else { return };
        let line = match refused {
            Some(why) => format!("[PLUGIN-IM];ERROR;x;{why}"),
            None if given_up => {
                *power = Power::GivenUp;
                "[MONITOR];DEBUG;x;failed to power on node (3 fails)".to_owned()
            }
            None => {
                *power = Power::Booting {
                    ready_at: now + boots_in,
                };
                "[PLUGIN-IM];DEBUG;x;Node wn successfully created/restarted".to_owned()
            }
        };
        *since = now;
        self.log.push((now, line));
    }

    /// What a look would show.
    fn seen(&self) -> Seen {
        let now = time(self.now);
        let ends_at = if self.has(Cause::TokenExpired) {
            now - TimeDelta::minutes(20)
        } else {
            now + TimeDelta::minutes(40)
        };
        Seen {
            now,
            kubernetes: Look::At(self.kubernetes()),
            clues: Look::At(self.clues_seen()),
            token: Look::At(SeenToken {
                ends_at: Some(ends_at),
                written_at: Some(now - TimeDelta::minutes(20)),
                refreshed_at: Some(now - TimeDelta::minutes(20)),
                refresh_ends_at: None,
            }),
            vms: Look::At(self.vms()),
            quotas: Look::At(vec![SeenQuota {
                name: "cores".to_owned(),
                used: 12.0,
                limit: 200.0,
            }]),
            flavour: Some(WORKER),
        }
    }

    fn kubernetes(&self) -> SeenKubernetes {
        let servers = self.servers.iter().enumerate();
        let waiting =
            servers
                .filter(|(_, server)| server.node.is_none())
                .map(|(number, server)| WaitingPod {
                    name: format!("jupyter-{number}"),
                    unschedulable: (server.wants != Wants::NoImage)
                        .then(|| "0/3 nodes are available: 3 Insufficient memory.".to_owned()),
                    since: Some(time(server.since)),
                    asks: if server.wants == Wants::TooMuch {
                        Amount {
                            cpu_milli: 64_000,
                            ..SERVER
                        }
                    } else {
                        SERVER
                    },
                    waiting: (server.wants == Wants::NoImage)
                        .then(|| ("ImagePullBackOff".to_owned(), "Back-off".to_owned())),
                    ..WaitingPod::default()
                });
        let nodes = self.nodes.iter().enumerate();
        let nodes = nodes
            .filter(|(_, (power, _))| matches!(power, Power::On { .. }))
            .map(|(number, _)| SeenNode {
                name: format!("wn{}", number + 1),
                is_control_plane: false,
                ready: self.takes(number),
                allocatable: WORKER,
            });
        SeenKubernetes {
            waiting: waiting.collect(),
            nodes: nodes.collect(),
        }
    }

    fn clues_seen(&self) -> SeenClues {
        let believed = if self.has(Cause::WrongNodeSize) {
            Amount {
                cpu_milli: 1000,
                memory: GIB,
            }
        } else {
            WORKER
        };
        let nodes = self.nodes.iter().enumerate();
        let nodes = nodes.map(|(number, (power, since))| {
            let state = match power {
                Power::Off => NodeState::Off,
                Power::Booting { .. } | Power::Lost => NodeState::PowOn,
                Power::On { .. } if self.on_node(number) > 0 => NodeState::Used,
                Power::On { .. } => NodeState::Idle,
                Power::GivenUp => NodeState::OffErr,
            };
            CluesNode {
                name: format!("wn{}", number + 1),
                enabled: !(state.is_off() && self.has(Cause::NodesDisabled)),
                state,
                stable_s: Some(self.now - since),
                believed: if state.is_off() { believed } else { WORKER },
            }
        });
        let stopped = self.has(Cause::CluesDead);
        SeenClues {
            stopped,
            nodes: if stopped { Vec::new() } else { nodes.collect() },
            recent: self.log.iter().map(|(_, line)| line.clone()).collect(),
            quiet_s: Some(60),
        }
    }

    fn vms(&self) -> Vec<(u32, String)> {
        let mut vms = BTreeMap::from([(0, "configured")]);
        for (number, (power, _)) in self.nodes.iter().enumerate() {
            let state = match power {
                Power::Off | Power::GivenUp => continue,
                Power::Booting { .. } => "running",
                Power::On { .. } => "configured",
                Power::Lost => "unconfigured",
            };
            vms.insert(u32::try_from(number).unwrap_or(0) + 1, state);
        }
        vms.into_iter()
            .map(|(number, state)| (number, state.to_owned()))
            .collect()
    }
}

/// How well the faults of some days were told.
#[derive(Clone, Debug)]
pub(crate) struct Days {
    /// How many faults there were.
    pub(crate) faults: usize,
    /// How many alerts there were.
    pub(crate) told: usize,
    /// Faults that were not told with the right cause while they were there.
    pub(crate) missed: Vec<Fault>,
    /// Alerts that told of no fault that was there.
    pub(crate) invented: Vec<Told>,
}

/// Days with random faults, one after the other, each for 90 minutes.
pub(crate) fn faulty_days(seed: u64, faults: usize) -> Days {
    let mut dice = Dice::new(seed);
    let mut at = 3600;
    let mut all = Vec::new();
    for _one in 0..faults {
        at += 3600 + dice.below(3600);
        let which = usize::try_from(dice.below(11)).unwrap_or(0);
        let cause = FAULTS.get(which).copied().unwrap_or(Cause::TokenExpired);
        all.push(Fault {
            cause,
            from: at,
            until: at + 5400,
        });
        at += 5400;
    }
    let mut told = Simulation::new(seed, all.clone()).watch(at + 7200);
    let counts = (all.len(), told.len());
    let is_of = |fault: &Fault, one: &Told| {
        one.cause.as_deref() == Some(fault.cause.as_str())
            && (fault.from..fault.until).contains(&one.at)
    };
    let mut missed = all.clone();
    missed.retain(|fault| !told.iter().any(|one| is_of(fault, one)));
    told.retain(|one| !all.iter().any(|fault| is_of(fault, one)));
    Days {
        faults: counts.0,
        told: counts.1,
        missed,
        invented: told,
    }
}
