//! The Kubernetes API of a cluster, through an SSH port forward.
//!
//! The credentials are the front end's own `/etc/kubernetes/admin.conf`, read by `sudo` over the
//! same connection and kept in memory only. TLS is end to end: the certificate is checked against
//! the cluster's authority and for the name in `admin.conf`, though the bytes go through SSH.
//!
//! **Invariant:** reads only, but for what takes pods off a node (`drain`).

mod drain;
mod pods;
mod sample;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::frontend::{Frontend, FrontendError};
use crate::domain::metrics::Calls;

pub use pods::{Container, LogAsk, PodState};
pub use sample::{Counted, counted, sample};
pub use watch::{Change, Observed, PodWarning};

/// Where kubeadm leaves the administrator's credentials.
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

/// `admin.conf` has about 6 kB.
const ADMIN_CONF_LIMIT: usize = 64 * 1024;

/// How long one question to the API may take.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// How much of an answer a connection holds; some hundred connections stay open for watches.
const BUFFER: usize = 32 * 1024;

/// How many objects of a kind are read at most.
const LIST_LIMIT: u32 = 500;

/// Why the Kubernetes API could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The front end could not be used.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// `admin.conf` is not what it should be.
    #[error("the front end's {ADMIN_CONF} can't be used: {why}")]
    BadConfig {
        /// What is wrong with it; never its content.
        why: &'static str,
    },
    /// The API refused.
    #[error("the Kubernetes API did not {doing}: {message} ({code})")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// What it said.
        message: String,
        /// The HTTP status.
        code: u16,
    },
    /// The API did not answer as one.
    #[error("the Kubernetes API could not {doing}")]
    Api {
        /// What was asked.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API ended a watch, or does not let it begin.
    #[error("the Kubernetes API could not be watched")]
    Watch(#[source] Box<kube::runtime::watcher::Error>),
    /// The API did not answer in time.
    #[error("the Kubernetes API took longer than {} s to {doing}", CALL_LIMIT.as_secs())]
    TimedOut {
        /// What was asked.
        doing: &'static str,
    },
}

impl KubernetesError {
    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Frontend(error) => error.is_transient(),
            Self::BadConfig { .. } => false,
            Self::TimedOut { .. } | Self::Watch(_) => true,
            // Only a clear "no" of the API is final.
            Self::Refused { code, .. } => !(400..500).contains(code) || *code == 429,
            Self::Api { .. } => true,
        }
    }

    /// The HTTP status with which the API refused, if it did.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Frontend(_)
            | Self::BadConfig { .. }
            | Self::Api { .. }
            | Self::TimedOut { .. }
            | Self::Watch(_) => None,
        }
    }

    /// What a person can do about it, one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Frontend(error) => error.hint(),
            Self::BadConfig { .. } => {
                "reconfigure the infrastructure in IM's dashboard, then retry"
            }
            Self::Refused { .. } | Self::Api { .. } | Self::TimedOut { .. } | Self::Watch(_) => {
                "check that the API server runs on the front end, then retry"
            }
        }
    }
}

/// A deployment and whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentState {
    /// Its name.
    pub name: String,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that are wanted.
    pub desired: i32,
    /// Why it is not ready, in Kubernetes' words; `None` when it is.
    pub reason: Option<String>,
}

impl DeploymentState {
    /// Whether all wanted pods are ready.
    pub fn is_ready(&self) -> bool {
        self.reason.is_none()
    }
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Whether it is the control plane.
    pub is_control_plane: bool,
    /// Condition `Ready`.
    pub ready: bool,
    /// Whether nothing new is put on it.
    pub cordoned: bool,
    /// Allocatable CPU as Kubernetes writes it, such as `8` or `7910m`.
    pub allocatable_cpu: String,
    /// Allocatable memory as Kubernetes writes it, such as `32780552Ki`.
    pub allocatable_memory: String,
    /// Version of its kubelet, such as `v1.28.15`.
    pub kubelet_version: String,
}

/// A volume that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeClaim {
    /// Its name; `claim-<user>` is a user's home folder.
    pub name: String,
    /// The size asked for, such as `2Gi`.
    pub size: String,
}

/// The Kubernetes API of one cluster.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    calls: Calls,
    // The forward lives as long as the connection.
    _frontend: Arc<Frontend>,
}

impl std::fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// Opens the way to the API. Nothing is asked yet.
    ///
    /// # Errors
    /// When `admin.conf` can't be read or the forward can't be made.
    pub async fn connect(frontend: Arc<Frontend>) -> Result<Self, KubernetesError> {
        let text = frontend.read_from(ADMIN_CONF, 0, ADMIN_CONF_LIMIT).await?;
        let bad = |why| KubernetesError::BadConfig { why };
        let text = String::from_utf8(text).map_err(|_content| bad("it is not text"))?;
        // The causes would quote the file, which holds the key.
        let kubeconfig =
            Kubeconfig::from_yaml(&text).map_err(|_content| bad("it is not a kubeconfig"))?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|_content| bad("it names no usable cluster and user"))?;
        // The bytes go through the forward whatever the environment says.
        config.proxy_url = None;
        config.connect_timeout = Some(CALL_LIMIT);
        config.read_timeout = Some(CALL_LIMIT);
        let host = config.cluster_url.host().unwrap_or_default().to_owned();
        if host.is_empty() {
            return Err(bad("it names no server"));
        }
        let port = config.cluster_url.port_u16().unwrap_or(443);
        let socket = frontend.forward(&host, port).await?;
        let client = client_through(socket, &config).map_err(|source| KubernetesError::Api {
            doing: "be set up",
            source: Box::new(source),
        })?;
        Ok(Self {
            client,
            calls: frontend.calls_to("kubernetes"),
            _frontend: frontend,
        })
    }

    /// The version of the API server, such as `v1.28.15`.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn version(&self) -> Result<String, KubernetesError> {
        let version = self
            .call("tell its version", self.client.apiserver_version())
            .await?;
        Ok(version.git_version)
    }

    /// The deployments of a namespace, by name.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn deployments(
        &self,
        namespace: &str,
    ) -> Result<Vec<DeploymentState>, KubernetesError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let list = self.call("list deployments", api.list(&params())).await?;
        let mut states: Vec<DeploymentState> = list.items.iter().map(deployment_state).collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(states)
    }

    /// The nodes, by name.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeState>, KubernetesError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let list = self.call("list nodes", api.list(&params())).await?;
        let mut states: Vec<NodeState> = list.items.iter().map(node_state).collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(states)
    }

    /// The volumes that a namespace holds, by name, up to 500.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn volume_claims(
        &self,
        namespace: &str,
    ) -> Result<Vec<VolumeClaim>, KubernetesError> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let list = self.call("list volumes", api.list(&params())).await?;
        let mut claims: Vec<VolumeClaim> = list.items.iter().map(volume_claim).collect();
        claims.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(claims)
    }

    /// What Kubernetes says about pods in trouble, up to 500 warnings of the last hour.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn pod_warnings(&self) -> Result<Vec<PodWarning>, KubernetesError> {
        let api: Api<Event> = Api::all(self.client.clone());
        let warnings = params().fields(watch::POD_WARNINGS);
        let list = self.call("list events", api.list(&warnings)).await?;
        Ok(list.items.iter().map(watch::pod_warning).collect())
    }

    /// How many pods a namespace has, up to 500.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn pod_count(&self, namespace: &str) -> Result<usize, KubernetesError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let list = self.call("list pods", api.list_metadata(&params())).await?;
        Ok(list.items.len())
    }

    async fn call<T>(
        &self,
        doing: &'static str,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, KubernetesError> {
        let call = async {
            timeout(CALL_LIMIT, answer)
                .await
                .map_err(|_elapsed| KubernetesError::TimedOut { doing })?
                .map_err(|error| answered(doing, error))
        };
        self.calls.count(call).await
    }
}

/// What an answer means that is none: kube's own words of a refusal hold the whole object.
fn answered(doing: &'static str, error: kube::Error) -> KubernetesError {
    if let kube::Error::Api(status) = &error {
        return KubernetesError::Refused {
            doing,
            message: status.message.chars().take(300).collect(),
            code: status.code,
        };
    }
    KubernetesError::Api {
        doing,
        source: Box::new(error),
    }
}

fn volume_claim(claim: &PersistentVolumeClaim) -> VolumeClaim {
    let spec = claim.spec.as_ref();
    let asked = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
    VolumeClaim {
        name: claim.metadata.name.clone().unwrap_or_default(),
        size: asked.map_or_else(|| "unknown size".to_owned(), |size| size.0.clone()),
    }
}

fn params() -> ListParams {
    ListParams::default().limit(LIST_LIMIT)
}

fn deployment_state(deployment: &Deployment) -> DeploymentState {
    let desired = deployment.spec.replicas.unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let current = status.observed_generation >= deployment.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0) >= desired;
    let reason = if ready >= desired && current && updated {
        None
    } else {
        let broken = status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .find(|condition| {
                let bad = if condition.type_.as_deref() == Some("ReplicaFailure") {
                    "True"
                } else {
                    "False"
                };
                condition.status.as_deref() == Some(bad)
            });
        Some(
            match broken.map(|condition| (condition.reason, condition.message)) {
                Some((_, Some(message))) => message,
                Some((Some(reason), None)) => reason,
                Some((None, None)) | None => "its pods are starting".to_owned(),
            },
        )
    };
    DeploymentState {
        name: deployment.metadata.name.clone().unwrap_or_default(),
        ready,
        desired,
        reason,
    }
}

fn node_state(node: &Node) -> NodeState {
    let status = node.status.clone().unwrap_or_default();
    let allocatable = status.allocatable.unwrap_or_default();
    let quantity = |name: &str| {
        allocatable
            .get(name)
            .map(|quantity| quantity.0.clone())
            .unwrap_or_default()
    };
    let labels = node.metadata.labels.clone().unwrap_or_default();
    NodeState {
        name: node.metadata.name.clone().unwrap_or_default(),
        is_control_plane: labels.contains_key("node-role.kubernetes.io/control-plane")
            || labels.contains_key("node-role.kubernetes.io/master"),
        ready: status
            .conditions
            .unwrap_or_default()
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        cordoned: node
            .spec
            .as_ref()
            .is_some_and(|spec| spec.unschedulable == Some(true)),
        allocatable_cpu: quantity("cpu"),
        allocatable_memory: quantity("memory"),
        kubelet_version: status
            .node_info
            .map(|info| info.kubelet_version)
            .unwrap_or_default(),
    }
}

/// A client whose connections go to a socket file, whatever host the address names.
fn client_through(socket: PathBuf, config: &Config) -> Result<Client, kube::Error> {
    let connector = config.rustls_https_connector_with_connector(SocketFile(socket))?;
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http1_max_buf_size(BUFFER)
        .build::<_, Body>(connector);
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// Opens connections to one socket file.
#[derive(Clone)]
struct SocketFile(PathBuf);

impl tower::Service<http::Uri> for SocketFile {
    type Response = TokioIo<UnixStream>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}
