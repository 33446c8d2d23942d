//! What else is under way or to come on the cluster of a plan: whoever approves should know.

use super::Planner;
use crate::domain::event::EVENT_COMMAND;
use crate::domain::operation::{Operation, OperationState};
use crate::operations::start::UNDO_COMMAND;
use crate::store::StoreError;

/// The commands that get in the way of what runs by itself; that of an event says itself which other
/// events it meets.
const MEETS_SCHEDULES: [&str; 3] = ["destroy", EVENT_COMMAND, "scale"];

impl Planner {
    /// Warnings for a plan: the operation that it would wait behind, events and schedules.
    pub(super) async fn beside(
        &self,
        command: &str,
        target: &str,
    ) -> Result<Vec<String>, StoreError> {
        let mut warnings = Vec::new();
        if command != UNDO_COMMAND {
            let open = self.store.open_operations(target).await?;
            warnings.extend(open.first().map(waits_behind));
        }
        if MEETS_SCHEDULES.contains(&command) {
            let now = self.store.clock().now();
            if command != EVENT_COMMAND {
                let events = self.store.events(Some(target)).await?;
                let events = events.iter().map(|event| event.in_words(now));
                warnings.extend(events.map(|words| format!("an event is planned on it: {words}")));
            }
            let mut schedules = self.store.schedules(Some(target)).await?;
            schedules.retain(|schedule| schedule.event.is_none());
            warnings.extend(schedules.iter().filter_map(|schedule| {
                let next = schedule.next_at?.timestamp();
                let id = schedule.id.short();
                let typed = schedule.typed().replace('`', "'");
                Some(format!(
                    "schedule `{id}` runs `{typed}` on it, next <t:{next}:f>"
                ))
            }));
        }
        Ok(warnings)
    }
}

fn waits_behind(operation: &Operation) -> String {
    let command = &operation.command;
    if operation.state == OperationState::Stopped {
        format!(
            "`{command}` stopped on it and waits for a person: this waits behind it, see `/pangeo ops show operation:{}`",
            operation.id.short()
        )
    } else {
        format!(
            "`{command}` is at work on it: this waits behind it, and ends by itself if it does not fit any more then"
        )
    }
}
