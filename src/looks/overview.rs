//! `status` without a name: a line for each cluster, within a short time however many there are.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::{LookError, Looks, Report, Tone};
use crate::domain::cluster::{Cluster, Phase};
use crate::operations::services::address_of;

/// How long the whole may take, beside the database. What has not answered by then is unknown.
const LIMIT: Duration = Duration::from_millis(1500);

/// How many clusters are asked at once.
const AT_ONCE: usize = 64;

/// How a cluster is.
struct Line {
    tone: Tone,
    text: String,
}

impl Looks {
    /// How every cluster is: what is bad stands first. One line each.
    ///
    /// # Errors
    /// When the database fails; what does not answer is part of the report.
    pub async fn overview(&self) -> Result<Report, LookError> {
        let clusters = self.store.clusters().await?;
        if clusters.is_empty() {
            return self.list().await;
        }
        let until = Instant::now() + LIMIT;
        let count = clusters.len();
        let mut lines: Vec<Line> = stream::iter(clusters)
            .map(|cluster| async move { self.line(&cluster, until).await })
            .buffered(AT_ONCE)
            .collect()
            .await;
        lines.sort_by_key(|line| badness(line.tone));
        let tone = lines.first().map_or(Tone::Neutral, |line| line.tone);
        let bad = lines.iter().filter(|line| badness(line.tone) == 0).count();
        let s = if count == 1 { "" } else { "s" };
        let title = match bad {
            0 => format!("{count} cluster{s}"),
            bad => format!("{bad} of {count} cluster{s} in trouble"),
        };
        let texts: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        let text = texts.join("\n");
        let report = Report::new(title, tone, text.clone())
            .field("The bot's own token", self.token(self.store.clock().now()))
            .hint("`/pangeo status name:…` shows all of one cluster");
        // More lines than a message takes.
        Ok(if count > MOST_SHOWN {
            report.file("status.txt", format!("{text}\n"))
        } else {
            report
        })
    }

    async fn line(&self, cluster: &Cluster, until: Instant) -> Line {
        let hub = async {
            let Ok(address) = address_of(cluster) else {
                return None;
            };
            let target = self.services.hub_target(cluster, address);
            Some(timeout_at(until, self.services.hubs.check(&target)).await)
        };
        let im = async {
            let id = cluster.infrastructure.as_ref()?;
            Some(timeout_at(until, self.services.im.state(id)).await)
        };
        let (hub, im) = tokio::join!(hub, im);
        let (hub_tone, hub) = match hub {
            None => (Tone::Neutral, "no hub yet".to_owned()),
            Some(Ok(Ok(check))) => {
                let now = self.store.clock().now();
                let left = check.certificate_expires_at.map(|at| (at - now).num_days());
                match left {
                    Some(days) if days < CERTIFICATE_DAYS => (
                        Tone::Warn,
                        format!("hub answers, certificate for {days} days"),
                    ),
                    Some(_) | None => (Tone::Good, "hub answers".to_owned()),
                }
            }
            Some(Ok(Err(_))) => (Tone::Bad, "hub is down".to_owned()),
            Some(Err(_elapsed)) => (Tone::Warn, "hub does not answer yet".to_owned()),
        };
        let im = match im {
            None => "no infrastructure".to_owned(),
            Some(Ok(Ok(state))) => format!("{} ({} VMs)", state.state, state.vm_states.len()),
            Some(Ok(Err(_)) | Err(_)) => "IM unknown".to_owned(),
        };
        let tone = match cluster.phase {
            Phase::Running => hub_tone,
            Phase::Failed => Tone::Bad,
            Phase::Deploying | Phase::Removed => Tone::Neutral,
        };
        let sign = match tone {
            Tone::Good => "✅",
            Tone::Neutral => "▫️",
            Tone::Warn => "⚠️",
            Tone::Bad => "❌",
        };
        let until = cluster
            .ends_on
            .map_or_else(String::new, |day| format!(" · until {day}"));
        Line {
            tone,
            text: format!(
                "{sign} `{}` {} · {hub} · {im} · <@{}>{until}",
                cluster.name,
                cluster.phase.as_str(),
                cluster.owner
            ),
        }
    }
}

/// A certificate is renewed 30 days before its end; below this something is wrong.
const CERTIFICATE_DAYS: i64 = 14;

/// How many lines a message takes at least.
const MOST_SHOWN: usize = 35;

/// The order of the lines, worst first.
fn badness(tone: Tone) -> u8 {
    match tone {
        Tone::Bad => 0,
        Tone::Warn => 1,
        Tone::Neutral => 2,
        Tone::Good => 3,
    }
}
