//! `values chart`: another version of the chart, or a chart from elsewhere.

use super::{Before, Wanted, Wish};
use crate::commands::value::Options;
use crate::domain::chart::{Chart, ChartFolder, ChartName, ChartSource, RepositoryUrl};
use crate::domain::values::change::{Make, ValuesChange};

/// The chart that a repository is taken to have when nobody says another.
const USUAL_CHART: &str = "daskhub";

pub(super) fn chart(before: &Before, options: &Options) -> Wish {
    let chart = wanted(before, options).map_err(|problem| vec![problem])?;
    let name = &before.cluster.name;
    let is_folder = matches!(chart.source, ChartSource::Folder { .. });
    if chart == before.chart && !is_folder {
        return Err(vec![format!("`{name}` has {}", called(&chart))]);
    }
    let what = called(&chart);
    Ok(Wanted {
        make: Make::Edits { edits: Vec::new() },
        summary: format!("Change `{name}` to {what}"),
        warnings: Vec::new(),
        chart: Some(chart),
    })
}

/// What people call a chart before it was looked at.
pub(super) fn called(chart: &Chart) -> String {
    match &chart.source {
        ChartSource::Configured => format!("version {chart} of the chart"),
        ChartSource::Repository { .. } => format!("the chart {chart}"),
        ChartSource::Folder { path, .. } => format!("the chart of the folder {path}"),
    }
}

/// The chart that was asked for; that of a folder is looked up later.
fn wanted(before: &Before, options: &Options) -> Result<Chart, String> {
    let version = options.text("version");
    let parsed = |error: crate::domain::names::NameError| error.to_string();
    let url = options.text("repository");
    let url = url.map(|url| RepositoryUrl::parse(&url)).transpose();
    let folder = options.text("folder");
    let folder = folder.map(|path| ChartFolder::parse(&path)).transpose();
    let named = options.text("chart");
    let named = named.map(|name| ChartName::parse(&name)).transpose();
    let (url, folder) = (url.map_err(parsed)?, folder.map_err(parsed)?);
    let named = named.map_err(parsed)?;
    let configured = options.is_set("configured");
    let current = &before.chart;
    let source = match (url, folder, configured) {
        (None, Some(path), false) => {
            if version.is_some() || named.is_some() {
                return Err("`folder`: its Chart.yaml says name and version".to_owned());
            }
            let (chart, digest) = (usual_chart()?, String::new());
            ChartSource::Folder {
                path,
                chart,
                digest,
            }
        }
        (Some(url), None, false) => {
            let chart = match named {
                Some(named) => named,
                None => usual_chart()?,
            };
            ChartSource::Repository { url, chart }
        }
        (None, None, true) if named.is_none() => ChartSource::Configured,
        (None, None, false) => match (current.source.clone(), named) {
            (ChartSource::Repository { url, .. }, Some(chart)) => {
                ChartSource::Repository { url, chart }
            }
            (_, Some(_chart)) => {
                return Err("`chart`: say its `repository`, too".to_owned());
            }
            (ChartSource::Folder { path, .. }, None) if version.is_some() => {
                return Err(format!(
                    "`version`: the chart comes from the folder {path}, whose Chart.yaml says it; give `repository` or `configured:True`, too"
                ));
            }
            (source, None) => source,
        },
        (..) => {
            return Err("give one of `repository`, `folder` and `configured`".to_owned());
        }
    };
    let keeps_all = source == current.source && version.is_none();
    if keeps_all && !matches!(source, ChartSource::Folder { .. }) {
        return Err("give at least one of `version`, `repository` and `folder`".to_owned());
    }
    let version = version.unwrap_or_else(|| current.version.clone());
    Ok(Chart { source, version })
}

fn usual_chart() -> Result<ChartName, String> {
    ChartName::parse(USUAL_CHART).map_err(|error| error.to_string())
}

/// That a roll-back can't bring the old content of a folder back.
pub(super) fn changed_since(make: &Make, recorded: &ChartSource, now: &Chart) -> Option<String> {
    match (make, recorded) {
        (Make::Revision { number }, ChartSource::Folder { path, .. })
            if *recorded != now.source =>
        {
            Some(format!(
                "what lies in {path} was changed since revision {number}: it is installed as it is now"
            ))
        }
        _ => None,
    }
}

/// What a careful person wants to know of another chart.
pub(super) fn warnings(before: &Before, change: &ValuesChange) -> Vec<String> {
    let mut warnings = vec![
        "The chart's custom resource definitions change with it and stay if it is rolled back"
            .to_owned(),
    ];
    match &change.chart_source {
        ChartSource::Configured => {}
        ChartSource::Repository { url, .. } => {
            if !matches!(&before.chart.source, ChartSource::Repository { url: old, .. } if old == url)
            {
                warnings.push(format!(
                    "whoever can change {url} decides what every later change of values installs"
                ));
            }
        }
        ChartSource::Folder { path, .. } => {
            let old = match &before.chart.source {
                ChartSource::Folder { path, .. } => Some(path),
                ChartSource::Configured | ChartSource::Repository { .. } => None,
            };
            warnings.push(if old == Some(path) {
                format!("what lies in {path} was changed since revision {}", change.from)
            } else {
                format!(
                    "every later change of values installs what then lies in {path}; its plan says if that was changed"
                )
            });
        }
    }
    warnings
}
