//! `/pangeo ops cancel`: stops an operation before its next step.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let control = &call.shared.parts.control;
    let reason = call.options.text("reason");
    let reason = reason.as_deref();
    let done = control
        .cancel(&call.text("operation"), &call.caller.person, reason)
        .await?;
    Ok(View::text(answers::controlled(&call.shared.clean, &done)))
}
