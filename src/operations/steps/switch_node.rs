//! `enable-node`, `disable-node`, `reset-node`: CLUES uses a node, does not use it, or tries it again.
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

/// Which node.
#[derive(Deserialize)]
struct Input {
    node: NodeName,
}

#[async_trait]
impl Step for SwitchNode {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        switch(context, self.act).await?;
        let Input { node } = context.options()?;
        Ok(Progress::told(match self.act {
            Act::Enable => format!("CLUES may use {node}"),
            Act::Disable => format!("CLUES uses {node} no more"),
            Act::Reset | Act::PowerOn | Act::PowerOff => format!("CLUES tries {node} again"),
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
    let Input { node } = context.options()?;
    if !is_to_do(&Nodes::of(context).await?, act, &node)? {
        return Ok(());
    }
    Nodes::of(context).await?.ask(context, act, &node).await?;
    if !is_to_do(&Nodes::of(context).await?, act, &node)? {
        return Ok(());
    }
    Err(StepError::needs_human(
        format!(
            "CLUES said yes to `{}` of {node}, but shows it as before",
            act.word()
        ),
        "see with `/pangeo nodes list` and `/pangeo logs clues` what it does, then retry",
    ))
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
