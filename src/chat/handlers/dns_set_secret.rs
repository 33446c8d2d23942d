//! `/pangeo dns set-secret`: keeps the update secret of a host name, sealed.

use anyhow::Context as _;

use super::Call;
use crate::chat::forms::Values;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::store::vault::DNS_SECRET;

pub(crate) async fn submit(call: Call<'_>, values: Values) -> anyhow::Result<View> {
    let host = call
        .options
        .host_name("host")
        .context("read the option `host`")?;
    let secret = values.get("secret").context("the form has no `secret`")?;
    call.keep_secret(host, DNS_SECRET, secret).await?;
    let text = answers::secret_kept(&call.shared.clean, "update secret", host.as_str());
    Ok(View::text(format!(
        "{text}\nhint: a deploy uses it; `/pangeo dns check` shows where the name points"
    )))
}
