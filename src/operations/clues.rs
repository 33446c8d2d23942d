//! CLUES of a cluster, for looks, plans and steps.

use super::error::StepError;
use super::services::Services;
use crate::domain::clues::change::Counts;
use crate::domain::clues::{NodeSize, quantity};
use crate::domain::cluster::Cluster;
use crate::services::clues::{self, Clues, CluesError, FileText, NODE_CFG};
use crate::services::kubernetes::{KubernetesError, NodeState};
use crate::store::vault::Vault;

impl Services {
    /// CLUES on the front end of a cluster.
    ///
    /// # Errors
    /// As [`Services::frontend`].
    pub async fn clues(&self, cluster: &Cluster, vault: &Vault) -> Result<Clues, StepError> {
        Ok(Clues::on(self.frontend(cluster, vault).await?))
    }

    /// How large CLUES believes nodes to be, from its file.
    ///
    /// # Errors
    /// When the front end or the file can't be used.
    pub async fn believed_size(
        &self,
        cluster: &Cluster,
        vault: &Vault,
    ) -> Result<NodeSize, StepError> {
        let clues = self.clues(cluster, vault).await?;
        let file = clues.read(NODE_CFG).await.map_err(of_clues)?;
        clues::node_size_of(&file).map_err(of_clues)
    }

    /// The worker nodes that Kubernetes has.
    ///
    /// # Errors
    /// When the front end or the API does not answer.
    pub async fn workers(
        &self,
        cluster: &Cluster,
        vault: &Vault,
    ) -> Result<Vec<NodeState>, StepError> {
        let kubernetes = self.kubernetes(cluster, vault).await?;
        let mut nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
        nodes.retain(|node| !node.is_control_plane);
        Ok(nodes)
    }
}

/// What Kubernetes may give away on a node, in whole cores as CLUES counts; `None` if it does not
/// say.
pub fn real_size(node: &NodeState) -> Option<NodeSize> {
    let size = NodeSize {
        slots: quantity::cpu_milli(&node.allocatable_cpu)? / 1000,
        memory: quantity::bytes(&node.allocatable_memory)?,
    };
    (size.slots > 0 && size.memory > 0).then_some(size)
}

/// The smallest of the nodes: what is believed of all must hold for each.
pub fn smallest(nodes: &[NodeState]) -> Option<NodeSize> {
    let sizes: Vec<NodeSize> = nodes.iter().filter_map(real_size).collect();
    Some(NodeSize {
        slots: sizes.iter().map(|size| size.slots).min()?,
        memory: sizes.iter().map(|size| size.memory).min()?,
    })
}

/// The numbers of nodes in CLUES' files: its list of nodes, and `clues2.cfg`.
///
/// # Errors
/// When a file can't be understood.
pub fn counts_of(vnodes: &FileText, config: &FileText) -> Result<Counts, CluesError> {
    let max = clues::vnodes_of(vnodes)?.count();
    Ok(Counts {
        max: u32::try_from(max).unwrap_or(u32::MAX),
        min_free: clues::extra_free_of(config)?,
    })
}

/// An error of CLUES as a step's.
pub fn of_clues(error: CluesError) -> StepError {
    let (transient, hint) = (error.is_transient(), error.hint());
    StepError::of_service(transient, "CLUES could not be used", hint, error)
}

/// An error of Kubernetes as a step's.
pub fn of_kubernetes(error: KubernetesError) -> StepError {
    let (transient, hint) = (error.is_transient(), error.hint());
    StepError::of_service(transient, "Kubernetes could not be asked", hint, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(cpu: &str, memory: &str) -> NodeState {
        NodeState {
            name: "wn1".to_owned(),
            is_control_plane: false,
            ready: true,
            cordoned: false,
            allocatable_cpu: cpu.to_owned(),
            allocatable_memory: memory.to_owned(),
            kubelet_version: String::new(),
        }
    }

    #[test]
    fn what_is_believed_fits_on_every_node() {
        let nodes = [node("7910m", "32780552Ki"), node("8", "2Gi"), node("", "")];
        let size = smallest(&nodes).unwrap();
        assert_eq!((size.slots, size.memory), (7, 2 << 30));
        assert_eq!(smallest(&[]), None);
        assert_eq!(real_size(&node("500m", "2Gi")), None);
    }
}
