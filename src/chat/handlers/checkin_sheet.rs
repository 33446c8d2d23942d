//! `/pangeo checkin sheet`: what to fill in to register the client of a hub.

use anyhow::Context as _;

use super::Call;
use crate::chat::messages::lists;
use crate::chat::view::View;

pub(crate) fn run(call: &Call<'_>) -> anyhow::Result<View> {
    let host = call
        .options
        .host_name("host")
        .context("read the option `host`")?;
    let instance = call.checkin_instance()?;
    let report = call.shared.parts.looks.checkin_sheet(host, instance);
    Ok(lists::report(&call.shared.clean, &report))
}
