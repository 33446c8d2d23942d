//! `/pangeo alerts ack`: a person sees to an alert; its button too.

use super::Call;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let text = call.text("alert");
    let Some(alert) = store.alert_by_text(&text).await? else {
        return Ok(View::text(format!(
            "no open alert has the id {}\nhint: `/pangeo alerts list` shows those that are not over",
            call.shared.clean.code(&text)
        )));
    };
    let by = call.caller.person.id;
    let is_first = store.acknowledge_alert(alert.id, by).await?;
    Ok(View::text(if is_first {
        format!(
            "you see to alert `{}`; nobody else is called for it, and its message says so",
            alert.id.short()
        )
    } else {
        match store
            .alert(alert.id)
            .await?
            .and_then(|alert| alert.acknowledged)
        {
            Some((who, at)) => format!("<@{who}> sees to it since <t:{}:t>", at.timestamp()),
            None => "it does not fire, so nobody needs to see to it".to_owned(),
        }
    }))
}
