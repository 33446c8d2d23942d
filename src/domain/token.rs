//! Access tokens of front ends: whose they are, and what a renewal was approved to do.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::ids::{ClusterId, DiscordUserId};
use crate::domain::names::InfrastructureId;

/// What a token must still live when it is written to a front end: cron there trades it for a
/// refresh token, and runs every 5 minutes.
pub const NEEDED_TO_WRITE: TimeDelta = TimeDelta::minutes(6);

/// What a token must still live when it is given, so that there is time to approve.
pub const NEEDED_TO_PLAN: TimeDelta = TimeDelta::minutes(15);

/// Whose a token is: a person's stable id at an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The issuer, as in its tokens.
    pub issuer: String,
    /// The claim `sub`.
    pub subject: String,
}

/// What a token says about itself. Trust it only if its signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// Whose it is.
    pub holder: Holder,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
    /// When it was given out, if it says so.
    pub issued_at: Option<DateTime<Utc>>,
}

/// Where a new token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RenewBy {
    /// A person pasted it into a form.
    Paste,
    /// A person logs in at Check-in once the plan is approved.
    Login,
    /// The bot keeps a refresh token.
    Kept,
}

impl RenewBy {
    /// The choice of the command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paste => "paste",
            Self::Login => "login",
            Self::Kept => "kept",
        }
    }

    /// The meaning of a choice.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Paste, Self::Login, Self::Kept]
            .into_iter()
            .find(|way| way.as_str() == word)
    }
}

/// The target of a renewal of every cluster; no cluster can have this name.
pub const EVERY_CLUSTER: &str = "every cluster";

/// What an approved renewal does, as its plan keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewOptions {
    /// Where the token comes from.
    pub way: RenewBy,
    /// Whose the new token is; those of the front ends are of the same, unless a target says
    /// otherwise.
    pub holder: Holder,
    /// The cluster to which the operation and its secrets belong.
    pub anchor: ClusterId,
    /// The front ends.
    pub targets: Vec<RenewTarget>,
    /// Whether the refresh token that comes with the login is kept, sealed, for each cluster.
    pub keep: bool,
    /// The token itself, if it is there already.
    pub new: Option<NewToken>,
}

/// One front end whose token is renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewTarget {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub name: String,
    /// Its infrastructure, which the token must be allowed to use.
    pub infrastructure: InfrastructureId,
    /// Whose token is replaced, if it is another person's than the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Holder>,
}

/// From when on people want to be told of the token of one front end, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenWatch {
    /// How many minutes before its end.
    pub minutes: i64,
    /// Who set it.
    pub set_by: DiscordUserId,
}

impl TokenWatch {
    /// The key under which that of a cluster is kept.
    pub fn key(cluster: ClusterId) -> String {
        format!("token-watch/{cluster}")
    }
}

/// A token that waits, sealed, to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// The name of the secret; it belongs to the anchor.
    pub secret: String,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
}

impl NewToken {
    /// The start of the names of such secrets.
    pub const PREFIX: &'static str = "access-token/";

    /// The name under which a token is sealed: made from the token, so that a plan that names it
    /// is about exactly this one.
    pub fn secret_name(token: &SecretString) -> String {
        let digest = hex::encode(Sha256::digest(token.expose_secret().as_bytes()));
        let short = digest.get(..24).unwrap_or_default();
        format!("{}{short}", Self::PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_have_two_names_that_tell_nothing() {
        let name = |token: &str| NewToken::secret_name(&SecretString::from(token));
        assert_eq!(name("a"), name("a"));
        assert_ne!(name("a"), name("b"));
        assert!(name("eyJ.secret").starts_with("access-token/") && !name("eyJ").contains("eyJ"));
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        for way in [RenewBy::Paste, RenewBy::Login, RenewBy::Kept] {
            assert_eq!(RenewBy::from_word(way.as_str()), Some(way));
        }
        assert_eq!(RenewBy::from_word("other"), None);
    }
}
