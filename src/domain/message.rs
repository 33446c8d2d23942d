//! Messages that people see, as rows of the outbox: what to tell, not how it looks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{
    AlertId, DiscordChannelId, DiscordMessageId, DiscordUserId, LogViewId, OperationId, PlanId,
};

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Into a channel.
    Channel(DiscordChannelId),
    /// Into the thread that hangs at the message with this key; the thread is made if needed.
    ThreadOf(String),
    /// Below the message with this key, as a reply to it.
    ReplyTo(String),
    /// Privately to a person.
    Direct(DiscordUserId),
}

/// What a message is about; its text is made by `chat` from the store when it is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// A plan with its approvals.
    Plan(PlanId),
    /// The progress of an operation, edited while it runs.
    Progress(OperationId),
    /// The end of an operation, with URLs and the log as a file.
    Summary(OperationId),
    /// A log that is followed, in the channel.
    LogView(LogViewId),
    /// The last lines of a log that is followed, in its thread.
    LogLines(LogViewId),
    /// An alert, edited while it lasts.
    Alert(AlertId),
    /// The end of an alert.
    AlertEnd(AlertId),
    /// The alerts that came at once after this one.
    AlertGroup(AlertId),
    /// A text made when it was written.
    Notice(Notice),
}

/// A text with an urgency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What happened, short, present tense.
    pub title: String,
    /// More, and what to do next.
    pub text: String,
    /// Whom to ping; nobody if empty.
    pub mention_users: Vec<DiscordUserId>,
    /// Roles to ping, by the bot's words for them.
    pub mention_roles: Vec<crate::domain::person::Role>,
    /// A forced plan that a second person must confirm having reviewed.
    pub review_of: Option<PlanId>,
    /// Commands that help, as buttons; those that the bot does not have are left out.
    #[serde(default)]
    pub remedies: Vec<Prepared>,
}

/// A command with options, ready to be run by who presses its button and may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The command, such as `token renew`.
    pub command: String,
    /// Its options, by name, as they would be typed.
    pub options: Vec<(String, String)>,
}

impl Prepared {
    /// A command about a cluster.
    pub fn about(command: &str, cluster: &str) -> Self {
        Self {
            command: command.to_owned(),
            options: vec![("name".to_owned(), cluster.to_owned())],
        }
    }
}

/// A message of the outbox as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxMessage {
    /// Its key, unique.
    pub key: String,
    /// What it is about.
    pub kind: MessageKind,
    /// Where it goes.
    pub place: Place,
    /// The version that should be seen.
    pub version: i32,
    /// The version that Discord has; 0 before the first post.
    pub posted_version: i32,
    /// The Discord channel or thread it was posted in.
    pub channel: Option<DiscordChannelId>,
    /// The Discord message, once known.
    pub message: Option<DiscordMessageId>,
    /// When the first post was tried; if it is set and `message` is not, the post may have
    /// happened without its answer: look it up before posting again.
    pub first_attempt_at: Option<DateTime<Utc>>,
    /// How many times posting or editing failed in a row.
    pub attempts: i32,
}
