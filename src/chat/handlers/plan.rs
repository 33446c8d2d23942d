//! Every command whose effect is an operation: makes its plan; the channel decides.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::commands::value::Options;
use crate::plans::Planned;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let planned = make(&call, &call.options).await?;
    Ok(View::text(answers::planned(&call.shared.clean, &planned)))
}

/// Makes the plan.
pub(crate) async fn make(call: &Call<'_>, options: &Options) -> anyhow::Result<Planned> {
    let plans = &call.shared.parts.plans;
    let caller = &call.caller;
    Ok(plans
        .make(call.command, options, &caller.person, caller.channel)
        .await?)
}
