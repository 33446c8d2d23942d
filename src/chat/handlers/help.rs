//! `/pangeo help`: what the bot can do.

use super::Call;
use crate::chat::messages::lists;
use crate::chat::view::View;

pub(crate) fn run(call: &Call<'_>) -> anyhow::Result<View> {
    let catalogue = &call.shared.parts.catalogue;
    let Some(name) = call.options.text("command") else {
        return Ok(lists::help(catalogue, &call.caller.person));
    };
    let name = name.trim().trim_start_matches('/');
    let name = name.strip_prefix("pangeo ").unwrap_or(name);
    Ok(match catalogue.get(name) {
        Some(command) => lists::help_of(command),
        None => View::text(format!(
            "there is no command {}\nhint: `/pangeo help` lists them",
            call.shared.clean.code(name)
        )),
    })
}
