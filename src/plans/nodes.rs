//! The plans of `nodes on`, `off`, `replace`, `enable`, `disable` and `reset`: one node each.

use serde_json::json;

use super::scale::Room;
use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::clues::change::Moves;
use crate::domain::clues::status::NodeRow;
use crate::domain::clues::{NodeName, NodeState};
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

    /// What the plan says: a summary, and the difference.
    fn words(self, node: &NodeName, cluster: &str) -> (String, String) {
        match self {
            Self::On => (
                format!("Power on {node} of `{cluster}`"),
                format!("+ power on {node}"),
            ),
            Self::Off => (
                format!("Power off {node} of `{cluster}`"),
                format!("- drain {node} and power off"),
            ),
            Self::Replace => (
                format!("Replace the machine of {node} of `{cluster}`"),
                format!("- drain {node}, power off, and power on anew"),
            ),
            Self::Enable => (
                format!("Let CLUES of `{cluster}` use {node} again"),
                format!("+ enable {node}"),
            ),
            Self::Disable => (
                format!("Let CLUES of `{cluster}` use {node} no more"),
                format!("- disable {node}"),
            ),
            Self::Reset => (
                format!("Let CLUES of `{cluster}` try {node} again"),
                format!("+ reset the state of {node}"),
            ),
        }
    }

    /// What the steps read.
    fn options(self, node: &NodeName, force: bool) -> serde_json::Value {
        let nodes = || vec![node.clone()];
        let moves = match self {
            Self::On => Moves {
                on: nodes(),
                ..Moves::default()
            },
            Self::Off => Moves {
                off: nodes(),
                forced: force,
                ..Moves::default()
            },
            Self::Replace => Moves {
                on: nodes(),
                off: nodes(),
                forced: force,
            },
            Self::Enable | Self::Disable | Self::Reset => return json!({ "node": node }),
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
        let node = options.node_name("node").ok_or_else(no_plan)?;
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let (row, on) = match self.node_found(&cluster, node).await {
            Ok(found) => found,
            Err(error) => {
                let problem = format!("{}; {}", error.for_people(), error.hint());
                return Ok(Err(vec![problem]));
            }
        };
        let force = options.is_set("force");
        let whose = on.whose().filter(|_| act.drains() && !force);
        let in_the_way = whose.map(|whose| {
            format!("on {node} runs what is in the way: {whose}; ask them to stop it, or take it from them with `force`")
        });
        if let Some(problem) = act.problem(&row).or(in_the_way) {
            return Ok(Err(vec![problem]));
        }
        let mut room = Room::default();
        if act == Act::On {
            room = self.room_for(&cluster, 1, 1).await;
        }
        if !room.problems.is_empty() {
            return Ok(Err(room.problems));
        }
        let (summary, difference) = act.words(node, &name);
        let warnings = act.warnings(&on).into_iter().chain(room.warnings).collect();
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: act.options(node, force),
            target_revision: cluster.revision,
            steps: command.steps(),
            content: PlanContent {
                summary,
                difference: vec![difference],
                estimate: room.lines,
                warnings,
            },
            files: Vec::new(),
        }))
    }

    /// CLUES' row of a node, and what runs there.
    async fn node_found(
        &self,
        cluster: &Cluster,
        name: &NodeName,
    ) -> Result<(NodeRow, OnNode), StepError> {
        let services = &self.services;
        let clues = services.clues(cluster, &self.vault).await?;
        let rows = clues.status().await.map_err(of_clues)?;
        let row = rows.into_iter().find(|row| row.is_of(name.as_str()));
        let row = row.ok_or_else(|| {
            StepError::needs_human(
                format!("CLUES has no node {name}"),
                "see `/pangeo nodes list`",
            )
        })?;
        if !row.state.is_on() {
            return Ok((row, OnNode::default()));
        }
        let kubernetes = services.kubernetes(cluster, &self.vault).await?;
        let nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
        let on = match node_of(&nodes, name) {
            Some(node) => on_node(&kubernetes, &node.name).await?,
            None => OnNode::default(),
        };
        Ok((row, on))
    }
}
