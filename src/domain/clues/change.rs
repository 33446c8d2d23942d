//! What an operation on CLUES was approved to do, as its plan keeps it.

use serde::{Deserialize, Serialize};

use super::NodeSize;

/// Another size of nodes: `flavor set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeChange {
    /// What CLUES believes when the plan is made.
    pub old: NodeSize,
    /// What it shall believe.
    pub new: NodeSize,
}
