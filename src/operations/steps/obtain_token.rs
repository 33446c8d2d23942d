//! `obtain-token`: the new access token is there, sealed, and is what was approved.
//!
//! Changes nothing outside. The token was pasted into a form before the plan was made; here its
//! signature, holder, remaining life and IM's answer with it are checked once more, right before it
//! is used. Undo forgets it.

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::AT_ONCE;
use crate::domain::token::{NEEDED_TO_WRITE, NewToken, RenewOptions};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct ObtainToken;

/// What later steps want to know.
#[derive(Serialize, Deserialize)]
pub(super) struct Output {
    /// The name of the sealed token; it belongs to the operation's cluster.
    pub(super) secret: String,
}

#[async_trait]
impl Step for ObtainToken {
    fn name(&self) -> &'static str {
        "obtain-token"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let options: RenewOptions = context.options()?;
        let secret = options.new.as_ref().map(|new| new.secret.clone());
        let secret = secret.ok_or_else(gone)?;
        check(context, &options, &sealed(context, &secret).await?).await?;
        context
            .log("the new token is verified, of the same person, and IM takes it")
            .await?;
        let output = Output { secret };
        Ok(Progress::Done(
            serde_json::to_value(output).unwrap_or_default(),
        ))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        forget(context).await?;
        Ok(Undo::Undone)
    }
}

/// Whether the token is what was approved.
async fn check(
    context: &StepContext<'_>,
    options: &RenewOptions,
    token: &SecretString,
) -> Result<(), StepError> {
    let services = context.services;
    let clock = context.store.clock();
    let facts = services
        .verified_token(token, clock, NEEDED_TO_WRITE)
        .await?;
    if facts.holder != options.holder {
        return Err(StepError::needs_human(
            "the new token is another person's than the plan says",
            "run the command again",
        ));
    }
    let asked: Vec<_> = options
        .targets
        .iter()
        .map(|target| services.token_owns(token, &target.infrastructure))
        .collect();
    stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The sealed token.
pub(super) async fn sealed(
    context: &StepContext<'_>,
    secret: &str,
) -> Result<SecretString, StepError> {
    let owner = context.cluster_secrets();
    context.vault.get(&owner, secret).await?.ok_or_else(gone)
}

/// Forgets the sealed token, whatever its name is.
pub(super) async fn forget(context: &StepContext<'_>) -> Result<(), StepError> {
    let owner = context.cluster_secrets();
    let options: RenewOptions = context.options()?;
    if let Some(new) = &options.new {
        context.store.forget_secret(&owner, &new.secret).await?;
    }
    let output: Option<Output> = context
        .steps
        .iter()
        .find(|step| step.name == ObtainToken.name())
        .and_then(|step| serde_json::from_value(step.output.clone()).ok());
    if let Some(output) = output.filter(|output| output.secret.starts_with(NewToken::PREFIX)) {
        context.store.forget_secret(&owner, &output.secret).await?;
    }
    Ok(())
}

fn gone() -> StepError {
    StepError::needs_human(
        "the token that was given is not kept any more",
        "leave this operation and run the command again",
    )
}
