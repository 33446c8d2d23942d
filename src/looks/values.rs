//! `values show`, `history`, `diff` and `drift`: what a hub is given, and was; secrets masked.

use std::fmt::Write as _;

use secrecy::ExposeSecret;
use serde_json::Value;

use super::{LookError, Looks, Report, Tone};
use crate::domain::cluster::Cluster;
use crate::domain::diagnosis::Look;
use crate::domain::values::change::{changed_lines, unified};
use crate::domain::values::python::{Choice, DaskLimits, WorkerOptions};
use crate::domain::values::secrets::{is_secret, masked};
use crate::domain::values::text::{Path, differences};
use crate::domain::yaml;
use crate::operations::values::{live, text_of};
use crate::services::helm::LiveValues;
use crate::store::revisions::RevisionRow;

/// How many revisions `history` shows.
const HISTORY: i64 = 20;

/// How many changed lines a difference shows in the message; all are in its file.
const LINES_SHOWN: usize = 30;

/// What somebody wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuesLook {
    /// The values of a revision, the newest if none is named.
    Show {
        /// The revision.
        revision: Option<i32>,
    },
    /// The revisions, newest first.
    History,
    /// What differs between two revisions, or from another cluster.
    Diff {
        /// The older one; the one before `to` if not named.
        from: Option<i32>,
        /// The newer one; the newest if not named.
        to: Option<i32>,
        /// Another cluster, whose newest revision is taken instead of `to`.
        other: Option<String>,
    },
    /// What helm has against the newest revision.
    Drift,
}

/// What helm has beside the newest revision.
enum Compared {
    /// Helm could not be asked; why.
    Unseen(String),
    /// The revision is not kept whole.
    NotKept,
    /// Both.
    Both {
        /// The revision.
        tree: Value,
        /// What helm has.
        live: Box<LiveValues>,
    },
}

impl Looks {
    /// Looks at the values of a cluster; `None` if there is none of this name.
    ///
    /// # Errors
    /// When the database fails; a front end that does not answer is part of the report.
    pub async fn values(&self, name: &str, look: &ValuesLook) -> Result<Option<Report>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let report = match look {
            ValuesLook::Show { revision } => self.show(&cluster, *revision).await?,
            ValuesLook::History => self.history(&cluster).await?,
            ValuesLook::Diff { from, to, other } => match other {
                Some(other) => self.diff_clusters(&cluster, *from, other).await?,
                None => self.diff_revisions(&cluster, *from, *to).await?,
            },
            ValuesLook::Drift => self.drift(&cluster).await?,
        };
        Ok(Some(report))
    }

    async fn show(&self, cluster: &Cluster, wanted: Option<i32>) -> Result<Report, LookError> {
        let number = wanted.unwrap_or(cluster.revision);
        let Some(row) = self.store.revision(cluster.id, number).await? else {
            return Ok(no_revision(cluster, number));
        };
        let tree = yaml::read(&row.values_masked).unwrap_or_default();
        let title = format!("The values of `{}`, revision {number}", cluster.name);
        let text = format!("{}\nsecrets are shown as `secret`", line(&row));
        let mut report = Report::new(title, Tone::Neutral, text);
        for (name, value) in told(&tree) {
            report = report.field(name, value);
        }
        let file = format!("{}-values-{number}.yaml", cluster.name);
        Ok(report.file(file, row.values_masked))
    }

    async fn history(&self, cluster: &Cluster) -> Result<Report, LookError> {
        let rows = self.store.revisions(cluster.id, HISTORY).await?;
        let lines: Vec<String> = rows.iter().map(line).collect();
        let title = format!("The values of `{}` over time", cluster.name);
        if lines.is_empty() {
            return Ok(Report::new(title, Tone::Neutral, "no revision is recorded"));
        }
        let report = Report::new(title, Tone::Neutral, lines.join("\n"));
        Ok(report.hint(format!(
            "`/pangeo values diff name:{0}` shows what the newest changed, `/pangeo values rollback name:{0}` goes back",
            cluster.name
        )))
    }

    async fn diff_revisions(
        &self,
        cluster: &Cluster,
        from: Option<i32>,
        to: Option<i32>,
    ) -> Result<Report, LookError> {
        let to = to.unwrap_or(cluster.revision);
        let from = from.unwrap_or_else(|| to.saturating_sub(1).max(1));
        let Some(old) = self.store.revision(cluster.id, from).await? else {
            return Ok(no_revision(cluster, from));
        };
        let Some(new) = self.store.revision(cluster.id, to).await? else {
            return Ok(no_revision(cluster, to));
        };
        let hidden = self.hidden(cluster, from, to).await?;
        Ok(difference(
            format!("`{}`: revision {from} → {to}", cluster.name),
            (&format!("revision {from}"), &old.values_masked),
            (&format!("revision {to}"), &new.values_masked),
            &hidden,
        ))
    }

    /// The places of secrets that differ between two revisions.
    async fn hidden(&self, cluster: &Cluster, from: i32, to: i32) -> Result<Vec<Path>, LookError> {
        let old = text_of(&self.vault, cluster.id, from).await?;
        let new = text_of(&self.vault, cluster.id, to).await?;
        let trees = old.zip(new).and_then(|(old, new)| {
            let old = yaml::read(old.expose_secret()).ok()?;
            Some((old, yaml::read(new.expose_secret()).ok()?))
        });
        Ok(trees.map_or_else(Vec::new, |(old, new)| secret_places(&old, &new)))
    }

    async fn diff_clusters(
        &self,
        cluster: &Cluster,
        from: Option<i32>,
        other: &str,
    ) -> Result<Report, LookError> {
        let Some(second) = self.store.cluster_by_name(other).await? else {
            return Ok(Report::new(
                format!("there is no cluster `{}`", other.replace('`', "'")),
                Tone::Warn,
                "`/pangeo list` shows those that exist",
            ));
        };
        let from = from.unwrap_or(cluster.revision);
        let Some(old) = self.store.revision(cluster.id, from).await? else {
            return Ok(no_revision(cluster, from));
        };
        let to = second.revision;
        let Some(new) = self.store.revision(second.id, to).await? else {
            return Ok(no_revision(&second, to));
        };
        Ok(difference(
            format!(
                "`{}` revision {from} → `{}` revision {to}",
                cluster.name, second.name
            ),
            (cluster.name.as_str(), &old.values_masked),
            (second.name.as_str(), &new.values_masked),
            &[],
        ))
    }

    /// The places of the values that helm has otherwise than the newest revision, without what
    /// stands there; not seen if helm can't be asked or the revision is not kept whole.
    ///
    /// # Errors
    /// When the database fails; a front end that does not answer is part of what was seen.
    pub async fn drifted(&self, cluster: &Cluster) -> Result<Look<Vec<String>>, LookError> {
        Ok(match self.compared(cluster).await? {
            Compared::Unseen(why) => Look::Failed(why),
            Compared::NotKept => Look::Failed("the revision is not kept whole".to_owned()),
            Compared::Both { tree, live } => {
                let edits = differences(&tree, &live.tree);
                Look::At(edits.iter().map(|edit| edit.path.to_string()).collect())
            }
        })
    }

    async fn compared(&self, cluster: &Cluster) -> Result<Compared, LookError> {
        let live = match live(&self.services, &self.vault, cluster).await {
            Ok(live) => live,
            Err(error) => return Ok(Compared::Unseen(error.for_people())),
        };
        let newest = text_of(&self.vault, cluster.id, cluster.revision).await?;
        Ok(newest.map_or(Compared::NotKept, |newest| Compared::Both {
            tree: yaml::read(newest.expose_secret()).unwrap_or_default(),
            live: Box::new(live),
        }))
    }

    async fn drift(&self, cluster: &Cluster) -> Result<Report, LookError> {
        let title = format!("`{}`: what was changed by hand", cluster.name);
        let number = cluster.revision;
        let (tree, live) = match self.compared(cluster).await? {
            Compared::Unseen(why) => return Ok(Report::new(title, Tone::Bad, why)),
            Compared::NotKept => {
                let text = format!("the whole values of revision {number} are not kept");
                return Ok(Report::new(title, Tone::Warn, text).hint(format!(
                    "`/pangeo values adopt name:{}` takes over what helm has",
                    cluster.name
                )));
            }
            Compared::Both { tree, live } => (tree, live),
        };
        if differences(&tree, &live.tree).is_empty() {
            let text = format!(
                "nothing: helm revision {} has the values of revision {number}",
                live.release.revision
            );
            return Ok(Report::new(title, Tone::Good, text));
        }
        // Both as the bot writes them, so that only values differ.
        let shown = |tree: &Value| {
            let text = yaml::write(tree).ok();
            text.and_then(|text| masked(&text).ok()).unwrap_or_default()
        };
        let sorted = |tree: &Value| shown(&by_key(tree));
        let report = difference(
            title,
            (&format!("revision {number}"), &sorted(&tree)),
            (
                &format!("helm revision {}", live.release.revision),
                &sorted(&live.tree),
            ),
            &secret_places(&tree, &live.tree),
        );
        let name = &cluster.name;
        Ok(Report {
            tone: Tone::Warn,
            ..report.hint(format!(
                "`/pangeo values adopt name:{name}` takes it over as a revision, `/pangeo values overwrite name:{name}` puts revision {number} back"
            ))
        })
    }
}

/// The same tree with its keys sorted.
fn by_key(tree: &Value) -> Value {
    match tree {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries = entries.into_iter();
            entries
                .map(|(key, value)| (key.clone(), by_key(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(by_key).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => tree.clone(),
    }
}

fn secret_places(old: &Value, new: &Value) -> Vec<Path> {
    let edits = differences(old, new).into_iter();
    edits
        .filter(|edit| is_secret(&edit.path))
        .map(|edit| edit.path)
        .collect()
}

fn difference(title: String, from: (&str, &str), to: (&str, &str), hidden: &[Path]) -> Report {
    let unified = unified(from, to);
    let lines = changed_lines(&unified);
    let mut text = if lines.is_empty() && hidden.is_empty() {
        return Report::new(title, Tone::Neutral, "there is no difference");
    } else if lines.is_empty() {
        String::new()
    } else {
        let shown: Vec<String> = lines
            .iter()
            .take(LINES_SHOWN)
            .map(|line| line.replace("```", "'''"))
            .collect();
        format!("```diff\n{}\n```", shown.join("\n"))
    };
    if lines.len() > LINES_SHOWN {
        let _written = write!(
            text,
            "\n{} more lines in the file",
            lines.len() - LINES_SHOWN
        );
    }
    for place in hidden {
        let _written = write!(text, "\nthe secret at `{place}` differs");
    }
    let report = Report::new(title, Tone::Neutral, text);
    if unified.is_empty() {
        report
    } else {
        report.file("values.diff", unified)
    }
}

fn no_revision(cluster: &Cluster, number: i32) -> Report {
    Report::new(
        format!("`{}` has no revision {number}", cluster.name),
        Tone::Warn,
        format!("the newest is {}", cluster.revision),
    )
    .hint(format!(
        "`/pangeo values history name:{}` shows all of them",
        cluster.name
    ))
}

/// One revision in a line.
fn line(row: &RevisionRow) -> String {
    let operation = row.operation.map_or_else(String::new, |operation| {
        format!(" · operation `{}`", operation.short())
    });
    let reason = row.reason.replace(['`', '\n'], "'");
    format!(
        "**{}** · <t:{}:f> · <@{}> · {reason}{operation} · helm {} · chart {}",
        row.number,
        row.made_at.timestamp(),
        row.made_by,
        row.helm_revision,
        row.chart
    )
}

/// What most people look for, as names and values.
fn told(tree: &Value) -> Vec<(&'static str, String)> {
    let source = |block: &str| {
        let path = Path::of(&["dask-gateway", "gateway", "extraConfig", block]);
        path.find(tree).and_then(Value::as_str)
    };
    let limits = match source("dasklimits").map(DaskLimits::parse) {
        None => "none".to_owned(),
        Some(Err(by_hand)) => by_hand.to_string(),
        Some(Ok(limits)) => format!(
            "{} cores, {}, {} workers, stopped after {} idle minutes",
            limits.cluster_max_cores,
            limits.cluster_max_memory,
            limits.cluster_max_workers,
            limits.idle_timeout.as_secs() / 60
        ),
    };
    let choice = |choice: Choice| format!("{} ({} to {})", choice.default, choice.min, choice.max);
    let workers = match source("optionHandler").map(WorkerOptions::parse) {
        None => "none".to_owned(),
        Some(Err(by_hand)) => by_hand.to_string(),
        Some(Ok(options)) => format!(
            "cores {}, GiB {}, {}",
            choice(options.cores),
            choice(options.memory_gib),
            options.image
        ),
    };
    let user = |keys: &[&str]| {
        let path = Path::of(&["jupyterhub", "singleuser"]);
        let path = keys.iter().fold(path, |path, key| path.below(key));
        match path.find(tree) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "chart's default".to_owned(),
        }
    };
    let notebook = format!(
        "CPU {} to {}, memory {} to {}, start within {} s",
        user(&["cpu", "guarantee"]),
        user(&["cpu", "limit"]),
        user(&["memory", "guarantee"]),
        user(&["memory", "limit"]),
        user(&["startTimeout"])
    );
    vec![
        ("Dask cluster", limits),
        ("Dask worker", workers),
        ("Notebook", notebook),
        (
            "Image",
            format!("{}:{}", user(&["image", "name"]), user(&["image", "tag"])),
        ),
    ]
}
