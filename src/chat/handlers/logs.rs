//! `/pangeo logs …` of a cluster: the end of one of its logs.

use anyhow::Context as _;

use super::Call;
use crate::chat::messages::{answers, logs};
use crate::chat::view::View;
use crate::domain::logs::{LogSource, LogWish};

/// How many lines if the command's file has no default.
const LINES: i64 = 100;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let (name, clean) = (call.text("name"), &call.shared.clean);
    let wish = wish(&call)?;
    let found = call.shared.parts.looks.logs(&name, &wish).await?;
    Ok(match found {
        Some(answer) => logs::answer(clean, &name, &wish, &answer),
        None => View::text(answers::no_such_cluster(clean, &name)),
    })
}

fn wish(call: &Call<'_>) -> anyhow::Result<LogWish> {
    let word = &call.command.path.name;
    let options = &call.options;
    let lines = options.integer("lines").unwrap_or(LINES);
    Ok(LogWish {
        source: LogSource::from_word(word).with_context(|| format!("read `{word}` as a log"))?,
        pod: options.pod_name("pod").cloned(),
        lines: usize::try_from(lines).context("read the number of lines")?,
        since: options.duration("since"),
        grep: options.pattern("grep").cloned(),
    })
}
