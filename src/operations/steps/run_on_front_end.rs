//! Each step of a runbook: a program ran on the front end of the cluster and ended well.
//!
//! What runs is what the plan kept, whatever became of the command's file. It runs detached from
//! the connection under a run id made of operation, step and round, so that any later look attaches
//! to that run instead of starting another, and finds its exit status. `timeout` ends it when its
//! time is over, whether the bot is there or not. Only a run whose end nobody knows, since the front
//! end went down with it, is a question: one that may be repeated is, any other waits for a person.
//! Undo ends a run that is still going; what it did stays.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::runbook::{RemoteRun, Repeat, Runbook};
use crate::operations::services::of_frontend;
use crate::operations::{Progress, Step, StepContext, StepError, TOLD, Undo};
use crate::services::detached::{Detached, LogPiece, Run, RunId};
use crate::services::frontend::Frontend;

/// The name that all these steps have for the metrics; in the database each has its own.
pub(super) const NAME: &str = "run-on-front-end";

/// How many rounds run without a person.
const ROUNDS_ALONE: u32 = 3;

/// How much of what a program prints is kept, in bytes.
const OUTPUT_KEPT: u64 = 1024 * 1024;

/// An offset behind the end of any log.
const BEHIND_THE_END: u64 = 1 << 60;

/// How long a program that was asked to end may take, before it is killed.
const KILL_AFTER: &str = "--kill-after=10s";

/// The exit status of `timeout` when it asked the program to end.
const TIME_OVER: i32 = 124;

/// The exit status of a program that was killed.
const KILLED: i32 = 137;

/// How many lines of the output a stop shows.
const LINES_SHOWN: i64 = 5;

/// See the module.
pub(super) struct RunOnFrontEnd;

/// Where the run is.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Output {
    /// The round, from 1; 0 before the first.
    round: u32,
    /// Whether the front end answered that it has the run.
    started: bool,
    /// Bytes of its output that are in the operation's log.
    log_offset: u64,
    /// Whether the round is over, so that a retry begins the next.
    over: bool,
    /// Whether it ended with status 0.
    good: bool,
}

#[async_trait]
impl Step for RunOnFrontEnd {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let run = kept(context)?;
        let frontend = frontend(context).await?;
        let detached = Detached::on(&frontend);
        let mut at = context.learnt_before::<Output>().unwrap_or_default();
        if at.good {
            // It ended well, and the process died before that was recorded as the result.
            return finish(context, detached, &at).await;
        }
        if at.round == 0 || at.over {
            at = Output {
                round: at.round + 1,
                ..Output::default()
            };
            context.learn(&at).await?;
            let shown = run.shown();
            context.log(&format!("runs {shown}")).await?;
        }
        if !at.started {
            start(context, detached, &run, at.round).await?;
            at.started = true;
            context.learn(&at).await?;
        }
        follow(context, detached, &run, at).await
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let at = context.learnt_before::<Output>().unwrap_or_default();
        if at.round == 0 {
            return Ok(Undo::Undone);
        }
        let left = "what it did on the front end stays: what a runbook ran can't be undone";
        let frontend = match frontend(context).await {
            Ok(frontend) => frontend,
            Err(error) if error.is_transient() && context.step.attempts < super::TRIES_TO_REACH => {
                return Err(error);
            }
            Err(error) => {
                let why = error.for_people();
                return Ok(Undo::Left(format!(
                    "{left}; it may still run there ({why})"
                )));
            }
        };
        let (detached, id) = (Detached::on(&frontend), id(context, at.round));
        let found = detached.poll(&id, BEHIND_THE_END).await;
        if let Run::Running { .. } = found.map_err(of_frontend)? {
            detached.stop(&id).await.map_err(of_frontend)?;
            return Ok(Undo::Wait {
                after: context.services.settings.poll,
                note: "until the program has ended".to_owned(),
            });
        }
        detached.cleanup(&id).await.map_err(of_frontend)?;
        Ok(Undo::Left(left.to_owned()))
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("nothing: what ran on the front end can't be undone")
    }
}

/// What this step runs, as it was approved.
fn kept(context: &StepContext<'_>) -> Result<RemoteRun, StepError> {
    let runbook = Runbook::of(&context.operation.options);
    let run = runbook.and_then(|runbook| runbook.run(&context.step.name).cloned());
    run.ok_or_else(|| {
        StepError::fatal(
            "the operation does not say what to run",
            "this is a fault of the bot; leave it, and tell whoever runs the bot",
        )
    })
}

async fn frontend(context: &StepContext<'_>) -> Result<std::sync::Arc<Frontend>, StepError> {
    let services = context.services;
    services.frontend(context.cluster, context.vault).await
}

fn id(context: &StepContext<'_>, round: u32) -> RunId {
    RunId::of_step(context.operation.id, &context.step.name, round)
}

/// Starts it as the user of the connection, within its time; or finds that it was started.
async fn start(
    context: &StepContext<'_>,
    detached: Detached<'_>,
    run: &RemoteRun,
    round: u32,
) -> Result<(), StepError> {
    let limit = format!("{}s", run.time_limit_s);
    let user = context.services.user_of(context.cluster);
    let mut command = vec![
        "timeout", KILL_AFTER, &limit, "sudo", "-H", "-u", &user, "--",
    ];
    command.extend(run.run.iter().map(String::as_str));
    context.still_ours().await?;
    let id = id(context, round);
    let started = detached.start(&id, None, &command).await;
    started.map_err(of_frontend)?;
    Ok(())
}

/// Looks how far the run is and takes its output over.
async fn follow(
    context: &StepContext<'_>,
    detached: Detached<'_>,
    run: &RemoteRun,
    mut at: Output,
) -> Result<Progress, StepError> {
    let id = id(context, at.round);
    loop {
        let offset = if at.log_offset < OUTPUT_KEPT {
            at.log_offset
        } else {
            BEHIND_THE_END
        };
        match detached.poll(&id, offset).await.map_err(of_frontend)? {
            Run::Running { log } => {
                take_over(context, &mut at, &log).await?;
                return Ok(Progress::Wait {
                    after: context.services.settings.poll,
                    note: format!("it may take {}", words_of(run.time_limit_s)),
                });
            }
            Run::Ended { log, .. } if !log.text.is_empty() => {
                take_over(context, &mut at, &log).await?;
            }
            Run::Ended { code, .. } => {
                at.over = true;
                at.good = code == 0;
                context.learn(&at).await?;
                if at.good {
                    return finish(context, detached, &at).await;
                }
                let error = failed(context, run, code).await?;
                detached.cleanup(&id).await.map_err(of_frontend)?;
                return Err(error);
            }
            Run::Lost { log } => {
                take_over(context, &mut at, &log).await?;
                return Err(unknown(context, detached, run, at).await?);
            }
            Run::Absent => return Err(unknown(context, detached, run, at).await?),
        }
    }
}

/// A program may print anything: what is no text is left out, and what is too much, too.
async fn take_over(
    context: &StepContext<'_>,
    at: &mut Output,
    log: &LogPiece,
) -> Result<(), StepError> {
    if log.text.is_empty() || at.log_offset >= OUTPUT_KEPT {
        return Ok(());
    }
    at.log_offset = log.next_offset;
    context.learn(&*at).await?;
    context.log(&plain(&log.text)).await?;
    if at.log_offset >= OUTPUT_KEPT {
        let kept = OUTPUT_KEPT / 1024;
        let line = format!("it printed more than {kept} KiB: the rest is not shown");
        context.log(&line).await?;
    }
    Ok(())
}

fn plain(text: &str) -> String {
    let lines = text.replace('\r', "\n");
    lines
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

async fn finish(
    context: &StepContext<'_>,
    detached: Detached<'_>,
    at: &Output,
) -> Result<Progress, StepError> {
    let id = id(context, at.round);
    detached.cleanup(&id).await.map_err(of_frontend)?;
    let mut output = serde_json::to_value(at).unwrap_or_default();
    if let Some(fields) = output.as_object_mut() {
        let told = format!("{} ended well", context.step.name);
        fields.insert(TOLD.to_owned(), told.into());
    }
    Ok(Progress::Done(output))
}

async fn failed(
    context: &StepContext<'_>,
    run: &RemoteRun,
    code: i32,
) -> Result<StepError, StepError> {
    let tail = context
        .store
        .log_tail(context.operation.id, &context.step.name, LINES_SHOWN)
        .await?;
    let first = format!("runs {}", run.shown());
    let lines: Vec<String> = tail
        .into_iter()
        .map(|line| line.text)
        .filter(|line| !first.starts_with(line.as_str()))
        .map(|line| line.trim().chars().take(120).collect())
        .collect();
    let said = if lines.is_empty() {
        "; it printed nothing".to_owned()
    } else {
        format!("; its last lines: {}", lines.join(" · "))
    };
    let limit = words_of(run.time_limit_s);
    let reason = match code {
        TIME_OVER => format!("the program did not end within {limit} and was ended{said}"),
        KILLED => format!(
            "the program was killed: its {limit} were over, or the front end has no memory left{said}"
        ),
        code => format!("the program ended with status {code}{said}"),
    };
    let hint = "the whole output is in the log; mend the cause, then retry, which runs this step again, or leave it";
    Ok(StepError::fatal(reason, hint))
}

/// The run is gone without a status.
async fn unknown(
    context: &StepContext<'_>,
    detached: Detached<'_>,
    run: &RemoteRun,
    mut at: Output,
) -> Result<StepError, StepError> {
    at.over = true;
    context.learn(&at).await?;
    let cleaned = detached.cleanup(&id(context, at.round)).await;
    cleaned.map_err(of_frontend)?;
    let reason = "nobody knows whether the program came to its end: it is gone from the front end without an exit status";
    let hint = "the front end may have been restarted: look there what the program did; then retry, which runs it again, or leave it";
    Ok(match run.repeat {
        Repeat::Safe if !at.round.is_multiple_of(ROUNDS_ALONE) => StepError::Retry {
            reason: reason.to_owned(),
            hint: hint.to_owned(),
            source: None::<crate::operations::error::Cause>,
        },
        Repeat::Safe | Repeat::Ask => StepError::needs_human(reason, hint),
    })
}

/// A time span for people.
fn words_of(seconds: u64) -> String {
    if seconds >= 120 && seconds.is_multiple_of(60) {
        format!("{} min", seconds / 60)
    } else {
        format!("{seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_do_is_not_kept() {
        assert_eq!(plain("1%\r2%\u{1b}[31m\0x\ty\n"), "1%\n2%[31mx\ty\n");
        assert_eq!(
            (words_of(90), words_of(300)),
            ("90 s".to_owned(), "5 min".to_owned())
        );
    }
}
