//! `install-daskhub`: helm has installed or upgraded the release.
//!
//! First a release that a killed helm left `pending-…` is brought back; then the API server is
//! asked whether it would accept the values (`--dry-run=server`); then the chart's CRDs are applied
//! if they differ, since helm never upgrades them; then helm runs, detached from the connection,
//! under a run id made of the operation and a round. Any later look attaches to that run instead of
//! starting another. A run that ended badly is cleaned up, and a retry is the next round; what may pass is
//! retried without a person for a few rounds.
//! Undo uninstalls the release; user volumes stay until the infrastructure goes. A front end that
//! can't be reached, or whose host key changed, is left: it goes with the infrastructure.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::TRIES_TO_REACH;
use super::values_text::values_text;
use crate::operations::values::of_helm;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::helm::{Helm, HelmFailure, HelmRun, LogPiece, Recovery, RunId};

/// How many rounds of helm run without a person; one may take half an hour.
const ROUNDS_ALONE: u32 = 3;

/// A status above this one is the number of the signal that ended the process.
const KILLED_BY_SIGNAL: i32 = 128;

/// See the module.
pub(super) struct InstallDaskhub;

/// Where helm is.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Output {
    /// The round of helm, from 1; 0 before the first.
    pub(super) round: u32,
    /// Bytes of the run's log that are in ours.
    log_offset: u64,
    /// When the round began.
    began_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Whether the round is over, so that a retry begins the next.
    over: bool,
    /// Helm's number of the revision that runs.
    helm_revision: u32,
    /// Helm's number of the revision that an upgrade began with; 0 for an install.
    pub(super) before: u32,
}

impl Output {
    /// Whether the next look starts helm, and not only looks after it.
    pub(super) fn begins_round(&self) -> bool {
        self.round == 0 || (self.over && self.helm_revision == 0)
    }
}

#[async_trait]
impl Step for InstallDaskhub {
    fn name(&self) -> &'static str {
        "install-daskhub"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let frontend = context
            .services
            .frontend(context.cluster, context.vault)
            .await?;
        let helm = Helm::new(&frontend, &context.services.settings.helm);
        run_helm(context, &helm, 0).await
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let at = context.learnt_before::<Output>().unwrap_or_default();
        if at.round == 0 || context.cluster.host_key.is_none() {
            return Ok(Undo::Undone);
        }
        let run = RunId::new(context.operation.id, at.round);
        uninstall(context, Some(&run)).await
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("stop helm and uninstall the release; user volumes go with the infrastructure")
    }
}

/// Uninstalls the release. `run` is a run of this operation, which is stopped first and whose files
/// are removed; a helm that somebody else runs is waited for.
pub(super) async fn uninstall(
    context: &StepContext<'_>,
    run: Option<&RunId>,
) -> Result<Undo, StepError> {
    let frontend = match context
        .services
        .frontend(context.cluster, context.vault)
        .await
    {
        Ok(frontend) => frontend,
        Err(error) if error.is_transient() && context.step.attempts < TRIES_TO_REACH => {
            return Err(error);
        }
        // A front end that nobody reaches must not keep its infrastructure from being deleted.
        Err(error) => {
            return Ok(Undo::Left(format!(
                "the release was not uninstalled ({}); it goes with the infrastructure",
                error.for_people()
            )));
        }
    };
    let helm = Helm::new(&frontend, &context.services.settings.helm);
    if helm.is_running().await.map_err(of_helm)? {
        if let Some(run) = run {
            helm.stop(run).await.map_err(of_helm)?;
        }
        return Ok(Undo::Wait {
            after: context.services.settings.poll,
            note: "until helm has ended".to_owned(),
        });
    }
    helm.uninstall().await.map_err(of_helm)?;
    if let Some(run) = run {
        helm.cleanup(run).await.map_err(of_helm)?;
    }
    context.log("the release is uninstalled").await?;
    Ok(Undo::Undone)
}

/// Runs helm until it ended, from wherever an earlier look left it. `before` is the revision that ran
/// before an upgrade; 0 for an install.
pub(super) async fn run_helm(
    context: &StepContext<'_>,
    helm: &Helm<'_>,
    before: u32,
) -> Result<Progress, StepError> {
    let mut at = context.learnt_before::<Output>().unwrap_or_default();
    // What was learnt in this very run is not among what was learnt before.
    at.before = before;
    if at.over && at.helm_revision > 0 {
        // It ended well, and the process died before that was recorded as the result.
        let run = RunId::new(context.operation.id, at.round);
        return finish(context, helm, &run, at).await;
    }
    if at.begins_round() {
        prepare(context, helm).await?;
        at = Output {
            round: at.round + 1,
            began_at: Some(context.store.clock().now()),
            before: at.before,
            ..Output::default()
        };
        context.learn(&at).await?;
    }
    let run = RunId::new(context.operation.id, at.round);
    let wanted = values_text(context).await?;
    context.still_ours().await?;
    helm.start_or_attach(&run, &wanted.chart, &wanted.text)
        .await
        .map_err(of_helm)?;
    follow(context, helm, &run, at).await
}

/// What comes before a new round: no pending release, accepted values, current CRDs.
async fn prepare(context: &StepContext<'_>, helm: &Helm<'_>) -> Result<(), StepError> {
    match helm.recover().await.map_err(of_helm)? {
        Recovery::NotNeeded => {}
        Recovery::Uninstalled => {
            context
                .log("an unfinished install was left by a killed helm; it is removed")
                .await?;
        }
        Recovery::RolledBack { to } => {
            let text =
                format!("an unfinished upgrade was left by a killed helm; rolled back to {to}");
            context.log(&text).await?;
        }
    }
    let wanted = values_text(context).await?;
    let chart = &wanted.chart;
    if helm.crds_differ(chart).await.map_err(of_helm)? {
        let applied = helm.apply_crds(chart).await.map_err(of_helm)?;
        context
            .log(&format!("applied the chart's CRDs: {}", applied.join(", ")))
            .await?;
    }
    context
        .note("asks the API server whether it accepts the values")
        .await?;
    helm.dry_run(chart, &wanted.text).await.map_err(of_helm)?;
    context
        .log("the API server accepts the values (--dry-run=server)")
        .await
}

/// Looks how far the run is and takes its log over.
async fn follow(
    context: &StepContext<'_>,
    helm: &Helm<'_>,
    run: &RunId,
    mut at: Output,
) -> Result<Progress, StepError> {
    let poll = context.services.settings.poll;
    loop {
        match helm.poll(run, at.log_offset).await.map_err(of_helm)? {
            HelmRun::Running { log } => {
                take_over(context, &mut at, &log).await?;
                if too_long(context, &at) {
                    helm.stop(run).await.map_err(of_helm)?;
                }
                return Ok(Progress::Wait {
                    after: poll,
                    note: "helm upgrade --install --wait".to_owned(),
                });
            }
            HelmRun::Ended { log, .. } if !log.text.is_empty() => {
                take_over(context, &mut at, &log).await?;
            }
            HelmRun::Ended { code: 0, .. } => return finish(context, helm, run, at).await,
            HelmRun::Ended { code, .. } if code > KILLED_BY_SIGNAL => {
                at.over = true;
                context.learn(&at).await?;
                helm.cleanup(run).await.map_err(of_helm)?;
                return Err(next_round(
                    &at,
                    format!("helm was killed on the front end (status {code})"),
                    "see whether the front end has memory left or was restarted, then retry",
                ));
            }
            HelmRun::Ended { .. } => return Err(failed(context, helm, run, at).await?),
            HelmRun::Lost { log } => {
                take_over(context, &mut at, &log).await?;
                at.over = true;
                context.learn(&at).await?;
                return Err(next_round(
                    &at,
                    "helm was killed on the front end",
                    "see whether the front end was restarted, then retry",
                ));
            }
            HelmRun::Absent => {
                at.over = true;
                context.learn(&at).await?;
                return Err(next_round(
                    &at,
                    "the front end forgot the run of helm",
                    "see whether somebody emptied /var/tmp there, then retry",
                ));
            }
        }
    }
}

async fn take_over(
    context: &StepContext<'_>,
    at: &mut Output,
    log: &LogPiece,
) -> Result<(), StepError> {
    if log.next_offset == at.log_offset {
        return Ok(());
    }
    at.log_offset = log.next_offset;
    context.learn(&*at).await?;
    context.log(&log.text).await
}

fn too_long(context: &StepContext<'_>, at: &Output) -> bool {
    let now = context.store.clock().now();
    at.began_at.is_some_and(|began| {
        (now - began)
            .to_std()
            .is_ok_and(|took| took > context.services.settings.helm_limit)
    })
}

async fn finish(
    context: &StepContext<'_>,
    helm: &Helm<'_>,
    run: &RunId,
    at: Output,
) -> Result<Progress, StepError> {
    let revision = if at.helm_revision > 0 {
        at.helm_revision
    } else {
        helm.release()
            .await
            .map_err(of_helm)?
            .map_or(0, |release| release.revision)
    };
    let at = Output {
        over: true,
        helm_revision: revision,
        ..at
    };
    // First the mark: after the clean-up the run can't be asked any more.
    context.learn(&at).await?;
    helm.cleanup(run).await.map_err(of_helm)?;
    context
        .log(&format!("helm revision {revision} is deployed"))
        .await?;
    Ok(Progress::Done(serde_json::to_value(at).unwrap_or_default()))
}

async fn failed(
    context: &StepContext<'_>,
    helm: &Helm<'_>,
    run: &RunId,
    at: Output,
) -> Result<StepError, StepError> {
    let lines = context
        .store
        .log_tail(context.operation.id, &context.step.name, 30)
        .await?;
    // An earlier round failed in words of its own.
    let of_this_round = lines
        .into_iter()
        .filter(|line| at.began_at.is_none_or(|began| line.at >= began));
    let text: Vec<String> = of_this_round.map(|line| line.text).collect();
    let text = text.join("\n");
    let at = Output { over: true, ..at };
    context.learn(&at).await?;
    helm.cleanup(run).await.map_err(of_helm)?;
    let failure = HelmFailure::read(&text);
    let last = text
        .lines()
        .rev()
        .find(|line| line.contains("Error"))
        .map_or_else(String::new, |line| {
            format!(" ({})", line.chars().take(300).collect::<String>())
        });
    let reason = format!("helm failed: {}{last}", failure.describe());
    Ok(if failure.is_transient() {
        next_round(&at, reason, failure.hint())
    } else {
        StepError::fatal(reason, failure.hint())
    })
}

/// Another round follows by itself, unless some have failed in a row: each waits in between, which
/// the runner takes for progress, so that they are counted here.
fn next_round(at: &Output, reason: impl Into<String>, hint: &str) -> StepError {
    if at.round.is_multiple_of(ROUNDS_ALONE) {
        return StepError::needs_human(reason, hint);
    }
    StepError::Retry {
        reason: reason.into(),
        hint: hint.to_owned(),
        source: None,
    }
}
