//! `record-revision`: what runs now is the newest revision of the cluster.
//!
//! Writes only rows of the bot's own, once per operation: first the whole values, sealed, then the
//! revision with the masked ones. Undo of a change takes the revision away again, since what it
//! recorded runs no more; that of a deploy leaves it: it is history.

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::values_text::values_text;
use crate::domain::cluster::NewRevision;
use crate::domain::values::change::ValuesChange;
use crate::domain::values::secrets::masked;
use crate::operations::start::DEPLOY_COMMAND;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::store::vault::{WHOLE_VALUES_KEPT, values_name};

/// See the module.
pub(super) struct RecordRevision;

/// What the step before handed on; nothing when TOSCA installed the chart.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Installed {
    /// Helm's number.
    helm_revision: i32,
}

/// The steps that know helm's number of what runs.
const INSTALLERS: [&str; 3] = ["upgrade-daskhub", "install-daskhub", "check-values"];

#[async_trait]
impl Step for RecordRevision {
    fn name(&self) -> &'static str {
        "record-revision"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let (store, cluster) = (context.store, context.cluster);
        let known = store
            .revision_of_operation(cluster.id, context.operation.id)
            .await?;
        let number = match known {
            Some(number) => number,
            None => record(context).await?,
        };
        let oldest = number.saturating_sub(WHOLE_VALUES_KEPT);
        let _was_there: bool = store
            .forget_secret(&context.cluster_secrets(), &values_name(oldest))
            .await?;
        context
            .log(&format!("recorded as revision {number}"))
            .await?;
        Ok(Progress::Done(serde_json::json!({"revision": number})))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        if context.operation.command == DEPLOY_COMMAND {
            return Ok(Undo::Undone);
        }
        let (cluster, operation) = (context.cluster.id, context.operation.id);
        context.still_ours().await?;
        let taken = context.store.take_back_revision(cluster, operation).await?;
        if let Some(number) = taken {
            context.log(&format!("took revision {number} back")).await?;
        }
        // Also what was sealed for a revision that was never recorded.
        let change: ValuesChange = context.options()?;
        let name = values_name(change.from + 1);
        let newest = context.store.cluster(cluster).await?;
        if newest.is_some_and(|cluster| cluster.revision == change.from) {
            let owner = context.cluster_secrets();
            let _was_there: bool = context.store.forget_secret(&owner, &name).await?;
        }
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("take the revision of a change out of the records; that of a deploy stays, as history")
    }
}

async fn record(context: &StepContext<'_>) -> Result<i32, StepError> {
    let mut names = context.steps.iter().map(|row| row.name.as_str());
    let installer = names.rfind(|name| INSTALLERS.contains(name));
    let installed: Installed = installer
        .and_then(|name| context.output_of(name).ok())
        .unwrap_or_default();
    let wanted = values_text(context).await?;
    let by_others = wanted
        .installed
        .and_then(|number| i32::try_from(number).ok());
    let name = values_name(context.cluster.revision + 1);
    let owner = context.cluster_secrets();
    context.vault.put(&owner, &name, &wanted.text).await?;
    let values_masked = masked(wanted.text.expose_secret()).unwrap_or_default();
    let revision = NewRevision {
        operation: context.operation.id,
        helm_revision: by_others.unwrap_or(installed.helm_revision),
        chart: wanted.chart,
        values_masked,
        made_by: context.operation.requester,
        reason: wanted.reason,
    };
    let cluster = context.cluster.id;
    Ok(context.store.record_revision(cluster, &revision).await?)
}
