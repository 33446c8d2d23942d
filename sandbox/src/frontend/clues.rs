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

use super::Shared;
use super::elastic::{used_on, worker_size};
use super::protocol::{Call, Caller};
use super::state::{CluesConfig, Cluster, PowerState, WorkerNode};

const VNODES: &str = "etc/clues2/kubernetes_vnodes.info";
const NODE_CFG: &str = "etc/clues2/conf.d/plugin-kubernetes.cfg";
const CLUES_CFG: &str = "etc/clues2/clues2.cfg";
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
    let Some(path) = file(shared, infrastructure, LOG) else {
        return;
    };
    let now = Utc::now().format("%Y-%m-%d %H:%M:%S,%3f");
    let line = format!(
        "{:>10};{:>5};{now};{text}\n",
        format!("[{name}]"),
        level.word()
    );
    let opened = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path);
    if let Err(error) = opened.and_then(|mut file| file.write_all(line.as_bytes())) {
        tracing::debug!(%error, "no line in the log of CLUES");
    }
}

/// The virtual nodes of the file, with their own cores and memory where they have some.
fn vnodes(shared: &Shared, infrastructure: &str) -> Vec<(String, Option<u64>, Option<u64>)> {
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
            Some((name, own("cpu"), own("memory")))
        })
        .collect()
}

/// The names of the virtual nodes.
pub(super) fn vnode_names(shared: &Shared, infrastructure: &str) -> Vec<String> {
    let vnodes = vnodes(shared, infrastructure);
    vnodes.into_iter().map(|(name, _, _)| name).collect()
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
    fn number<T: std::str::FromStr>(text: &str, section: &str, key: &str, default: T) -> T {
        let found = setting(text, section, key).and_then(|value| value.parse().ok());
        found.unwrap_or(default)
    }
    CluesConfig {
        slots: number(&node, "KUBERNETES", "KUBERNETES_NODE_SLOTS", default.slots),
        memory: number(
            &node,
            "KUBERNETES",
            "KUBERNETES_NODE_MEMORY",
            default.memory,
        ),
        idle_s: number(&main, "scheduling", "IDLE_TIME", default.idle_s),
        extra_free: number(&main, "scheduling", "EXTRA_NODES_FREE", default.extra_free),
        max_booting: number(
            &main,
            "scheduling",
            "MAX_BOOTING_NODES",
            default.max_booting,
        ),
    }
}

/// Starts `cluesd`: it reads its files.
pub(super) fn start(shared: &Shared, infrastructure: &str) {
    let config = read_config(shared, infrastructure);
    let names = vnode_names(shared, infrastructure);
    shared.change(infrastructure, |cluster| {
        cluster.clues.down = false;
        cluster.clues.config = config;
        for name in names {
            let nodes = &mut cluster.clues.nodes;
            nodes.entry(name).or_insert_with(WorkerNode::new);
        }
    });
    let text = format!(
        "--------- LOGGING MARK (everything continues) @ {}",
        Utc::now()
    );
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
    let added = shared
        .workers()
        .map(|im| im.add(infrastructure, name))
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
        Err(text) => {
            on(&|node| node.set(PowerState::OffErr));
            let text = format!("Error adding resources Bad Request. {text}.");
            log(shared, infrastructure, "PLUGIN-IM", Level::Error, &text);
            let text = format!(
                "could not power on node {name}. It will be considered OFF, but with errors"
            );
            log(shared, infrastructure, "CLUES", Level::Warning, &text);
            false
        }
    }
}

/// Powers a node off, with everything on it.
pub(super) fn power_off(shared: &Shared, infrastructure: &str, name: &str) {
    let vm = shared.change(infrastructure, |cluster| {
        cluster.servers.retain(|s| s.node.as_deref() != Some(name));
        let node = cluster.clues.nodes.get_mut(name)?;
        let is_on = !matches!(
            node.state,
            PowerState::Off | PowerState::OffErr | PowerState::PowOff
        );
        if is_on {
            node.joined = false;
            node.set(PowerState::PowOff);
        }
        node.vm.filter(|_| is_on)
    });
    if let (Some(Some(vm)), Some(im)) = (vm, shared.workers())
        && let Err(text) = im.remove(infrastructure, vm)
    {
        tracing::debug!(text, "IM removed no VM");
    }
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
        "poweroff" => {
            power_off(shared, infrastructure, name);
            Ok(format!("node {name} powered off"))
        }
        "enable" | "disable" => {
            on(&|node| node.disabled = verb == "disable");
            Ok(format!("node {name} successfully {verb}d"))
        }
        "resetstate" => {
            on(&|node| {
                if node.state == PowerState::OffErr {
                    node.set(PowerState::Off);
                }
            });
            Ok(format!("Node {name} reset to idle"))
        }
        verb => Err(refusal(verb, name)),
    }
}

/// The table of `clues status`.
fn table(cluster: &Cluster, vnodes: &[(String, Option<u64>, Option<u64>)]) -> String {
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
    let mut names: Vec<&String> = vnodes.iter().map(|(name, _, _)| name).collect();
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
            let own = vnodes.iter().find(|(vnode, _, _)| vnode == name);
            let (cpus, memory) = own.map_or((None, None), |(_, cpus, memory)| (*cpus, *memory));
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
