//! `/pangeo dns check`: how a host name is.

use anyhow::Context as _;

use super::Call;
use crate::chat::messages::lists;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let host = call
        .options
        .host_name("host")
        .context("read the option `host`")?;
    let report = call.shared.parts.looks.dns_check(host).await?;
    Ok(lists::report(&call.shared.clean, &report))
}
