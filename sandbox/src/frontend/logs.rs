//! The logs of a pretend cluster: those of pods through the Kubernetes API, and CLUES' file.
//!
//! A pod has said a few lines of its kind since it started, and what a test or the page adds.
//! They live as long as the sandbox's process, as the real ones live as long as the pod.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::FrontEnds;
use super::kubernetes::{Api, status};
use super::objects::pod_items;

/// What was added to the logs of pods, by infrastructure and pod.
#[derive(Debug, Default)]
pub(super) struct PodLogs(Mutex<BTreeMap<(String, String), Vec<Line>>>);

type Line = (DateTime<Utc>, String);

impl PodLogs {
    fn add(&self, infrastructure: &str, pod: &str, at: DateTime<Utc>, text: &str) {
        let key = (infrastructure.to_owned(), pod.to_owned());
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = text.lines().map(|line| (at, line.to_owned()));
        logs.entry(key).or_default().extend(lines);
    }

    fn of(&self, infrastructure: &str, pod: &str) -> Vec<Line> {
        let key = (infrastructure.to_owned(), pod.to_owned());
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.get(&key).cloned().unwrap_or_default()
    }
}

/// What a pod of DaskHub says by itself; the formats are those of the real programs.
fn usual(pod: &str, now: DateTime<Utc>) -> Vec<Line> {
    let at = |minutes: i64| now - TimeDelta::minutes(minutes);
    let lines: Vec<(i64, &str)> = if pod.starts_with("hub-") {
        vec![
            (
                90,
                "[I {t} JupyterHub app:2775] Running JupyterHub version 1.5.0",
            ),
            (
                90,
                "[I {t} JupyterHub proxy:461] Adding route for Hub: / => http://hub:8081",
            ),
            (
                30,
                "[I {t} JupyterHub log:189] 200 GET /hub/health (@10.244.0.1) 0.75ms",
            ),
            (
                20,
                "[W {t} JupyterHub base:89] Blocking Cross Origin API request",
            ),
            (
                10,
                "[I {t} JupyterHub reflector:275] watching for pods with label selector",
            ),
        ]
    } else if pod.starts_with("proxy-") {
        vec![
            (
                90,
                "{h} [ConfigProxy] info: Proxying https://*:8443 to (no default)",
            ),
            (
                90,
                "{h} [ConfigProxy] info: Adding route / -> http://hub:8081",
            ),
            (
                20,
                "{h} [ConfigProxy] error: 503 GET /user/ana/api connect ECONNREFUSED",
            ),
        ]
    } else if pod.starts_with("api-") {
        vec![
            (
                90,
                "[I {t} DaskGateway] Starting dask-gateway-server - version 2022.6.1",
            ),
            (
                90,
                "[I {t} DaskGateway] Backend started, clusters will contact api server",
            ),
        ]
    } else if pod.starts_with("traefik-") {
        vec![(
            90,
            "time=\"{t}\" level=info msg=\"Configuration loaded from flags.\"",
        )]
    } else {
        vec![(60, "started")]
    };
    lines
        .into_iter()
        .map(|(minutes, text)| {
            let at = at(minutes);
            let day = at.format("%Y-%m-%d %H:%M:%S.000").to_string();
            let hour = at.format("%H:%M:%S.000").to_string();
            (at, text.replace("{t}", &day).replace("{h}", &hour))
        })
        .collect()
}

/// The parameters that are understood, of those of the real API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    container: Option<String>,
    tail_lines: Option<usize>,
    since_seconds: Option<i64>,
    #[serde(default)]
    timestamps: bool,
}

/// `GET /api/v1/namespaces/<namespace>/pods/<pod>/log`.
pub(super) async fn pod_log(
    State(api): State<Api>,
    Path((namespace, pod)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let item = api.shared.look(&api.infrastructure, |cluster| {
        let name =
            |item: &Value| item.pointer("/metadata/name").and_then(Value::as_str) == Some(&pod);
        pod_items(cluster).into_iter().find(name)
    });
    let Some(item) = item.flatten().filter(|_| namespace == "daskhub") else {
        return status(StatusCode::NOT_FOUND, &format!("pods {pod:?} not found"));
    };
    if item.pointer("/status/phase").and_then(Value::as_str) == Some("Pending") {
        let container = wanted.container.unwrap_or_else(|| "main".to_owned());
        let text = format!(
            "container {container:?} in pod {pod:?} is waiting to start: ContainerCreating"
        );
        return status(StatusCode::BAD_REQUEST, &text);
    }
    let now = Utc::now();
    let mut lines = usual(&pod, now);
    lines.extend(api.shared.pod_logs.of(&api.infrastructure, &pod));
    if let Some(seconds) = wanted.since_seconds {
        lines.retain(|(at, _)| now - *at <= TimeDelta::seconds(seconds));
    }
    let skipped = wanted
        .tail_lines
        .map_or(0, |tail| lines.len().saturating_sub(tail));
    let text: String = lines
        .into_iter()
        .skip(skipped)
        .map(|(at, line)| {
            if wanted.timestamps {
                format!("{} {line}\n", at.format("%Y-%m-%dT%H:%M:%S.%9fZ"))
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    ([(header::CONTENT_TYPE, "text/plain")], text).into_response()
}

impl FrontEnds {
    /// Lets a pod say something more, line by line, now.
    pub fn pod_says(&self, infrastructure: &str, pod: &str, text: &str) {
        self.shared
            .pod_logs
            .add(infrastructure, pod, Utc::now(), text);
    }

    /// Adds text to CLUES' log as it is.
    ///
    /// # Errors
    /// When there is no such front end or its disk is full.
    pub fn write_clues_log(&self, infrastructure: &str, text: &str) -> anyhow::Result<()> {
        let path = self.root(infrastructure)?.join("var/log/clues2/clues2.log");
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        file.write_all(text.as_bytes()).context("write CLUES' log")
    }

    /// Rotates CLUES' log as its `clues-logrotate` has it done: copied aside, then made empty in place
    /// (`copytruncate`).
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn rotate_clues_log(&self, infrastructure: &str) -> anyhow::Result<()> {
        let path = self.root(infrastructure)?.join("var/log/clues2/clues2.log");
        let aside = path.with_extension(format!("log-{}", Utc::now().format("%Y%m%d")));
        std::fs::copy(&path, &aside).with_context(|| format!("copy {}", path.display()))?;
        let file = std::fs::OpenOptions::new().write(true).open(&path);
        file.and_then(|file| file.set_len(0))
            .with_context(|| format!("empty {}", path.display()))
    }

    /// Makes CLUES' log `bytes` long by a hole at its beginning, and ends it with `text`.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn grow_clues_log(
        &self,
        infrastructure: &str,
        bytes: u64,
        text: &str,
    ) -> anyhow::Result<()> {
        let path = self.root(infrastructure)?.join("var/log/clues2/clues2.log");
        let file = std::fs::OpenOptions::new().write(true).open(&path)?;
        file.set_len(bytes).context("grow CLUES' log")?;
        drop(file);
        self.write_clues_log(infrastructure, &format!("\n{text}"))
    }
}
