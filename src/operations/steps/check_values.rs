//! `check-values`: the values are still those that the plan saw.
//!
//! Looks at the newest revision of the rows and at what helm has. Somebody who changed either in
//! between must not be overwritten unseen. Changes nothing outside, so it needs no undo.

use async_trait::async_trait;

use super::values_text::{changed_meanwhile, values_text};
use crate::domain::values::change::{ValuesChange, digest_of_tree};
use crate::operations::values::live;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct CheckValues;

#[async_trait]
impl Step for CheckValues {
    fn name(&self) -> &'static str {
        "check-values"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let change: ValuesChange = context.options()?;
        let newest = context.cluster.revision;
        if newest != change.from {
            return Err(changed_meanwhile(&format!(
                "revision {newest} is the newest, the plan began with {}",
                change.from
            )));
        }
        let live = live(context.services, context.vault, context.cluster).await?;
        if digest_of_tree(&live.tree) != change.live {
            return Err(changed_meanwhile(
                "helm has other values than the plan saw; `/pangeo values drift` shows them",
            ));
        }
        values_text(context).await?;
        context
            .log(&format!(
                "revision {newest} is the newest, and helm revision {} has the values that the plan saw",
                live.release.revision
            ))
            .await?;
        let output = serde_json::json!({"helm_revision": live.release.revision});
        Ok(Progress::Done(output))
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}
