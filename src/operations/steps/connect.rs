//! `connect`: the bot can log in to the front end and become root there.
//!
//! Opens the connection with the pinned host key and asks for the versions of helm and Kubernetes.
//! Changes nothing outside; undo closes the connection.

use async_trait::async_trait;

use crate::operations::services::of_frontend;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct Connect;

#[async_trait]
impl Step for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let frontend = context
            .services
            .frontend(context.cluster, context.vault)
            .await?;
        let output = frontend
            .run_ok(&["sudo", "helm", "version", "--short"], &[])
            .await
            .map_err(of_frontend)?;
        context
            .log(&format!(
                "logged in to {}; helm {}",
                frontend.address(),
                output.text().trim()
            ))
            .await?;
        Ok(Progress::done())
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        context.services.forget_connection(context.cluster.id).await;
        Ok(Undo::Undone)
    }
}
