//! One pretend front end for a test, and the waiting that tests need.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pangeo_bot::domain::chart::Chart;
use pangeo_bot::domain::ids::OperationId;
use pangeo_bot::domain::names::HostName;
use pangeo_bot::services::frontend::{Frontend, FrontendAccess, FrontendClient};
use pangeo_bot::services::helm::{Helm, HelmRun, HelmSettings, RunId, Start};
use pangeo_bot::services::hub::{HubClient, HubTarget};
use sandbox::frontend::{FrontEnds, FrontEndsOptions};
use sandbox::machines::{MachineRequest, Machines};
use secrecy::SecretString;
use serde_json::json;

pub(crate) const INFRASTRUCTURE: &str = "a1";
pub(crate) const HOST: &str = "geo.vm.fedcloud.eu";
pub(crate) const VERSION: &str = "2022.8.2";

/// A version of the configured chart.
pub(crate) fn chart(version: &str) -> Chart {
    Chart::configured(version)
}

pub(crate) const VALUES: &str = "dask-gateway:\n  gateway:\n    auth:\n      type: jupyterhub\n\
    jupyterhub:\n  proxy:\n    secretToken: c0ffee\n  ingress:\n    enabled: true\n    hosts:\n    - geo.vm.fedcloud.eu\n";

/// One pretend front end and what is needed to reach it. All of it ends with the test.
pub(crate) struct World {
    pub(crate) front_ends: Arc<FrontEnds>,
    pub(crate) client: FrontendClient,
    pub(crate) access: FrontendAccess,
    pub(crate) settings: HelmSettings,
    pub(crate) dir: PathBuf,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut FrontEndsOptions)) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let dir = std::env::temp_dir().join(format!("fe-{}", &name[..8]));
        let mut options = FrontEndsOptions::new(dir.join("world"));
        change(&mut options);
        let ssh_port = options.ssh_port;
        let front_ends = FrontEnds::start(options).await.unwrap();
        let request = MachineRequest {
            infrastructure: INFRASTRUCTURE.to_owned(),
            inputs:
                json!({ "kube_version": "1.28.15", "wn_num": 2, "wn_cpus": 8, "wn_mem": "32 GB" })
                    .as_object()
                    .unwrap()
                    .clone(),
        };
        let machine = Machines::start(front_ends.as_ref(), request).await.unwrap();
        front_ends
            .configured(INFRASTRUCTURE, Some(HOST), false)
            .await
            .unwrap();
        let client = FrontendClient::new(&dir.join("ssh")).unwrap();
        let host_key = client
            .scan_host_key(machine.address, ssh_port)
            .await
            .unwrap();
        let access = FrontendAccess {
            address: machine.address,
            port: ssh_port,
            user: machine.user,
            private_key: SecretString::from(machine.private_key),
            host_key,
        };
        Self {
            front_ends,
            client,
            access,
            settings: HelmSettings::default(),
            dir,
        }
    }

    pub(crate) async fn connect(&self) -> Frontend {
        self.client.connect(&self.access).await.unwrap()
    }

    pub(crate) fn hub(&self) -> (HubClient, HubTarget) {
        let client = HubClient::new(Some(self.front_ends.ca_pem().as_bytes())).unwrap();
        let target = HubTarget {
            scheme: "https".to_owned(),
            host: HostName::parse(HOST).unwrap(),
            port: 8443,
            address: self.access.address,
        };
        (client, target)
    }

    /// A file of the front end, as this machine sees it.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.front_ends.root(INFRASTRUCTURE).unwrap().join(path)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

pub(crate) fn values() -> SecretString {
    SecretString::from(VALUES)
}

pub(crate) fn run_id() -> RunId {
    RunId::new(OperationId::new(), 1)
}

/// Polls a run until it is over; returns the last answer and the whole log.
pub(crate) async fn until_over(helm: &Helm<'_>, run: &RunId) -> (HelmRun, String) {
    let begin = Instant::now();
    let mut offset = 0;
    let mut whole = String::new();
    loop {
        let answer = helm.poll(run, offset).await.unwrap();
        let (HelmRun::Running { log } | HelmRun::Ended { log, .. } | HelmRun::Lost { log }) =
            &answer
        else {
            return (answer, whole);
        };
        whole.push_str(&log.text);
        offset = log.next_offset;
        if !matches!(answer, HelmRun::Running { .. }) {
            return (answer, whole);
        }
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "the run does not end: {whole}"
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for the world outside, with a deadline"
)]
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "not so after 20 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Installs DaskHub and returns the run.
pub(crate) async fn install(helm: &Helm<'_>) -> RunId {
    let run = run_id();
    assert_eq!(
        helm.start_or_attach(&run, &chart(VERSION), &values())
            .await
            .unwrap(),
        Start::Started
    );
    let (end, log) = until_over(helm, &run).await;
    assert!(
        matches!(end, HelmRun::Ended { code: 0, .. }),
        "{end:?}: {log}"
    );
    run
}
