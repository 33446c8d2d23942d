//! `write-public-name`: IM's template has the cluster's host name, `kube_public_dns_name`.
//!
//! Changes one input of the template that IM has stored; done already if it says so. IM is told the
//! numbers of machines that it has, so that it neither adds nor removes one, and CLUES does not run
//! meanwhile, since it sends IM the same template. IM replaces what it configures by what the
//! template says (`IM/InfrastructureInfo.py`, `update_radl`), so that what is made of the name, the
//! ingresses of Grafana and the dashboard, changes with the reconfiguration that follows. Undo writes the old
//! name, which only the next reconfiguration takes up.

use async_trait::async_trait;

use super::write_worker_counts::{of_counts, send, stored};
use super::{infrastructure, of_im};
use crate::domain::dns::HostChange;
use crate::domain::names::HostName;
use crate::operations::clues::of_clues;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::clues::Daemon;

/// See the module.
pub(super) struct WritePublicName;

#[async_trait]
impl Step for WritePublicName {
    fn name(&self) -> &'static str {
        "write-public-name"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let change: HostChange = context.options()?;
        write(context, &change.host).await?;
        Ok(Progress::done())
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let change: HostChange = context.options()?;
        if !write(context, &change.old_host).await? {
            return Ok(Undo::Undone);
        }
        Ok(Undo::Left(format!(
            "Grafana may be at `{}` until the infrastructure is reconfigured in IM's dashboard",
            change.host
        )))
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("write the old host name into IM's template")
    }
}

/// Writes the name; whether it was another one.
async fn write(context: &StepContext<'_>, host: &HostName) -> Result<bool, StepError> {
    let id = infrastructure(context)?;
    let template = stored(context, id).await?;
    if template.public_name().map_err(of_counts)? == host.as_str() {
        return Ok(false);
    }
    let clues = context
        .services
        .clues(context.cluster, context.vault)
        .await?;
    context.still_ours().await?;
    clues.daemon(Daemon::Stop).await.map_err(of_clues)?;
    let told = tell_im(context, host).await;
    // Whatever happened, CLUES runs again.
    let runs = clues.daemon(Daemon::Restart).await.map_err(of_clues);
    told?;
    runs?;
    context.log(&format!("IM's template says: {host}")).await?;
    Ok(true)
}

/// Sends the template with the name, and nothing else changed.
async fn tell_im(context: &StepContext<'_>, host: &HostName) -> Result<(), StepError> {
    let id = infrastructure(context)?;
    // Read again: only now nobody else changes it.
    let template = stored(context, id).await?;
    let named = template.named(host).map_err(of_counts)?;
    let doing = "IM's template could not be read";
    let before = context.services.im.vms(id).await;
    let before = before.map_err(|error| of_im(doing, error))?;
    let workers = before.iter().filter(|vm| **vm != 0).count();
    let counts = named.counts().map_err(of_counts)?;
    let text = named.with(counts, workers).map_err(of_counts)?;
    send(context, id, text).await
}
