//! Addresses that a host name may have, and the change of one.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::domain::names::HostName;

/// Why a text is not an address that everybody can reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no IPv4 address.
    #[error("{0:?} is not an IPv4 address; write one such as `147.251.9.9`")]
    Form(String),
    /// Nobody outside of its own network can reach it.
    #[error("{address} is {kind}; use a public address")]
    NotPublic {
        /// The address.
        address: Ipv4Addr,
        /// What it is instead.
        kind: &'static str,
    },
}

/// An IPv4 address that everybody can reach.
///
/// # Errors
/// [`AddressError`] says what is allowed.
pub fn public_address(text: &str) -> Result<Ipv4Addr, AddressError> {
    let address: Ipv4Addr = text.trim().parse().map_err(|_not_an_address| {
        AddressError::Form(text.chars().filter(|c| *c != '`').take(60).collect())
    })?;
    match not_public(address) {
        Some(kind) => Err(AddressError::NotPublic { address, kind }),
        None => Ok(address),
    }
}

/// What an address is that not everybody can reach, by IANA's registry of special addresses
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>).
fn not_public(address: Ipv4Addr) -> Option<&'static str> {
    let kind = match address.octets() {
        [127, ..] => "this machine's own",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [100, 64..=127, ..] => "private to a provider",
        [169, 254, ..] => "of one link only",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "for documents only",
        [224..=239, ..] => "of a group of machines",
        [0, ..] | [240..=255, ..] | [192, 0, 0, _] | [198, 18..=19, ..] => "reserved",
        _public => return None,
    };
    Some(kind)
}

/// A host name that is pointed to another address: `dns update`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameChange {
    /// The host name.
    pub host: HostName,
    /// Where it pointed when the plan was made; `None` for nowhere.
    pub points_from: Option<IpAddr>,
    /// Where it shall point.
    pub points_to: IpAddr,
}

impl NameChange {
    /// The change in the options of an operation, if it is about one.
    pub fn of(options: &serde_json::Value) -> Option<Self> {
        serde_json::from_value(options.clone()).ok()
    }

    /// Whether the name still points to where the plan saw it, among what it resolves to now.
    pub fn is_as_planned(&self, now: &[IpAddr]) -> bool {
        match self.points_from {
            Some(address) => now.contains(&address),
            None => first_like(self.points_to, now).is_none(),
        }
    }
}

/// Another host name of a cluster: `checkin set-host`. Its fields beside the old name are those of
/// [`NameChange`], so that the step that points names reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostChange {
    /// The name that it has.
    pub old_host: HostName,
    /// The name that it gets.
    pub host: HostName,
    /// Where the new name pointed when the plan was made; `None` for nowhere.
    pub points_from: Option<IpAddr>,
    /// The front end.
    pub points_to: IpAddr,
}

/// The addresses of a name for people; `nowhere` for none.
pub fn in_words(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "nowhere".to_owned();
    }
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The first address of the same family: an update of one leaves those of the other as they are.
pub fn first_like(address: IpAddr, among: &[IpAddr]) -> Option<IpAddr> {
    let is_like = |one: &&IpAddr| one.is_ipv4() == address.is_ipv4();
    among.iter().find(is_like).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_everybody_can_reach_is_taken() {
        for good in ["147.251.9.9", "8.8.8.8", "172.32.0.1", " 100.128.0.1 "] {
            assert!(public_address(good).is_ok(), "{good}");
        }
        for (bad, kind) in [
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("192.168.1.1", "private"),
            ("100.64.0.1", "provider"),
            ("127.0.0.1", "own"),
            ("169.254.169.254", "link"),
            ("203.0.113.7", "documents"),
            ("224.0.0.1", "group"),
            ("255.255.255.255", "reserved"),
            ("0.0.0.0", "reserved"),
            ("", "not an IPv4"),
            ("147.251.9", "not an IPv4"),
            ("0x7f.1", "not an IPv4"),
            ("010.1.1.1", "not an IPv4"),
            ("2001:db8::1", "not an IPv4"),
            ("1.1.1.1;id", "not an IPv4"),
        ] {
            let error = public_address(bad).unwrap_err().to_string();
            assert!(error.contains(kind), "{bad}: {error}");
        }
    }

    #[test]
    fn a_name_is_as_planned_while_its_address_of_that_family_is() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (old, new, other) = (
            address("147.251.9.9"),
            address("147.251.9.10"),
            address("2001:db8::1"),
        );
        let change = |points_from| NameChange {
            host: HostName::parse("geo.vm.fedcloud.eu").unwrap(),
            points_from,
            points_to: new,
        };
        assert!(change(Some(old)).is_as_planned(&[other, old]));
        assert!(!change(Some(old)).is_as_planned(&[]));
        assert!(change(None).is_as_planned(&[other]));
        assert!(!change(None).is_as_planned(&[old]));
        let kept = serde_json::to_value(change(None)).unwrap();
        assert_eq!(NameChange::of(&kept), Some(change(None)));
        assert_eq!(NameChange::of(&serde_json::json!({"host": "a.eu"})), None);
        let moved = HostChange {
            old_host: HostName::parse("sea.vm.fedcloud.eu").unwrap(),
            host: change(None).host,
            points_from: None,
            points_to: new,
        };
        let kept = serde_json::to_value(moved).unwrap();
        assert_eq!(NameChange::of(&kept), Some(change(None)));
    }
}
