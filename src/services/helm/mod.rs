//! helm on a front end: the release `daskhub`, run exactly as the howto runs it.
//!
//! An install takes minutes and must survive the bot: helm runs cut off from the SSH session, see
//! [`detached`](super::detached).
//!
//! Flow of a deploy: [`Helm::recover`] (a lock left behind) → [`Helm::dry_run`] →
//! [`Helm::crds_differ`]/[`Helm::apply_crds`] → [`Helm::start_or_attach`] → [`Helm::poll`] until
//! it ended → [`Helm::cleanup`].
//!
//! **Invariant:** the values lie on the front end only while helm runs, mode 0600 in a folder of
//! mode 0700. `helm get values` prints secrets: its answer is only compared, or masked before anybody
//! sees it. `helm status -o json` is never used.
//!
//! Facts about helm: docs/domain (helm 3.17.3 and 4.1.4 with the real chart).

mod chart;
mod failure;
mod release;

use std::time::Duration;

use secrecy::SecretString;

use super::detached::Detached;
use crate::domain::chart::Chart;
use crate::services::frontend::{Frontend, FrontendError};

pub use super::detached::{LogPiece, Run as HelmRun, RunId, Start};
pub use chart::{ChartSchema, FolderChart};
pub use failure::HelmFailure;
pub use release::{LiveValues, Recovery, Release, ReleaseStatus};

/// How long a question to helm may take; a roll-back of the hub is the slowest.
const ASK_LIMIT: Duration = Duration::from_secs(120);

/// Which chart and release; from the configuration.
#[derive(Clone, Debug)]
pub struct HelmSettings {
    /// URL of the chart repository, `https://helm.dask.org`.
    pub repository: String,
    /// Name of the chart, `daskhub`.
    pub chart: String,
    /// Name of the release, `daskhub`.
    pub release: String,
    /// Namespace, `daskhub`.
    pub namespace: String,
}

impl Default for HelmSettings {
    fn default() -> Self {
        Self {
            repository: "https://helm.dask.org".to_owned(),
            chart: "daskhub".to_owned(),
            release: "daskhub".to_owned(),
            namespace: "daskhub".to_owned(),
        }
    }
}

/// Why helm could not do it.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// The front end could not be used.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// helm refused or failed.
    #[error("{}: {text}", failure.describe())]
    Failed {
        /// What it is.
        failure: HelmFailure,
        /// helm's error lines, at most 2,000 characters; to be redacted before they are shown.
        text: String,
    },
    /// helm answered something that can't be read.
    #[error("the answer of {what} can't be read")]
    Unreadable {
        /// Which command.
        what: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A helm process still runs on the front end.
    #[error("helm still runs on the front end")]
    StillRunning,
    /// A setting that can't be an argument.
    #[error("the {what} is not allowed: use letters, digits and `.+-_:/`")]
    BadSetting {
        /// Which one.
        what: &'static str,
    },
}

impl HelmError {
    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Frontend(error) => error.is_transient(),
            Self::Failed { failure, .. } => failure.is_transient(),
            Self::StillRunning => true,
            Self::Unreadable { .. } | Self::BadSetting { .. } => false,
        }
    }

    /// What a person can do about it, one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Frontend(error) => error.hint(),
            Self::Failed { failure, .. } => failure.hint(),
            Self::StillRunning => "wait until it ends, then retry",
            Self::Unreadable { .. } => "check the version of helm on the front end, then retry",
            Self::BadSetting { .. } => "correct the bot's configuration, then retry",
        }
    }
}

/// helm on one front end.
#[derive(Clone, Copy, Debug)]
pub struct Helm<'a> {
    frontend: &'a Frontend,
    settings: &'a HelmSettings,
}

impl<'a> Helm<'a> {
    /// helm behind this connection.
    pub fn new(frontend: &'a Frontend, settings: &'a HelmSettings) -> Self {
        Self { frontend, settings }
    }

    /// Starts `helm upgrade --install` with these values, detached, or finds that this run was
    /// started before. Safe to repeat and safe from two bots at once.
    ///
    /// # Errors
    /// When the values do not get there ([`FrontendError::DiskFull`] …). The run may have been
    /// started if the connection broke: call it again.
    pub async fn start_or_attach(
        &self,
        run: &RunId,
        chart: &Chart,
        values: &SecretString,
    ) -> Result<Start, HelmError> {
        let (dir, values_file) = (run.dir(), run.values_file());
        let command = chart::upgrade_command(self.settings, chart, &dir, &values_file)?;
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let detached = Detached::on(self.frontend);
        Ok(detached.start(run, Some(values), &command).await?)
    }

    /// How far a run is, with its log from `offset` on.
    ///
    /// # Errors
    /// When the front end does not answer.
    pub async fn poll(&self, run: &RunId, offset: u64) -> Result<HelmRun, HelmError> {
        Ok(Detached::on(self.frontend).poll(run, offset).await?)
    }

    /// Asks the helm of a run to end. The release becomes `failed`, which the next run can follow.
    ///
    /// # Errors
    /// When the front end does not answer.
    pub async fn stop(&self, run: &RunId) -> Result<(), HelmError> {
        Ok(Detached::on(self.frontend).stop(run).await?)
    }

    /// Removes what a run left on the front end. A run that is not over stays.
    ///
    /// # Errors
    /// When it is not over or the front end does not answer.
    pub async fn cleanup(&self, run: &RunId) -> Result<(), HelmError> {
        Ok(Detached::on(self.frontend).cleanup(run).await?)
    }

    /// Whether any helm process runs on the front end, whoever started it.
    ///
    /// # Errors
    /// When the front end does not answer.
    pub async fn is_running(&self) -> Result<bool, HelmError> {
        const LOOK: &str = r#"for file in /proc/[0-9]*/comm; do
    read -r name 2>/dev/null < "$file" && [ "$name" = helm ] && echo running && exit 0
done
exit 0"#;
        let output = self
            .frontend
            .run_ok(&["sudo", "sh", "-c", LOOK], &[])
            .await?;
        Ok(output.text().contains("running"))
    }

    /// Runs helm in the namespace for its answer.
    async fn ask(&self, args: &[&str]) -> Result<String, HelmError> {
        let mut all = vec!["sudo", "helm"];
        all.extend(args);
        all.extend(["--namespace", &self.settings.namespace]);
        let output = self.frontend.run_within(&all, &[], ASK_LIMIT).await?;
        self.judge(output)
    }
}

/// Words that stand alone as arguments of helm: nothing that could be an option.
fn check_word(what: &'static str, word: &str) -> Result<(), HelmError> {
    let plain = word
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b".+-_:/".contains(&b));
    if plain && !word.is_empty() && word.len() <= 100 && !word.starts_with('-') {
        return Ok(());
    }
    Err(HelmError::BadSetting { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_looks_like_an_option_is_a_version() {
        for bad in ["", "--post-renderer", "1 2", "1;2", "$(id)"] {
            assert!(check_word("chart version", bad).is_err(), "{bad:?}");
        }
    }
}
