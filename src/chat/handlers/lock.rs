//! `/pangeo lock`: nobody changes a cluster for a time.

use anyhow::Context as _;

use super::Call;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::domain::ids::LockId;
use crate::domain::lock::Lock;
use crate::domain::message::Notice;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let clean = &call.shared.clean;
    let name = call.text("name");
    let Some(cluster) = store.cluster_by_name(&name).await? else {
        return Ok(View::text(answers::no_such_cluster(clean, &name)));
    };
    let now = store.clock().now();
    let ends_at = call.options.time("end").context("read the option `end`")?;
    let starts_at = call.options.time("start").unwrap_or(now);
    if ends_at <= now || ends_at <= starts_at {
        return Ok(View::text(answers::lock_ends_too_early(
            starts_at, ends_at, now,
        )));
    }
    let lock = Lock {
        id: LockId::new(),
        cluster: cluster.id,
        reason: call.text("reason"),
        starts_at,
        ends_at,
        set_by: call.caller.person.id,
        quiet: call.options.is_set("no-alerts"),
    };
    let notice = Notice {
        title: format!("{name} is to be left alone"),
        text: format!(
            "`{name}` is {}\nNo plan for it starts in this time; what runs already goes on, and so do token renewals\nhint: `/pangeo unlock name:{name}` lifts it",
            lock.in_words(now)
        ),
        mention_users: Vec::new(),
        mention_roles: Vec::new(),
        review_of: None,
        remedies: Vec::new(),
    };
    store.lock(&lock, notice, call.caller.channel).await?;
    Ok(View::text(answers::locked(clean, &name, &lock)))
}
