//! Grants: what people said about a plan.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::DiscordUserId;

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// ✅
    Approve,
    /// ❌
    Refuse,
}

impl Verdict {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Approve => "approve",
            Verdict::Refuse => "refuse",
        }
    }
}

/// How a grant was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantSource {
    /// A reaction on the plan's message; gone with the reaction.
    Reaction,
    /// A button; stands until taken back by the same button.
    Button,
    /// Taken over from an identical plan.
    Carried,
    /// Given to the schedule that made the plan.
    Schedule,
}

impl GrantSource {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            GrantSource::Reaction => "reaction",
            GrantSource::Button => "button",
            GrantSource::Carried => "carried",
            GrantSource::Schedule => "schedule",
        }
    }
}

/// One person's word on one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub user: DiscordUserId,
    /// How.
    pub source: GrantSource,
    /// What.
    pub verdict: Verdict,
    /// When the bot learnt of it.
    pub given_at: DateTime<Utc>,
}
