//! `uninstall-daskhub`: the release is gone from the cluster.
//!
//! A front end that nobody reaches must not keep its infrastructure from being deleted: then the
//! release goes with the infrastructure, and the summary says so. Can't be undone.

use async_trait::async_trait;

use super::install_daskhub::uninstall;
use super::{as_progress, for_good};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct UninstallDaskhub;

#[async_trait]
impl Step for UninstallDaskhub {
    fn name(&self) -> &'static str {
        "uninstall-daskhub"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        if context.cluster.host_key.is_none() {
            return Ok(Progress::done());
        }
        uninstall(context, None).await.map(as_progress)
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(for_good())
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("nothing: what was deleted stays deleted")
    }
}
