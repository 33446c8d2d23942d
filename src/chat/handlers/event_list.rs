//! `/pangeo event list`: courses that run and those to come.

use super::Call;
use crate::chat::messages::events;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let name = call.options.text("name");
    let all = store.events(name.as_deref()).await?;
    let now = store.clock().now();
    Ok(events::list(&call.shared.clean, &all, now))
}
