//! `/pangeo logs …` of a cluster: the end of one of its logs.

use anyhow::Context as _;
use chrono::TimeDelta;

use super::Call;
use crate::chat::messages::{answers, logs};
use crate::chat::view::View;
use crate::domain::ids::LogViewId;
use crate::domain::logs::{LogSource, LogView, LogWish};

/// For how long a log is followed.
const FOLLOWED: TimeDelta = TimeDelta::minutes(10);

/// How many lines if the command's file has no default.
const LINES: i64 = 100;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let (name, clean) = (call.text("name"), &call.shared.clean);
    let wish = wish(&call)?;
    if call.options.is_set("follow") {
        return follow(&call, &name, &wish).await;
    }
    let found = call.shared.parts.looks.logs(&name, &wish).await?;
    Ok(match found {
        Some(answer) => logs::answer(clean, &name, &wish, &answer),
        None => View::text(answers::no_such_cluster(clean, &name)),
    })
}

/// Begins to follow the log; the channel gets a message with a thread.
async fn follow(call: &Call<'_>, name: &str, wish: &LogWish) -> anyhow::Result<View> {
    let (parts, clean) = (&call.shared.parts, &call.shared.clean);
    if parts.store.cluster_by_name(name).await?.is_none() {
        return Ok(View::text(answers::no_such_cluster(clean, name)));
    }
    let now = parts.store.clock().now();
    let view = LogView {
        id: LogViewId::new(),
        cluster: name.to_owned(),
        source: wish.source.as_str().to_owned(),
        pod: wish.pod.as_ref().map(ToString::to_string),
        grep: wish.grep.as_ref().map(ToString::to_string),
        asked_by: call.caller.person.id,
        follow_until: now + FOLLOWED,
        ended_at: None,
        problem: None,
    };
    let opened = parts
        .store
        .open_log_view(&view, call.caller.channel)
        .await?;
    Ok(View::text(if opened {
        let link = parts.links.log_page(view.id, now);
        format!("the log is followed for 10 minutes, in a thread below the next message\n{link}")
    } else {
        "too many logs are followed at the moment\nhint: try again in some minutes".to_owned()
    }))
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
