//! helm on a front end: the release `daskhub`, run exactly as the howto runs it.
//!
//! An install takes minutes and must survive the bot: helm runs under a supervisor of ours on the
//! front end (`helm-run.sh`), cut off from the SSH session. A run has an id; starting the same id
//! again, from whatever bot, finds the first run and follows it.
//!
//! Flow of a deploy: [`Helm::recover`] (a lock left behind) → [`Helm::dry_run`] →
//! [`Helm::crds_differ`]/[`Helm::apply_crds`] → [`Helm::start_or_attach`] → [`Helm::poll`] until
//! it ended → [`Helm::cleanup`].
//!
//! **Invariant:** one run id, one helm: a folder made with `mkdir` is the lock.
//!
//! **Invariant:** the values lie on the front end only while helm runs, mode 0600 in a folder of
//! mode 0700. `helm get values` prints secrets: its answer is only compared, or masked before anybody
//! sees it. `helm status -o json` is never used.
//!
//! Facts about helm: docs/domain (helm 3.17.3 and 4.1.4 with the real chart).

mod chart;
mod failure;
mod release;

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::domain::ids::OperationId;
use crate::services::frontend::{Frontend, FrontendError};

pub use chart::ChartSchema;
pub use failure::HelmFailure;
pub use release::{LiveValues, Recovery, Release, ReleaseStatus};

/// The supervisor that runs on the front end.
const HELM_RUN: &str = include_str!("helm-run.sh");

/// Where runs live on a front end. `/var/tmp` survives a reboot; root only.
const RUNS: &str = "/var/tmp/pangeo-bot";

/// How long a question to helm may take; a roll-back of the hub is the slowest.
const ASK_LIMIT: Duration = Duration::from_secs(120);

/// How many bytes of a run's log one [`Helm::poll`] returns at most.
pub const LOG_CHUNK: usize = 64 * 1024;

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
    /// The text is not a run id.
    #[error("the text is not the id of a helm run")]
    BadRunId,
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
            Self::Unreadable { .. } | Self::BadRunId | Self::BadSetting { .. } => false,
        }
    }

    /// What a person can do about it, one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Frontend(error) => error.hint(),
            Self::Failed { failure, .. } => failure.hint(),
            Self::StillRunning => "wait until it ends, then retry",
            Self::Unreadable { .. } => "check the version of helm on the front end, then retry",
            Self::BadRunId | Self::BadSetting { .. } => {
                "correct the bot's configuration, then retry"
            }
        }
    }
}

/// The id of one run of helm: the operation and how many runs it has had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The run number `round` (from 1) of an operation. A new round is a new helm.
    pub fn new(operation: OperationId, round: u32) -> Self {
        Self(format!("{operation}-{round}"))
    }

    fn dir(&self) -> String {
        format!("{RUNS}/{}", self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RunId {
    type Error = HelmError;

    fn try_from(text: String) -> Result<Self, HelmError> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain && (1..=64).contains(&text.len()) && !text.starts_with('-') {
            return Ok(Self(text));
        }
        Err(HelmError::BadRunId)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// What [`Helm::start_or_attach`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// helm was started now.
    Started,
    /// The run had been started before; it may have ended.
    Attached,
}

/// A piece of a run's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// The text; may contain secrets.
    pub text: String,
    /// Where the next piece begins, in bytes.
    pub next_offset: u64,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelmRun {
    /// It was never started, or it was cleaned up.
    Absent,
    /// helm runs.
    Running {
        /// What it printed since the offset.
        log: LogPiece,
    },
    /// helm ended.
    Ended {
        /// Its exit status, 0 for success.
        code: i32,
        /// What it printed since the offset; ask again as long as this is not empty.
        log: LogPiece,
    },
    /// helm and its supervisor are gone without a status: the machine went down or somebody
    /// killed them. [`Helm::recover`], then a new round.
    Lost {
        /// What it printed since the offset.
        log: LogPiece,
    },
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
        version: &str,
        values: &SecretString,
    ) -> Result<Start, HelmError> {
        if self.poll(run, 0).await? != HelmRun::Absent {
            return Ok(Start::Attached);
        }
        let dir = run.dir();
        let script = format!("{dir}/helm-run.sh");
        // Each caller has its own values file, so that a late one can't put secrets back after
        // the run removed them.
        let values_file = format!("{dir}/values.yaml");
        self.frontend
            .upload(&script, HELM_RUN.as_bytes(), 0o700)
            .await?;
        self.frontend
            .upload(&values_file, values.expose_secret().as_bytes(), 0o600)
            .await?;
        let upgrade = self.upgrade_arguments(version, Some(&values_file))?;
        let mut args = vec!["sudo", "sh", &script, "start", &dir, "helm"];
        args.extend(upgrade.iter().map(String::as_str));
        let output = self.frontend.run_ok(&args, &[]).await?;
        match output.text().trim() {
            "started" => Ok(Start::Started),
            _ => Ok(Start::Attached),
        }
    }

    /// How far a run is, with its log from `offset` on.
    ///
    /// # Errors
    /// When the front end does not answer.
    pub async fn poll(&self, run: &RunId, offset: u64) -> Result<HelmRun, HelmError> {
        let (from, max) = (offset.to_string(), LOG_CHUNK.to_string());
        let dir = run.dir();
        let args = [
            "sudo", "sh", "-c", HELM_RUN, "helm-run", "poll", &dir, &from, &max,
        ];
        let output = self.frontend.run_ok(&args, &[]).await?;
        Ok(read_poll(&output.stdout, offset))
    }

    /// Asks the helm of a run to end. The release becomes `failed`, which the next run can follow.
    ///
    /// # Errors
    /// When the front end does not answer.
    pub async fn stop(&self, run: &RunId) -> Result<(), HelmError> {
        self.run_script(run, "stop").await
    }

    /// Removes what a run left on the front end. A run that is not over stays.
    ///
    /// # Errors
    /// When it is not over or the front end does not answer.
    pub async fn cleanup(&self, run: &RunId) -> Result<(), HelmError> {
        self.run_script(run, "cleanup").await
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

    async fn run_script(&self, run: &RunId, verb: &str) -> Result<(), HelmError> {
        let dir = run.dir();
        let args = ["sudo", "sh", "-c", HELM_RUN, "helm-run", verb, &dir];
        self.frontend.run_ok(&args, &[]).await?;
        Ok(())
    }

    /// Runs helm in the namespace for its answer.
    async fn ask(&self, args: &[&str]) -> Result<String, HelmError> {
        let mut all = vec!["sudo", "helm"];
        all.extend(args);
        all.extend(["--namespace", &self.settings.namespace]);
        let output = self.frontend.run_within(&all, &[], ASK_LIMIT).await?;
        self.judge(output)
    }

    fn upgrade_arguments(
        &self,
        version: &str,
        values_file: Option<&str>,
    ) -> Result<Vec<String>, HelmError> {
        check_word("chart version", version)?;
        check_word("release name", &self.settings.release)?;
        check_word("chart name", &self.settings.chart)?;
        Ok(upgrade_words(self.settings, version, values_file))
    }
}

/// The arguments of the howto's command, behind `helm`.
fn upgrade_words(settings: &HelmSettings, version: &str, values_file: Option<&str>) -> Vec<String> {
    let repository = format!("--repo={}", settings.repository);
    let mut words = vec![
        "upgrade",
        &settings.release,
        &settings.chart,
        &repository,
        "--install",
        "--wait",
        "--cleanup-on-fail",
        "--create-namespace",
        "--namespace",
        &settings.namespace,
        "--version",
        version,
    ];
    if let Some(file) = values_file {
        words.extend(["--values", file]);
    }
    words.into_iter().map(str::to_owned).collect()
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

/// Reads the answer of `helm-run.sh poll`: a line about the run, then the log.
fn read_poll(answer: &[u8], offset: u64) -> HelmRun {
    let end = answer.iter().position(|b| *b == b'\n');
    let (line, log) = match end {
        Some(end) => (answer.get(..end), answer.get(end + 1..)),
        None => (Some(answer), None),
    };
    let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    let log = whole_characters(log.unwrap_or_default());
    let piece = LogPiece {
        text: String::from_utf8_lossy(log).into_owned(),
        next_offset: offset + u64::try_from(log.len()).unwrap_or_default(),
    };
    match line.split_once(' ') {
        Some(("ended", code)) => HelmRun::Ended {
            code: code.trim().parse().unwrap_or(-1),
            log: piece,
        },
        Some(_) => HelmRun::Lost { log: piece },
        None => match line.as_str() {
            "absent" => HelmRun::Absent,
            "running" => HelmRun::Running { log: piece },
            _ => HelmRun::Lost { log: piece },
        },
    }
}

/// The bytes without a character that is cut in two at the end; it comes with the next piece.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        // `error_len` is `None` only for a character that the end cuts.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            bytes.get(..error.valid_up_to()).unwrap_or(bytes)
        }
        Ok(_) | Err(_) => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_the_howto_s() {
        let settings = HelmSettings::default();
        let args = upgrade_words(&settings, "2022.8.2", Some("values.yaml"));
        assert_eq!(
            args.join(" "),
            "upgrade daskhub daskhub --repo=https://helm.dask.org --install --wait \
             --cleanup-on-fail --create-namespace --namespace daskhub --version 2022.8.2 \
             --values values.yaml"
        );
    }

    #[test]
    fn a_poll_is_read_with_its_offsets() {
        assert_eq!(read_poll(b"absent\n", 0), HelmRun::Absent);
        assert_eq!(
            read_poll(b"ended 1\nError: x\n", 10),
            HelmRun::Ended {
                code: 1,
                log: LogPiece {
                    text: "Error: x\n".to_owned(),
                    next_offset: 19
                }
            }
        );
        let HelmRun::Running { log } =
            read_poll("running\nab\u{20ac}".as_bytes().split_last().unwrap().1, 0)
        else {
            panic!("not running")
        };
        assert_eq!((log.text.as_str(), log.next_offset), ("ab", 2));
    }

    #[test]
    fn run_ids_are_file_names() {
        for bad in ["", "-a", "a/b", "..", "a b", "a\n"] {
            assert!(RunId::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(RunId::try_from(RunId::new(OperationId::new(), 1).to_string()).is_ok());
    }

    #[test]
    fn nothing_that_looks_like_an_option_is_a_version() {
        for bad in ["", "--post-renderer", "1 2", "1;2", "$(id)"] {
            assert!(check_word("chart version", bad).is_err(), "{bad:?}");
        }
    }
}
