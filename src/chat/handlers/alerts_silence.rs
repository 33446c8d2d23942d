//! `/pangeo alerts silence`: no alerts of a cluster for a time.

use anyhow::Context as _;

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::domain::alert::{AlertKind, Silence};
use crate::domain::ids::SilenceId;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let clean = &call.shared.clean;
    let name = call.text("name");
    let Some(cluster) = store.cluster_by_name(&name).await? else {
        return Ok(View::text(answers::no_such_cluster(clean, &name)));
    };
    let now = store.clock().now();
    let ends_at = call.options.time("end").context("read the option `end`")?;
    if ends_at <= now {
        return Ok(View::text(format!(
            "the silence would have ended <t:{}:R> already\nhint: give an `end` in the future",
            ends_at.timestamp()
        )));
    }
    let kind = call.options.text("kind");
    let silence = Silence {
        id: SilenceId::new(),
        kind: kind.as_deref().and_then(AlertKind::from_word),
        reason: call.text("reason"),
        ends_at,
        set_by: call.caller.person.id,
    };
    store.silence(cluster.id, &silence).await?;
    let what = silence.kind.map_or_else(
        || "alerts".to_owned(),
        |kind| format!("`{}` alerts", kind.as_str()),
    );
    Ok(View::text(format!(
        "no {what} of `{name}` are posted until <t:{}:f>\nhint: `/pangeo alerts list name:{name}` still shows them; a firing one is posted when the silence ends",
        ends_at.timestamp()
    )))
}
