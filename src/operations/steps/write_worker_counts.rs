//! `write-worker-counts`: IM's template and CLUES' files say the same numbers of workers.
//!
//! Changes two inputs of the template that IM has stored, the list of nodes that CLUES may power on
//! and `EXTRA_NODES_FREE`; done already if all say so. What the plan did not see is left alone.
//! CLUES does not run meanwhile: it sends IM the same template, with another count, when it powers
//! a node on. IM is told the count that it has, so that it neither adds nor removes a machine, and
//! configures nothing. Undo writes what was there.

use async_trait::async_trait;
use secrecy::SecretString;

use super::{infrastructure, of_im};
use crate::domain::clues::change::{Counts, ScaleChange};
use crate::domain::names::InfrastructureId;
use crate::domain::tosca::{CountsError, Stored};
use crate::operations::clues::{counts_of, of_clues};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::clues::{self, CLUES_CFG, Clues, Daemon, FileText, VNODES};
use crate::services::im::{Contextualize, Template};

/// See the module.
pub(super) struct WriteWorkerCounts;

#[async_trait]
impl Step for WriteWorkerCounts {
    fn name(&self) -> &'static str {
        "write-worker-counts"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let change: ScaleChange = context.options()?;
        let before = (change.template, change.files);
        write(context, before, (change.after, change.after)).await?;
        Ok(Progress::told(change.after.to_string()))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let change: ScaleChange = context.options()?;
        let before = (change.template, change.files);
        write(context, (change.after, change.after), before).await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("write the numbers of workers that were there before, and restart CLUES")
    }
}

/// What the template and the files say.
type Both = (Counts, Counts);

async fn write(context: &StepContext<'_>, from: Both, to: Both) -> Result<(), StepError> {
    let id = infrastructure(context)?;
    let services = context.services;
    let clues = services.clues(context.cluster, context.vault).await?;
    let (template, files) = (stored(context, id).await?, Files::read(&clues).await?);
    let now = (template.counts().map_err(of_counts)?, files.counts()?);
    if now == to {
        return Ok(());
    }
    for (what, now, from, to) in [
        ("the numbers in IM's template", now.0, from.0, to.0),
        ("the numbers in CLUES' files", now.1, from.1, to.1),
    ] {
        if now != from && now != to {
            let why = format!("{what} are {now}, not {from}");
            return Err(StepError::Outdated(why));
        }
    }
    context.still_ours().await?;
    clues.daemon(Daemon::Stop).await.map_err(of_clues)?;
    let written = async {
        if now.0 != to.0 {
            tell_im(context, id, to.0).await?;
        }
        files.write(&clues, to.1).await
    };
    let written = written.await;
    // Whatever happened, CLUES runs again.
    let runs = clues.daemon(Daemon::Restart).await.map_err(of_clues);
    written?;
    runs
}

/// The template that IM has.
pub(super) async fn stored(
    context: &StepContext<'_>,
    id: &InfrastructureId,
) -> Result<Stored, StepError> {
    let template = context.services.im.tosca(id).await;
    let template = template.map_err(|error| of_im("IM's template could not be read", error))?;
    let template = template.ok_or_else(|| of_counts(CountsError::Lacks("TOSCA")))?;
    Stored::read(&template).map_err(of_counts)
}

/// Sends the template with other numbers.
async fn tell_im(
    context: &StepContext<'_>,
    id: &InfrastructureId,
    counts: Counts,
) -> Result<(), StepError> {
    // Read again: only now nobody else changes it.
    let template = stored(context, id).await?;
    let before = context.services.im.vms(id).await;
    let before = before.map_err(|error| of_im(CHANGING, error))?;
    let workers = before.iter().filter(|vm| **vm != 0).count();
    let text = template.with(counts, workers).map_err(of_counts)?;
    send(context, id, text).await?;
    context.log(&format!("IM's template says: {counts}")).await
}

/// What is done with IM's template.
const CHANGING: &str = "IM's template could not be changed";

/// Sends the template, and checks that no machine came or went.
pub(super) async fn send(
    context: &StepContext<'_>,
    id: &InfrastructureId,
    text: SecretString,
) -> Result<(), StepError> {
    let im = &context.services.im;
    let failed = |error| of_im(CHANGING, error);
    let before = im.vms(id).await.map_err(failed)?;
    let template = Template::tosca(text);
    im.update(id, &template, Contextualize::Skip)
        .await
        .map_err(failed)?;
    let after = im.vms(id).await.map_err(failed)?;
    if after == before {
        return Ok(());
    }
    Err(StepError::needs_human(
        format!("IM had the VMs {before:?} and has {after:?}, though no machine was asked for"),
        "see in IM's dashboard what came or went, then retry",
    ))
}

/// CLUES' files with these numbers.
struct Files {
    vnodes: FileText,
    config: FileText,
}

impl Files {
    async fn read(clues: &Clues) -> Result<Self, StepError> {
        Ok(Self {
            vnodes: clues.read(VNODES).await.map_err(of_clues)?,
            config: clues.read(CLUES_CFG).await.map_err(of_clues)?,
        })
    }

    fn counts(&self) -> Result<Counts, StepError> {
        counts_of(&self.vnodes, &self.config).map_err(of_clues)
    }

    async fn write(&self, clues: &Clues, counts: Counts) -> Result<(), StepError> {
        let max = usize::try_from(counts.max).unwrap_or(usize::MAX);
        let vnodes = clues::vnodes_of(&self.vnodes).map_err(of_clues)?;
        if vnodes.count() != max {
            let other = vnodes.with_count(max);
            let other = other.map_err(|error| of_clues(clues::CluesError::Vnodes(error)))?;
            let replaced = clues.replace(&self.vnodes, &other.to_text()).await;
            replaced.map_err(of_clues)?;
        }
        let text = clues::with_extra_free(&self.config, counts.min_free).map_err(of_clues)?;
        let replaced = clues.replace(&self.config, &text).await;
        replaced.map_err(of_clues)
    }
}

/// An error of IM's template as a step's.
pub(super) fn of_counts(error: CountsError) -> StepError {
    StepError::of_service(
        false,
        "the numbers of workers can't be changed",
        "the cluster was not made by this bot's templates: change its numbers in IM's dashboard",
        error,
    )
}
