//! The plans of `values …`: what a hub is given, changed.
//!
//! Each begins with the newest revision's text and with what helm has; a difference between the two
//! that somebody made by hand must be adopted or overwritten first. What a command wants
//! ([`typed`], [`place`]) becomes a new text in which nothing else moved, that text is held against
//! the chart's schema, and the plan shows the difference with its secrets masked.

pub(super) mod place;
mod schemas;
mod source;
mod typed;

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub(super) use schemas::Schemas;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::options::MAX_FILE_BYTES;
use crate::commands::value::Options;
use crate::domain::chart::Chart;
use crate::domain::cluster::Cluster;
use crate::domain::deploy::NotebookImage;
use crate::domain::images;
use crate::domain::names::HostName;
use crate::domain::plan::{PlanContent, PlanFile};
use crate::domain::values::change::{
    Make, ValuesChange, changed_lines, digest_of_text, digest_of_tree, unified,
};
use crate::domain::values::schema::problems;
use crate::domain::values::secrets::{is_secret, masked};
use crate::domain::values::text::{differences, same};
use crate::domain::yaml;
use crate::operations::values::{kept_for, live, make_text, text_of};
use crate::services::helm::{ChartSchema, LiveValues};

/// How many lines of a difference are told in the message; all are in its file.
const LINES_TOLD: usize = 60;

/// How long a registry may take to tell all tags of an image.
const TAGS_LIMIT: Duration = Duration::from_secs(8);

/// What there is before the change.
pub(super) struct Before {
    cluster: Cluster,
    /// The chart that runs.
    chart: Chart,
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
    /// Another chart than the one that runs.
    chart: Option<Chart>,
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
                    "chart" => source::chart(&before, options),
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
        let wanted = match wish {
            Ok(wanted) => wanted,
            Err(problems) => return Ok(Err(problems)),
        };
        let mut made = self.change(command, options, &before, wanted).await?;
        if let Ok(draft) = &mut made
            && command.path.name == "image"
            && let Some(image) = typed::image_wanted(&before, options)
        {
            self.tell_tags(&image, &mut draft.content).await;
        }
        Ok(made)
    }

    /// Tells what the registry of an image has; one that can't be asked is no reason against a plan.
    async fn tell_tags(&self, image: &NotebookImage, content: &mut PlanContent) {
        let asked = self.services.registries.tags(&image.name);
        let line = match tokio::time::timeout(TAGS_LIMIT, asked).await {
            Ok(Ok(tags)) => {
                let told = images::told(image, &tags);
                if !told.is_there {
                    content.warnings.push(format!(
                        "the registry has no tag `{}` of `{}`: servers could not start",
                        image.tag, image.name
                    ));
                }
                told.newer
            }
            Ok(Err(error)) => Some(format!("newer tags are not known: {error}")),
            Err(_elapsed) => Some("newer tags are not known: the registry is slow".to_owned()),
        };
        content.estimate.extend(line);
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
            chart: None,
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
        let source = self.store.chart_source(&cluster).await?;
        let configured = &self.services.settings.helm.chart;
        let name = source
            .chart()
            .map_or(configured.as_str(), |name| name.as_str());
        let version = match live.release.version_of(name) {
            Some(version) => version.to_owned(),
            None => cluster.chart_version.clone().unwrap_or_default(),
        };
        let chart = Chart { source, version };
        let schemas = self.schemas(&cluster, &chart).await;
        Ok(Ok(Before {
            cluster,
            chart,
            newest,
            tree,
            live,
            schemas,
        }))
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
        let chart = match &wanted.make {
            Make::Revision { number } => {
                let row = self.store.revision(cluster.id, *number).await?;
                row.map(|row| row.chart)
            }
            Make::Edits { .. } | Make::Host { .. } | Make::Adopt | Make::Overwrite => {
                wanted.chart.clone()
            }
        };
        let mut wanted = wanted;
        let chart = chart.unwrap_or_else(|| before.chart.clone());
        let recorded = chart.source.clone();
        let kept = kept_for(&self.vault, cluster.id, &wanted.make).await?;
        // What is adopted is installed already.
        let installed = if wanted.make == Make::Adopt {
            Ok((chart, before.schemas.clone()))
        } else {
            self.chart_to_install(before, chart).await
        };
        let (chart, schemas) = match installed {
            Ok(installed) => installed,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        wanted
            .warnings
            .extend(source::changed_since(&wanted.make, &recorded, &chart));
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
            chart_version: chart.version,
            chart_source: chart.source,
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
        chart: None,
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
        chart: None,
        summary: format!(
            "Put revision {} back over what was changed by hand in `{}`",
            before.cluster.revision, before.cluster.name
        ),
        warnings: Vec::new(),
    })
}

fn rollback(before: &Before, options: &Options) -> Wish {
    let newest = before.cluster.revision;
    let number = match options.integer("revision") {
        Some(number) => i32::try_from(number).unwrap_or_default(),
        None => newest - 1,
    };
    if number >= newest || number < 1 {
        return Err(vec![format!(
            "`revision`: {newest} is the newest; `/pangeo values history name:{}` shows the earlier ones",
            before.cluster.name
        )]);
    }
    Ok(Wanted {
        make: Make::Revision { number },
        chart: None,
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
    let keeps_chart = change.chart() == before.chart;
    if !adopts && keeps_chart && same(&from, &tree) {
        return Err(vec!["nothing would change".to_owned()]);
    }
    // A folder that was changed since does not tell its old schemas any more.
    let old_schemas = if before.schemas.is_empty() {
        schemas
    } else {
        &before.schemas
    };
    let refused = refusals((old_schemas, &from), (schemas, &tree));
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
        difference.insert(0, format!("+ chart {}", change.chart()));
        difference.insert(0, format!("- chart {}", before.chart));
        warnings.extend(source::warnings(before, change));
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
        let before = old.0.iter().find(|before| before.chart == chart.chart);
        let known = before.and_then(|before| problems(&before.schema, chart.part_of(old.1)).ok());
        let known = known.unwrap_or_default();
        match problems(&chart.schema, chart.part_of(new.1)) {
            Ok(found) => refused.extend(
                found
                    .into_iter()
                    .filter(|problem| !known.contains(problem))
                    .map(|problem| format!("the chart `{}` refuses {problem}", chart.name())),
            ),
            Err(error) => tracing::info!(
                error = &error as &dyn std::error::Error,
                "a chart's schema could not be used"
            ),
        }
    }
    refused
}
