//! `/pangeo token watch`: how long before its end the alert of a front end's access token comes.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::domain::token::TokenWatch;
use crate::store::audit::AuditEntry;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let name = call.text("name");
    let Some(cluster) = store.cluster_by_name(&name).await? else {
        return Ok(View::text(answers::no_such_cluster(
            &call.shared.clean,
            &name,
        )));
    };
    let key = TokenWatch::key(cluster.id);
    let by = call.caller.person.id;
    let off = call.text("off") == "true";
    let minutes = call.options.integer("minutes").unwrap_or_default();
    if off {
        store.forget_fact(&key).await?;
    } else {
        let watch = TokenWatch {
            minutes,
            set_by: by,
        };
        store
            .set_fact(&key, &serde_json::to_string(&watch)?)
            .await?;
    }
    let details = serde_json::json!({"off": off, "minutes": minutes});
    let entry = AuditEntry::by(by, "token.watch", name.clone(), details);
    store.audit(entry).await?;
    Ok(View::text(answers::token_watched(
        &call.shared.clean,
        &name,
        (!off).then_some(minutes),
        call.shared.parts.settings.token_told,
    )))
}
