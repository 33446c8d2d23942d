//! How many nodes each cluster lacks, for the picture of its alerts.
//!
//! Kept when it changes; the next sample adds it to the nodes that are ready.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::cluster::Cluster;
use crate::domain::deploy::DeployOptions;
use crate::domain::diagnosis::{Amount, SeenKubernetes, wanted};
use crate::domain::ids::ClusterId;
use crate::store::{Store, StoreError};

/// What is known of one cluster.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The VMs that are on their way.
    coming: usize,
    /// What was last kept.
    kept: Option<u32>,
}

/// Counts the nodes that clusters lack.
#[derive(Debug)]
pub(super) struct NodesWanted {
    store: Store,
    known: Mutex<BTreeMap<ClusterId, Known>>,
}

impl NodesWanted {
    /// Over the store.
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// What is not watched here any more may be counted elsewhere.
    pub(super) fn forget(&self, cluster: ClusterId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&cluster);
    }

    /// Takes in how many VMs of a cluster are on their way.
    pub(super) fn coming(&self, cluster: ClusterId, vms: usize) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(cluster).or_default().coming = vms;
    }

    /// Takes in what Kubernetes shows, and keeps what that means if it is something else than
    /// before.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn seen(
        &self,
        cluster: &Cluster,
        kubernetes: &SeenKubernetes,
    ) -> Result<(), StoreError> {
        let needed = wanted::missing(kubernetes, flavour(cluster));
        let before = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&cluster.id).copied().unwrap_or_default()
        };
        let missing = u32::try_from(needed.max(before.coming)).unwrap_or(u32::MAX);
        if before.kept == Some(missing) {
            return Ok(());
        }
        self.store.keep_nodes_missing(cluster.id, missing).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(cluster.id).or_default().kept = Some(missing);
        Ok(())
    }
}

/// The size of workers as the cluster was deployed.
fn flavour(cluster: &Cluster) -> Option<Amount> {
    let options: DeployOptions = serde_json::from_value(cluster.options.clone()).ok()?;
    Some(Amount {
        cpu_milli: u64::from(options.worker.cpus) * 1000,
        memory: options.worker.memory.bytes(),
    })
}
