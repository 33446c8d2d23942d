//! The objects of a cluster as its Kubernetes API shows them: nodes, deployments, pods, events. They
//! follow from the cluster's state.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::elastic;
use super::state::{Cluster, Server, Trouble, WorkerNode, Workload};

/// The image of users' servers.
const IMAGE: &str = "pangeo/pangeo-notebook:2022.09.21";

/// Deployments of DaskHub and how many pods each wants.
const DEPLOYMENTS: [(&str, u32); 6] = [
    ("hub", 1),
    ("proxy", 1),
    ("user-scheduler", 2),
    ("api-daskhub-dask-gateway", 1),
    ("controller-daskhub-dask-gateway", 1),
    ("traefik-daskhub-dask-gateway", 1),
];

pub(super) fn node_items(cluster: &Cluster) -> Vec<Value> {
    let number = |name: &str, default: u64| {
        let text = cluster.input(name);
        let number = text.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(default)
    };
    let front_end = (
        number("fe_cpus", 2) * 1000,
        number("fe_mem", 4) * 1_000_000_000,
    );
    let labels = json!({ "node-role.kubernetes.io/control-plane": "" });
    let mut items = vec![node_item(
        cluster,
        "kubeserver.localdomain",
        labels,
        front_end,
        None,
    )];
    let size = elastic::worker_size(cluster);
    for (name, worker) in cluster.clues.nodes.iter().filter(|(_, node)| node.joined) {
        items.push(node_item(cluster, name, json!({}), size, Some(worker)));
    }
    items
}

fn node_item(
    cluster: &Cluster,
    name: &str,
    labels: Value,
    (cpu_milli, memory): (u64, u64),
    worker: Option<&WorkerNode>,
) -> Value {
    let version = cluster.kubernetes_version();
    let allocatable = json!({
        "cpu": (cpu_milli / 1000).to_string(), "memory": format!("{}Ki", memory / 1024), "pods": "110"
    });
    let (condition, taint) = readiness_of_node(worker);
    let mut taints: Vec<Value> = Vec::new();
    let mut spec = json!({});
    if worker.is_some_and(|worker| worker.cordoned) {
        spec = json!({ "unschedulable": true });
        taints.push(json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }));
    }
    taints.extend(taint.map(|key| json!({ "key": key, "effect": "NoSchedule" })));
    if let (Some(spec), false) = (spec.as_object_mut(), taints.is_empty()) {
        spec.insert("taints".to_owned(), Value::Array(taints));
    }
    json!({
        "metadata": { "name": name, "labels": labels },
        "spec": spec,
        "status": {
            "allocatable": allocatable, "capacity": allocatable, "conditions": [condition],
            "nodeInfo": {
                "kubeletVersion": version, "kubeProxyVersion": version, "architecture": "amd64",
                "bootID": "", "containerRuntimeVersion": "containerd://1.7.24",
                "kernelVersion": "5.15.0", "machineID": "", "operatingSystem": "linux",
                "osImage": "Ubuntu 22.04", "systemUUID": ""
            }
        }
    })
}

/// The condition `Ready` of a node, and the taint that Kubernetes gives it if it is not.
fn readiness_of_node(worker: Option<&WorkerNode>) -> (Value, Option<&'static str>) {
    if worker.is_some_and(|worker| worker.not_ready) {
        let condition = json!({
            "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status."
        });
        return (condition, Some("node.kubernetes.io/unreachable"));
    }
    if worker.is_some_and(|worker| worker.unconfigured) {
        let condition = json!({
            "type": "Ready", "status": "False", "reason": "KubeletNotReady",
            "message": "container runtime network not ready: NetworkReady=false \
                        reason:NetworkPluginNotReady message:Network plugin returns error: cni \
                        plugin not initialized"
        });
        return (condition, Some("node.kubernetes.io/not-ready"));
    }
    let condition = json!({ "type": "Ready", "status": "True", "reason": "KubeletReady" });
    (condition, None)
}

/// How many pods of a deployment are ready, and what Kubernetes says if not all are.
fn readiness(cluster: &Cluster, name: &str, wanted: u32) -> (u32, Option<String>) {
    if cluster.crashing.contains_key(name) {
        let message = "Deployment does not have minimum availability.";
        return (0, Some(message.to_owned()));
    }
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

pub(super) fn deployment_items(cluster: &Cluster) -> Vec<Value> {
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
    let servers = cluster.servers.iter();
    let mut items: Vec<Value> = servers.map(|one| server_item(cluster, one)).collect();
    if cluster.workload == Workload::Absent {
        return items;
    }
    let home = elastic::home(cluster);
    for (name, wanted) in DEPLOYMENTS {
        let (ready, _) = readiness(cluster, name, wanted);
        for number in 0..wanted {
            let is_ready = number < ready;
            let crashes = cluster.crashing.get(name);
            items.push(json!({
                "metadata": {
                    "name": format!("{name}-6d988656cf-{number}"), "namespace": "daskhub",
                    "labels": { "app": "jupyterhub", "component": name },
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "1",
                        "controller": true,
                        "name": format!("{name}-6d988656cf")
                    }]
                },
                "spec": { "containers": [{ "name": name }], "nodeName": home },
                "status": {
                    "phase": if is_ready || crashes.is_some() { "Running" } else { "Pending" },
                    "containerStatuses": crashes.map(|times| [crashing_status(name, *times)]),
                    "conditions": [{
                        "type": "Ready", "status": if is_ready { "True" } else { "False" }
                    }]
                }
            }));
        }
    }
    items
}

/// How the kubelet tells of a container that ends by itself again and again.
fn crashing_status(name: &str, times: u32) -> Value {
    json!({
        "name": name, "image": "", "imageID": "", "ready": false, "restartCount": times,
        "state": { "waiting": {
            "reason": "CrashLoopBackOff",
            "message": format!("back-off 5m0s restarting failed container={name}")
        } },
        "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } }
    })
}

/// A server of a user, with the labels that `KubeSpawner` gives it.
fn server_item(cluster: &Cluster, server: &Server) -> Value {
    let image = IMAGE;
    let status = match (&server.node, server.trouble) {
        (Some(_), Some(Trouble::Image)) => json!({
            "phase": "Pending", "hostIP": "10.0.0.11",
            "conditions": [
                { "type": "PodScheduled", "status": "True" },
                { "type": "Ready", "status": "False", "reason": "ContainersNotReady" }
            ],
            "containerStatuses": [{
                "name": "notebook", "image": image, "imageID": "", "ready": false,
                "restartCount": 0,
                "state": { "waiting": {
                    "reason": "ImagePullBackOff",
                    "message": format!("Back-off pulling image \"{image}\"")
                } }
            }]
        }),
        (Some(_), _) => json!({
            "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }]
        }),
        (None, trouble) => json!({
            "phase": "Pending",
            "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": why_unschedulable(cluster, server, trouble),
                "lastTransitionTime": server.since
            }]
        }),
    };
    json!({
        "metadata": {
            "name": server.pod, "namespace": "daskhub", "creationTimestamp": server.since,
            "uid": server.uid(),
            "labels": {
                "app": "jupyterhub", "component": "singleuser-server",
                "hub.jupyter.org/username": server.user
            }
        },
        "spec": {
            "nodeName": server.node,
            "containers": [{
                "name": "notebook", "image": image,
                "resources": { "requests": {
                    "cpu": format!("{}m", server.cpu_milli), "memory": server.memory.to_string()
                } }
            }]
        },
        "status": status
    })
}

/// The scheduler's message, as `kube-scheduler` counts its reasons.
pub(super) fn why_unschedulable(
    cluster: &Cluster,
    server: &Server,
    trouble: Option<Trouble>,
) -> String {
    let nodes = cluster.clues.nodes.iter().filter(|(_, node)| node.joined);
    let all = nodes.clone().count() + 1;
    if trouble == Some(Trouble::Volume) {
        return format!(
            "0/{all} nodes are available: pod has unbound immediate PersistentVolumeClaims."
        );
    }
    let (cpus, memory) = elastic::worker_size(cluster);
    let (mut unready, mut cordoned, mut cpu_short, mut memory_short) = (0, 0, 0, 0);
    for (name, node) in nodes {
        let (used_cpus, used_memory) = elastic::used_on(cluster, name);
        if node.cordoned {
            cordoned += 1;
        } else if node.not_ready || node.unconfigured {
            unready += 1;
        } else {
            cpu_short += u32::from(used_cpus + server.cpu_milli > cpus);
            memory_short += u32::from(used_memory + server.memory > memory);
        }
    }
    let reasons = [
        (
            1,
            "node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }",
        ),
        (
            unready,
            "node(s) had untolerated taint {node.kubernetes.io/not-ready: }",
        ),
        (cordoned, "node(s) were unschedulable"),
        (cpu_short, "Insufficient cpu"),
        (memory_short, "Insufficient memory"),
    ];
    let reasons: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    format!("0/{all} nodes are available: {}.", reasons.join(", "))
}

/// What the scheduler, the kubelets and the controllers tell of pods and nodes in trouble.
pub(super) fn event_items(cluster: &Cluster) -> Vec<Value> {
    let mut events = Vec::new();
    for server in &cluster.servers {
        let pod = json!({
            "kind": "Pod", "apiVersion": "v1", "namespace": "daskhub", "name": server.pod,
            "uid": server.uid()
        });
        if server.node.is_none() {
            let why = why_unschedulable(cluster, server, server.trouble);
            events.push(event(&pod, "FailedScheduling", &why, "default-scheduler"));
        } else if server.trouble == Some(Trouble::Image) {
            let failed = format!(
                "Failed to pull image \"{IMAGE}\": rpc error: code = NotFound desc = failed to \
                 pull and unpack image: not found"
            );
            events.push(event(&pod, "Failed", &failed, "kubelet"));
            let back_off = format!("Back-off pulling image \"{IMAGE}\"");
            events.push(event(&pod, "BackOff", &back_off, "kubelet"));
        }
    }
    for (name, node) in cluster.clues.nodes.iter().filter(|(_, node)| node.joined) {
        if node.not_ready || node.unconfigured {
            let object = json!({ "kind": "Node", "apiVersion": "v1", "name": name, "uid": name });
            let text = format!("Node {name} status is now: NodeNotReady");
            events.push(event(&object, "NodeNotReady", &text, "node-controller"));
        }
    }
    events
}

/// An event about an object; when and how often is for the history to say.
fn event(about: &Value, reason: &str, message: &str, source: &str) -> Value {
    let text = |name: &str| about.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (text("uid"), reason).hash(&mut hasher);
    let name = format!("{}.{:016x}", text("name"), hasher.finish());
    let now = chrono::Utc::now();
    let namespace = match text("namespace") {
        "" => "default",
        namespace => namespace,
    };
    json!({
        "metadata": { "name": name, "namespace": namespace, "creationTimestamp": now },
        "involvedObject": about, "reason": reason, "message": message, "type": "Warning",
        "source": { "component": source }, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "reportingComponent": source, "reportingInstance": ""
    })
}
