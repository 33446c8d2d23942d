//! `/pangeo logs operation`: the whole log of an operation as a file.

use super::Call;
use crate::chat::messages::answers;
use crate::chat::rows::log_text;
use crate::chat::view::{File, View};

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let parts = &call.shared.parts;
    let wanted = call.text("operation");
    let Some(operation) = parts.store.operation_by_text(wanted.trim()).await? else {
        return Ok(View::text(answers::NO_SUCH_OPERATION));
    };
    let log = log_text(&parts.store, operation.id).await?;
    let link = parts.links.page(operation.id, parts.store.clock().now());
    let short = operation.id.short();
    if log.is_empty() {
        return Ok(View::text(format!(
            "operation `{short}` has written nothing yet\n{link}"
        )));
    }
    Ok(View {
        files: vec![File {
            name: format!("operation-{short}.log"),
            content: call.shared.clean.redact(&log),
        }],
        ..View::text(format!("the log of operation `{short}`\n{link}"))
    })
}
