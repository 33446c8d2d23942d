//! `/pangeo owners show`: which accounts may act on an infrastructure in IM.

use super::Call;
use crate::chat::messages::{answers, lists};
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let (name, clean) = (call.text("name"), &call.shared.clean);
    Ok(match call.shared.parts.looks.owners(&name).await? {
        Some(report) => lists::report(clean, &report),
        None => View::text(answers::no_such_cluster(clean, &name)),
    })
}
