//! What the nodes of a pretend cluster become over time: powered on and off by CLUES, filled with
//! the servers of users by Kubernetes.
//!
//! One step is a pure function of the cluster, the VMs that Infrastructure Manager has and the time;
//! [`run`] takes one after the other and does what they ask for.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Shared;
use super::clues::{self, Level};
use super::state::{Cluster, PowerState, WorkerNode, Workload};
use crate::machines::WorkerVm;

/// The pause between two steps.
const STEP_EVERY: Duration = Duration::from_millis(200);

/// What a step wants to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
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
    let mut tick = tokio::time::interval(STEP_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let vms = shared.workers().map(|im| im.list(&infrastructure));
        let known = clues::vnode_names(&shared, &infrastructure);
        let stepped = {
            let mut saved = shared.saved.read();
            let Some(cluster) = saved.clusters.get_mut(&infrastructure) else {
                return;
            };
            let before = (cluster.clues.clone(), cluster.servers.clone());
            let acts = step(cluster, vms.as_deref(), &known, Utc::now());
            let changed = before != (cluster.clues.clone(), cluster.servers.clone());
            (acts, changed)
        };
        if stepped.1 {
            drop(shared.saved.change());
        }
        for act in stepped.0 {
            match act {
                Act::Log(name, level, text) => {
                    clues::log(&shared, &infrastructure, name, level, &text);
                }
                Act::Remove(vm) => {
                    if let Some(im) = shared.workers()
                        && let Err(text) = im.remove(&infrastructure, vm)
                    {
                        tracing::debug!(text, "IM removed no VM");
                    }
                }
                Act::PowerOn(node) => {
                    clues::power_on(&shared, &infrastructure, &node);
                }
                Act::PowerOff(node) => clues::power_off(&shared, &infrastructure, &node),
            }
        }
    }
}

/// One step. Without Infrastructure Manager (`vms` is `None`) every VM is there at once.
fn step(
    cluster: &mut Cluster,
    vms: Option<&[WorkerVm]>,
    known: &[String],
    now: DateTime<Utc>,
) -> Vec<Act> {
    let mut acts = Vec::new();
    if !cluster.configured {
        return acts;
    }
    if let Some(vms) = vms {
        new_machines(cluster, vms);
    }
    let names: Vec<String> = cluster.clues.nodes.keys().cloned().collect();
    for name in names {
        if let Some(node) = cluster.clues.nodes.get_mut(&name) {
            follow_machine(&name, node, vms, &mut acts);
        }
    }
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
        schedule(cluster, known, now, &mut acts);
    }
    acts
}

/// VMs that somebody else asked IM for are nodes too.
fn new_machines(cluster: &mut Cluster, vms: &[WorkerVm]) {
    for vm in vms.iter().filter(|vm| vm.state == "configured") {
        let nodes = &mut cluster.clues.nodes;
        let node = nodes.entry(vm.node.clone()).or_insert_with(WorkerNode::new);
        if matches!(node.state, PowerState::Off | PowerState::OffErr) {
            node.vm = Some(vm.number);
            node.joined = true;
            node.cordoned = false;
            node.set(PowerState::Idle);
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
    match (node.state, vm) {
        (PowerState::PowOn, None) => join(node),
        (PowerState::PowOn, Some(Some(vm))) => match vm.state.as_str() {
            "configured" => join(node),
            "failed" | "unconfigured" => {
                let text = format!(
                    "Node {name} in VM with id {} is in state: {}",
                    vm.number, vm.state
                );
                acts.push(Act::Log("PLUGIN-IM", Level::Error, text));
                let text = "node was tried to be powered on, but it is still off".to_owned();
                acts.push(Act::Log("CLUES", Level::Warning, text));
                acts.push(Act::Remove(vm.number));
                node.vm = None;
                node.set(PowerState::OffErr);
            }
            _on_its_way => {}
        },
        (PowerState::PowOff, None | Some(None)) => {
            node.vm = None;
            node.set(PowerState::Off);
        }
        (PowerState::Idle | PowerState::Used, Some(None)) => {
            // Somebody removed it in IM.
            node.vm = None;
            node.joined = false;
            node.set(PowerState::Off);
        }
        (_, _) => {}
    }
}

fn join(node: &mut WorkerNode) {
    node.joined = true;
    node.cordoned = false;
    node.set(PowerState::Idle);
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
    let on_it = |server: &&super::state::Server| server.node.as_deref() == Some(node);
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
        let Some(server) = cluster.servers.get(number).filter(|s| s.node.is_none()) else {
            continue;
        };
        let (need_cpus, need_memory) = (server.cpu_milli, server.memory);
        let place = joined.iter().find(|name| {
            let (used_cpus, used_memory) = used_on(cluster, name);
            let takes = |node: &WorkerNode| !node.cordoned && !node.not_ready;
            cluster.clues.nodes.get(*name).is_some_and(takes)
                && used_cpus + need_cpus <= cpus
                && used_memory + need_memory <= memory
        });
        let place = place.cloned();
        if let Some(server) = cluster.servers.get_mut(number) {
            server.node = place;
        }
    }
}

/// CLUES' part: nodes for pods that wait, nodes kept free, nodes given back.
fn schedule(cluster: &Cluster, known: &[String], now: DateTime<Utc>, acts: &mut Vec<Act>) {
    let config = &cluster.clues.config;
    let enabled: Vec<(&String, &WorkerNode)> = cluster
        .clues
        .nodes
        .iter()
        .filter(|(name, node)| known.contains(name) && !node.disabled)
        .collect();
    let in_state = |state: PowerState| enabled.iter().filter(move |(_, node)| node.state == state);
    let (booting, idle) = (
        in_state(PowerState::PowOn).count(),
        in_state(PowerState::Idle).count(),
    );
    // What CLUES believes of a node that is off decides, not what the node would be.
    let waits = cluster.servers.iter().any(|server| {
        server.node.is_none()
            && server.cpu_milli <= config.slots * 1000
            && server.memory <= config.memory
    });
    let wants_one = (waits && booting == 0) || idle + booting < config.extra_free;
    if wants_one && booting < config.max_booting {
        if let Some((name, _)) = in_state(PowerState::Off).next() {
            let text = format!("nodes ['{name}'] are considered to be powered on");
            acts.push(Act::Log("SCHED", Level::Info, text));
            acts.push(Act::PowerOn((*name).clone()));
        }
        return;
    }
    let long = |node: &WorkerNode| {
        let idle_s = u64::try_from((now - node.since).num_seconds()).unwrap_or_default();
        idle_s > config.idle_s
    };
    if !waits
        && idle > config.extra_free
        && let Some((name, _)) = in_state(PowerState::Idle).rfind(|(_, node)| long(node))
    {
        let text = format!("nodes ['{name}'] are considered to be powered off");
        acts.push(Act::Log("SCHED", Level::Info, text));
        acts.push(Act::PowerOff((*name).clone()));
    }
}
