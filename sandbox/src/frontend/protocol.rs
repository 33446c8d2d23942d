//! How the pretend programs on a front end (`helm`, `kubectl`, `clues`, `service`) talk to the sandbox: one
//! connection to a socket file for each run, JSON lines both ways.
//!
//! All they do is decided in the sandbox; the program prints what it is told, writes the files it
//! is told and passes on that it was asked to end. If it is killed its connection just closes, and
//! the sandbox sees a helm that died half way, as Kubernetes would.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Where the socket file is on a front end.
pub(super) const SOCKET: &str = "/run/sandbox.sock";

/// What was run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    /// The name of the program.
    pub(super) program: String,
    /// Its arguments.
    pub(super) args: Vec<String>,
    /// The content of each argument that is a file; of one that is a folder its `Chart.yaml`,
    /// `Chart.lock` and, below `charts`, the names there, one a line.
    pub(super) files: BTreeMap<String, String>,
    /// helm's list of repositories: where it is, and what stands in it.
    pub(super) repositories: (String, String),
}

/// What the program is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// Print this to standard output.
    Out(String),
    /// Print this to standard error.
    Err(String),
    /// Write this file.
    Write { path: String, content: String },
    /// Pack these files into an archive as helm does.
    Pack {
        path: String,
        files: BTreeMap<String, String>,
    },
    /// End with this status.
    Exit(u8),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The time is over.
    Done,
    /// The program was asked to end (TERM or INT).
    Asked,
    /// The program was killed.
    Gone,
}

/// A program that runs, as the sandbox sees it.
#[derive(Debug)]
pub(super) struct Caller {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    /// Its process number on the machine.
    pub(super) pid: Option<u32>,
}

impl Caller {
    /// Reads what was called.
    pub(super) async fn accept(stream: UnixStream) -> anyhow::Result<(Self, Call)> {
        let pid = stream
            .peer_cred()?
            .pid()
            .and_then(|pid| u32::try_from(pid).ok());
        let (reader, writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let line = lines.next_line().await?.unwrap_or_default();
        let call = serde_json::from_str(&line)?;
        let caller = Self { lines, writer, pid };
        Ok((caller, call))
    }

    /// Gives an order. An error means that the program is gone, which the next wait tells.
    pub(super) async fn order(&mut self, order: &Order) {
        if let Ok(mut line) = serde_json::to_vec(order) {
            line.push(b'\n');
            if let Err(error) = self.writer.write_all(&line).await {
                tracing::debug!(%error, "a program on a front end is gone");
            }
        }
    }

    /// Prints to standard output.
    pub(super) async fn out(&mut self, text: impl Into<String>) {
        self.order(&Order::Out(text.into())).await;
    }

    /// Prints to standard error.
    pub(super) async fn err(&mut self, text: impl Into<String>) {
        self.order(&Order::Err(text.into())).await;
    }

    /// Lets simulated work take its time.
    pub(super) async fn wait(&mut self, time: Duration) -> Waited {
        tokio::select! {
            () = tokio::time::sleep(time) => Waited::Done,
            line = self.lines.next_line() => match line {
                Ok(Some(_)) => Waited::Asked,
                Ok(None) | Err(_) => Waited::Gone,
            },
        }
    }
}
