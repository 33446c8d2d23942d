//! The plans of `nodes on`, `off`, `replace`, `enable`, `disable` and `reset`.
//!
//! One node each, or, where the command takes none, those that need it: that is what the button
//! below an alert asks for.

use serde_json::json;

use super::scale::Room;
use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::clues::change::Moves;
use crate::domain::clues::status::NodeRow;
use crate::domain::clues::{NodeName, NodeState, first_label};
use crate::domain::cluster::Cluster;
use crate::domain::plan::PlanContent;
use crate::operations::StepError;
use crate::operations::clues::{of_clues, of_kubernetes};
use crate::operations::nodes::{OnNode, node_of, on_node};

/// What is to be done with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    On,
    Off,
    Replace,
    Enable,
    Disable,
    Reset,
}

impl Act {
    fn of(command: &str) -> Option<Self> {
        match command {
            "nodes on" => Some(Self::On),
            "nodes off" => Some(Self::Off),
            "nodes replace" => Some(Self::Replace),
            "nodes enable" => Some(Self::Enable),
            "nodes disable" => Some(Self::Disable),
            "nodes reset" => Some(Self::Reset),
            _other => None,
        }
    }

    /// Whether what runs on the node ends or moves.
    fn drains(self) -> bool {
        match self {
            Self::Off | Self::Replace => true,
            Self::On | Self::Enable | Self::Disable | Self::Reset => false,
        }
    }

    /// Why it can't be done with a node in this state.
    fn problem(self, row: &NodeRow) -> Option<String> {
        let (node, state) = (&row.name, row.state);
        let text = match self {
            Self::On if !row.enabled => format!("{node} is disabled; enable it first"),
            Self::On if state == NodeState::OffErr => {
                format!("CLUES gave {node} up; mend the cause, then `nodes reset` first")
            }
            Self::On if state != NodeState::Off => format!("{node} is {state} already"),
            Self::Off | Self::Replace if !state.is_on() => {
                format!("{node} is {state}, not on")
            }
            Self::Enable if row.enabled => format!("{node} is enabled already"),
            Self::Disable if !row.enabled => format!("{node} is disabled already"),
            Self::Reset if state != NodeState::OffErr => {
                format!("{node} is {state}; only a node that CLUES gave up, `off (err)`, is reset")
            }
            Self::On | Self::Off | Self::Replace | Self::Enable | Self::Disable | Self::Reset => {
                return None;
            }
        };
        Some(text)
    }

    /// What the plan says: a summary, and the difference, a line for each node.
    fn words(self, nodes: &[NodeName], cluster: &str) -> (String, Vec<String>) {
        let which = match nodes {
            [node] => node.to_string(),
            nodes => format!("{} nodes", nodes.len()),
        };
        let (summary, line): (String, fn(&NodeName) -> String) = match self {
            Self::On => (format!("Power on {which} of `{cluster}`"), |node| {
                format!("+ power on {node}")
            }),
            Self::Off => (format!("Power off {which} of `{cluster}`"), |node| {
                format!("- drain {node} and power off")
            }),
            Self::Replace => (
                format!("Replace the machine of {which} of `{cluster}`"),
                |node| format!("- drain {node}, power off, and power on anew"),
            ),
            Self::Enable => (
                format!("Let CLUES of `{cluster}` use {which} again"),
                |node| format!("+ enable {node}"),
            ),
            Self::Disable => (
                format!("Let CLUES of `{cluster}` use {which} no more"),
                |node| format!("- disable {node}"),
            ),
            Self::Reset => (
                format!("Let CLUES of `{cluster}` try {which} again"),
                |node| format!("+ reset the state of {node}"),
            ),
        };
        (summary, nodes.iter().map(line).collect())
    }

    /// What the steps read.
    fn options(self, nodes: Vec<NodeName>, force: bool) -> serde_json::Value {
        let moves = match self {
            Self::On => Moves {
                on: nodes,
                ..Moves::default()
            },
            Self::Off => Moves {
                off: nodes,
                forced: force,
                ..Moves::default()
            },
            Self::Replace => Moves {
                on: nodes.clone(),
                off: nodes,
                forced: force,
            },
            Self::Enable | Self::Disable | Self::Reset => return json!({ "nodes": nodes }),
        };
        serde_json::to_value(moves).unwrap_or_default()
    }

    fn warnings(self, on: &OnNode) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.drains() {
            let whose = on.whose();
            warnings.extend(whose.map(|whose| format!("this ends what runs there: {whose}")));
            if !on.others.is_empty() {
                warnings.push("pods of DaskHub move: the hub is away meanwhile".to_owned());
            }
        }
        match self {
            Self::Off => warnings.push(
                "CLUES powers it on again when pods need it; `nodes disable` prevents that"
                    .to_owned(),
            ),
            Self::On => warnings
                .push("CLUES gives it back when it has had nothing to do for a while".to_owned()),
            Self::Disable => warnings
                .push("what runs there stays; CLUES powers the node neither on nor off".to_owned()),
            Self::Replace | Self::Enable | Self::Reset => {}
        }
        warnings
    }
}

impl Planner {
    pub(super) async fn draft_nodes(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let no_plan = || PlanError::NoPlan {
            command: command.name(),
        };
        let act = Act::of(&command.name()).ok_or_else(no_plan)?;
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let found = match options.node_name("node") {
            Some(node) => self.node_found(&cluster, node).await.map(|one| vec![one]),
            None => self.those_in_need(&cluster, act).await,
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let problem = format!("{}; {}", error.for_people(), error.hint());
                return Ok(Err(vec![problem]));
            }
        };
        let force = options.is_set("force");
        let problems: Vec<String> = found
            .iter()
            .filter_map(|one| one.problem(act, force))
            .collect();
        if !problems.is_empty() {
            return Ok(Err(problems));
        }
        let mut room = Room::default();
        if act == Act::On {
            room = self.room_for(&cluster, 1, 1).await;
        }
        if !room.problems.is_empty() {
            return Ok(Err(room.problems));
        }
        let nodes: Vec<NodeName> = found.iter().map(|one| one.name.clone()).collect();
        let (summary, difference) = act.words(&nodes, &name);
        let warnings = found.first().map(|one| act.warnings(&one.on));
        let warnings = warnings.into_iter().flatten();
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: act.options(nodes, force),
            target_revision: cluster.revision,
            steps: command.steps(),
            content: PlanContent {
                summary,
                difference,
                estimate: room.lines,
                warnings: warnings.chain(room.warnings).collect(),
            },
            files: Vec::new(),
        }))
    }

    /// CLUES' row of a node, and what runs there.
    async fn node_found(&self, cluster: &Cluster, name: &NodeName) -> Result<Found, StepError> {
        let rows = self.clues_rows(cluster).await?;
        let row = rows.into_iter().find(|row| row.is_of(name.as_str()));
        let row = row.ok_or_else(|| {
            StepError::needs_human(
                format!("CLUES has no node {name}"),
                "see `/pangeo nodes list`",
            )
        })?;
        let mut on = OnNode::default();
        if row.state.is_on() {
            let services = &self.services;
            let kubernetes = services.kubernetes(cluster, &self.vault).await?;
            let nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
            if let Some(node) = node_of(&nodes, name) {
                on = on_node(&kubernetes, &node.name).await?;
            }
        }
        let name = name.clone();
        Ok(Found { name, row, on })
    }

    async fn clues_rows(&self, cluster: &Cluster) -> Result<Vec<NodeRow>, StepError> {
        let clues = self.services.clues(cluster, &self.vault).await?;
        clues.status().await.map_err(of_clues)
    }

    /// The nodes that need it, at least one: all that are given up or disabled; of those that are
    /// sick only the first, so that the others go on meanwhile.
    async fn those_in_need(&self, cluster: &Cluster, act: Act) -> Result<Vec<Found>, StepError> {
        let rows = self.clues_rows(cluster).await?;
        let none = || {
            StepError::needs_human(
                format!("no node of `{}` needs that", cluster.name),
                "see `/pangeo nodes list`, and name one with `node`",
            )
        };
        if act == Act::Replace {
            let sick = self.sick(cluster, &rows).await?.ok_or_else(none)?;
            return Ok(vec![self.node_found(cluster, &sick).await?]);
        }
        let needs = rows.into_iter().filter(|row| act.problem(row).is_none());
        let found: Vec<Found> = needs
            .filter_map(|row| {
                Some(Found {
                    name: NodeName::parse(&row.name).ok()?,
                    row,
                    on: OnNode::default(),
                })
            })
            .collect();
        if found.is_empty() {
            return Err(none());
        }
        Ok(found)
    }

    /// The first node that is on and of no use: its VM is not configured, or Kubernetes shows it as
    /// not ready.
    async fn sick(
        &self,
        cluster: &Cluster,
        rows: &[NodeRow],
    ) -> Result<Option<NodeName>, StepError> {
        let services = &self.services;
        let mut names = Vec::new();
        if let Some(id) = &cluster.infrastructure {
            let cannot = |error| {
                StepError::needs_human(format!("IM can't be asked: {error}"), "try again later")
            };
            let state = services.im.state(id).await.map_err(cannot)?;
            for (number, state) in state.vm_states {
                if state.as_str() == "unconfigured" && number != 0 {
                    let vm = services.im.vm(id, number).await.map_err(cannot)?;
                    names.extend(vm.host_name);
                }
            }
        }
        let kubernetes = services.kubernetes(cluster, &self.vault).await?;
        let nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
        let not_ready = nodes
            .into_iter()
            .filter(|node| !node.ready && !node.is_control_plane);
        names.extend(not_ready.map(|node| node.name));
        let row = |name: &String| {
            let mut rows = rows.iter().filter(|row| row.state.is_on());
            rows.find(|row| row.is_of(first_label(name)))
        };
        let row = names.iter().find_map(row);
        Ok(row.and_then(|row| NodeName::parse(&row.name).ok()))
    }
}

/// A node that is meant.
struct Found {
    name: NodeName,
    row: NodeRow,
    on: OnNode,
}

impl Found {
    /// Why it can't be done with this one.
    fn problem(&self, act: Act, force: bool) -> Option<String> {
        let whose = self.on.whose().filter(|_| act.drains() && !force);
        let in_the_way = whose.map(|whose| {
            format!(
                "on {} runs what is in the way: {whose}; ask them to stop it, or take it from them with `force`",
                self.name
            )
        });
        act.problem(&self.row).or(in_the_way)
    }
}
