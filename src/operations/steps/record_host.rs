//! `record-host`: the cluster has another host name in the inventory.
//!
//! Writes only the bot's own row, before anything else is changed, so that nobody takes the name
//! meanwhile and all later steps work with it. Undo, which comes last, writes the old name.

use async_trait::async_trait;

use crate::domain::dns::HostChange;
use crate::domain::names::HostName;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::store::StoreError;

/// See the module.
pub(super) struct RecordHost;

#[async_trait]
impl Step for RecordHost {
    fn name(&self) -> &'static str {
        "record-host"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let change: HostChange = context.options()?;
        write(context, &change.host).await?;
        Ok(Progress::told(format!(
            "`{}` still points to the cluster: take it away in the Dynamic DNS portal when nobody uses it any more",
            change.old_host
        )))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let change: HostChange = context.options()?;
        write(context, &change.old_host).await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("the cluster has its old host name in the inventory")
    }
}

async fn write(context: &StepContext<'_>, host: &HostName) -> Result<(), StepError> {
    match context.store.set_host(context.cluster.id, host).await {
        Ok(()) => Ok(()),
        Err(StoreError::Taken { .. }) => Err(StepError::needs_human(
            format!("another cluster is at `{host}` meanwhile"),
            "leave this operation, then run the command again with another host",
        )),
        Err(error) => Err(error.into()),
    }
}
