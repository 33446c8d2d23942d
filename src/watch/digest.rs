//! The daily digest: what is open and what comes up, in one message; nothing when there is nothing.
//!
//! One replica looks (a lease). The message's key and a fact have the day in them, so that a day has
//! one digest at most, also after a restart.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::domain::alert::{Alert, AlertState};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::deploy::DeployOptions;
use crate::domain::diagnosis::SeenQuota;
use crate::domain::ids::{ClusterId, DiscordChannelId};
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::plan::Plan;
use crate::domain::time::TimeOfDay;
use crate::looks::{LookError, Looks};
use crate::store::Store;
use crate::store::ends::Ends;

/// The lease of the replica that looks.
const LEASE: &str = "digest";

/// The day of the last digest.
const FACT: &str = "digest/day";

/// How often it looks whether it is time.
const PAUSE: Duration = Duration::from_secs(60);

/// How many days before its end a cluster is named.
const DAYS_BEFORE: u64 = 14;

/// How many days before its end a certificate is named; cert-manager renews 30 days before, and 14
/// days before it is an alert.
const CERTIFICATE_DAYS: i64 = 21;

/// How many days before its end a refresh token is named; 14 days before it is an alert.
const TOKEN_DAYS: i64 = 30;

/// How many lines each part has at most.
const LINES: usize = 10;

/// When and where a digest is told.
#[derive(Clone, Debug)]
pub struct DigestSettings {
    /// This replica's name.
    pub replica: String,
    /// The channel that is told.
    pub channel: DiscordChannelId,
    /// The time of day.
    pub at: TimeOfDay,
    /// How long nobody may use a cluster until it is named; `None` is for ever.
    pub idle_after: Option<TimeDelta>,
}

/// Makes digests.
#[derive(Clone, Debug)]
pub struct Digest {
    settings: DigestSettings,
    store: Store,
    looks: Looks,
}

impl Digest {
    /// Over its parts.
    pub fn new(settings: DigestSettings, store: Store, looks: Looks) -> Self {
        Self {
            settings,
            store,
            looks,
        }
    }

    /// Looks until the bot ends.
    pub async fn run(self, ended: CancellationToken) {
        let mut looks = tokio::time::interval(PAUSE);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = looks.tick() => {}
            }
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not make the digest; the next look follows"
                );
            }
        }
    }

    async fn look(&self) -> Result<(), LookError> {
        let now = self.store.clock().now();
        let Some(day) = self.settings.at.day_if_past(now) else {
            return Ok(());
        };
        let is_ours = self
            .store
            .take_lease(LEASE, &self.settings.replica, PAUSE * 3);
        let day_before = self.store.fact(FACT).await?;
        if day_before.is_some_and(|told| told == day.to_string()) || !is_ours.await? {
            return Ok(());
        }
        let alerts = self.store.open_alerts(None).await?;
        let plans = self.store.waiting_plans().await?;
        let clusters = self.store.clusters().await?;
        let today = Today {
            day,
            now,
            alerts: &alerts,
            plans: &plans,
            clusters: &clusters,
            ends: &self.store.ends().await?,
            idle: &self.idle(&clusters, now).await?,
        };
        if let Some(notice) = digest(&today) {
            let key = format!("digest/{day}");
            let place = Place::Channel(self.settings.channel);
            let notice = MessageKind::Notice(notice);
            self.store.tell(&key, &notice, &place).await?;
        }
        Ok(self.store.set_fact(FACT, &day.to_string()).await?)
    }

    /// The clusters that nobody uses, with the quotas of their clouds.
    async fn idle(&self, clusters: &[Cluster], now: DateTime<Utc>) -> Result<Vec<Idle>, LookError> {
        let Some(after) = self.settings.idle_after else {
            return Ok(Vec::new());
        };
        let mut idle = Vec::new();
        for (id, since, workers) in self.store.idle_clusters(now - after).await? {
            let Some(cluster) = clusters.iter().find(|cluster| cluster.id == id) else {
                continue;
            };
            // Of more than are shown nobody asks the clouds.
            let quotas = if idle.len() < LINES {
                self.looks.quotas(cluster).await?.seen().cloned()
            } else {
                None
            };
            idle.push(Idle {
                cluster: cluster.clone(),
                since,
                workers,
                quotas: quotas.unwrap_or_default(),
            });
        }
        Ok(idle)
    }
}

/// A cluster that nobody uses.
struct Idle {
    cluster: Cluster,
    since: DateTime<Utc>,
    workers: u32,
    quotas: Vec<SeenQuota>,
}

impl Idle {
    fn line(&self) -> String {
        let workers = match self.workers {
            1 => "1 worker is on".to_owned(),
            workers => format!("{workers} workers are on"),
        };
        format!(
            "`{}` nobody since <t:{}:d>: {workers}{}, <@{}>",
            self.cluster.name,
            self.since.timestamp(),
            self.holds().unwrap_or_default(),
            self.cluster.owner
        )
    }

    /// What it takes of the quota, as it was deployed.
    fn holds(&self) -> Option<String> {
        let options: DeployOptions = serde_json::from_value(self.cluster.options.clone()).ok()?;
        let workers = u64::from(self.workers);
        let sum = |worker: u64, front_end: u64| worker.saturating_mul(workers) + front_end;
        let cores = sum(options.worker.cpus.into(), options.frontend.cpus.into());
        let bytes = sum(
            options.worker.memory.bytes(),
            options.frontend.memory.bytes(),
        );
        // Quotas of memory are in GiB.
        let memory = bytes / (1 << 30);
        let of = |name: &str| {
            let quota = self.quotas.iter().find(|quota| quota.name == name);
            let quota = quota.filter(|quota| quota.limit >= 0.0);
            quota.map_or_else(String::new, |quota| format!(" of {:.0}", quota.limit))
        };
        Some(format!(
            "; with the front end it holds {cores}{} cores and {memory}{} GiB",
            of("cores"),
            of("ram")
        ))
    }
}

/// What a digest is made of.
struct Today<'a> {
    day: NaiveDate,
    now: DateTime<Utc>,
    alerts: &'a [Alert],
    plans: &'a [Plan],
    clusters: &'a [Cluster],
    ends: &'a [(ClusterId, Ends)],
    idle: &'a [Idle],
}

/// The digest of a day; `None` if there is nothing to tell.
fn digest(today: &Today<'_>) -> Option<Notice> {
    let parts = [
        part("Alerts", today.firing()),
        part("Wait for approval", today.waiting()),
        part("Come to their end date", today.ending()),
        part("Certificates and tokens that end", today.running_out()),
        part("Nobody uses", today.idle.iter().map(Idle::line).collect()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| Notice {
        title: format!("Today, {}", today.day),
        text: format!(
            "{}\nhint: `/pangeo alerts list`, `/pangeo ops list`, `/pangeo list` say more",
            parts.join("\n")
        ),
        ..Notice::default()
    })
}

impl Today<'_> {
    fn cluster(&self, id: ClusterId) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.id == id)
    }

    fn running(&self) -> impl Iterator<Item = &Cluster> {
        let clusters = self.clusters.iter();
        clusters.filter(|cluster| cluster.phase == Phase::Running)
    }

    fn firing(&self) -> Vec<String> {
        let firing = self.alerts.iter();
        let firing = firing.filter(|alert| alert.state == AlertState::Firing);
        firing
            .map(|alert| {
                let name = self.cluster(alert.cluster).map(|one| one.name.as_str());
                let who = alert
                    .acknowledged
                    .map_or_else(String::new, |(by, _)| format!(", <@{by}> sees to it"));
                let (name, since) = (name.unwrap_or_default(), alert.since.timestamp());
                format!("`{name}` {} since <t:{since}:R>{who}", alert.finding.title)
            })
            .collect()
    }

    fn waiting(&self) -> Vec<String> {
        let line = |plan: &Plan| {
            format!(
                "`{} {}` of <@{}>, until <t:{}:R>",
                plan.essence.command,
                plan.essence.target,
                plan.requester,
                plan.expires_at.timestamp()
            )
        };
        self.plans.iter().map(line).collect()
    }

    fn ending(&self) -> Vec<String> {
        let line = |cluster: &Cluster| {
            let ends = cluster.ends_on?;
            let is_near = ends <= self.day.checked_add_days(Days::new(DAYS_BEFORE))?;
            is_near.then(|| format!("`{}` on {ends}, <@{}>", cluster.name, cluster.owner))
        };
        self.running().filter_map(line).collect()
    }

    /// Certificates and refresh tokens, each with its end, the first to end first.
    fn running_out(&self) -> Vec<String> {
        let mut ends: Vec<(DateTime<Utc>, &str, &str)> = Vec::new();
        for cluster in self.running() {
            let seen = self.ends.iter().find(|(id, _)| *id == cluster.id);
            let Some((_, seen)) = seen else { continue };
            let is_near = |at: &DateTime<Utc>, days| *at - self.now < TimeDelta::days(days);
            let name = cluster.name.as_str();
            let certificate = seen.certificate.filter(|at| is_near(at, CERTIFICATE_DAYS));
            let token = seen.refresh_token.filter(|at| is_near(at, TOKEN_DAYS));
            ends.extend(certificate.map(|at| (at, name, "the certificate of its hub")));
            ends.extend(token.map(|at| (at, name, "its refresh token: `/pangeo token renew`")));
        }
        ends.sort_unstable();
        let line = |(at, name, what): (DateTime<Utc>, &str, &str)| {
            format!("`{name}` <t:{0}:d> (<t:{0}:R>): {what}", at.timestamp())
        };
        ends.into_iter().map(line).collect()
    }
}

fn part(title: &str, mut lines: Vec<String>) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let more = lines.len().saturating_sub(LINES);
    lines.truncate(LINES);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Some(format!("**{title}**\n• {}", lines.join("\n• ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::tests::cluster;

    fn at(days: i64) -> DateTime<Utc> {
        let midnight = NaiveDate::from_ymd_opt(2026, 11, 28).unwrap();
        midnight.and_hms_opt(7, 0, 0).unwrap().and_utc() + TimeDelta::days(days)
    }

    fn text_of(clusters: &[Cluster], ends: &[(ClusterId, Ends)]) -> Option<String> {
        let today = Today {
            day: at(0).date_naive(),
            now: at(0),
            alerts: &[],
            plans: &[],
            clusters,
            ends,
            idle: &[],
        };
        digest(&today).map(|notice| notice.text)
    }

    #[test]
    fn a_day_without_anything_has_no_digest_and_long_parts_are_counted() {
        assert_eq!(text_of(&[], &[]), None);
        let lines = (1..=12).map(|number| format!("line {number}")).collect();
        let text = part("Alerts", lines).unwrap();
        assert!(text.starts_with("**Alerts**\n• line 1\n"), "{text}");
        assert!(text.ends_with("• line 10\n• and 2 more"), "{text}");
    }

    #[test]
    fn what_nobody_uses_is_told_with_what_it_holds() {
        let mut idle = Idle {
            cluster: cluster("geo", Phase::Running),
            since: at(-12),
            workers: 2,
            quotas: vec![SeenQuota {
                name: "cores".to_owned(),
                used: 44.0,
                limit: 400.0,
            }],
        };
        let since = at(-12).timestamp();
        assert_eq!(
            idle.line(),
            format!("`geo` nobody since <t:{since}:d>: 2 workers are on, <@7>"),
            "of what was made by hand the sizes are not known"
        );
        let options = crate::domain::deploy::tests::options();
        idle.cluster.options = serde_json::to_value(options).unwrap();
        let line = idle.line();
        assert!(
            line.contains("on; with the front end it holds 20 of 400 cores and 74 GiB, <@7>"),
            "{line}"
        );
    }

    #[test]
    fn what_ends_soon_is_told_with_its_day_the_first_first() {
        let (geo, sea) = (
            cluster("geo", Phase::Running),
            cluster("sea", Phase::Removed),
        );
        let ends = |certificate: i64, token: Option<i64>| Ends {
            certificate: Some(at(certificate)),
            refresh_token: token.map(at),
        };
        let clusters = [geo, sea];
        let [geo, sea] = clusters.each_ref().map(|one| one.id);
        let fine = [(geo, ends(21, None)), (sea, ends(1, None))];
        assert_eq!(text_of(&clusters, &fine), None);
        let near = [(geo, ends(20, Some(12)))];
        let text = text_of(&clusters, &near).unwrap();
        let token = at(12).timestamp();
        let certificate = at(20).timestamp();
        assert!(
            text.starts_with(&format!(
                "**Certificates and tokens that end**\n\
                 • `geo` <t:{token}:d> (<t:{token}:R>): its refresh token: `/pangeo token renew`\n\
                 • `geo` <t:{certificate}:d> (<t:{certificate}:R>): the certificate of its hub\n"
            )),
            "{text}"
        );
    }
}
