//! Worker nodes as CLUES and Kubernetes have them, and what runs there: nothing is taken away from
//! users.

use super::StepContext;
use super::clues::{of_clues, of_kubernetes};
use super::error::StepError;
use super::services::Services;
use crate::domain::clues::status::NodeRow;
use crate::domain::clues::{NodeName, NodeState as Power};
use crate::domain::cluster::Cluster;
use crate::services::clues::{Act, Clues};
use crate::services::kubernetes::{Kubernetes, NodeState, PodState};
use crate::store::vault::Vault;

/// Owners that make a pod again elsewhere. A user's server has none, a Dask pod one of Dask's own.
const MADE_AGAIN: [&str; 4] = ["Job", "ReplicaSet", "ReplicationController", "StatefulSet"];

/// Owners of pods that belong to a node and end with it.
const OF_THE_NODE: [&str; 2] = ["DaemonSet", "Node"];

/// How many users or pods are named.
const NAMED: usize = 10;

/// What runs on a node and would not by itself stay there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnNode {
    /// Whose servers and Dask clusters.
    pub users: Vec<PodState>,
    /// What is made again elsewhere, such as the hub.
    pub others: Vec<PodState>,
}

impl OnNode {
    /// Sorts the pods of a node.
    pub fn of(pods: Vec<PodState>) -> Self {
        let mut found = Self::default();
        for pod in pods {
            let has_ended = matches!(pod.phase.as_str(), "Succeeded" | "Failed");
            let owner = pod.owner.as_deref().unwrap_or_default();
            if has_ended || OF_THE_NODE.contains(&owner) {
                continue;
            }
            if pod.user.is_none() && MADE_AGAIN.contains(&owner) {
                found.others.push(pod);
            } else {
                found.users.push(pod);
            }
        }
        found
    }

    /// Whether nothing is left to take off.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.others.is_empty()
    }

    /// Whose pods are in the way, such as `ana, eva, 2 more`; `None` if nobody's are.
    pub fn whose(&self) -> Option<String> {
        let mut names: Vec<&str> = self
            .users
            .iter()
            .map(|pod| pod.user.as_deref().unwrap_or(&pod.name))
            .collect();
        names.sort_unstable();
        names.dedup();
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        let mut text = names.join(", ");
        if more > 0 {
            text.push_str(&format!(", {more} more"));
        }
        (!text.is_empty()).then_some(text)
    }
}

/// The node of Kubernetes that CLUES calls so.
pub fn node_of<'a>(nodes: &'a [NodeState], name: &NodeName) -> Option<&'a NodeState> {
    nodes.iter().find(|node| name.is_same(&node.name))
}

/// What runs on a node.
///
/// # Errors
/// When Kubernetes does not answer.
pub async fn on_node(kubernetes: &Kubernetes, node: &str) -> Result<OnNode, StepError> {
    let pods = kubernetes.pods_on(node).await.map_err(of_kubernetes)?;
    Ok(OnNode::of(pods))
}

/// A cluster's nodes as CLUES and Kubernetes have them at one moment.
pub struct Nodes {
    clues: Clues,
    rows: Vec<NodeRow>,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    nodes: Vec<NodeState>,
}

impl Nodes {
    /// Asks both.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn of(context: &StepContext<'_>) -> Result<Self, StepError> {
        let services = context.services;
        let clues = services.clues(context.cluster, context.vault).await?;
        let kubernetes = services.kubernetes(context.cluster, context.vault).await?;
        Ok(Self {
            rows: clues.status().await.map_err(of_clues)?,
            nodes: kubernetes.nodes().await.map_err(of_kubernetes)?,
            clues,
            kubernetes,
        })
    }

    /// CLUES' row of a node.
    pub fn row(&self, name: &NodeName) -> Option<&NodeRow> {
        self.rows.iter().find(|row| row.is_of(name.as_str()))
    }

    /// The state in CLUES; a node that it does not list is off.
    pub fn state(&self, name: &NodeName) -> Power {
        self.row(name).map_or(Power::Off, |row| row.state)
    }

    /// The node in Kubernetes.
    pub fn node(&self, name: &NodeName) -> Option<&NodeState> {
        node_of(&self.nodes, name)
    }

    /// What runs on a node.
    ///
    /// # Errors
    /// When Kubernetes does not answer.
    pub async fn on(&self, node: &NodeState) -> Result<OnNode, StepError> {
        on_node(&self.kubernetes, &node.name).await
    }

    /// Lets Kubernetes put nothing new on a node, or lets it do so again. One that Kubernetes has
    /// forgotten meanwhile is fine.
    ///
    /// # Errors
    /// When Kubernetes does not answer.
    pub async fn cordon(&self, node: &NodeState, cordoned: bool) -> Result<(), StepError> {
        match self.kubernetes.cordon(&node.name, cordoned).await {
            Err(error) if error.status() != Some(404) => Err(of_kubernetes(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Asks CLUES to do something with a node.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ask(
        &self,
        context: &StepContext<'_>,
        act: Act,
        name: &NodeName,
    ) -> Result<(), StepError> {
        context.still_ours().await?;
        self.clues.act(act, name).await.map_err(of_clues)?;
        context.log(&format!("clues {} {name}", act.word())).await
    }
}

impl Services {
    /// The Kubernetes API of a cluster.
    ///
    /// # Errors
    /// When the front end or the API can't be used.
    pub async fn kubernetes(
        &self,
        cluster: &Cluster,
        vault: &Vault,
    ) -> Result<Kubernetes, StepError> {
        let frontend = self.frontend(cluster, vault).await?;
        Kubernetes::connect(frontend).await.map_err(of_kubernetes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, owner: &str, user: Option<&str>) -> PodState {
        PodState {
            name: name.to_owned(),
            phase: "Running".to_owned(),
            owner: (!owner.is_empty()).then(|| owner.to_owned()),
            user: user.map(str::to_owned),
            ..PodState::default()
        }
    }

    #[test]
    fn servers_and_dask_pods_are_in_the_way_and_daemons_are_not() {
        let mut ended = pod("jupyter-old", "", Some("old"));
        ended.phase = "Succeeded".to_owned();
        let found = OnNode::of(vec![
            pod("jupyter-eva", "", Some("eva")),
            pod("dask-worker-1", "DaskCluster", None),
            pod("hub-1", "ReplicaSet", None),
            pod("user-placeholder-0", "StatefulSet", None),
            pod("continuous-image-puller-x", "DaemonSet", None),
            pod("kube-proxy", "Node", None),
            ended,
        ]);
        assert_eq!(found.whose().as_deref(), Some("dask-worker-1, eva"));
        assert_eq!(found.others.len(), 2);
        assert_eq!(OnNode::default().whose(), None);
        let many = (0..13).map(|n| pod(&format!("p{n:02}"), "", None));
        let whose = OnNode::of(many.collect()).whose().unwrap();
        assert!(whose.ends_with("p09, 3 more"), "{whose}");
    }
}
