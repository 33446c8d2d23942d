//! `forget-cluster`: the cluster is out of the inventory, and its secrets and those of its host are
//! deleted.
//!
//! Its rows stay as history. Can't be undone: the keys to the seals' content are gone.

use async_trait::async_trait;

use super::for_good;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct ForgetCluster;

#[async_trait]
impl Step for ForgetCluster {
    fn name(&self) -> &'static str {
        "forget-cluster"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let owners = [context.cluster_secrets(), context.host_secrets()];
        let forgotten = context
            .store
            .remove_cluster(context.cluster.id, context.operation.id, &owners)
            .await?;
        context
            .log(&format!("{forgotten} sealed secrets are deleted"))
            .await?;
        Ok(Progress::told(
            "the cluster is out of the inventory; its history stays",
        ))
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(for_good())
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("nothing: the secrets are deleted for good")
    }
}
