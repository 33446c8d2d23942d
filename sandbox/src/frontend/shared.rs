//! What the parts of the front ends share: state, faults, certificates, running programs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::FrontEndsOptions;
use super::clues;
use super::helm::{Helm, HelmFault};
use super::history::History;
use super::kubernetes;
use super::logs::PodLogs;
use super::protocol::{Caller, Order};
use super::state::{Cluster, Clusters};
use crate::faults::Faults;
use crate::machines::Workers;
use crate::saved::Saved;
use crate::tls::{Authority, IssuedCertificate};

/// How long a certificate of the pretend Let's Encrypt is good.
const CERTIFICATE_DAYS: i64 = 90;

/// Shared by all tasks of the front ends.
pub(crate) struct Shared {
    pub(super) saved: Arc<Saved<Clusters>>,
    pub(super) options: FrontEndsOptions,
    pub(super) authority: Authority,
    pub(super) helm_faults: Mutex<VecDeque<HelmFault>>,
    pub(super) helms: Mutex<BTreeMap<String, Vec<u32>>>,
    pub(super) certificates: Mutex<BTreeMap<String, IssuedCertificate>>,
    pub(super) hub_faults: Faults,
    pub(super) kubernetes_faults: Faults,
    pub(super) pod_logs: PodLogs,
    pub(super) histories: Mutex<BTreeMap<String, Arc<History>>>,
    pub(super) im: OnceLock<Arc<dyn Workers>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Looks at a cluster.
    pub(super) fn look<R>(
        &self,
        infrastructure: &str,
        look: impl FnOnce(&Cluster) -> R,
    ) -> Option<R> {
        self.saved.read().clusters.get(infrastructure).map(look)
    }

    /// Changes a cluster.
    pub(super) fn change<R>(
        &self,
        infrastructure: &str,
        change: impl FnOnce(&mut Cluster) -> R,
    ) -> Option<R> {
        self.saved
            .change()
            .clusters
            .get_mut(infrastructure)
            .map(change)
    }

    /// The IM that CLUES asks for nodes.
    pub(super) fn workers(&self) -> Option<&dyn Workers> {
        self.im.get().map(AsRef::as_ref)
    }

    /// What changed in a cluster.
    pub(super) fn history(&self, infrastructure: &str) -> Arc<History> {
        let mut histories = self
            .histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let history = histories.entry(infrastructure.to_owned());
        Arc::clone(history.or_insert_with(|| Arc::new(History::new())))
    }

    /// Takes note of what a cluster is like now; whether it is configured.
    pub(super) fn observe(&self, infrastructure: &str) -> bool {
        let (history, times) = (self.history(infrastructure), self.options.pace.times());
        let observe = |cluster: &Cluster| {
            history.observe(cluster, times);
            cluster.configured
        };
        self.look(infrastructure, observe) == Some(true)
    }

    /// Takes the next fault if it is this one.
    pub(super) fn take_fault(&self, fault: &HelmFault) -> bool {
        let mut faults = self
            .helm_faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if faults.front() == Some(fault) {
            faults.pop_front();
            return true;
        }
        false
    }

    /// Takes the next fault.
    pub(super) fn next_fault(&self) -> Option<HelmFault> {
        self.helm_faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    /// The processes of helm that run on a front end.
    pub(super) fn helm_pids(&self, infrastructure: &str) -> Vec<u32> {
        let helms = self.helms.lock().unwrap_or_else(PoisonError::into_inner);
        helms.get(infrastructure).cloned().unwrap_or_default()
    }

    /// Gives a host a certificate that is good for so many days, instead of the one that it has.
    pub(super) fn issue_certificate(&self, host: &str, days: i64) -> anyhow::Result<()> {
        let certificate = self.authority.issue(&[host], days)?;
        let mut certificates = self
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        certificates.insert(host.to_owned(), certificate);
        Ok(())
    }

    /// The certificate of a host, made when it is first asked for.
    pub(super) fn certificate_of(&self, host: &str) -> Option<IssuedCertificate> {
        let mut certificates = self
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = certificates.get(host) {
            return Some(certificate.clone());
        }
        let certificate = self.authority.issue(&[host], CERTIFICATE_DAYS).ok()?;
        certificates.insert(host.to_owned(), certificate.clone());
        Some(certificate)
    }
}

/// Serves the socket file of a front end, to which its programs connect.
pub(super) async fn serve_programs(
    shared: Arc<Shared>,
    infrastructure: String,
    listener: UnixListener,
) {
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = calls.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (shared, infrastructure) = (Arc::clone(&shared), infrastructure.clone());
                calls.spawn(async move {
                    if let Err(error) = serve_call(&shared, &infrastructure, stream).await {
                        tracing::debug!(%error, "a program on a front end broke");
                    }
                });
            }
        }
    }
}

async fn serve_call(
    shared: &Shared,
    infrastructure: &str,
    stream: tokio::net::UnixStream,
) -> anyhow::Result<()> {
    let (mut caller, call) = Caller::accept(stream).await?;
    let code = match call.program.as_str() {
        "helm" => {
            let _running = Running::note(shared, infrastructure, caller.pid);
            Helm {
                shared,
                infrastructure,
                caller: &mut caller,
            }
            .run(&call)
            .await
        }
        "kubectl" => kubernetes::kubectl(shared, infrastructure, &call, &mut caller).await,
        "clues" => clues::clues(shared, infrastructure, &call, &mut caller).await,
        "service" => clues::service(shared, infrastructure, &call, &mut caller).await,
        other => anyhow::bail!("no program {other:?}"),
    };
    caller.order(&Order::Exit(code)).await;
    Ok(())
}

/// A helm that runs, noted until it ends.
struct Running<'a> {
    shared: &'a Shared,
    infrastructure: &'a str,
    pid: u32,
}

impl<'a> Running<'a> {
    fn note(shared: &'a Shared, infrastructure: &'a str, pid: Option<u32>) -> Option<Self> {
        let pid = pid?;
        let mut helms = shared.helms.lock().unwrap_or_else(PoisonError::into_inner);
        helms
            .entry(infrastructure.to_owned())
            .or_default()
            .push(pid);
        drop(helms);
        Some(Self {
            shared,
            infrastructure,
            pid,
        })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut helms = self
            .shared
            .helms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(pids) = helms.get_mut(self.infrastructure) {
            pids.retain(|pid| *pid != self.pid);
        }
    }
}
