//! `upgrade-daskhub`: helm has upgraded the release to the values of this operation.
//!
//! Runs helm as `install-daskhub` does, detached and under a run id, so that any later look
//! attaches to it. Hub and proxy are recreated by an upgrade, so one that fails is an outage: a run
//! that ended badly is rolled back at once to the revision that ran before, and only then the
//! operation stops. Each round looks once more whether somebody changed the values meanwhile. Undo
//! rolls back likewise.

use async_trait::async_trait;

use super::check_values::unchanged;
use super::install_daskhub::{Output, run_helm};
use crate::operations::values::of_helm;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::helm::{Helm, ReleaseStatus, RunId};

/// See the module.
pub(super) struct UpgradeDaskhub;

#[async_trait]
impl Step for UpgradeDaskhub {
    fn name(&self) -> &'static str {
        "upgrade-daskhub"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let frontend = context
            .services
            .frontend(context.cluster, context.vault)
            .await?;
        let helm = Helm::new(&frontend, &context.services.settings.helm);
        let mut known = context.learnt_before::<Output>().unwrap_or_default();
        if known.before == 0 {
            known.before = running(&helm).await?.ok_or_else(|| {
                StepError::needs_human(
                    "no revision of the release runs",
                    "see with `/pangeo status` what became of the hub",
                )
            })?;
            context.learn(&known).await?;
        }
        if known.begins_round() {
            // A retry may come long after the first look.
            unchanged(context, &context.options()?).await?;
        }
        match run_helm(context, &helm, known.before).await {
            Err(error) if !error.is_fenced() => {
                let back = roll_back(context, &helm, known.before, When::ItFailed).await?;
                Err(if back {
                    told(error, known.before)
                } else {
                    error
                })
            }
            ended => ended,
        }
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let known = context.learnt_before::<Output>().unwrap_or_default();
        if known.before == 0 || known.round == 0 {
            return Ok(Undo::Undone);
        }
        let frontend = context
            .services
            .frontend(context.cluster, context.vault)
            .await?;
        let helm = Helm::new(&frontend, &context.services.settings.helm);
        let run = RunId::new(context.operation.id, known.round);
        if helm.is_running().await.map_err(of_helm)? {
            helm.stop(&run).await.map_err(of_helm)?;
            return Ok(Undo::Wait {
                after: context.services.settings.poll,
                note: "until helm has ended".to_owned(),
            });
        }
        roll_back(context, &helm, known.before, When::Always).await?;
        helm.cleanup(&run).await.map_err(of_helm)?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("roll the release back to the revision that ran before")
    }
}

/// When to go back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// If the newer revision does not run.
    ItFailed,
    /// Even if it runs: it is undone.
    Always,
}

/// The revision that runs.
async fn running(helm: &Helm<'_>) -> Result<Option<u32>, StepError> {
    let history = helm.history().await.map_err(of_helm)?;
    let deployed = history
        .iter()
        .rev()
        .find(|release| release.status == ReleaseStatus::Deployed);
    Ok(deployed.map(|release| release.revision))
}

/// Goes back to the revision that ran before, if anything newer was written and nobody went back
/// already. Answers whether the old one runs again because of that.
async fn roll_back(
    context: &StepContext<'_>,
    helm: &Helm<'_>,
    before: u32,
    when: When,
) -> Result<bool, StepError> {
    let history = helm.history().await.map_err(of_helm)?;
    let Some(newest) = history.last() else {
        return Ok(false);
    };
    if newest.revision == before {
        return Ok(false);
    }
    let is_back = newest.status == ReleaseStatus::Deployed
        && newest.description == format!("Rollback to {before}");
    if is_back {
        return Ok(true);
    }
    if when == When::ItFailed && newest.status == ReleaseStatus::Deployed {
        // Helm ended well; only the way to it is broken.
        return Ok(false);
    }
    if helm.is_running().await.map_err(of_helm)? {
        // It may still end well; the next look attaches to it.
        return Ok(false);
    }
    context.still_ours().await?;
    helm.rollback(before).await.map_err(of_helm)?;
    context
        .log(&format!("rolled back to helm revision {before}"))
        .await?;
    Ok(true)
}

/// The error with what was done about it.
fn told(error: StepError, before: u32) -> StepError {
    let also = format!("; rolled back by itself to helm revision {before}, which runs again");
    match error {
        StepError::Retry {
            reason,
            hint,
            source,
        } => StepError::Retry {
            reason: reason + &also,
            hint,
            source,
        },
        StepError::Fatal {
            reason,
            hint,
            source,
        } => StepError::Fatal {
            reason: reason + &also,
            hint,
            source,
        },
        StepError::NeedsHuman {
            reason,
            hint,
            source,
        } => StepError::NeedsHuman {
            reason: reason + &also,
            hint,
            source,
        },
        StepError::Outdated(why) => StepError::Outdated(why + &also),
        error @ (StepError::Store(_) | StepError::Vault(_)) => error,
    }
}
