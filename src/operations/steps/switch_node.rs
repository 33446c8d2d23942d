//! `enable-node`, `disable-node`, `reset-node`: CLUES uses nodes, does not use them, or tries them
//! again.
//!
//! Asks CLUES, then looks whether it is so; done already if it is. Undo of the first two does the
//! other one; a reset has nothing to take back, since CLUES alone decides what it does with a node.

use async_trait::async_trait;
use serde::Deserialize;

use crate::domain::clues::status::NodeRow;
use crate::domain::clues::{NodeName, NodeState};
use crate::operations::nodes::Nodes;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::clues::Act;

/// See the module.
pub(super) struct SwitchNode {
    name: &'static str,
    act: Act,
}

impl SwitchNode {
    pub(super) const ENABLE: Self = Self {
        name: "enable-node",
        act: Act::Enable,
    };
    pub(super) const DISABLE: Self = Self {
        name: "disable-node",
        act: Act::Disable,
    };
    pub(super) const RESET: Self = Self {
        name: "reset-node",
        act: Act::Reset,
    };
}

/// Which nodes.
#[derive(Deserialize)]
struct Input {
    /// The only one, in plans that were made before there could be several.
    node: Option<NodeName>,
    #[serde(default)]
    nodes: Vec<NodeName>,
}

impl Input {
    fn all(self) -> Vec<NodeName> {
        self.node.into_iter().chain(self.nodes).collect()
    }
}

#[async_trait]
impl Step for SwitchNode {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        switch(context, self.act).await?;
        let nodes = names(&context.options::<Input>()?.all());
        Ok(Progress::told(match self.act {
            Act::Enable => format!("CLUES may use {nodes}"),
            Act::Disable => format!("CLUES uses {nodes} no more"),
            Act::Reset | Act::PowerOn | Act::PowerOff => format!("CLUES tries {nodes} again"),
        }))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        match self.act {
            Act::Enable => switch(context, Act::Disable).await?,
            Act::Disable => switch(context, Act::Enable).await?,
            Act::Reset | Act::PowerOn | Act::PowerOff => {}
        }
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        match self.act {
            Act::Enable => Some("disable the node again"),
            Act::Disable => Some("enable the node again"),
            Act::Reset | Act::PowerOn | Act::PowerOff => None,
        }
    }
}

async fn switch(context: &StepContext<'_>, act: Act) -> Result<(), StepError> {
    let wanted = context.options::<Input>()?.all();
    let nodes = Nodes::of(context).await?;
    let left = to_do(&nodes, act, &wanted)?;
    if left.is_empty() {
        return Ok(());
    }
    for node in &left {
        nodes.ask(context, act, node).await?;
    }
    let left = to_do(&Nodes::of(context).await?, act, &wanted)?;
    if left.is_empty() {
        return Ok(());
    }
    Err(StepError::needs_human(
        format!(
            "CLUES said yes to `{}` of {}, but shows it as before",
            act.word(),
            names(&left)
        ),
        "see with `/pangeo nodes list` and `/pangeo logs clues` what it does, then retry",
    ))
}

/// The nodes for which it is not so yet.
fn to_do(nodes: &Nodes, act: Act, wanted: &[NodeName]) -> Result<Vec<NodeName>, StepError> {
    let mut left = Vec::new();
    for node in wanted {
        if is_to_do(nodes, act, node)? {
            left.push(node.clone());
        }
    }
    Ok(left)
}

fn names(nodes: &[NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    names.join(", ")
}

fn is_to_do(nodes: &Nodes, act: Act, node: &NodeName) -> Result<bool, StepError> {
    let of = |row: &NodeRow| match act {
        Act::Enable => !row.enabled,
        Act::Disable => row.enabled,
        Act::Reset => row.state == NodeState::OffErr,
        Act::PowerOn | Act::PowerOff => false,
    };
    nodes.row(node).map(of).ok_or_else(|| {
        StepError::needs_human(
            format!("CLUES has no node {node} any more"),
            "see `/pangeo nodes list`, then run the command again for a new plan",
        )
    })
}
