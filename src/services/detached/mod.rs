//! Programs on a front end that must survive the bot and its connection, and run once.
//!
//! A run lives under a supervisor of ours on the front end (`detached-run.sh`), cut off from the SSH
//! session. It has an id; starting the same id again, from whatever bot, finds the first run and
//! follows it: [`Detached::start`] → [`Detached::poll`] until it ended → [`Detached::cleanup`].
//!
//! **Invariant:** one run id, one program: a folder made with `mkdir` is the lock.
//!
//! **Invariant:** no shell text is built: the program and its arguments are handed on as they are.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::frontend::{Frontend, FrontendError};
use crate::domain::ids::OperationId;

/// The supervisor that runs on the front end.
const SCRIPT: &str = include_str!("detached-run.sh");

/// Where runs live on a front end. `/var/tmp` survives a reboot; root only.
const RUNS: &str = "/var/tmp/pangeo-bot";

/// How many bytes of a run's log one [`Detached::poll`] returns at most.
pub const LOG_CHUNK: usize = 64 * 1024;

/// The text is not a run id.
#[derive(Debug, thiserror::Error)]
#[error("the text is not the id of a run")]
pub struct BadRunId;

/// The id of one run: the operation, the step where it has several, and how many runs it has had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The run number `round` (from 1) of an operation. A new round is a new program.
    pub fn new(operation: OperationId, round: u32) -> Self {
        Self(format!("{operation}-{round}"))
    }

    /// The run number `round` of a step that has runs of its own.
    pub fn of_step(operation: OperationId, step: &str, round: u32) -> Self {
        Self(format!("{operation}-{step}-{round}"))
    }

    /// Where the values for helm lie while it runs.
    pub fn values_file(&self) -> String {
        format!("{}/values.yaml", self.dir())
    }

    /// Where everything of the run lies.
    pub fn dir(&self) -> String {
        format!("{RUNS}/{}", self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RunId {
    type Error = BadRunId;

    fn try_from(text: String) -> Result<Self, BadRunId> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain && (1..=100).contains(&text.len()) && !text.starts_with('-') {
            return Ok(Self(text));
        }
        Err(BadRunId)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// What [`Detached::start`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It was started now.
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
pub enum Run {
    /// It was never started, or it was cleaned up.
    Absent,
    /// The program runs.
    Running {
        /// What it printed since the offset.
        log: LogPiece,
    },
    /// The program ended.
    Ended {
        /// Its exit status, 0 for success.
        code: i32,
        /// What it printed since the offset; ask again as long as this is not empty.
        log: LogPiece,
    },
    /// The program and its supervisor are gone without a status: the machine went down or somebody
    /// killed them.
    Lost {
        /// What it printed since the offset.
        log: LogPiece,
    },
}

/// Runs on one front end.
#[derive(Clone, Copy, Debug)]
pub struct Detached<'a> {
    frontend: &'a Frontend,
}

impl<'a> Detached<'a> {
    /// Behind this connection.
    pub fn on(frontend: &'a Frontend) -> Self {
        Self { frontend }
    }

    /// Starts a program as root, detached, or finds that this run was started before. Safe to
    /// repeat and safe from two bots at once. `values` are put into [`RunId::values_file`] before.
    ///
    /// # Errors
    /// When it does not get there ([`FrontendError::DiskFull`] …). The run may have been started if
    /// the connection broke: call it again.
    pub async fn start(
        &self,
        run: &RunId,
        values: Option<&SecretString>,
        command: &[&str],
    ) -> Result<Start, FrontendError> {
        if self.poll(run, 0).await? != Run::Absent {
            return Ok(Start::Attached);
        }
        let dir = run.dir();
        let script = format!("{dir}/detached-run.sh");
        self.frontend
            .upload(&script, SCRIPT.as_bytes(), 0o700)
            .await?;
        if let Some(values) = values {
            let bytes = values.expose_secret().as_bytes();
            self.frontend
                .upload(&run.values_file(), bytes, 0o600)
                .await?;
        }
        let mut args = vec!["sudo", "sh", &script, "start", &dir];
        args.extend(command);
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
    pub async fn poll(&self, run: &RunId, offset: u64) -> Result<Run, FrontendError> {
        let (from, max) = (offset.to_string(), LOG_CHUNK.to_string());
        let dir = run.dir();
        let args = [
            "sudo",
            "sh",
            "-c",
            SCRIPT,
            "detached-run",
            "poll",
            &dir,
            &from,
            &max,
        ];
        let output = self.frontend.run_ok(&args, &[]).await?;
        Ok(read_poll(&output.stdout, offset))
    }

    /// Asks the program of a run to end.
    ///
    /// # Errors
    /// When the front end does not answer.
    pub async fn stop(&self, run: &RunId) -> Result<(), FrontendError> {
        self.run_script(run, "stop").await
    }

    /// Removes what a run left on the front end. A run that is not over stays.
    ///
    /// # Errors
    /// When it is not over or the front end does not answer.
    pub async fn cleanup(&self, run: &RunId) -> Result<(), FrontendError> {
        self.run_script(run, "cleanup").await
    }

    async fn run_script(&self, run: &RunId, verb: &str) -> Result<(), FrontendError> {
        let dir = run.dir();
        let args = ["sudo", "sh", "-c", SCRIPT, "detached-run", verb, &dir];
        self.frontend.run_ok(&args, &[]).await?;
        Ok(())
    }
}

/// Reads the answer of `detached-run.sh poll`: a line about the run, then the log.
fn read_poll(answer: &[u8], offset: u64) -> Run {
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
        Some(("ended", code)) => Run::Ended {
            code: code.trim().parse().unwrap_or(-1),
            log: piece,
        },
        Some(_) => Run::Lost { log: piece },
        None => match line.as_str() {
            "absent" => Run::Absent,
            "running" => Run::Running { log: piece },
            _ => Run::Lost { log: piece },
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
    fn a_poll_is_read_with_its_offsets() {
        assert_eq!(read_poll(b"absent\n", 0), Run::Absent);
        assert_eq!(
            read_poll(b"ended 1\nError: x\n", 10),
            Run::Ended {
                code: 1,
                log: LogPiece {
                    text: "Error: x\n".to_owned(),
                    next_offset: 19
                }
            }
        );
        let Run::Running { log } =
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
}
