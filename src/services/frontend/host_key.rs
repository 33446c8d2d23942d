//! Host keys: what they look like and how the first one is learnt.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::error::FrontendError;

/// How long a front end may take to show its host key.
const SCAN_LIMIT: Duration = Duration::from_secs(15);

/// The algorithms that are pinned, best first.
const ALGORITHMS: [&str; 5] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];

/// Why a text is not a host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// Not `<algorithm> <base64>`.
    #[error("the text is not a host key of the form `ssh-ed25519 AAAA…`")]
    Form,
    /// The server showed no key that the bot can pin.
    #[error("the server showed no host key: {said}")]
    NoneShown {
        /// What `ssh-keyscan` said.
        said: String,
    },
}

impl HostKeyError {
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Form => false,
            Self::NoneShown { .. } => true,
        }
    }
}

/// The public host key of a front end, as a line of `known_hosts` has it: `ssh-ed25519 AAAA…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostKey {
    algorithm: String,
    base64: String,
}

impl HostKey {
    /// Parses `<algorithm> <base64>`; a comment behind it is dropped.
    ///
    /// # Errors
    /// [`HostKeyError::Form`] for anything else.
    pub fn parse(text: &str) -> Result<Self, HostKeyError> {
        let mut words = text.split_ascii_whitespace();
        let (Some(algorithm), Some(base64)) = (words.next(), words.next()) else {
            return Err(HostKeyError::Form);
        };
        if !ALGORITHMS.contains(&algorithm) || STANDARD.decode(base64).is_err() {
            return Err(HostKeyError::Form);
        }
        Ok(Self {
            algorithm: algorithm.to_owned(),
            base64: base64.to_owned(),
        })
    }

    /// The fingerprint as `ssh` shows it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let bytes = STANDARD.decode(&self.base64).unwrap_or_default();
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(bytes)))
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.base64)
    }
}

impl TryFrom<String> for HostKey {
    type Error = HostKeyError;

    fn try_from(text: String) -> Result<Self, HostKeyError> {
        Self::parse(&text)
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> Self {
        key.to_string()
    }
}

/// Asks a machine for its host key, to pin it for all later connections.
///
/// This first look is trusted as it is: IM does not tell the key by another way. It is done once,
/// right after the machine was created.
///
/// # Errors
/// [`FrontendError::Refused`] and [`FrontendError::Unreachable`] when nothing answers,
/// [`FrontendError::HostKey`] when what answers is no SSH server. All of them may pass.
pub(super) async fn scan(
    address: IpAddr,
    port: u16,
    connect_limit: Duration,
) -> Result<HostKey, FrontendError> {
    let shown = SocketAddr::new(address, port).to_string();
    reach(address, port, connect_limit).await?;
    let mut command = Command::new("ssh-keyscan");
    command
        .args([
            "-T",
            "5",
            "-t",
            "ed25519,ecdsa,rsa",
            "-p",
            &port.to_string(),
        ])
        .arg(address.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(SCAN_LIMIT, command.output())
        .await
        .map_err(|_elapsed| FrontendError::TimedOut {
            doing: format!("show the host key of {shown}"),
            limit: SCAN_LIMIT,
        })?
        .map_err(|source| FrontendError::Local {
            doing: "run `ssh-keyscan`",
            source,
        })?;
    best(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| FrontendError::HostKey {
        address: shown,
        source: HostKeyError::NoneShown {
            said: super::error::tail(&output.stderr, 300),
        },
    })
}

/// Opens and closes a connection, to tell a closed port from a silent machine.
async fn reach(address: IpAddr, port: u16, limit: Duration) -> Result<(), FrontendError> {
    let address = SocketAddr::new(address, port);
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_stream)) => Ok(()),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(FrontendError::Refused {
                address: address.to_string(),
                reason: error.to_string(),
            })
        }
        Ok(Err(error)) => Err(FrontendError::Unreachable {
            address: address.to_string(),
            reason: error.to_string(),
        }),
        Err(_elapsed) => Err(FrontendError::Unreachable {
            address: address.to_string(),
            reason: "connection timed out".to_owned(),
        }),
    }
}

/// The best key in the output of `ssh-keyscan`: lines of `<host> <algorithm> <base64>`.
fn best(output: &str) -> Option<HostKey> {
    let keys: Vec<HostKey> = output
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| HostKey::parse(line.split_once(' ')?.1).ok())
        .collect();
    ALGORITHMS
        .iter()
        .find_map(|algorithm| keys.iter().find(|key| key.algorithm == *algorithm))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn the_best_key_is_pinned_whatever_the_order() {
        let output = format!(
            "# 127.0.0.1:22 SSH-2.0-OpenSSH_9.2p1\n127.0.0.1 ssh-rsa AAAAB3NzaC1yc2E=\n127.0.0.1 {ED25519}\n"
        );
        assert_eq!(best(&output).unwrap().to_string(), ED25519);
    }

    #[test]
    fn the_fingerprint_is_what_ssh_shows() {
        // GitHub's published key and fingerprint, docs.github.com, 2023.
        assert_eq!(
            HostKey::parse(ED25519).unwrap().fingerprint(),
            "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
        );
    }

    #[test]
    fn what_would_add_a_line_to_known_hosts_is_no_key() {
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 not*base64",
            "@cert-authority AAAA",
            "ssh-dss AAAAB3NzaC1kc3M=",
        ] {
            assert!(HostKey::parse(bad).is_err(), "{bad:?}");
        }
        let two = format!("{ED25519}\nevil {ED25519}");
        assert_eq!(HostKey::parse(&two).unwrap().to_string(), ED25519);
    }
}
