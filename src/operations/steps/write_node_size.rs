//! `write-node-size`: CLUES' file says how large worker nodes are.
//!
//! Changes two keys of `plugin-kubernetes.cfg` and nothing else; done already if they are so. What
//! the plan did not see is left alone. Undo writes what was there and restarts CLUES, which reads
//! the file only then.

use async_trait::async_trait;

use crate::domain::clues::NodeSize;
use crate::domain::clues::change::SizeChange;
use crate::operations::clues::of_clues;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::clues::{self, Daemon, NODE_CFG};

/// See the module.
pub(super) struct WriteNodeSize;

#[async_trait]
impl Step for WriteNodeSize {
    fn name(&self) -> &'static str {
        "write-node-size"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let change: SizeChange = context.options()?;
        change_size(context, change.old, change.new).await?;
        let line = format!("{NODE_CFG} says {}", change.new);
        context.log(&line).await?;
        Ok(Progress::told(format!("CLUES counts with {}", change.new)))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let change: SizeChange = context.options()?;
        change_size(context, change.new, change.old).await?;
        let clues = context
            .services
            .clues(context.cluster, context.vault)
            .await?;
        clues.daemon(Daemon::Restart).await.map_err(of_clues)?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("write the node size that was there before, and restart CLUES")
    }
}

async fn change_size(
    context: &StepContext<'_>,
    from: NodeSize,
    to: NodeSize,
) -> Result<(), StepError> {
    let clues = context
        .services
        .clues(context.cluster, context.vault)
        .await?;
    let file = clues.read(NODE_CFG).await.map_err(of_clues)?;
    let now = clues::node_size_of(&file).map_err(of_clues)?;
    if now == to {
        return Ok(());
    }
    if now != from {
        let why = format!("{NODE_CFG} says {now}, not {from}");
        return Err(StepError::Outdated(why));
    }
    let text = clues::with_node_size(&file, to).map_err(of_clues)?;
    context.still_ours().await?;
    clues.replace(&file, &text).await.map_err(of_clues)
}
