//! Every command whose effect is an operation: makes its plan; the channel decides.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::{File, View};
use crate::commands::value::Options;
use crate::plans::Planned;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let planned = make(&call, &call.options).await?;
    Ok(View::text(answers::planned(&call.shared.clean, &planned)))
}

/// The same; if there is no plan, what was typed is given back.
pub(crate) async fn run_or_give_back(call: Call<'_>, back: Vec<File>) -> anyhow::Result<View> {
    let planned = make(&call, &call.options).await?;
    let mut view = View::text(answers::planned(&call.shared.clean, &planned));
    if matches!(planned, Planned::Refused(_)) {
        view.files = back;
    }
    Ok(view)
}

/// Makes the plan.
pub(crate) async fn make(call: &Call<'_>, options: &Options) -> anyhow::Result<Planned> {
    let plans = &call.shared.parts.plans;
    let caller = &call.caller;
    Ok(plans
        .make(call.command, options, &caller.person, caller.channel)
        .await?)
}
