//! The chat as text, for snapshots.
//!
//! ```text
//! #pangeo ana: /pangeo deploy name:geo
//! #pangeo pangeo-bot: **Plan** …
//!   | title
//!   | description
//!   [Approve] [Reject]
//!   file values.diff
//!   ✅ 2
//!   thread "geo"
//!     pangeo-bot: …
//! #pangeo pangeo-bot → ana: only ana sees this
//! ```
//! Edits show only their last state. Snowflakes become `<id1>`, `<id2>` in order of appearance,
//! times `<t:…>`; mentions become names; the own URL becomes `http://discord`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

use super::Discord;
use super::ids::Id;
use super::model::{Channel, DM, Message};
use super::state::State;

static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"<t:-?\d+(:\w)?>").ok());
static MENTION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"<(@[!&]?|#)(\d+)>").ok());
static SNOWFLAKE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b\d{17,20}\b").ok());

/// What can be read in a message, line by line.
pub(crate) fn body_lines(message: &Message, lines: &mut Vec<String>) {
    if message.is_loading() {
        lines.push("… is thinking".to_owned());
    }
    if message.kind == 18 {
        lines.push(format!("started a thread: {}", message.content));
    } else {
        lines.extend(message.content.lines().map(str::to_owned));
    }
    for embed in &message.embeds {
        embed_lines(embed, lines);
    }
    for row in &message.components {
        let inner = row.get("components").and_then(Value::as_array);
        let labels: Vec<_> = inner.into_iter().flatten().map(component_label).collect();
        lines.push(labels.join(" "));
    }
    for file in &message.attachments {
        lines.push(format!("file {}", file.filename));
    }
}

fn embed_lines(embed: &Value, lines: &mut Vec<String>) {
    let text = |pointer: &str| embed.pointer(pointer).and_then(Value::as_str);
    let mut add = |text: &str| lines.extend(text.lines().map(|l| format!("| {l}")));
    for pointer in ["/author/name", "/title", "/description"] {
        if let Some(text) = text(pointer) {
            add(text);
        }
    }
    let fields = embed.get("fields").and_then(Value::as_array);
    for field in fields.into_iter().flatten() {
        let part = |key: &str| field.get(key).and_then(Value::as_str).unwrap_or_default();
        add(&format!("{}: {}", part("name"), part("value")));
    }
    if let Some(text) = text("/footer/text") {
        add(text);
    }
}

fn component_label(component: &Value) -> String {
    let text = |key: &str| component.get(key).and_then(Value::as_str);
    let emoji = component.pointer("/emoji/name").and_then(Value::as_str);
    let label = text("label")
        .or(text("placeholder"))
        .or(emoji)
        .unwrap_or("select");
    if component.get("disabled") == Some(&Value::Bool(true)) {
        return format!("[{label} (disabled)]");
    }
    format!("[{label}]")
}

impl Discord {
    /// The whole chat as text.
    pub fn transcript(&self) -> String {
        let state = self.state.read();
        let mut lines = Vec::new();
        for channel in state.channels.values().filter(|c| !c.is_thread()) {
            channel_lines(&state, channel, &mut lines);
        }
        let text = lines.join("\n");
        masked(&state, &text)
    }
}

fn channel_name(state: &State, channel: &Channel) -> String {
    if channel.kind == DM {
        let names: Vec<_> = channel
            .recipients
            .iter()
            .map(|id| state.name_of(*id))
            .collect();
        return format!("@{}", names.join("+"));
    }
    format!("#{}", channel.name)
}

/// Messages and deeds of a channel in order, each thread under what started it.
fn channel_lines(state: &State, channel: &Channel, lines: &mut Vec<String>) {
    let name = channel_name(state, channel);
    let mut all: BTreeMap<Id, Vec<String>> = BTreeMap::new();
    for (id, deed) in state.deeds.get(&channel.id).into_iter().flatten() {
        all.entry(*id).or_default().push(format!("{name} {deed}"));
    }
    for (id, message) in state.messages.get(&channel.id).into_iter().flatten() {
        all.entry(*id)
            .or_default()
            .extend(message_lines(state, &name, message));
    }
    for thread in state
        .channels
        .values()
        .filter(|c| c.parent == Some(channel.id))
    {
        let mut inner = Vec::new();
        channel_lines(state, thread, &mut inner);
        let prefix = format!("#{} ", thread.name);
        let shown = all.entry(thread.id).or_default();
        let state = if thread.archived { " (archived)" } else { "" };
        shown.push(format!("  thread \"{}\"{state}", thread.name));
        for line in inner {
            shown.push(format!(
                "    {}",
                line.strip_prefix(&prefix).unwrap_or(&line)
            ));
        }
    }
    lines.extend(all.into_values().flatten());
}

fn message_lines(state: &State, channel: &str, message: &Message) -> Vec<String> {
    let mut body = Vec::new();
    body_lines(message, &mut body);
    if !message.reactions.is_empty() {
        let all = message.reactions.iter();
        let counts: Vec<_> = all
            .map(|r| format!("{} {}", r.emoji, r.users.len()))
            .collect();
        body.push(counts.join(" "));
    }
    let only = message
        .only_for
        .map(|id| format!(" → {}", state.name_of(id)));
    let head = format!(
        "{channel} {}{}:",
        state.name_of(message.author),
        only.unwrap_or_default()
    );
    let mut lines = Vec::new();
    let mut rest = body.into_iter();
    let plain = !message.content.is_empty() || message.is_loading();
    match rest.next().filter(|_| plain) {
        Some(first) => lines.push(format!("{head} {first}")),
        None => {
            lines.push(head);
            let mut again = Vec::new();
            body_lines(message, &mut again);
            lines.extend(again.into_iter().take(1).map(|l| format!("  {l}")));
        }
    }
    lines.extend(rest.map(|line| format!("  {line}")));
    lines
}

/// Replaces what differs from run to run.
fn masked(state: &State, text: &str) -> String {
    let text = text.replace(&state.base, "http://discord");
    let (Some(time), Some(mention), Some(snowflake)) = (&*TIME, &*MENTION, &*SNOWFLAKE) else {
        return text;
    };
    let text = time.replace_all(&text, "<t:…>");
    let text = mention.replace_all(&text, |found: &Captures<'_>| {
        let id = found.get(2).and_then(|m| m.as_str().parse().ok());
        mention_name(state, id).unwrap_or_else(|| found[0].to_owned())
    });
    let mut seen: Vec<String> = Vec::new();
    let text = snowflake.replace_all(&text, |found: &Captures<'_>| {
        let id = found[0].to_owned();
        let place = seen.iter().position(|s| *s == id).unwrap_or_else(|| {
            seen.push(id);
            seen.len() - 1
        });
        format!("<id{}>", place + 1)
    });
    text.into_owned()
}

fn mention_name(state: &State, id: Option<Id>) -> Option<String> {
    let id = id?;
    let account = state.account(id).map(|a| format!("@{}", a.username));
    let role = state
        .roles
        .iter()
        .find(|r| r.id == id)
        .map(|r| format!("@{}", r.name));
    let channel = state.channels.get(&id).map(|c| format!("#{}", c.name));
    account.or(role).or(channel)
}
