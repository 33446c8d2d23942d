//! What can go wrong between the bot and a front end.

use std::time::Duration;

use super::host_key::HostKeyError;

/// Why a front end could not be used.
///
/// Texts of the remote side are shortened and freed of control characters; they may still name
/// secrets, so they pass the redactor before people see them.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// Nothing listens at the SSH port, or the server closed the connection before it began.
    #[error("the front end refuses SSH connections at {address}: {reason}")]
    Refused {
        /// Address and port.
        address: String,
        /// What `ssh` said.
        reason: String,
    },
    /// No answer from the address.
    #[error("the front end is not reachable at {address}: {reason}")]
    Unreachable {
        /// Address and port.
        address: String,
        /// What `ssh` said.
        reason: String,
    },
    /// The front end does not accept the key.
    #[error("the front end at {address} does not accept the key of user {user}")]
    AuthRefused {
        /// Address and port.
        address: String,
        /// The user that was tried.
        user: String,
        /// What `ssh` said.
        reason: String,
    },
    /// The front end showed another host key than the pinned one. Never accepted: a person must
    /// find out whether the machine was reinstalled or somebody stands in between.
    #[error("the host key of {address} is not the pinned one ({pinned}); it shows {}", offered.as_deref().unwrap_or("a key of another kind"))]
    HostKeyChanged {
        /// Address and port.
        address: String,
        /// Fingerprint of the pinned key.
        pinned: String,
        /// Fingerprint of the key that was shown, where `ssh` told it.
        offered: Option<String>,
    },
    /// The host key could not be asked for.
    #[error("the host key of {address} can't be read")]
    HostKey {
        /// Address and port.
        address: String,
        /// What was wrong with it.
        #[source]
        source: HostKeyError,
    },
    /// A command ended with another status than 0.
    #[error("`{program}` on the front end ended with status {status}: {stderr}")]
    CommandFailed {
        /// The program, without its arguments.
        program: String,
        /// The exit status.
        status: i32,
        /// The end of its error output.
        stderr: String,
    },
    /// The front end has no such program.
    #[error("the front end has no program `{program}`")]
    NotFound {
        /// The program.
        program: String,
    },
    /// The front end has no such file.
    #[error("the front end has no file {path}")]
    NoSuchFile {
        /// The path.
        path: String,
    },
    /// The disk of the front end is full.
    #[error("no space is left on the disk of the front end ({doing})")]
    DiskFull {
        /// What was being written.
        doing: String,
    },
    /// The command did not end in time; it may still run.
    #[error("the front end took longer than {} s to {doing}", limit.as_secs())]
    TimedOut {
        /// What was being done.
        doing: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke while something ran; whether it took effect is unknown.
    #[error("the connection to the front end broke while it was to {doing}")]
    Disconnected {
        /// What was being done.
        doing: String,
    },
    /// The remote process was killed.
    #[error("`{program}` was killed on the front end")]
    Killed {
        /// The program.
        program: String,
    },
    /// An argument, path or name that can't be sent.
    #[error("{what} can't be sent to a front end: {why}")]
    BadArgument {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The bot's own machine failed: no `ssh` program, its work folder not writable …
    #[error("the bot's machine could not {doing}")]
    Local {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The local `ssh` process misbehaved.
    #[error("the SSH connection could not {doing}")]
    Ssh {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Box<openssh::Error>,
    },
}

impl FrontendError {
    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Disconnected { .. }
            | Self::Killed { .. }
            | Self::Ssh { .. } => true,
            Self::HostKey { source, .. } => source.is_transient(),
            Self::AuthRefused { .. }
            | Self::HostKeyChanged { .. }
            | Self::CommandFailed { .. }
            | Self::NotFound { .. }
            | Self::NoSuchFile { .. }
            | Self::DiskFull { .. }
            | Self::BadArgument { .. }
            | Self::Local { .. } => false,
        }
    }

    /// What a person can do about it, one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused { .. } | Self::Unreachable { .. } => {
                "check that VM 0 runs and that its security group allows the SSH port, then retry"
            }
            Self::AuthRefused { .. } => {
                "put the key of VM 0 that IM shows back on the machine, then retry, or undo"
            }
            Self::HostKeyChanged { .. } => {
                "ask whoever runs the site whether the machine was reinstalled: then undo and deploy again; \
                 if not, somebody may stand in between: the bot does not log in"
            }
            Self::HostKey { .. } => {
                "check that an OpenSSH server answers at the SSH port, then retry"
            }
            Self::CommandFailed { .. } | Self::Killed { .. } => {
                "look at the error text, then retry"
            }
            Self::NotFound { .. } => {
                "it is not configured to the end: reconfigure it in IM's dashboard, then retry"
            }
            Self::NoSuchFile { .. } => {
                "check that the infrastructure was made from the elastic template, then retry, or undo"
            }
            Self::DiskFull { .. } => "free space on the disk of the front end, then retry",
            Self::TimedOut { .. } | Self::Disconnected { .. } | Self::Ssh { .. } => {
                "check the network between the bot and the front end, then retry"
            }
            Self::BadArgument { .. } => "undo, then deploy with another value",
            Self::Local { .. } => {
                "check the bot's machine (`ssh`, its work folder, its disk), then retry"
            }
        }
    }
}

/// The last `max` characters of a remote text, in one piece, without control characters.
pub(crate) fn tail(text: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let clean: Vec<char> = text
        .trim()
        .chars()
        .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
        .collect();
    let from = clean.len().saturating_sub(max);
    clean.iter().skip(from).collect()
}

/// Whether an error text says that a disk is full.
pub(crate) fn says_disk_full(text: &str) -> bool {
    text.contains("No space left on device") || text.contains("Disk quota exceeded")
}
