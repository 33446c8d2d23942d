//! `/pangeo schedule skip`: one run is left out; the button of its announcement.

use super::Call;
use crate::chat::messages::schedules;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let text = call.text("schedule");
    let Some(schedule) = store.schedule_by_text(&text).await? else {
        return Ok(View::text(schedules::no_such(&call.shared.clean, &text)));
    };
    let Some(next) = schedule.next_at else {
        return Ok(View::text(schedules::NOT_NEXT));
    };
    // A button names the run in whole seconds.
    let meant = call.options.time("at").unwrap_or(next);
    if meant.timestamp() != next.timestamp() {
        return Ok(View::text(schedules::NOT_NEXT));
    }
    let by = call.caller.person.id;
    let notice = schedules::skipped(&schedule, next, by);
    let is_skipped = store.skip_run(&schedule, next, by, notice).await?;
    Ok(View::text(if is_skipped {
        format!(
            "the run <t:{}:F> of schedule `{}` is skipped; the channel is told",
            next.timestamp(),
            schedule.id.short()
        )
    } else {
        schedules::NOT_NEXT.to_owned()
    }))
}
