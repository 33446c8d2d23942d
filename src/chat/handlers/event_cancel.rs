//! `/pangeo event cancel`: a course does not take place.

use super::Call;
use crate::chat::messages::events;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let text = call.text("event");
    let Some(event) = store.event_by_text(&text).await? else {
        return Ok(View::text(events::no_such(&call.shared.clean, &text)));
    };
    let by = call.caller.person.id;
    let because = format!("cancelled by <@{by}>");
    let notice = Some(events::cancelled(&event, by));
    let is_ended = store
        .end_event(event.id, Some(by), &because, notice)
        .await?;
    Ok(View::text(if is_ended {
        format!(
            "event `{}` is cancelled and its lock lifted; the channel is told, and what runs already goes on",
            event.id.short()
        )
    } else {
        events::no_such(&call.shared.clean, &text)
    }))
}
