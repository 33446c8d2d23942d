//! What a Discord server keeps: accounts, roles, channels, messages.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::Id;

/// Message flag: only one person sees it.
pub(crate) const EPHEMERAL: u64 = 1 << 6;
/// Message flag: a deferred answer ("… is thinking").
pub(crate) const LOADING: u64 = 1 << 7;
/// Message flag: a thread hangs on it.
pub(crate) const HAS_THREAD: u64 = 1 << 5;

/// A direct-message channel.
pub(crate) const DM: u8 = 1;
/// A public thread.
pub(crate) const THREAD: u8 = 11;
/// A private thread.
pub(crate) const PRIVATE_THREAD: u8 = 12;

/// What an account may do; Discord's bits
/// (<https://discord.com/developers/docs/topics/permissions>, 2026-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Put the first reaction of a kind on a message.
    AddReactions,
    /// See the channel at all.
    ViewChannel,
    /// Write in the channel.
    SendMessages,
    /// Delete others' messages and reactions.
    ManageMessages,
    /// Send embeds.
    EmbedLinks,
    /// Send files.
    AttachFiles,
    /// Read what was written before; also needed to react.
    ReadMessageHistory,
    /// Archive, rename and delete others' threads.
    ManageThreads,
    /// Start threads.
    CreatePublicThreads,
    /// Write in threads.
    SendMessagesInThreads,
}

impl Permission {
    /// The bit in Discord's permission numbers.
    pub const fn bit(self) -> u64 {
        match self {
            Self::AddReactions => 1 << 6,
            Self::ViewChannel => 1 << 10,
            Self::SendMessages => 1 << 11,
            Self::ManageMessages => 1 << 13,
            Self::EmbedLinks => 1 << 14,
            Self::AttachFiles => 1 << 15,
            Self::ReadMessageHistory => 1 << 16,
            Self::ManageThreads => 1 << 34,
            Self::CreatePublicThreads => 1 << 35,
            Self::SendMessagesInThreads => 1 << 38,
        }
    }

    /// All of them, and the right to use commands (bit 31).
    pub(crate) const ALL: u64 = Self::AddReactions.bit()
        | Self::ViewChannel.bit()
        | Self::SendMessages.bit()
        | Self::ManageMessages.bit()
        | Self::EmbedLinks.bit()
        | Self::AttachFiles.bit()
        | Self::ReadMessageHistory.bit()
        | Self::ManageThreads.bit()
        | Self::CreatePublicThreads.bit()
        | Self::SendMessagesInThreads.bit()
        | 1 << 31;
}

/// A person or a bot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) id: Id,
    pub(crate) username: String,
    pub(crate) display_name: String,
    pub(crate) bot: bool,
    pub(crate) roles: Vec<Id>,
    pub(crate) color: String,
    pub(crate) dms_closed: bool,
}

/// A role of the guild.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) color: u32,
    pub(crate) position: u16,
}

/// A text channel, a thread or a direct-message channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// Its id; a thread on a message has the message's id.
    pub id: Id,
    /// Discord's type: 0 text, 1 direct messages, 11 public thread, 12 private thread.
    pub kind: u8,
    /// Its name; empty for direct messages.
    pub name: String,
    /// The channel that a thread belongs to.
    pub parent: Option<Id>,
    /// Who started the thread.
    pub owner: Option<Id>,
    /// The topic of a text channel.
    pub topic: Option<String>,
    /// The two people of a direct-message channel.
    pub recipients: Vec<Id>,
    /// Whether the thread is closed; writing opens it again.
    pub archived: bool,
    /// Whether only those who may manage threads can open it again.
    pub locked: bool,
    /// Minutes without a message after which Discord archives the thread.
    pub auto_archive_minutes: u64,
    /// How many messages were written in the thread.
    pub message_count: u64,
    /// The newest message.
    pub last_message: Option<Id>,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// Permission bits that the bot lacks here.
    pub denied: u64,
}

impl Channel {
    /// Whether it is a thread.
    pub fn is_thread(&self) -> bool {
        self.kind == THREAD || self.kind == PRIVATE_THREAD
    }
}

/// A file on a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its id.
    pub id: Id,
    /// The name as cleaned by Discord.
    pub filename: String,
    /// MIME type.
    pub content_type: String,
    /// Size in bytes.
    pub size: u64,
    /// The text for those who can't see it.
    pub description: Option<String>,
}

/// One emoji under a message and who set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji, or `name:id` of a custom one.
    pub emoji: String,
    /// Who reacted, in order.
    pub users: Vec<Id>,
}

/// The interaction that a message answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cause {
    pub(crate) id: Id,
    pub(crate) kind: u8,
    pub(crate) user: Id,
    pub(crate) name: String,
    /// The message whose component was used.
    pub(crate) source: Option<Id>,
    /// The interaction that opened the modal.
    pub(crate) trigger: Option<Box<Self>>,
}

/// A message as it is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: Id,
    /// Where it stands.
    pub channel_id: Id,
    /// Who wrote it.
    pub author: Id,
    /// Discord's type: 0 a message, 18 "started a thread", 19 a reply.
    pub kind: u8,
    /// The text.
    pub content: String,
    /// When it was written.
    pub timestamp: DateTime<Utc>,
    /// When it was last edited.
    pub edited: Option<DateTime<Utc>>,
    /// Embeds as Discord gives them.
    pub embeds: Vec<Value>,
    /// Rows of components as Discord gives them.
    pub components: Vec<Value>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// Reactions in the order of their first.
    pub reactions: Vec<Reaction>,
    /// Discord's flags: 64 ephemeral, 128 loading, 32 has a thread.
    pub flags: u64,
    /// People that were notified.
    pub mentions: Vec<Id>,
    /// Roles that were notified.
    pub mention_roles: Vec<Id>,
    /// Whether everybody was notified.
    pub mention_everyone: bool,
    /// The nonce that it was sent with.
    pub nonce: Option<Value>,
    /// The message it replies to, or the thread that it announces.
    pub reference: Option<Id>,
    /// The only person that sees it, if it is ephemeral.
    pub only_for: Option<Id>,
    pub(crate) cause: Option<Cause>,
}

impl Message {
    /// A message without anything in it.
    pub(crate) fn empty(id: Id, channel_id: Id, author: Id, now: DateTime<Utc>) -> Self {
        Self {
            id,
            channel_id,
            author,
            kind: 0,
            content: String::new(),
            timestamp: now,
            edited: None,
            embeds: Vec::new(),
            components: Vec::new(),
            attachments: Vec::new(),
            reactions: Vec::new(),
            flags: 0,
            mentions: Vec::new(),
            mention_roles: Vec::new(),
            mention_everyone: false,
            nonce: None,
            reference: None,
            only_for: None,
            cause: None,
        }
    }

    /// Whether only one person sees it.
    pub fn is_ephemeral(&self) -> bool {
        self.flags & EPHEMERAL != 0
    }

    /// Whether it is a deferred answer that was not filled in yet.
    pub fn is_loading(&self) -> bool {
        self.flags & LOADING != 0
    }

    /// Everything that a person can read in it: text, embeds, labels and file names, one a line.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        super::transcript::body_lines(self, &mut lines);
        lines.join("\n")
    }

    /// Whether a person can read this in it.
    pub fn says(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// The buttons: label (or emoji), `custom_id` (or URL) and whether they can be pressed.
    pub fn buttons(&self) -> Vec<Button> {
        let mut buttons = Vec::new();
        for component in self.flat_components() {
            if component.get("type").and_then(Value::as_u64) == Some(2) {
                buttons.push(Button::read(component));
            }
        }
        buttons
    }

    /// The components within the rows.
    pub(crate) fn flat_components(&self) -> impl Iterator<Item = &Value> {
        self.components
            .iter()
            .filter_map(|row| row.get("components").and_then(Value::as_array))
            .flatten()
    }

    /// How many set this emoji.
    pub fn reaction_count(&self, emoji: &str) -> usize {
        self.reactions
            .iter()
            .find(|r| r.emoji == emoji)
            .map_or(0, |r| r.users.len())
    }
}

/// A button of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// What stands on it.
    pub label: String,
    /// What the bot gets; the URL of a link button.
    pub custom_id: String,
    /// Whether it is greyed out.
    pub disabled: bool,
    /// Whether it opens a URL instead of telling the bot.
    pub link: bool,
}

impl Button {
    fn read(component: &Value) -> Self {
        let text = |key: &str| component.get(key).and_then(Value::as_str);
        let emoji = component.get("emoji").and_then(|e| e.get("name"));
        let url = text("url");
        let label = text("label").or_else(|| emoji.and_then(Value::as_str));
        Self {
            label: label.unwrap_or_default().to_owned(),
            custom_id: url
                .or_else(|| text("custom_id"))
                .unwrap_or_default()
                .to_owned(),
            disabled: component.get("disabled").and_then(Value::as_bool) == Some(true),
            link: url.is_some(),
        }
    }
}
