//! `wait-for-deployments`: all deployments of the release are ready.
//!
//! Asks the Kubernetes API through the connection. Changes nothing outside, so it needs no undo.

use async_trait::async_trait;

use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::kubernetes::{Kubernetes, KubernetesError};

/// See the module.
pub(super) struct WaitForDeployments;

#[async_trait]
impl Step for WaitForDeployments {
    fn name(&self) -> &'static str {
        "wait-for-deployments"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let services = context.services;
        let frontend = services.frontend(context.cluster, context.vault).await?;
        let kubernetes = Kubernetes::connect(frontend).await.map_err(of_kubernetes)?;
        let namespace = &services.settings.helm.namespace;
        let deployments = kubernetes
            .deployments(namespace)
            .await
            .map_err(of_kubernetes)?;
        let waiting: Vec<String> = deployments
            .iter()
            .filter(|deployment| !deployment.is_ready())
            .map(|deployment| {
                let reason = deployment.reason.as_deref().unwrap_or("not ready");
                format!(
                    "{} {}/{} ({reason})",
                    deployment.name, deployment.ready, deployment.desired
                )
            })
            .collect();
        if deployments.is_empty() || !waiting.is_empty() {
            let note = if deployments.is_empty() {
                format!("no deployment in namespace {namespace} yet")
            } else {
                waiting.join(", ")
            };
            return Ok(Progress::Wait {
                after: services.settings.poll,
                note,
            });
        }
        let names: Vec<&str> = deployments.iter().map(|d| d.name.as_str()).collect();
        context.log(&format!("ready: {}", names.join(", "))).await?;
        Ok(Progress::done())
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }

    fn when_stuck(&self) -> &'static str {
        "look at the pods of the namespace `daskhub`: an image that can't be pulled or no node with room are the usual causes; then retry, or undo"
    }
}

fn of_kubernetes(error: KubernetesError) -> StepError {
    let hint = error.hint();
    StepError::of_service(
        error.is_transient(),
        "Kubernetes could not be asked",
        hint,
        error,
    )
}
