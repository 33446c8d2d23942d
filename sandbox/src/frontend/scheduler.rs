//! What the pretend CLUES decides: which nodes it powers on and off, and when it tries again.
//!
//! The rules and the words are those of the real one (grycap/clues @ 6ef8cf4 of 2025-10-20:
//! `clueslib/schedulers.py`, `cluesd.py`, `node.py`, `cluesplugins/im.py`) with the settings of its
//! Ansible role: a pod that waits for `RECONSIDER_JOB_TIME` becomes a request, a request that no
//! node serves powers one on that CLUES *believes* to be large enough, a node that does not come on
//! is tried `RETRIES_POWER_ON` times, one that idles for `IDLE_TIME` goes off.
//!
//! Three things differ, so that a cause of a stall lasts long enough to be seen and cured by hand:
//! the real one takes a node that is not ready for off and makes it anew after 10 minutes; it
//! deletes the VM of a node that is `unconfigured` at its next look; and it looks every 5 to 10
//! seconds, not at each step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::clues::{Level, Vnode};
use super::elastic::{Act, used_on, worker_size};
use super::state::{Cluster, PowerState, Server, Trouble, WorkerNode};

/// `PERIOD_RECOVERY_NODES`.
const RECOVER_EVERY: Duration = Duration::from_secs(30);

/// `EXTRA_NODES_PERIOD`.
const FREE_EVERY: Duration = Duration::from_secs(30);

/// `COOLDOWN_SERVED_REQUESTS`.
const SERVED_FOR: Duration = Duration::from_secs(120);

/// Thousandths of cores, and bytes.
type Amount = (u64, u64);

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Pending,
    /// A node comes on for it.
    Attended(String),
    /// There is a node for it, but others come first.
    Blocked,
    Served,
}

/// That a pod gets a node.
#[derive(Clone, Debug)]
struct Request {
    id: u32,
    pod: String,
    uid: String,
    asks: Amount,
    state: Asked,
    age: Duration,
    told_of_limit: bool,
}

impl Request {
    fn set(&mut self, state: Asked) {
        self.state = state;
        self.age = Duration::ZERO;
    }
}

/// What a `cluesd` remembers while it runs.
#[derive(Debug, Default)]
pub(super) struct Mind {
    run: u32,
    ages: BTreeMap<String, (PowerState, Duration)>,
    jobs: BTreeMap<String, Duration>,
    requests: Vec<Request>,
    made: u32,
    since_mark: Duration,
    since_recovery: Duration,
    since_free: Duration,
}

/// A look of CLUES at its cluster.
pub(super) struct Look<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) vnodes: &'a [Vnode],
    /// The pretend time since the look before.
    pub(super) elapsed: Duration,
    pub(super) now: DateTime<Utc>,
    pub(super) acts: &'a mut Vec<Act>,
}

impl Look<'_> {
    fn log(&mut self, name: &'static str, level: Level, text: String) {
        self.acts.push(Act::Log(name, level, text));
    }

    fn sched(&mut self, text: String) {
        self.log("SCHED", Level::Debug, text);
    }

    /// The nodes that CLUES lists, with what it believes to be free on each.
    fn rooms(&self) -> BTreeMap<String, Amount> {
        let config = &self.cluster.clues.config;
        let (cpus, memory) = worker_size(self.cluster);
        let nodes = self.cluster.clues.nodes.iter();
        let room = |(name, node): (&String, &WorkerNode)| {
            if node.joined {
                let used = used_on(self.cluster, name);
                let free = (cpus.saturating_sub(used.0), memory.saturating_sub(used.1));
                return Some((name.clone(), free));
            }
            let own = self.vnodes.iter().find(|vnode| vnode.name == *name)?;
            let cpus = own.cpus.unwrap_or(config.slots).saturating_mul(1000);
            let room = (cpus, own.memory.unwrap_or(config.memory));
            Some((name.clone(), room))
        };
        nodes.filter_map(room).collect()
    }

    fn state(&self, name: &str) -> Option<PowerState> {
        self.cluster.clues.nodes.get(name).map(|node| node.state)
    }

    /// The first node of these states that fits.
    fn first(
        &self,
        rooms: &BTreeMap<String, Amount>,
        asks: Amount,
        fits: impl Fn(&WorkerNode) -> bool,
    ) -> Option<String> {
        let mut nodes = self.cluster.clues.nodes.iter();
        let found = nodes.find(|(name, node)| {
            let room = rooms.get(*name);
            fits(node) && room.is_some_and(|room| asks.0 <= room.0 && asks.1 <= room.1)
        });
        found.map(|(name, _)| name.clone())
    }
}

/// Notes that a node could not be powered on.
pub(super) fn fail_on(name: &str, node: &mut WorkerNode, acts: &mut Vec<Act>) {
    node.on_fails += 1;
    node.set(PowerState::OffErr);
    let text = format!("failed to power on node {name} ({} fails)", node.on_fails);
    acts.push(Act::Log("NODE", Level::Debug, text));
}

/// Seconds since 1970 as Python prints them.
fn epoch(at: DateTime<Utc>, digits: usize) -> String {
    let micros = format!("{:06}", at.timestamp_subsec_micros());
    let micros: String = micros.chars().take(digits).collect();
    format!("{}.{micros}", at.timestamp())
}

/// The line that says that `cluesd` lives, every half hour.
pub(super) fn mark(at: DateTime<Utc>) -> String {
    let at = epoch(at, 6);
    format!("--------- LOGGING MARK (everything continues) @ {at}")
}

/// A list as Python prints it.
fn python_list(names: &[String]) -> String {
    format!("['{}']", names.join("', '"))
}

impl Mind {
    /// One look: decides, and says so in the log.
    pub(super) fn look(&mut self, mut look: Look<'_>) {
        if self.run != look.cluster.clues.starts {
            *self = Self {
                run: look.cluster.clues.starts,
                made: self.made,
                ..Self::default()
            };
        }
        self.grow_older(&look);
        self.mark(&mut look);
        self.give_up_waiting(&mut look);
        self.recover(&mut look);
        self.reconsider(&mut look);
        let mut on = self.serve(&mut look);
        let mut off = self.idle(&look);
        self.keep_free(&mut look, &mut on, &mut off);
        if !off.is_empty() {
            let names = python_list(&off);
            let text = format!("nodes {names} are considered to be powered off");
            look.log("CLUES", Level::Info, text);
            look.acts.extend(off.into_iter().map(Act::PowerOff));
        }
        if !on.is_empty() {
            let names = python_list(&on);
            let text = format!("nodes {names} are considered to be powered on");
            look.log("CLUES", Level::Info, text);
            look.acts.extend(on.into_iter().map(Act::PowerOn));
        }
    }

    fn grow_older(&mut self, look: &Look<'_>) {
        let nodes = &look.cluster.clues.nodes;
        self.ages.retain(|name, _| nodes.contains_key(name));
        for (name, node) in nodes {
            let age = self.ages.entry(name.clone());
            let age = age.or_insert((node.state, Duration::ZERO));
            if age.0 == node.state {
                age.1 += look.elapsed;
            } else {
                *age = (node.state, Duration::ZERO);
            }
        }
        for request in &mut self.requests {
            request.age += look.elapsed;
        }
    }

    fn age(&self, name: &str) -> Duration {
        self.ages.get(name).map_or(Duration::ZERO, |(_, age)| *age)
    }

    fn mark(&mut self, look: &mut Look<'_>) {
        self.since_mark += look.elapsed;
        if self.since_mark > Duration::from_secs(look.cluster.clues.config.mark_s) {
            self.since_mark = Duration::ZERO;
            let text = mark(look.now);
            look.log("CLUES", Level::Debug, text);
        }
    }

    /// Machines that take too long to come on, and those of nodes that were given up.
    fn give_up_waiting(&self, look: &mut Look<'_>) {
        let config = look.cluster.clues.config.clone();
        let acts = &mut *look.acts;
        for (name, node) in &mut look.cluster.clues.nodes {
            let age = self.age(name).as_secs();
            if node.state == PowerState::PowOn && age > config.max_wait_on_s {
                let text = "node was tried to be powered on, but it is still off".to_owned();
                acts.push(Act::Log("NODE", Level::Warning, text));
                fail_on(name, node, acts);
            }
            if node.state == PowerState::OffErr
                && age > config.drop_failing_s
                && let Some(vm) = node.vm.take()
            {
                let text = format!(
                    "node {name} has a VM running but it is OFF or UNKNOWN in the monitoring \
                     system since {age} seconds"
                );
                acts.push(Act::Log("PLUGIN-IM", Level::Warning, text));
                let text = "Trying to recover it (state: 6)".to_owned();
                acts.push(Act::Log("PLUGIN-IM", Level::Warning, text));
                acts.push(Act::Remove(vm));
            }
        }
    }

    /// Nodes in error are tried again, but not for ever.
    fn recover(&mut self, look: &mut Look<'_>) {
        self.since_recovery += look.elapsed;
        if self.since_recovery < RECOVER_EVERY {
            return;
        }
        self.since_recovery = Duration::ZERO;
        let retries = look.cluster.clues.config.retries;
        let mut recovered = Vec::new();
        for (name, node) in &mut look.cluster.clues.nodes {
            let state = if node.state == PowerState::OffErr && node.on_fails < retries {
                PowerState::Off
            } else if node.state == PowerState::OnErr && node.off_fails < retries {
                PowerState::Idle
            } else {
                continue;
            };
            node.set(state);
            recovered.push(name.clone());
        }
        if !recovered.is_empty() {
            let text = format!("have tried to recover nodes {}", python_list(&recovered));
            look.log("CLUES", Level::Debug, text);
        }
    }

    /// Makes requests of pods that wait for long.
    fn reconsider(&mut self, look: &mut Look<'_>) {
        let waits =
            |server: &&Server| server.node.is_none() && server.trouble != Some(Trouble::Image);
        let waiting: Vec<Server> = look.cluster.servers.iter().filter(waits).cloned().collect();
        let pods: BTreeSet<&str> = waiting.iter().map(|server| server.pod.as_str()).collect();
        self.jobs.retain(|pod, _| pods.contains(pod.as_str()));
        for request in &self.requests {
            let had_a_node = matches!(request.state, Asked::Attended(_) | Asked::Served);
            if had_a_node && !pods.contains(request.pod.as_str()) {
                look.sched(format!(
                    "request {} has already been attended by the LRMS ({})",
                    request.id, request.uid
                ));
            }
        }
        self.requests
            .retain(|request| pods.contains(request.pod.as_str()) && !request.is_over());
        let long = Duration::from_secs(look.cluster.clues.config.reconsider_s);
        let is_live = |request: &&Request| request.state != Asked::Served || request.age < long;
        let live = self.requests.iter().filter(is_live);
        let live: BTreeSet<String> = live.map(|request| request.pod.clone()).collect();
        self.requests.retain(|request| live.contains(&request.pod));
        for server in &waiting {
            let waited = self.jobs.entry(server.pod.clone()).or_default();
            *waited += look.elapsed;
            if *waited <= long || live.contains(&server.pod) {
                continue;
            }
            *waited = Duration::ZERO;
            self.made += 1;
            let request = Request {
                id: self.made,
                pod: server.pod.clone(),
                uid: server.uid(),
                asks: (server.cpu_milli, server.memory),
                state: Asked::Pending,
                age: Duration::ZERO,
                told_of_limit: false,
            };
            let job = request.words(look.now);
            look.sched(format!(
                "job {job} has been pending for too long... reconsidering it"
            ));
            self.requests.push(request);
        }
    }

    /// Finds nodes for the requests, in their order; those that are to be powered on.
    fn serve(&mut self, look: &mut Look<'_>) -> Vec<String> {
        let mut rooms = look.rooms();
        let (mut on, mut alive) = (Vec::new(), 0_usize);
        for request in &mut self.requests {
            if let Asked::Attended(node) = &request.state {
                let node = node.clone();
                if is_coming(look.state(&node)) {
                    take(&mut rooms, &node, request.asks);
                    alive += 1;
                    continue;
                }
                look.sched(format!(
                    "request {} now has all the nodes that it was waiting for in a state in which \
                     the request should be reconsidered",
                    request.id
                ));
                request.set(Asked::Pending);
            }
            if request.state == Asked::Served {
                continue;
            }
            match find(look, &rooms, request, &on, alive) {
                Found::Node(node, state) => {
                    take(&mut rooms, &node, request.asks);
                    if look.state(&node) == Some(PowerState::Off) && !on.contains(&node) {
                        on.push(node);
                    }
                    alive += usize::from(matches!(state, Asked::Attended(_)));
                    request.set(state);
                }
                Found::Nothing => request.set(Asked::Served),
                Found::Waits => break,
            }
        }
        on
    }

    /// Nodes that had nothing to do for long.
    fn idle(&self, look: &Look<'_>) -> Vec<String> {
        let nodes = look.cluster.clues.nodes.iter();
        let long = look.cluster.clues.config.idle_s;
        let is_idle = |(name, node): &(&String, &WorkerNode)| {
            let is_long = self.age(name).as_secs() > long;
            let is_well = !node.not_ready && !node.unconfigured;
            node.state == PowerState::Idle && !node.disabled && is_well && is_long
        };
        nodes
            .filter(is_idle)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Keeps as many nodes free as `EXTRA_NODES_FREE` says.
    fn keep_free(&mut self, look: &mut Look<'_>, on: &mut Vec<String>, off: &mut Vec<String>) {
        self.since_free += look.elapsed;
        let config = look.cluster.clues.config.clone();
        let nodes = &look.cluster.clues.nodes;
        let is_free = |(name, node): &(&String, &WorkerNode)| {
            matches!(node.state, PowerState::Idle | PowerState::PowOn) && !off.contains(name)
        };
        let free = nodes.iter().filter(is_free).count() + on.len();
        let Some(mut wanted) = config.extra_free.checked_sub(free).filter(|n| *n > 0) else {
            return;
        };
        let mut names: Vec<String> = off.drain(..wanted.min(off.len())).collect();
        wanted -= names.len();
        let can = |(name, node): &(&String, &WorkerNode)| {
            let is_off = node.state == PowerState::Off
                || node.state == PowerState::OffErr && node.on_fails < config.retries;
            is_off && !node.disabled && is_known(look.vnodes, name) && !on.contains(name)
        };
        let more = nodes.iter().filter(can).map(|(name, _)| name.clone());
        let more: Vec<String> = more.take(wanted).collect();
        wanted -= more.len();
        names.extend(more.iter().cloned());
        if !more.is_empty() || self.since_free >= FREE_EVERY {
            self.since_free = Duration::ZERO;
            let still = format!("still need 0 slots and {wanted} nodes");
            if !names.is_empty() {
                let names = python_list(&names);
                look.sched(format!("will power on {names}; {still}"));
            } else if wanted > 0 {
                look.sched(format!("cannot power on any node but {still}"));
            }
        }
        on.extend(more);
    }
}

impl Request {
    fn is_over(&self) -> bool {
        self.state == Asked::Served && self.age > SERVED_FOR
    }

    /// As the log has it (`Request.__str__`).
    fn words(&self, now: DateTime<Utc>) -> String {
        let (slots, memory) = (self.asks.0 / 100, self.asks.1);
        format!(
            "[REQUEST {}] state: pending@{}; resources: 1 tasks (1 per node max.): {}.{} slots, \
             {memory} memory, (['(pods_free > 0) && (schedule == 1)']) ; attended @0.00; job id: \
             {}; ",
            self.id,
            epoch(now, 2),
            slots / 10,
            slots % 10,
            self.uid
        )
    }
}

fn is_known(vnodes: &[Vnode], name: &str) -> bool {
    vnodes.iter().any(|vnode| vnode.name == name)
}

fn is_coming(state: Option<PowerState>) -> bool {
    use PowerState::{OnErr, PowOff, PowOn};
    matches!(state, Some(PowOn | PowOff | OnErr))
}

fn take(rooms: &mut BTreeMap<String, Amount>, node: &str, asks: Amount) {
    if let Some(room) = rooms.get_mut(node) {
        *room = (room.0.saturating_sub(asks.0), room.1.saturating_sub(asks.1));
    }
}

/// What is found for a request.
enum Found {
    Node(String, Asked),
    /// Nothing can be done for it.
    Nothing,
    /// It and those behind it wait.
    Waits,
}

/// The cases of `CLUES_Scheduler_PowOn_Requests`, in their order.
fn find(
    look: &mut Look<'_>,
    rooms: &BTreeMap<String, Amount>,
    request: &mut Request,
    on: &[String],
    alive: usize,
) -> Found {
    use PowerState::{Idle, Off, OnErr, PowOff, PowOn, Used};
    let (id, asks) = (request.id, request.asks);
    let is_on = |node: &WorkerNode| matches!(node.state, Idle | Used | OnErr) && !node.cordoned;
    if let Some(node) = look.first(rooms, asks, is_on) {
        if alive > 0 {
            return Found::Node(node, Asked::Blocked);
        }
        look.sched(format!("#1. we have 1 nodes to serve request {id}"));
        return Found::Node(node, Asked::Served);
    }
    if let Some(node) = look.first(rooms, asks, |node| node.state == PowOn) {
        look.sched(format!(
            "#2. there are nodes that are powering on that will serve request {id}"
        ));
        return Found::Node(node.clone(), Asked::Attended(node));
    }
    let nodes = look.cluster.clues.nodes.values();
    let booting = nodes.filter(|node| node.state == PowOn).count() + on.len();
    let most = look.cluster.clues.config.max_booting;
    if most > 0 && booting >= most {
        if !std::mem::replace(&mut request.told_of_limit, true) {
            look.sched(format!(
                "Maximum number of booting nodes achieved ({most})... will wait so see what happens"
            ));
        }
        return Found::Waits;
    }
    let is_off = |node: &WorkerNode| node.state == Off && !node.disabled;
    // Those that are chosen already come first.
    let chosen: BTreeMap<String, Amount> = rooms
        .iter()
        .filter(|(name, _)| on.contains(name))
        .map(|(name, room)| (name.clone(), *room))
        .collect();
    if let Some(node) = look.first(&chosen, asks, is_off) {
        let names = python_list(on);
        look.sched(format!(
            "#3. we have requested to power on nodes that will serve {id} ({names})"
        ));
        return Found::Node(node.clone(), Asked::Attended(node));
    }
    if let Some(node) = look.first(rooms, asks, is_off) {
        let names = python_list(std::slice::from_ref(&node));
        look.sched(format!(
            "#4. we need to power on some nodes that are off to serve {id} ({names})"
        ));
        return Found::Node(node.clone(), Asked::Attended(node));
    }
    let is_going = |node: &WorkerNode| node.state == PowOff && !node.disabled;
    if let Some(node) = look.first(rooms, asks, is_going) {
        let names = python_list(std::slice::from_ref(&node));
        look.sched(format!(
            "#5. we need to wait for some nodes that are being powered off to serve {id} ({names})"
        ));
        return Found::Node(node.clone(), Asked::Attended(node));
    }
    if alive > 0 {
        return Found::Waits;
    }
    look.sched(format!(
        "#6. request {id} cannot be satisfied, but there are no requests pending from powering on \
         nodes, so let's free this request"
    ));
    Found::Nothing
}
