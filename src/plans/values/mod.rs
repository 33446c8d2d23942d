//! The plans of `values …`: what a hub is given, changed.
//!
//! Each begins with the newest revision's text and with what helm has; a difference between the two
//! that somebody made by hand must be adopted or overwritten first. What a command wants
//! ([`typed`], [`place`]) becomes a new text in which nothing else moved, that text is held against
//! the chart's schema, and the plan shows the difference with its secrets masked.

pub(super) mod place;
mod typed;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::options::MAX_FILE_BYTES;
use crate::commands::value::Options;
use crate::domain::cluster::Cluster;
use crate::domain::names::HostName;
use crate::domain::plan::{PlanContent, PlanFile};
use crate::domain::values::change::{
    Make, ValuesChange, changed_lines, digest_of_text, digest_of_tree, unified,
};
use crate::domain::values::schema::problems;
use crate::domain::values::secrets::{is_secret, masked};
use crate::domain::values::text::{differences, same};
use crate::domain::yaml;
use crate::operations::StepError;
use crate::operations::values::{LIVE_LIMIT, kept_for, live, make_text, of_helm, text_of};
use crate::services::helm::{ChartSchema, Helm, LiveValues};

/// The schemas of how many chart versions are remembered.
const SCHEMAS_KEPT: usize = 8;

/// How many lines of a difference are told in the message; all are in its file.
const LINES_TOLD: usize = 60;

/// The schemas that were read, by chart version.
#[derive(Clone, Debug, Default)]
pub(super) struct Schemas {
    known: Arc<Mutex<BTreeMap<String, Arc<Vec<ChartSchema>>>>>,
    /// The one task that reads them for a completion.
    reading: Arc<Mutex<JoinSet<()>>>,
}

impl Schemas {
    /// The schemas of a chart version, if they were read before.
    pub(super) fn remembered(&self, version: &str) -> Option<Arc<Vec<ChartSchema>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(version).cloned()
    }

    fn keep(&self, version: &str, schemas: &Arc<Vec<ChartSchema>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SCHEMAS_KEPT {
            known.clear();
        }
        known.insert(version.to_owned(), schemas.clone());
    }
}

/// What there is before the change.
pub(super) struct Before {
    cluster: Cluster,
    chart_version: String,
    /// The newest revision's text, **with secrets**.
    newest: Option<SecretString>,
    /// The same as a tree.
    tree: Value,
    /// What helm has.
    live: LiveValues,
    /// The chart's schemas, empty if they can't be read.
    schemas: Arc<Vec<ChartSchema>>,
}

/// What a command wants.
struct Wanted {
    make: Make,
    /// Another chart version than the one that runs.
    chart_version: Option<String>,
    summary: String,
    warnings: Vec<String>,
}

/// What a command wants, or everything that is in the way.
type Wish = Result<Wanted, Vec<String>>;

impl Planner {
    pub(super) async fn draft_values(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let before = match self.before(cluster).await? {
            Ok(before) => before,
            Err(problems) => return Ok(Err(problems)),
        };
        let over = match self.overlay(options).await {
            Ok(over) => over,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let wish = match command.path.name.as_str() {
            "adopt" => adopt(&before),
            "overwrite" => overwrite(&before),
            other => match before.drifted() {
                Some(problem) => Err(vec![problem]),
                None => match other {
                    "chart" => chart(&before, options),
                    "edit" => typed::edit(&before, &over),
                    "image" => typed::image(&before, options),
                    "limits" => typed::limits(&before, options),
                    "notebook" => typed::notebook(&before, options),
                    "rollback" => rollback(&before, options),
                    "set" => place::set(&before, options),
                    "worker-options" => typed::worker_options(&before, options),
                    _unknown => {
                        return Err(PlanError::NoPlan {
                            command: command.name(),
                        });
                    }
                },
            },
        };
        match wish {
            Ok(wanted) => self.change(command, options, &before, wanted).await,
            Err(problems) => Ok(Err(problems)),
        }
    }

    /// The values of a cluster whose host is to be changed, or what is in the way.
    pub(super) async fn values_before(
        &self,
        cluster: Cluster,
    ) -> Result<Result<Before, Vec<String>>, PlanError> {
        let before = self.before(cluster).await?;
        Ok(before.and_then(|before| match before.drifted() {
            Some(problem) => Err(vec![problem]),
            None => Ok(before),
        }))
    }

    /// The values with another host.
    pub(super) async fn values_for_host(
        &self,
        command: &Command,
        options: &Options,
        before: &Before,
        (from, to): (HostName, HostName),
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let wanted = Wanted {
            summary: format!("Give the hub of `{}` the host `{to}`", before.cluster.name),
            make: Make::Host { from, to },
            chart_version: None,
            warnings: Vec::new(),
        };
        self.change(command, options, before, wanted).await
    }

    /// The YAML that was attached or typed; empty if neither was.
    async fn overlay(&self, options: &Options) -> Result<SecretString, String> {
        let Some(file) = options.file("file") else {
            let typed = options.form("overlay").cloned();
            return Ok(typed.unwrap_or_else(|| SecretString::from("")));
        };
        let attachments = &self.services.attachments;
        let text = attachments.text(&file.url, MAX_FILE_BYTES).await;
        text.map_err(|error| format!("`file`: {error}"))
    }

    async fn before(&self, cluster: Cluster) -> Result<Result<Before, Vec<String>>, PlanError> {
        let newest = text_of(&self.vault, cluster.id, cluster.revision).await?;
        let tree = newest
            .as_ref()
            .and_then(|text| yaml::read(text.expose_secret()).ok())
            .unwrap_or(Value::Null);
        let live = match live(&self.services, &self.vault, &cluster).await {
            Ok(live) => live,
            Err(error) => {
                return Ok(Err(vec![format!(
                    "the values of `{}` can't be read from the front end: {}",
                    cluster.name,
                    error.for_people()
                )]));
            }
        };
        let chart = &self.services.settings.helm.chart;
        let chart_version = match live.release.version_of(chart) {
            Some(version) => version.to_owned(),
            None => cluster.chart_version.clone().unwrap_or_default(),
        };
        let schemas = self.schemas(&cluster, &chart_version).await;
        Ok(Ok(Before {
            cluster,
            chart_version,
            newest,
            tree,
            live,
            schemas,
        }))
    }

    /// The schemas of the version that will run; another one than now must be readable.
    async fn schemas_of(
        &self,
        before: &Before,
        version: &str,
    ) -> Result<Arc<Vec<ChartSchema>>, String> {
        if version == before.chart_version {
            return Ok(before.schemas.clone());
        }
        let read = self.read_schemas(&before.cluster, version).await;
        read.map_err(|error| {
            let why = error.for_people();
            format!("version {version} of the chart can't be read on the front end: {why}")
        })
    }

    async fn read_schemas(
        &self,
        cluster: &Cluster,
        version: &str,
    ) -> Result<Arc<Vec<ChartSchema>>, StepError> {
        if let Some(known) = self.schemas.remembered(version) {
            return Ok(known);
        }
        let frontend = self.services.frontend(cluster, &self.vault).await?;
        let helm = Helm::new(&frontend, &self.services.settings.helm);
        let schemas = Arc::new(helm.chart_schemas(version).await.map_err(of_helm)?);
        self.schemas.keep(version, &schemas);
        Ok(schemas)
    }

    /// The chart's schemas; none if the front end does not give them. Helm checks them as well.
    async fn schemas(&self, cluster: &Cluster, version: &str) -> Arc<Vec<ChartSchema>> {
        match self.read_schemas(cluster, version).await {
            Ok(schemas) => schemas,
            Err(error) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    cluster.name = %cluster.name,
                    "the chart's schemas could not be read"
                );
                Arc::default()
            }
        }
    }

    /// Reads the chart's schemas for the next completion, unless that is under way.
    pub(super) fn read_schemas_meanwhile(&self, cluster: Cluster, version: String) {
        let reading = self.schemas.reading.lock();
        let mut reading = reading.unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = reading.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(error = %error, "reading a chart's schemas failed");
            }
        }
        if !reading.is_empty() {
            return;
        }
        let planner = self.clone();
        reading.spawn(async move {
            let reads = planner.schemas(&cluster, &version);
            if tokio::time::timeout(LIVE_LIMIT, reads).await.is_err() {
                tracing::info!(cluster.name = %cluster.name, "the chart's schemas took too long");
            }
        });
    }

    /// From what a command wants to the plan.
    async fn change(
        &self,
        command: &Command,
        options: &Options,
        before: &Before,
        wanted: Wanted,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let cluster = &before.cluster;
        let chart_version = match &wanted.make {
            Make::Revision { number } => {
                let row = self.store.revision(cluster.id, *number).await?;
                row.map(|row| row.chart_version)
            }
            Make::Edits { .. } | Make::Host { .. } | Make::Adopt | Make::Overwrite => {
                wanted.chart_version.clone()
            }
        };
        let chart_version = chart_version.unwrap_or_else(|| before.chart_version.clone());
        let kept = kept_for(&self.vault, cluster.id, &wanted.make).await?;
        let schemas = match self.schemas_of(before, &chart_version).await {
            Ok(schemas) => schemas,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let newest = (cluster.revision, before.newest.as_ref());
        let text = match make_text(&wanted.make, newest, &kept, &before.live.tree) {
            Ok(text) => text,
            Err(error) => return Ok(Err(vec![error.to_string()])),
        };
        let change = ValuesChange {
            from: cluster.revision,
            live: digest_of_tree(&before.live.tree),
            to: digest_of_text(text.expose_secret()),
            make: wanted.make,
            chart_version,
            reason: options
                .text("reason")
                .or_else(|| form_line(options, "reason"))
                .unwrap_or_else(|| command.name()),
        };
        Ok(content(
            before,
            &change,
            &text,
            (wanted.summary, wanted.warnings),
            &schemas,
        )
        .map(|(content, files)| Draft {
            target: cluster.name.to_string(),
            options: serde_json::to_value(&change).unwrap_or_default(),
            target_revision: cluster.revision,
            steps: command.steps(),
            content,
            files,
        }))
    }
}

/// What was typed into a form, as one line; `None` if nothing was.
fn form_line(options: &Options, input: &str) -> Option<String> {
    let text = options.form(input)?.expose_secret();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

impl Before {
    /// The newest revision, **with secrets**.
    pub(super) fn tree(&self) -> &Value {
        &self.tree
    }

    /// What is in the way if somebody changed the values by hand.
    fn drifted(&self) -> Option<String> {
        let name = &self.cluster.name;
        if self.newest.is_none() {
            return Some(format!(
                "the whole values of revision {} are not kept; take over what helm has with `/pangeo values adopt name:{name}` first",
                self.cluster.revision
            ));
        }
        (!same(&self.tree, &self.live.tree)).then(|| {
            format!(
                "somebody changed the values by hand; see `/pangeo values drift name:{name}`, then adopt or overwrite it"
            )
        })
    }
}

fn adopt(before: &Before) -> Wish {
    if before.newest.is_some() && same(&before.tree, &before.live.tree) {
        return Err(vec![
            "helm has the values of the newest revision; there is nothing to adopt".to_owned(),
        ]);
    }
    Ok(Wanted {
        make: Make::Adopt,
        chart_version: None,
        summary: format!(
            "Take what helm has over as the values of `{}`; nothing is installed",
            before.cluster.name
        ),
        warnings: Vec::new(),
    })
}

fn overwrite(before: &Before) -> Wish {
    if before.newest.is_some() && same(&before.tree, &before.live.tree) {
        return Err(vec![
            "helm has the values of the newest revision; there is nothing to overwrite".to_owned(),
        ]);
    }
    Ok(Wanted {
        make: Make::Overwrite,
        chart_version: None,
        summary: format!(
            "Put revision {} back over what was changed by hand in `{}`",
            before.cluster.revision, before.cluster.name
        ),
        warnings: Vec::new(),
    })
}

fn chart(before: &Before, options: &Options) -> Wish {
    let version = options.text("version").unwrap_or_default();
    let name = &before.cluster.name;
    if version == before.chart_version {
        return Err(vec![format!("`{name}` has version {version} of the chart")]);
    }
    Ok(Wanted {
        make: Make::Edits { edits: Vec::new() },
        summary: format!("Change `{name}` to version {version} of the chart"),
        warnings: vec![
            "The chart's custom resource definitions change with it and stay if it is rolled back"
                .to_owned(),
        ],
        chart_version: Some(version),
    })
}

fn rollback(before: &Before, options: &Options) -> Wish {
    let number = options.integer("revision").unwrap_or_default();
    let number = i32::try_from(number).unwrap_or_default();
    let newest = before.cluster.revision;
    if number >= newest || number < 1 {
        return Err(vec![format!(
            "`revision`: {newest} is the newest; `/pangeo values history name:{}` shows the earlier ones",
            before.cluster.name
        )]);
    }
    Ok(Wanted {
        make: Make::Revision { number },
        chart_version: None,
        summary: format!("Roll `{}` back to revision {number}", before.cluster.name),
        warnings: Vec::new(),
    })
}

/// What people see of the change, or why it can't be.
fn content(
    before: &Before,
    change: &ValuesChange,
    text: &SecretString,
    (summary, mut warnings): (String, Vec<String>),
    schemas: &[ChartSchema],
) -> Result<(PlanContent, Vec<PlanFile>), Vec<String>> {
    let failed = |what: &dyn std::fmt::Display| vec![format!("the plan can't be shown: {what}")];
    let tree = yaml::read(text.expose_secret()).map_err(|error| failed(&error))?;
    let adopts = change.make == Make::Adopt;
    // What runs now: helm's own values where they differ from ours.
    let (from, shown_from) = match &before.newest {
        Some(newest) if adopts || same(&before.tree, &before.live.tree) => {
            (before.tree.clone(), newest.expose_secret().to_owned())
        }
        Some(_) | None => {
            let live = yaml::write(&before.live.tree).map_err(|error| failed(&error))?;
            (before.live.tree.clone(), live)
        }
    };
    let keeps_chart = change.chart_version == before.chart_version;
    if !adopts && keeps_chart && same(&from, &tree) {
        return Err(vec!["nothing would change".to_owned()]);
    }
    let refused = refusals((&before.schemas, &from), (schemas, &tree));
    if !refused.is_empty() {
        return Err(refused);
    }
    let old = masked(&shown_from).map_err(|error| failed(&error))?;
    let new = masked(text.expose_secret()).map_err(|error| failed(&error))?;
    let (was, will) = (format!("revision {}", change.from), "after".to_owned());
    let unified = unified((&was, &old), (&will, &new));
    let mut difference = changed_lines(&unified);
    let more = difference.len().saturating_sub(LINES_TOLD);
    difference.truncate(LINES_TOLD);
    if more > 0 {
        difference.push(format!("~ {more} more lines in values.diff"));
    }
    if !keeps_chart {
        difference.insert(0, format!("+ chart {}", change.chart_version));
        difference.insert(0, format!("- chart {}", before.chart_version));
    }
    let hidden = differences(&from, &tree).into_iter();
    let hidden = hidden.filter(|edit| is_secret(&edit.path));
    difference.extend(hidden.map(|edit| format!("~ the secret at {} changes", edit.path)));
    if !adopts {
        warnings.push(
            "hub and proxy are started anew: nobody can log in for a minute or two, running servers stay"
                .to_owned(),
        );
    }
    if schemas.is_empty() {
        warnings.push(
            "the chart's schema could not be read; helm checks the values before it installs them"
                .to_owned(),
        );
    }
    let content = PlanContent {
        summary,
        difference,
        estimate: Vec::new(),
        warnings,
    };
    let file = |name: &str, content: String| PlanFile {
        name: name.to_owned(),
        content,
    };
    let files = vec![file("values.diff", unified), file("values.yaml", new)];
    Ok((content, files))
}

/// What the schemas say against the new values and did not say against the old ones.
fn refusals(old: (&[ChartSchema], &Value), new: (&[ChartSchema], &Value)) -> Vec<String> {
    let mut refused = Vec::new();
    for chart in new.0 {
        let part = |tree: &Value| tree.get(&chart.chart).cloned().unwrap_or(Value::Null);
        let before = old.0.iter().find(|before| before.chart == chart.chart);
        let known = before.and_then(|before| problems(&before.schema, &part(old.1)).ok());
        let known = known.unwrap_or_default();
        match problems(&chart.schema, &part(new.1)) {
            Ok(found) => refused.extend(
                found
                    .into_iter()
                    .filter(|problem| !known.contains(problem))
                    .map(|problem| format!("the chart `{}` refuses {problem}", chart.chart)),
            ),
            Err(error) => tracing::info!(
                error = &error as &dyn std::error::Error,
                "a chart's schema could not be used"
            ),
        }
    }
    refused
}
