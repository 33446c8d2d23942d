//! `power-off-nodes`: CLUES has powered nodes off.
//!
//! Asks CLUES for one node after the other and waits for the states. A node that is to go off is on
//! and cordoned (see `drain-nodes`); when it is off it is uncordoned, so that one that is on and not
//! cordoned is a new machine that CLUES made since: left alone. A node that runs somebody's server
//! is never powered off, unless forced. Undo leaves off what is off: CLUES powers it on again when
//! pods need it.

use async_trait::async_trait;

use crate::domain::clues::NodeName;
use crate::domain::clues::NodeState;
use crate::domain::clues::change::Moves;
use crate::operations::nodes::Nodes;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::clues::Act;

/// See the module.
pub(super) struct PowerOffNodes;

#[async_trait]
impl Step for PowerOffNodes {
    fn name(&self) -> &'static str {
        "power-off-nodes"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let moves: Moves = context.options()?;
        if moves.off.is_empty() {
            return Ok(Progress::done());
        }
        let nodes = Nodes::of(context).await?;
        let mut waits = Vec::new();
        for name in &moves.off {
            if !is_off(context, &nodes, name, moves.forced).await? {
                waits.push(name.clone());
            }
        }
        if waits.is_empty() {
            let off = NodeName::list(&moves.off);
            return Ok(Progress::told(format!("powered off: {off}")));
        }
        Ok(Progress::Wait {
            after: context.services.settings.poll,
            note: format!("until {} went off", NodeName::list(&waits)),
        })
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let moves: Moves = context.options()?;
        if moves.off.is_empty() {
            return Ok(Undo::Undone);
        }
        let nodes = Nodes::of(context).await?;
        let mut off = moves.off;
        off.retain(|name| nodes.state(name).is_off());
        if off.is_empty() {
            return Ok(Undo::Undone);
        }
        let off = NodeName::list(&off);
        Ok(Undo::Left(format!("off until pods need it: {off}")))
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("nothing: nodes that are off come on when pods need them")
    }

    fn when_stuck(&self) -> &'static str {
        "see in CLUES' log and in IM's dashboard what the machines do, then retry"
    }
}

/// Powers a node off, if that is still to be done; whether it is off.
async fn is_off(
    context: &StepContext<'_>,
    nodes: &Nodes,
    name: &NodeName,
    forced: bool,
) -> Result<bool, StepError> {
    let cordoned = nodes.node(name).filter(|node| node.cordoned);
    match (nodes.state(name), cordoned) {
        (NodeState::Off | NodeState::OffErr, Some(node)) => {
            nodes.cordon(node, false).await?;
            Ok(true)
        }
        (NodeState::Idle | NodeState::Used | NodeState::OnErr, Some(node)) => {
            let whose = nodes.on(node).await?.whose();
            if let Some(whose) = whose.filter(|_| !forced) {
                return Err(StepError::needs_human(
                    format!("{name} runs what is in the way: {whose}"),
                    "retry when it has ended, or undo; a new plan with `force` ends it",
                ));
            }
            nodes.ask(context, Act::PowerOff, name).await?;
            Ok(false)
        }
        (NodeState::PowOff | NodeState::Unknown, _) => Ok(false),
        (NodeState::PowOn, _)
        | (
            NodeState::Off
            | NodeState::OffErr
            | NodeState::Idle
            | NodeState::Used
            | NodeState::OnErr,
            None,
        ) => Ok(true),
    }
}
