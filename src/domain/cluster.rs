//! A cluster in the inventory.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::chart::Chart;
use crate::domain::ids::{ClusterId, DiscordUserId, OperationId};
use crate::domain::names::{ClusterName, HostName, InfrastructureId};

/// Where a cluster stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its first operation is open.
    Deploying,
    /// It was deployed.
    Running,
    /// Its deployment failed and was left for inspection.
    Failed,
    /// It is gone; the row stays as history.
    Removed,
}

impl Phase {
    /// The word in the store and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Deploying => "deploying",
            Phase::Running => "running",
            Phase::Failed => "failed",
            Phase::Removed => "removed",
        }
    }

    /// The phase out of the store.
    pub fn from_stored(text: &str) -> Option<Self> {
        [
            Phase::Deploying,
            Phase::Running,
            Phase::Failed,
            Phase::Removed,
        ]
        .into_iter()
        .find(|phase| phase.as_str() == text)
    }
}

/// A cluster as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Its name, unique among those that exist.
    pub name: ClusterName,
    /// Its DNS name, unique among those that exist.
    pub host: HostName,
    /// Where it stands.
    pub phase: Phase,
    /// Who is responsible for it.
    pub owner: DiscordUserId,
    /// What it is for, e.g. a course.
    pub purpose: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// The last day it is needed.
    pub ends_on: Option<NaiveDate>,
    /// The options it was deployed with, as JSON.
    pub options: serde_json::Value,
    /// IM's id of its infrastructure.
    pub infrastructure: Option<InfrastructureId>,
    /// The front end's public address.
    pub address: Option<String>,
    /// The user to log in as.
    pub ssh_user: Option<String>,
    /// The front end's pinned host key, as a line of `known_hosts` without the host.
    pub host_key: Option<String>,
    /// Rises with every change that an operation made; 0 before the first.
    pub revision: i32,
    /// The chart version that runs.
    pub chart_version: Option<String>,
    /// The Kubernetes version that was asked for.
    pub kubernetes_version: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

/// A cluster that an approved plan is about to take into the inventory.
#[derive(Clone, Debug)]
pub struct NewCluster {
    /// Its name.
    pub name: ClusterName,
    /// Its DNS name.
    pub host: HostName,
    /// Who is responsible for it.
    pub owner: DiscordUserId,
    /// What it is for.
    pub purpose: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// The last day it is needed.
    pub ends_on: Option<NaiveDate>,
    /// The Kubernetes version asked for.
    pub kubernetes_version: Option<String>,
    /// The options of a deployment, as JSON; empty if they are not known.
    pub options: serde_json::Value,
}

/// One recorded revision of a cluster's release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRevision {
    /// The operation that made it.
    pub operation: OperationId,
    /// Helm's number of it.
    pub helm_revision: i32,
    /// The chart.
    pub chart: Chart,
    /// The values, secrets masked.
    pub values_masked: String,
    /// Who asked for it.
    pub made_by: DiscordUserId,
    /// Why.
    pub reason: String,
}

/// What a person changes about a cluster in the inventory; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InventoryChange {
    /// Who is responsible for it.
    pub owner: Option<DiscordUserId>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// The last day it is needed.
    pub ends_on: Option<NaiveDate>,
}

impl InventoryChange {
    /// What becomes different, a line each, for Discord.
    pub fn differences(&self, cluster: &Cluster) -> Vec<String> {
        let mention = |owner: DiscordUserId| format!("<@{owner}>");
        let day = |day: NaiveDate| day.to_string();
        let rows = [
            (
                "owner",
                Some(mention(cluster.owner)),
                self.owner.map(mention),
            ),
            ("purpose", cluster.purpose.clone(), self.purpose.clone()),
            ("contact", cluster.contact.clone(), self.contact.clone()),
            ("end date", cluster.ends_on.map(day), self.ends_on.map(day)),
        ];
        rows.into_iter()
            .filter_map(|(what, old, new)| {
                let new = new.filter(|new| old.as_ref() != Some(new))?;
                let old = old.unwrap_or_else(|| "not set".to_owned());
                Some(format!("• {what}: {old} → {new}"))
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A cluster that nobody knows much about, since the beginning of time.
    pub(crate) fn cluster(name: &str, phase: Phase) -> Cluster {
        Cluster {
            id: ClusterId::new(),
            name: ClusterName::parse(name).unwrap(),
            host: HostName::parse(&format!("{name}.vm.fedcloud.eu")).unwrap(),
            phase,
            owner: DiscordUserId(7),
            purpose: None,
            contact: None,
            ends_on: None,
            options: serde_json::json!({}),
            infrastructure: None,
            address: None,
            ssh_user: None,
            host_key: None,
            revision: 1,
            chart_version: None,
            kubernetes_version: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }
}
