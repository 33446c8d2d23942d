//! `/pangeo status`: how a cluster is, or all of them.

use super::Call;
use crate::chat::messages::{answers, lists};
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let clean = &call.shared.clean;
    let Some(name) = call.options.text("name") else {
        let report = call.shared.parts.looks.overview().await?;
        return Ok(lists::report(clean, &report));
    };
    Ok(match call.shared.parts.looks.status(&name).await? {
        Some(report) => lists::report(clean, &report),
        None => View::text(answers::no_such_cluster(clean, &name)),
    })
}
