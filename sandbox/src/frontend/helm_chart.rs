//! Where the pretend `helm` finds charts: repositories, and folders with their dependencies.
//!
//! Texts follow helm 3.17.3, where they were seen. Every repository has the chart `daskhub`; names
//! below `.invalid` are no repositories.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::arguments::Arguments;
use super::chart;
use super::helm::{Helm, HelmFault};
use super::protocol::{Call, Order};

/// A chart that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) version: String,
    /// Its `Chart.yaml`.
    pub(super) yaml: String,
    /// The sub-charts that it names and that are not there.
    pub(super) missing: Vec<Dependency>,
}

/// A sub-chart that a `Chart.yaml` names.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dependency {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    repository: String,
}

/// What helm reads of a `Chart.yaml`.
#[derive(Debug, Deserialize)]
struct ChartYaml {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

impl Found {
    /// What helm says of a chart whose sub-charts are not there.
    pub(super) fn is_complete(&self) -> Result<(), String> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.missing.iter().map(|one| one.name.as_str()).collect();
        Err(format!(
            "Error: An error occurred while checking for chart dependencies. You may need to run `helm dependency build` to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: {}\n",
            names.join(", ")
        ))
    }
}

impl Helm<'_> {
    /// Finds the chart; the error is what helm prints.
    pub(super) fn find_chart(&self, args: &Arguments, call: &Call) -> Result<Found, String> {
        let named = if matches!(args.word(0), "show") {
            args.word(2)
        } else {
            args.words.last().map_or("", String::as_str)
        };
        if named.starts_with('/') {
            return in_folder(named, &call.files);
        }
        let repository = args.get("repo").unwrap_or_default();
        if !self.reaches(repository) {
            return Err(unreachable(repository));
        }
        let wanted = args
            .get("version")
            .or(chart::VERSIONS.first().copied())
            .unwrap_or_default();
        match chart::VERSIONS.iter().find(|version| **version == wanted) {
            Some(version) if named == chart::NAME => Ok(Found {
                name: named.to_owned(),
                version: (*version).to_owned(),
                yaml: yaml_of(version),
                missing: Vec::new(),
            }),
            _ => Err(format!(
                "Error: chart {named:?} version {wanted:?} not found in {repository} repository\n"
            )),
        }
    }

    /// Whether there is a repository, and it answers.
    fn reaches(&self, repository: &str) -> bool {
        let is_none = repository.is_empty() || repository.contains(".invalid");
        !self.shared.take_fault(&HelmFault::RepositoryUnreachable) && !is_none
    }

    /// `helm env NAME`.
    pub(super) async fn environment(&mut self, args: &Arguments, call: &Call) -> u8 {
        let value = match args.word(1) {
            "HELM_REPOSITORY_CONFIG" => call.repositories.0.as_str(),
            _ => "",
        };
        self.caller.out(format!("{value}\n")).await;
        0
    }

    /// `helm repo add NAME URL`.
    pub(super) async fn repository(&mut self, args: &Arguments, call: &Call) -> u8 {
        let (name, url) = (args.word(2), args.word(3));
        if args.word(1) != "add" || url.is_empty() {
            return self
                .fail("Error: this simulation knows repo add NAME URL\n")
                .await;
        }
        if !self.reaches(url) {
            return self.fail(&unreachable(url)).await;
        }
        let (path, known) = call.repositories.clone();
        let content = format!("{known}- name: {name}\n  url: {url}\n");
        self.caller.order(&Order::Write { path, content }).await;
        let said = format!("\"{name}\" has been added to your repositories\n");
        self.caller.out(said).await;
        0
    }

    /// `helm dependency list` and `build`.
    pub(super) async fn dependency(&mut self, args: &Arguments, call: &Call) -> u8 {
        let folder = args.word(2);
        let found = match in_folder(folder, &call.files) {
            Ok(found) => found,
            Err(text) => return self.fail(&text).await,
        };
        let named = read(&found.yaml).map_or_else(Vec::new, |chart| chart.dependencies);
        match args.word(1) {
            "list" | "ls" => {
                let is_missing = |one: &Dependency| {
                    let mut missing = found.missing.iter();
                    missing.any(|missing| missing.name == one.name)
                };
                let row = |one: &Dependency| {
                    let state = if is_missing(one) {
                        "missing"
                    } else {
                        "unpacked"
                    };
                    format!(
                        "{}\t{}\t{}\t{state}\n",
                        one.name, one.version, one.repository
                    )
                };
                let rows: String = named.iter().map(row).collect();
                let text = format!("NAME\tVERSION\tREPOSITORY\tSTATUS\n{rows}\n");
                self.caller.out(text).await;
                0
            }
            "build" => self.build(folder, &named, call).await,
            _ => {
                self.fail("Error: this simulation knows dependency list and build\n")
                    .await
            }
        }
    }

    /// Fetches sub-charts: by a lock file only from repositories that it knows by name.
    async fn build(&mut self, folder: &str, named: &[Dependency], call: &Call) -> u8 {
        let lock = format!("{folder}/Chart.lock");
        let known = &call.repositories.1;
        for one in named {
            if call.files.contains_key(&lock) && !known.contains(&one.repository) {
                let text = format!(
                    "Error: no repository definition for {}. Please add the missing repos via 'helm repo add'\n",
                    one.repository
                );
                return self.fail(&text).await;
            }
            if !self.reaches(&one.repository) {
                return self.fail(&unreachable(&one.repository)).await;
            }
            let schema = chart::schema(&one.name).unwrap_or_default();
            let about = format!(
                "apiVersion: v2\nname: {}\nversion: {}\n",
                one.name, one.version
            );
            let files = BTreeMap::from([
                (format!("{}/Chart.yaml", one.name), about),
                (
                    format!("{}/values.schema.json", one.name),
                    format!("{schema:#}\n"),
                ),
            ]);
            let path = format!("{folder}/charts/{}-{}.tgz", one.name, one.version);
            self.caller.order(&Order::Pack { path, files }).await;
        }
        let saved = format!("Saving {} charts\nDeleting outdated charts\n", named.len());
        self.caller.out(saved).await;
        0
    }
}

fn unreachable(repository: &str) -> String {
    format!(
        "Error: looks like {repository:?} is not a valid chart repository or cannot be reached: Get \"{repository}/index.yaml\": dial tcp: lookup failed\n"
    )
}

fn read(yaml: &str) -> Option<ChartYaml> {
    serde_saphyr::from_str(yaml).ok()
}

/// The chart of a folder.
fn in_folder(folder: &str, files: &BTreeMap<String, String>) -> Result<Found, String> {
    let Some(yaml) = files.get(&format!("{folder}/Chart.yaml")) else {
        return Err("Error: Chart.yaml file is missing\n".to_owned());
    };
    let Some(read) = read(yaml) else {
        return Err("Error: validation: chart.metadata.name is required\n".to_owned());
    };
    let charts = files.get(&format!("{folder}/charts"));
    let there: Vec<&str> = charts.map_or_else(Vec::new, |names| names.lines().collect());
    let is_missing = |one: &Dependency| {
        let packed = format!("{}-{}.tgz", one.name, one.version);
        !there
            .iter()
            .any(|name| *name == one.name || *name == packed)
    };
    Ok(Found {
        name: read.name,
        version: read.version,
        yaml: yaml.clone(),
        missing: read.dependencies.into_iter().filter(is_missing).collect(),
    })
}

/// The `Chart.yaml` of a version in a repository.
fn yaml_of(version: &str) -> String {
    let (jupyterhub, _, gateway) = chart::parts_of(version);
    let app = chart::app_version(version);
    format!(
        "apiVersion: v2\nappVersion: {app}\nname: daskhub\nversion: {version}\ndependencies:\n- name: jupyterhub\n  version: {jupyterhub}\n- name: dask-gateway\n  version: {gateway}\n"
    )
}
