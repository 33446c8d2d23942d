//! `record-event`: a course is known: its lock, and what runs by itself for it.
//!
//! Writes only the bot's own rows, all in one transaction. The event has the id of the operation, so
//! writing it twice makes one. Undo ends it with its lock and its runs.

use async_trait::async_trait;

use crate::domain::event::EventWish;
use crate::domain::ids::EventId;
use crate::domain::schedule::MOST;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct RecordEvent;

fn id_of(context: &StepContext<'_>) -> EventId {
    EventId::from(context.operation.id.as_uuid())
}

#[async_trait]
impl Step for RecordEvent {
    fn name(&self) -> &'static str {
        "record-event"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let wish: EventWish = context.options()?;
        if wish.ends_at <= context.store.clock().now() {
            return Err(StepError::needs_human(
                "the event is over meanwhile",
                "leave it, and plan another",
            ));
        }
        let is_kept = context.store.record_event(context.operation, &wish).await?;
        if !is_kept {
            return Err(StepError::needs_human(
                format!("there are {MOST} schedules already"),
                "remove some with `/pangeo schedule remove`, then retry",
            ));
        }
        Ok(Progress::told(format!(
            "event `{}` begins <t:{}:F>; `/pangeo event list` shows it",
            id_of(context).short(),
            wish.starts_at.timestamp()
        )))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let id = id_of(context);
        context.store.end_event(id, None, "undone", None).await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("end the event with its lock and its runs; what ran already stays as it is")
    }
}
