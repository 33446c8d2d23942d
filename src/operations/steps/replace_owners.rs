//! `replace-owners`: only the bot's account may act on the infrastructure in IM.
//!
//! Done already if it is so. A list of accounts that is not the plan's is left alone. Can't be
//! undone: to let an account act again IM wants its holder's own token.

use async_trait::async_trait;

use crate::domain::owners::{OwnersToReplace, shown, shown_all};
use crate::operations::owners::of_owners;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct ReplaceOwners;

#[async_trait]
impl Step for ReplaceOwners {
    fn name(&self) -> &'static str {
        "replace-owners"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let wanted: OwnersToReplace = context.options()?;
        let (services, id) = (context.services, &wanted.infrastructure);
        let now = services.owners(id).await?;
        if now != [wanted.stays.clone()] {
            if now != wanted.before {
                let why = "other accounts may act than the plan says";
                return Err(StepError::Outdated(why.to_owned()));
            }
            context.still_ours().await?;
            let login = services.im.login();
            let replaced = services.im.replace_owners(id, login).await;
            replaced.map_err(of_owners)?;
        }
        let now = services.owners(id).await?;
        let told = format!("accounts that may act now: {}", shown_all(&now));
        if now != [wanted.stays] {
            return Err(StepError::needs_human(
                told,
                "see with `/pangeo owners show` who may act, then retry or leave it",
            ));
        }
        context.log(&told).await?;
        Ok(Progress::told(told))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let wanted: OwnersToReplace = context.options()?;
        let now = context.services.owners(&wanted.infrastructure).await?;
        let mut gone = wanted.before;
        gone.retain(|account| !now.contains(account));
        if gone.is_empty() {
            return Ok(Undo::Undone);
        }
        let names: Vec<&str> = gone.iter().map(|account| shown(account)).collect();
        Ok(Undo::Left(format!(
            "{} may not act any more: IM wants a token of each to let them act again, see \
             `/pangeo owners add`",
            names.join(", ")
        )))
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("nothing: IM wants a token of each person to let them act again")
    }
}
