//! Follows logs for some minutes: reads what is new every two seconds and keeps its lines in the
//! rows, where the chat's message and the page find them.
//!
//! A view is claimed by a lease; a replica that dies loses it, and another one goes on after the
//! last line that was kept, if it is among the last ones.
//!
//! **Invariant:** a view ends: at its time, at [`MAX_LINES`], or when its log can't be read for
//! [`TRIES`] times in a row. Nothing outside is changed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Looks;
use super::logs::{CLUES_LOG, Stopped, is_meant, with_causes};
use crate::domain::cluster::Cluster;
use crate::domain::log_view::LogView;
use crate::domain::logs::{Forward, LogSource, LogWish, Pattern, Pick};
use crate::domain::names::PodName;
use crate::services::kubernetes::{Kubernetes, LogAsk, PodState};
use crate::store::StoreError;

/// How long a replica owns a view without a sign of life.
const LEASE: Duration = Duration::from_secs(30);

/// The pause between two looks at a log.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The pause between two looks for views that nobody reads for.
const CLAIM_EVERY: Duration = Duration::from_secs(1);

/// The most lines of a view.
const MAX_LINES: usize = 20_000;

/// How often in a row a log may be unreadable.
const TRIES: u32 = 5;

/// How much is read at once.
const PIECE: usize = 512 * 1024;

/// How many lines that were there before stand at the beginning.
const BEFORE: usize = 20;

/// Follows logs until the bot ends.
#[derive(Clone, Debug)]
pub struct Follower {
    looks: Looks,
    replica: String,
}

/// Where the reading of a log is.
#[derive(Debug, Default)]
struct Position {
    /// The byte in a file, or in IM's log.
    byte: Option<u64>,
    /// The number of the last line that our operations wrote.
    line: Option<i64>,
    /// When a pod wrote its last line that was read.
    time: Option<DateTime<Utc>>,
}

impl Follower {
    /// One for this replica.
    pub fn new(looks: Looks, replica: &str) -> Self {
        Self {
            looks,
            replica: replica.to_owned(),
        }
    }

    /// Runs until the bot ends.
    pub async fn run(self, ended: CancellationToken) {
        let mut views = JoinSet::new();
        let mut ticks = tokio::time::interval(CLAIM_EVERY);
        loop {
            tokio::select! {
                () = ended.cancelled() => break,
                Some(_done) = views.join_next() => continue,
                _ = ticks.tick() => {}
            }
            let claimed = self.looks.store.claim_log_view(&self.replica, LEASE).await;
            match claimed {
                Ok(Some(view)) => {
                    let (follower, ended) = (self.clone(), ended.clone());
                    views.spawn(async move { follower.follow(view, ended).await });
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look for logs to follow"
                ),
            }
        }
    }

    async fn follow(&self, view: LogView, ended: CancellationToken) {
        if let Err(error) = self.follow_to_end(&view, ended).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not keep the lines of a log; another try follows"
            );
        }
    }

    async fn follow_to_end(
        &self,
        view: &LogView,
        ended: CancellationToken,
    ) -> Result<(), StoreError> {
        let store = &self.looks.store;
        let Some(wish) = wish_of(view) else {
            let problem = Some("the log is not one that can be followed");
            return store.end_log_view(view.id, problem).await;
        };
        let mut lines = Forward::new(&wish.pick, self.looks.vault.redactor());
        let (mut position, mut kept, mut failed) = (Position::default(), 0, 0);
        let mut until = view.follow_until;
        // The last line that a replica before us kept.
        let mut known = store.log_view_tail(view.id, 1).await?.pop();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = ended.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            if store.clock().now() >= until {
                return store.end_log_view(view.id, None).await;
            }
            let mut new = match self.read(view, &wish, &mut position).await {
                Ok(text) => {
                    failed = 0;
                    lines.push(&text)
                }
                Err(Stopped::InTheWay(why, _)) if failed + 1 >= TRIES => {
                    return store.end_log_view(view.id, Some(&why)).await;
                }
                Err(Stopped::InTheWay(_, _) | Stopped::Look(_)) => {
                    failed += 1;
                    Vec::new()
                }
            };
            if !new.is_empty()
                && let Some(known) = known.take()
                && let Some(at) = new.iter().rposition(|line| *line == known.text)
            {
                new.drain(..=at);
            }
            kept += new.len();
            let held = store.append_log_view(view.id, &self.replica, LEASE, &new);
            let Some(follow_until) = held.await? else {
                return Ok(());
            };
            until = follow_until;
            if kept >= MAX_LINES {
                let problem = format!("it wrote more than {MAX_LINES} lines");
                return store.end_log_view(view.id, Some(&problem)).await;
            }
        }
    }

    /// What was written since the last time, at first the last lines.
    async fn read(
        &self,
        view: &LogView,
        wish: &LogWish,
        position: &mut Position,
    ) -> Result<String, Stopped> {
        let cluster = self.looks.store.cluster_by_name(&view.cluster).await?;
        let Some(cluster) = cluster else {
            let (why, hint) = ("the cluster is gone".to_owned(), String::new());
            return Err(Stopped::InTheWay(why, hint));
        };
        match wish.source {
            LogSource::Clues => self.read_file(&cluster, position).await,
            LogSource::Im => self.read_im(&cluster, position).await,
            LogSource::Helm => self.read_helm(&cluster, position).await,
            LogSource::Hub | LogSource::Proxy | LogSource::Gateway | LogSource::Pod => {
                self.read_pods(&cluster, wish, position).await
            }
        }
    }

    async fn read_file(
        &self,
        cluster: &Cluster,
        position: &mut Position,
    ) -> Result<String, Stopped> {
        let frontend = self.looks.open_frontend(cluster).await?;
        let size = frontend.file_size(CLUES_LOG).await?;
        // At first about as many bytes as the lines before have; a shorter file was rotated.
        let from = match position.byte {
            None => size.saturating_sub(u64::try_from(BEFORE * 160).unwrap_or_default()),
            Some(byte) if byte > size => 0,
            Some(byte) => byte,
        };
        let bytes = frontend.read_from(CLUES_LOG, from, PIECE).await?;
        let text = String::from_utf8_lossy(&bytes);
        let is_first = position.byte.is_none() && from > 0;
        position.byte = Some(from + u64::try_from(bytes.len()).unwrap_or_default());
        Ok(if is_first {
            text.split_once('\n')
                .map_or("", |(_cut, rest)| rest)
                .to_owned()
        } else {
            text.into_owned()
        })
    }

    async fn read_helm(
        &self,
        cluster: &Cluster,
        position: &mut Position,
    ) -> Result<String, Stopped> {
        let (lines, last) = self.looks.helm_lines(cluster, position.line).await?;
        let is_first = position.line.replace(last).is_none();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        Ok(if is_first { last_lines(&text) } else { text })
    }

    async fn read_im(&self, cluster: &Cluster, position: &mut Position) -> Result<String, Stopped> {
        let in_the_way = |why: String| Stopped::InTheWay(why, String::new());
        let Some(id) = &cluster.infrastructure else {
            return Err(in_the_way("it has no infrastructure".to_owned()));
        };
        let log = self
            .looks
            .services
            .im
            .contmsg(id, position.byte.unwrap_or(0));
        let log = log.await.map_err(|error| in_the_way(with_causes(&error)))?;
        let is_first = position.byte.is_none();
        position.byte = Some(log.end);
        Ok(if is_first {
            last_lines(&log.text)
        } else {
            log.text
        })
    }

    async fn read_pods(
        &self,
        cluster: &Cluster,
        wish: &LogWish,
        position: &mut Position,
    ) -> Result<String, Stopped> {
        let frontend = self.looks.open_frontend(cluster).await?;
        let kubernetes = Kubernetes::connect(frontend).await?;
        let namespace = &self.looks.services.settings.helm.namespace;
        let all = kubernetes.pods(Some(namespace)).await?;
        let newest = all
            .iter()
            .filter(|pod| is_meant(pod, wish))
            .max_by_key(|pod| pod.created_at);
        let Some(pod) = newest else {
            let why = "there is no such pod".to_owned();
            return Err(Stopped::InTheWay(why, String::new()));
        };
        let text = self.read_pod(&kubernetes, pod, position).await?;
        let last = position.time;
        let mut new = String::new();
        for line in text.lines() {
            // `2026-11-24T13:00:00.123456789Z text`
            let Some((time, line)) = line.split_once(' ') else {
                continue;
            };
            let Ok(time) = time.parse::<DateTime<Utc>>() else {
                continue;
            };
            if last.is_none_or(|last| time > last) {
                position.time = Some(time);
                new.push_str(line);
                new.push('\n');
            }
        }
        Ok(new)
    }

    async fn read_pod(
        &self,
        kubernetes: &Kubernetes,
        pod: &PodState,
        position: &Position,
    ) -> Result<String, Stopped> {
        let now = self.looks.store.clock().now();
        // The API's own clock may go otherwise: ask for a little more, known lines are dropped.
        let since = position
            .time
            .and_then(|time| (now - time).to_std().ok())
            .map(|since| since + Duration::from_secs(30));
        let lines = if since.is_none() { BEFORE } else { MAX_LINES };
        let ask = LogAsk {
            lines,
            since,
            timestamps: true,
        };
        let container = pod.containers.first().map(|one| one.name.as_str());
        Ok(kubernetes.pod_log(pod, container, ask).await?)
    }
}

fn last_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().rev().take(BEFORE).collect();
    lines.reverse();
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn wish_of(view: &LogView) -> Option<LogWish> {
    let pod = match &view.pod {
        Some(pod) => Some(PodName::parse(pod).ok()?),
        None => None,
    };
    let grep = match &view.grep {
        Some(grep) => Some(Pattern::parse(grep).ok()?),
        None => None,
    };
    Some(LogWish {
        source: LogSource::from_word(&view.source)?,
        pod,
        pick: Pick {
            lines: MAX_LINES,
            since: None,
            grep,
        },
    })
}
