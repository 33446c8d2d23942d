//! What helm is given: the values that a deploy renders, or those that a change makes.
//!
//! Shared by the steps that install and that record, so that what is recorded is what was
//! installed. A change is made again from the rows at every call and held against the digest that
//! was approved.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::render_values::rendered;
use crate::domain::chart::Chart;
use crate::domain::deploy::{DeployOptions, Method};
use crate::domain::values::change::{Make, ValuesChange, digest_of_text};
use crate::domain::yaml;
use crate::operations::start::DEPLOY_COMMAND;
use crate::operations::values::{MakeError, kept_for, live, make_text, text_of};
use crate::operations::{StepContext, StepError};

/// What this operation gives to helm.
pub(super) struct ValuesText {
    /// The values, **with secrets**.
    pub(super) text: SecretString,
    /// The chart.
    pub(super) chart: Chart,
    /// Why, for the history.
    pub(super) reason: String,
    /// Helm's number of what another system installed.
    pub(super) installed: Option<u32>,
}

/// What helm is given by this operation.
pub(super) async fn values_text(context: &StepContext<'_>) -> Result<ValuesText, StepError> {
    if context.operation.command == DEPLOY_COMMAND {
        let options = context.deploy_options()?;
        return match options.method {
            Method::Helm => Ok(ValuesText {
                text: rendered(context).await?,
                chart: Chart::configured(&options.chart_version),
                reason: reason(context, options),
                installed: None,
            }),
            Method::Tosca => installed_by_im(context, options).await,
        };
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
        let why = "the values are not those that were approved";
        return Err(StepError::Outdated(why.to_owned()));
    }
    Ok(ValuesText {
        text,
        chart: change.chart(),
        reason: change.reason,
        installed: None,
    })
}

/// What IM installed by its template: the values are those that helm has.
async fn installed_by_im(
    context: &StepContext<'_>,
    options: DeployOptions,
) -> Result<ValuesText, StepError> {
    let live = live(context.services, context.vault, context.cluster).await?;
    let text = yaml::write(&live.tree).map_err(|error| of_make(error.into()))?;
    let version = live
        .release
        .version_of(&context.services.settings.helm.chart);
    Ok(ValuesText {
        text: text.into(),
        chart: Chart::configured(version.unwrap_or(&options.chart_version)),
        reason: reason(context, options),
        installed: Some(live.release.revision),
    })
}

fn reason(context: &StepContext<'_>, options: DeployOptions) -> String {
    let purpose = options.purpose;
    purpose.unwrap_or_else(|| context.operation.command.clone())
}

fn of_make(error: MakeError) -> StepError {
    StepError::NeedsHuman {
        reason: "the new values could not be made".to_owned(),
        hint: "leave this operation and run the command again for a new plan".to_owned(),
        source: Some(error.into()),
    }
}
