//! `/pangeo schedule list`: what runs by itself.

use super::Call;
use crate::chat::messages::schedules::{self, Line};
use crate::chat::view::View;
use crate::domain::approval::Verdict;
use crate::domain::schedule::Schedule;

/// How many are shown.
const SHOWN: usize = 20;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let name = call.options.text("name");
    let all = store.schedules(name.as_deref()).await?;
    let mut lines = Vec::new();
    for schedule in all.into_iter().take(SHOWN) {
        let grants = store.grants(schedule.plan).await?;
        let mut approved_by: Vec<_> = grants
            .iter()
            .filter(|grant| grant.verdict == Verdict::Approve && grant.user != schedule.made_by)
            .map(|grant| grant.user)
            .collect();
        approved_by.sort();
        approved_by.dedup();
        lines.push(Line {
            last: last(&call, &schedule).await?,
            approved_by,
            schedule,
        });
    }
    Ok(schedules::list(&call.shared.clean, &lines))
}

/// How the last run went.
async fn last(call: &Call<'_>, schedule: &Schedule) -> anyhow::Result<Option<String>> {
    let parts = &call.shared.parts;
    let (Some(at), Some(result)) = (schedule.last_at, &schedule.last_result) else {
        return Ok(None);
    };
    let at = format!("<t:{}:f>", at.timestamp());
    let plan = schedule.last_plan.filter(|_plan| result == "started");
    let Some(plan) = plan else {
        return Ok(Some(format!("{at}: {result}")));
    };
    let operation = parts.store.operation_of_plan(plan).await?;
    let state = operation.map_or("waits for approval", |operation| operation.state.as_str());
    let message = parts.store.message(&format!("plan/{plan}")).await?;
    let place = message.and_then(|message| Some((message.channel?, message.message?)));
    let link = place.map_or_else(String::new, |(channel, message)| {
        format!(", [its plan]({})", parts.settings.link_to(channel, message))
    });
    Ok(Some(format!("{at}: {state}{link}")))
}
