//! `/pangeo ops list`: operations, newest first.

use super::Call;
use crate::chat::messages::lists;
use crate::chat::view::View;

/// How many are read; those of the asked state are shown.
const READ: i64 = 200;
/// How many are shown.
const SHOWN: usize = 25;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let name = call.options.text("name");
    let state = call.text("state");
    let store = &call.shared.parts.store;
    let mut operations = store.recent_operations(name.as_deref(), READ).await?;
    operations.retain(|operation| match state.as_str() {
        "all" => true,
        "ended" => operation.state.is_final(),
        _open => !operation.state.is_final(),
    });
    operations.truncate(SHOWN);
    Ok(lists::operations(&call.shared.clean, &operations))
}
