//! `/pangeo diagnose`: why a cluster does not grow.

use super::Call;
use crate::chat::messages::{answers, diagnosis};
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let (name, parts) = (call.text("name"), &call.shared.parts);
    let clean = &call.shared.clean;
    Ok(match parts.looks.diagnose(&name).await? {
        Some(found) => diagnosis::view(clean, &parts.catalogue, &name, &found),
        None => View::text(answers::no_such_cluster(clean, &name)),
    })
}
