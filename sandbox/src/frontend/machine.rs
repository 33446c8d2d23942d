//! One pretend front end that runs: its `sshd` in namespaces of its own, the door before it, and
//! the servers behind its address.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};

use super::proxy::Proxy;
use crate::serve::Background;

/// The port on which `sshd` really listens, behind the door.
pub(super) const INNER_SSH_PORT: u16 = 22022;

/// How long `sshd` may take to listen; seen: 0.1 s.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long an earlier front end may keep its ports.
const FREE_LIMIT: Duration = Duration::from_secs(5);

const SETUP: &str = include_str!("setup.sh");

/// A front end that runs. It ends when this is dropped.
pub(super) struct Machine {
    pub(super) proxy: Proxy,
    pub(super) folder: PathBuf,
    pub(super) servers: Background,
    sshd: Sshd,
    inside: SocketAddr,
}

/// The processes of a front end. `unshare --kill-child` ends them with itself, and they end by
/// themselves when the other end of their standard input is gone.
#[derive(Debug)]
struct Sshd {
    unshare: Child,
    _stdin: Option<ChildStdin>,
}

impl Machine {
    /// Starts `sshd` with the files in `folder` and opens the door at `listener`.
    pub(super) async fn start(
        folder: &Path,
        programs: &Path,
        listener: TcpListener,
    ) -> anyhow::Result<Self> {
        let outside = listener.local_addr()?;
        let inside = SocketAddr::new(outside.ip(), INNER_SSH_PORT);
        drop(free(inside).await?);
        let log = std::fs::File::create(folder.join("sshd.log"))?;
        let root = folder.join("mount");
        std::fs::create_dir_all(&root)?;
        let mut unshare = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--propagation",
                "private",
            ])
            .args(["sh", "-c", SETUP, "front-end"])
            .args([&root, &folder.join("data"), programs])
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("run unshare (needs root and Debian's util-linux)")?;
        let stdin = unshare.stdin.take();
        let mut machine = Self {
            proxy: Proxy::start(listener, outside, inside),
            folder: folder.to_owned(),
            servers: Background::new(),
            sshd: Sshd {
                unshare,
                _stdin: stdin,
            },
            inside,
        };
        machine.wait_until_it_listens().await?;
        Ok(machine)
    }

    async fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(self.inside).await.is_err() {
            let ended = self.sshd.unshare.try_wait()?;
            if ended.is_some() || begin.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(self.folder.join("sshd.log"))?;
                bail!(
                    "sshd of the front end does not start (needs root, Debian's openssh-server \
                     and the right to mount): {log}"
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends all processes of the front end and waits until they are gone.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.sshd.unshare.kill().await?;
        free(self.inside).await.map(drop)
    }

    /// Makes `sshd` read its settings and host key again.
    pub(super) async fn reload_sshd(&mut self) -> anyhow::Result<()> {
        let pid = self.inner_pid()?;
        signal("HUP", pid).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.wait_until_it_listens().await
    }

    /// The root of the front end's file system as the sandbox sees it.
    pub(super) fn root(&self) -> anyhow::Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.inner_pid()?)))
    }

    pub(super) fn address(&self) -> IpAddr {
        self.inside.ip()
    }

    /// The number, outside, of the process that is number 1 inside.
    fn inner_pid(&self) -> anyhow::Result<u32> {
        let outer = self.sshd.unshare.id().context("the front end has ended")?;
        let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok())
            .context("the front end has no processes")
    }
}

/// Listens at an address; waits a little for an earlier front end there to be gone.
pub(super) async fn free(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let begin = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if begin.elapsed() > FREE_LIMIT => {
                return Err(error).with_context(|| format!("listen at {address}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Sends a signal to a process.
pub(super) async fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    // `kill` of the shell: the program of that name may be missing.
    let status = Command::new("sh")
        .args([
            "-c",
            "kill -s \"$1\" \"$2\"",
            "kill",
            name,
            &pid.to_string(),
        ])
        .status()
        .await
        .context("run sh")?;
    if !status.success() {
        bail!("process {pid} took no signal {name}");
    }
    Ok(())
}
