//! Logs that are followed for some minutes, in a thread and on a page.

use chrono::{DateTime, TimeDelta, Utc};

use super::ids::{DiscordUserId, LogViewId};

/// For how long a log is followed.
pub const FOLLOWED: TimeDelta = TimeDelta::minutes(10);

/// A log that is followed for some minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogView {
    /// Its id.
    pub id: LogViewId,
    /// The name of the cluster.
    pub cluster: String,
    /// The word of its [`LogSource`](super::logs::LogSource).
    pub source: String,
    /// The pod, for [`LogSource::Pod`](super::logs::LogSource::Pod).
    pub pod: Option<String>,
    /// The pattern of its lines.
    pub grep: Option<String>,
    /// Who asked for it.
    pub asked_by: DiscordUserId,
    /// Whether it waits until somebody opens its page; it has no messages then.
    pub waits: bool,
    /// When it ends.
    pub follow_until: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it ended, if not by its time.
    pub problem: Option<String>,
}

/// A line of a followed log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogViewLine {
    /// Its number; later lines have higher ones, with gaps.
    pub line: i64,
    /// The text, without secrets.
    pub text: String,
}
