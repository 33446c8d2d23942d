//! Opening a connection: the folder with the key, the configuration and the control socket.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder};
use secrecy::ExposeSecret;
use tokio::time::timeout;
use uuid::Uuid;

use super::FrontendAccess;
use super::error::{FrontendError, tail};

/// Room for our folder, openssh's folder and ssh's temporary socket name below 108 bytes.
const WORK_DIR_LIMIT: usize = 40;

/// An idle master process of a killed bot ends after this time.
const IDLE_LIMIT_S: usize = 120;

/// After this long without a sign of life the connection counts as broken (3 times this).
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A folder younger than this is never taken for a left-over.
const LEFT_OVER_AGE: Duration = Duration::from_secs(60);

const PREFIX: &str = "fe-";

/// A folder of mode 0700 for one connection, removed on drop. Its file `lock` is locked as long
/// as the process lives, which tells it from a left-over.
#[derive(Debug)]
pub(super) struct PrivateDir {
    path: PathBuf,
    _lock: File,
}

impl PrivateDir {
    fn create(work_dir: &Path) -> std::io::Result<Self> {
        let name = Uuid::new_v4().simple().to_string();
        let path = work_dir.join(format!("{PREFIX}{}", name.get(..8).unwrap_or(&name)));
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = new_file(&path.join("lock"))?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, name: &str, content: &str) -> std::io::Result<PathBuf> {
        let path = self.path.join(name);
        new_file(&path)?.write_all(content.as_bytes())?;
        Ok(path)
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(error = %error, "a front end's work folder could not be removed");
        }
    }
}

fn new_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Makes the work folder and removes what dead processes left in it.
pub(super) fn prepare_work_dir(work_dir: &Path) -> Result<(), FrontendError> {
    let plain = work_dir.to_str().is_some_and(|text| {
        text.starts_with('/') && !text.contains(|c: char| c.is_whitespace() || "%\"\\".contains(c))
    });
    if !plain || work_dir.as_os_str().len() > WORK_DIR_LIMIT {
        return Err(FrontendError::BadArgument {
            what: "the work folder for SSH",
            why: "its path must be absolute, at most 40 bytes, without spaces, quotes or `%`",
        });
    }
    let local = |source| FrontendError::Local {
        doing: "make the work folder for SSH",
        source,
    };
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(work_dir)
        .map_err(local)?;
    for entry in fs::read_dir(work_dir).map_err(local)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_left_over(&entry.path()) {
            // Another bot may be removing it at the same time.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    Ok(())
}

fn is_left_over(dir: &Path) -> bool {
    let old = fs::metadata(dir)
        .and_then(|meta| meta.modified())
        .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LEFT_OVER_AGE));
    let locked = File::open(dir.join("lock"))
        .is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    old && !locked
}

/// Opens a connection in a new private folder.
pub(super) async fn open(
    work_dir: &Path,
    access: &FrontendAccess,
    limit: Duration,
) -> Result<(Session, PrivateDir), FrontendError> {
    check_user(&access.user)?;
    let local = |source| FrontendError::Local {
        doing: "write the key for SSH",
        source,
    };
    let dir = PrivateDir::create(work_dir).map_err(local)?;
    let known_hosts = dir
        .write("known_hosts", &format!("{ALIAS} {}\n", access.host_key))
        .map_err(local)?;
    let config = dir
        .write("config", &config_text(&known_hosts))
        .map_err(local)?;
    // A key without a final line feed is refused by ssh ("error in libcrypto").
    let key_text = format!("{}\n", access.private_key.expose_secret().trim_end());
    let key = dir.write("key", &key_text).map_err(local)?;
    let mut builder = SessionBuilder::default();
    builder
        .user(access.user.clone())
        .port(access.port)
        .keyfile(&key)
        .config_file(&config)
        .known_hosts_check(KnownHosts::Strict)
        .control_directory(dir.path())
        .control_persist(NonZeroUsize::new(IDLE_LIMIT_S).map_or(
            ControlPersist::ClosedAfterInitialConnection,
            ControlPersist::IdleFor,
        ))
        .connect_timeout(limit)
        .server_alive_interval(KEEP_ALIVE);
    let opened = timeout(
        limit + Duration::from_secs(5),
        builder.connect_mux(access.address.to_string()),
    )
    .await;
    fs::remove_file(&key).map_err(local)?;
    match opened {
        Ok(Ok(session)) => Ok((session, dir)),
        Ok(Err(error)) => Err(explain(access, error)),
        Err(_elapsed) => Err(FrontendError::Unreachable {
            address: shown(access),
            reason: "the SSH server did not answer in time".to_owned(),
        }),
    }
}

/// The name under which the host key is pinned; addresses change less often than they are reused.
const ALIAS: &str = "front-end";

fn config_text(known_hosts: &Path) -> String {
    format!(
        "GlobalKnownHostsFile /dev/null\n\
         UserKnownHostsFile {}\n\
         HostKeyAlias {ALIAS}\n\
         CheckHostIP no\n\
         UpdateHostKeys no\n\
         IdentityAgent none\n\
         PreferredAuthentications publickey\n\
         ForwardAgent no\n\
         ServerAliveCountMax 3\n\
         LogLevel INFO\n",
        known_hosts.display()
    )
}

fn check_user(user: &str) -> Result<(), FrontendError> {
    let plain = user
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if plain && user.starts_with(|c: char| c.is_ascii_alphabetic()) && user.len() <= 32 {
        return Ok(());
    }
    Err(FrontendError::BadArgument {
        what: "the user name",
        why: "use letters, digits, dots and dashes",
    })
}

fn shown(access: &FrontendAccess) -> String {
    SocketAddr::new(access.address, access.port).to_string()
}

/// Tells by the log of `ssh` why a connection did not open.
fn explain(access: &FrontendAccess, error: openssh::Error) -> FrontendError {
    let address = shown(access);
    let openssh::Error::Connect(cause) = error else {
        return FrontendError::Ssh {
            doing: "open",
            source: Box::new(error),
        };
    };
    let text = cause.to_string();
    let reason = tail(text.as_bytes(), 300);
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&[
        "Host key verification failed",
        "HOST IDENTIFICATION HAS CHANGED",
    ]) {
        return FrontendError::HostKeyChanged {
            address,
            pinned: access.host_key.fingerprint(),
            offered: offered_fingerprint(&text),
        };
    }
    if says(&["Permission denied (", "Too many authentication failures"]) {
        return FrontendError::AuthRefused {
            address,
            user: access.user.clone(),
            reason,
        };
    }
    if says(&["timed out", "No route to host", "is unreachable"]) {
        return FrontendError::Unreachable { address, reason };
    }
    if says(&[
        "Connection refused",
        "Connection closed",
        "Connection reset",
        "kex_exchange",
    ]) {
        return FrontendError::Refused { address, reason };
    }
    if cause.get_ref().is_none() {
        return FrontendError::Local {
            doing: "run `ssh`",
            source: cause,
        };
    }
    FrontendError::Unreachable { address, reason }
}

/// The fingerprint that `ssh` prints for the key it did not expect.
fn offered_fingerprint(log: &str) -> Option<String> {
    let from = log.find("sent by the remote host is")?;
    log.get(from..)?
        .split_whitespace()
        .find(|word| word.starts_with("SHA256:"))
        .map(|word| word.trim_end_matches('.').to_owned())
}
