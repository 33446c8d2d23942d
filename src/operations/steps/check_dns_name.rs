//! `check-dns-name`: the host's update secret is kept and the resolver answers.
//!
//! Changes nothing outside, so it needs no undo.

use async_trait::async_trait;

use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::store::vault::DNS_SECRET;

/// See the module.
pub(super) struct CheckDnsName;

#[async_trait]
impl Step for CheckDnsName {
    fn name(&self) -> &'static str {
        "check-dns-name"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let host = &context.cluster.host;
        if context
            .vault
            .get(&context.host_secrets(), DNS_SECRET)
            .await?
            .is_none()
        {
            return Err(StepError::needs_human(
                format!("the update secret of `{host}` is not known"),
                format!("give it with `/pangeo dns set-secret host:{host}`, then retry"),
            ));
        }
        let addresses = context.services.dns.resolve(host).await.map_err(|error| {
            let hint = "see whether the name server answers, then retry";
            StepError::of_service(
                error.is_transient(),
                "the name could not be looked up",
                hint,
                error,
            )
        })?;
        let now = if addresses.is_empty() {
            "to nothing".to_owned()
        } else {
            let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("to {}", texts.join(", "))
        };
        context
            .log(&format!("{host} points {now}; its update secret is kept"))
            .await?;
        Ok(Progress::done())
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}
