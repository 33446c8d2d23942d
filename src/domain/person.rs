//! Who acts: people with roles.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::DiscordUserId;

/// What a person may do, by the Discord roles that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks: status, list, logs, help.
    Viewer,
    /// Asks for changes.
    Operator,
    /// Approves them: a VO manager.
    Approver,
}

impl Role {
    /// Every role, in order of rising trust.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Approver];

    /// The word used in command files, configuration and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Approver => "approver",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A member of the guild as seen at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The Discord user.
    pub id: DiscordUserId,
    /// The bot's roles that this person holds now.
    pub roles: Vec<Role>,
    /// Whether Discord says that this is a bot; a bot never approves.
    pub is_bot: bool,
}

impl Person {
    /// Whether the person holds one of `roles`.
    pub fn has_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }
}
