//! Counts nodes and pods of every running cluster at a fixed pace.
//!
//! One replica samples (a lease). A cluster that does not answer has no sample for that moment: the
//! picture shows a gap, never a guess.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::domain::cluster::{Cluster, Phase};
use crate::operations::clues::of_kubernetes;
use crate::operations::{Services, StepError};
use crate::services::kubernetes::{Kubernetes, NodeState, PodState, sample};
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

/// The lease of the replica that samples.
const LEASE: &str = "samples";

/// How long one cluster may take.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// How many clusters are looked at at once.
const AT_ONCE: usize = 16;

/// Samples clusters.
#[derive(Clone, Debug)]
pub struct Sampler {
    store: Store,
    vault: Vault,
    services: Arc<Services>,
    replica: String,
    pause: Duration,
}

impl Sampler {
    /// Over its parts; it samples every `pause`.
    pub fn new(
        store: Store,
        vault: Vault,
        services: Arc<Services>,
        replica: String,
        pause: Duration,
    ) -> Self {
        Self {
            store,
            vault,
            services,
            replica,
            pause,
        }
    }

    /// Samples until the bot ends.
    pub async fn run(self, ended: CancellationToken) {
        let mut ticks = tokio::time::interval(self.pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.sample_all().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not sample the clusters; the next look follows"
                );
            }
        }
    }

    async fn sample_all(&self) -> Result<(), StoreError> {
        let lease = self.pause * 3 + LOOK_LIMIT;
        if !self.store.take_lease(LEASE, &self.replica, lease).await? {
            return Ok(());
        }
        let mut clusters = self.store.clusters().await?;
        clusters.retain(|cluster| cluster.phase == Phase::Running);
        let sampled: Vec<Result<(), StoreError>> = stream::iter(clusters)
            .map(|cluster| async move { self.sample(&cluster).await })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        sampled.into_iter().collect::<Result<(), StoreError>>()?;
        self.store.forget_old_samples().await
    }

    async fn sample(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let look = tokio::time::timeout(LOOK_LIMIT, self.look(cluster)).await;
        let (nodes, pods) = match look {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    cluster.name = %cluster.name,
                    "could not sample a cluster"
                );
                return Ok(());
            }
            Err(_elapsed) => return Ok(()),
        };
        let sample = sample(self.store.clock().now(), &nodes, &pods);
        self.store.keep_sample(cluster.id, &sample).await
    }

    async fn look(&self, cluster: &Cluster) -> Result<(Vec<NodeState>, Vec<PodState>), StepError> {
        let frontend = self.services.frontend(cluster, &self.vault).await?;
        let kubernetes = Kubernetes::connect(frontend).await.map_err(of_kubernetes)?;
        let namespace = &self.services.settings.helm.namespace;
        let nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
        let pods = kubernetes.pods(Some(namespace)).await;
        Ok((nodes, pods.map_err(of_kubernetes)?))
    }
}
