//! Infrastructure Manager: the REST API of IM 2.0.0 over pretend clouds.
//!
//! A request is answered by `api`, with the status codes and texts of the real server. What an
//! infrastructure becomes over time happens in `life`: *pending* until its machines run, *running*
//! while they are configured (the log grows), then *configured*. Machines come from a
//! [`Machines`]; the cloud `Dummy` has none, as in the real server.
//!
//! It accepts access tokens of the sandbox's Check-in, and user name with password. It also serves
//! templates of its own at `/tosca/<name>.yaml`, with the inputs of the public ones.
//!
//! `tests/contract_im.rs` of the bot runs one suite against this and against the real server;
//! where they differ, this is wrong.

mod answer;
mod api;
mod auth;
mod by_hand;
mod change;
mod design;
mod life;
mod log;
mod radl;
mod site;
mod state;
mod tosca;
mod vm;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::checkin::Checkin;
use crate::dns::Dns;
use crate::faults::Faults;
use crate::machines::{Machines, Workers};
use crate::saved::Saved;
use crate::serve::{Background, listen};
use state::{ImState, Infrastructure};

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeedOptions {
    /// From the request until the machines run.
    pub pending: Duration,
    /// From then until they are configured; also a reconfigure takes this long.
    pub configuring: Duration,
    /// Deleting.
    pub deleting: Duration,
    /// From a create until the list shows it: the real server is still taking it in.
    pub listing: Duration,
}

impl SpeedOptions {
    /// Fractions of a second.
    pub fn for_tests() -> Self {
        Self {
            pending: Duration::from_millis(200),
            configuring: Duration::from_millis(300),
            deleting: Duration::from_millis(100),
            listing: Duration::ZERO,
        }
    }

    /// Slow enough to watch.
    pub fn to_watch() -> Self {
        Self {
            pending: Duration::from_secs(5),
            configuring: Duration::from_secs(15),
            deleting: Duration::from_secs(5),
            listing: Duration::from_secs(1),
        }
    }
}

/// How to start [`Im`].
pub struct ImOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the state is kept, if anywhere.
    pub state_file: Option<PathBuf>,
    /// How long things take.
    pub speed: SpeedOptions,
    /// The pretend cloud.
    pub machines: Arc<dyn Machines>,
    /// Where it looks up host names when it configures; without, no name points anywhere.
    pub dns: Option<Arc<Dns>>,
    /// Whose tokens it accepts; without, none.
    pub checkin: Option<Arc<Checkin>>,
}

/// One infrastructure, for tests and for the world's panel.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct InfrastructureView {
    /// IM's id.
    pub id: String,
    /// `metadata.infra_name`.
    pub name: Option<String>,
    /// The state of the whole, in IM's words.
    pub state: String,
    /// Number and state of each VM.
    pub vms: Vec<(u32, String)>,
    /// The public address of the front end.
    pub address: Option<String>,
    /// The values of the TOSCA inputs.
    pub inputs: Map<String, Value>,
    /// Who may use it, as IM names them.
    pub owners: Vec<String>,
    /// How many times it was configured to the end.
    pub configured: u32,
}

/// What happens to the next launch or configuration instead of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    LaunchFails(String),
    StaysPending,
    ConfigureFails,
    /// Configuring the next worker of this infrastructure fails.
    WorkerFails(String),
}

struct Inner {
    state: Arc<Saved<ImState>>,
    speed: Mutex<SpeedOptions>,
    mishaps: Mutex<Vec<Mishap>>,
    /// How many times its templates were changed.
    template_changes: AtomicU64,
    machines: Arc<dyn Machines>,
    dns: Option<Arc<Dns>>,
    checkin: Option<Arc<Checkin>>,
    faults: Faults,
    url: String,
    ended: CancellationToken,
}

/// The running server.
pub struct Im {
    inner: Arc<Inner>,
    _background: Background,
}

impl Im {
    /// Starts the server, and again the machines of infrastructures that it remembers.
    ///
    /// # Errors
    /// When the port is taken or the state file does not parse.
    pub async fn start(options: ImOptions) -> anyhow::Result<Arc<Self>> {
        let (listener, address) = listen(options.listen).await?;
        let mut background = Background::new();
        let inner = Arc::new(Inner {
            state: Arc::new(Saved::open(options.state_file)?),
            speed: Mutex::new(options.speed),
            mishaps: Mutex::default(),
            template_changes: AtomicU64::default(),
            machines: options.machines,
            dns: options.dns,
            checkin: options.checkin,
            faults: Faults::new(),
            url: format!("http://{address}"),
            ended: background.ended(),
        });
        background.serve(listener, inner.faults.wrap(api::router(Arc::clone(&inner))));
        background.keep(Arc::clone(&inner.state));
        life::resume(&inner);
        Ok(Arc::new(Self {
            inner,
            _background: background,
        }))
    }

    /// The base URL, above `/infrastructures`.
    pub fn url(&self) -> String {
        self.inner.url.clone()
    }

    /// The URL below which the templates are.
    pub fn templates_url(&self) -> String {
        format!("{}/tosca/", self.inner.url)
    }

    /// What the CLUES of a cluster asks it for.
    pub fn workers(&self) -> Arc<dyn Workers> {
        Arc::new(workers::Elastic(Arc::downgrade(&self.inner)))
    }

    /// The faults of all its paths.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Lets another account act on an infrastructure, as its holder's own tools would.
    pub fn let_act(&self, id: &str, account: &str) {
        let owner = auth::Owner {
            username: account.to_owned(),
            password: String::new(),
        };
        let mut state = self.inner.state.change();
        if let Some(infrastructure) = state.infrastructures.get_mut(id) {
            infrastructure.owners.push(owner);
        }
    }

    /// All infrastructures that are not deleted, oldest first.
    pub fn infrastructures(&self) -> Vec<InfrastructureView> {
        let state = self.inner.state.read();
        let mut list: Vec<&Infrastructure> = state.infrastructures.values().collect();
        list.sort_by_key(|infrastructure| infrastructure.number);
        list.into_iter().map(Infrastructure::view).collect()
    }

    /// The infrastructure with this name, if there is one.
    pub fn infrastructure(&self, name: &str) -> Option<InfrastructureView> {
        let mut all = self.infrastructures().into_iter();
        all.find(|infrastructure| infrastructure.name.as_deref() == Some(name))
    }

    /// Changes the templates that it serves, as their authors do from time to time.
    pub fn change_templates(&self) {
        self.inner.template_changes.fetch_add(1, Ordering::Relaxed);
    }

    /// How many infrastructures were ever created.
    pub fn create_calls(&self) -> u64 {
        self.inner.state.read().created
    }

    /// How many infrastructures were ever deleted.
    pub fn delete_calls(&self) -> u64 {
        self.inner.state.read().deleted
    }

    /// How many times machines were configured again on request.
    pub fn reconfigure_calls(&self) -> u64 {
        self.inner.state.read().reconfigured
    }

    /// How long things take from now on.
    pub fn set_speed(&self, speed: SpeedOptions) {
        *self
            .inner
            .speed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = speed;
    }

    /// The next launch fails at the cloud with this text.
    pub fn fail_next_launch(&self, text: &str) {
        self.inner.add_mishap(Mishap::LaunchFails(text.to_owned()));
    }

    /// The next launch stays `pending` for ever.
    pub fn next_launch_stays_pending(&self) {
        self.inner.add_mishap(Mishap::StaysPending);
    }

    /// The next configuration ends `unconfigured`.
    pub fn fail_next_configure(&self) {
        self.inner.add_mishap(Mishap::ConfigureFails);
    }

    /// The next worker that the CLUES of an infrastructure asks for ends `unconfigured`.
    pub fn fail_next_worker(&self, id: &str) {
        self.inner.add_mishap(Mishap::WorkerFails(id.to_owned()));
    }

    /// Takes [`Im::fail_next_worker`] back, and lets workers that are `unconfigured` be configured.
    pub fn heal_workers(&self, id: &str) {
        let fails = Mishap::WorkerFails(id.to_owned());
        while self.inner.take_mishap(|mishap| *mishap == fails).is_some() {}
        life::heal_workers(&self.inner, id);
    }

    /// Whether a worker of an infrastructure is `unconfigured`, or the next one will be.
    pub fn has_broken_workers(&self, id: &str) -> bool {
        let fails = Mishap::WorkerFails(id.to_owned());
        let mishaps = self.inner.mishaps.lock();
        let will = mishaps
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&fails);
        will || life::change(&self.inner, id, |i| i.has_unconfigured_workers()) == Some(true)
    }

    /// Sets the limit of a quota of all sites to what is used of it now.
    pub fn use_up_quota(&self, resource: &str) {
        let mut state = self.inner.state.change();
        if let Some((used, _)) = site::quota(&state, resource) {
            let others = state.quotas.get(resource).map(|(others, _)| *others);
            let others = others.or_else(|| site::used_by_others(resource));
            let quota = (others.unwrap_or_default(), used);
            state.quotas.insert(resource.to_owned(), quota);
        }
    }

    /// Gives a quota of all sites back the limit that it began with.
    pub fn restore_quota(&self, resource: &str) {
        self.inner.state.change().quotas.remove(resource);
    }

    /// Whether all of a quota is used.
    pub fn is_quota_used_up(&self, resource: &str) -> bool {
        let quota = site::quota(&self.inner.state.read(), resource);
        quota.is_some_and(|(used, limit)| limit >= 0.0 && used >= limit)
    }

    /// Sets one quota of all sites (`cores`, `ram` in GiB, `instances`, `floating_ips`): what
    /// others use, and the limit.
    pub fn set_quota(&self, resource: &str, used: f64, limit: f64) {
        let mut state = self.inner.state.change();
        state.quotas.insert(resource.to_owned(), (used, limit));
    }
}

impl Inner {
    fn speed(&self) -> SpeedOptions {
        *self.speed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_mishap(&self, mishap: Mishap) {
        let mut mishaps = self.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
        mishaps.push(mishap);
    }

    /// Takes the first mishap of the kind.
    fn take_mishap(&self, fits: impl Fn(&Mishap) -> bool) -> Option<Mishap> {
        let mut mishaps = self.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
        let at = mishaps.iter().position(fits)?;
        Some(mishaps.remove(at))
    }
}

#[cfg(test)]
mod tests;
