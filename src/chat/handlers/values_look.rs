//! `/pangeo values show`, `history`, `diff` and `drift`: what a hub is given, and was.

use super::Call;
use crate::chat::messages::{answers, lists};
use crate::chat::view::View;
use crate::looks::values::ValuesLook;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let (name, clean) = (call.text("name"), &call.shared.clean);
    let number = |option: &str| {
        let number = call.options.integer(option);
        number.and_then(|number| i32::try_from(number).ok())
    };
    let look = match call.command.path.name.as_str() {
        "diff" => ValuesLook::Diff {
            from: number("from"),
            to: number("to"),
            other: call.options.text("other"),
        },
        "drift" => ValuesLook::Drift,
        "history" => ValuesLook::History,
        _show => ValuesLook::Show {
            revision: number("revision"),
        },
    };
    Ok(match call.shared.parts.looks.values(&name, &look).await? {
        Some(report) => lists::report(clean, &report),
        None => View::text(answers::no_such_cluster(clean, &name)),
    })
}
