//! Names that reach a shell, a URL, a DNS query or a Kubernetes object.
//!
//! Each has a private field and a `parse`, so that a value of the type is always safe to use.

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space was given.
    #[error("{what} is empty; {allowed}")]
    Empty {
        /// The kind of name.
        what: &'static str,
        /// What is allowed, for the person who typed it.
        allowed: &'static str,
    },
    /// Longer than allowed.
    #[error("{what} has {length} characters; at most {max} are allowed")]
    TooLong {
        /// The kind of name.
        what: &'static str,
        /// Its length in characters.
        length: usize,
        /// The longest length allowed.
        max: usize,
    },
    /// A character or form that is not allowed.
    #[error("{what} {text:?} is not allowed; {allowed}")]
    Form {
        /// The kind of name.
        what: &'static str,
        /// The text, cut to 60 characters.
        text: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

fn form(what: &'static str, text: &str, allowed: &'static str) -> NameError {
    NameError::Form {
        what,
        text: text.chars().take(60).collect(),
        allowed,
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

macro_rules! text_name {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::domain::names::NameError;

            fn try_from(text: String) -> Result<Self, $crate::domain::names::NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::names::NameError;

            fn from_str(text: &str) -> Result<Self, $crate::domain::names::NameError> {
                Self::parse(text)
            }
        }
    };
}

pub(super) use text_name;

/// The name of a cluster in the inventory: a DNS label of 1 to 40 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    /// Parses a cluster name.
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "the cluster name";
        const ALLOWED: &str =
            "use small letters a-z, digits and dashes, starting with a letter, at most 40";
        if text.is_empty() {
            return Err(NameError::Empty {
                what: WHAT,
                allowed: ALLOWED,
            });
        }
        let length = text.chars().count();
        if length > 40 {
            return Err(NameError::TooLong {
                what: WHAT,
                length,
                max: 40,
            });
        }
        if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(form(WHAT, text, ALLOWED));
        }
        Ok(Self(text.to_owned()))
    }
}
text_name!(ClusterName);

/// A fully qualified DNS name of two labels or more, lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// Parses a host name (RFC 1123 labels, ASCII only, 253 characters at most).
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "the host name";
        const ALLOWED: &str = "use a full DNS name such as `pangeo.vm.fedcloud.eu`: \
            small letters a-z, digits and dashes between dots, without scheme, port or path";
        if text.is_empty() {
            return Err(NameError::Empty {
                what: WHAT,
                allowed: ALLOWED,
            });
        }
        let length = text.chars().count();
        if length > 253 {
            return Err(NameError::TooLong {
                what: WHAT,
                length,
                max: 253,
            });
        }
        let labels: Vec<&str> = text.split('.').collect();
        let last_is_number = labels
            .last()
            .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
        if labels.len() < 2 || last_is_number || !labels.iter().all(|label| is_label(label)) {
            return Err(form(WHAT, text, ALLOWED));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the name is `domain` itself or lies below it.
    pub fn is_within(&self, domain: &HostName) -> bool {
        self.0 == domain.0
            || self
                .0
                .strip_suffix(&domain.0)
                .is_some_and(|rest| rest.ends_with('.'))
    }
}
text_name!(HostName);

impl HostName {
    /// What is wrong with it as the name of a hub, with what is allowed: it must lie below one of
    /// the domains of the configuration.
    pub fn problem_below(&self, domains: &[HostName]) -> Option<String> {
        if domains.contains(self) {
            return Some(format!("put a name before `{self}`"));
        }
        if domains.iter().any(|domain| self.is_within(domain)) {
            return None;
        }
        let allowed: Vec<String> = domains.iter().map(|one| format!("`{one}`")).collect();
        Some(format!(
            "`{self}` is not ours; it must end with {}",
            allowed.join(" or ")
        ))
    }
}

/// The id that IM gave to an infrastructure.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InfrastructureId(String);

impl InfrastructureId {
    /// Parses an infrastructure id: letters, digits and dashes, 1 to 64 characters.
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "the infrastructure id";
        const ALLOWED: &str = "use the id as IM shows it: letters, digits and dashes";
        if text.is_empty() {
            return Err(NameError::Empty {
                what: WHAT,
                allowed: ALLOWED,
            });
        }
        if text.len() > 64 || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(form(WHAT, text, ALLOWED));
        }
        Ok(Self(text.to_owned()))
    }
}
text_name!(InfrastructureId);

/// The name of a pod: a DNS subdomain, as Kubernetes names objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodName(String);

impl PodName {
    /// Parses a pod's name: small letters, digits, dashes and dots, 1 to 253 characters.
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "the pod's name";
        const ALLOWED: &str =
            "use the name as Kubernetes shows it: small letters, digits, dashes, dots";
        if text.is_empty() {
            return Err(NameError::Empty {
                what: WHAT,
                allowed: ALLOWED,
            });
        }
        let plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        let is_label =
            |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
        if text.len() > 253 || !text.bytes().all(plain) || !text.split('.').all(is_label) {
            return Err(form(WHAT, text, ALLOWED));
        }
        Ok(Self(text.to_owned()))
    }
}
text_name!(PodName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_of_people_who_mistype_are_refused() {
        for bad in [
            "",
            " ",
            "pangeo",
            "-a.vm.fedcloud.eu",
            "a-.vm.fedcloud.eu",
            "a..eu",
            ".a.eu",
            "a.eu.",
            "a b.eu",
            "https://a.eu",
            "a.eu/hub",
            "a.eu:443",
            "A.eu",
            "pаngeo.vm.fedcloud.eu",
            "a.eu;reboot",
            "$(id).eu",
            "10.0.0.1",
            "a_b.eu",
            "a.eu\0",
            "a.eu\n",
        ] {
            assert!(HostName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(HostName::parse(&format!("{}.eu", "a.".repeat(150))).is_err());
        assert!(HostName::parse("pangeo.vm.fedcloud.eu").is_ok());
    }

    #[test]
    fn a_host_is_within_its_domain_but_not_within_a_look_alike() {
        let domain = HostName::parse("vm.fedcloud.eu").unwrap();
        assert!(
            HostName::parse("pangeo.vm.fedcloud.eu")
                .unwrap()
                .is_within(&domain)
        );
        assert!(
            !HostName::parse("evilvm.fedcloud.eu")
                .unwrap()
                .is_within(&domain)
        );
    }

    #[test]
    fn pod_names_are_paths_of_nothing() {
        for bad in [
            "",
            "A",
            "a/b",
            "../x",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a?x=1",
            &"a".repeat(254),
        ] {
            assert!(PodName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(PodName::parse("jupyter-ana-2eexample-2eorg").is_ok());
        assert!(PodName::parse("dask-worker-1a2b.x").is_ok());
    }

    #[test]
    fn cluster_names_are_labels() {
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a b",
            "1a",
            "a;b",
            "ä",
            &"a".repeat(41),
        ] {
            assert!(ClusterName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(ClusterName::parse("geo-2026").is_ok());
    }
}
