//! `tell-node-size`: CLUES of a new cluster knows how large worker nodes are.
//!
//! A new CLUES believes in 1 core and 1 GiB, on which no notebook fits, so that the cluster would
//! never grow. Takes what the smallest real worker may give away; while none has joined, what was
//! ordered without a reserve. Done already if the file says so. Changes two keys of
//! `plugin-kubernetes.cfg` and restarts CLUES, which reads them only then: the size is kept before
//! the file is written, so that a run that comes later knows that a restart is due. A cluster
//! whose list of nodes has sizes of its own is left as it is.
//!
//! Undo has nothing to do: the file goes with the front end.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::restart_clues::{answers, restart};
use crate::domain::clues::NodeSize;
use crate::operations::clues::{of_clues, smallest};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::clues::{self, Clues, NODE_CFG, VNODES};

/// See the module.
pub(super) struct TellNodeSize;

/// What CLUES is told.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Output {
    /// The size.
    new: NodeSize,
    /// Whether a real node has it.
    is_real: bool,
    /// When CLUES was restarted for it.
    restarted_at: Option<DateTime<Utc>>,
}

#[async_trait]
impl Step for TellNodeSize {
    fn name(&self) -> &'static str {
        "tell-node-size"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let services = context.services;
        let clues = services.clues(context.cluster, context.vault).await?;
        let told = if let Some(told) = context.learnt_before::<Output>() {
            told
        } else {
            let file = clues.read(VNODES).await.map_err(of_clues)?;
            let own = clues::vnodes_of(&file).map_err(of_clues)?.own_sizes().len();
            if own > 0 {
                let said = format!("{VNODES} gives {own} nodes a size of their own; it stays");
                return Ok(Progress::told(said));
            }
            let told = size_to_tell(context).await?;
            let file = clues.read(NODE_CFG).await.map_err(of_clues)?;
            if clues::node_size_of(&file).map_err(of_clues)? == told.new {
                return Ok(Progress::told(format!("CLUES counts with {}", told.new)));
            }
            context.learn(&told).await?;
            told
        };
        let restarted_at = match told.restarted_at {
            Some(at) => at,
            None => write_and_restart(context, &clues, told).await?,
        };
        match answers(context, &clues, restarted_at, Some(told.new)).await? {
            Progress::Done(_that_it_answers) => Ok(Progress::told(words(context, told))),
            waits @ Progress::Wait { .. } => Ok(waits),
        }
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}

/// The size of the smallest worker there is, or what one of the ordered size will surely have.
async fn size_to_tell(context: &StepContext<'_>) -> Result<Output, StepError> {
    let services = context.services;
    let workers = services.workers(context.cluster, context.vault).await?;
    let real = smallest(&workers);
    let ordered = context.deploy_options()?.worker;
    Ok(Output {
        new: real.unwrap_or_else(|| NodeSize::left_of(ordered.cpus, &ordered.memory)),
        is_real: real.is_some(),
        restarted_at: None,
    })
}

/// Writes the size and restarts CLUES; when that was.
async fn write_and_restart(
    context: &StepContext<'_>,
    clues: &Clues,
    told: Output,
) -> Result<DateTime<Utc>, StepError> {
    let file = clues.read(NODE_CFG).await.map_err(of_clues)?;
    let text = clues::with_node_size(&file, told.new).map_err(of_clues)?;
    context.still_ours().await?;
    clues.replace(&file, &text).await.map_err(of_clues)?;
    context
        .log(&format!("{NODE_CFG} says {}", told.new))
        .await?;
    let at = restart(context, clues).await?;
    let told = Output {
        restarted_at: Some(at),
        ..told
    };
    context.learn(&told).await?;
    Ok(at)
}

fn words(context: &StepContext<'_>, told: Output) -> String {
    let new = told.new;
    if told.is_real {
        return format!("CLUES counts with {new}, as a worker node really has");
    }
    format!(
        "no worker node has joined: CLUES counts with {new}, what was ordered without a reserve; \
         `/pangeo flavor set name:{}` takes the real size later",
        context.cluster.name
    )
}
