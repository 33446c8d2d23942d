//! What is watched, and from when on it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;

use super::beside::BesideRules;
use crate::domain::alert::{AlertKind, CallRule};
use crate::domain::cluster::Cluster;
use crate::domain::diagnosis::stall::Limits;
use crate::domain::ids::DiscordChannelId;
use crate::services::switch::Switch;

/// What is watched, and from when on it is told.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// The channel that is told.
    pub channel: DiscordChannelId,
    /// The pause between two looks at a cluster.
    pub look: Duration,
    /// The pause between two full looks at a cluster at which nobody waits.
    pub full: Duration,
    /// When growing counts as stalled.
    pub limits: Limits,
    /// How long a source or a hub may be silent.
    pub blind_after: TimeDelta,
    /// How long a stopped operation may wait for a person.
    pub waits_after: TimeDelta,
    /// How long something must be gone until its alert is over.
    pub resolves_after: TimeDelta,
    /// How long before its end a front end's token is told of, unless `token watch` says otherwise.
    pub token_before: TimeDelta,
    /// What is watched beside the growing.
    pub beside: BesideRules,
    /// When people are called again.
    pub calls: CallRule,
    /// What is not watched.
    pub off: BTreeSet<AlertKind>,
    /// Other limits for some clusters, by name.
    pub of_clusters: BTreeMap<String, Limits>,
    /// What is told while all is looked at, so that others notice when it is not.
    pub switch: Option<Switch>,
}

impl WatchSettings {
    /// The limits of a cluster.
    pub(super) fn limits_of(&self, cluster: &Cluster) -> &Limits {
        let own = self.of_clusters.get(cluster.name.as_str());
        own.unwrap_or(&self.limits)
    }
}
