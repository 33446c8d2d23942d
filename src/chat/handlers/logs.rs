//! `/pangeo logs …` of a cluster: the end of one of its logs.

use anyhow::Context as _;

use super::Call;
use crate::chat::messages::{answers, logs};
use crate::chat::view::View;
use crate::domain::ids::LogViewId;
use crate::domain::log_view::{FOLLOWED, LogView};
use crate::domain::logs::{LogSource, LogWish, Pick};

/// How many lines if the command's file has no default.
const LINES: i64 = 100;

pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let (name, clean) = (call.text("name"), &call.shared.clean);
    let wish = wish(&call)?;
    if call.options.is_set("follow") {
        return follow(&call, &name, &wish).await;
    }
    let found = call.shared.parts.looks.logs(&name, &wish).await?;
    let Some(answer) = found else {
        return Ok(View::text(answers::no_such_cluster(clean, &name)));
    };
    let source = wish.source.as_str();
    let title = match &wish.pod {
        Some(pod) => format!("{name}: log of pod {pod}"),
        None => format!("{name}: log of {source}"),
    };
    let shown = logs::Shown {
        title,
        file: format!("{name}-{source}.log"),
        pick: &wish.pick,
        answer: &answer,
        link: page(&call, &name, &wish).await?,
    };
    Ok(logs::view(clean, shown))
}

/// The link to a page that follows the log once somebody opens it; `None` if too many wait.
async fn page(call: &Call<'_>, name: &str, wish: &LogWish) -> anyhow::Result<Option<String>> {
    let parts = &call.shared.parts;
    let view = view(call, name, wish, true);
    let kept = parts.store.keep_log_view(&view).await?;
    let link = parts.links.log_page(view.id, parts.store.clock().now());
    Ok(kept.then(|| link.to_string()))
}

fn view(call: &Call<'_>, name: &str, wish: &LogWish, waits: bool) -> LogView {
    LogView {
        id: LogViewId::new(),
        cluster: name.to_owned(),
        source: wish.source.as_str().to_owned(),
        pod: wish.pod.as_ref().map(ToString::to_string),
        grep: wish.pick.grep.as_ref().map(ToString::to_string),
        asked_by: call.caller.person.id,
        waits,
        follow_until: call.shared.parts.store.clock().now() + FOLLOWED,
        ended_at: None,
        problem: None,
    }
}

/// Begins to follow the log; the channel gets a message with a thread.
async fn follow(call: &Call<'_>, name: &str, wish: &LogWish) -> anyhow::Result<View> {
    let (parts, clean) = (&call.shared.parts, &call.shared.clean);
    if parts.store.cluster_by_name(name).await?.is_none() {
        return Ok(View::text(answers::no_such_cluster(clean, name)));
    }
    let view = view(call, name, wish, false);
    let opened = parts
        .store
        .open_log_view(&view, call.caller.channel)
        .await?;
    Ok(View::text(if opened {
        let link = parts.links.log_page(view.id, parts.store.clock().now());
        format!("the log is followed for 10 minutes, in a thread below the next message\n{link}")
    } else {
        "too many logs are followed at the moment\nhint: try again in some minutes".to_owned()
    }))
}

fn wish(call: &Call<'_>) -> anyhow::Result<LogWish> {
    let word = &call.command.path.name;
    Ok(LogWish {
        source: LogSource::from_word(word).with_context(|| format!("read `{word}` as a log"))?,
        pod: call.options.pod_name("pod").cloned(),
        pick: pick(call, LINES)?,
    })
}

/// Which lines the options ask for.
pub(super) fn pick(call: &Call<'_>, lines: i64) -> anyhow::Result<Pick> {
    let options = &call.options;
    let lines = options.integer("lines").unwrap_or(lines);
    Ok(Pick {
        lines: usize::try_from(lines).context("read the number of lines")?,
        since: options.duration("since"),
        grep: options.pattern("grep").cloned(),
    })
}
