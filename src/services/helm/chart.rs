//! What the chart brings: schemas of its values and custom resource definitions.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::failure::{HelmFailure, error_lines};
use super::{Helm, HelmError, HelmSettings};
use crate::domain::chart::{Chart, ChartFolder, ChartName, ChartSource};

/// How long fetching a chart may take.
const PULL_LIMIT: Duration = Duration::from_secs(120);

/// How long a dry run may take; seen: 2 s.
const DRY_RUN_LIMIT: Duration = Duration::from_secs(180);

/// What is done with a chart on a front end.
const SCRIPT: &str = include_str!("chart.sh");

/// The options of the howto's command that stand alone.
const UPGRADE_OPTIONS: [&str; 4] = [
    "--install",
    "--wait",
    "--cleanup-on-fail",
    "--create-namespace",
];

/// The name under which the script hands out a schema of the chart itself.
const ITSELF: &str = ".";

/// The JSON schema of the values of one (sub-)chart.
#[derive(Clone, Debug)]
pub struct ChartSchema {
    /// `jupyterhub` or `dask-gateway`; `None` for the chart itself.
    pub chart: Option<String>,
    /// The schema.
    pub schema: Value,
}

impl ChartSchema {
    /// What people call it.
    pub fn name(&self) -> &str {
        self.chart.as_deref().unwrap_or("the chart itself")
    }

    /// The part of the values that it is about.
    pub fn part_of<'a>(&self, values: &'a Value) -> &'a Value {
        match &self.chart {
            Some(chart) => values.get(chart).unwrap_or(&Value::Null),
            None => values,
        }
    }
}

/// What lies in a folder of a front end.
#[derive(Clone, Debug)]
pub struct FolderChart {
    /// The chart, with the folder and its digest as source.
    pub chart: Chart,
    /// The schemas that it brings.
    pub schemas: Vec<ChartSchema>,
}

impl Helm<'_> {
    /// Asks the API server whether an upgrade with these values would be accepted. Writes no
    /// revision. helm's output contains all secrets; only its error lines are kept.
    ///
    /// # Errors
    /// [`HelmError::Failed`] says why it would fail.
    pub async fn dry_run(&self, chart: &Chart, values: &SecretString) -> Result<(), HelmError> {
        let mut args = vec!["sudo", "timeout", "150", "sh", "-c", SCRIPT, "chart"];
        let words = script_words(self.settings, "dry-run", chart)?;
        args.extend(words.each_ref().map(String::as_str));
        args.push(release_word(self.settings)?);
        args.extend(UPGRADE_OPTIONS);
        args.extend(["--namespace", &self.settings.namespace, "--dry-run=server"]);
        let input = values.expose_secret().as_bytes();
        let output = self
            .frontend
            .run_within(&args, input, DRY_RUN_LIMIT)
            .await?;
        self.judge(output).map(drop)
    }

    /// The schemas that a chart brings, to check values before anything is sent. Empty if it
    /// brings none.
    ///
    /// # Errors
    /// When the chart can't be fetched.
    pub async fn chart_schemas(&self, chart: &Chart) -> Result<Vec<ChartSchema>, HelmError> {
        read_schemas(&self.run_chart_script("schemas", chart).await?)
    }

    /// What lies in a folder of the front end now.
    ///
    /// # Errors
    /// When there is no chart in it or its dependencies can't be fetched.
    pub async fn folder_chart(&self, path: &ChartFolder) -> Result<FolderChart, HelmError> {
        let words = ["folder", "folder", path.as_str(), "-", "-"];
        let output = self.run_script(&words).await?;
        let word = |key: &str| {
            let mut lines = output.lines().take(3);
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        };
        let no_chart = || HelmError::BadSetting {
            what: "name or version in the folder's Chart.yaml",
        };
        let name = word("name").and_then(|name| ChartName::parse(name.trim()).ok());
        let version = word("version").map(str::trim).unwrap_or_default();
        super::check_word("version in the folder's Chart.yaml", version)?;
        Ok(FolderChart {
            chart: Chart {
                source: ChartSource::Folder {
                    path: path.clone(),
                    chart: name.ok_or_else(no_chart)?,
                    digest: word("digest").ok_or_else(no_chart)?.trim().to_owned(),
                },
                version: version.to_owned(),
            },
            schemas: read_schemas(&output)?,
        })
    }

    /// Whether the custom resource definitions of a chart differ from the cluster's. helm itself
    /// installs them once and never upgrades them.
    ///
    /// # Errors
    /// When the chart can't be fetched or the API server does not answer.
    pub async fn crds_differ(&self, chart: &Chart) -> Result<bool, HelmError> {
        let output = self.run_chart_script("crds-look", chart).await?;
        Ok(output.lines().any(|line| line.trim() == "changed"))
    }

    /// Applies the custom resource definitions of a chart. Doing it twice is harmless; there is no
    /// undo, since objects of these kinds may exist.
    ///
    /// # Errors
    /// When the chart can't be fetched or the API server refuses.
    pub async fn apply_crds(&self, chart: &Chart) -> Result<Vec<String>, HelmError> {
        let output = self.run_chart_script("crds-apply", chart).await?;
        Ok(output
            .lines()
            .filter_map(|line| line.strip_prefix("customresourcedefinition.apiextensions.k8s.io/"))
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect())
    }

    async fn run_chart_script(&self, verb: &str, chart: &Chart) -> Result<String, HelmError> {
        let words = script_words(self.settings, verb, chart)?;
        self.run_script(&words.each_ref().map(String::as_str)).await
    }

    async fn run_script(&self, words: &[&str]) -> Result<String, HelmError> {
        let mut args = vec!["sudo", "timeout", "100", "sh", "-c", SCRIPT, "chart"];
        args.extend(words);
        let output = self.frontend.run_within(&args, &[], PULL_LIMIT).await?;
        self.judge(output)
    }

    /// The output of a helm that succeeded, else why it failed.
    pub(super) fn judge(
        &self,
        output: crate::services::frontend::Output,
    ) -> Result<String, HelmError> {
        if output.status == 0 {
            return Ok(output.text());
        }
        let said = output.error_text();
        let mut text = error_lines(&said);
        if text.is_empty() {
            text = said;
        }
        let failure = match output.status {
            124 => HelmFailure::NotReadyInTime,
            _ => HelmFailure::read(&text),
        };
        Err(HelmError::Failed { failure, text })
    }
}

/// The program that upgrades to a chart with the values in a file; `dir` is where a copy of a folder
/// may lie while it runs.
pub(super) fn upgrade_command(
    settings: &HelmSettings,
    chart: &Chart,
    dir: &str,
    values_file: &str,
) -> Result<Vec<String>, HelmError> {
    let release = release_word(settings)?;
    let words = script_words(settings, "upgrade", chart)?;
    let repository;
    let mut command: Vec<&str> = match &chart.source {
        ChartSource::Folder { .. } => {
            let mut command = vec!["sh", "-c", SCRIPT, "chart"];
            command.extend(words.each_ref().map(String::as_str));
            command.extend([dir, release]);
            command
        }
        ChartSource::Configured | ChartSource::Repository { .. } => {
            let [_verb, _kind, name, place, version] = &words;
            repository = format!("--repo={place}");
            let first = ["helm", "upgrade", release, name, &repository];
            [&first[..], &["--version", version]].concat()
        }
    };
    command.extend(UPGRADE_OPTIONS);
    command.extend(["--namespace", &settings.namespace, "--values", values_file]);
    Ok(command.into_iter().map(str::to_owned).collect())
}

/// The name of the release, as an argument.
fn release_word(settings: &HelmSettings) -> Result<&str, HelmError> {
    super::check_word("release name", &settings.release)?;
    Ok(&settings.release)
}

/// Verb, kind, chart, place and version for the script.
fn script_words(
    settings: &HelmSettings,
    verb: &str,
    chart: &Chart,
) -> Result<[String; 5], HelmError> {
    super::check_word("chart version", &chart.version)?;
    super::check_word("chart name", &settings.chart)?;
    let (kind, name, place) = match &chart.source {
        ChartSource::Configured => {
            let repository = settings.repository.as_str();
            ("repository", settings.chart.as_str(), repository)
        }
        ChartSource::Repository { url, chart } => ("repository", chart.as_str(), url.as_str()),
        ChartSource::Folder { path, digest, .. } => {
            super::check_word("digest of a chart", digest)?;
            ("folder", path.as_str(), digest.as_str())
        }
    };
    Ok([verb, kind, name, place, &chart.version].map(str::to_owned))
}

fn read_schemas(output: &str) -> Result<Vec<ChartSchema>, HelmError> {
    const MARK: &str = "\n--- schema of ";
    output
        .split(MARK)
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .map(|(chart, text)| {
            serde_json::from_str(text)
                .map(|schema| ChartSchema {
                    chart: Some(chart.trim().to_owned()).filter(|chart| chart != ITSELF),
                    schema,
                })
                .map_err(|source| HelmError::Unreadable {
                    what: "the chart's schema",
                    source,
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_the_howto_s() {
        let settings = HelmSettings::default();
        let chart = Chart::configured("2022.8.2");
        let command = upgrade_command(&settings, &chart, "/d", "values.yaml").unwrap();
        assert_eq!(
            command.join(" "),
            "helm upgrade daskhub daskhub --repo=https://helm.dask.org --version 2022.8.2 \
             --install --wait --cleanup-on-fail --create-namespace --namespace daskhub \
             --values values.yaml"
        );
    }

    #[test]
    fn a_folder_is_installed_from_a_copy_with_the_same_options() {
        let chart = Chart {
            source: ChartSource::Folder {
                path: ChartFolder::parse("/opt/daskhub").unwrap(),
                chart: ChartName::parse("daskhub").unwrap(),
                digest: "0a1b".to_owned(),
            },
            version: "2024.1.1".to_owned(),
        };
        let command = upgrade_command(&HelmSettings::default(), &chart, "/d", "/d/v").unwrap();
        assert_eq!(command[..2], ["sh", "-c"]);
        assert_eq!(
            command[3..].join(" "),
            "chart upgrade folder /opt/daskhub 0a1b 2024.1.1 /d daskhub --install --wait \
             --cleanup-on-fail --create-namespace --namespace daskhub --values /d/v"
        );
    }

    #[test]
    fn schemas_are_read_with_their_charts() {
        let output = "name x\n\n--- schema of jupyterhub\n{\"type\": \"object\"}\n--- schema of .\n{\"x\": 1}";
        let schemas = read_schemas(output).unwrap();
        let values = serde_json::json!({"jupyterhub": {"a": 1}});
        assert_eq!(schemas[0].chart.as_deref(), Some("jupyterhub"));
        assert_eq!(schemas[0].part_of(&values)["a"], 1);
        assert_eq!(
            (&schemas[1].chart, &schemas[1].schema["x"]),
            (&None, &1.into())
        );
        assert_eq!(schemas[1].part_of(&values), &values);
    }
}
