//! Starting and stopping front ends, as the pretend cloud is asked to by IM.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::{TcpListener, UnixListener};

use super::hub::{self, Certificates};
use super::machine::{INNER_SSH_PORT, Machine, free};
use super::shared::serve_programs;
use super::state::{Clues, Cluster, WorkerNode, Workload};
use super::{FrontEnds, clues, elastic, files, kubernetes};
use crate::machines::{Machine as Started, MachineRequest, Machines};
use crate::tls::{self, Authority, serve_tls};

/// The user of the templates' images.
const USER: &str = "cloudadm";

/// How long the access token lives that a new front end is given.
const TOKEN_LIFETIME: chrono::Duration = chrono::Duration::hours(1);

/// How many addresses are tried for a new front end.
const ADDRESS_TRIES: u32 = 200;

impl Machines for FrontEnds {
    fn start(&self, request: MachineRequest) -> BoxFuture<'_, anyhow::Result<Started>> {
        async move {
            let _one_at_a_time = self.starting.lock().await;
            let infrastructure = request.infrastructure;
            if self.shared.look(&infrastructure, |_| ()).is_none() {
                self.make_cluster(&infrastructure, request.inputs).await?;
            }
            if !self.lock().contains_key(&infrastructure) {
                self.start_machine(&infrastructure).await?;
            }
            self.shared
                .look(&infrastructure, |cluster| Started {
                    address: cluster.address.into(),
                    user: USER.to_owned(),
                    private_key: cluster.private_key.clone(),
                })
                .context("the front end was removed meanwhile")
        }
        .boxed()
    }

    fn template_is(
        &self,
        infrastructure: &str,
        inputs: &serde_json::Map<String, serde_json::Value>,
    ) {
        self.shared.change(infrastructure, |cluster| {
            cluster.inputs.clone_from(inputs);
        });
        if let Err(error) = clues::follow_template(&self.shared, infrastructure) {
            tracing::warn!(
                error = format!("{error:#}"),
                "CLUES' files stay as they are"
            );
        }
    }

    fn configured<'a>(
        &'a self,
        infrastructure: &'a str,
        host: Option<&'a str>,
        points_here: bool,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            self.shared
                .change(infrastructure, |cluster| {
                    cluster.configured = true;
                    installs_daskhub(cluster);
                    if let (Some(host), true) = (host, points_here) {
                        cluster.certified.insert(host.to_owned());
                    }
                })
                .with_context(|| format!("no front end of {infrastructure}"))
        }
        .boxed()
    }

    fn stop<'a>(&'a self, infrastructure: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        async move {
            let _one_at_a_time = self.starting.lock().await;
            let machine = self.lock().remove(infrastructure);
            if let Some(machine) = machine {
                machine.stop().await?;
            }
            self.shared.history(infrastructure).end_watches();
            let cluster = self.shared.saved.change().clusters.remove(infrastructure);
            if let Some(cluster) = cluster {
                let folder = self.folder(&cluster.folder);
                std::fs::remove_dir_all(&folder)
                    .with_context(|| format!("remove {}", folder.display()))?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl FrontEnds {
    fn folder(&self, name: &str) -> PathBuf {
        self.shared.options.state_dir.join(name)
    }

    async fn make_cluster(
        &self,
        infrastructure: &str,
        inputs: serde_json::Map<String, serde_json::Value>,
    ) -> anyhow::Result<()> {
        let number = {
            let mut saved = self.shared.saved.change();
            saved.made += 1;
            saved.made
        };
        let name = format!("fe{number}");
        let folder = self.folder(&name);
        std::fs::create_dir_all(&folder)?;
        let (private_key, public_key) = files::make_user_key(&folder)?;
        let cluster = Cluster {
            folder: name,
            address: self.free_address(infrastructure).await?,
            private_key,
            inputs,
            configured: false,
            certified: BTreeSet::new(),
            crds: None,
            releases: Vec::new(),
            workload: Workload::Absent,
            helm_runs: 0,
            clues: Clues::default(),
            servers: Vec::new(),
            load: None,
            crashing: BTreeMap::new(),
            hub_tokens: BTreeMap::new(),
        };
        let token = match &self.shared.options.ec3 {
            Some(ec3) => ec3.checkin.mint_token(&ec3.user, TOKEN_LIFETIME)?,
            None => "sandbox-token".to_owned(),
        };
        let reconsider = self.shared.options.reconsider;
        files::make(
            &folder.join("data"),
            &cluster,
            &public_key,
            &token,
            reconsider,
        )?;
        let mut saved = self.shared.saved.change();
        saved.clusters.insert(infrastructure.to_owned(), cluster);
        drop(saved);
        self.shared.saved.save()
    }

    /// An address whose ports nobody uses. It depends on the folder of this sandbox, so that two
    /// sandboxes on one machine seldom meet; if they do, the next one is tried.
    async fn free_address(&self, infrastructure: &str) -> anyhow::Result<Ipv4Addr> {
        let options = &self.shared.options;
        for attempt in 0..ADDRESS_TRIES {
            let mut hasher = DefaultHasher::new();
            (
                &options.state_dir,
                std::process::id(),
                infrastructure,
                attempt,
            )
                .hash(&mut hasher);
            let [a, b, c, ..] = hasher.finish().to_be_bytes();
            let address = Ipv4Addr::new(127, 64 + a % 128, b, 1 + c % 254);
            let taken_by_us = self
                .shared
                .saved
                .read()
                .clusters
                .values()
                .any(|c| c.address == address);
            let mut free = !taken_by_us;
            for port in [
                options.ssh_port,
                INNER_SSH_PORT,
                options.hub_port,
                options.kubernetes_port,
            ] {
                free &= TcpListener::bind((address, port)).await.is_ok();
            }
            if free {
                return Ok(address);
            }
        }
        anyhow::bail!("no free loopback address for a front end")
    }

    /// Starts CLUES. Without IM the nodes of the template are there at once.
    fn first_nodes(&self, infrastructure: &str) {
        let shared = &self.shared;
        let is_new = shared.look(infrastructure, |cluster| cluster.clues.nodes.is_empty());
        if is_new != Some(true) {
            return;
        }
        clues::start(shared, infrastructure);
        if shared.workers().is_some() {
            return;
        }
        shared.change(infrastructure, |cluster| {
            let number = cluster.input("wn_num").and_then(|text| text.parse().ok());
            for number in 1..=number.unwrap_or(1_u32) {
                let mut node = WorkerNode::new();
                node.join();
                let name = format!("wn{number}");
                cluster.clues.nodes.insert(name, node);
            }
        });
    }

    /// Starts the servers and the `sshd` of a cluster that is known.
    pub(super) async fn start_machine(&self, infrastructure: &str) -> anyhow::Result<()> {
        let (name, address) = self
            .shared
            .look(infrastructure, |cluster| {
                (cluster.folder.clone(), cluster.address)
            })
            .context("no such cluster")?;
        let options = &self.shared.options;
        let at = |port: u16| SocketAddr::from((address, port));
        let (sshd, api) = (at(INNER_SSH_PORT), at(options.kubernetes_port));
        let folder = self.folder(&name);
        let data = folder.join("data");
        files::make_settings(&data, sshd, api, &self.shared.authority)?;
        let socket = data.join("run/sandbox.sock");
        if socket.exists() {
            std::fs::remove_file(&socket)?;
        }
        let programs = UnixListener::bind(&socket)
            .with_context(|| format!("make the socket {}", socket.display()))?;
        let ssh_listener = free(at(options.ssh_port)).await?;
        let hub_listener = free(at(options.hub_port)).await?;
        let api_listener = free(api).await?;
        let machine = Machine::start(&folder, &self.programs, ssh_listener).await?;
        let shared = &self.shared;
        machine.servers.run(serve_programs(
            Arc::clone(shared),
            infrastructure.to_owned(),
            programs,
        ));
        let certificates = Certificates {
            shared: Arc::clone(shared),
            infrastructure: infrastructure.to_owned(),
            placeholder: Authority::placeholder()?,
        };
        let hub = hub::router(Arc::clone(shared), infrastructure);
        serve_tls(
            &machine.servers,
            hub_listener,
            shared.hub_faults.wrap(hub),
            tls::config(Arc::new(certificates))?,
        );
        self.first_nodes(infrastructure);
        machine
            .servers
            .run(elastic::run(Arc::clone(shared), infrastructure.to_owned()));
        let own = shared
            .authority
            .issue(&[&machine.address().to_string()], 365)?;
        let api = kubernetes::router(Arc::clone(shared), infrastructure);
        serve_tls(
            &machine.servers,
            api_listener,
            shared.kubernetes_faults.wrap(api),
            shared.authority.config_for_clients(&own)?,
        );
        self.lock().insert(infrastructure.to_owned(), machine);
        Ok(())
    }
}

/// What the addition `daskhub.yaml` does when the front end is configured: it installs the newest
/// chart, with an ingress that has no host.
fn installs_daskhub(cluster: &mut Cluster) {
    let (Some(token), true) = (
        cluster.input("jupyterhub_token"),
        cluster.releases.is_empty(),
    ) else {
        return;
    };
    let image = |part: &str| cluster.input(part).unwrap_or_default();
    let values = format!(
        "jupyterhub:\n  hub:\n    services:\n      dask-gateway:\n        apiToken: \"{token}\"\n  singleuser:\n    image:\n      name: {}\n      tag: \"{}\"\n    startTimeout: 600\n  ingress:\n    enabled: true\ndask-gateway:\n  gateway:\n    auth:\n      type: jupyterhub\n      jupyterhub:\n        apiToken: \"{token}\"\n",
        image("jupyterhub_image_name"),
        image("jupyterhub_image_tag"),
    );
    let newest = super::chart::VERSIONS.first().copied().unwrap_or_default();
    if let Err(error) = super::helm::install_by_hand(cluster, newest, &values) {
        tracing::warn!(error = format!("{error:#}"), "DaskHub is not installed");
    }
}
