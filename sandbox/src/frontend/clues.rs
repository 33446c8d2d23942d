//! The pretend CLUES of a front end: the programs `clues` and `service`, its files and its log.
//!
//! The words and formats are those of the real one (grycap/clues @ 6ef8cf4 of 2025-10-20: `clues`,
//! `cluesserver`, `clueslib/cluesd.py`), its exit codes too: `clues` exits with 0 when it can't
//! reach `cluesd`, and `clues enable` with 255 always. `kubernetes_vnodes.info` is read again at
//! each look, the other files only when `cluesd` starts.

use std::io::Write as _;
use std::path::PathBuf;

use chrono::Utc;
use serde_json::Value;

use super::elastic::{self, used_on, worker_size};
use super::protocol::{Call, Caller};
use super::state::{CluesConfig, Cluster, PowerState, WorkerNode};
use super::{Shared, ec3, scheduler};
use crate::machines::Refused;

const VNODES: &str = "etc/clues2/kubernetes_vnodes.info";
pub(super) const NODE_CFG: &str = "etc/clues2/conf.d/plugin-kubernetes.cfg";
const CLUES_CFG: &str = "etc/clues2/clues2.cfg";
const IM_CFG: &str = "etc/clues2/conf.d/plugin-im.cfg";
const AUTH_DAT: &str = "usr-local/ec3/auth.dat";
const LOG: &str = "var/log/clues2/clues2.log";

const NO_SERVER: &str = "Could not connect to CLUES server http://localhost:8000/RPC2 (please, check if it is running)\n";

/// The level of a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// A file of the front end, as a path of this machine.
fn file(shared: &Shared, infrastructure: &str, name: &str) -> Option<PathBuf> {
    let folder = shared.look(infrastructure, |cluster| cluster.folder.clone())?;
    Some(
        shared
            .options
            .state_dir
            .join(folder)
            .join("data")
            .join(name),
    )
}

fn read(shared: &Shared, infrastructure: &str, name: &str) -> Option<String> {
    std::fs::read_to_string(file(shared, infrastructure, name)?).ok()
}

/// Appends a line to CLUES' log.
pub(super) fn log(shared: &Shared, infrastructure: &str, name: &str, level: Level, text: &str) {
    write_log(shared, infrastructure, &log_line(name, level, text));
}

/// A line of CLUES' log, written now.
pub(super) fn log_line(name: &str, level: Level, text: &str) -> String {
    let now = Utc::now().format("%Y-%m-%d %H:%M:%S,%3f");
    let (name, level) = (format!("[{name}]"), level.word());
    format!("{name:>10};{level:>5};{now};{text}\n")
}

/// Appends lines to CLUES' log.
pub(super) fn write_log(shared: &Shared, infrastructure: &str, lines: &str) {
    if lines.is_empty() {
        return;
    }
    let Some(path) = file(shared, infrastructure, LOG) else {
        return;
    };
    let opened = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path);
    if let Err(error) = opened.and_then(|mut file| file.write_all(lines.as_bytes())) {
        tracing::debug!(%error, "no line in the log of CLUES");
    }
}

/// A virtual node of the file.
#[derive(Clone, Debug)]
pub(super) struct Vnode {
    pub(super) name: String,
    /// Its own number of cores, if it has one.
    pub(super) cpus: Option<u64>,
    /// Its own memory in bytes, if it has some.
    pub(super) memory: Option<u64>,
}

/// The virtual nodes of the file.
pub(super) fn vnodes(shared: &Shared, infrastructure: &str) -> Vec<Vnode> {
    let text = read(shared, infrastructure, VNODES).unwrap_or_default();
    let list: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    let number = |value: &Value| {
        let text = value.as_str().and_then(|text| text.parse().ok());
        value.as_u64().or(text)
    };
    list.iter()
        .filter_map(|vnode| {
            let name = vnode.get("name")?.as_str()?.to_owned();
            let own = |key: &str| vnode.get(key).and_then(number);
            let (cpus, memory) = (own("cpu"), own("memory"));
            Some(Vnode { name, cpus, memory })
        })
        .collect()
}

/// The names of the virtual nodes.
pub(super) fn vnode_names(shared: &Shared, infrastructure: &str) -> Vec<String> {
    let vnodes = vnodes(shared, infrastructure);
    vnodes.into_iter().map(|vnode| vnode.name).collect()
}

/// A value of an INI file, as Python's `ConfigParser` finds it.
fn setting(text: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name == section;
        } else if inside
            && !line.starts_with(['#', ';', ' ', '\t'])
            && let Some((name, value)) = line.split_once(['=', ':'])
            && name.trim().eq_ignore_ascii_case(key)
        {
            found = Some(value.trim().to_owned());
        }
    }
    found
}

/// What `cluesd` reads when it starts.
fn read_config(shared: &Shared, infrastructure: &str) -> CluesConfig {
    let node = read(shared, infrastructure, NODE_CFG).unwrap_or_default();
    let main = read(shared, infrastructure, CLUES_CFG).unwrap_or_default();
    let default = CluesConfig::default();
    let machines = read(shared, infrastructure, IM_CFG).unwrap_or_default();
    let file = Ini(&node, "KUBERNETES");
    let (scheduling, monitoring) = (Ini(&main, "scheduling"), Ini(&main, "monitoring"));
    let (general, im) = (Ini(&main, "general"), Ini(&machines, "IM VIRTUAL CLUSTER"));
    CluesConfig {
        slots: file.number("KUBERNETES_NODE_SLOTS", default.slots),
        memory: file.number("KUBERNETES_NODE_MEMORY", default.memory),
        idle_s: scheduling.number("IDLE_TIME", default.idle_s),
        extra_free: scheduling.number("EXTRA_NODES_FREE", default.extra_free),
        max_booting: scheduling.number("MAX_BOOTING_NODES", default.max_booting),
        reconsider_s: scheduling.number("RECONSIDER_JOB_TIME", default.reconsider_s),
        max_wait_on_s: monitoring.number("MAX_WAIT_POWERON", default.max_wait_on_s),
        retries: scheduling.number("RETRIES_POWER_ON", default.retries),
        mark_s: general.number("LOGGER_MARK", default.mark_s),
        drop_failing_s: im.number(
            "IM_VIRTUAL_CLUSTER_DROP_FAILING_VMS",
            default.drop_failing_s,
        ),
    }
}

/// A section of an INI file.
struct Ini<'a>(&'a str, &'static str);

impl Ini<'_> {
    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        let found = setting(self.0, self.1, key).and_then(|value| value.parse().ok());
        found.unwrap_or(default)
    }
}

/// The access token with which CLUES asks IM; `None` where tokens mean nothing.
pub(super) fn token(shared: &Shared, infrastructure: &str) -> Option<String> {
    shared.options.ec3.as_ref()?;
    let auth = read(shared, infrastructure, AUTH_DAT).unwrap_or_default();
    Some(ec3::clues_token_in(&auth).unwrap_or_default())
}

/// Starts `cluesd`: it reads its files.
pub(super) fn start(shared: &Shared, infrastructure: &str) {
    let config = read_config(shared, infrastructure);
    let names = vnode_names(shared, infrastructure);
    shared.change(infrastructure, |cluster| {
        cluster.clues.down = false;
        cluster.clues.starts += 1;
        cluster.clues.config = config;
        for name in names {
            let nodes = &mut cluster.clues.nodes;
            nodes.entry(name).or_insert_with(WorkerNode::new);
        }
    });
    let text = scheduler::mark(Utc::now());
    log(shared, infrastructure, "CLUES", Level::Debug, &text);
}

/// Powers a node on; `false` if IM refused.
pub(super) fn power_on(shared: &Shared, infrastructure: &str, name: &str) -> bool {
    let is_new = shared.change(infrastructure, |cluster| {
        let nodes = &mut cluster.clues.nodes;
        let node = nodes.entry(name.to_owned()).or_insert_with(WorkerNode::new);
        let is_off = matches!(node.state, PowerState::Off | PowerState::OffErr);
        if is_off {
            node.set(PowerState::PowOn);
        }
        is_off
    });
    if is_new != Some(true) {
        return is_new.is_some();
    }
    if shared.look(infrastructure, |c| has_vm(c, name)) == Some(true) {
        let text = format!("Trying to launch an existing node {name}. Ignoring it.");
        log(shared, infrastructure, "PLUGIN-IM", Level::Warning, &text);
        fail_on(shared, infrastructure, name);
        return false;
    }
    let token = token(shared, infrastructure);
    let added = shared
        .workers()
        .map(|im| im.add(infrastructure, name, token.as_deref()))
        .transpose();
    let on = |change: &dyn Fn(&mut WorkerNode)| {
        shared.change(infrastructure, |cluster| {
            cluster.clues.nodes.get_mut(name).map(change)
        });
    };
    match added {
        Ok(vm) => {
            on(&|node| node.vm = vm);
            let text = format!("Node {name} successfully created/restarted");
            log(shared, infrastructure, "PLUGIN-IM", Level::Debug, &text);
            true
        }
        Err(Refused { reason, text }) => {
            let text = format!("Error adding resources {reason}. {text}.");
            log(shared, infrastructure, "PLUGIN-IM", Level::Error, &text);
            fail_on(shared, infrastructure, name);
            false
        }
    }
}

fn has_vm(cluster: &Cluster, name: &str) -> bool {
    let node = cluster.clues.nodes.get(name);
    node.is_some_and(|node| node.vm.is_some())
}

/// Notes that a node could not be powered on.
fn fail_on(shared: &Shared, infrastructure: &str, name: &str) {
    let text =
        format!("could not power on node {name}. It will be considered OFF, but with errors");
    log(shared, infrastructure, "CLUES", Level::Warning, &text);
    let mut acts = Vec::new();
    shared.change(infrastructure, |cluster| {
        if let Some(node) = cluster.clues.nodes.get_mut(name) {
            scheduler::fail_on(name, node, &mut acts);
        }
    });
    elastic::do_all(shared, infrastructure, acts);
}

/// Powers a node off, with everything on it; `false` if IM refused.
pub(super) fn power_off(shared: &Shared, infrastructure: &str, name: &str) -> bool {
    let on = |node: &WorkerNode| {
        use PowerState::{Off, OffErr, PowOff};
        (!matches!(node.state, Off | OffErr | PowOff)).then_some(node.vm)
    };
    let found = shared.look(infrastructure, |cluster| {
        cluster.clues.nodes.get(name).and_then(on)
    });
    let Some(vm) = found.flatten() else {
        return true;
    };
    let token = token(shared, infrastructure);
    let removed = match (vm, shared.workers()) {
        (Some(vm), Some(im)) => im.remove(infrastructure, vm, token.as_deref()),
        (_, _) => Ok(()),
    };
    let fails = shared.change(infrastructure, |cluster| {
        let node = cluster.clues.nodes.get_mut(name)?;
        if removed.is_err() {
            node.off_fails += 1;
            node.set(PowerState::OnErr);
        } else {
            node.joined = false;
            node.set(PowerState::PowOff);
            cluster.servers.retain(|s| s.node.as_deref() != Some(name));
        }
        cluster.clues.nodes.get(name).map(|node| node.off_fails)
    });
    let Err(Refused { reason, text }) = removed else {
        return true;
    };
    let fails = fails.flatten().unwrap_or_default();
    let say = |name, level, text: &str| log(shared, infrastructure, name, level, text);
    say(
        "PLUGIN-IM",
        Level::Error,
        &format!("ERROR deleting node {name}: {reason}. {text}."),
    );
    let text =
        format!("could not power off node {name}. It will be considered ON, but with errors");
    say("CLUES", Level::Warning, &text);
    let text = format!("failed to power off node {name} ({fails} fails)");
    say("NODE", Level::Debug, &text);
    false
}

/// The pretend `clues`.
pub(super) async fn clues(
    shared: &Shared,
    infrastructure: &str,
    call: &Call,
    caller: &mut Caller,
) -> u8 {
    if shared.look(infrastructure, |cluster| cluster.clues.down) != Some(false) {
        caller.out(NO_SERVER).await;
        return 0;
    }
    let mut words = call.args.iter().map(String::as_str);
    let verb = words.next().unwrap_or_default();
    if verb == "status" {
        let vnodes = vnodes(shared, infrastructure);
        let table = shared.look(infrastructure, |cluster| table(cluster, &vnodes));
        // The command line prints the answer and a line break.
        caller.out(format!("{}\n", table.unwrap_or_default())).await;
        return 0;
    }
    let nodes: Vec<&str> = words.collect();
    let known = |name: &str| {
        vnode_names(shared, infrastructure)
            .iter()
            .any(|n| n == name)
            || shared.look(infrastructure, |c| {
                c.clues.nodes.get(name).is_some_and(|node| node.joined)
            }) == Some(true)
    };
    let mut lines = Vec::new();
    let mut failed = nodes.is_empty();
    for name in nodes {
        let done = if known(name) {
            act(shared, infrastructure, verb, name)
        } else {
            Err(refusal(verb, name))
        };
        failed |= done.is_err();
        lines.push(done.unwrap_or_else(|text| text));
    }
    caller.out(format!("{}\n", lines.join("\n"))).await;
    if verb == "enable" {
        255
    } else {
        u8::from(failed)
    }
}

fn refusal(verb: &str, name: &str) -> String {
    match verb {
        "poweron" => {
            format!("node {name} could not be powered on (could not power on the node {name})")
        }
        "poweroff" => {
            format!("node {name} could not be powered off (could not power off the node {name})")
        }
        "resetstate" => format!("could not reset the node {name} (Node is not managed by CLUES)"),
        verb => format!("could not {verb} node {name} (node is not managed by CLUES)"),
    }
}

fn act(shared: &Shared, infrastructure: &str, verb: &str, name: &str) -> Result<String, String> {
    let on = |change: &dyn Fn(&mut WorkerNode)| {
        shared.change(infrastructure, |cluster| {
            let nodes = &mut cluster.clues.nodes;
            change(nodes.entry(name.to_owned()).or_insert_with(WorkerNode::new));
        });
    };
    match verb {
        "poweron" if power_on(shared, infrastructure, name) => {
            Ok(format!("node {name} powered on"))
        }
        "poweroff" if power_off(shared, infrastructure, name) => {
            Ok(format!("node {name} powered off"))
        }
        "enable" | "disable" => {
            on(&|node| node.disabled = verb == "disable");
            Ok(format!("node {name} successfully {verb}d"))
        }
        "resetstate" => {
            on(&|node| {
                // The real one takes it for idle until its next look, which is for off.
                node.on_fails = 0;
                node.off_fails = 0;
                if node.state == PowerState::OffErr {
                    node.set(PowerState::Off);
                } else if node.state == PowerState::OnErr {
                    node.set(PowerState::Idle);
                }
            });
            Ok(format!("Node {name} reset to idle"))
        }
        verb => Err(refusal(verb, name)),
    }
}

/// The table of `clues status`.
fn table(cluster: &Cluster, vnodes: &[Vnode]) -> String {
    let mut text = format!(
        "{:<24}   {:>8}   {:>8}   {:>11}   {:>14}   {:>15}\n{}\n",
        "node",
        "state",
        "enabled",
        "time stable",
        "(cpu,mem) used",
        "(cpu,mem) total",
        "-".repeat(95)
    );
    let config = &cluster.clues.config;
    let mut names: Vec<&String> = vnodes.iter().map(|vnode| &vnode.name).collect();
    let nodes = &cluster.clues.nodes;
    names.extend(
        nodes
            .iter()
            .filter(|(_, node)| node.joined)
            .map(|(name, _)| name),
    );
    names.sort();
    names.dedup();
    for name in names {
        let node = nodes.get(name).cloned().unwrap_or_else(WorkerNode::new);
        let (used, total) = if node.joined {
            let (cpus, memory) = worker_size(cluster);
            (used_on(cluster, name), (cpus / 1000, memory))
        } else {
            let own = vnodes.iter().find(|vnode| vnode.name == *name);
            let (cpus, memory) = own.map_or((None, None), |own| (own.cpus, own.memory));
            let total = (
                cpus.unwrap_or(config.slots),
                memory.unwrap_or(config.memory),
            );
            ((0, 0), total)
        };
        let enabled = if node.disabled { "disabled" } else { "enabled" };
        let stable = (Utc::now() - node.since).num_seconds().max(0);
        let stable = format!(
            "{:02}h{:02}'{:02}\"",
            stable / 3600 % 24,
            stable / 60 % 60,
            stable % 60
        );
        let cpus = format!("{}.{}", used.0 / 1000, used.0 % 1000 / 100);
        text.push_str(&format!(
            "{:<24}   {:>8}   {enabled:>8}   {stable:>11}   {cpus:>4},{:<9}    {:>3},{:<9}\n",
            name.chars().take(24).collect::<String>(),
            node.state.word(),
            used.1,
            total.0,
            total.1
        ));
    }
    text
}

/// The pretend `service`: knows `cluesd`.
pub(super) async fn service(
    shared: &Shared,
    infrastructure: &str,
    call: &Call,
    caller: &mut Caller,
) -> u8 {
    let mut words = call.args.iter().map(String::as_str);
    let (unit, verb) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if unit != "cluesd" {
        let text = format!("Failed to {verb} {unit}.service: Unit {unit}.service not found.\n");
        caller.err(text).await;
        return 5;
    }
    match verb {
        "start" | "restart" => {
            start(shared, infrastructure);
            0
        }
        "stop" => {
            shared.change(infrastructure, |cluster| cluster.clues.down = true);
            0
        }
        "status" | "is-active" => {
            let down = shared.look(infrastructure, |cluster| cluster.clues.down);
            let (word, code) = match down {
                Some(false) => ("active (running)", 0),
                Some(true) | None => ("inactive (dead)", 3),
            };
            let text = format!("● cluesd.service - CLUES server\n     Active: {word}\n");
            caller.out(text).await;
            code
        }
        other => {
            caller.err(format!("Unknown operation {other}.\n")).await;
            1
        }
    }
}

/// What ansible does when IM configures the front end again: the files follow the template.
pub(super) fn follow_template(shared: &Shared, infrastructure: &str) -> anyhow::Result<()> {
    let wanted = shared.look(infrastructure, |cluster| {
        let number = |name: &str| {
            cluster
                .input(name)
                .and_then(|text| text.parse::<u32>().ok())
        };
        let max = number("max_wn_num").or(number("wn_num")).unwrap_or(1);
        (max, number("min_wn_num").unwrap_or(0))
    });
    let (Some((max, free)), Some(path), Some(main)) = (
        wanted,
        file(shared, infrastructure, VNODES),
        file(shared, infrastructure, CLUES_CFG),
    ) else {
        return Ok(());
    };
    let names: Vec<String> = (1..=max).map(|number| format!("wn{number}")).collect();
    if vnode_names(shared, infrastructure) != names {
        let nodes: Vec<Value> = names
            .iter()
            .map(|name| serde_json::json!({ "name": name }))
            .collect();
        std::fs::write(path, serde_json::to_string_pretty(&nodes)?)?;
    }
    let text = std::fs::read_to_string(&main)?;
    let old = setting(&text, "scheduling", "EXTRA_NODES_FREE");
    if old.as_deref() != Some(&free.to_string()) {
        let lines: Vec<String> = text
            .lines()
            .map(|line| match line.strip_prefix("EXTRA_NODES_FREE=") {
                Some(_) => format!("EXTRA_NODES_FREE={free}"),
                None => line.to_owned(),
            })
            .collect();
        std::fs::write(main, lines.join("\n") + "\n")?;
        start(shared, infrastructure);
    }
    Ok(())
}
