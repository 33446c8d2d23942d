//! `nodes list`: worker nodes as CLUES, Infrastructure Manager and Kubernetes have them, joined by
//! name.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};

use super::logs::{Stopped, with_causes};
use super::{LookError, Looks, Report, Tone};
use crate::domain::clues::status::NodeRow;
use crate::domain::clues::{NodeState as Power, first_label, quantity};
use crate::domain::cluster::Cluster;
use crate::services::clues::Clues;
use crate::services::im::VmState;
use crate::services::kubernetes::{Kubernetes, NodeState};

/// How long each system may take.
const LIMIT: Duration = Duration::from_secs(20);

/// How many VMs IM is asked for at once.
const AT_ONCE: usize = 8;

/// How many nodes a message shows; all of them stand in a file then.
const SHOWN: usize = 30;

/// What stands where there is nothing.
const NONE: &str = "-";

/// What is known of one node.
#[derive(Default)]
struct Line {
    clues: Option<NodeRow>,
    vm: Option<(u32, VmState)>,
    kubernetes: Option<NodeState>,
}

/// By the length of the name and the name, so that `wn10` stands after `wn9`.
type Lines = BTreeMap<(usize, String), Line>;

/// A worker's VM: its number, its state and the node that it is.
type Vm = (u32, VmState, Option<String>);

impl Looks {
    /// The worker nodes of a cluster; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails; a system that does not answer is part of the report.
    pub async fn worker_nodes(&self, name: &str) -> Result<Option<Report>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let (clues, vms, kubernetes) = tokio::join!(
            within(self.rows(&cluster)),
            within(self.worker_vms(&cluster)),
            within(self.kubernetes_workers(&cluster)),
        );
        let mut lines = Lines::new();
        let mut failed = Vec::new();
        for row in seen(clues?, "CLUES", &mut failed) {
            let of = line(&mut lines, &row.name);
            of.clues = Some(row);
        }
        for (number, state, name) in seen(vms?, "Infrastructure Manager", &mut failed) {
            let name = name.unwrap_or_else(|| format!("VM {number}"));
            line(&mut lines, &name).vm = Some((number, state));
        }
        for node in seen(kubernetes?, "Kubernetes", &mut failed) {
            let of = line(&mut lines, &node.name);
            of.kubernetes = Some(node);
        }
        Ok(Some(report(&cluster, &lines, failed)))
    }

    async fn rows(&self, cluster: &Cluster) -> Result<Vec<NodeRow>, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        Ok(Clues::on(frontend).status().await?)
    }

    async fn kubernetes_workers(&self, cluster: &Cluster) -> Result<Vec<NodeState>, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let mut nodes = Kubernetes::connect(frontend).await?.nodes().await?;
        nodes.retain(|node| !node.is_control_plane);
        Ok(nodes)
    }

    async fn worker_vms(&self, cluster: &Cluster) -> Result<Vec<Vm>, Stopped> {
        let in_the_way = |text: String| Stopped::InTheWay(text, String::new());
        let Some(id) = &cluster.infrastructure else {
            return Err(in_the_way("it has no infrastructure".to_owned()));
        };
        let im = &self.services.im;
        let state = im.state(id).await;
        let state = state.map_err(|error| in_the_way(with_causes(&error)))?;
        let mut vms: Vec<(u32, VmState)> = state.vm_states.into_iter().collect();
        vms.retain(|(number, _)| *number != 0);
        futures::stream::iter(vms)
            .map(|(number, state)| async move {
                let vm = im.vm(id, number).await;
                let vm = vm.map_err(|error| in_the_way(with_causes(&error)))?;
                Ok((number, state, vm.host_name))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }
}

/// What was seen within the limit, or why not; only the bot's own database is an error.
async fn within<T>(
    look: impl Future<Output = Result<T, Stopped>>,
) -> Result<Result<T, String>, LookError> {
    match tokio::time::timeout(LIMIT, look).await {
        Ok(Ok(seen)) => Ok(Ok(seen)),
        Ok(Err(Stopped::InTheWay(why, _))) => Ok(Err(why)),
        Ok(Err(Stopped::Look(error))) => Err(error),
        Err(_elapsed) => Ok(Err(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

/// What was seen of a system; nothing if it did not answer, which is noted.
fn seen<T>(
    look: Result<Vec<T>, String>,
    system: &'static str,
    failed: &mut Vec<(&'static str, String)>,
) -> Vec<T> {
    look.unwrap_or_else(|why| {
        failed.push((system, why));
        Vec::new()
    })
}

/// The line of a node.
fn line<'a>(lines: &'a mut Lines, name: &str) -> &'a mut Line {
    let name = first_label(name).to_owned();
    lines.entry((name.len(), name)).or_default()
}

fn report(cluster: &Cluster, lines: &Lines, failed: Vec<(&'static str, String)>) -> Report {
    let is_on = |line: &&Line| line.clues.as_ref().is_some_and(|row| row.state.is_on());
    let on = lines.values().filter(is_on).count();
    let is_bad = lines.values().any(is_bad);
    let tone = match (is_bad, failed.is_empty()) {
        (true, _) => Tone::Bad,
        (false, false) => Tone::Warn,
        (false, true) => Tone::Good,
    };
    let rows = lines.iter().map(|((_, name), line)| cells(name, line));
    let rows: Vec<[String; 6]> = rows.collect();
    let shown = rows.get(..SHOWN).unwrap_or(&rows);
    let text = format!("{on} of {} are on\n```\n{}```", rows.len(), table(shown));
    let title = format!("Worker nodes of `{}`", cluster.name);
    let mut report = Report::new(title, tone, text);
    if rows.len() > SHOWN {
        report = report.file("nodes.txt", table(&rows));
    }
    for (system, why) in failed {
        report = report.field(&format!("{system} is not known"), why);
    }
    if is_bad {
        let hint = format!("`/pangeo diagnose name:{}` looks for causes", cluster.name);
        report = report.hint(hint);
    }
    report
}

/// Whether somebody should look at a node.
fn is_bad(line: &Line) -> bool {
    let power = line.clues.as_ref().map(|row| row.state);
    let vm = line.vm.map(|(_, state)| state);
    let is_lost =
        power.is_some_and(Power::is_on) && line.kubernetes.as_ref().is_some_and(|node| !node.ready);
    matches!(power, Some(Power::OffErr | Power::OnErr))
        || matches!(vm, Some(VmState::Failed | VmState::Unconfigured))
        || is_lost
}

fn cells(name: &str, line: &Line) -> [String; 6] {
    let none = || NONE.to_owned();
    let row = line.clues.as_ref();
    let clues = row.map_or_else(none, |row| {
        let disabled = if row.enabled { "" } else { ", disabled" };
        format!("{}{disabled}", row.state)
    });
    let vm = line.vm.map_or_else(none, |(number, state)| {
        format!("{number} {}", state.as_str())
    });
    let Some(node) = &line.kubernetes else {
        return [name.to_owned(), clues, vm, none(), none(), none()];
    };
    let ready = if node.ready { "ready" } else { "not ready" };
    let cordoned = if node.cordoned { ", cordoned" } else { "" };
    let cores = quantity::cpu_milli(&node.allocatable_cpu).map(quantity::cores);
    let memory = quantity::bytes(&node.allocatable_memory).map(quantity::gib);
    [
        name.to_owned(),
        clues,
        vm,
        format!("{ready}{cordoned}"),
        of(row.map(|row| quantity::cores(row.used_cpu_milli)), cores),
        of(row.map(|row| quantity::gib(row.used_memory)), memory),
    ]
}

fn of(used: Option<String>, all: Option<String>) -> String {
    match (used, all) {
        (Some(used), Some(all)) => format!("{used} of {all}"),
        (None, Some(all)) => format!("? of {all}"),
        (_, None) => NONE.to_owned(),
    }
}

/// Columns as wide as what stands in them.
fn table(rows: &[[String; 6]]) -> String {
    let head = [
        "node",
        "CLUES",
        "VM",
        "Kubernetes",
        "cores used",
        "memory used",
    ];
    let head = head.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width_of = |at: usize| {
        let cells = all().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width_of).collect();
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_line_whatever_each_system_calls_it() {
        let row = |name: &str, state, enabled| NodeRow {
            name: name.to_owned(),
            state,
            enabled,
            stable: String::new(),
            used_cpu_milli: 4000,
            used_memory: 20 << 30,
            cpus: 8,
            memory: 32 << 30,
        };
        let node = NodeState {
            name: "wn2.localdomain".to_owned(),
            is_control_plane: false,
            ready: false,
            cordoned: true,
            allocatable_cpu: "7910m".to_owned(),
            allocatable_memory: "32Gi".to_owned(),
            kubelet_version: String::new(),
        };
        let mut lines = Lines::new();
        line(&mut lines, "wn10").clues = Some(row("wn10", Power::Off, false));
        line(&mut lines, "wn2").clues = Some(row("wn2", Power::Used, true));
        line(&mut lines, "wn2").vm = Some((3, VmState::Configured));
        line(&mut lines, "wn2.localdomain").kubernetes = Some(node);
        let rows: Vec<_> = lines
            .iter()
            .map(|((_, name), line)| cells(name, line))
            .collect();
        assert_eq!(
            table(&rows),
            "node  CLUES          VM            Kubernetes           cores used  memory used\n\
             wn2   used           3 configured  not ready, cordoned  4 of 7.9    20 GiB of 32 GiB\n\
             wn10  off, disabled  -             -                    -           -\n"
        );
        let bad: Vec<bool> = lines.values().map(is_bad).collect();
        assert_eq!(bad, [true, false]);
    }
}
