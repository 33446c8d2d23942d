//! The daily digest: what is open and what comes up, in one message; nothing when there is nothing.
//!
//! One replica looks (a lease). The message's key and a fact have the day in them, so that a day has
//! one digest at most, also after a restart.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::domain::alert::{Alert, AlertState};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::ids::{ClusterId, DiscordChannelId};
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::plan::Plan;
use crate::domain::time::TimeOfDay;
use crate::store::ends::Ends;
use crate::store::{Store, StoreError};

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

/// Makes digests.
#[derive(Clone, Debug)]
pub struct Digest {
    store: Store,
    replica: String,
    channel: DiscordChannelId,
    at: TimeOfDay,
}

impl Digest {
    /// Over its parts; the digest goes to `channel`, each day at `at`.
    pub fn new(store: Store, replica: String, channel: DiscordChannelId, at: TimeOfDay) -> Self {
        Self {
            store,
            replica,
            channel,
            at,
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

    async fn look(&self) -> Result<(), StoreError> {
        let now = self.store.clock().now();
        let Some(day) = self.at.day_if_past(now) else {
            return Ok(());
        };
        let is_ours = self.store.take_lease(LEASE, &self.replica, PAUSE * 3);
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
        };
        if let Some(notice) = digest(&today) {
            let key = format!("digest/{day}");
            let place = Place::Channel(self.channel);
            let notice = MessageKind::Notice(notice);
            self.store.tell(&key, &notice, &place).await?;
        }
        self.store.set_fact(FACT, &day.to_string()).await
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
}

/// The digest of a day; `None` if there is nothing to tell.
fn digest(today: &Today<'_>) -> Option<Notice> {
    let parts = [
        part("Alerts", today.firing()),
        part("Wait for approval", today.waiting()),
        part("Come to their end date", today.ending()),
        part("Certificates and tokens that end", today.running_out()),
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
    use crate::domain::ids::DiscordUserId;
    use crate::domain::names::{ClusterName, HostName};

    fn at(days: i64) -> DateTime<Utc> {
        let midnight = NaiveDate::from_ymd_opt(2026, 11, 28).unwrap();
        midnight.and_hms_opt(7, 0, 0).unwrap().and_utc() + TimeDelta::days(days)
    }

    fn cluster(name: &str, phase: Phase) -> Cluster {
        Cluster {
            id: ClusterId::new(),
            name: ClusterName::parse(name).unwrap(),
            host: HostName::parse(&format!("{name}.vm.fedcloud.eu")).unwrap(),
            phase,
            owner: DiscordUserId(7),
            purpose: None,
            contact: None,
            ends_on: None,
            options: serde_json::json!({}),
            infrastructure: None,
            address: None,
            ssh_user: None,
            host_key: None,
            revision: 1,
            chart_version: None,
            kubernetes_version: None,
            created_at: at(-90),
        }
    }

    fn text_of(clusters: &[Cluster], ends: &[(ClusterId, Ends)]) -> Option<String> {
        let today = Today {
            day: at(0).date_naive(),
            now: at(0),
            alerts: &[],
            plans: &[],
            clusters,
            ends,
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
