//! `/pangeo ops retry`: tries the failed step of an operation again.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let control = &call.shared.parts.control;
    let done = control
        .retry(&call.text("operation"), &call.caller.person)
        .await?;
    Ok(View::text(answers::controlled(&call.shared.clean, &done)))
}
