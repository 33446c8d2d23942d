//! `record-worker-counts`: the inventory knows how far the cluster may grow.
//!
//! Writes only the bot's own row, where deploys, plans and looks find the numbers; writing twice
//! does no harm. Undo writes what CLUES' files said before.

use async_trait::async_trait;

use crate::domain::clues::change::ScaleChange;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct RecordWorkerCounts;

#[async_trait]
impl Step for RecordWorkerCounts {
    fn name(&self) -> &'static str {
        "record-worker-counts"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let change: ScaleChange = context.options()?;
        let id = context.cluster.id;
        context.store.set_worker_counts(id, change.after).await?;
        Ok(Progress::done())
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let change: ScaleChange = context.options()?;
        let id = context.cluster.id;
        context.store.set_worker_counts(id, change.files).await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("keep the numbers of workers from before in the inventory")
    }
}
