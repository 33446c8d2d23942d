//! Proves cures: starts a server of a test user once an alert of the growing is over, and deletes
//! it. The machine is [`crate::domain::proof`].
//!
//! It is the one thing that the bot does without being asked, so it is small: only where an operator
//! gave a token of a test user, only that user's own server, only one that was not there before. The
//! row says so before the hub is asked; a bot that was killed goes on from what it finds.
//!
//! One replica proves (a lease).

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::services::{Services, address_of};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::proof::{HubUser, Next, Outcome, Proof, ProofState, next};
use crate::services::hub::HubTarget;
use crate::store::secrets::SecretOwner;
use crate::store::vault::{HUB_TOKEN, Vault, VaultError};
use crate::store::{Store, StoreError};

/// The lease of the replica that proves.
const LEASE: &str = "proofs";

/// A pause is so many times the pause between two looks of a step.
const PAUSE_IN_POLLS: u32 = 2;

/// How long a hub may take to answer.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Proves cures.
#[derive(Clone, Debug)]
pub struct Prover {
    store: Store,
    vault: Vault,
    services: Arc<Services>,
    replica: String,
    limit: TimeDelta,
}

/// A test user and the way to the hub.
struct Way {
    target: HubTarget,
    token: SecretString,
}

impl Prover {
    /// Over its parts; a server must be ready within `limit`.
    pub fn new(
        store: Store,
        vault: Vault,
        services: Arc<Services>,
        replica: String,
        limit: TimeDelta,
    ) -> Self {
        Self {
            store,
            vault,
            services,
            replica,
            limit,
        }
    }

    /// Proves until the bot ends.
    pub async fn run(self, ended: CancellationToken) {
        let pause = self.services.settings.poll * PAUSE_IN_POLLS;
        let pause = pause.max(Duration::from_millis(500));
        let mut looks = tokio::time::interval(pause);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = looks.tick() => {}
            }
            if let Err(error) = self.prove_all(pause).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not prove cures; the next look follows"
                );
            }
        }
    }

    async fn prove_all(&self, pause: Duration) -> Result<(), VaultError> {
        let lease = pause * 3 + CALL_LIMIT * 4;
        if !self.store.take_lease(LEASE, &self.replica, lease).await? {
            return Ok(());
        }
        self.store.make_proofs().await?;
        let proofs = self.store.open_proofs().await?;
        let proofs = proofs.into_iter().map(|proof| self.prove(proof));
        let proved = futures::future::join_all(proofs).await;
        proved.into_iter().collect()
    }

    /// One look at one proof.
    async fn prove(&self, proof: Proof) -> Result<(), VaultError> {
        let Some(way) = self.way(&proof).await? else {
            let why = "the test user or the hub is gone";
            return Ok(self.give_up(proof, why).await?);
        };
        let seen = within(self.services.hubs.user_of(&way.target, &way.token));
        let seen = seen.await;
        let is_other = |user: &HubUser| proof.user.as_ref().is_some_and(|own| *own != user.name);
        if seen.as_ref().is_ok_and(is_other) {
            let why = "the token is another user's by now";
            return Ok(self.give_up(proof, why).await?);
        }
        let now = self.store.clock().now();
        let server = seen.as_ref().map(|user| user.server);
        match (next(&proof, server.map_err(String::as_str), now), seen) {
            (Next::Start, Ok(user)) => self.start(proof, &way, &user).await?,
            (Next::Stop(outcome, said), user) => {
                let said = (outcome, said);
                self.stop(proof, &way, (user.ok(), said)).await?;
            }
            (Next::End(outcome, said), _) => self.end(proof, outcome, said).await?,
            (Next::Wait | Next::Start, _) => {}
        }
        Ok(())
    }

    /// The way to the hub of a proof; `None` if there is none any more.
    async fn way(&self, proof: &Proof) -> Result<Option<Way>, VaultError> {
        let cluster = self.store.cluster(proof.cluster).await?;
        let is_running = |cluster: &Cluster| cluster.phase == Phase::Running;
        let Some(cluster) = cluster.filter(is_running) else {
            return Ok(None);
        };
        let owner = SecretOwner::Cluster(cluster.id);
        let token = self.vault.get(&owner, HUB_TOKEN).await?;
        let address = address_of(&cluster).ok();
        Ok(token.zip(address).map(|(token, address)| Way {
            target: self.services.hub_target(&cluster, address),
            token,
        }))
    }

    /// Keeps that a server is to be there, then asks for it, then keeps that the hub took it.
    async fn start(&self, proof: Proof, way: &Way, user: &HubUser) -> Result<(), StoreError> {
        let now = self.store.clock().now();
        let intent = Proof {
            state: ProofState::Starting,
            deadline: proof.deadline.or(Some(now + self.limit)),
            user: Some(user.name.clone()),
            ..proof.clone()
        };
        if !self.store.keep_proof(proof.state, &intent).await? {
            return Ok(());
        }
        let hubs = &self.services.hubs;
        let asked = hubs.start_server(&way.target, &way.token, &user.name);
        match within(asked).await {
            Ok(()) => {
                let taken = Proof {
                    asked_at: Some(now),
                    ..intent
                };
                self.store.keep_proof(ProofState::Starting, &taken).await?;
                Ok(())
            }
            // The next look sees whether it was taken all the same, and asks again if not.
            Err(why) => {
                tracing::debug!(error = why, "a test server was not asked for");
                Ok(())
            }
        }
    }

    /// Keeps what was seen and that the server is to go, then deletes it.
    async fn stop(
        &self,
        proof: Proof,
        way: &Way,
        (user, said): (Option<HubUser>, (Outcome, String)),
    ) -> Result<(), StoreError> {
        let intent = Proof {
            state: ProofState::Stopping,
            outcome: Some(said),
            ..proof.clone()
        };
        if !self.store.keep_proof(proof.state, &intent).await? {
            return Ok(());
        }
        let Some(user) = user else { return Ok(()) };
        let hubs = &self.services.hubs;
        let gone = hubs.stop_server(&way.target, &way.token, &user.name);
        if let Err(why) = within(gone).await {
            // A hub refuses it while the server starts; the next look tries again.
            tracing::debug!(error = why, "a test server was not deleted yet");
        }
        Ok(())
    }

    /// Ends a proof that can't go on.
    async fn give_up(&self, proof: Proof, why: &str) -> Result<(), StoreError> {
        match proof.user.clone() {
            None => self.end(proof, Outcome::NotTried, why.to_owned()).await,
            Some(user) => {
                let left = format!("{why}; the server of `{user}` may be left");
                self.end(proof, Outcome::Failed, left).await
            }
        }
    }

    async fn end(&self, proof: Proof, outcome: Outcome, said: String) -> Result<(), StoreError> {
        let over = Proof {
            state: ProofState::Done,
            outcome: Some((outcome, said)),
            ..proof.clone()
        };
        self.store.keep_proof(proof.state, &over).await.map(drop)
    }
}

/// What a call gave, or why it did not, in words.
async fn within<T, E: std::fmt::Display>(
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", CALL_LIMIT.as_secs())),
    }
}
