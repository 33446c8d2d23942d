//! How large a cluster must be for the pods that wait: what `scale` proposes when nobody says a number,
//! as the button below an alert does.

use super::Planner;
use crate::domain::cluster::Cluster;
use crate::domain::diagnosis::Amount;
use crate::operations::StepError;
use crate::operations::clues::{counts_of, of_clues, of_kubernetes};
use crate::services::clues::{CLUES_CFG, VNODES};
use crate::services::kubernetes::PodState;

impl Planner {
    /// The maximum with which all pods that wait for a node get one; `None` if none waits.
    pub(super) async fn max_for_demand(&self, cluster: &Cluster) -> Result<Option<u32>, StepError> {
        let services = &self.services;
        let kubernetes = services.kubernetes(cluster, &self.vault).await?;
        let pods = kubernetes.pods(None).await.map_err(of_kubernetes)?;
        let waits = pods.iter().filter(|pod| {
            pod.phase == "Pending" && pod.unschedulable.is_some() && !pod.is_nobodys()
        });
        let asks: Vec<Amount> = waits.map(asks).collect();
        let nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
        let workers = nodes.iter().filter(|node| !node.is_control_plane);
        let worker = workers
            .map(|node| Amount::of_kubernetes(&node.allocatable_cpu, &node.allocatable_memory))
            .max_by_key(|amount| (amount.memory, amount.cpu_milli));
        let Some(more) = worker.and_then(|worker| nodes_for(&asks, worker)) else {
            return Ok(None);
        };
        let clues = services.clues(cluster, &self.vault).await?;
        let vnodes = clues.read(VNODES).await.map_err(of_clues)?;
        let config = clues.read(CLUES_CFG).await.map_err(of_clues)?;
        let files = counts_of(&vnodes, &config).map_err(of_clues)?;
        Ok(Some(files.max.saturating_add(more)))
    }
}

fn asks(pod: &PodState) -> Amount {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let amounts = pod
        .containers
        .iter()
        .map(|one| Amount::of_kubernetes(&text(&one.cpu), &text(&one.memory)));
    amounts.fold(Amount::default(), Amount::plus)
}

/// How many nodes pods need that fit on one each; `None` if there are none.
fn nodes_for(asks: &[Amount], worker: Amount) -> Option<u32> {
    let mut rooms: Vec<Amount> = Vec::new();
    for ask in asks.iter().filter(|ask| ask.fits(worker)) {
        match rooms.iter_mut().find(|room| ask.fits(**room)) {
            Some(room) => *room = room.minus(*ask),
            None => rooms.push(worker.minus(*ask)),
        }
    }
    u32::try_from(rooms.len()).ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(cpus: u64) -> Amount {
        Amount {
            cpu_milli: cpus * 1000,
            memory: cpus << 30,
        }
    }

    #[test]
    fn pods_that_fit_together_share_a_node_and_what_fits_on_none_counts_for_none() {
        for (asks, nodes) in [
            (vec![], None),
            (vec![9], None),
            (vec![6], Some(1)),
            (vec![6, 6, 2], Some(2)),
            (vec![3, 3, 3, 9], Some(2)),
        ] {
            let amounts: Vec<Amount> = asks.iter().map(|cpus| amount(*cpus)).collect();
            assert_eq!(nodes_for(&amounts, amount(8)), nodes, "{asks:?}");
        }
    }
}
