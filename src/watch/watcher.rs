//! The watcher: one look at a cluster after the other, and what people are told of it.
//!
//! ```text
//! glance (does anybody wait?) ──no──▶ again after `look`
//!            └─ yes, or an alert is open, or the last full look is old
//!                 ──▶ full look ──▶ a sighting per kind ──▶ alert::next ──▶ rows and messages
//! ```
//!
//! One replica looks (a lease). A look that is needed so that an alert fires in time is made at that
//! very time, whatever the pause.
//!
//! **Invariant:** what a look changes and what people are told of it is one transaction.
//! **Invariant:** nothing outside is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use super::sightings::{self, SeenHub};
use crate::domain::alert::{
    self, Alert, AlertKind, AlertState, Call, CallRule, Sighting, Silence, Step,
};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::diagnosis::stall::{self, Limits, Memory};
use crate::domain::diagnosis::{Cause, Look, SeenKubernetes};
use crate::domain::ids::{ClusterId, DiscordChannelId};
use crate::domain::message::{MessageKind, Notice, Place, Prepared};
use crate::domain::operation::{Operation, OperationState};
use crate::domain::person::Role;
use crate::looks::{LookError, Looks};
use crate::operations::Services;
use crate::operations::services::address_of;
use crate::store::alerts::{Change, alert_end_key, alert_key};
use crate::store::{Store, StoreError};

/// The lease of the replica that looks.
const LEASE: &str = "watch";

/// How many clusters are looked at at once.
const AT_ONCE: usize = 16;

/// How long the look at one cluster may take; each of its systems has its own limit below it.
const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// How long a hub may take to answer.
const HUB_LIMIT: Duration = Duration::from_secs(20);

/// Helm is asked once in so many full looks whether somebody changed the release by hand.
const DRIFT_IN_FULL_LOOKS: u32 = 12;

/// The shortest pause of the loop.
const SHORTEST: Duration = Duration::from_millis(200);

/// What is watched, and from when on it is told.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// The channel that is told.
    pub channel: DiscordChannelId,
    /// The pause between two looks at a cluster.
    pub look: Duration,
    /// The pause between two full looks at a cluster at which nobody waits.
    pub full: Duration,
    /// When growing counts as stalled.
    pub limits: Limits,
    /// How long a source or a hub may be silent.
    pub blind_after: TimeDelta,
    /// How long a stopped operation may wait for a person.
    pub waits_after: TimeDelta,
    /// How long something must be gone until its alert is over.
    pub resolves_after: TimeDelta,
    /// When people are called again.
    pub calls: CallRule,
    /// What is not watched.
    pub off: BTreeSet<AlertKind>,
}

/// Looks after clusters.
#[derive(Debug)]
pub struct Watcher {
    settings: WatchSettings,
    store: Store,
    services: Arc<Services>,
    looks: Looks,
    replica: String,
    /// When each cluster was last looked at in full, and when it is due again.
    times: Mutex<BTreeMap<ClusterId, Times>>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    full_at: DateTime<Utc>,
    drift_at: Option<DateTime<Utc>>,
    due_at: DateTime<Utc>,
}

impl Times {
    fn never() -> Self {
        Self {
            full_at: DateTime::UNIX_EPOCH,
            drift_at: None,
            due_at: DateTime::UNIX_EPOCH,
        }
    }
}

/// What is known before a cluster is looked at.
struct Known {
    open: Vec<Alert>,
    silences: Vec<Silence>,
    latest: Option<Operation>,
}

impl Watcher {
    /// Over its parts.
    pub fn new(
        settings: WatchSettings,
        store: Store,
        services: Arc<Services>,
        looks: Looks,
        replica: String,
    ) -> Self {
        Self {
            settings,
            store,
            services,
            looks,
            replica,
            times: Mutex::default(),
        }
    }

    /// Looks until the bot ends.
    pub async fn run(self, ended: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            let end = tokio::time::timeout(pause, ended.cancelled()).await;
            if end.is_ok() {
                return;
            }
            if let Err(error) = self.look_at_all().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look after the clusters; the next look follows"
                );
            }
            pause = self.until_due();
        }
    }

    /// Until the next cluster is due.
    fn until_due(&self) -> Duration {
        let now = self.store.clock().now();
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let next = times.values().map(|times| times.due_at).min();
        drop(times);
        let until = next.and_then(|next| (next - now).to_std().ok());
        until
            .unwrap_or_default()
            .clamp(SHORTEST, self.settings.look.max(SHORTEST))
    }

    async fn look_at_all(&self) -> Result<(), StoreError> {
        let lease = self.settings.look * 2 + LOOK_LIMIT;
        if !self.store.take_lease(LEASE, &self.replica, lease).await? {
            self.forget_times(&BTreeSet::new());
            return Ok(());
        }
        let mut clusters = self.store.clusters().await?;
        clusters.retain(|cluster| cluster.phase == Phase::Running);
        self.forget_times(&clusters.iter().map(|cluster| cluster.id).collect());
        let now = self.store.clock().now();
        clusters.retain(|cluster| {
            self.times(cluster.id)
                .is_none_or(|times| times.due_at <= now)
        });
        stream::iter(clusters)
            .for_each_concurrent(AT_ONCE, |cluster| async move {
                let looked =
                    tokio::time::timeout(LOOK_LIMIT, Box::pin(self.look_at(&cluster))).await;
                let failed = match looked {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(_elapsed) => "it took too long".to_owned(),
                };
                tracing::warn!(
                    error = failed,
                    cluster.name = %cluster.name,
                    "could not look after a cluster; the next look follows"
                );
                self.due(cluster.id, self.store.clock().now(), None, None);
            })
            .await;
        Ok(())
    }

    async fn look_at(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let began = self.store.clock().now();
        let known = self.known(cluster).await?;
        let glance = self.looks.glance(cluster).await?;
        if !self.needs_more(cluster, &known, &glance, began) {
            self.due(cluster.id, began, None, None);
            return Ok(());
        }
        let memory = self.store.watched(cluster.id).await?;
        let (seen, hub, drifted) = tokio::join!(
            self.looks.see(cluster),
            self.hub(cluster),
            self.drifted(cluster, &known, began)
        );
        let (seen, drifted) = (seen?, drifted?);
        let limits = &self.settings.limits;
        let memory = memory.after(&seen, limits);
        let scaling = known.of(AlertKind::Scaling);
        let cause = scaling.and_then(|alert| Cause::from_word(alert.finding.cause.as_deref()?));
        let blind_after = self.settings.blind_after;
        let sightings = [
            (
                AlertKind::Scaling,
                stall::scaling(&seen, &memory, cause, limits),
            ),
            (AlertKind::Blind, sightings::blind(&seen, blind_after)),
            (AlertKind::Hub, sightings::hub(hub.as_ref(), blind_after)),
            (
                AlertKind::Certificate,
                sightings::certificate(hub.as_ref(), seen.now),
            ),
            (AlertKind::Drift, sightings::drift(drifted.as_ref())),
            (
                AlertKind::Operation,
                sightings::operation(known.latest.as_ref(), self.settings.waits_after),
            ),
        ];
        self.keep(cluster, &known, &memory, sightings.into())
            .await?;
        Ok(())
    }

    async fn known(&self, cluster: &Cluster) -> Result<Known, StoreError> {
        let name = Some(cluster.name.as_str());
        let latest = self.store.recent_operations(name, 1).await?;
        Ok(Known {
            open: self.store.open_alerts(Some(cluster.id)).await?,
            silences: self.store.silences(cluster.id).await?,
            latest: latest.into_iter().next(),
        })
    }

    /// Whether a glance is not enough.
    fn needs_more(
        &self,
        cluster: &Cluster,
        known: &Known,
        glance: &Look<SeenKubernetes>,
        now: DateTime<Utc>,
    ) -> bool {
        let is_quiet = glance.seen().is_some_and(|seen| {
            seen.waiting.is_empty() && seen.nodes.iter().all(|node| node.ready)
        });
        let full = TimeDelta::from_std(self.settings.full).unwrap_or_default();
        let is_old = self
            .times(cluster.id)
            .is_none_or(|times| now - times.full_at >= full);
        let is_stopped = known
            .latest
            .as_ref()
            .is_some_and(|operation| operation.state == OperationState::Stopped);
        !is_quiet || is_old || is_stopped || !known.open.is_empty()
    }

    /// What the hub says; `None` if the cluster has none.
    async fn hub(&self, cluster: &Cluster) -> Option<SeenHub> {
        let address = address_of(cluster).ok()?;
        let target = self.services.hub_target(cluster, address);
        let check = tokio::time::timeout(HUB_LIMIT, self.services.hubs.check(&target)).await;
        Some(match check {
            Ok(Ok(check)) => Ok(check.certificate_expires_at),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {} s", HUB_LIMIT.as_secs())),
        })
    }

    /// The values that somebody changed by hand; `None` when it is not time to ask helm again, or an
    /// operation changes them just now.
    async fn drifted(
        &self,
        cluster: &Cluster,
        known: &Known,
        now: DateTime<Utc>,
    ) -> Result<Option<Look<Vec<String>>>, LookError> {
        let pause = self.settings.full * DRIFT_IN_FULL_LOOKS;
        let pause = TimeDelta::from_std(pause).unwrap_or_default();
        let is_due = self
            .times(cluster.id)
            .and_then(|times| times.drift_at)
            .is_none_or(|at| now - at >= pause);
        if known.is_busy() || !(is_due || known.of(AlertKind::Drift).is_some()) {
            return Ok(None);
        }
        let drifted = self.looks.drifted(cluster).await?;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times
            .entry(cluster.id)
            .or_insert_with(Times::never)
            .drift_at = Some(now);
        Ok(Some(drifted))
    }

    /// Makes rows and messages of what was seen.
    async fn keep(
        &self,
        cluster: &Cluster,
        known: &Known,
        memory: &Memory,
        sightings: Vec<(AlertKind, Sighting)>,
    ) -> Result<(), StoreError> {
        let now = self.store.clock().now();
        let mut changes = Vec::new();
        let mut due = None;
        for (kind, sighting) in sightings {
            let open = known.of(kind);
            // What was switched off is over.
            let sighting = if self.settings.off.contains(&kind) {
                Sighting::Gone
            } else {
                sighting
            };
            let look = alert::Look {
                cluster: cluster.id,
                kind,
                sighting,
                held: kind != AlertKind::Operation && known.is_busy(),
                resolves_after: self.settings.resolves_after,
                now,
            };
            let step = alert::next(open, &look);
            let change = self.change(cluster, known, open, step);
            let after = change.as_ref().map(|change| &change.alert).or(open);
            due = [due, alert::due(after, &look.sighting)]
                .into_iter()
                .flatten()
                .min();
            changes.extend(change);
        }
        self.store.keep_look(cluster.id, memory, &changes).await?;
        self.due(cluster.id, now, due, Some(now));
        Ok(())
    }

    /// The row of an alert and what people are told of it, if anything is new.
    fn change(
        &self,
        cluster: &Cluster,
        known: &Known,
        open: Option<&Alert>,
        step: Step,
    ) -> Option<Change> {
        let (mut alert, is_new) = match (step, open) {
            (Step::Forget, Some(open)) => {
                return Some(Change {
                    alert: open.clone(),
                    is_forgotten: true,
                    entered: None,
                    tells: Vec::new(),
                });
            }
            (Step::Become(alert), _) => (*alert, true),
            (Step::Stay, Some(open)) => (open.clone(), false),
            (Step::Stay | Step::Forget, None) => return None,
        };
        let now = self.store.clock().now();
        let is_silenced = known
            .silences
            .iter()
            .any(|silence| silence.holds(alert.kind, now));
        let call = alert::call(&alert, is_silenced, &self.settings.calls, now);
        if !is_new && call.is_none() {
            return None;
        }
        if let Some(call) = call {
            let times = match call {
                Call::First => 0,
                Call::Again(times) => times,
            };
            alert.called = Some((now, times));
        }
        let before = open.map(|open| open.state);
        let entered = Some(alert.state).filter(|state| before != Some(*state));
        Some(Change {
            tells: self.tells(cluster, &alert, entered, call),
            is_forgotten: false,
            entered,
            alert,
        })
    }

    fn tells(
        &self,
        cluster: &Cluster,
        alert: &Alert,
        entered: Option<AlertState>,
        call: Option<Call>,
    ) -> Vec<(String, MessageKind, Place)> {
        // Nobody was told of it yet: nobody is told of its end.
        if alert.called.is_none() {
            return Vec::new();
        }
        let key = alert_key(alert.id);
        let place = Place::Channel(self.settings.channel);
        let mut tells = vec![(key.clone(), MessageKind::Alert(alert.id), place)];
        if entered == Some(AlertState::Resolved) {
            tells.push((
                alert_end_key(alert.id),
                MessageKind::AlertEnd(alert.id),
                Place::ReplyTo(key.clone()),
            ));
        }
        if let Some(Call::Again(times)) = call {
            let notice = again(cluster, alert, times);
            let kind = MessageKind::Notice(notice);
            tells.push((format!("{key}/again/{times}"), kind, Place::ReplyTo(key)));
        }
        tells
    }

    fn times(&self, cluster: ClusterId) -> Option<Times> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.get(&cluster).copied()
    }

    /// When a cluster is looked at next: after the pause, or when an alert fires if that is sooner.
    fn due(
        &self,
        cluster: ClusterId,
        now: DateTime<Utc>,
        fires_at: Option<DateTime<Utc>>,
        full_at: Option<DateTime<Utc>>,
    ) {
        let pause = TimeDelta::from_std(self.settings.look).unwrap_or_default();
        let after = now + pause;
        let due_at = fires_at
            .filter(|at| *at > now)
            .map_or(after, |at| at.min(after));
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = times.entry(cluster).or_insert_with(Times::never);
        times.due_at = due_at;
        times.full_at = full_at.unwrap_or(times.full_at);
    }

    fn forget_times(&self, but: &BTreeSet<ClusterId>) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.retain(|cluster, _| but.contains(cluster));
    }
}

impl Known {
    fn of(&self, kind: AlertKind) -> Option<&Alert> {
        self.open.iter().find(|alert| alert.kind == kind)
    }

    /// Whether an operation is at work that may explain what is seen.
    fn is_busy(&self) -> bool {
        self.latest.as_ref().is_some_and(|operation| {
            matches!(
                operation.state,
                OperationState::Queued | OperationState::Running | OperationState::Waiting
            )
        })
    }
}

/// The call when nobody has taken an alert on.
fn again(cluster: &Cluster, alert: &Alert, times: u32) -> Notice {
    let ack = Prepared {
        command: "alerts ack".to_owned(),
        options: vec![("alert".to_owned(), alert.id.short())],
    };
    Notice {
        title: format!("{}: {}, still", cluster.name, alert.finding.title),
        text: format!(
            "since <t:{}:R>, and nobody has taken it on\nhint: the message above says why and what to do; call {}",
            alert.since.timestamp(),
            times + 1
        ),
        mention_users: vec![cluster.owner],
        mention_roles: vec![Role::Operator, Role::Approver],
        review_of: None,
        remedies: vec![ack],
    }
}
