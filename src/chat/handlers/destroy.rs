//! `/pangeo destroy`: the cluster's name is typed once more before anything is planned.

use anyhow::Context as _;
use secrecy::ExposeSecret;

use super::{Call, plan};
use crate::chat::forms::Values;
use crate::chat::view::View;

pub(crate) async fn submit(call: Call<'_>, values: Values) -> anyhow::Result<View> {
    let typed = values.get("name").context("the form has no `name`")?;
    let name = call.text("name");
    if typed.expose_secret() != name {
        return Ok(View::text(format!(
            "that is not the name of the cluster; nothing was planned\nhint: to delete {} type its name exactly",
            call.shared.clean.code(&name)
        )));
    }
    plan::run(call).await
}
