//! Every command whose effect is an operation: makes its plan; the channel decides.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let plans = &call.shared.parts.plans;
    let caller = &call.caller;
    let planned = plans
        .make(call.command, &call.options, &caller.person, caller.channel)
        .await?;
    Ok(View::text(answers::planned(&call.shared.clean, &planned)))
}
