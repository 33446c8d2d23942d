//! The pretend Kubernetes API of a cluster, and the pretend `kubectl`.
//!
//! Served over TLS with client certificates, as kubeadm sets it up. What it shows follows from the
//! state of the cluster; what can be written are a node's `unschedulable` and evictions. Nodes, pods
//! and events can be watched ([`history`](super::history)).

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Shared;
use super::arguments::Arguments;
use super::chart;
use super::history::Kind;
use super::logs;
use super::objects::{deployment_items, node_items, pod_items};
use super::protocol::{Call, Caller};
use super::state::Cluster;
use super::watching::{self, Asked};

#[derive(Clone)]
pub(super) struct Api {
    pub(super) shared: Arc<Shared>,
    pub(super) infrastructure: String,
}

/// The API of one cluster.
pub(super) fn router(shared: Arc<Shared>, infrastructure: &str) -> Router {
    Router::new()
        .route("/version", get(version))
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/nodes/{node}", patch(change_node))
        .route("/api/v1/namespaces", get(namespaces))
        .route("/api/v1/pods", get(all_pods))
        .route("/api/v1/namespaces/{namespace}/pods", get(pods))
        .route(
            "/api/v1/namespaces/{namespace}/pods/{pod}/log",
            get(logs::pod_log),
        )
        .route(
            "/api/v1/namespaces/{namespace}/pods/{pod}/eviction",
            post(evict),
        )
        .route("/api/v1/events", get(all_events))
        .route("/api/v1/namespaces/{namespace}/events", get(events))
        .route("/api/v1/namespaces/{namespace}/secrets", get(secrets))
        .route(
            "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
            get(volume_claims),
        )
        .route(
            "/apis/apps/v1/namespaces/{namespace}/deployments",
            get(deployments),
        )
        .fallback(|| async { missing() })
        .with_state(Api {
            shared,
            infrastructure: infrastructure.to_owned(),
        })
}

impl Api {
    /// The answer about a kind that has a history.
    fn watched(&self, kind: Kind, namespace: Option<&str>, asked: Asked) -> Response {
        if !self.shared.observe(&self.infrastructure) {
            return unconfigured();
        }
        let history = self.shared.history(&self.infrastructure);
        watching::answer(history, kind, namespace, asked)
    }

    fn answer(&self, make: impl FnOnce(&Cluster) -> Value) -> Response {
        let made = self.shared.look(&self.infrastructure, |cluster| {
            cluster.configured.then(|| make(cluster))
        });
        match made.flatten() {
            Some(value) => Json(value).into_response(),
            None => unconfigured(),
        }
    }
}

pub(super) fn status(code: StatusCode, message: &str) -> Response {
    let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16()
    });
    (code, Json(body)).into_response()
}

fn unconfigured() -> Response {
    status(
        StatusCode::SERVICE_UNAVAILABLE,
        "the cluster is not configured",
    )
}

fn missing() -> Response {
    status(
        StatusCode::NOT_FOUND,
        "the server could not find the requested resource",
    )
}

fn list(kind: &str, api_version: &str, items: &[Value]) -> Value {
    json!({
        "kind": kind, "apiVersion": api_version,
        "metadata": { "resourceVersion": "1000" }, "items": items
    })
}

async fn version(State(api): State<Api>) -> Response {
    api.answer(|cluster| {
        json!({
            "major": "1", "minor": cluster.kubernetes_minor().to_string(),
            "gitVersion": cluster.kubernetes_version(), "gitCommit": "sandbox",
            "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.22",
            "compiler": "gc", "platform": "linux/amd64"
        })
    })
}

async fn nodes(State(api): State<Api>, Query(asked): Query<Asked>) -> Response {
    api.watched(Kind::Node, None, asked)
}

async fn namespaces(State(api): State<Api>) -> Response {
    api.answer(|cluster| {
        let mut names = vec!["default", "ingress-nginx", "kube-flannel", "kube-system"];
        if !cluster.releases.is_empty() {
            names.push("daskhub");
        }
        let items: Vec<_> = names
            .iter()
            .map(|name| json!({ "metadata": { "name": name }, "status": { "phase": "Active" } }))
            .collect();
        list("NamespaceList", "v1", &items)
    })
}

async fn all_pods(State(api): State<Api>, Query(asked): Query<Asked>) -> Response {
    api.watched(Kind::Pod, None, asked)
}

async fn pods(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    api.watched(Kind::Pod, Some(&namespace), asked)
}

async fn all_events(State(api): State<Api>, Query(asked): Query<Asked>) -> Response {
    api.watched(Kind::Event, None, asked)
}

async fn events(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    api.watched(Kind::Event, Some(&namespace), asked)
}

/// The hub's database; home folders come with users.
async fn volume_claims(State(api): State<Api>, Path(namespace): Path<String>) -> Response {
    api.answer(|cluster| {
        let claim = json!({
            "metadata": { "name": "hub-db-dir", "namespace": "daskhub" },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "1Gi" } }
            },
            "status": { "phase": "Bound" }
        });
        let has_hub = namespace == "daskhub" && !cluster.releases.is_empty();
        let items = if has_hub { vec![claim] } else { Vec::new() };
        list("PersistentVolumeClaimList", "v1", &items)
    })
}

/// `kubectl cordon` and `uncordon`: a merge patch of `spec.unschedulable`.
async fn change_node(
    State(api): State<Api>,
    Path(node): Path<String>,
    Json(change): Json<Value>,
) -> Response {
    let unschedulable = change
        .pointer("/spec/unschedulable")
        .map(|value| value.as_bool().unwrap_or(false));
    let changed = api.shared.change(&api.infrastructure, |cluster| {
        let worker = cluster.clues.nodes.get_mut(&node)?;
        if !worker.joined {
            return None;
        }
        worker.cordoned = unschedulable.unwrap_or(worker.cordoned);
        let mut items = node_items(cluster).into_iter();
        items.find(|item| item.pointer("/metadata/name").and_then(Value::as_str) == Some(&node))
    });
    match changed.flatten() {
        Some(item) => Json(item).into_response(),
        None => status(StatusCode::NOT_FOUND, &format!("nodes {node:?} not found")),
    }
}

/// An eviction: the server of a user ends, a pod of DaskHub is made again elsewhere.
async fn evict(State(api): State<Api>, Path((namespace, pod)): Path<(String, String)>) -> Response {
    let evicted = api.shared.change(&api.infrastructure, |cluster| {
        let names = pod_items(cluster);
        let is_there = namespace == "daskhub"
            && names
                .iter()
                .any(|item| item.pointer("/metadata/name").and_then(Value::as_str) == Some(&pod));
        cluster.servers.retain(|server| server.pod != pod);
        is_there
    });
    if evicted == Some(true) {
        let done = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201
        });
        return (StatusCode::CREATED, Json(done)).into_response();
    }
    status(StatusCode::NOT_FOUND, &format!("pods {pod:?} not found"))
}

async fn secrets(State(api): State<Api>, Path(namespace): Path<String>) -> Response {
    api.answer(|cluster| {
        let items: Vec<_> = cluster
            .releases
            .iter()
            .filter(|_| namespace == "daskhub")
            .map(|r| {
                json!({
                    "metadata": {
                        "name": format!("sh.helm.release.v1.daskhub.v{}", r.revision),
                        "namespace": "daskhub",
                        "labels": {
                            "owner": "helm", "name": "daskhub", "status": r.status,
                            "version": r.revision.to_string()
                        }
                    },
                    "type": "helm.sh/release.v1"
                })
            })
            .collect();
        list("SecretList", "v1", &items)
    })
}

async fn deployments(State(api): State<Api>, Path(namespace): Path<String>) -> Response {
    api.answer(|cluster| {
        let items = if namespace == "daskhub" {
            deployment_items(cluster)
        } else {
            Vec::new()
        };
        list("DeploymentList", "apps/v1", &items)
    })
}

/// The pretend `kubectl`: definitions and a few looks.
pub(super) async fn kubectl(
    shared: &Shared,
    infrastructure: &str,
    call: &Call,
    caller: &mut Caller,
) -> u8 {
    let args = match Arguments::parse(&call.args) {
        Ok(args) => args,
        Err(text) => {
            caller.err(text).await;
            return 1;
        }
    };
    let file = args
        .get("filename")
        .or(args.get("values"))
        .and_then(|path| call.files.get(path));
    let version = file.and_then(|text| chart::version_of_crds(text));
    match (args.word(0), version) {
        ("apply", Some(version)) => {
            shared.change(infrastructure, |cluster| {
                cluster.crds = Some(version.to_owned());
            });
            let names = file.map(String::as_str).unwrap_or_default();
            for name in names
                .lines()
                .filter_map(|line| line.strip_prefix("  name: "))
            {
                let line = format!(
                    "customresourcedefinition.apiextensions.k8s.io/{name} serverside-applied\n"
                );
                caller.out(line).await;
            }
            0
        }
        ("diff", Some(version)) => {
            let have = shared
                .look(infrastructure, |cluster| cluster.crds.clone())
                .flatten();
            let same = have.is_some_and(|have| chart::crds(&have) == chart::crds(version));
            if !same {
                caller
                    .out("diff -u -N /tmp/LIVE-1/crds /tmp/MERGED-1/crds\n")
                    .await;
            }
            u8::from(!same)
        }
        ("get", _) if args.word(1) == "nodes" => {
            caller
                .out("NAME                     STATUS   ROLES           AGE   VERSION\n")
                .await;
            let nodes = shared.look(infrastructure, node_items).unwrap_or_default();
            for node in nodes {
                let name = node.pointer("/metadata/name").and_then(Value::as_str);
                let line = format!("{}   Ready\n", name.unwrap_or_default());
                caller.out(line).await;
            }
            0
        }
        _ => {
            caller
                .err("error: this simulation of kubectl knows apply, diff and get nodes\n")
                .await;
            1
        }
    }
}
