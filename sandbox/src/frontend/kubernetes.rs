//! The pretend Kubernetes API of a cluster, and the pretend `kubectl` and `clues`.
//!
//! Served over TLS with client certificates, as kubeadm sets it up. What it shows follows from the
//! state of the cluster; nothing can be written through it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Shared;
use super::arguments::Arguments;
use super::chart;
use super::logs;
use super::protocol::{Call, Caller};
use super::state::{Cluster, Workload};

/// Deployments of DaskHub and how many pods each wants.
const DEPLOYMENTS: [(&str, u32); 6] = [
    ("hub", 1),
    ("proxy", 1),
    ("user-scheduler", 2),
    ("api-daskhub-dask-gateway", 1),
    ("controller-daskhub-dask-gateway", 1),
    ("traefik-daskhub-dask-gateway", 1),
];

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
        .route("/api/v1/namespaces", get(namespaces))
        .route("/api/v1/pods", get(all_pods))
        .route("/api/v1/namespaces/{namespace}/pods", get(pods))
        .route(
            "/api/v1/namespaces/{namespace}/pods/{pod}/log",
            get(logs::pod_log),
        )
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
    fn answer(&self, make: impl FnOnce(&Cluster) -> Value) -> Response {
        let made = self.shared.look(&self.infrastructure, |cluster| {
            cluster.configured.then(|| make(cluster))
        });
        match made.flatten() {
            Some(value) => Json(value).into_response(),
            None => status(
                StatusCode::SERVICE_UNAVAILABLE,
                "the cluster is not configured",
            ),
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

async fn nodes(State(api): State<Api>) -> Response {
    api.answer(|cluster| list("NodeList", "v1", &node_items(cluster)))
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

async fn all_pods(State(api): State<Api>) -> Response {
    api.answer(|cluster| list("PodList", "v1", &pod_items(cluster)))
}

async fn pods(State(api): State<Api>, Path(namespace): Path<String>) -> Response {
    api.answer(|cluster| {
        let items = if namespace == "daskhub" {
            pod_items(cluster)
        } else {
            Vec::new()
        };
        list("PodList", "v1", &items)
    })
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

fn node_items(cluster: &Cluster) -> Vec<Value> {
    let version = cluster.kubernetes_version();
    let size = |cpus: &str, memory: &str| {
        let gigabytes = cluster
            .input(memory)
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(4);
        let cpus = cluster.input(cpus).unwrap_or_else(|| "2".to_owned());
        json!({ "cpu": cpus, "memory": format!("{}Ki", gigabytes * 1_000_000_000 / 1024), "pods": "110" })
    };
    let node = |name: &str, labels: Value, allocatable: Value| {
        json!({
            "metadata": { "name": name, "labels": labels },
            "status": {
                "allocatable": allocatable, "capacity": allocatable,
                "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
                "nodeInfo": {
                    "kubeletVersion": version, "kubeProxyVersion": version, "architecture": "amd64",
                    "bootID": "", "containerRuntimeVersion": "containerd://1.7.24",
                    "kernelVersion": "5.15.0", "machineID": "", "operatingSystem": "linux",
                    "osImage": "Ubuntu 22.04", "systemUUID": ""
                }
            }
        })
    };
    let mut items = vec![node(
        "kubeserver.localdomain",
        json!({ "node-role.kubernetes.io/control-plane": "" }),
        size("fe_cpus", "fe_mem"),
    )];
    let workers: u32 = cluster
        .input("wn_num")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    for number in 1..=workers {
        items.push(node(
            &format!("wn{number}.localdomain"),
            json!({}),
            size("wn_cpus", "wn_mem"),
        ));
    }
    items
}

/// How many pods of a deployment are ready, and what Kubernetes says if not all are.
fn readiness(cluster: &Cluster, name: &str, wanted: u32) -> (u32, Option<String>) {
    match &cluster.workload {
        Workload::Ready | Workload::Absent => (wanted, None),
        Workload::Starting => (
            0,
            Some("Deployment does not have minimum availability.".to_owned()),
        ),
        Workload::Broken {
            deployment,
            message,
        } if deployment == name => (0, Some(message.clone())),
        Workload::Broken { .. } => (wanted, None),
    }
}

fn deployment_items(cluster: &Cluster) -> Vec<Value> {
    if cluster.workload == Workload::Absent {
        return Vec::new();
    }
    DEPLOYMENTS
        .iter()
        .map(|(name, wanted)| {
            let (ready, message) = readiness(cluster, name, *wanted);
            let available = if message.is_none() { "True" } else { "False" };
            json!({
                "metadata": { "name": name, "namespace": "daskhub", "generation": 1 },
                "spec": {
                    "replicas": wanted, "selector": {},
                    "template": { "metadata": {}, "spec": { "containers": [] } }
                },
                "status": {
                    "observedGeneration": 1, "replicas": wanted, "updatedReplicas": wanted,
                    "readyReplicas": ready, "availableReplicas": ready,
                    "unavailableReplicas": wanted - ready,
                    "conditions": [{
                        "type": "Available", "status": available,
                        "reason": "MinimumReplicasAvailable", "message": message
                    }]
                }
            })
        })
        .collect()
}

pub(super) fn pod_items(cluster: &Cluster) -> Vec<Value> {
    if cluster.workload == Workload::Absent {
        return Vec::new();
    }
    let mut items = Vec::new();
    for (name, wanted) in DEPLOYMENTS {
        let (ready, _) = readiness(cluster, name, wanted);
        for number in 0..wanted {
            let is_ready = number < ready;
            items.push(json!({
                "metadata": { "name": format!("{name}-6d988656cf-{number}"), "namespace": "daskhub" },
                "spec": { "containers": [] },
                "status": {
                    "phase": if is_ready { "Running" } else { "Pending" },
                    "conditions": [{
                        "type": "Ready", "status": if is_ready { "True" } else { "False" }
                    }]
                }
            }));
        }
    }
    items
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

/// The pretend `clues`: its table of nodes.
pub(super) async fn clues(
    shared: &Shared,
    infrastructure: &str,
    call: &Call,
    caller: &mut Caller,
) -> u8 {
    if call.args.first().map(String::as_str) != Some("status") {
        caller
            .err("error: this simulation of clues knows status\n")
            .await;
        return 1;
    }
    let (on, all) = shared
        .look(infrastructure, |cluster| {
            let number = |name: &str| {
                cluster
                    .input(name)
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(1_u32)
            };
            (number("wn_num"), number("max_wn_num").max(number("wn_num")))
        })
        .unwrap_or_default();
    let head = "node                        state    enabled   time stable   (cpu,mem) used   (cpu,mem) total\n";
    caller
        .out(format!("{head}{}\n", "-".repeat(head.len() - 1)))
        .await;
    for number in 1..=all {
        let (name, state) = (
            format!("wn{number}"),
            if number <= on { "idle" } else { "off" },
        );
        let line = format!(
            "{name:<24}   {state:>8}   {:>8}   {:>11}   {:>4},{:<9}    {:>3},{:<9}\n",
            "enabled", "00h10'00\"", 0, 0, 1, 1_073_741_824
        );
        caller.out(line).await;
    }
    0
}
