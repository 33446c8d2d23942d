//! `check-hub`: the hub answers over https with a valid certificate.
//!
//! Changes nothing outside, so it needs no undo. Tries for a while, since the certificate and the
//! ingress follow the release by a minute or two; then it is tried again with growing pauses and
//! finally asks a person.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::deploy::Method;
use crate::operations::services::address_of;
use crate::operations::start::DEPLOY_COMMAND;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct CheckHub;

/// What people get.
#[derive(Serialize, Deserialize)]
struct Output {
    /// What people open.
    url: String,
    /// JupyterHub's version.
    version: Option<String>,
    /// When the certificate ends.
    certificate_expires_at: Option<chrono::DateTime<chrono::Utc>>,
}

#[async_trait]
impl Step for CheckHub {
    fn name(&self) -> &'static str {
        "check-hub"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let services = context.services;
        let target = services.hub_target(context.cluster, address_of(context.cluster)?);
        let check = services.hubs.check(&target).await;
        if let Err(error) = &check
            && by_tosca(context)?
        {
            let name = &context.cluster.name;
            return Ok(Progress::told(format!(
                "{} does not answer yet: {error}; the template gives the hub's ingress neither a host nor a certificate, `/pangeo values edit name:{name}` does",
                target.url()
            )));
        }
        let check = check.map_err(|error| {
            let hint = error.hint();
            StepError::of_service(
                error.is_transient(),
                "the hub does not answer as it should",
                hint,
                error,
            )
        })?;
        let version = check.version.as_deref().unwrap_or("of unknown version");
        context
            .log(&format!("{} answers: JupyterHub {version}", target.url()))
            .await?;
        let output = Output {
            url: target.url(),
            version: check.version,
            certificate_expires_at: check.certificate_expires_at,
        };
        Ok(Progress::Done(
            serde_json::to_value(output).unwrap_or_default(),
        ))
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}

/// Whether IM's template installed the hub.
fn by_tosca(context: &StepContext<'_>) -> Result<bool, StepError> {
    let is_deploy = context.operation.command == DEPLOY_COMMAND;
    Ok(is_deploy && context.deploy_options()?.method == Method::Tosca)
}
