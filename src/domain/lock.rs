//! Locks: a time in which nobody changes a cluster, such as a course.

use chrono::{DateTime, Utc};

use crate::domain::ids::{ClusterId, DiscordUserId, LockId};

/// A lock on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its id.
    pub id: LockId,
    /// The cluster.
    pub cluster: ClusterId,
    /// Why, in words for the channel.
    pub reason: String,
    /// From when.
    pub starts_at: DateTime<Utc>,
    /// Until when.
    pub ends_at: DateTime<Utc>,
    /// Who set it.
    pub set_by: DiscordUserId,
    /// Whether no new alerts are told while it holds.
    pub quiet: bool,
}

impl Lock {
    /// Whether it holds at a time.
    pub fn holds_at(&self, now: DateTime<Utc>) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    /// Until when, by whom and why, for Discord.
    pub fn in_words(&self, now: DateTime<Utc>) -> String {
        let from = if self.holds_at(now) {
            String::new()
        } else {
            format!("from <t:{}:f> ", self.starts_at.timestamp())
        };
        format!(
            "locked {from}until <t:{}:f> by <@{}>: {}{}",
            self.ends_at.timestamp(),
            self.set_by,
            self.reason,
            if self.quiet { " (no new alerts)" } else { "" }
        )
    }

    /// Why a change of the cluster of this name must wait, and what to do.
    pub fn refusal(&self, name: &str) -> String {
        format!(
            "`{name}` is locked until {} UTC by <@{}>: {}; token renewals still go through, `/pangeo unlock name:{name}` lifts it",
            self.ends_at.format("%Y-%m-%d %H:%M"),
            self.set_by,
            self.reason
        )
    }
}
