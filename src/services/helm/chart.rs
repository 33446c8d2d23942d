//! What the chart brings: schemas of its values and custom resource definitions.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::failure::{HelmFailure, error_lines};
use super::{Helm, HelmError};

/// How long fetching a chart may take.
const PULL_LIMIT: Duration = Duration::from_secs(120);

/// How long a dry run may take; seen: 2 s.
const DRY_RUN_LIMIT: Duration = Duration::from_secs(180);

/// Runs `helm pull` into a new folder and prints each schema of a sub-chart, a line of its name
/// before each. `$1` chart, `$2` repository, `$3` version. Nothing is left behind.
const PRINT_SCHEMAS: &str = r#"set -eu
dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT
helm pull "$1" --repo="$2" --version "$3" --untar --untardir "$dir"
for file in "$dir"/*/values.schema.json "$dir"/*/charts/*/values.schema.json; do
    [ -f "$file" ] || continue
    folder=${file%/values.schema.json}
    printf '\n--- schema of %s\n' "${folder##*/}"
    cat "$file"
done"#;

/// Runs a dry run with the values of standard input: helm reads values from files only.
/// All arguments are helm's; its output is kept only if it failed.
const DRY_RUN: &str = r#"set -eu
umask 077
file=$(mktemp)
trap 'rm -f -- "$file"' EXIT
cat > "$file"
helm "$@" --values "$file" > /dev/null"#;

/// Prints the custom resource definitions of a chart, or applies them if `$4` is `apply`.
const CRDS: &str = r#"set -eu
dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT
helm show crds "$1" --repo="$2" --version "$3" > "$dir/crds.yaml"
grep -q '^kind: CustomResourceDefinition' "$dir/crds.yaml" || exit 0
if [ "$4" = apply ]; then
    kubectl apply --server-side --force-conflicts -f "$dir/crds.yaml"
else
    code=0
    kubectl diff --server-side --force-conflicts -f "$dir/crds.yaml" > /dev/null || code=$?
    case $code in
    0) ;;
    1) echo changed ;;
    *) exit "$code" ;;
    esac
fi"#;

/// The JSON schema of the values of one (sub-)chart.
#[derive(Clone, Debug)]
pub struct ChartSchema {
    /// `jupyterhub` or `dask-gateway`, or the chart itself.
    pub chart: String,
    /// The schema.
    pub schema: Value,
}

impl Helm<'_> {
    /// Asks the API server whether an upgrade with these values would be accepted. Writes no
    /// revision. helm's output contains all secrets; only its error lines are kept.
    ///
    /// # Errors
    /// [`HelmError::Failed`] says why it would fail.
    pub async fn dry_run(&self, version: &str, values: &SecretString) -> Result<(), HelmError> {
        let upgrade = self.upgrade_arguments(version, None)?;
        let mut args = vec!["sudo", "timeout", "150", "sh", "-c", DRY_RUN, "helm"];
        args.extend(upgrade.iter().map(String::as_str));
        args.push("--dry-run=server");
        let input = values.expose_secret().as_bytes();
        let output = self
            .frontend
            .run_within(&args, input, DRY_RUN_LIMIT)
            .await?;
        self.judge(output).map(drop)
    }

    /// The schemas that the chart version brings, to check values before anything is sent.
    /// Empty if it brings none.
    ///
    /// # Errors
    /// When the chart can't be fetched.
    pub async fn chart_schemas(&self, version: &str) -> Result<Vec<ChartSchema>, HelmError> {
        let args = self.chart_script(PRINT_SCHEMAS, version)?;
        let output = self.run_chart_script(&args, &[]).await?;
        read_schemas(&output)
    }

    /// Whether the custom resource definitions of the chart version differ from the cluster's.
    /// helm itself installs them once and never upgrades them.
    ///
    /// # Errors
    /// When the chart can't be fetched or the API server does not answer.
    pub async fn crds_differ(&self, version: &str) -> Result<bool, HelmError> {
        let args = self.chart_script(CRDS, version)?;
        let output = self.run_chart_script(&args, &["look"]).await?;
        Ok(output.lines().any(|line| line.trim() == "changed"))
    }

    /// Applies the custom resource definitions of the chart version. Doing it twice is harmless;
    /// there is no undo, since objects of these kinds may exist.
    ///
    /// # Errors
    /// When the chart can't be fetched or the API server refuses.
    pub async fn apply_crds(&self, version: &str) -> Result<Vec<String>, HelmError> {
        let args = self.chart_script(CRDS, version)?;
        let output = self.run_chart_script(&args, &["apply"]).await?;
        Ok(output
            .lines()
            .filter_map(|line| line.strip_prefix("customresourcedefinition.apiextensions.k8s.io/"))
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect())
    }

    fn chart_script(&self, script: &str, version: &str) -> Result<Vec<String>, HelmError> {
        super::check_word("chart version", version)?;
        let settings = self.settings;
        let words = [
            "sudo",
            "timeout",
            "100",
            "sh",
            "-c",
            script,
            "chart",
            &settings.chart,
            &settings.repository,
            version,
        ];
        Ok(words.iter().map(|word| (*word).to_owned()).collect())
    }

    async fn run_chart_script(&self, args: &[String], more: &[&str]) -> Result<String, HelmError> {
        let args: Vec<&str> = args
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
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

fn read_schemas(output: &str) -> Result<Vec<ChartSchema>, HelmError> {
    const MARK: &str = "\n--- schema of ";
    output
        .split(MARK)
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .map(|(chart, text)| {
            serde_json::from_str(text)
                .map(|schema| ChartSchema {
                    chart: chart.trim().to_owned(),
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
    fn schemas_are_read_with_their_charts() {
        let output = "pulling\n\n--- schema of jupyterhub\n{\"type\": \"object\"}\n--- schema of dask-gateway\n{\"x\": 1}";
        let schemas = read_schemas(output).unwrap();
        assert_eq!(schemas[0].chart, "jupyterhub");
        assert_eq!(schemas[1].schema["x"], 1);
    }
}
