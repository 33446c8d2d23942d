//! `record-revision`: what runs now is revision 1 of the cluster.
//!
//! Writes only rows of the bot's own, once per operation. Undo leaves them: they are history.

use async_trait::async_trait;
use serde::Deserialize;

use super::render_values::values_of;
use crate::domain::cluster::NewRevision;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct RecordRevision;

/// What `install-daskhub` handed on; nothing when TOSCA installed the chart.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Installed {
    /// Helm's number.
    helm_revision: i32,
}

#[async_trait]
impl Step for RecordRevision {
    fn name(&self) -> &'static str {
        "record-revision"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let options = context.deploy_options()?;
        let installed: Installed = context.output_of("install-daskhub").unwrap_or_default();
        let values = values_of(context, &options).masked().unwrap_or_default();
        let revision = NewRevision {
            operation: context.operation.id,
            helm_revision: installed.helm_revision,
            chart_version: options.chart_version.clone(),
            values_masked: values,
            made_by: context.operation.requester,
            reason: options
                .purpose
                .clone()
                .unwrap_or_else(|| context.operation.command.clone()),
        };
        let number = context
            .store
            .record_revision(context.cluster.id, &revision)
            .await?;
        context
            .log(&format!("recorded as revision {number}"))
            .await?;
        Ok(Progress::Done(serde_json::json!({"revision": number})))
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}
