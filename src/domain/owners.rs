//! Who may act on an infrastructure in Infrastructure Manager, and what a plan does about it.
//!
//! IM keeps a list of accounts for each infrastructure, the creator's first, and tells only their
//! names (`GetInfrastructureOwners` of IM 2.0.0). An account is added by its holder's login; nobody
//! can be taken off alone: the list can only be replaced by one account.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::names::InfrastructureId;
use crate::domain::token::Holder;

/// How IM begins the name of an account that logs in with Check-in
/// (`OPENID_USER_PREFIX` of IM/InfrastructureInfo.py).
const CHECK_IN: &str = "__OPENID__";

/// The name that IM gives to the account of a person at Check-in.
pub fn check_in_account(user_name: &str) -> String {
    format!("{CHECK_IN}{user_name}")
}

/// An account as people read it.
pub fn shown(account: &str) -> &str {
    account.strip_prefix(CHECK_IN).unwrap_or(account)
}

/// Accounts as people read them, in a row.
pub fn shown_all(accounts: &[String]) -> String {
    let names: Vec<&str> = accounts.iter().map(|account| shown(account)).collect();
    names.join(", ")
}

/// The account that a person names, by its name with or without IM's prefix.
pub fn named<'a>(accounts: &'a [String], typed: &str) -> Option<&'a String> {
    let wanted = shown(typed.trim());
    accounts.iter().find(|account| shown(account) == wanted)
}

/// An approved addition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerToAdd {
    /// The infrastructure.
    pub infrastructure: InfrastructureId,
    /// Who may act before, as IM tells.
    pub before: Vec<String>,
    /// The account that is added.
    pub account: String,
    /// Whose it is.
    pub holder: Holder,
    /// The name of their sealed token; it belongs to the cluster.
    pub secret: String,
    /// When the token ends.
    pub ends_at: DateTime<Utc>,
}

/// An approved removal of all accounts but one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnersToReplace {
    /// The infrastructure.
    pub infrastructure: InfrastructureId,
    /// Who may act before, as IM tells.
    pub before: Vec<String>,
    /// The account that was asked to be removed.
    pub account: String,
    /// The bot's account, which alone may act after.
    pub stays: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_with_or_without_the_prefix_of_im() {
        let accounts = [check_in_account("ana"), "ben".to_owned()];
        assert_eq!(shown_all(&accounts), "ana, ben");
        assert_eq!(named(&accounts, "ana"), Some(&accounts[0]));
        assert_eq!(named(&accounts, " __OPENID__ana "), Some(&accounts[0]));
        assert_eq!(named(&accounts, "ben"), Some(&accounts[1]));
        assert_eq!(named(&accounts, "an"), None);
    }
}
