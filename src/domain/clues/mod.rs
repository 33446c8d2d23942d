//! CLUES, the power manager of an elastic cluster, as words: nodes and their states, its table, its
//! files.
//!
//! Facts were read in grycap/clues @ 6ef8cf4 of 2025-10-20 (`clues`, `cluesserver`,
//! `clueslib/node.py`, `cluesplugins/kubernetes.py`, `cluesplugins/im.py`).

pub mod change;
pub mod ini;
pub mod quantity;
pub mod status;
pub mod vnodes;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::size::Size;

/// The longest name of a node, in characters (RFC 1123).
const NAME_MAX: usize = 63;

/// Why a text is not the name of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a node; small letters, digits, dots and dashes, such as `wn1`")]
pub struct NodeNameError(String);

/// The name of a worker node, such as `wn1`; safe as an argument and in a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// Parses a name.
    ///
    /// # Errors
    /// When it could be anything else than a name.
    pub fn parse(text: &str) -> Result<Self, NodeNameError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_name = (1..=NAME_MAX).contains(&text.len())
            && text.chars().all(|c| plain(c) || matches!(c, '.' | '-'))
            && text.starts_with(plain)
            && text.ends_with(plain);
        if is_name {
            return Ok(Self(text.to_owned()));
        }
        Err(NodeNameError(text.chars().take(NAME_MAX).collect()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names for people, such as `wn2, wn3`.
    pub fn list(names: &[Self]) -> String {
        let names: Vec<&str> = names.iter().map(Self::as_str).collect();
        names.join(", ")
    }

    /// Whether both name one node: `wn1` is `wn1.localdomain`.
    pub fn is_same(&self, other: &str) -> bool {
        first_label(&self.0) == first_label(other)
    }
}

/// A name without its domain.
pub fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

/// The state of a node in CLUES' words (clueslib/node.py).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// CLUES does not know.
    Unknown,
    /// On, with nothing to do.
    Idle,
    /// On, and in use.
    Used,
    /// Off.
    Off,
    /// Being powered on.
    PowOn,
    /// Being powered off.
    PowOff,
    /// It should be off, but is not.
    OnErr,
    /// It should be on, but is not; given up until somebody acts.
    OffErr,
}

impl NodeState {
    /// CLUES' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unk",
            Self::Idle => "idle",
            Self::Used => "used",
            Self::Off => "off",
            Self::PowOn => "powon",
            Self::PowOff => "powoff",
            Self::OnErr => "on (err)",
            Self::OffErr => "off (err)",
        }
    }

    /// Whether it runs pods.
    pub fn is_on(self) -> bool {
        match self {
            Self::Idle | Self::Used | Self::OnErr => true,
            Self::Unknown | Self::Off | Self::PowOn | Self::PowOff | Self::OffErr => false,
        }
    }

    /// Whether no machine is meant to run for it.
    pub fn is_off(self) -> bool {
        match self {
            Self::Off | Self::OffErr => true,
            Self::Unknown | Self::Idle | Self::Used | Self::PowOn | Self::PowOff | Self::OnErr => {
                false
            }
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What CLUES believes of a node: how much fits on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSize {
    /// Cores.
    pub slots: u64,
    /// Memory in bytes.
    pub memory: u64,
}

/// What a node keeps for itself, in parts of a hundred of its memory. The howto's node of 32 GiB
/// gives 2.3 % less away; of a small one the kernel and the kubelet take about 5 %.
const RESERVE_PERCENT: u64 = 5;

impl NodeSize {
    /// What pods surely get of a machine of this size, when no node could be asked yet.
    pub fn left_of(cpus: u32, memory: &Size) -> Self {
        Self {
            slots: u64::from(cpus),
            memory: memory.bytes() / 100 * (100 - RESERVE_PERCENT),
        }
    }
}

impl fmt::Display for NodeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.slots == 1 { "" } else { "s" };
        write!(f, "{} core{s}, {}", self.slots, quantity::gib(self.memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_arguments() {
        for good in ["wn1", "wn12.localdomain", "vnode-3"] {
            assert_eq!(NodeName::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(64);
        for bad in [
            "", "-x", "wn1;id", "wn 1", "../wn", "WN1", "wn1.", "ｗn1", "wn\0", &long,
        ] {
            assert!(NodeName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_left_of_a_machine_is_less_than_a_real_node_gives_away() {
        let left = NodeSize::left_of(8, &Size::gib(32));
        assert_eq!(left.slots, 8);
        // The howto's node of 32 GiB.
        assert!(left.memory < 33_567_285_248 && left.memory > 32_000_000_000);
    }

    #[test]
    fn a_domain_does_not_make_another_node() {
        let name = NodeName::parse("wn1").unwrap();
        assert!(name.is_same("wn1.localdomain") && name.is_same("wn1"));
        assert!(!name.is_same("wn10"));
    }
}
