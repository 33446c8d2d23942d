//! `restart-clues`: CLUES reads its files and answers again.
//!
//! Restarting twice does no harm: nodes stay as they are. Waits until `clues status` answers, and
//! compares what CLUES then believes of nodes that are off. Undo has nothing to do.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::clues::NodeSize;
use crate::domain::clues::status::StatusError;
use crate::operations::clues::of_clues;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::clues::{Clues, CluesError, Daemon};

/// How long CLUES may take to answer, and to take its nodes from the new files (it looks at them
/// every 5 s).
const PATIENCE: TimeDelta = TimeDelta::minutes(2);

/// See the module.
pub(super) struct RestartClues;

/// What CLUES shall believe then; only some commands change it.
#[derive(Deserialize)]
struct Expected {
    #[serde(default)]
    new: Option<NodeSize>,
}

/// That it was restarted.
#[derive(Serialize, Deserialize)]
struct Output {
    /// When.
    restarted_at: DateTime<Utc>,
}

#[async_trait]
impl Step for RestartClues {
    fn name(&self) -> &'static str {
        "restart-clues"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let services = context.services;
        let clues = services.clues(context.cluster, context.vault).await?;
        let restarted_at = if let Some(output) = context.learnt_before::<Output>() {
            output.restarted_at
        } else {
            let restarted_at = restart(context, &clues).await?;
            context.learn(&Output { restarted_at }).await?;
            restarted_at
        };
        let Expected { new } = context.options()?;
        answers(context, &clues, restarted_at, new).await
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}

/// Restarts CLUES; when that was.
pub(super) async fn restart(
    context: &StepContext<'_>,
    clues: &Clues,
) -> Result<DateTime<Utc>, StepError> {
    let now = context.store.clock().now();
    context.still_ours().await?;
    clues.daemon(Daemon::Restart).await.map_err(of_clues)?;
    context.log("CLUES is restarted").await?;
    Ok(now)
}

/// Waits until CLUES answers after its restart, and believes in the size that it was given.
pub(super) async fn answers(
    context: &StepContext<'_>,
    clues: &Clues,
    restarted_at: DateTime<Utc>,
    new: Option<NodeSize>,
) -> Result<Progress, StepError> {
    let is_over = context.store.clock().now() - restarted_at > PATIENCE;
    let wait = |note: &str| {
        Ok(Progress::Wait {
            after: context.services.settings.poll,
            note: note.to_owned(),
        })
    };
    let rows = match clues.status().await {
        Ok(rows) => rows,
        Err(CluesError::Status(StatusError::NotRunning)) if !is_over => {
            return wait("until CLUES answers");
        }
        Err(CluesError::Status(StatusError::NotRunning)) => {
            return Err(StepError::needs_human(
                "CLUES does not run after its restart",
                "see what `sudo service cluesd status` says on the front end, then retry",
            ));
        }
        Err(error) => return Err(of_clues(error)),
    };
    let Some(new) = new else {
        return Ok(Progress::told(format!(
            "CLUES answers, with {} nodes",
            rows.len()
        )));
    };
    let off: Vec<_> = rows.iter().filter(|row| row.state.is_off()).collect();
    let wrong = off
        .iter()
        .find(|row| (row.cpus, row.memory) != (new.slots, new.memory));
    match wrong {
        None => Ok(Progress::told(format!(
            "CLUES answers; {} of its {} nodes are off and have the new size",
            off.len(),
            rows.len()
        ))),
        Some(_row) if !is_over => wait("until CLUES has the new size"),
        Some(row) => Err(StepError::needs_human(
            format!(
                "CLUES still believes that {} has {} cores and {} bytes",
                row.name, row.cpus, row.memory
            ),
            "see whether /etc/clues2/kubernetes_vnodes.info gives it a size of its own, then retry",
        )),
    }
}
