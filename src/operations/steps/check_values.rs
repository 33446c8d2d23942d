//! `check-values`: the values are still those that the plan saw.
//!
//! Looks at the newest revision of the rows and at what helm has. Somebody who changed either in
//! between must not be overwritten unseen. Changes nothing outside, so it needs no undo.

use async_trait::async_trait;
use secrecy::ExposeSecret;

use super::values_text::values_text;
use crate::domain::values::change::{ValuesChange, digest_of_tree};
use crate::domain::yaml;
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
            return Err(StepError::Outdated(format!(
                "revision {newest} is the newest, the plan began with {}",
                change.from
            )));
        }
        let running = unchanged(context, &change).await?;
        context
            .log(&format!(
                "revision {newest} is the newest, and helm revision {running} has the values that the plan saw"
            ))
            .await?;
        let output = serde_json::json!({"helm_revision": running});
        Ok(Progress::Done(output))
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}

/// Answers helm's revision, if it has the values that the plan saw or those that the plan makes,
/// which a failed try leaves behind.
pub(super) async fn unchanged(
    context: &StepContext<'_>,
    change: &ValuesChange,
) -> Result<u32, StepError> {
    let live = live(context.services, context.vault, context.cluster).await?;
    let digest = digest_of_tree(&live.tree);
    let wanted = values_text(context).await?;
    let is_ours = || {
        let tree = yaml::read(wanted.text.expose_secret());
        tree.is_ok_and(|tree| digest_of_tree(&tree) == digest)
    };
    if digest == change.live || is_ours() {
        return Ok(live.release.revision);
    }
    let why = "helm has other values than the plan saw; `/pangeo values drift` shows them";
    Err(StepError::Outdated(why.to_owned()))
}
