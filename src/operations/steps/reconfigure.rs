//! `reconfigure`: IM configures the infrastructure again, now that the name points to it, so that
//! Let's Encrypt gives out a certificate.
//!
//! Asked for once per operation; asking twice only costs time. Waits one pause before it is done,
//! since IM shows the old state `configured` until it has begun. Nothing to undo: the
//! configuration goes with the infrastructure.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{infrastructure, of_im};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct Reconfigure;

/// That it was asked for.
#[derive(Serialize, Deserialize)]
struct Output {
    /// When IM accepted it.
    asked_at: chrono::DateTime<chrono::Utc>,
}

#[async_trait]
impl Step for Reconfigure {
    fn name(&self) -> &'static str {
        "reconfigure"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        if context.learnt_before::<Output>().is_some() {
            return Ok(Progress::done());
        }
        let id = infrastructure(context)?;
        context.still_ours().await?;
        let doing = "IM did not take the reconfiguration";
        context
            .services
            .im
            .reconfigure(id)
            .await
            .map_err(|error| of_im(doing, error))?;
        context
            .learn(&Output {
                asked_at: context.store.clock().now(),
            })
            .await?;
        context
            .log("IM configures the cluster again, for its certificate")
            .await?;
        Ok(Progress::Wait {
            after: context.services.settings.poll,
            note: "until IM has begun".to_owned(),
        })
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}
