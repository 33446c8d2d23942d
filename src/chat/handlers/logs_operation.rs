//! `/pangeo logs operation`: the end of an operation's log; all of it as a file.

use super::Call;
use super::logs::pick;
use crate::chat::messages::{answers, logs};
use crate::chat::rows::log_text;
use crate::chat::view::{File, View};

/// How many lines are looked at for the excerpt; the file has all.
const LINES: i64 = 5000;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let (parts, clean) = (&call.shared.parts, &call.shared.clean);
    let wanted = call.text("operation");
    let Some(operation) = parts.store.operation_by_text(wanted.trim()).await? else {
        return Ok(View::text(answers::NO_SUCH_OPERATION));
    };
    let link = parts.links.page(operation.id, parts.store.clock().now());
    let pick = pick(&call, LINES)?;
    let answer = parts.looks.operation_log(operation.id, &pick).await?;
    let file = format!("operation-{}.log", operation.id.short());
    let shown = logs::Shown {
        title: format!("Log of operation {}", operation.id.short()),
        file: file.clone(),
        pick: &pick,
        answer: &answer,
        link: Some(link.to_string()),
    };
    let mut view = logs::view(clean, shown);
    let is_whole = ["lines", "since", "grep"]
        .into_iter()
        .all(|option| call.options.text(option).is_none());
    if is_whole {
        let content = clean.redact(&log_text(&parts.store, operation.id).await?);
        let whole = File {
            name: file,
            content,
        };
        view.files = Vec::from_iter(Some(whole).filter(|file| !file.content.is_empty()));
    }
    Ok(view)
}
