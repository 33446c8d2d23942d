//! `/pangeo transfer`: what the inventory says about a cluster.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::domain::cluster::{Cluster, InventoryChange};
use crate::domain::message::Notice;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let clean = &call.shared.clean;
    let name = call.text("name");
    let Some(cluster) = store.cluster_by_name(&name).await? else {
        return Ok(View::text(answers::no_such_cluster(clean, &name)));
    };
    let change = InventoryChange {
        owner: call.options.person("owner"),
        purpose: call.options.text("purpose"),
        contact: call.options.text("contact"),
        ends_on: call.options.date("end-date"),
    };
    let differences = change.differences(&cluster);
    if differences.is_empty() {
        return Ok(View::text(answers::NOTHING_TO_TRANSFER));
    }
    let today = store.clock().now().date_naive();
    if let Some(day) = change.ends_on.filter(|day| *day < today) {
        return Ok(View::text(answers::end_date_is_over(day, today)));
    }
    let by = call.caller.person.id;
    let notice = notice(&cluster, &change, &differences, by);
    store
        .change_inventory(&cluster, &change, by, (notice, call.caller.channel))
        .await?;
    Ok(View::text(answers::transferred(clean, &name, &differences)))
}

/// Calls the old and the new owner, if the owner changes.
fn notice(
    cluster: &Cluster,
    change: &InventoryChange,
    differences: &[String],
    by: crate::domain::ids::DiscordUserId,
) -> Notice {
    let new = change.owner.filter(|owner| *owner != cluster.owner);
    let mention_users = new.map_or_else(Vec::new, |new| vec![new, cluster.owner]);
    Notice {
        title: format!("{} in the inventory", cluster.name),
        text: format!("<@{by}> changed\n{}", differences.join("\n")),
        mention_users,
        mention_roles: Vec::new(),
        review_of: None,
        remedies: Vec::new(),
    }
}
