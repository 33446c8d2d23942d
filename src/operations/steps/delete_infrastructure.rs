//! `delete-infrastructure`: IM does not know the cluster's infrastructure any more.
//!
//! Asks for the deletion again at every look, since IM accepts it even if the cloud then refuses,
//! and may lose it; done when IM answers that there is no such infrastructure. Can't be undone.

use async_trait::async_trait;

use super::{for_good, of_im};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::im::{DeleteMode, ImError};

/// See the module.
pub(super) struct DeleteInfrastructure;

#[async_trait]
impl Step for DeleteInfrastructure {
    fn name(&self) -> &'static str {
        "delete-infrastructure"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let Some(id) = &context.cluster.infrastructure else {
            return Ok(Progress::told("no infrastructure was known"));
        };
        context.services.forget_connection(context.cluster.id).await;
        context.still_ours().await?;
        match context.services.im.delete(id, DeleteMode::Careful).await {
            Ok(()) | Err(ImError::Conflict { .. }) => Ok(Progress::Wait {
                after: context.services.settings.poll,
                note: "until IM has deleted the infrastructure".to_owned(),
            }),
            Err(ImError::NotFound { .. }) => {
                context
                    .store
                    .forget_infrastructure(context.cluster.id)
                    .await?;
                context.log("the infrastructure is gone").await?;
                Ok(Progress::done())
            }
            Err(error) => Err(of_im("IM did not delete the infrastructure", error)),
        }
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(for_good())
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("nothing: what was deleted stays deleted")
    }
}
