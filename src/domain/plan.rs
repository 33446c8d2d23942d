//! A plan: what exactly would change, and the digest that an approval is bound to.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::ids::{DiscordChannelId, DiscordUserId, PlanId};
use crate::domain::person::Role;

/// The SHA-256 of what a plan would do, as 64 hexadecimal digits.
///
/// It covers command, target, options, the target's revision and the steps, and nothing else:
/// two plans with one digest do the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanDigest(String);

impl PlanDigest {
    /// The digest of a plan's essence.
    pub fn of(essence: &PlanEssence) -> Self {
        // serde_json keeps the order of struct fields; options are sorted by their map.
        let text = serde_json::json!([
            essence.command,
            essence.target,
            sorted(&essence.options),
            essence.target_revision,
            essence.steps,
        ])
        .to_string();
        Self(hex::encode(Sha256::digest(text.as_bytes())))
    }

    /// A digest out of the store.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 8 digits: what people see.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect()
        }
        serde_json::Value::Array(items) => items.iter().map(sorted).collect(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => value.clone(),
    }
}

/// What a plan would do, without how it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanEssence {
    /// The command, e.g. `deploy`.
    pub command: String,
    /// The cluster's name.
    pub target: String,
    /// The options, typed values as JSON.
    pub options: serde_json::Value,
    /// The target's revision when the plan was made; 0 for a new cluster.
    pub target_revision: i32,
    /// The names of the steps, in order.
    pub steps: Vec<String>,
}

/// What people are shown of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanContent {
    /// One sentence: what will be done.
    pub summary: String,
    /// The difference, a line each, with `+`, `-` or `~` first.
    pub difference: Vec<String>,
    /// What it costs, a line each, e.g. `cores: 20 of 64 free`.
    pub estimate: Vec<String>,
    /// What a careful person would want to know before saying yes.
    pub warnings: Vec<String>,
}

/// Who must say yes, as it stood in the command file when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRule {
    /// How many grants start the operation; 0 starts it at once.
    pub needed: u32,
    /// Roles whose holders may grant.
    pub from: Vec<Role>,
    /// Roles that are asked too once the reminder went unheard.
    pub then_ask: Vec<Role>,
    /// Whether `force` with a reason may start it without grants.
    pub may_force: bool,
}

/// Where a plan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanState {
    /// Waits for grants.
    Waiting,
    /// Its operation was created.
    Started,
    /// An approver said no.
    Refused,
    /// Nobody decided in time.
    Expired,
    /// The target changed in between.
    Void,
    /// An identical plan was made again and took over its grants.
    Superseded,
}

impl PlanState {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            PlanState::Waiting => "waiting",
            PlanState::Started => "started",
            PlanState::Refused => "refused",
            PlanState::Expired => "expired",
            PlanState::Void => "void",
            PlanState::Superseded => "superseded",
        }
    }

    /// The state out of the store.
    pub fn from_stored(text: &str) -> Option<Self> {
        [
            PlanState::Waiting,
            PlanState::Started,
            PlanState::Refused,
            PlanState::Expired,
            PlanState::Void,
            PlanState::Superseded,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

/// A plan as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// What it would do.
    pub essence: PlanEssence,
    /// The digest of the essence.
    pub digest: PlanDigest,
    /// What people see.
    pub content: PlanContent,
    /// Who must say yes.
    pub rule: ApprovalRule,
    /// Who asked.
    pub requester: DiscordUserId,
    /// The channel where it was asked and is posted.
    pub channel: DiscordChannelId,
    /// Where it stands.
    pub state: PlanState,
    /// Why, if it did not start.
    pub state_reason: Option<String>,
    /// The identical plan that took over.
    pub superseded_by: Option<PlanId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends if nobody decides.
    pub expires_at: DateTime<Utc>,
    /// When its message was complete; a reaction before that never counts.
    pub posted_in_full_at: Option<DateTime<Utc>>,
    /// When its approvers were reminded and the next group was asked.
    pub reminded_at: Option<DateTime<Utc>>,
    /// Who broke the glass, and why.
    pub forced: Option<Forced>,
    /// Who reviewed a forced start.
    pub reviewed_by: Option<DiscordUserId>,
}

/// A start without grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forced {
    /// Who forced it.
    pub by: DiscordUserId,
    /// The reason given.
    pub reason: String,
}

/// A text file that belongs to a plan, secrets masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFile {
    /// The file's name, e.g. `values.yaml`.
    pub name: String,
    /// Its text.
    pub content: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn essence() -> PlanEssence {
        PlanEssence {
            command: "deploy".to_owned(),
            target: "geo".to_owned(),
            options: serde_json::json!({"a": 1, "b": {"c": 2, "d": 3}}),
            target_revision: 0,
            steps: vec!["check-dns-name".to_owned()],
        }
    }

    #[test]
    fn the_digest_depends_on_every_part_and_not_on_the_order_of_options() {
        let digest = PlanDigest::of(&essence());
        let reordered = PlanEssence {
            options: serde_json::json!({"b": {"d": 3, "c": 2}, "a": 1}),
            ..essence()
        };
        assert_eq!(digest, PlanDigest::of(&reordered));
        for other in [
            PlanEssence {
                command: "scale".to_owned(),
                ..essence()
            },
            PlanEssence {
                target: "geo2".to_owned(),
                ..essence()
            },
            PlanEssence {
                options: serde_json::json!({"a": 2}),
                ..essence()
            },
            PlanEssence {
                target_revision: 1,
                ..essence()
            },
            PlanEssence {
                steps: vec![],
                ..essence()
            },
        ] {
            assert_ne!(digest, PlanDigest::of(&other));
        }
    }
}
