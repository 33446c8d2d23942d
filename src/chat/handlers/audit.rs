//! `/pangeo audit`: who did what, shown or exported.

use chrono::TimeDelta;

use super::Call;
use crate::chat::messages::audit;
use crate::chat::view::View;
use crate::store::audit::AuditFilter;

/// How many rows an answer shows.
const SHOWN: i64 = 20;

/// How many rows a file takes; Discord takes 10 MiB.
const EXPORTED: i64 = 10_000;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let store = &call.shared.parts.store;
    let export = call.options.text("export");
    let since = call.options.duration("since");
    let since = since.and_then(|since| TimeDelta::from_std(since).ok());
    let filter = AuditFilter {
        cluster: call.options.text("name"),
        actor: call.options.person("person"),
        since: since.map(|since| store.clock().now() - since),
        limit: if export.is_some() { EXPORTED } else { SHOWN },
    };
    let rows = store.audit_newest(&filter).await?;
    match export.as_deref() {
        Some("csv") => audit::csv(&call.shared.clean, &rows),
        Some(_json_lines) => audit::json_lines(&call.shared.clean, &rows),
        None => Ok(audit::newest(&call.shared.clean, &rows)),
    }
}
