//! Pretend front ends: real `sshd`s with the files, programs and servers of a cluster's VM 0.
//!
//! Each infrastructure gets a loopback address of its own with SSH, the hub and the Kubernetes API
//! behind it, and a file system of its own (`setup.sh`: mount and process namespace, the machine's
//! `/usr`, everything else ours). `sshd` is Debian's, behind a door where faults are made
//! (`proxy.rs`). `helm`, `kubectl`, `clues` and `service` are one program of ours (`programs.rs`) that asks
//! the sandbox through a socket file what to do (`protocol.rs`), so that the state of the cluster
//! is in one place (`state.rs`) and survives a restart of the sandbox.
//!
//! **Invariant:** nothing outlives the [`FrontEnds`]: when it is dropped or its process is killed,
//! the processes of each front end end with it.
//!
//! Needs root, Debian's `openssh-server` and the right to mount.

mod arguments;
mod causes;
mod chart;
mod clues;
mod crowd;
mod ec3;
mod elastic;
mod files;
mod held;
mod helm;
mod helm_ask;
mod helm_chart;
mod history;
mod hub;
mod hub_api;
mod kubernetes;
mod load;
mod logs;
mod machine;
mod machines;
mod objects;
mod people;
pub mod programs;
mod protocol;
mod proxy;
mod scheduler;
mod shared;
mod state;
mod watching;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context;

use crate::faults::Faults;
use crate::pace::Pace;
use crate::saved::Saved;
use crate::serve::Background;
use crate::tls::Authority;
use machine::Machine;

pub(crate) use causes::Kept;
pub use causes::Withheld;
pub use crowd::Crowd;
pub use ec3::Ec3Options;
pub use held::HeldCommand;
pub use helm::HelmFault;
pub use people::{NodeView, ServerSize};
pub use proxy::SshDoor;
pub(crate) use shared::Shared;
pub use state::{Revision, Trouble};

/// How front ends are made.
#[derive(Clone, Debug)]
pub struct FrontEndsOptions {
    /// Where their files lie; short, since it holds sockets.
    pub state_dir: PathBuf,
    /// Port of SSH on each front end's address.
    pub ssh_port: u16,
    /// Port of the hub.
    pub hub_port: u16,
    /// Port of the Kubernetes API.
    pub kubernetes_port: u16,
    /// How long an install by helm takes.
    pub install_time: Duration,
    /// The binary `front-end-programs`; looked for beside the running program if absent.
    pub programs: Option<PathBuf>,
    /// How their tokens live; without, they have one that means nothing.
    pub ec3: Option<Ec3Options>,
    /// How long a pod waits before the CLUES of a new front end looks for a node
    /// (`RECONSIDER_JOB_TIME`), in pretend time and whole seconds.
    pub reconsider: Duration,
    /// How fast pretend time goes.
    pub pace: Pace,
}

impl FrontEndsOptions {
    /// The settings of tests: quick installs.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            ssh_port: 2222,
            hub_port: 8443,
            kubernetes_port: 6443,
            install_time: Duration::from_millis(300),
            programs: None,
            ec3: None,
            reconsider: Duration::ZERO,
            pace: Pace::default(),
        }
    }
}

/// All pretend front ends of a sandbox.
pub struct FrontEnds {
    shared: Arc<Shared>,
    machines: Mutex<BTreeMap<String, Machine>>,
    starting: tokio::sync::Mutex<()>,
    programs: PathBuf,
    _background: Background,
    _lock: File,
}

impl FrontEnds {
    /// Opens the state and starts the front ends that it knows.
    ///
    /// # Errors
    /// When the state can't be read, the programs are not built, or a front end does not start.
    pub async fn start(options: FrontEndsOptions) -> anyhow::Result<Arc<Self>> {
        std::fs::create_dir_all(&options.state_dir)
            .with_context(|| format!("make {}", options.state_dir.display()))?;
        let lock = File::create(options.state_dir.join("lock"))?;
        lock.try_lock()
            .with_context(|| format!("another sandbox uses {}", options.state_dir.display()))?;
        let authority = Authority::open(&options.state_dir)?;
        let saved = Arc::new(Saved::open(Some(
            options.state_dir.join("front-ends.json"),
        ))?);
        let programs = match &options.programs {
            Some(path) => path.clone(),
            None => find_programs()?,
        };
        let shared = Arc::new(Shared {
            saved,
            options,
            authority,
            helm_faults: Mutex::default(),
            helms: Mutex::default(),
            certificates: Mutex::default(),
            hub_faults: Faults::new(),
            kubernetes_faults: Faults::new(),
            pod_logs: logs::PodLogs::default(),
            histories: Mutex::default(),
            im: OnceLock::new(),
        });
        let mut background = Background::new();
        background.keep(Arc::clone(&shared.saved));
        if let Some(ec3) = shared.options.ec3.clone() {
            background.run(ec3::run(Arc::clone(&shared), ec3));
        }
        let front_ends = Self {
            shared,
            machines: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            programs,
            _background: background,
            _lock: lock,
        };
        let known: Vec<String> = front_ends
            .shared
            .saved
            .read()
            .clusters
            .keys()
            .cloned()
            .collect();
        for infrastructure in known {
            front_ends
                .start_machine(&infrastructure)
                .await
                .with_context(|| format!("start the front end of {infrastructure}"))?;
        }
        Ok(Arc::new(front_ends))
    }

    /// The certificate of the authority that signs hubs and Kubernetes APIs, as PEM.
    pub fn ca_pem(&self) -> &str {
        self.shared.authority.pem()
    }

    /// The authority, for other services of the sandbox.
    pub fn authority(&self) -> &Authority {
        &self.shared.authority
    }

    /// Gives a hub's host a certificate that is good for so many days, as cert-manager does.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn issue_certificate(&self, host: &str, days: i64) -> anyhow::Result<()> {
        self.shared.issue_certificate(host, days)
    }

    /// The same for every hub that has one.
    ///
    /// # Errors
    /// When one can't be made.
    pub fn issue_certificates(&self, days: i64) -> anyhow::Result<()> {
        let hosts: Vec<String> = {
            let saved = self.shared.saved.read();
            let clusters = saved.clusters.values();
            clusters.flat_map(|one| one.certified.clone()).collect()
        };
        hosts
            .iter()
            .try_for_each(|host| self.issue_certificate(host, days))
    }

    /// A token that a user made at `/hub/token` of the hub.
    pub fn add_hub_token(&self, infrastructure: &str, user: &str) -> String {
        let token = format!("hub-token-of-{user}");
        self.shared.change(infrastructure, |cluster| {
            cluster.hub_tokens.insert(token.clone(), user.to_owned());
        });
        token
    }

    /// Faults of all hubs.
    pub fn hub_faults(&self) -> &Faults {
        &self.shared.hub_faults
    }

    /// Faults of all Kubernetes APIs.
    pub fn kubernetes_faults(&self) -> &Faults {
        &self.shared.kubernetes_faults
    }

    /// Lets the next `times` runs of helm fail so.
    pub fn fail_helm(&self, fault: &HelmFault, times: usize) {
        let mut faults = self
            .shared
            .helm_faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        faults.extend(std::iter::repeat_n(fault.clone(), times));
    }

    /// Takes all faults of helm back.
    pub fn heal_helm(&self) {
        self.shared
            .helm_faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The infrastructures that have a front end.
    pub fn infrastructures(&self) -> Vec<String> {
        self.shared.saved.read().clusters.keys().cloned().collect()
    }

    /// The address of a front end.
    pub fn address(&self, infrastructure: &str) -> Option<IpAddr> {
        self.shared
            .look(infrastructure, |cluster| cluster.address.into())
    }

    /// The revisions of the release, oldest first.
    pub fn releases(&self, infrastructure: &str) -> Vec<Revision> {
        self.shared
            .look(infrastructure, |cluster| cluster.releases.clone())
            .unwrap_or_default()
    }

    /// How often `helm upgrade` began to change the cluster.
    pub fn helm_runs(&self, infrastructure: &str) -> u32 {
        self.shared
            .look(infrastructure, |cluster| cluster.helm_runs)
            .unwrap_or_default()
    }

    /// How many helm processes run now.
    pub fn helms_running(&self, infrastructure: &str) -> usize {
        self.shared.helm_pids(infrastructure).len()
    }

    /// The values of the newest revision, as they were sent.
    pub fn last_values(&self, infrastructure: &str) -> Option<String> {
        self.shared
            .look(infrastructure, |cluster| {
                cluster.newest().map(|r| r.values.clone())
            })
            .flatten()
    }

    /// Changes the release as a person at the front end would, behind the bot's back.
    pub fn upgrade_by_hand(&self, infrastructure: &str, values: &str) {
        self.shared
            .change(infrastructure, |cluster| helm::by_hand(cluster, values));
    }

    /// Installs the release as a person at the front end would, without the bot.
    ///
    /// # Errors
    /// When there is no such front end or chart, or a release is there.
    pub fn install_by_hand(
        &self,
        infrastructure: &str,
        version: &str,
        values: &str,
    ) -> anyhow::Result<()> {
        self.shared
            .change(infrastructure, |cluster| {
                helm::install_by_hand(cluster, version, values)
            })
            .with_context(|| format!("no front end of {infrastructure}"))?
    }

    /// The chart version whose custom resource definitions are installed.
    pub fn crds(&self, infrastructure: &str) -> Option<String> {
        self.shared
            .look(infrastructure, |cluster| cluster.crds.clone())
            .flatten()
    }

    /// What was run by `sudo`, oldest first, as its log has it.
    pub fn commands(&self, infrastructure: &str) -> Vec<String> {
        let file = self.with_machine(infrastructure, |machine| {
            machine.folder.join("data/var/log/auth.log")
        });
        let text = file
            .ok()
            .and_then(|file| std::fs::read_to_string(file).ok())
            .unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once("COMMAND="))
            .map(|(_, command)| command.trim_end().to_owned())
            .collect()
    }

    /// The root of a front end's file system, as a path of this machine.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn root(&self, infrastructure: &str) -> anyhow::Result<PathBuf> {
        self.with_machine(infrastructure, Machine::root)?
    }

    /// Sets what the SSH port does.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn set_ssh(&self, infrastructure: &str, door: SshDoor) -> anyhow::Result<()> {
        self.with_machine(infrastructure, |machine| machine.proxy.set(door))
    }

    /// Cuts all SSH connections that are open.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn cut_ssh(&self, infrastructure: &str) -> anyhow::Result<()> {
        self.with_machine(infrastructure, |machine| machine.proxy.cut())
    }

    /// Gives the front end a new host key, as a reinstalled machine would have. Connections that
    /// are open stay.
    ///
    /// # Errors
    /// When there is no such front end or its `sshd` does not come back.
    pub async fn change_host_key(&self, infrastructure: &str) -> anyhow::Result<()> {
        let mut machine = self.take_machine(infrastructure)?;
        let changed = match files::make_host_key(&machine.folder.join("data")) {
            Ok(()) => machine.reload_sshd().await,
            Err(error) => Err(error),
        };
        self.lock().insert(infrastructure.to_owned(), machine);
        changed
    }

    /// Gives the front end back the host key that it began with.
    ///
    /// # Errors
    /// When there is no such front end or its `sshd` does not come back.
    pub async fn restore_host_key(&self, infrastructure: &str) -> anyhow::Result<()> {
        let mut machine = self.take_machine(infrastructure)?;
        let restored = match files::restore_host_key(&machine.folder.join("data")) {
            Ok(true) => machine.reload_sshd().await,
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        self.lock().insert(infrastructure.to_owned(), machine);
        restored
    }

    /// Fills the disk under `/var/tmp`, or empties it again.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn fill_disk(&self, infrastructure: &str, full: bool) -> anyhow::Result<()> {
        let file = self.root(infrastructure)?.join("var/tmp/.filler");
        if !full {
            return match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).context("empty the disk")
                }
                _removed_or_never_full => Ok(()),
            };
        }
        let written = std::fs::write(&file, vec![0_u8; 8 * 1024 * 1024]);
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            Err(error) => Err(error).context("fill the disk"),
            Ok(()) => anyhow::bail!("the disk took 8 MiB and is not full"),
        }
    }

    /// Sends a signal (`KILL`, `TERM`, `HUP`) to the helm processes of a front end and tells how
    /// many there were.
    ///
    /// # Errors
    /// When a process is gone by then.
    pub async fn kill_helm(&self, infrastructure: &str, name: &str) -> anyhow::Result<usize> {
        let pids = self.shared.helm_pids(infrastructure);
        for pid in &pids {
            machine::signal(name, *pid).await?;
        }
        Ok(pids.len())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_machine<R>(
        &self,
        infrastructure: &str,
        look: impl FnOnce(&Machine) -> R,
    ) -> anyhow::Result<R> {
        self.lock()
            .get(infrastructure)
            .map(look)
            .with_context(|| format!("no front end of {infrastructure} runs"))
    }

    fn take_machine(&self, infrastructure: &str) -> anyhow::Result<Machine> {
        self.lock()
            .remove(infrastructure)
            .with_context(|| format!("no front end of {infrastructure} runs"))
    }
}

/// The binary with the pretend programs: beside the running program, or one folder above it, where
/// cargo puts binaries of tests.
fn find_programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("front-end-programs"))
        .find(|path| path.exists())
        .with_context(|| {
            format!(
                "no binary front-end-programs beside {}: build it with `cargo build -p sandbox`",
                own.display()
            )
        })
}
