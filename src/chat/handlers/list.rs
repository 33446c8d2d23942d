//! `/pangeo list`: every cluster.

use super::Call;
use crate::chat::messages::lists;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let report = call.shared.parts.looks.list().await?;
    Ok(lists::report(&call.shared.clean, &report))
}
