//! All words that people read in Discord, as pure functions.
//!
//! Rows go in, a [`View`](super::view::View) comes out; nothing here asks or waits.
//! Wording: short, present tense, what happened and what to do next; literals in backticks; no
//! full stop after a single sentence; a `hint:` on its own line; times are Discord's own, which
//! each reader sees in their time zone.
//!
//! **Invariant:** text that others wrote goes through [`Clean`](super::text::Clean), which takes
//! secrets, markdown and mentions out of it.

pub(crate) mod alert;
pub(crate) mod answers;
pub(crate) mod audit;
pub(crate) mod diagnosis;
pub(crate) mod events;
pub(crate) mod follow;
pub(crate) mod lists;
pub(crate) mod logs;
pub(crate) mod notice;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod schedules;
pub(crate) mod summary;

use std::fmt::Write as _;

use chrono::{DateTime, Duration, Utc};
use sha2::{Digest, Sha256};

use crate::domain::person::Role;

/// ✅ as Discord names it.
pub(crate) const YES: &str = "✅";
/// ❌ as Discord names it.
pub(crate) const NO: &str = "❌";

/// A moment that Discord shows relative to now, e.g. `in 2 hours`.
pub(crate) fn when(time: DateTime<Utc>) -> String {
    format!("<t:{}:R>", time.timestamp())
}

/// A duration in its two greatest units, e.g. `3 min 12 s`.
pub(crate) fn how_long(duration: Duration) -> String {
    let seconds = duration.num_seconds().max(0);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, minutes) => format!("{minutes} min {rest} s"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Roles in words, e.g. `approver or operator`.
pub(crate) fn roles(roles: &[Role]) -> String {
    let words: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
    if words.is_empty() {
        return "nobody".to_owned();
    }
    words.join(" or ")
}

/// Lines as a list.
pub(crate) fn bullets(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        let _written = writeln!(text, "• {line}");
    }
    text.trim_end().to_owned()
}

/// What a message's footer begins with, so that the message is found again after a crash.
///
/// `plan/<id>` becomes `plan 1a2b3c4d`, `progress/<id>` becomes `operation 1a2b3c4d`,
/// `summary/<id>/3` becomes `operation 1a2b3c4d-3`, `hint/<id>/<person>/own-request`, which is
/// private to the person, becomes `about plan 1a2b3c4d, own request`; other keys become their first word with a hash
/// of the whole.
pub(crate) fn reference(key: &str) -> String {
    let mut parts = key.split('/');
    let word = parts.next().unwrap_or_default();
    let id = parts.next().and_then(|id| id.parse::<uuid::Uuid>().ok());
    let short = id.and_then(|id| id.simple().to_string().get(24..).map(str::to_owned));
    match (word, short, parts.next()) {
        ("plan", Some(short), None) => format!("plan {short}"),
        ("progress", Some(short), None) => format!("operation {short}"),
        ("summary", Some(short), Some(attempt)) => format!("operation {short}-{attempt}"),
        ("alert", Some(short), None) => format!("alert {short}"),
        ("alert-group", Some(short), None) => format!("group of alert {short}"),
        ("alert-end", Some(short), None) => format!("end of alert {short}"),
        ("hint", Some(short), Some(_person)) => {
            let why = parts.next().unwrap_or_default().replace('-', " ");
            format!("about plan {short}, {why}")
        }
        _other => {
            let hash = hex::encode(Sha256::digest(key.as_bytes()));
            format!("{word} {}", hash.get(..8).unwrap_or_default())
        }
    }
}

/// Whether a footer is that of the message with this reference.
pub(crate) fn has_reference(footer: &str, reference: &str) -> bool {
    footer == reference
        || footer
            .strip_prefix(reference)
            .is_some_and(|rest| rest.starts_with(" · "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_two_units() {
        assert_eq!(how_long(Duration::seconds(-3)), "0 s");
        assert_eq!(how_long(Duration::seconds(59)), "59 s");
        assert_eq!(how_long(Duration::seconds(192)), "3 min 12 s");
        assert_eq!(how_long(Duration::seconds(7380)), "2 h 3 min");
    }

    #[test]
    fn a_reference_tells_messages_apart() {
        let id = "0192f0c1-0000-7000-8000-0000deadbeef";
        assert_eq!(reference(&format!("plan/{id}")), "plan deadbeef");
        assert_eq!(reference(&format!("progress/{id}")), "operation deadbeef");
        assert_eq!(
            reference(&format!("summary/{id}/12")),
            "operation deadbeef-12"
        );
        let hint = reference(&format!("hint/{id}/7/own-request"));
        assert_eq!(hint, "about plan deadbeef, own request");
        let other = reference("hub/0192f0c1-0000-7000-8000-0000deadbee0");
        assert!(other.starts_with("hub ") && other.len() == 12, "{other}");

        assert!(has_reference("plan deadbeef", "plan deadbeef"));
        assert!(has_reference(
            "operation deadbeef-1 · deploy",
            "operation deadbeef-1"
        ));
        assert!(!has_reference(
            "operation deadbeef-12",
            "operation deadbeef-1"
        ));
    }

    #[test]
    fn roles_are_listed_in_words() {
        assert_eq!(
            roles(&[Role::Approver, Role::Operator]),
            "`approver` or `operator`"
        );
        assert_eq!(roles(&[]), "nobody");
    }
}
