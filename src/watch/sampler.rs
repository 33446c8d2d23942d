//! Counts nodes and pods of every running cluster at a fixed pace.
//!
//! Each replica counts those that it watches. A cluster that can't be seen has no sample for that
//! moment: the picture shows a gap, never a guess.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Mirrors;
use crate::store::{Store, StoreError};

/// Samples clusters.
#[derive(Clone, Debug)]
pub struct Sampler {
    store: Store,
    mirrors: Arc<Mirrors>,
    pause: Duration,
}

impl Sampler {
    /// Over its parts; it samples every `pause`.
    pub fn new(store: Store, mirrors: Arc<Mirrors>, pause: Duration) -> Self {
        Self {
            store,
            mirrors,
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
        for one in self.mirrors.all() {
            if let Some(sample) = one.mirror.sample(self.store.clock().now()) {
                self.store.keep_sample(one.cluster.id, &sample).await?;
            }
        }
        self.store.forget_old_samples().await
    }
}
