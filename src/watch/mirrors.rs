//! The clusters that this replica watches, and what Kubernetes shows of each.
//!
//! ```text
//! share of the replica ──▶ a mirror for each cluster ──▶ connect ──▶ lists, then changes
//!                                                          ▲              │ lost
//!                                                          └── a pause ◀──┘
//! ```
//!
//! Replicas share the clusters ([`Store::take_shares`]). Each cluster has one connection, which comes
//! back by itself. [`Watcher`](super::Watcher) and [`Sampler`](super::Sampler) read the mirrors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::mirror::Mirror;
use crate::domain::cluster::Cluster;
use crate::domain::ids::ClusterId;
use crate::operations::clues::of_kubernetes;
use crate::operations::{Services, StepError};
use crate::services::kubernetes::Kubernetes;
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

/// The pause between two times at which a replica says what it watches.
const SHARE_EVERY: Duration = Duration::from_secs(3);

/// How long others wait for a replica that says nothing.
const SHARE_LASTS: Duration = Duration::from_secs(12);

/// After this long without a change the API is asked whether it is there.
const ASK_AFTER: Duration = Duration::from_secs(30);

/// How many clusters are listed at once; what comes whole takes memory until it is reduced.
const LISTED_AT_ONCE: usize = 8;

/// How long the first lists may take.
const LISTS_LIMIT: Duration = Duration::from_secs(60);

/// The pause before a connection is made anew that nobody wants to see sooner.
const PAUSE: Duration = Duration::from_secs(30);

/// A cluster of this replica.
#[derive(Clone, Debug)]
pub struct Watched {
    /// As it is in the inventory, a few seconds old at most.
    pub cluster: Arc<Cluster>,
    /// What its Kubernetes shows.
    pub mirror: Arc<Mirror>,
}

/// The clusters of this replica.
#[derive(Debug)]
pub struct Mirrors {
    store: Store,
    vault: Vault,
    services: Arc<Services>,
    replica: String,
    watched: Mutex<BTreeMap<ClusterId, Watched>>,
    /// Those in which something turned since they were last asked for.
    turned: Mutex<BTreeSet<ClusterId>>,
    turn: Notify,
    lists: Semaphore,
}

impl Mirrors {
    /// Of none, until they run.
    pub fn new(store: Store, vault: Vault, services: Arc<Services>, replica: String) -> Self {
        Self {
            store,
            vault,
            services,
            replica,
            watched: Mutex::default(),
            turned: Mutex::default(),
            turn: Notify::new(),
            lists: Semaphore::new(LISTED_AT_ONCE),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub(super) fn replica(&self) -> &str {
        &self.replica
    }

    /// The clusters of this replica, by their ids.
    pub fn all(&self) -> Vec<Watched> {
        self.watched().values().cloned().collect()
    }

    /// One of them, if it is still this replica's.
    pub fn of(&self, cluster: ClusterId) -> Option<Watched> {
        self.watched().get(&cluster).cloned()
    }

    /// Waits until it is time to look at clusters, because somebody began or ceased to wait there,
    /// or a node did to be ready; which they are.
    pub async fn turned(&self) -> BTreeSet<ClusterId> {
        self.turn.notified().await;
        let mut turned = self.turned.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *turned)
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<ClusterId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the clusters until the bot ends.
    pub async fn run(self: Arc<Self>, ended: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut ends: BTreeMap<ClusterId, CancellationToken> = BTreeMap::new();
        let mut ticks = tokio::time::interval(SHARE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => break,
                _ = ticks.tick() => {}
            }
            while tasks.try_join_next().is_some() {}
            // Without the database nobody else can take them: what is followed stays so.
            match self.store.take_shares(&self.replica, SHARE_LASTS).await {
                Err(error) => report(&error),
                Ok(clusters) => {
                    let new = self.replace(clusters);
                    ends.retain(|id, end| {
                        let stays = self.of(*id).is_some();
                        if !stays {
                            end.cancel();
                        }
                        stays
                    });
                    for one in new {
                        let end = ended.child_token();
                        ends.insert(one.cluster.id, end.clone());
                        tasks.spawn(Arc::clone(&self).follow(one, end));
                    }
                }
            }
        }
        tasks.shutdown().await;
        if let Err(error) = self.store.give_shares_back(&self.replica).await {
            report(&error);
        }
    }

    /// Takes the clusters of the share; those that are new.
    fn replace(&self, clusters: Vec<Cluster>) -> Vec<Watched> {
        let namespace = &self.services.settings.helm.namespace;
        let mut watched = self.watched();
        let mut new = Vec::new();
        let mut now = BTreeMap::new();
        for cluster in clusters {
            let id = cluster.id;
            let old = watched.remove(&id);
            let mirror = old.as_ref().map(|old| Arc::clone(&old.mirror));
            let one = Watched {
                cluster: Arc::new(cluster),
                mirror: mirror.unwrap_or_else(|| Arc::new(Mirror::new(namespace))),
            };
            if old.is_none() {
                new.push(one.clone());
            }
            now.insert(id, one);
        }
        *watched = now;
        new
    }

    /// Follows a cluster, over one connection after the other.
    async fn follow(self: Arc<Self>, one: Watched, ended: CancellationToken) {
        loop {
            let lost = tokio::select! {
                () = ended.cancelled() => return,
                lost = self.follow_once(&one) => lost,
            };
            let why = match &lost {
                Ok(()) => "Kubernetes ended the watch".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            tracing::debug!(cluster.name = %one.cluster.name, error = why, "lost sight of a cluster");
            one.mirror.lose(&why);
            self.turn(one.cluster.id);
            tokio::select! {
                () = ended.cancelled() => return,
                () = one.mirror.wanted() => {}
                () = sleep_until(Instant::now() + PAUSE) => {}
            }
        }
    }

    async fn follow_once(&self, one: &Watched) -> anyhow::Result<()> {
        let id = one.cluster.id;
        // As it is now: its address may be another one since the last connection.
        let cluster = self.of(id).context("another replica watches it")?.cluster;
        let kubernetes = self.connect(&cluster).await.map_err(of_step)?;
        let mut listing = Some(self.lists.acquire().await?);
        let mut changes = kubernetes.watch();
        let listed_by = Instant::now() + LISTS_LIMIT;
        let mut ask_at = Instant::now() + ASK_AFTER;
        loop {
            tokio::select! {
                change = changes.next() => {
                    let Some(change) = change else {
                        return Ok(());
                    };
                    if one.mirror.take(change?) {
                        self.turn(id);
                    }
                    if one.mirror.is_live() {
                        drop(listing.take());
                    }
                    ask_at = Instant::now() + ASK_AFTER;
                }
                () = sleep_until(ask_at) => {
                    kubernetes.version().await?;
                    ask_at = Instant::now() + ASK_AFTER;
                }
                () = sleep_until(listed_by), if !one.mirror.is_live() => {
                    anyhow::bail!("its lists took longer than {} s", LISTS_LIMIT.as_secs());
                }
            }
        }
    }

    async fn connect(&self, cluster: &Cluster) -> Result<Kubernetes, StepError> {
        let frontend = self.services.frontend(cluster, &self.vault).await?;
        Kubernetes::connect(frontend).await.map_err(of_kubernetes)
    }

    fn turn(&self, cluster: ClusterId) {
        let mut turned = self.turned.lock().unwrap_or_else(PoisonError::into_inner);
        turned.insert(cluster);
        drop(turned);
        self.turn.notify_one();
    }
}

fn of_step(error: StepError) -> anyhow::Error {
    anyhow::Error::msg(error.for_people())
}

fn report(error: &StoreError) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "could not share the clusters to watch; the next try follows"
    );
}
