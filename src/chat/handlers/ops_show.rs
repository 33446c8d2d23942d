//! `/pangeo ops show`: one operation with its steps.

use super::Call;
use crate::chat::messages::{answers, lists, progress};
use crate::chat::view::View;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let parts = &call.shared.parts;
    let wanted = call.text("operation");
    let Some(operation) = parts.store.operation_by_text(wanted.trim()).await? else {
        return Ok(View::text(answers::NO_SUCH_OPERATION));
    };
    let steps = parts.store.steps(operation.id).await?;
    let before = parts.store.operation_before(&operation).await?;
    let now = parts.store.clock().now();
    let link = parts.links.page(operation.id, now);
    let shown = progress::Shown {
        operation: &operation,
        before: before.as_ref(),
        steps: &steps,
        last_line: None,
        link: link.as_str(),
        now,
    };
    Ok(lists::operation(&call.shared.clean, &shown))
}
