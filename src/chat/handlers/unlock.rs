//! `/pangeo unlock`: a cluster may be changed again.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::domain::message::Notice;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let clean = &call.shared.clean;
    let name = call.text("name");
    let Some(cluster) = store.cluster_by_name(&name).await? else {
        return Ok(View::text(answers::no_such_cluster(clean, &name)));
    };
    let by = call.caller.person.id;
    let mut events = store.events(Some(&name)).await?;
    events.retain(|event| event.locked);
    let goes_on = answers::goes_on_unlocked(&events);
    let notice = Notice {
        title: format!("{name} may be changed again"),
        text: format!("<@{by}> lifted every lock on `{name}`{goes_on}"),
        ..Notice::default()
    };
    let lifted = store
        .unlock(&cluster, by, notice, call.caller.channel)
        .await?;
    let text = answers::unlocked(clean, &name, lifted);
    Ok(View::text(format!("{text}{goes_on}")))
}
