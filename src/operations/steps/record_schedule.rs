//! `record-schedule`: from now on a command runs by itself.
//!
//! Writes only the bot's own rows. The schedule has the id of the operation, so writing it twice
//! makes one. Undo ends it.

use async_trait::async_trait;

use crate::domain::ids::ScheduleId;
use crate::domain::schedule::{MOST, ScheduleWish};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct RecordSchedule;

fn id_of(context: &StepContext<'_>) -> ScheduleId {
    ScheduleId::from(context.operation.id.as_uuid())
}

#[async_trait]
impl Step for RecordSchedule {
    fn name(&self) -> &'static str {
        "record-schedule"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let wish: ScheduleWish = context.options()?;
        let now = context.store.clock().now();
        let hint = "leave it, and make a new schedule";
        let next = wish
            .next_after(now)
            .map_err(|error| StepError::needs_human(format!("`{}` {error}", wish.when), hint))?;
        let id = id_of(context);
        let Some(next) = next else {
            if context.store.schedule(id).await?.is_some() {
                return Ok(Progress::done());
            }
            let why = format!("`{}` is over meanwhile", wish.when);
            return Err(StepError::needs_human(why, hint));
        };
        let operation = context.operation;
        let is_kept = context
            .store
            .add_schedule(id, operation, &wish, Some(next))
            .await?;
        if !is_kept {
            let why = format!("there are {MOST} schedules already");
            let hint = "remove one with `/pangeo schedule remove`, then retry";
            return Err(StepError::needs_human(why, hint));
        }
        Ok(Progress::told(format!(
            "schedule `{}` runs first <t:{}:F>",
            id.short(),
            next.timestamp()
        )))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let id = id_of(context);
        context.store.end_schedule(id, None, "undone", None).await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("end the schedule; what ran already stays as it is")
    }
}
