//! `point-dns-name`: the host name points to the front end.
//!
//! Looks the name up first: if it points there already nothing is updated, since the service takes
//! needless updates for abuse. Then waits until it resolves. Undo can't take the record back: the
//! service has no call for it, so it says where the name still points.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::operations::services::address_of;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::dns::{DnsError, DnsUpdate};
use crate::store::vault::DNS_SECRET;

/// See the module.
pub(super) struct PointDnsName;

/// What was sent.
#[derive(Serialize, Deserialize)]
struct Output {
    /// The address that the service accepted.
    updated_to: String,
}

#[async_trait]
impl Step for PointDnsName {
    fn name(&self) -> &'static str {
        "point-dns-name"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let host = &context.cluster.host;
        let address = address_of(context.cluster)?;
        let dns = &context.services.dns;
        let points_to = dns
            .resolve(host)
            .await
            .map_err(|error| of_dns(error, host.as_str()))?;
        if points_to.contains(&address) {
            context.log(&format!("{host} points to {address}")).await?;
            return Ok(Progress::done());
        }
        let sent = context
            .learnt_before::<Output>()
            .is_some_and(|output| output.updated_to == address.to_string());
        if !sent {
            let secret = context
                .vault
                .get(&context.host_secrets(), DNS_SECRET)
                .await?;
            let secret = secret.ok_or_else(|| {
                StepError::needs_human(
                    format!("the update secret of `{host}` is not known"),
                    format!("give it with `/pangeo dns set-secret host:{host}`, then retry"),
                )
            })?;
            context.still_ours().await?;
            let update = dns
                .update(host, &secret, address)
                .await
                .map_err(|error| of_dns(error, host.as_str()))?;
            context
                .learn(&Output {
                    updated_to: address.to_string(),
                })
                .await?;
            let said = match update {
                DnsUpdate::Updated => "updated",
                DnsUpdate::Unchanged => "had been updated before",
            };
            context.log(&format!("{host} {said} to {address}")).await?;
        }
        Ok(Progress::Wait {
            after: context.services.settings.poll,
            note: format!("until {host} resolves to {address}"),
        })
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let host = &context.cluster.host;
        match context.learnt_before::<Output>() {
            None => Ok(Undo::Undone),
            Some(output) => Ok(Undo::Left(format!(
                "`{host}` still points to {}; Dynamic DNS has no call to clear it: delete the host in its portal, or point it elsewhere",
                output.updated_to
            ))),
        }
    }
}

fn of_dns(error: DnsError, host: &str) -> StepError {
    let hint = match &error {
        DnsError::BadSecret { .. } => {
            format!("give the right secret with `/pangeo dns set-secret host:{host}`, then retry")
        }
        DnsError::UnknownHost { .. } => {
            "add the host in the Dynamic DNS portal, keep its secret, then retry".to_owned()
        }
        DnsError::Blocked { .. } => {
            "unblock the host in the Dynamic DNS portal (it was updated too often), then retry"
                .to_owned()
        }
        DnsError::NotAFullName { .. } | DnsError::BadAgent | DnsError::Resolver(_) => {
            "ask whoever runs the bot; the service refuses what it sends".to_owned()
        }
        DnsError::Unreachable(_)
        | DnsError::BrokenOff(_)
        | DnsError::Trouble { .. }
        | DnsError::NotUnderstood { .. }
        | DnsError::Lookup { .. } => "see whether Dynamic DNS answers, then retry".to_owned(),
    };
    StepError::of_service(
        error.is_transient(),
        "the DNS name could not be pointed",
        hint,
        error,
    )
}
