//! Reminds the owners of clusters before their end dates, and offers what can be done.
//!
//! One replica looks (a lease). A reminder's key has the date and the threshold in it, so that it
//! is told once, also after a restart, and anew when the date is moved.
//!
//! **Invariant:** nothing is shrunk or deleted; the buttons make plans that people approve.

use std::time::Duration;

use chrono::NaiveDate;
use tokio_util::sync::CancellationToken;

use crate::domain::cluster::{Cluster, Phase};
use crate::domain::ids::DiscordChannelId;
use crate::domain::message::{MessageKind, Notice, Place, Prepared};
use crate::store::{Store, StoreError};

/// The lease of the replica that looks.
const LEASE: &str = "end-dates";

/// How often it looks; dates are days.
const PAUSE: Duration = Duration::from_mins(10);

/// How many days before the last day the owner is reminded, the last reminder first; below zero
/// the day is over.
const THRESHOLDS: [i64; 3] = [-1, 3, 14];

/// Looks after end dates.
#[derive(Clone, Debug)]
pub struct EndDates {
    store: Store,
    replica: String,
    channel: DiscordChannelId,
}

impl EndDates {
    /// Over its parts; reminders go to `channel`.
    pub fn new(store: Store, replica: String, channel: DiscordChannelId) -> Self {
        Self {
            store,
            replica,
            channel,
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
                    "could not look after end dates; the next look follows"
                );
            }
        }
    }

    /// Tells the reminders that are due and were not told yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look(&self) -> Result<(), StoreError> {
        if !self
            .store
            .take_lease(LEASE, &self.replica, PAUSE * 2)
            .await?
        {
            return Ok(());
        }
        let today = self.store.clock().now().date_naive();
        for cluster in self.store.clusters().await? {
            let Some(ends_on) = cluster.ends_on else {
                continue;
            };
            if cluster.phase == Phase::Deploying {
                continue;
            }
            let Some(threshold) = threshold(ends_on, today) else {
                continue;
            };
            let key = format!("end-date/{}/{ends_on}/{threshold}", cluster.id);
            if self.store.message(&key).await?.is_none() {
                let notice = MessageKind::Notice(notice(&cluster, ends_on, today));
                let place = Place::Channel(self.channel);
                self.store.tell(&key, &notice, &place).await?;
            }
        }
        Ok(())
    }
}

/// The threshold that was crossed last.
fn threshold(ends_on: NaiveDate, today: NaiveDate) -> Option<i64> {
    let left = (ends_on - today).num_days();
    THRESHOLDS.into_iter().find(|threshold| left <= *threshold)
}

fn notice(cluster: &Cluster, ends_on: NaiveDate, today: NaiveDate) -> Notice {
    let name = cluster.name.as_str();
    let left = (ends_on - today).num_days();
    let title = match left {
        ..0 => format!("{name} is past its end date"),
        0 => format!("{name} is needed until today"),
        1 => format!("{name} is needed until tomorrow"),
        days => format!("{name} is needed for {days} more days"),
    };
    let purpose = cluster.purpose.as_deref().unwrap_or("no purpose given");
    Notice {
        title,
        text: format!(
            "The last day of `{name}` ({purpose}) is {ends_on}; nothing happens by itself\n\
             hint: `/pangeo transfer name:{name} end-date:…` keeps it longer; the buttons plan to make it small, or to delete it, which others must approve"
        ),
        mention_users: vec![cluster.owner],
        mention_roles: Vec::new(),
        review_of: None,
        remedies: vec![
            Prepared {
                command: "scale".to_owned(),
                options: vec![
                    ("name".to_owned(), name.to_owned()),
                    ("now".to_owned(), "0".to_owned()),
                ],
            },
            Prepared::about("destroy", name),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_reminded_at_each_threshold() {
        let day = |day: u32| NaiveDate::from_ymd_opt(2026, 12, day).unwrap();
        let end = day(20);
        for (today, expected) in [
            (1, None),
            (5, None),
            (6, Some(14)),
            (16, Some(14)),
            (17, Some(3)),
            (20, Some(3)),
            (21, Some(-1)),
            (31, Some(-1)),
        ] {
            assert_eq!(threshold(end, day(today)), expected, "on {today}");
        }
    }
}
