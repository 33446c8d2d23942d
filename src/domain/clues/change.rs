//! What an operation on CLUES was approved to do, as its plan keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NodeName, NodeSize};

/// Another size of nodes: `flavor set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeChange {
    /// What CLUES believes when the plan is made.
    pub old: NodeSize,
    /// What it shall believe.
    pub new: NodeSize,
}

/// Numbers of worker nodes that IM's template and CLUES' files say alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many there may be.
    pub max: u32,
    /// How many are kept without work.
    pub min_free: u32,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.max == 1 { "" } else { "s" };
        write!(
            f,
            "at most {} worker node{s}, {} kept free",
            self.max, self.min_free
        )
    }
}

/// Other numbers of worker nodes, and nodes to power: `scale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleChange {
    /// What IM's template says when the plan is made.
    pub template: Counts,
    /// What CLUES' files say then.
    pub files: Counts,
    /// What the bot's own row says then.
    pub known: Counts,
    /// What all shall say.
    pub after: Counts,
    /// Nodes to power.
    #[serde(flatten)]
    pub moves: Moves,
}

/// Nodes to power on and off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// Nodes to power on.
    pub on: Vec<NodeName>,
    /// Nodes to drain and power off.
    pub off: Vec<NodeName>,
    /// Whether servers of users are ended that are in the way.
    pub forced: bool,
}
