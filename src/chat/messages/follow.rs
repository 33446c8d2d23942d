//! A log that is followed: a line in the channel, and its last lines in the thread below.

use super::logs::excerpt;
use super::{reference, when};
use crate::chat::text::{Clean, cut};
use crate::chat::view::{Card, Shade, View};
use crate::domain::log_view::{LogView, LogViewLine};

/// How many lines the message shows at most.
pub(crate) const SHOWN_LINES: i64 = 60;

/// What stands in the channel.
pub(crate) fn head(clean: &Clean, key: &str, view: &LogView, link: &str) -> View {
    View::card(Card {
        title: title(clean, view),
        text: format!("{}\n[all lines]({link})", state(clean, view)),
        shade: shade(view),
        fields: vec![("Asked by".to_owned(), format!("<@{}>", view.asked_by))],
        footer: reference(key),
    })
}

/// What stands in its thread, edited while lines come.
pub(crate) fn lines(
    clean: &Clean,
    key: &str,
    view: &LogView,
    lines: &[LogViewLine],
    link: &str,
) -> View {
    let texts: Vec<String> = lines.iter().map(|line| line.text.clone()).collect();
    let text = if texts.is_empty() {
        "nothing was written yet".to_owned()
    } else {
        excerpt(clean, &texts, "on the page")
    };
    View::card(Card {
        title: title(clean, view),
        text: format!("{}\n{text}\n[all lines]({link})", state(clean, view)),
        shade: shade(view),
        fields: Vec::new(),
        footer: reference(key),
    })
}

fn title(clean: &Clean, view: &LogView) -> String {
    let source = view.pod.as_ref().unwrap_or(&view.source);
    cut(
        &clean.redact(&format!("{}: log of {source}", view.cluster)),
        200,
    )
}

fn state(clean: &Clean, view: &LogView) -> String {
    let grep = view.grep.as_ref().map_or_else(String::new, |grep| {
        format!(" · only lines with {}", clean.code(grep))
    });
    match (view.ended_at, &view.problem) {
        (None, _) => format!("followed until {}{grep}", when(view.follow_until)),
        (Some(at), None) => format!("was followed until {}{grep}", when(at)),
        (Some(at), Some(problem)) => format!(
            "no longer followed since {}: {}{grep}",
            when(at),
            clean.prose(problem)
        ),
    }
}

fn shade(view: &LogView) -> Shade {
    match (view.ended_at, &view.problem) {
        (Some(_), Some(_)) => Shade::Warn,
        (Some(_), None) | (None, _) => Shade::Neutral,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::ids::{DiscordUserId, LogViewId};
    use crate::domain::redact::Redactor;

    #[test]
    fn a_view_says_until_when_it_is_followed_and_why_no_longer() {
        let mut view = LogView {
            id: LogViewId::new(),
            cluster: "geo".to_owned(),
            source: "hub".to_owned(),
            pod: None,
            grep: Some("a`b".to_owned()),
            asked_by: DiscordUserId(9),
            waits: false,
            follow_until: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            ended_at: None,
            problem: None,
        };
        let clean = Clean::new(Redactor::new());
        let line = LogViewLine {
            line: 1,
            text: "[E it broke".to_owned(),
        };
        let shown = lines(&clean, "log-lines/x", &view, &[line], "https://bot/logs/1");
        let text = shown.card.unwrap().text;
        assert!(text.starts_with("followed until <t:1800000000"), "{text}");
        assert!(text.contains("only lines with `aˋb`"), "{text}");
        assert!(text.contains("\u{1b}[31m[E it broke"), "{text}");
        assert!(text.ends_with("(https://bot/logs/1)"), "{text}");
        view.ended_at = Some(view.follow_until);
        view.problem = Some("the front end is *away*".to_owned());
        let text = head(&clean, "log/x", &view, "https://bot")
            .card
            .unwrap()
            .text;
        assert!(text.contains("the front end is \\*away\\*"), "{text}");
    }
}
