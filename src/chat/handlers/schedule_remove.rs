//! `/pangeo schedule remove`: a command does not run by itself any more.

use super::Call;
use crate::chat::messages::schedules;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let text = call.text("schedule");
    let Some(schedule) = store.schedule_by_text(&text).await? else {
        return Ok(View::text(schedules::no_such(&call.shared.clean, &text)));
    };
    if let Some(event) = schedule.event {
        return Ok(View::text(schedules::of_event(&schedule, event)));
    }
    let by = call.caller.person.id;
    let because = format!("removed by <@{by}>");
    let notice = Some(schedules::removed(&schedule, by));
    let is_removed = store
        .end_schedule(schedule.id, Some(by), &because, notice)
        .await?;
    Ok(View::text(if is_removed {
        format!(
            "schedule `{}` is removed; the channel is told, and what it started already goes on",
            schedule.id.short()
        )
    } else {
        schedules::no_such(&call.shared.clean, &text)
    }))
}
