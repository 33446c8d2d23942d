//! What a cluster had at a moment: nodes and pods, for the picture of its last hours.

use chrono::{DateTime, Utc};

/// Counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: DateTime<Utc>,
    /// Worker nodes that are ready.
    pub nodes_ready: u32,
    /// Pods of the hub's namespace that run.
    pub pods_running: u32,
    /// Pods of the hub's namespace that wait; placeholders are not counted, since they wait on
    /// purpose.
    pub pods_pending: u32,
    /// Worker nodes that are wanted: those that are ready, and as many more as the waiting pods
    /// need or as are on their way, whichever is more. `None` if that is not known.
    pub nodes_wanted: Option<u32>,
    /// Users' servers that run; they are among the pods that run.
    pub servers: u32,
}

impl Sample {
    /// Whether anybody used the cluster: a server runs, or something waits to.
    pub fn is_used(&self) -> bool {
        self.servers > 0 || self.pods_pending > 0
    }
}
