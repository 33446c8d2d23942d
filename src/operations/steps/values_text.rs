//! What helm is given: the values that a deploy renders, or those that a change makes.
//!
//! Shared by the steps that install and that record, so that what is recorded is what was
//! installed. A change is made again from the rows at every call and held against the digest that
//! was approved.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::render_values::rendered;
use crate::domain::values::change::{Make, ValuesChange, digest_of_text};
use crate::operations::start::{DEPLOY_COMMAND, brings_cluster};
use crate::operations::values::{MakeError, kept_for, live, make_text, text_of};
use crate::operations::{StepContext, StepError};

/// What this operation gives to helm.
pub(super) struct ValuesText {
    /// The values, **with secrets**.
    pub(super) text: SecretString,
    /// The chart version.
    pub(super) chart_version: String,
    /// Why, for the history.
    pub(super) reason: String,
}

/// What helm is given by this operation.
pub(super) async fn values_text(context: &StepContext<'_>) -> Result<ValuesText, StepError> {
    if context.operation.command == DEPLOY_COMMAND {
        let options = context.deploy_options()?;
        return Ok(ValuesText {
            text: rendered(context).await?,
            chart_version: options.chart_version,
            reason: options
                .purpose
                .unwrap_or_else(|| context.operation.command.clone()),
        });
    }
    let change: ValuesChange = context.options()?;
    let (vault, cluster) = (context.vault, context.cluster.id);
    let newest = text_of(vault, cluster, change.from).await?;
    let kept = kept_for(vault, cluster, &change.make).await?;
    let tree = match &change.make {
        Make::Adopt => live(context.services, vault, context.cluster).await?.tree,
        Make::Edits { .. } | Make::Host { .. } | Make::Overwrite | Make::Revision { .. } => {
            Value::Null
        }
    };
    let newest = (change.from, newest.as_ref());
    let text = make_text(&change.make, newest, &kept, &tree).map_err(of_make)?;
    if digest_of_text(text.expose_secret()) != change.to {
        return Err(changed_meanwhile(
            context,
            "the values are not those that were approved",
        ));
    }
    Ok(ValuesText {
        text,
        chart_version: change.chart_version,
        reason: change.reason,
    })
}

/// Somebody was quicker.
pub(super) fn changed_meanwhile(context: &StepContext<'_>, what: &str) -> StepError {
    // One that is left keeps the name of the cluster that it brought.
    let hint = if brings_cluster(&context.operation.command) {
        "undo this operation and run the command again for a new plan"
    } else {
        "leave this operation and run the command again for a new plan"
    };
    StepError::needs_human(format!("changed meanwhile: {what}"), hint)
}

fn of_make(error: MakeError) -> StepError {
    StepError::NeedsHuman {
        reason: "the new values could not be made".to_owned(),
        hint: "leave this operation and run the command again for a new plan".to_owned(),
        source: Some(error.into()),
    }
}
