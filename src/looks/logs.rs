//! `logs`: the end of a cluster's log, read where it is.
//!
//! | source | read from |
//! |---|---|
//! | `clues` | `/var/log/clues2/clues2.log` on the front end, backwards in pieces of 1 MiB |
//! | `helm` | helm's history, and what our operations logged while helm ran |
//! | `im` | IM's contextualisation log, its last 256 KiB |
//! | `hub`, `proxy`, `gateway`, `pod` | the Kubernetes API, at most 4 MiB for each pod |
//!
//! **Invariant:** memory and time are bounded whatever the size of a log: pieces are read one by
//! one, as many as are needed for the lines that are wanted, up to [`SEARCH_LIMIT`].

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{LookError, Looks};
use crate::domain::cluster::Cluster;
use crate::domain::ids::OperationId;
use crate::domain::logs::{LogSource, LogWish, Pick, Picker};
use crate::domain::operation::LogLine;
use crate::operations::StepError;
use crate::services::clues::CluesError;
use crate::services::ec3::Ec3Error;
use crate::services::frontend::{Frontend, FrontendError};
use crate::services::helm::{Helm, HelmError};
use crate::services::kubernetes::{Kubernetes, KubernetesError, LogAsk, PodState};
use crate::store::StoreError;

/// CLUES' log (`/etc/clues2/clues2.cfg`, `LOG_FILE`).
pub(super) const CLUES_LOG: &str = "/var/log/clues2/clues2.log";

/// How long the answer may take in all.
const LIMIT: Duration = Duration::from_secs(60);

/// How much of a file is read at once.
const PIECE: u64 = 1024 * 1024;

/// How much of a file is searched from its end.
const SEARCH_LIMIT: u64 = 64 * 1024 * 1024;

/// The most pods of a kind whose logs are shown.
const MAX_PODS: usize = 4;

/// How many lines of a pod's log are searched for a pattern.
const SEARCH_LINES: usize = 100_000;

/// How many operations are looked through for helm's output, and lines of each.
const OPERATIONS: i64 = 10;
const OPERATION_LINES: i64 = 20_000;

/// How many lines of an operation are looked at when its log begins to be followed.
const LATELY: i64 = 500;

/// What was found of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogAnswer {
    /// The last lines, without secrets, oldest first.
    pub lines: Vec<String>,
    /// Where they are from, and what was left out.
    pub notes: Vec<String>,
    /// Why it could not be read, and what to do; the lines may still be some.
    pub problem: Option<(String, String)>,
}

impl LogAnswer {
    fn problem(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            problem: Some((text.into(), hint.into())),
            ..Self::default()
        }
    }
}

/// Why a look ended early.
pub(super) enum Stopped {
    /// Something outside is in the way: what, and what to do.
    InTheWay(String, String),
    /// The bot's own database.
    Look(LookError),
}

impl From<StepError> for Stopped {
    fn from(error: StepError) -> Self {
        Self::InTheWay(error.for_people(), error.hint().to_owned())
    }
}

impl From<FrontendError> for Stopped {
    fn from(error: FrontendError) -> Self {
        Self::InTheWay(with_causes(&error), error.hint().to_owned())
    }
}

impl From<KubernetesError> for Stopped {
    fn from(error: KubernetesError) -> Self {
        Self::InTheWay(with_causes(&error), error.hint().to_owned())
    }
}

impl From<HelmError> for Stopped {
    fn from(error: HelmError) -> Self {
        Self::InTheWay(with_causes(&error), error.hint().to_owned())
    }
}

impl From<CluesError> for Stopped {
    fn from(error: CluesError) -> Self {
        Self::InTheWay(with_causes(&error), error.hint().to_owned())
    }
}

impl From<Ec3Error> for Stopped {
    fn from(error: Ec3Error) -> Self {
        Self::InTheWay(with_causes(&error), error.hint())
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Look(error.into())
    }
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _written = write!(text, ": {cause}");
        next = cause.source();
    }
    text.chars().take(600).collect()
}

impl Looks {
    /// The end of a log of a cluster; `None` if there is no cluster of this name.
    ///
    /// # Errors
    /// When the database fails; what does not answer is part of the answer.
    pub async fn logs(&self, name: &str, wish: &LogWish) -> Result<Option<LogAnswer>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let read = async {
            match wish.source {
                LogSource::Clues => self.clues_log(&cluster, wish).await,
                LogSource::Helm => self.helm_log(&cluster, wish).await,
                LogSource::Im => self.im_log(&cluster, wish).await,
                LogSource::Hub | LogSource::Proxy | LogSource::Gateway | LogSource::Pod => {
                    self.pod_logs(&cluster, wish).await
                }
            }
        };
        Ok(Some(match tokio::time::timeout(LIMIT, read).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Stopped::InTheWay(text, hint))) => LogAnswer::problem(text, hint),
            Ok(Err(Stopped::Look(error))) => return Err(error),
            Err(_elapsed) => LogAnswer::problem(
                format!("the log could not be read within {} s", LIMIT.as_secs()),
                "ask for less: fewer lines, or a shorter `since`",
            ),
        }))
    }

    pub(super) async fn open_frontend(&self, cluster: &Cluster) -> Result<Arc<Frontend>, Stopped> {
        Ok(self.services.frontend(cluster, &self.vault).await?)
    }

    async fn clues_log(&self, cluster: &Cluster, wish: &LogWish) -> Result<LogAnswer, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let oldest = match wish.pick.since {
            Some(since) => Some(self.local_time(&frontend, since).await?),
            None => None,
        };
        let mut picker = Picker::new(&wish.pick, self.vault.redactor(), oldest);
        let searched = read_backwards(&frontend, CLUES_LOG, &mut picker).await?;
        let mut notes = vec![format!("`{CLUES_LOG}`, {}", in_bytes(searched.size))];
        if searched.gave_up {
            notes.push(format!("searched its last {}", in_bytes(SEARCH_LIMIT)));
        }
        Ok(LogAnswer {
            lines: picker.finish(),
            notes,
            problem: None,
        })
    }

    /// The time so long ago as the front end writes it into logs, in its own time zone.
    pub(super) async fn local_time(
        &self,
        frontend: &Frontend,
        ago: Duration,
    ) -> Result<String, FrontendError> {
        let ago = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
        let at = self.store.clock().now().timestamp().saturating_sub(ago);
        let at = format!("@{at}");
        let output = frontend
            .run_ok(&["date", "-d", &at, "+%Y-%m-%d %H:%M:%S"], &[])
            .await?;
        Ok(output.text().trim().to_owned())
    }

    async fn helm_log(&self, cluster: &Cluster, wish: &LogWish) -> Result<LogAnswer, Stopped> {
        let name = cluster.name.to_string();
        let operations = self
            .store
            .recent_operations(Some(&name), OPERATIONS)
            .await?;
        let oldest = self.oldest(&wish.pick);
        let mut picker = Picker::new(&wish.pick, self.vault.redactor(), None);
        for operation in operations {
            if picker.is_full() || operation.cluster != cluster.id {
                continue;
            }
            let mut text = String::new();
            for step in self.store.steps(operation.id).await? {
                if !runs_helm(&step.name) {
                    continue;
                }
                let lines = self
                    .store
                    .log_tail(operation.id, &step.name, OPERATION_LINES)
                    .await?;
                let is_new = |line: &&LogLine| oldest.is_none_or(|oldest| line.at >= oldest);
                for line in lines.iter().filter(is_new) {
                    let _written = writeln!(text, "{}", helm_line(operation.id, line));
                }
            }
            picker.older(&text);
        }
        let mut answer = LogAnswer {
            lines: picker.finish(),
            ..LogAnswer::default()
        };
        match self.helm_history(cluster).await {
            Ok(history) => answer.notes.extend(history),
            Err(Stopped::InTheWay(text, hint)) => {
                answer.problem = Some((format!("helm's history: {text}"), hint));
            }
            Err(error @ Stopped::Look(_)) => return Err(error),
        }
        Ok(answer)
    }

    /// The end of what an operation wrote.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation_log(
        &self,
        id: OperationId,
        pick: &Pick,
    ) -> Result<LogAnswer, LookError> {
        let oldest = self.oldest(pick);
        let mut picker = Picker::new(pick, self.vault.redactor(), None);
        let mut before = i64::MAX;
        while !picker.is_full() {
            let lines = self
                .store
                .log_lines_before(id, before, OPERATION_LINES)
                .await?;
            let Some(first) = lines.first() else { break };
            before = first.line;
            let is_new = |line: &&LogLine| oldest.is_none_or(|oldest| line.at >= oldest);
            let mut text = String::new();
            for line in lines.iter().filter(is_new) {
                let at = line.at.format("%Y-%m-%dT%H:%M:%SZ");
                let _written = writeln!(text, "{at} [{}] {}", line.step, line.text);
            }
            picker.older(&text);
            if oldest.is_some_and(|oldest| first.at < oldest) {
                break;
            }
        }
        Ok(LogAnswer {
            lines: picker.finish(),
            ..LogAnswer::default()
        })
    }

    /// The first moment that is wanted.
    fn oldest(&self, pick: &Pick) -> Option<DateTime<Utc>> {
        let since = TimeDelta::from_std(pick.since?).ok()?;
        Some(self.store.clock().now() - since)
    }

    /// What our operations wrote while helm ran, after a line or lately; oldest first. Also the
    /// number of the last line that was looked at.
    pub(super) async fn helm_lines(
        &self,
        cluster: &Cluster,
        after: Option<i64>,
    ) -> Result<(Vec<String>, i64), StoreError> {
        let name = cluster.name.to_string();
        let operations = self
            .store
            .recent_operations(Some(&name), OPERATIONS)
            .await?;
        let mut new = Vec::new();
        let mut last = after.unwrap_or(0);
        for operation in operations.iter().filter(|one| one.cluster == cluster.id) {
            let id = operation.id;
            let lines = match after {
                Some(after) => {
                    self.store
                        .log_lines_after(id, after, OPERATION_LINES)
                        .await?
                }
                None => self.store.log_lines_before(id, i64::MAX, LATELY).await?,
            };
            last = lines.last().map_or(last, |line| last.max(line.line));
            let of_helm = lines.iter().filter(|line| runs_helm(&line.step));
            new.extend(of_helm.map(|line| (line.line, helm_line(id, line))));
        }
        new.sort_by_key(|(line, _)| *line);
        Ok((new.into_iter().map(|(_, text)| text).collect(), last))
    }

    async fn helm_history(&self, cluster: &Cluster) -> Result<Vec<String>, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let helm = Helm::new(&frontend, &self.services.settings.helm);
        let history = helm.history().await?;
        let newest = history.iter().rev().take(5);
        Ok(newest
            .map(|release| {
                format!(
                    "revision {} {} · {} · {}",
                    release.revision,
                    release.status.as_str(),
                    release.chart,
                    release.description.chars().take(160).collect::<String>()
                )
            })
            .collect())
    }

    async fn im_log(&self, cluster: &Cluster, wish: &LogWish) -> Result<LogAnswer, Stopped> {
        let Some(id) = &cluster.infrastructure else {
            let text = "the cluster has no infrastructure yet";
            return Ok(LogAnswer::problem(text, "see `/pangeo ops list`"));
        };
        let log = match self.services.im.contmsg(id, 0).await {
            Ok(log) => log,
            Err(error) => {
                let hint = "see `/pangeo status`, and whether the bot's token is still good";
                return Ok(LogAnswer::problem(with_causes(&error), hint));
            }
        };
        let text = if log.start > 0 {
            log.text.split_once('\n').map_or("", |(_, rest)| rest)
        } else {
            &log.text
        };
        let mut picker = Picker::new(&wish.pick, self.vault.redactor(), None);
        picker.older(text);
        let mut notes = vec![format!(
            "contextualisation of `{id}`, {}",
            in_bytes(log.end)
        )];
        if log.start > 0 {
            notes.push(format!("of its last {}", in_bytes(log.end - log.start)));
        }
        Ok(LogAnswer {
            lines: picker.finish(),
            notes,
            problem: None,
        })
    }

    async fn pod_logs(&self, cluster: &Cluster, wish: &LogWish) -> Result<LogAnswer, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let kubernetes = Kubernetes::connect(frontend).await?;
        let namespace = &self.services.settings.helm.namespace;
        let all = kubernetes.pods(Some(namespace)).await?;
        let mut pods: Vec<&PodState> = all.iter().filter(|pod| is_meant(pod, wish)).collect();
        // The newest last, so that the end of the answer is what happened last.
        pods.sort_by_key(|pod| pod.created_at);
        if pods.is_empty() {
            let names: Vec<&str> = all.iter().map(|pod| pod.name.as_str()).take(12).collect();
            return Ok(LogAnswer::problem(
                format!("there is no such pod in `{namespace}`"),
                format!("there are: {}", names.join(", ")),
            ));
        }
        let left_out = pods.len().saturating_sub(MAX_PODS);
        let mut answer = LogAnswer::default();
        for pod in pods.into_iter().skip(left_out) {
            self.pod_log(&kubernetes, pod, wish, &mut answer).await?;
        }
        if left_out > 0 {
            answer.notes.push(format!("{left_out} older pods left out"));
        }
        Ok(answer)
    }

    /// Adds the log of one pod.
    async fn pod_log(
        &self,
        kubernetes: &Kubernetes,
        pod: &PodState,
        wish: &LogWish,
        answer: &mut LogAnswer,
    ) -> Result<(), Stopped> {
        let container = pod.containers.first();
        let restarts: i32 = pod.containers.iter().map(|one| one.restarts).sum();
        let mut note = format!("pod `{}` {}", pod.name, pod.phase);
        if restarts > 0 {
            let _written = write!(note, ", started again {restarts} times");
        }
        if let Some((reason, _)) = container.and_then(|one| one.waiting.as_ref()) {
            let _written = write!(note, ", {reason}");
        }
        answer.notes.push(note);
        let lines = if wish.pick.grep.is_some() {
            SEARCH_LINES
        } else {
            wish.pick.lines
        };
        let ask = LogAsk {
            lines,
            since: wish.pick.since,
            timestamps: false,
        };
        let name = container.map(|one| one.name.as_str());
        match kubernetes.pod_log(pod, name, ask).await {
            Ok(text) => {
                let mut picker = Picker::new(&wish.pick, self.vault.redactor(), None);
                picker.older(&text);
                answer.lines.extend(picker.finish());
            }
            // A pod that has not started has no log; the others may.
            Err(error) if !error.is_transient() => {
                answer.problem = Some((with_causes(&error), pod_hint(pod)));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn pod_hint(pod: &PodState) -> String {
    pod.unschedulable.as_ref().map_or_else(
        || "wait until it has started".to_owned(),
        |(message, _)| format!("it finds no node: {message}"),
    )
}

/// A line of ours with the operation and the step that wrote it.
fn helm_line(operation: OperationId, line: &LogLine) -> String {
    let at = line.at.format("%Y-%m-%dT%H:%M:%SZ");
    format!("{at} [{} {}] {}", operation.short(), line.step, line.text)
}

/// Whether a step of ours runs helm.
fn runs_helm(step: &str) -> bool {
    ["daskhub", "helm", "release"]
        .iter()
        .any(|word| step.contains(word))
}

/// Whether a pod is one of those whose log is wanted: `kubectl get pods` of the chart shows
/// `hub-…`, `proxy-…` and `api-…-dask-gateway-…` (`docs/domain`, Kubernetes).
pub(super) fn is_meant(pod: &PodState, wish: &LogWish) -> bool {
    match wish.source {
        LogSource::Hub => pod.name.starts_with("hub-"),
        LogSource::Proxy => pod.name.starts_with("proxy-"),
        LogSource::Gateway => pod.name.starts_with("api-") && pod.name.contains("dask-gateway"),
        LogSource::Pod => wish
            .pod
            .as_ref()
            .is_some_and(|name| name.as_str() == pod.name),
        LogSource::Clues | LogSource::Helm | LogSource::Im => false,
    }
}

/// How a search through a file ended.
pub(super) struct Searched {
    /// The size of the file, in bytes.
    pub(super) size: u64,
    /// Whether there is more that was not looked at.
    pub(super) gave_up: bool,
}

/// Gives a file to a picker from its end, piece by piece, until the picker is full.
///
/// Pieces end where lines end: what is cut off at the beginning of a piece goes to the end of the
/// next one. A line that is longer than a piece is cut.
pub(super) async fn read_backwards(
    frontend: &Frontend,
    path: &str,
    picker: &mut Picker<'_>,
) -> Result<Searched, FrontendError> {
    let size = frontend.file_size(path).await?;
    let mut end = size;
    let mut rest: Vec<u8> = Vec::new();
    while end > 0 && !picker.is_full() {
        if size - end >= SEARCH_LIMIT {
            return Ok(Searched {
                size,
                gave_up: true,
            });
        }
        let start = end.saturating_sub(PIECE);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        let mut piece = frontend.read_from(path, start, length).await?;
        piece.append(&mut rest);
        let begin = match piece.iter().position(|byte| *byte == b'\n') {
            _ if start == 0 => 0,
            Some(at) => at + 1,
            None => piece.len(),
        };
        let whole = piece.split_off(begin);
        picker.older(&String::from_utf8_lossy(&whole));
        if piece.len() <= 64 * 1024 {
            rest = piece;
        }
        end = start;
    }
    Ok(Searched {
        size,
        gave_up: false,
    })
}

/// A size for people.
fn in_bytes(bytes: u64) -> String {
    const STEP: u64 = 1024;
    match bytes {
        0..STEP => format!("{bytes} B"),
        STEP..0x10_0000 => format!("{} KiB", bytes / STEP),
        0x10_0000.. => format!("{} MiB", bytes / STEP / STEP),
    }
}
