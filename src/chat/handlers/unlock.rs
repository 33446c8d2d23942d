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
    let notice = Notice {
        title: format!("{name} may be changed again"),
        text: format!("<@{by}> lifted every lock on `{name}`"),
        mention_users: Vec::new(),
        mention_roles: Vec::new(),
        review_of: None,
        remedies: Vec::new(),
    };
    let lifted = store
        .unlock(&cluster, by, notice, call.caller.channel)
        .await?;
    Ok(View::text(answers::unlocked(clean, &name, lifted)))
}
