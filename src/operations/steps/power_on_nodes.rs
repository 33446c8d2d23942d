//! `power-on-nodes`: CLUES has powered nodes on.
//!
//! Asks CLUES for one node after the other and waits for the states, which takes as long as a
//! machine takes to boot; done already for those that are on. Undo powers those off again that
//! nobody uses; the others stay, and CLUES gives them back when they have nothing to do.

use async_trait::async_trait;

use crate::domain::clues::NodeName;
use crate::domain::clues::NodeState;
use crate::domain::clues::change::Moves;
use crate::operations::nodes::Nodes;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::clues::Act;

/// See the module.
pub(super) struct PowerOnNodes;

#[async_trait]
impl Step for PowerOnNodes {
    fn name(&self) -> &'static str {
        "power-on-nodes"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let moves: Moves = context.options()?;
        if moves.on.is_empty() {
            return Ok(Progress::done());
        }
        let nodes = Nodes::of(context).await?;
        let mut waits = Vec::new();
        for name in &moves.on {
            if !is_on(context, &nodes, name).await? {
                waits.push(name.clone());
            }
        }
        if waits.is_empty() {
            let on = NodeName::list(&moves.on);
            return Ok(Progress::told(format!("powered on: {on}")));
        }
        Ok(Progress::Wait {
            after: context.services.settings.poll,
            note: format!("until {} came on", NodeName::list(&waits)),
        })
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let moves: Moves = context.options()?;
        // What was replaced was on before.
        let mut on = moves.on;
        on.retain(|name| !moves.off.contains(name));
        if on.is_empty() {
            return Ok(Undo::Undone);
        }
        let nodes = Nodes::of(context).await?;
        let (mut waits, mut stays) = (Vec::new(), Vec::new());
        for name in &on {
            match takes_back(context, &nodes, name).await? {
                Back::Off => {}
                Back::Soon => waits.push(name.clone()),
                Back::Stays(why) => stays.push(format!("{name} is on: {why}")),
            }
        }
        if !waits.is_empty() {
            return Ok(Undo::Wait {
                after: context.services.settings.poll,
                note: format!("until {} went off", NodeName::list(&waits)),
            });
        }
        if stays.is_empty() {
            return Ok(Undo::Undone);
        }
        Ok(Undo::Left(stays.join("; ")))
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("power those nodes off again that nobody uses")
    }

    fn when_stuck(&self) -> &'static str {
        "see in CLUES' log and in IM's dashboard what the machines do, then retry"
    }
}

/// Powers a node on, if that is still to be done; whether it is on.
async fn is_on(
    context: &StepContext<'_>,
    nodes: &Nodes,
    name: &NodeName,
) -> Result<bool, StepError> {
    match nodes.state(name) {
        NodeState::Idle | NodeState::Used | NodeState::OnErr => Ok(true),
        NodeState::PowOn | NodeState::PowOff | NodeState::Unknown => Ok(false),
        NodeState::Off => {
            nodes.ask(context, Act::PowerOn, name).await?;
            Ok(false)
        }
        NodeState::OffErr => Err(StepError::needs_human(
            format!("CLUES could not power {name} on"),
            "see why with `/pangeo logs clues`, often the quota or the token; mend that, run `clues resetstate` for the node on the front end, then retry",
        )),
    }
}

/// What became of a node that is to be taken back.
enum Back {
    Off,
    Soon,
    Stays(String),
}

async fn takes_back(
    context: &StepContext<'_>,
    nodes: &Nodes,
    name: &NodeName,
) -> Result<Back, StepError> {
    match nodes.state(name) {
        NodeState::Off | NodeState::OffErr => {
            if let Some(node) = nodes.node(name).filter(|node| node.cordoned) {
                nodes.cordon(node, false).await?;
            }
            return Ok(Back::Off);
        }
        // CLUES does not let go of a machine before it has booted.
        NodeState::PowOn | NodeState::PowOff | NodeState::Unknown => return Ok(Back::Soon),
        NodeState::Idle | NodeState::Used | NodeState::OnErr => {}
    }
    if let Some(node) = nodes.node(name) {
        nodes.cordon(node, true).await?;
        let found = nodes.on(node).await?;
        if !found.is_empty() {
            nodes.cordon(node, false).await?;
            let whose = found.whose().unwrap_or_else(|| "DaskHub".to_owned());
            return Ok(Back::Stays(format!("it is used by {whose}")));
        }
    }
    nodes.ask(context, Act::PowerOff, name).await?;
    Ok(Back::Soon)
}
