//! Events: the list, and one that is cancelled.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::chat::text::{Clean, cut};
use crate::chat::view::{Card, TEXT, View};
use crate::domain::event::Event;
use crate::domain::ids::DiscordUserId;
use crate::domain::message::Notice;

/// The events that run, and those to come.
pub(crate) fn list(clean: &Clean, events: &[Event], now: DateTime<Utc>) -> View {
    if events.is_empty() {
        return View::text("no event runs or is to come\nhint: `/pangeo event plan` plans one");
    }
    let mut text = String::new();
    for event in events {
        let _written = writeln!(
            text,
            "{} {} · by <@{}>",
            clean.code(&event.name),
            clean.ours(&event.in_words(now)),
            event.made_by
        );
    }
    View::card(Card {
        title: "Events".to_owned(),
        text: cut(&text, TEXT),
        ..Card::default()
    })
}

/// Somebody cancels an event.
pub(crate) fn cancelled(event: &Event, by: DiscordUserId) -> Notice {
    let name = &event.name;
    let hint = if event.scaled_up {
        format!(
            "\nhint: the cluster was scaled up for it already; `/pangeo scale name:{name}` makes it smaller"
        )
    } else {
        String::new()
    };
    Notice {
        title: format!("{name}: an event is cancelled"),
        text: format!(
            "<@{by}> cancelled event `{}` of <t:{}:F>: its lock is lifted, and nothing runs for it any more\n{}{hint}",
            event.id.short(),
            event.starts_at.timestamp(),
            event.reason
        ),
        mention_users: vec![event.made_by],
        ..Notice::default()
    }
}

/// No event of that id.
pub(crate) fn no_such(clean: &Clean, text: &str) -> String {
    format!(
        "there is no event {} that runs or is to come\nhint: `/pangeo event list` shows those that are",
        clean.code(text)
    )
}
