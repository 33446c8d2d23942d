//! `/pangeo alerts list`: what is wrong now.

use std::collections::BTreeMap;

use super::Call;
use crate::chat::messages::{alert, answers};
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let cluster = match call.options.text("name") {
        None => None,
        Some(name) => match store.cluster_by_name(&name).await? {
            Some(cluster) => Some(cluster.id),
            None => {
                return Ok(View::text(answers::no_such_cluster(
                    &call.shared.clean,
                    &name,
                )));
            }
        },
    };
    let alerts = store.open_alerts(cluster).await?;
    let clusters = store.clusters().await?;
    let names: BTreeMap<_, _> = clusters
        .iter()
        .map(|cluster| (cluster.id, cluster.name.as_str()))
        .collect();
    let mut silences = Vec::new();
    for one in clusters
        .iter()
        .filter(|one| cluster.is_none_or(|id| one.id == id))
    {
        let of_it = store.silences(one.id).await?;
        silences.extend(
            of_it
                .into_iter()
                .map(|silence| (one.name.as_str(), silence)),
        );
    }
    Ok(alert::list(&call.shared.clean, &alerts, &names, &silences))
}
