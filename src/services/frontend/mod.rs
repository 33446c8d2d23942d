//! The front end of a cluster over SSH: VM 0, which runs the control plane, CLUES and helm.
//!
//! One [`FrontendClient`] for the bot, one [`Frontend`] for a connection. The real `ssh` program
//! does the protocol (crate `openssh`, one master process per connection, commands through its
//! control socket).
//!
//! **Invariant:** a host key that is not the pinned one is never accepted
//! ([`FrontendError::HostKeyChanged`]); neither the user's nor the machine's own `known_hosts` or
//! `ssh_config` is read.
//!
//! **Invariant:** no shell text is ever built. What runs is a list of whole arguments, each quoted
//! by `openssh`; scripts are constants of ours that get their values as positional arguments.
//! Contents of files go over standard input.
//!
//! **Invariant:** the private key lies in a file (mode 0600 in a folder of mode 0700) only while a
//! connection opens, since `ssh` reads keys from files only. Folders that a killed bot left behind
//! are removed at the next start.
//!
//! Every call has a deadline and a limit on what it reads.

mod connect;
mod error;
mod files;
mod host_key;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openssh::{ForwardType, Session, Socket, Stdio};
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::timeout;

pub use error::FrontendError;
pub(crate) use error::{says_disk_full, tail};
pub use files::Replaced;
pub use host_key::{HostKey, HostKeyError};

use connect::PrivateDir;

use crate::domain::metrics::{Calls, Metrics};

/// How long a connection may take to open, until the key is accepted.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// How long a command may take unless its caller sets another limit.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// How many bytes of a command's output are kept unless its caller sets another limit.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// How many bytes of a command's error output are kept (its end).
const STDERR_LIMIT: usize = 64 * 1024;

/// How many characters of error output an error carries.
const STDERR_IN_ERROR: usize = 2000;

/// How to reach a front end.
#[derive(Clone, Debug)]
pub struct FrontendAccess {
    /// Public address of VM 0.
    pub address: IpAddr,
    /// SSH port, 22 unless in the sandbox.
    pub port: u16,
    /// The user, `cloudadm` in the templates' images.
    pub user: String,
    /// The private key of VM 0, as PEM.
    pub private_key: SecretString,
    /// The pinned host key.
    pub host_key: HostKey,
}

/// Opens connections to front ends.
#[derive(Clone, Debug)]
pub struct FrontendClient {
    work_dir: Arc<Path>,
    connect_limit: Duration,
    calls: Calls,
}

impl FrontendClient {
    /// A client that keeps its short-lived files (keys, control sockets) below `work_dir`.
    ///
    /// The folder is created with mode 0700; what dead bots left there is removed. Its path must
    /// be short (at most 40 bytes), since the paths of sockets are limited to 108.
    ///
    /// # Errors
    /// When the folder can't be made or its path is too long or not plain.
    pub fn new(work_dir: &Path) -> Result<Self, FrontendError> {
        connect::prepare_work_dir(work_dir)?;
        Ok(Self {
            work_dir: work_dir.into(),
            connect_limit: CONNECT_LIMIT,
            calls: Calls::to("frontend"),
        })
    }

    /// Counts its calls, and those of its connections, there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.calls = self.calls.counted_by(metrics);
        self
    }

    /// Another limit for opening a connection, in whole seconds; [`CONNECT_LIMIT`] unless set.
    #[must_use]
    pub fn with_connect_limit(mut self, limit: Duration) -> Self {
        self.connect_limit = limit;
        self
    }

    /// Asks a machine for its host key, for the first pin. See [`HostKey`].
    ///
    /// # Errors
    /// When the machine is not reachable or shows no key; all of it may pass.
    pub async fn scan_host_key(
        &self,
        address: IpAddr,
        port: u16,
    ) -> Result<HostKey, FrontendError> {
        let scan = host_key::scan(address, port, self.connect_limit);
        self.calls.count(scan).await
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// See [`FrontendError`]; a changed host key needs a person.
    pub async fn connect(&self, access: &FrontendAccess) -> Result<Frontend, FrontendError> {
        let open = connect::open(&self.work_dir, access, self.connect_limit);
        let (session, dir) = self.calls.count(open).await?;
        Ok(Frontend {
            session,
            dir,
            forwards: Mutex::default(),
            address: SocketAddr::new(access.address, access.port),
            calls: self.calls.clone(),
        })
    }
}

/// What a command gave back.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit status.
    pub status: i32,
    /// The beginning of its output.
    pub stdout: Vec<u8>,
    /// The end of its error output.
    pub stderr: Vec<u8>,
    /// Whether output was dropped because it went over the limit.
    pub truncated: bool,
}

impl Output {
    /// The output as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The error output as text, without control characters, its last 2,000 characters.
    pub fn error_text(&self) -> String {
        tail(&self.stderr, STDERR_IN_ERROR)
    }
}

/// The forwards of a connection.
#[derive(Debug, Default)]
struct Forwards {
    /// The socket files that are forwarded, by host and port.
    open: HashMap<(String, u16), PathBuf>,
    /// How many were asked for; a name is never used twice.
    asked: u32,
}

/// One open connection to a front end. Closed when dropped.
#[derive(Debug)]
pub struct Frontend {
    // Order matters: the session ends before its folder is removed.
    session: Session,
    dir: PrivateDir,
    forwards: Mutex<Forwards>,
    address: SocketAddr,
    calls: Calls,
}

impl Frontend {
    /// Address and SSH port of the front end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs a program with whole arguments; `args[0]` is the program. Any exit status is `Ok`.
    ///
    /// # Errors
    /// When it could not be run or did not end within [`COMMAND_LIMIT`].
    pub async fn run(&self, args: &[&str]) -> Result<Output, FrontendError> {
        self.run_within(args, &[], COMMAND_LIMIT).await
    }

    /// Runs a program and gives it `input` on its standard input.
    ///
    /// # Errors
    /// As [`Frontend::run`].
    pub async fn run_with_input(
        &self,
        args: &[&str],
        input: &[u8],
    ) -> Result<Output, FrontendError> {
        self.run_within(args, input, COMMAND_LIMIT).await
    }

    /// Runs a program with a limit of its own. After the limit it may still run over there.
    ///
    /// # Errors
    /// As [`Frontend::run`].
    pub async fn run_within(
        &self,
        args: &[&str],
        input: &[u8],
        limit: Duration,
    ) -> Result<Output, FrontendError> {
        let program = program_of(args);
        let run = async {
            timeout(limit, self.run_unbounded(args, input))
                .await
                .map_err(|_elapsed| FrontendError::TimedOut {
                    doing: format!("run `{program}`"),
                    limit,
                })?
        };
        self.calls.count(run).await
    }

    /// Runs a program that must end with status 0.
    ///
    /// # Errors
    /// As [`Frontend::run`], and [`FrontendError::CommandFailed`] or [`FrontendError::DiskFull`].
    pub async fn run_ok(&self, args: &[&str], input: &[u8]) -> Result<Output, FrontendError> {
        let output = self.run_within(args, input, COMMAND_LIMIT).await?;
        succeeded(args, output)
    }

    /// How calls to what lies behind this front end are counted.
    pub(crate) fn calls_to(&self, service: &'static str) -> Calls {
        self.calls.also_to(service)
    }

    /// Whether the connection still lives.
    pub async fn is_alive(&self) -> bool {
        timeout(Duration::from_secs(5), self.session.check())
            .await
            .is_ok_and(|alive| alive.is_ok())
    }

    /// Forwards a socket file on the bot's machine to `host:port` as the front end sees it.
    /// The forward ends with the connection, and there is one for each host and port.
    ///
    /// # Errors
    /// When the connection is gone or the `ssh` process refuses.
    pub async fn forward(&self, host: &str, port: u16) -> Result<PathBuf, FrontendError> {
        const DOING: &str = "forward a port";
        let mut forwards = self.forwards.lock().await;
        if let Some(path) = forwards.open.get(&(host.to_owned(), port)) {
            return Ok(path.clone());
        }
        let path = self.dir.path().join(format!("f{}", forwards.asked));
        forwards.asked = forwards.asked.wrapping_add(1);
        let request = self.session.request_port_forward(
            ForwardType::Local,
            Socket::from(path.clone()),
            Socket::new(host, port),
        );
        match timeout(COMMAND_LIMIT, request).await {
            Ok(Ok(())) => {
                forwards.open.insert((host.to_owned(), port), path.clone());
                Ok(path)
            }
            Ok(Err(openssh::Error::Disconnected)) => Err(FrontendError::Disconnected {
                doing: DOING.to_owned(),
            }),
            Ok(Err(source)) => Err(FrontendError::Ssh {
                doing: DOING,
                source: Box::new(source),
            }),
            Err(_elapsed) => Err(FrontendError::TimedOut {
                doing: DOING.to_owned(),
                limit: COMMAND_LIMIT,
            }),
        }
    }

    async fn run_unbounded(&self, args: &[&str], input: &[u8]) -> Result<Output, FrontendError> {
        let Some((program, rest)) = args.split_first() else {
            return Err(FrontendError::BadArgument {
                what: "the command",
                why: "it is empty",
            });
        };
        let mut child = self
            .session
            .command(*program)
            .args(rest)
            .stdin(if input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .map_err(|error| explain(args, error))?;
        let (stdin, stdout, stderr) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A command that ends without reading is judged by its exit status, not by this.
                if stdin.write_all(input).await.is_ok() {
                    drop(stdin.shutdown().await);
                }
            }
        };
        let ((), stdout, stderr) =
            tokio::join!(feed, read_head(stdout, OUTPUT_LIMIT), read_tail(stderr));
        let (stdout, truncated) = stdout;
        match child.wait().await {
            Ok(status) => Ok(Output {
                status: status.code().unwrap_or(-1),
                stdout,
                stderr,
                truncated,
            }),
            Err(openssh::Error::RemoteProcessTerminated) if self.is_alive().await => {
                Err(FrontendError::Killed {
                    program: program_of(args),
                })
            }
            Err(error) => Err(explain(args, error)),
        }
    }
}

/// The name of what runs, for messages: the program, or the one behind `sudo` and `timeout`.
fn program_of(args: &[&str]) -> String {
    args.iter()
        .find(|word| **word != "sudo")
        .or(args.first())
        .map(|word| (*word).to_owned())
        .unwrap_or_default()
}

/// Turns a status other than 0 into an error.
fn succeeded(args: &[&str], output: Output) -> Result<Output, FrontendError> {
    let program = program_of(args);
    match output.status {
        0 => Ok(output),
        status => {
            let stderr = output.error_text();
            if says_disk_full(&stderr) {
                return Err(FrontendError::DiskFull {
                    doing: format!("run `{program}`"),
                });
            }
            if stderr.contains("sudo: ") && stderr.contains("command not found") {
                return Err(FrontendError::NotFound { program });
            }
            Err(FrontendError::CommandFailed {
                program,
                status,
                stderr,
            })
        }
    }
}

fn explain(args: &[&str], error: openssh::Error) -> FrontendError {
    let program = program_of(args);
    if matches!(error, openssh::Error::Remote(_)) {
        return FrontendError::NotFound { program };
    }
    if matches!(error, openssh::Error::InvalidCommand) {
        return FrontendError::BadArgument {
            what: "an argument",
            why: "it contains a NUL",
        };
    }
    if matches!(
        error,
        openssh::Error::Disconnected | openssh::Error::RemoteProcessTerminated
    ) {
        return FrontendError::Disconnected {
            doing: format!("run `{program}`"),
        };
    }
    FrontendError::Ssh {
        doing: "run a command",
        source: Box::new(error),
    }
}

/// Reads to the end, keeps the first `limit` bytes and tells whether there were more.
async fn read_head(reader: Option<impl AsyncRead + Unpin>, limit: usize) -> (Vec<u8>, bool) {
    let Some(mut reader) = reader else {
        return (Vec::new(), false);
    };
    let mut kept = Vec::new();
    let mut truncated = false;
    let mut buffer = vec![0_u8; 16 * 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let room = limit.saturating_sub(kept.len());
        truncated |= count > room;
        kept.extend(buffer.iter().take(count.min(room)));
    }
    (kept, truncated)
}

/// Reads to the end and keeps the last [`STDERR_LIMIT`] bytes or a little more.
async fn read_tail(reader: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut reader) = reader else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    let mut buffer = vec![0_u8; 16 * 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        kept.extend(buffer.iter().take(count));
        if kept.len() > 2 * STDERR_LIMIT {
            kept.drain(..kept.len() - STDERR_LIMIT);
        }
    }
    kept
}
