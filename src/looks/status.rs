//! `status` and `list`: one cluster at one look, and all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::token::ends;
use super::{Chart, LookError, Looks, Report, Tone};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::operation::{Operation, OperationState};
use crate::domain::sample::Sample;
use crate::domain::schedule::Schedule;
use crate::operations::services::address_of;
use crate::services::checkin::{read_expiry, read_facts};
use crate::services::ec3::Ec3;
use crate::services::frontend::Frontend;
use crate::services::kubernetes::{Kubernetes, KubernetesError, NodeState, PodState, sample};

/// How long an outside system may take before it is said to be unknown.
const LOOK_LIMIT: Duration = Duration::from_secs(8);

/// How many locks, schedules and events of a cluster are listed.
const LISTED: usize = 3;

/// The bot's own token lives about an hour and something outside renews it in time; one that ends
/// sooner than this was not renewed.
const TOKEN_SOON_MIN: i64 = 5;

/// How many hours the picture shows.
const CHART_HOURS: u8 = 6;

/// What only the front end knows, in words.
struct Inside {
    nodes: String,
    pods: String,
    token: String,
    now: Option<Sample>,
}

impl Inside {
    /// The same words for all of it.
    fn all(words: &str) -> Self {
        Self {
            nodes: words.to_owned(),
            pods: words.to_owned(),
            token: words.to_owned(),
            now: None,
        }
    }
}

impl Looks {
    /// One look at a cluster; `None` if there is none of this name.
    ///
    /// # Errors
    /// When the database fails; what does not answer is part of the report.
    pub async fn status(&self, name: &str) -> Result<Option<Report>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let open = self.store.open_operations(name).await?;
        let now = self.store.clock().now();
        let (im, inside, hub) = tokio::join!(
            self.im_state(&cluster),
            self.inside(&cluster),
            self.hub(&cluster, now)
        );
        let tone = match (cluster.phase, hub.0) {
            (Phase::Running, true) => Tone::Good,
            (Phase::Running, false) | (Phase::Failed, _) => Tone::Bad,
            (Phase::Deploying, _) => Tone::Neutral,
            (Phase::Removed, _) => Tone::Neutral,
        };
        let mut report = Report::new(
            format!("`{}` is {}", cluster.name, cluster.phase.as_str()),
            tone,
            format!("https://{}/", cluster.host),
        )
        .field("Hub", hub.1)
        .field("Nodes", inside.nodes)
        .field("Pods", inside.pods)
        .field("Infrastructure", im)
        .field("Chart", version(cluster.chart_version.as_deref()))
        .field("Kubernetes", version(cluster.kubernetes_version.as_deref()))
        .field("Revision", cluster.revision.to_string())
        .field("The cluster's token", inside.token)
        .field("The bot's own token", self.token(now))
        .field("Owner", format!("<@{}>", cluster.owner))
        .field(
            "Until",
            cluster
                .ends_on
                .map_or_else(|| "no end date".to_owned(), |day| day.to_string()),
        );
        report = described(report, &cluster);
        let alerts = self.store.open_alerts(Some(cluster.id)).await?;
        if let Some(lines) = firing(&alerts) {
            report = report.field("Alerts", lines);
        }
        report = self.planned(&cluster, report).await?;
        if !open.is_empty() {
            let lines: Vec<String> = open.iter().take(LISTED).map(in_a_line).collect();
            report = report.field("Open operations", lines.join("\n"));
        }
        report.chart = Some(self.chart(&cluster, now, inside.now).await?);
        Ok(Some(report))
    }

    /// What is known of the time to come: events, locks, what runs by itself.
    async fn planned(&self, cluster: &Cluster, mut report: Report) -> Result<Report, LookError> {
        let now = self.store.clock().now();
        let name = cluster.name.as_str();
        let events = self.store.events(Some(name)).await?;
        if !events.is_empty() {
            let lines = events.iter().take(LISTED).map(|event| event.in_words(now));
            let lines: Vec<String> = lines.collect();
            report = report.field("Events", lines.join("\n"));
        }
        for lock in self.store.locks(cluster.id).await? {
            report = report.field("Lock", lock.in_words(now));
        }
        let schedules = self.store.schedules(Some(name)).await?;
        if !schedules.is_empty() {
            let lines: Vec<String> = schedules.iter().take(LISTED).map(scheduled).collect();
            report = report.field("Schedules", lines.join("\n"));
        }
        Ok(report)
    }

    /// The last hours, with what was just seen.
    async fn chart(
        &self,
        cluster: &Cluster,
        until: DateTime<Utc>,
        last: Option<Sample>,
    ) -> Result<Chart, LookError> {
        let from = until - TimeDelta::hours(CHART_HOURS.into());
        let mut samples = self.store.samples_since(cluster.id, from).await?;
        samples.extend(last);
        Ok(Chart {
            samples,
            hours: CHART_HOURS,
            until,
            mark: None,
        })
    }

    /// Every cluster, a line each, from the store alone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Report, LookError> {
        let clusters = self.store.clusters().await?;
        if clusters.is_empty() {
            return Ok(
                Report::new("No clusters yet", Tone::Neutral, "nothing is deployed")
                    .hint("deploy one with `/pangeo deploy`"),
            );
        }
        let now = self.store.clock().now();
        let schedules = self.store.schedules(None).await?;
        let events = self.store.events(None).await?;
        let mut lines = Vec::new();
        for cluster in &clusters {
            lines.push(line(cluster));
            let its = events.iter().filter(|one| one.cluster == cluster.id);
            let its = its.take(LISTED);
            lines.extend(its.map(|event| format!("  🎓 {}", event.in_words(now))));
            let locks = self.store.locks(cluster.id).await?;
            let locks = locks.iter().take(LISTED);
            lines.extend(locks.map(|lock| format!("  🔒 {}", lock.in_words(now))));
            let its = schedules.iter().filter(|one| one.cluster == cluster.id);
            let its = its.take(LISTED);
            lines.extend(its.map(|schedule| format!("  ⏰ {}", scheduled(schedule))));
        }
        let title = match clusters.len() {
            1 => "1 cluster".to_owned(),
            count => format!("{count} clusters"),
        };
        Ok(Report::new(title, Tone::Neutral, lines.join("\n")))
    }

    async fn im_state(&self, cluster: &Cluster) -> String {
        let Some(id) = &cluster.infrastructure else {
            return "none yet".to_owned();
        };
        match tokio::time::timeout(LOOK_LIMIT, self.services.im.state(id)).await {
            Ok(Ok(state)) => format!("{} ({} VMs) `{id}`", state.state, state.vm_states.len()),
            Ok(Err(error)) => format!("unknown: {error}"),
            Err(_) => "unknown: IM does not answer".to_owned(),
        }
    }

    /// What the front end and its Kubernetes say, over one connection.
    async fn inside(&self, cluster: &Cluster) -> Inside {
        if cluster.host_key.is_none() {
            return Inside::all("none yet");
        }
        let open = self.services.frontend(cluster, &self.vault);
        let frontend = match tokio::time::timeout(LOOK_LIMIT, open).await {
            Ok(Ok(frontend)) => frontend,
            Ok(Err(error)) => return Inside::all(&format!("unknown: {}", error.for_people())),
            Err(_elapsed) => return Inside::all("unknown: the front end does not answer"),
        };
        let token = Ec3::of(&frontend);
        let (kubernetes, token) = tokio::join!(
            tokio::time::timeout(LOOK_LIMIT, self.nodes_and_pods(frontend.clone())),
            tokio::time::timeout(LOOK_LIMIT, token.auth())
        );
        let now = self.store.clock().now();
        let mut inside = match kubernetes {
            Ok(Ok((nodes, pods))) => Inside {
                nodes: node_words(&nodes),
                pods: pod_words(&pods),
                token: String::new(),
                now: Some(sample(now, &nodes, &pods)),
            },
            Ok(Err(error)) => Inside::all(&format!("unknown: {error}")),
            Err(_elapsed) => Inside::all("unknown: Kubernetes does not answer"),
        };
        inside.token = match token {
            Ok(Ok(auth)) => ends(read_facts(&auth.token()).as_ref(), now),
            Ok(Err(error)) => format!("unknown: {error}"),
            Err(_elapsed) => "unknown: the front end does not answer".to_owned(),
        };
        inside
    }

    async fn nodes_and_pods(
        &self,
        frontend: Arc<Frontend>,
    ) -> Result<(Vec<NodeState>, Vec<PodState>), KubernetesError> {
        let kubernetes = Kubernetes::connect(frontend).await?;
        let namespace = &self.services.settings.helm.namespace;
        let nodes = kubernetes.nodes().await?;
        Ok((nodes, kubernetes.pods(Some(namespace)).await?))
    }

    async fn hub(&self, cluster: &Cluster, now: DateTime<Utc>) -> (bool, String) {
        let Ok(address) = address_of(cluster) else {
            return (false, "none yet".to_owned());
        };
        let target = self.services.hub_target(cluster, address);
        match tokio::time::timeout(LOOK_LIMIT, self.services.hubs.check(&target)).await {
            Ok(Ok(check)) => {
                let version = check.version.as_deref().unwrap_or("of unknown version");
                let certificate = check.certificate_expires_at.map_or_else(String::new, |at| {
                    let days = (at - now).num_days();
                    format!(
                        ", certificate for {days} days, until {}",
                        at.format("%Y-%m-%d")
                    )
                });
                (true, format!("answers, JupyterHub {version}{certificate}"))
            }
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (false, "does not answer".to_owned()),
        }
    }

    /// When the bot's own access token ends; those of front ends are another matter.
    pub(super) fn token(&self, now: DateTime<Utc>) -> String {
        match self.services.settings.token.get() {
            None => "the bot logs in to IM with a password".to_owned(),
            Some(token) => token_words(read_expiry(&token), now),
        }
    }
}

/// An operation and how far it is; one that stopped holds up what stands below it.
fn in_a_line(operation: &Operation) -> String {
    let (id, command) = (operation.id.short(), &operation.command);
    if operation.state == OperationState::Stopped {
        return format!(
            "⚠ `{id}` {command} stopped and holds up the others: `/pangeo ops show operation:{id}`"
        );
    }
    format!("`{id}` {command} is {}", operation.state.as_str())
}

/// What ends, when, and who sees to it.
fn token_words(ends: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    const WHAT: &str = "the access token with which the bot uses IM";
    const TODO: &str = "whoever runs the bot must see to its renewal";
    match ends {
        None => format!("{WHAT} has no readable end"),
        Some(at) if at <= now => format!("⚠ {WHAT} ended <t:{}:R>; {TODO}", at.timestamp()),
        Some(at) if (at - now).num_minutes() < TOKEN_SOON_MIN => {
            format!("⚠ {WHAT} ends <t:{}:R>; {TODO}", at.timestamp())
        }
        Some(at) => format!("{WHAT} ends <t:{}:R>", at.timestamp()),
    }
}

fn node_words(nodes: &[NodeState]) -> String {
    let ready = nodes.iter().filter(|node| node.ready).count();
    let workers = nodes.iter().filter(|node| !node.is_control_plane).count();
    let s = if workers == 1 { "" } else { "s" };
    format!("{ready} of {} ready, {workers} worker{s}", nodes.len())
}

/// `14 running, 2 pending · 5 users online`: the pods of the hub's namespace.
fn pod_words(pods: &[PodState]) -> String {
    let mut phases: BTreeMap<String, usize> = BTreeMap::new();
    for pod in pods {
        let phase = if pod.terminating {
            "ending".to_owned()
        } else {
            pod.phase.to_lowercase()
        };
        *phases.entry(phase).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = phases.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    let users: BTreeSet<&str> = pods
        .iter()
        .filter(|pod| pod.phase == "Running" && !pod.terminating)
        .filter_map(|pod| pod.user.as_deref())
        .collect();
    let online = match users.len() {
        1 => "1 user online".to_owned(),
        users => format!("{users} users online"),
    };
    if counts.is_empty() {
        return "none".to_owned();
    }
    format!("{} · {online}", counts.join(", "))
}

/// What people said about the cluster.
fn described(mut report: Report, cluster: &Cluster) -> Report {
    if let Some(purpose) = &cluster.purpose {
        report = report.field("Purpose", purpose.clone());
    }
    if let Some(contact) = &cluster.contact {
        report = report.field("Contact", contact.clone());
    }
    report
}

/// The alerts that people were told of, a line each.
fn firing(alerts: &[Alert]) -> Option<String> {
    let firing = alerts
        .iter()
        .filter(|alert| alert.state == AlertState::Firing);
    let lines: Vec<String> = firing
        .map(|alert| {
            let since = alert.since.timestamp();
            format!("❌ {} since <t:{since}:R>", alert.finding.title)
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// When a command runs by itself next.
fn scheduled(schedule: &Schedule) -> String {
    let at = schedule.next_at.map_or(0, |at| at.timestamp());
    let skipped = if schedule.is_skipped() {
        " (skipped)"
    } else {
        ""
    };
    let typed = schedule.typed().replace('`', "'");
    format!(
        "<t:{at}:f>{skipped} `{typed}` (`{}`): {}",
        schedule.id.short(),
        schedule.wish.reason
    )
}

fn version(version: Option<&str>) -> String {
    version.unwrap_or("not yet").to_owned()
}

fn line(cluster: &Cluster) -> String {
    let until = cluster
        .ends_on
        .map_or_else(String::new, |day| format!(" · until {day}"));
    let purpose = cluster
        .purpose
        .as_deref()
        .map_or_else(String::new, |purpose| format!(" · {purpose}"));
    format!(
        "`{}` {} · https://{}/ · revision {} · <@{}>{purpose}{until}",
        cluster.name,
        cluster.phase.as_str(),
        cluster.host,
        cluster.revision,
        cluster.owner
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_counted_by_state_and_users_by_their_servers() {
        let pod = |phase: &str, user: Option<&str>, terminating| PodState {
            phase: phase.to_owned(),
            user: user.map(str::to_owned),
            terminating,
            ..PodState::default()
        };
        assert_eq!(pod_words(&[]), "none");
        let pods = [
            pod("Running", None, false),
            pod("Running", Some("ana"), false),
            // A named server of the same person.
            pod("Running", Some("ana"), false),
            pod("Pending", Some("ben"), false),
            pod("Running", Some("eva"), true),
        ];
        assert_eq!(
            pod_words(&pods),
            "3 running, 1 ending, 1 pending · 1 user online"
        );
    }

    #[test]
    fn an_end_says_whose_and_who_sees_to_it() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let in_minutes = |minutes| token_words(Some(now + TimeDelta::minutes(minutes)), now);
        assert_eq!(
            in_minutes(60),
            "the access token with which the bot uses IM ends <t:1790003600:R>"
        );
        for (minutes, words) in [(3, "ends <t:1790000180:R>; whoever"), (-1, "ended <t:")] {
            let text = in_minutes(minutes);
            assert!(text.starts_with("⚠ the access token with which"), "{text}");
            assert!(text.contains(words), "{text}");
        }
    }
}
