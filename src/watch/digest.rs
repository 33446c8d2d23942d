//! The daily digest: what is open and what comes up, in one message; nothing when there is nothing.
//!
//! One replica looks (a lease). The message's key and a fact have the day in them, so that a day has
//! one digest at most, also after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{Days, NaiveDate};
use tokio_util::sync::CancellationToken;

use crate::domain::alert::{Alert, AlertState};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::ids::{ClusterId, DiscordChannelId};
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::plan::Plan;
use crate::domain::time::TimeOfDay;
use crate::store::{Store, StoreError};

/// The lease of the replica that looks.
const LEASE: &str = "digest";

/// The day of the last digest.
const FACT: &str = "digest/day";

/// How often it looks whether it is time.
const PAUSE: Duration = Duration::from_secs(60);

/// How many days before its end a cluster is named.
const DAYS_BEFORE: u64 = 14;

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
        if let Some(notice) = digest(day, &alerts, &plans, &clusters) {
            let key = format!("digest/{day}");
            let place = Place::Channel(self.channel);
            let notice = MessageKind::Notice(notice);
            self.store.tell(&key, &notice, &place).await?;
        }
        self.store.set_fact(FACT, &day.to_string()).await
    }
}

/// The digest of a day; `None` if there is nothing to tell.
fn digest(
    day: NaiveDate,
    alerts: &[Alert],
    plans: &[Plan],
    clusters: &[Cluster],
) -> Option<Notice> {
    let names: BTreeMap<ClusterId, &str> = clusters
        .iter()
        .map(|cluster| (cluster.id, cluster.name.as_str()))
        .collect();
    let firing = alerts
        .iter()
        .filter(|alert| alert.state == AlertState::Firing)
        .map(|alert| {
            let name = names.get(&alert.cluster).copied().unwrap_or_default();
            let who = alert
                .acknowledged
                .map_or_else(String::new, |(by, _)| format!(", <@{by}> sees to it"));
            let since = alert.since.timestamp();
            format!("`{name}` {} since <t:{since}:R>{who}", alert.finding.title)
        });
    let waiting = plans.iter().map(|plan| {
        format!(
            "`{} {}` of <@{}>, until <t:{}:R>",
            plan.essence.command,
            plan.essence.target,
            plan.requester,
            plan.expires_at.timestamp()
        )
    });
    let ending = clusters
        .iter()
        .filter(|cluster| cluster.phase == Phase::Running)
        .filter_map(|cluster| {
            let ends = cluster.ends_on?;
            let is_near = ends <= day.checked_add_days(Days::new(DAYS_BEFORE))?;
            is_near.then(|| format!("`{}` on {ends}, <@{}>", cluster.name, cluster.owner))
        });
    let parts = [
        part("Alerts", firing.collect()),
        part("Wait for approval", waiting.collect()),
        part("Come to their end date", ending.collect()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| Notice {
        title: format!("Today, {day}"),
        text: format!(
            "{}\nhint: `/pangeo alerts list`, `/pangeo ops list`, `/pangeo list` say more",
            parts.join("\n")
        ),
        ..Notice::default()
    })
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

    #[test]
    fn a_day_without_anything_has_no_digest_and_long_parts_are_counted() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 28).unwrap();
        assert_eq!(digest(day, &[], &[], &[]), None);
        let lines = (1..=12).map(|number| format!("line {number}")).collect();
        let text = part("Alerts", lines).unwrap();
        assert!(text.starts_with("**Alerts**\n• line 1\n"), "{text}");
        assert!(text.ends_with("• line 10\n• and 2 more"), "{text}");
    }
}
