//! The watch on the tokens of front ends: tells the channel before one ends.
//!
//! One replica looks (a lease), at each cluster that is watched, and tells once per token: the
//! notice's key has the token's end in it, so that a second look or another replica after a crash
//! tells nothing twice. A front end that does not answer is looked at again the next time.
//!
//! **Invariant:** nothing is changed on a front end, and no renewal is started.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use super::error::StepError;
use super::services::{Services, of_ec3};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::message::{MessageKind, Notice, Place, Prepared};
use crate::domain::person::Role;
use crate::domain::token::TokenWatch;
use crate::services::checkin::read_facts;
use crate::services::ec3::Ec3;
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

/// The lease of the replica that looks.
const LEASE: &str = "token-watch";

/// A pause is so many times the pause between two looks of a step.
const PAUSE_IN_POLLS: u32 = 10;

/// How long one front end may take.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// How many front ends are looked at at once.
const AT_ONCE: usize = 16;

/// Looks after tokens.
#[derive(Clone, Debug)]
pub struct TokenWatcher {
    store: Store,
    vault: Vault,
    services: Arc<Services>,
    replica: String,
}

impl TokenWatcher {
    /// Over its parts.
    pub fn new(store: Store, vault: Vault, services: Arc<Services>, replica: String) -> Self {
        Self {
            store,
            vault,
            services,
            replica,
        }
    }

    /// Looks until the bot ends.
    pub async fn run(self, ended: CancellationToken) {
        let pause = self.services.settings.poll * PAUSE_IN_POLLS;
        let mut looks = tokio::time::interval(pause.max(Duration::from_secs(1)));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = looks.tick() => {}
            }
            if let Err(error) = self.look(pause).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look after tokens; the next look follows"
                );
            }
        }
    }

    async fn look(&self, pause: Duration) -> Result<(), StoreError> {
        let lease = pause * 3 + LOOK_LIMIT;
        if !self.store.take_lease(LEASE, &self.replica, lease).await? {
            return Ok(());
        }
        let watches = self.store.facts_below(TokenWatch::PREFIX).await?;
        let mut looks = Vec::new();
        for (key, value) in watches {
            let watch: Option<TokenWatch> = serde_json::from_str(&value).ok();
            let cluster = match TokenWatch::cluster(&key) {
                Some(id) => self.store.cluster(id).await?,
                None => None,
            };
            if let (Some(watch), Some(cluster)) = (watch, cluster)
                && cluster.phase == Phase::Running
            {
                looks.push(self.look_at(cluster, watch));
            }
        }
        let looked: Vec<Result<(), StoreError>> = stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        looked.into_iter().collect()
    }

    async fn look_at(&self, cluster: Cluster, watch: TokenWatch) -> Result<(), StoreError> {
        let ends_at = match tokio::time::timeout(LOOK_LIMIT, self.ends_at(&cluster)).await {
            Ok(Ok(ends_at)) => ends_at,
            Ok(Err(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    cluster.name = %cluster.name,
                    "could not read a front end's token"
                );
                return Ok(());
            }
            Err(_elapsed) => return Ok(()),
        };
        let now = self.store.clock().now();
        let Some(ends_at) = ends_at.filter(|at| *at - now < TimeDelta::minutes(watch.minutes))
        else {
            return Ok(());
        };
        let key = format!("token-watch/{}/{}", cluster.id, ends_at.timestamp());
        if self.store.message(&key).await?.is_some() {
            return Ok(());
        }
        let notice = MessageKind::Notice(notice(&cluster, &watch, (ends_at, now)));
        let place = Place::Channel(watch.channel);
        self.store.tell(&key, &notice, &place).await
    }

    /// When the token ends; `None` if it does not say so.
    async fn ends_at(&self, cluster: &Cluster) -> Result<Option<DateTime<Utc>>, StepError> {
        let frontend = self.services.frontend(cluster, &self.vault).await?;
        let auth = Ec3::of(&frontend).auth().await.map_err(of_ec3)?;
        Ok(read_facts(&auth.token()).map(|facts| facts.ends_at))
    }
}

fn notice(
    cluster: &Cluster,
    watch: &TokenWatch,
    (ends_at, now): (DateTime<Utc>, DateTime<Utc>),
) -> Notice {
    let at = ends_at.timestamp();
    let (title, text) = if ends_at <= now {
        (
            format!("The access token of {} has ended", cluster.name),
            format!("It ended <t:{at}:R>: the cluster can't add nodes"),
        )
    } else {
        (
            format!("The access token of {} ends soon", cluster.name),
            format!("It ends <t:{at}:R> and was not refreshed: then the cluster can't add nodes"),
        )
    };
    Notice {
        title,
        text: format!(
            "{text}\nhint: `/pangeo token renew name:{}`; `/pangeo token status` says more",
            cluster.name
        ),
        mention_users: vec![watch.set_by],
        mention_roles: vec![Role::Operator],
        review_of: None,
        remedies: vec![Prepared::about("token renew", cluster.name.as_str())],
    }
}
