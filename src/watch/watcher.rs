//! The watcher: one look at a cluster after the other, and what people are told of it.
//!
//! ```text
//! glance (does anybody wait?) ──no──▶ again after `look`, or when that turns
//!            └─ yes, or an alert is open, or the last full look is old
//!                 ──▶ full look ──▶ a sighting per kind ──▶ alert::next ──▶ rows and messages
//! ```
//!
//! Each replica looks at the clusters of its share ([`Mirrors`]). A glance costs nothing: what Kubernetes
//! shows is here. A look that is needed so that an alert fires in time is made at that very time,
//! whatever the pause, and one when somebody begins or ceases to wait soon after that.
//!
//! **Invariant:** what a look changes and what people are told of it is one transaction.
//! **Invariant:** nothing outside is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::beside::BesideEyes;
use super::judging::{self, Known, Looked};
use super::mirrors::{Mirrors, Watched};
use super::moment::Moment;
use super::settings::WatchSettings;
use super::sightings::SeenHub;
use super::telling::{self, Teller};
use super::wanted::NodesWanted;
use crate::domain::alert::{self, AlertKind, AlertState, Sighting};
use crate::domain::cluster::Cluster;
use crate::domain::diagnosis::stall::Memory;
use crate::domain::diagnosis::{Look, SeenKubernetes};
use crate::domain::ids::ClusterId;
use crate::domain::message::{MessageKind, Place};
use crate::domain::metrics::{self, Metrics};
use crate::domain::token::TokenWatch;
use crate::looks::{LookError, Looks};
use crate::operations::Services;
use crate::operations::services::address_of;
use crate::store::ends::Ends;
use crate::store::{Store, StoreError};

/// The lease of the replica that does what is done once for all clusters.
const LEASE: &str = "watch";

/// How often that is done.
const LEAD_EVERY: TimeDelta = TimeDelta::seconds(3);

/// How long the lease holds.
const LEAD_LASTS: Duration = Duration::from_secs(12);

/// A cluster in which something turns all the time is looked at in this pause.
const TURN_PAUSE: TimeDelta = TimeDelta::seconds(4);

/// How many clusters are looked at at once; one that does not answer holds a place for its limit.
const AT_ONCE: usize = 64;

/// How long the look at one cluster may take; each of its systems has its own limit below it.
const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// How long the first look at Kubernetes may take.
const GLANCE_LIMIT: Duration = Duration::from_secs(20);

/// How long a hub may take to answer.
const HUB_LIMIT: Duration = Duration::from_secs(20);

/// Helm is asked once in so many full looks whether somebody changed the release by hand.
const DRIFT_IN_FULL_LOOKS: u32 = 12;

/// Nobody has looked for so many full looks: the bot was away.
const AWAY_IN_FULL_LOOKS: u32 = 3;

/// The pause between two words to the dead man's switch.
const TELL_SWITCH_EVERY: TimeDelta = TimeDelta::seconds(60);

/// The shortest pause of the loop.
const SHORTEST: Duration = Duration::from_millis(200);

/// Looks after clusters.
#[derive(Debug)]
pub struct Watcher {
    settings: WatchSettings,
    store: Store,
    services: Arc<Services>,
    looks: Looks,
    beside: BesideEyes,
    mirrors: Arc<Mirrors>,
    wanted: NodesWanted,
    replica: String,
    metrics: Metrics,
    /// When each cluster was last looked at in full, and when it is due again.
    times: Mutex<BTreeMap<ClusterId, Times>>,
    /// When the clock was set last.
    set_at: Mutex<Option<DateTime<Utc>>>,
    /// Whoever tells something.
    turn: tokio::sync::Mutex<()>,
    at_once: Semaphore,
}

#[derive(Clone, Debug)]
struct Times {
    name: String,
    looked_at: DateTime<Utc>,
    full_at: DateTime<Utc>,
    drift_at: Option<DateTime<Utc>>,
    due_at: DateTime<Utc>,
}

impl Times {
    fn never(cluster: &Cluster) -> Self {
        Self {
            name: cluster.name.to_string(),
            looked_at: DateTime::UNIX_EPOCH,
            full_at: DateTime::UNIX_EPOCH,
            drift_at: None,
            due_at: DateTime::UNIX_EPOCH,
        }
    }
}

impl Watcher {
    /// Over its parts.
    pub fn new(settings: WatchSettings, looks: Looks, mirrors: Arc<Mirrors>) -> Self {
        let (rules, full) = (settings.beside.clone(), settings.full);
        let services = Arc::clone(mirrors.services());
        Self {
            wanted: NodesWanted::new(mirrors.store().clone()),
            beside: BesideEyes::new(rules, looks.clone(), services.clone(), full),
            settings,
            store: mirrors.store().clone(),
            services,
            looks,
            replica: mirrors.replica().to_owned(),
            mirrors,
            metrics: Metrics::new(),
            times: Mutex::default(),
            set_at: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    /// Shows there what is seen.
    #[must_use]
    pub fn counted_by(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Looks until the bot ends. A cluster that is slow to answer holds no other up.
    pub async fn run(self, ended: CancellationToken) {
        let (mut told_at, mut led_at) = (None, None);
        // Since when nobody has looked, until that is told; asked just before the first look.
        let (mut before, mut is_first) = (None, true);
        let (mut looking, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
        let mut next_at = Instant::now();
        let mut moment = self.moment();
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                Some(looked) = looking.next() => {
                    busy.remove(&looked);
                    if busy.is_empty()
                        && let Some(last) = before.take()
                    {
                        report(self.tell_absence(last).await);
                    }
                }
                turned = self.mirrors.turned() => turned.iter().for_each(|id| self.hurry(*id)),
                () = sleep_until(next_at) => {
                    moment = self.count_from(moment);
                    let new = self.due_clusters().into_iter();
                    let new: Vec<Watched> = new.filter(|one| busy.insert(one.cluster.id)).collect();
                    if is_first && !new.is_empty() {
                        is_first = false;
                        before = self.store.last_look().await.ok().flatten();
                    }
                    let new = new.into_iter();
                    looking.extend(new.map(|one| self.look_in_time(one, moment)));
                    match self.lead(&mut led_at).await {
                        Ok(true) => self.tell_switch(&mut told_at).await,
                        Ok(false) => {}
                        Err(error) => report(Err(error)),
                    }
                }
            }
            next_at = Instant::now() + self.until_due();
        }
    }

    fn moment(&self) -> Moment {
        Moment::now(self.store.clock())
    }

    /// The moment now. If the clock was set since the last one, all times are counted from now on: how
    /// long something has waited is not known.
    fn count_from(&self, last: Moment) -> Moment {
        let now = self.moment();
        if let Some(by) = last.set_until(&now) {
            tracing::warn!(
                by_s = by.num_seconds(),
                "the clock was set; what is watched is counted from now on"
            );
            let mut set_at = self.set_at.lock().unwrap_or_else(PoisonError::into_inner);
            *set_at = Some(now.day);
        }
        now
    }

    /// Does what one replica does for all; whether this is the one.
    async fn lead(&self, led_at: &mut Option<DateTime<Utc>>) -> Result<bool, StoreError> {
        let now = self.store.clock().now();
        if led_at.is_some_and(|at| (now - at).abs() < LEAD_EVERY) {
            return Ok(false);
        }
        *led_at = Some(now);
        let lease = self.store.take_lease(LEASE, &self.replica, LEAD_LASTS);
        let leads = lease.await?;
        if leads {
            self.store.end_alerts_of_removed().await?;
        }
        Ok(leads)
    }

    /// Tells the dead man's switch, once a minute; that it does not answer is logged and nothing else.
    async fn tell_switch(&self, told_at: &mut Option<DateTime<Utc>>) {
        let now = self.store.clock().now();
        let Some(switch) = &self.settings.switch else {
            return;
        };
        if told_at.is_some_and(|at| (now - at).abs() < TELL_SWITCH_EVERY) {
            return;
        }
        *told_at = Some(now);
        if let Err(error) = switch.tell().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not tell `watch.ping_url` that all is looked at"
            );
        }
    }

    /// Tells that nobody looked for a while, and what has begun in it.
    async fn tell_absence(&self, last: DateTime<Utc>) -> Result<(), StoreError> {
        let now = self.store.clock().now();
        let pause = self.settings.full * AWAY_IN_FULL_LOOKS;
        if now - last < TimeDelta::from_std(pause).unwrap_or_default() {
            return Ok(());
        }
        let mut began = self.store.open_alerts(None).await?;
        began.retain(|alert| alert.since >= last);
        let key = format!("away/{}", last.timestamp_micros());
        let notice = MessageKind::Notice(telling::absence(last, now, &began));
        let place = Place::Channel(self.settings.channel);
        self.store.tell(&key, &notice, &place).await
    }

    /// Until the next cluster is due, or there is something to do for all.
    fn until_due(&self) -> Duration {
        let now = self.store.clock().now();
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let next = times.values().map(|times| times.due_at - now).min();
        drop(times);
        let until = next.map_or(LEAD_EVERY, |next| next.min(LEAD_EVERY));
        until.to_std().unwrap_or_default().max(SHORTEST)
    }

    /// The clusters that are to be looked at now.
    fn due_clusters(&self) -> Vec<Watched> {
        let mut watched = self.mirrors.all();
        self.forget_all_but(&watched);
        let now = self.store.clock().now();
        // No look is further ahead than a pause, unless the clock was set back.
        let latest = now + TimeDelta::from_std(self.settings.look).unwrap_or_default();
        watched.retain(|one| {
            self.times(one.cluster.id)
                .is_none_or(|times| times.due_at <= now || times.due_at > latest)
        });
        for one in &watched {
            self.due(&one.cluster, now, None, None);
        }
        watched
    }

    /// Lets a cluster be looked at soon, though not all the time.
    fn hurry(&self, cluster: ClusterId) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = times.get_mut(&cluster) {
            times.due_at = times.due_at.min(times.looked_at + TURN_PAUSE);
        }
    }

    /// Looks at a cluster, but not for too long; answers which it was.
    async fn look_in_time(&self, one: Watched, moment: Moment) -> ClusterId {
        // It is closed when the bot ends, and then nobody looks.
        let _permit = self.at_once.acquire().await;
        let looked = tokio::time::timeout(LOOK_LIMIT, Box::pin(self.look_at(&one, moment))).await;
        let failed = match looked {
            Ok(Ok(())) => return one.cluster.id,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_elapsed) => "it took too long".to_owned(),
        };
        tracing::warn!(
            error = failed,
            cluster.name = %one.cluster.name,
            "could not look after a cluster; the next look follows"
        );
        one.cluster.id
    }

    async fn look_at(&self, one: &Watched, moment: Moment) -> anyhow::Result<()> {
        let cluster = one.cluster.as_ref();
        let began = self.store.clock().now();
        let known = self.known(cluster).await?;
        let glance = one.mirror.look();
        let glance = tokio::time::timeout(GLANCE_LIMIT, glance).await;
        let glance = glance.unwrap_or_else(|_elapsed| {
            let why = format!("no answer within {} s", GLANCE_LIMIT.as_secs());
            Look::Failed(why)
        });
        if !self.needs_more(cluster, &known, &glance, began) {
            self.due(cluster, began, None, None);
            return Ok(self.count_wanted(cluster, &glance).await?);
        }
        let memory = self.store.watched(cluster.id).await?;
        let is_backup_told = known.of(AlertKind::Backup).is_some();
        let (seen, hub, drifted, beside) = tokio::join!(
            self.looks.see(cluster, ready(Ok(glance))),
            self.hub(cluster),
            self.drifted(cluster, &known, began),
            self.beside.look(cluster, is_backup_told, began)
        );
        let (seen, drifted, beside) = (seen?, drifted?, beside?);
        let known = self.known_after(cluster, &known, began).await?;
        let drifted = drifted.filter(|_| known.operation.is_none());
        let limits = self.settings.limits_of(cluster);
        let set_at = *self.set_at.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = memory.counted_from(set_at).after(&seen, limits);
        let looked = Looked {
            seen: &seen,
            memory: &memory,
            hub: hub.as_ref(),
            beside: &beside,
            drifted: drifted.as_ref(),
        };
        let sightings = judging::sightings(&self.settings, (&known, limits), &looked);
        let now = self.moment();
        let is_set = moment.set_until(&now).is_some();
        anyhow::ensure!(!is_set, "the clock was set meanwhile");
        let firing = self.keep(cluster, &known, (&memory, now.day), sightings);
        let numbers = metrics::Watched {
            looked_at: seen.now,
            pods_waiting: seen.kubernetes.seen().map(|seen| seen.demand().count()),
            nodes_ready: seen.kubernetes.seen().and(memory.ready),
            token_ends_at: seen.token.seen().and_then(|token| token.ends_at),
            certificate_ends_at: hub.and_then(Result::ok).flatten(),
            firing: firing.await?,
        };
        self.metrics.watched(cluster.name.as_str(), &numbers);
        let ends = Ends {
            certificate: numbers.certificate_ends_at,
            refresh_token: seen.token.seen().and_then(|token| token.refresh_ends_at),
        };
        self.store.keep_ends(cluster.id, &ends).await?;
        self.wanted.coming(cluster.id, memory.booting.len());
        Ok(self.count_wanted(cluster, &seen.kubernetes).await?)
    }

    /// Counts the nodes that a cluster lacks; while it is not seen, those of before.
    async fn count_wanted(
        &self,
        cluster: &Cluster,
        kubernetes: &Look<SeenKubernetes>,
    ) -> Result<(), StoreError> {
        match kubernetes {
            Look::At(kubernetes) => self.wanted.seen(cluster, kubernetes).await,
            Look::Failed(_) => Ok(()),
        }
    }

    async fn known(&self, cluster: &Cluster) -> Result<Known, StoreError> {
        let operations = self.store.open_operations(cluster.name.as_str()).await?;
        let now = self.store.clock().now();
        let locks = self.store.locks(cluster.id).await?;
        let token = self.store.fact(&TokenWatch::key(cluster.id)).await?;
        let token: Option<TokenWatch> = token.and_then(|text| serde_json::from_str(&text).ok());
        Ok(Known {
            token_before: token.map(|watch| TimeDelta::minutes(watch.minutes)),
            is_quiet: locks.iter().any(|lock| lock.quiet && lock.holds_at(now)),
            open: self.store.open_alerts(Some(cluster.id)).await?,
            silences: self.store.silences(cluster.id).await?,
            operation: operations.into_iter().next(),
            was_busy: false,
        })
    }

    /// What is known after a look. What an operation changed during it is nothing to tell, even if it has
    /// begun and ended meanwhile.
    async fn known_after(
        &self,
        cluster: &Cluster,
        before: &Known,
        began: DateTime<Utc>,
    ) -> Result<Known, StoreError> {
        let ended = self
            .store
            .operation_ended_since(cluster.name.as_str(), began);
        Ok(Known {
            was_busy: before.is_busy() || ended.await?,
            ..self.known(cluster).await?
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
            .is_none_or(|times| (now - times.full_at).abs() >= full);
        !is_quiet || is_old || known.is_stopped() || !known.open.is_empty()
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
            .is_none_or(|at| (now - at).abs() >= pause);
        // One that stopped may have changed what helm has, and not yet what is recorded.
        let may_explain = known.operation.is_some();
        if may_explain || !(is_due || known.of(AlertKind::Drift).is_some()) {
            return Ok(None);
        }
        // Its newest revision may be newer than what is watched was read.
        let Some(cluster) = &self.store.cluster(cluster.id).await? else {
            return Ok(None);
        };
        let drifted = self.looks.drifted(cluster).await?;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times
            .entry(cluster.id)
            .or_insert_with(|| Times::never(cluster))
            .drift_at = Some(now);
        Ok(Some(drifted))
    }

    /// Makes rows and messages of what was seen.
    async fn keep(
        &self,
        cluster: &Cluster,
        known: &Known,
        (memory, now): (&Memory, DateTime<Utc>),
        sightings: Vec<(AlertKind, Sighting)>,
    ) -> Result<Vec<AlertKind>, StoreError> {
        // Those that come at once are counted one after the other.
        let turn = self.turn.lock().await;
        let (mut changes, mut firing, mut due) = (Vec::new(), Vec::new(), None);
        for (kind, sighting) in sightings {
            let open = known.of(kind);
            let sighting = if self.is_off(cluster, kind) {
                Sighting::Gone
            } else {
                sighting
            };
            let look = alert::Look {
                cluster: cluster.id,
                kind,
                sighting,
                held: known.is_quiet || kind != AlertKind::Operation && known.is_busy(),
                resolves_after: self.settings.resolves_after,
                counted_from: memory.counted_from,
                now,
            };
            let step = alert::next(open, &look);
            let teller = Teller {
                store: &self.store,
                channel: self.settings.channel,
                calls: &self.settings.calls,
                cluster,
                silences: &known.silences,
                now,
            };
            let change = teller.change(open, step).await?;
            let after = change.as_ref().map(|change| &change.alert).or(open);
            firing.extend(
                after
                    .filter(|alert| alert.state == AlertState::Firing)
                    .map(|alert| alert.kind),
            );
            due = [due, alert::due(after, &look.sighting)]
                .into_iter()
                .flatten()
                .min();
            changes.extend(change);
        }
        self.store.keep_look(cluster.id, memory, &changes).await?;
        drop(turn);
        self.due(cluster, now, due, Some(now));
        Ok(firing)
    }

    /// Whether a kind is not watched, so that what is open of it is over.
    fn is_off(&self, cluster: &Cluster, kind: AlertKind) -> bool {
        let rules = &self.settings.beside;
        self.settings.off.contains(&kind)
            || kind == AlertKind::Disk && rules.disks.is_empty()
            || kind == AlertKind::Backup && rules.backup_of(cluster.name.as_str()).is_none()
    }

    fn times(&self, cluster: ClusterId) -> Option<Times> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.get(&cluster).cloned()
    }

    /// When a cluster is looked at next: after the pause, or when an alert fires if that is sooner.
    fn due(
        &self,
        cluster: &Cluster,
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
        let times = times
            .entry(cluster.id)
            .or_insert_with(|| Times::never(cluster));
        times.looked_at = now;
        times.due_at = due_at;
        times.full_at = full_at.unwrap_or(times.full_at);
    }

    /// What is not watched here any more has neither times nor series.
    fn forget_all_but(&self, watched: &[Watched]) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.retain(|id, times| {
            let stays = watched.iter().any(|one| one.cluster.id == *id);
            if !stays {
                self.metrics.forget_cluster(&times.name);
                self.wanted.forget(*id);
                self.beside.forget(*id);
            }
            stays
        });
    }
}

fn report(outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not look after the clusters; the next look follows"
        );
    }
}
