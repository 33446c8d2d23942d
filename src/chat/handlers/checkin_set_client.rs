//! `/pangeo checkin set-client`: keeps the Check-in client of a hub, its secret sealed.

use anyhow::Context as _;

use super::Call;
use crate::chat::forms::Values;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::store::vault::{CLIENT_ID, CLIENT_SECRET};

pub(crate) async fn submit(call: Call<'_>, values: Values) -> anyhow::Result<View> {
    let host = call
        .options
        .host_name("host")
        .context("read the option `host`")?;
    let id = values
        .get("client-id")
        .context("the form has no `client-id`")?;
    let secret = values
        .get("client-secret")
        .context("the form has no `client-secret`")?;
    call.keep_secret(host, CLIENT_ID, id).await?;
    call.keep_secret(host, CLIENT_SECRET, secret).await?;
    let text = answers::secret_kept(&call.shared.clean, "Check-in client", host.as_str());
    Ok(View::text(format!(
        "{text}\nhint: `/pangeo checkin check` asks Check-in about it"
    )))
}
