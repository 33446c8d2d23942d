//! `/pangeo checkin check`: whether Check-in knows the client of a hub.

use anyhow::Context as _;

use super::Call;
use crate::chat::messages::lists;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let host = call
        .options
        .host_name("host")
        .context("read the option `host`")?;
    let instance = call.checkin_instance()?;
    let report = call
        .shared
        .parts
        .looks
        .checkin_check(host, instance)
        .await?;
    Ok(lists::report(&call.shared.clean, &report))
}
