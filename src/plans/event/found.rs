//! What a cluster is like that is to hold an event.

use serde_json::Value;

use super::Planner;
use crate::domain::clues::change::Counts;
use crate::domain::clues::{NodeSize, NodeState, quantity};
use crate::domain::cluster::Cluster;
use crate::domain::deploy::DeployOptions;
use crate::domain::event::Ask;
use crate::domain::yaml;
use crate::operations::StepError;
use crate::operations::clues::{counts_of, of_clues};
use crate::operations::values::{live, text_of};
use crate::plans::PlanError;
use crate::services::clues::{CLUES_CFG, VNODES};
use crate::services::kubernetes;
use secrecy::ExposeSecret as _;

/// See the module.
pub(super) struct Found {
    /// What a worker node has to give to pods.
    pub(super) node: Ask,
    /// Whether a node that is on said so.
    pub(super) is_real: bool,
    /// What CLUES believes that a node has, if that is another size.
    pub(super) believed: Option<Ask>,
    /// What CLUES' files say of the numbers of nodes.
    pub(super) files: Counts,
    /// How many nodes are in use.
    pub(super) used: u32,
    /// The values of the hub, **with secrets**.
    pub(super) values: Value,
}

impl Planner {
    /// Looks at a cluster; what is in the way is for people.
    pub(super) async fn found_for_event(
        &self,
        cluster: &Cluster,
    ) -> Result<Result<Found, String>, PlanError> {
        let newest = text_of(&self.vault, cluster.id, cluster.revision).await?;
        let newest = newest.and_then(|text| yaml::read(text.expose_secret()).ok());
        let found = self.look_for_event(cluster, newest).await;
        Ok(found.map_err(|error| format!("{}; {}", error.for_people(), error.hint())))
    }

    async fn look_for_event(
        &self,
        cluster: &Cluster,
        newest: Option<Value>,
    ) -> Result<Found, StepError> {
        let (services, vault) = (&self.services, &self.vault);
        let values = match newest {
            Some(values) => values,
            None => live(services, vault, cluster).await?.tree,
        };
        let clues = services.clues(cluster, vault).await?;
        let vnodes = clues.read(VNODES).await.map_err(of_clues)?;
        let config = clues.read(CLUES_CFG).await.map_err(of_clues)?;
        let rows = clues.status().await.map_err(of_clues)?;
        let used = rows.iter().filter(|row| row.state == NodeState::Used);
        let believed = believed(services.believed_size(cluster, vault).await?);
        let real = smallest(&services.workers(cluster, vault).await?);
        let node = real.or_else(|| of_flavour(cluster)).unwrap_or(believed);
        Ok(Found {
            node,
            is_real: real.is_some(),
            believed: Some(believed),
            files: counts_of(&vnodes, &config).map_err(of_clues)?,
            used: u32::try_from(used.count()).unwrap_or(u32::MAX),
            values,
        })
    }
}

fn believed(size: NodeSize) -> Ask {
    Ask {
        cpu_milli: size.slots.saturating_mul(1000),
        memory: size.memory,
    }
}

/// What every worker node that is on has to give.
fn smallest(nodes: &[kubernetes::NodeState]) -> Option<Ask> {
    let sizes = nodes.iter().filter_map(|node| {
        Some(Ask {
            cpu_milli: quantity::cpu_milli(&node.allocatable_cpu)?,
            memory: quantity::bytes(&node.allocatable_memory)?,
        })
    });
    sizes
        .filter(|size| size.cpu_milli > 0 && size.memory > 0)
        .reduce(|one, other| Ask {
            cpu_milli: one.cpu_milli.min(other.cpu_milli),
            memory: one.memory.min(other.memory),
        })
}

/// What a VM of that kind should have to give: the kernel and the kubelet keep about a twentieth of
/// its memory.
fn of_flavour(cluster: &Cluster) -> Option<Ask> {
    let options: DeployOptions = serde_json::from_value(cluster.options.clone()).ok()?;
    Some(Ask {
        cpu_milli: u64::from(options.worker.cpus).saturating_mul(1000),
        memory: options.worker.memory.bytes() / 20 * 19,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_with_holds_on_every_node() {
        let node = |cpu: &str, memory: &str| kubernetes::NodeState {
            name: "wn1".to_owned(),
            is_control_plane: false,
            ready: true,
            cordoned: false,
            allocatable_cpu: cpu.to_owned(),
            allocatable_memory: memory.to_owned(),
            kubelet_version: String::new(),
        };
        let nodes = [node("7910m", "32Gi"), node("8", "2Gi"), node("", "")];
        let smallest = smallest(&nodes).unwrap();
        assert_eq!((smallest.cpu_milli, smallest.memory), (7910, 2 << 30));
        assert_eq!(super::smallest(&[]), None);
    }
}
