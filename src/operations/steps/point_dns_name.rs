//! `point-dns-name`: the host name points to the front end, or to where the plan of `dns update`
//! says.
//!
//! Looks the name up first: if it points there already nothing is updated, since the service takes
//! needless updates for abuse. Then waits until it resolves. Undo takes the record away if it still
//! points to our front end, and after `dns update` points it back instead; what the service refuses
//! is said and left. That an update is asked for is kept before it, so that undo also knows of one
//! whose answer got lost.

use std::net::IpAddr;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::TRIES_TO_REACH;
use crate::domain::dns::{NameChange, in_words};
use crate::domain::names::HostName;
use crate::operations::services::address_of;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::dns::{DnsError, DnsUpdate};
use crate::store::secrets::SecretOwner;
use crate::store::vault::DNS_SECRET;

/// See the module.
pub(super) struct PointDnsName;

/// What was sent.
#[derive(Serialize, Deserialize)]
struct Output {
    /// The address that the service accepted.
    updated_to: String,
}

/// What is about to be sent.
#[derive(Serialize, Deserialize)]
struct Asked {
    /// The address that the service is asked to take.
    asked_for: String,
}

#[async_trait]
impl Step for PointDnsName {
    fn name(&self) -> &'static str {
        "point-dns-name"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let change = NameChange::of(&context.operation.options);
        let (host, address) = match &change {
            Some(change) => (&change.host, change.points_to),
            None => (&context.cluster.host, address_of(context.cluster)?),
        };
        let points_to = resolve(context, host).await?;
        if points_to.contains(&address) {
            context.log(&format!("{host} points to {address}")).await?;
            if asked_for(context).is_some_and(|asked| asked == address.to_string()) {
                let updated_to = address.to_string();
                context.learn(&Output { updated_to }).await?;
            }
            return Ok(Progress::done());
        }
        if let Some(change) = change.as_ref().filter(|one| !one.is_as_planned(&points_to)) {
            return Err(was_moved(change, &points_to));
        }
        let sent = context
            .learnt_before::<Output>()
            .is_some_and(|output| output.updated_to == address.to_string());
        if !sent {
            update(context, host, address).await?;
        }
        Ok(Progress::Wait {
            after: context.services.settings.poll,
            note: format!("until {host} resolves to {address}"),
        })
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        // An update whose answer got lost may have been made, too; bots before this one kept only
        // what was accepted.
        let sent = context.learnt_before::<Output>();
        let address = sent.map(|sent| sent.updated_to);
        let address = address.or_else(|| asked_for(context));
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            return Ok(Undo::Undone);
        };
        match NameChange::of(&context.operation.options) {
            Some(change) => take_back(context, &change.host, (address, change.points_from)).await,
            None => clear(context, address).await,
        }
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some(
            "take the DNS record of the host away, or point it back to where `dns update` found it, unless it points elsewhere meanwhile",
        )
    }

    fn when_stuck(&self) -> &'static str {
        "see in the Dynamic DNS portal where the name points; then retry, which waits as long again, or undo"
    }
}

fn asked_for(context: &StepContext<'_>) -> Option<String> {
    let asked: Option<Asked> = context.learnt_before();
    asked.map(|asked| asked.asked_for)
}

/// Where the name points now.
async fn resolve(context: &StepContext<'_>, host: &HostName) -> Result<Vec<IpAddr>, StepError> {
    let found = context.services.dns.resolve(host).await;
    found.map_err(|error| of_dns(error, host.as_str()))
}

/// Asks for the update, and keeps that it was asked for and accepted.
async fn update(
    context: &StepContext<'_>,
    host: &HostName,
    address: IpAddr,
) -> Result<(), StepError> {
    let secret = secret(context, host).await?;
    let asked = Asked {
        asked_for: address.to_string(),
    };
    context.learn(&asked).await?;
    context.still_ours().await?;
    let update = context.services.dns.update(host, &secret, address).await;
    let update = update.map_err(|error| of_dns(error, host.as_str()))?;
    let updated_to = address.to_string();
    context.learn(&Output { updated_to }).await?;
    let said = match update {
        DnsUpdate::Updated => "updated",
        DnsUpdate::Unchanged => "had been updated before",
    };
    context.log(&format!("{host} {said} to {address}")).await
}

fn was_moved(change: &NameChange, points_to: &[IpAddr]) -> StepError {
    StepError::Outdated(format!(
        "`{}` points to {}",
        change.host,
        in_words(points_to)
    ))
}

/// Takes the record away that a deployment made, if it points to `address`.
pub(super) async fn clear(context: &StepContext<'_>, address: IpAddr) -> Result<Undo, StepError> {
    take_back(context, &context.cluster.host, (address, None)).await
}

/// Points the name to where it pointed before, or nowhere, if it points to `address`. A name that
/// stays must not keep the rest from being undone: after some tries it is left, with words that say
/// what to do.
async fn take_back(
    context: &StepContext<'_>,
    host: &HostName,
    (address, before): (IpAddr, Option<IpAddr>),
) -> Result<Undo, StepError> {
    let then = before.map_or_else(|| "nowhere".to_owned(), |before| format!("to {before}"));
    match try_to_take_back(context, host, (address, before)).await {
        Ok(true) => {
            context.log(&format!("{host} points {then} now")).await?;
            Ok(Undo::Undone)
        }
        Ok(false) => {
            let line = format!("{host} does not point to {address}: its record is left alone");
            context.log(&line).await?;
            Ok(Undo::Undone)
        }
        Err(error) if error.is_transient() && context.step.attempts < TRIES_TO_REACH => Err(error),
        Err(error @ StepError::Store(_)) => Err(error),
        Err(error) => Ok(Undo::Left(format!(
            "`{host}` still points to {address} ({}): delete the host in the Dynamic DNS portal, or point it elsewhere",
            error.for_people()
        ))),
    }
}

/// Whether there was a record of ours to take back.
async fn try_to_take_back(
    context: &StepContext<'_>,
    host: &HostName,
    (address, before): (IpAddr, Option<IpAddr>),
) -> Result<bool, StepError> {
    let dns = &context.services.dns;
    let wrap = |error| of_dns(error, host.as_str());
    let found = resolve(context, host).await?;
    // Name servers may still answer what was there before our update: an update back to it does no
    // harm.
    let is_ours = |one: &IpAddr| *one == address || Some(*one) == before;
    if !found.iter().any(is_ours) {
        return Ok(false);
    }
    let secret = secret(context, host).await?;
    context.still_ours().await?;
    match before {
        Some(before) => dns.update(host, &secret, before).await.map(|_done| ()),
        None => dns.clear(host, &secret, address).await,
    }
    .map_err(wrap)?;
    Ok(true)
}

async fn secret(context: &StepContext<'_>, host: &HostName) -> Result<SecretString, StepError> {
    let owner = SecretOwner::Host(host.clone());
    let secret = context.vault.get(&owner, DNS_SECRET).await?;
    secret.ok_or_else(|| {
        StepError::needs_human(
            format!("the update secret of `{host}` is not known"),
            format!("give it with `/pangeo dns set-secret host:{host}`, then retry"),
        )
    })
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
