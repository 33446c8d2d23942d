//! `wait-until-configured` and `wait-until-reconfigured`: IM has configured the infrastructure.
//!
//! Looks at the state and streams what IM's contextualisation printed since the last look into the
//! log. Changes nothing outside, so it needs no undo.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{infrastructure, of_im};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::im::{InfrastructureState, VmState};

/// The VM whose log is told. That of the whole infrastructure grows in the middle when there are
/// several VMs (seen with IM 2.0.0), so it can't be followed from an offset.
const FRONT_END: u32 = 0;

/// How many lines of IM's own log go into an error.
const LAST_LINES: usize = 3;

/// See the module. Two steps that do the same at two moments.
pub(super) struct WaitUntilConfigured {
    name: &'static str,
}

impl WaitUntilConfigured {
    /// After the creation.
    pub(super) const FIRST: Self = Self {
        name: "wait-until-configured",
    };
    /// After the reconfiguration.
    pub(super) const AGAIN: Self = Self {
        name: "wait-until-reconfigured",
    };
}

/// How far the log was read.
#[derive(Serialize, Deserialize)]
struct Output {
    /// Bytes of IM's log that are in ours.
    log_offset: u64,
}

#[async_trait]
impl Step for WaitUntilConfigured {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let id = infrastructure(context)?;
        let im = &context.services.im;
        let doing = "the state of the infrastructure could not be read";
        let state = im.state(id).await.map_err(|error| of_im(doing, error))?;
        self.stream_log(context).await?;
        match state.state {
            VmState::Configured => Ok(Progress::done()),
            VmState::Pending | VmState::Running | VmState::Unknown => Ok(Progress::Wait {
                after: context.services.settings.poll,
                note: format!("IM: {}", describe(&state)),
            }),
            VmState::Unconfigured => Err(StepError::needs_human(
                format!("IM could not configure it ({})", last_words(context).await?),
                "read IM's log; reconfigure it in IM's dashboard and retry, or undo and deploy again",
            )),
            VmState::Failed | VmState::Off | VmState::Stopped | VmState::Deleting => {
                Err(StepError::fatal(
                    format!(
                        "IM says `{}` ({})",
                        describe(&state),
                        last_words(context).await?
                    ),
                    "undo and deploy again with another flavour or site, or retry after mending it in IM's dashboard",
                ))
            }
        }
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }

    fn when_stuck(&self) -> &'static str {
        "see in IM's dashboard whether the site still works on it; then retry, which waits as long again, or undo"
    }
}

impl WaitUntilConfigured {
    /// Appends what is new; a log that can't be read does not stop the wait.
    async fn stream_log(&self, context: &StepContext<'_>) -> Result<(), StepError> {
        let id = infrastructure(context)?;
        let from = context
            .learnt_before::<Output>()
            .map_or(0, |output| output.log_offset);
        match context.services.im.vm_contmsg(id, FRONT_END, from).await {
            Ok(piece) if piece.text.is_empty() => Ok(()),
            Ok(piece) => {
                // First the mark, then the text: a crash in between loses lines of a log that IM
                // still has, instead of showing them twice.
                context
                    .learn(&Output {
                        log_offset: piece.end,
                    })
                    .await?;
                context.log(&piece.text).await
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "no log from IM this time"
                );
                Ok(())
            }
        }
    }
}

/// The end of IM's log, for people.
async fn last_words(context: &StepContext<'_>) -> Result<String, StepError> {
    let id = infrastructure(context)?;
    let log = context
        .services
        .im
        .vm_contmsg(id, FRONT_END, 0)
        .await
        .map(|piece| piece.text)
        .unwrap_or_default();
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let start = lines.len().saturating_sub(LAST_LINES);
    let words = lines.get(start..).unwrap_or_default().join(" · ");
    Ok(if words.is_empty() {
        "it left no log".to_owned()
    } else {
        words.chars().take(400).collect()
    })
}

fn describe(state: &InfrastructureState) -> String {
    let vms: Vec<String> = state
        .vm_states
        .iter()
        .map(|(vm, state)| format!("VM {vm} {state}"))
        .collect();
    if vms.is_empty() {
        state.state.to_string()
    } else {
        format!("{} ({})", state.state, vms.join(", "))
    }
}
