//! `add-owner`: the colleague's account may act on the infrastructure in IM.
//!
//! Done already if IM lets the colleague's token act. A list of accounts that is not the plan's is
//! left alone. The token is forgotten as soon as IM has taken it. Undo brings the list back where
//! it was the bot's account alone; otherwise IM could take the account off only with others, so
//! that it stays and is named.

use async_trait::async_trait;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::domain::owners::{OwnerToAdd, shown, shown_all};
use crate::operations::owners::of_owners;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::im::{ImLogin, TokenCell};

/// What the token must still live to be sent.
const NEEDED: TimeDelta = TimeDelta::minutes(1);

/// See the module.
pub(super) struct AddOwner;

/// What was done.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Output {
    added: bool,
    told: String,
}

#[async_trait]
impl Step for AddOwner {
    fn name(&self) -> &'static str {
        "add-owner"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let wanted: OwnerToAdd = context.options()?;
        let mut output = context.learnt_before::<Output>().unwrap_or_default();
        if !output.added {
            add(context, &wanted).await?;
            let now = context.services.owners(&wanted.infrastructure).await?;
            output = Output {
                added: true,
                told: format!(
                    "{} may act on the infrastructure: IM takes their token; accounts now: {}",
                    shown(&wanted.account),
                    shown_all(&now)
                ),
            };
            context.learn(&output).await?;
            context.log(&output.told).await?;
        }
        forget(context, &wanted).await?;
        Ok(Progress::Done(
            serde_json::to_value(output).unwrap_or_default(),
        ))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let wanted: OwnerToAdd = context.options()?;
        forget(context, &wanted).await?;
        let (services, id) = (context.services, &wanted.infrastructure);
        let now = services.owners(id).await?;
        if now == wanted.before {
            return Ok(Undo::Undone);
        }
        let mut after = wanted.before.clone();
        after.push(wanted.account.clone());
        let own = services.own_account().await?;
        if now != after || wanted.before != [own] {
            return Ok(Undo::Left(format!(
                "{} may act on the infrastructure still: IM can take nobody off without all others; \
                 see `/pangeo owners remove`",
                shown(&wanted.account)
            )));
        }
        context.still_ours().await?;
        let login = services.im.login();
        let replaced = services.im.replace_owners(id, login).await;
        replaced.map_err(of_owners)?;
        context
            .log("only the bot's account may act on the infrastructure, as before")
            .await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some(
            "take the added account off the infrastructure, if only the bot's was there before; \
             else it stays, since IM would take the others off as well",
        )
    }
}

async fn add(context: &StepContext<'_>, wanted: &OwnerToAdd) -> Result<(), StepError> {
    let (services, id) = (context.services, &wanted.infrastructure);
    let owner = context.cluster_secrets();
    let token = context.vault.get(&owner, &wanted.secret).await?;
    let token = token.ok_or_else(|| {
        StepError::needs_human(
            "the token that was given is not kept any more",
            "leave this operation and run the command again",
        )
    })?;
    let clock = context.store.clock();
    let facts = services.verified_token(&token, clock, NEEDED).await?;
    if facts.holder != wanted.holder {
        let why = "the token is another person's";
        return Err(StepError::Outdated(why.to_owned()));
    }
    if services.may_act(&token, id).await? {
        return Ok(());
    }
    if services.owners(id).await? != wanted.before {
        let why = "other accounts may act than the plan says";
        return Err(StepError::Outdated(why.to_owned()));
    }
    context.still_ours().await?;
    let login = ImLogin::Token(TokenCell::new(token.clone()));
    let added = services.im.add_owner(id, &login).await;
    added.map_err(of_owners)?;
    if services.may_act(&token, id).await? {
        return Ok(());
    }
    Err(StepError::needs_human(
        "IM took the account and does not let it act",
        "see with `/pangeo owners show` who may act, and ask whoever runs IM",
    ))
}

async fn forget(context: &StepContext<'_>, wanted: &OwnerToAdd) -> Result<(), StepError> {
    let owner = context.cluster_secrets();
    let _was_there: bool = context.store.forget_secret(&owner, &wanted.secret).await?;
    Ok(())
}
