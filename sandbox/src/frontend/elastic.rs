//! What the nodes of a pretend cluster become over time: powered on and off by CLUES, filled with
//! the servers of users by Kubernetes.
//!
//! One step is a pure function of the cluster, the VMs that Infrastructure Manager has and the time;
//! [`run`] takes one after the other and does what they ask for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::Shared;
use super::clues::{self, Level, Vnode};
use super::load::Turn;
use super::scheduler::{Look, Mind, fail_on};
use super::state::{Cluster, PowerState, Server, Trouble, WorkerNode, Workload};
use crate::machines::WorkerVm;

/// The longest pause between two steps.
const STEP_EVERY: Duration = Duration::from_millis(200);

/// The shortest one.
const STEP_AT_LEAST: Duration = Duration::from_millis(20);

/// As often the real CLUES looks, in its own time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a step wants to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A line in CLUES' log.
    Log(&'static str, Level, String),
    /// IM shall remove a VM.
    Remove(u32),
    /// CLUES shall power a node on.
    PowerOn(String),
    /// CLUES shall power a node off.
    PowerOff(String),
}

/// Lets the nodes of a cluster live until the front end ends.
pub(super) async fn run(shared: Arc<Shared>, infrastructure: String) {
    let (mut mind, mut before) = (Mind::default(), Instant::now());
    loop {
        let pause = shared.options.pace.takes(LOOK_EVERY);
        tokio::time::sleep(pause.clamp(STEP_AT_LEAST, STEP_EVERY)).await;
        let elapsed = shared.options.pace.passes(before.elapsed());
        before = Instant::now();
        let vms = shared.workers().map(|im| im.list(&infrastructure));
        let vnodes = clues::vnodes(&shared, &infrastructure);
        let (acts, changed) = {
            let mut saved = shared.saved.read();
            let Some(cluster) = saved.clusters.get_mut(&infrastructure) else {
                return;
            };
            let was = (cluster.clues.clone(), cluster.servers.clone());
            let acts = step(cluster, &mut mind, vms.as_deref(), &vnodes, elapsed);
            let changed = was != (cluster.clues.clone(), cluster.servers.clone());
            (acts, changed)
        };
        if changed {
            drop(shared.saved.change());
        }
        do_all(&shared, &infrastructure, acts);
        shared.observe(&infrastructure);
    }
}

/// Does what was decided, in order.
pub(super) fn do_all(shared: &Shared, infrastructure: &str, acts: Vec<Act>) {
    let mut lines = String::new();
    for act in acts {
        if let Act::Log(name, level, text) = &act {
            lines.push_str(&clues::log_line(name, *level, text));
            continue;
        }
        clues::write_log(shared, infrastructure, &std::mem::take(&mut lines));
        do_it(shared, infrastructure, act);
    }
    clues::write_log(shared, infrastructure, &lines);
}

fn do_it(shared: &Shared, infrastructure: &str, act: Act) {
    match act {
        Act::Log(name, level, text) => clues::log(shared, infrastructure, name, level, &text),
        Act::Remove(vm) => {
            let token = clues::token(shared, infrastructure);
            if let Some(im) = shared.workers()
                && let Err(refused) = im.remove(infrastructure, vm, token.as_deref())
            {
                tracing::debug!(?refused, "IM removed no VM");
            }
        }
        Act::PowerOn(node) => {
            clues::power_on(shared, infrastructure, &node);
        }
        Act::PowerOff(node) => {
            clues::power_off(shared, infrastructure, &node);
        }
    }
}

/// One step. Without Infrastructure Manager (`vms` is `None`) every VM is there at once.
fn step(
    cluster: &mut Cluster,
    mind: &mut Mind,
    vms: Option<&[WorkerVm]>,
    vnodes: &[Vnode],
    elapsed: Duration,
) -> Vec<Act> {
    let mut acts = Vec::new();
    if !cluster.configured {
        return acts;
    }
    if let Some(vms) = vms {
        new_machines(cluster, vms);
    }
    for (name, node) in &mut cluster.clues.nodes {
        follow_machine(name, node, vms, &mut acts);
    }
    let most = u32::try_from(vnodes.len()).unwrap_or(u32::MAX);
    come_and_go(cluster, most, elapsed);
    place_servers(cluster);
    let busy = busy_nodes(cluster);
    for (name, node) in &mut cluster.clues.nodes {
        match (node.state, busy.contains(name)) {
            (PowerState::Idle, true) => node.set(PowerState::Used),
            (PowerState::Used, false) => node.set(PowerState::Idle),
            (_, _) => {}
        }
    }
    if !cluster.clues.down {
        mind.look(Look {
            cluster,
            vnodes,
            elapsed,
            now: Utc::now(),
            acts: &mut acts,
        });
    }
    acts
}

/// Users by themselves.
fn come_and_go(cluster: &mut Cluster, most: u32, elapsed: Duration) {
    let Some(load) = &mut cluster.load else {
        return;
    };
    // Three quarters of what the cluster can grow to.
    let turns = load.passes(elapsed, most.saturating_mul(6));
    let (cpus, memory) = worker_size(cluster);
    for turn in turns {
        match turn {
            Turn::Goes(user) => cluster.servers.retain(|server| server.user != user),
            Turn::Comes(user, eighths) => {
                let eighths = u64::from(eighths);
                let size = (cpus / 8 * eighths, memory / 8 * eighths);
                cluster.servers.push(Server::new(&user, size, None));
            }
        }
    }
}

/// VMs that somebody else asked IM for are nodes too.
fn new_machines(cluster: &mut Cluster, vms: &[WorkerVm]) {
    for vm in vms.iter().filter(|vm| vm.state == "configured") {
        let nodes = &mut cluster.clues.nodes;
        let node = nodes.entry(vm.node.clone()).or_insert_with(WorkerNode::new);
        if matches!(node.state, PowerState::Off | PowerState::OffErr) {
            node.vm = Some(vm.number);
            node.join();
        }
    }
}

/// What the VM of a node became.
fn follow_machine(
    name: &str,
    node: &mut WorkerNode,
    vms: Option<&[WorkerVm]>,
    acts: &mut Vec<Act>,
) {
    let vm = vms.map(|vms| vms.iter().find(|vm| node.vm == Some(vm.number)));
    node.unconfigured = matches!(vm, Some(Some(vm)) if vm.state == "unconfigured");
    match (node.state, vm) {
        (PowerState::PowOn, None) => powered_on(name, node, acts),
        (PowerState::PowOn, Some(Some(vm))) => match vm.state.as_str() {
            "configured" => powered_on(name, node, acts),
            "unconfigured" => {
                acts.push(in_state(name, vm));
                powered_on(name, node, acts);
            }
            "failed" => {
                acts.push(in_state(name, vm));
                acts.push(Act::Remove(vm.number));
                node.vm = None;
                fail_on(name, node, acts);
            }
            _on_its_way => {}
        },
        // It was removed before it came on.
        (PowerState::PowOn, Some(None)) if node.vm.is_some() => {
            node.vm = None;
            fail_on(name, node, acts);
        }
        (PowerState::Off | PowerState::OffErr, Some(None)) => node.vm = None,
        (PowerState::PowOff, None | Some(None)) => {
            node.vm = None;
            node.off_fails = 0;
            node.set(PowerState::Off);
        }
        (PowerState::Idle | PowerState::Used | PowerState::OnErr, Some(None)) => {
            // Somebody removed it in IM.
            node.vm = None;
            node.joined = false;
            node.set(PowerState::Off);
        }
        (_, _) => {}
    }
}

fn in_state(name: &str, vm: &WorkerVm) -> Act {
    let (number, state) = (vm.number, &vm.state);
    let text = format!("Node {name} in VM with id {number} is in state: {state}");
    Act::Log("PLUGIN-IM", Level::Error, text)
}

fn powered_on(name: &str, node: &mut WorkerNode, acts: &mut Vec<Act>) {
    let text = format!("node {name} has been powered on");
    acts.push(Act::Log("NODE", Level::Debug, text));
    node.join();
}

/// Cores (in thousandths) and bytes that Kubernetes may give away on a worker.
pub(super) fn worker_size(cluster: &Cluster) -> (u64, u64) {
    let number = |name: &str, default: u64| {
        let text = cluster.input(name);
        let number = text.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(default)
    };
    let bytes = number("wn_mem", 4) * 1_000_000_000 / 1024 * 1024;
    (number("wn_cpus", 2) * 1000, bytes)
}

/// What is in use on a node.
pub(super) fn used_on(cluster: &Cluster, node: &str) -> (u64, u64) {
    let on_it = |server: &&Server| server.node.as_deref() == Some(node);
    cluster
        .servers
        .iter()
        .filter(on_it)
        .fold((0, 0), |sum, server| {
            (sum.0 + server.cpu_milli, sum.1 + server.memory)
        })
}

/// Where the pods of DaskHub itself run: the first node that takes them.
pub(super) fn home(cluster: &Cluster) -> Option<String> {
    let mut nodes = cluster.clues.nodes.iter();
    let first = nodes.find(|(_, node)| node.joined && !node.cordoned);
    first.map(|(name, _)| name.clone())
}

fn busy_nodes(cluster: &Cluster) -> Vec<String> {
    let servers = cluster.servers.iter().filter_map(|s| s.node.clone());
    let hub = (cluster.workload != Workload::Absent)
        .then(|| home(cluster))
        .flatten();
    servers.chain(hub).collect()
}

/// Kubernetes' part: pods go where there is room; those of nodes that are gone are gone too.
fn place_servers(cluster: &mut Cluster) {
    let joined: Vec<String> = cluster
        .clues
        .nodes
        .iter()
        .filter(|(_, node)| node.joined)
        .map(|(name, _)| name.clone())
        .collect();
    cluster.servers.retain(|server| {
        server
            .node
            .as_ref()
            .is_none_or(|node| joined.contains(node))
    });
    let (cpus, memory) = worker_size(cluster);
    for number in 0..cluster.servers.len() {
        let waits =
            |server: &&Server| server.node.is_none() && server.trouble != Some(Trouble::Volume);
        let Some(server) = cluster.servers.get(number).filter(waits) else {
            continue;
        };
        let (need_cpus, need_memory) = (server.cpu_milli, server.memory);
        let place = joined.iter().find(|name| {
            let (used_cpus, used_memory) = used_on(cluster, name);
            let node = cluster.clues.nodes.get(*name);
            node.is_some_and(WorkerNode::takes_pods)
                && used_cpus + need_cpus <= cpus
                && used_memory + need_memory <= memory
        });
        let place = place.cloned();
        if let Some(server) = cluster.servers.get_mut(number) {
            server.node = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Load;
    use super::super::state::{Clues, CluesConfig};
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A cluster of workers of 8 cores, of which the first is on, with CLUES that knows their size.
    struct Life {
        cluster: Cluster,
        mind: Mind,
        vms: Vec<WorkerVm>,
        vnodes: Vec<Vnode>,
        log: Vec<String>,
        /// What IM answers when it is asked for a machine: the state in which the VM is next.
        machines: &'static str,
    }

    impl Life {
        fn of(most: u32) -> Self {
            let names: Vec<String> = (1..=most).map(|number| format!("wn{number}")).collect();
            let mut clues = Clues {
                config: CluesConfig {
                    slots: 8,
                    memory: 31 * GIB,
                    ..CluesConfig::default()
                },
                ..Clues::default()
            };
            for name in &names {
                clues.nodes.insert(name.clone(), WorkerNode::new());
            }
            let cluster = Cluster {
                clues,
                ..Cluster::for_tests()
            };
            let vnode = |name| Vnode {
                name,
                cpus: None,
                memory: None,
            };
            let mut life = Self {
                cluster,
                mind: Mind::default(),
                vms: Vec::new(),
                vnodes: names.into_iter().map(vnode).collect(),
                log: Vec::new(),
                machines: "configured",
            };
            life.powers_on("wn1");
            life.passes(5);
            life.log.clear();
            life
        }

        fn powers_on(&mut self, name: &str) {
            let node = self.cluster.clues.nodes.get_mut(name).unwrap();
            if self.machines == "refused" {
                let mut acts = Vec::new();
                fail_on(name, node, &mut acts);
                self.does(acts);
                return;
            }
            node.set(PowerState::PowOn);
            let number = self.vms.iter().map(|vm| vm.number).max().unwrap_or(0) + 1;
            node.vm = Some(number);
            self.vms.push(WorkerVm {
                number,
                node: name.to_owned(),
                state: self.machines.to_owned(),
            });
        }

        fn does(&mut self, acts: Vec<Act>) {
            for act in acts {
                match act {
                    Act::Log(name, _, text) => self.log.push(format!("[{name}] {text}")),
                    Act::Remove(vm) => self.vms.retain(|one| one.number != vm),
                    Act::PowerOn(name) => self.powers_on(&name),
                    Act::PowerOff(name) => {
                        let node = self.cluster.clues.nodes.get_mut(&name).unwrap();
                        node.joined = false;
                        node.set(PowerState::PowOff);
                        let vm = node.vm;
                        self.vms.retain(|one| Some(one.number) != vm);
                    }
                }
            }
        }

        /// Lets seconds pass, five at a time.
        fn passes(&mut self, seconds: u64) {
            for _ in 0..seconds.div_ceil(5) {
                let vms = Some(self.vms.clone());
                let acts = step(
                    &mut self.cluster,
                    &mut self.mind,
                    vms.as_deref(),
                    &self.vnodes,
                    LOOK_EVERY,
                );
                self.does(acts);
            }
        }

        fn starts(&mut self, user: &str, cpus: u64) {
            let size = (cpus * 1000, cpus * GIB);
            self.cluster.servers.push(Server::new(user, size, None));
        }

        fn states(&self) -> Vec<&'static str> {
            let nodes = self.cluster.clues.nodes.values();
            nodes.map(|node| node.state.word()).collect()
        }

        fn waiting(&self) -> usize {
            let servers = self.cluster.servers.iter();
            servers.filter(|server| server.node.is_none()).count()
        }

        fn says(&self, text: &str) -> usize {
            self.log.iter().filter(|line| line.contains(text)).count()
        }
    }

    #[test]
    fn a_pod_that_waits_long_enough_gets_a_node_which_idles_and_goes() {
        let mut life = Life::of(3);
        life.starts("ana", 6);
        life.starts("eva", 6);
        life.passes(55);
        assert_eq!(life.states(), ["used", "off", "off"]);
        life.passes(20);
        assert_eq!(life.waiting(), 0, "{:?}", life.log);
        assert_eq!(life.states(), ["used", "used", "off"]);
        for text in [
            "job [REQUEST 1] state: pending@",
            "has been pending for too long... reconsidering it",
            "#4. we need to power on some nodes that are off to serve 1 (['wn2'])",
            "[CLUES] nodes ['wn2'] are considered to be powered on",
            "[NODE] node wn2 has been powered on",
        ] {
            assert_eq!(life.says(text), 1, "{text}: {:?}", life.log);
        }
        life.cluster.servers.pop();
        life.passes(800);
        assert_eq!(life.states(), ["used", "idle", "off"]);
        life.passes(120);
        assert_eq!(life.states(), ["used", "off", "off"]);
        assert_eq!(
            life.says("nodes ['wn2'] are considered to be powered off"),
            1
        );
    }

    #[test]
    fn believed_size_decides_and_nothing_fits_when_all_are_on() {
        let mut life = Life::of(2);
        life.cluster.clues.config.slots = 1;
        life.starts("ana", 6);
        life.starts("eva", 6);
        life.passes(400);
        assert_eq!(life.states(), ["used", "off"]);
        assert!(life.says("#6. request") >= 2, "{:?}", life.log);
        life.cluster.clues.config.slots = 8;
        life.passes(120);
        assert_eq!((life.waiting(), life.states()), (0, vec!["used", "used"]));
        life.starts("zoe", 6);
        life.passes(400);
        assert_eq!(life.waiting(), 1);
    }

    #[test]
    fn a_refused_node_is_tried_three_times_and_then_given_up() {
        let mut life = Life::of(2);
        life.machines = "refused";
        life.starts("ana", 6);
        life.starts("eva", 6);
        life.passes(900);
        assert_eq!(life.states(), ["used", "off (err"]);
        for (fails, times) in [(1, 1), (2, 1), (3, 1), (4, 0)] {
            let text = format!("failed to power on node wn2 ({fails} fails)");
            assert_eq!(life.says(&text), times, "{text}");
        }
        assert_eq!(life.says("have tried to recover nodes ['wn2']"), 2);
    }

    #[test]
    fn machines_that_fail_or_never_come_are_given_up_in_time() {
        let mut life = Life::of(2);
        life.machines = "pending";
        life.starts("ana", 6);
        life.starts("eva", 6);
        life.passes(2900);
        assert_eq!(life.states(), ["used", "powon"]);
        life.passes(200);
        assert!(life.says("node was tried to be powered on, but it is still off") > 0);
        let mut life = Life::of(2);
        life.machines = "failed";
        life.starts("ana", 6);
        life.starts("eva", 6);
        life.passes(80);
        assert_eq!(life.says("Node wn2 in VM with id 2 is in state: failed"), 1);
        assert_eq!(life.vms.len(), 1);
    }

    #[test]
    fn an_unconfigured_node_takes_no_pods_and_stays() {
        let mut life = Life::of(2);
        life.machines = "unconfigured";
        life.starts("ana", 6);
        life.starts("eva", 6);
        life.passes(300);
        assert_eq!(life.waiting(), 1);
        assert_eq!(life.vms.len(), 2);
        assert_eq!(
            life.says("Node wn2 in VM with id 2 is in state: unconfigured"),
            1
        );
        life.vms[1].state = "configured".to_owned();
        life.passes(10);
        assert_eq!(life.waiting(), 0);
    }

    #[test]
    fn free_nodes_are_kept_and_booting_ones_are_limited() {
        let mut life = Life::of(4);
        life.cluster.clues.config.extra_free = 2;
        life.passes(10);
        assert_eq!(life.states(), ["idle", "idle", "off", "off"]);
        life.passes(2000);
        assert_eq!(life.states(), ["idle", "idle", "off", "off"]);
        let mut life = Life::of(4);
        life.cluster.clues.config.extra_free = 5;
        life.passes(60);
        assert!(life.says("cannot power on any node but still need 0 slots and 1 nodes") > 0);

        let mut life = Life::of(5);
        life.machines = "pending";
        life.cluster.clues.config.max_booting = 2;
        for user in ["a", "b", "c", "d", "e"] {
            life.starts(user, 6);
        }
        life.passes(90);
        assert_eq!(life.states(), ["used", "powon", "powon", "off", "off"]);
        assert!(life.says("Maximum number of booting nodes achieved (2)") > 0);
    }

    #[test]
    fn a_clues_that_lives_marks_its_log_every_half_hour_of_its_time() {
        let mut life = Life::of(1);
        life.passes(3700);
        assert_eq!(life.says("LOGGING MARK"), 2);
        life.cluster.clues.down = true;
        life.passes(3700);
        assert_eq!(life.says("LOGGING MARK"), 2);
    }

    #[test]
    fn a_week_of_users_is_served_and_nodes_go_at_night() {
        let mut life = Life::of(5);
        life.cluster.load = Some(Load::new(3));
        let (mut most, mut nights) = (0, 0);
        let mut waited: std::collections::BTreeMap<String, u32> = Default::default();
        for minute in 0..7 * 24 * 60 {
            life.passes(60);
            life.log.clear();
            let on = life.states().iter().filter(|s| **s != "off").count();
            most = most.max(on);
            let waits = |pod: &String| {
                let mut servers = life.cluster.servers.iter();
                servers.any(|server| server.pod == *pod && server.node.is_none())
            };
            waited.retain(|pod, _| waits(pod));
            for server in life.cluster.servers.iter().filter(|s| s.node.is_none()) {
                let minutes = waited.entry(server.pod.clone()).or_default();
                *minutes += 1;
                assert!(*minutes <= 3, "{} waits, minute {minute}", server.pod);
            }
            nights += usize::from(on <= 1);
        }
        assert!(most >= 2, "{most} nodes at most");
        assert!(nights > 1000, "{nights} minutes with one node");
    }
}
