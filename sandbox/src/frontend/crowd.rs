//! A crowd: nodes and pods beside those of a cluster's state, to see what many of them cost.
//!
//! They are as large as those of a real hub, with environment, volumes and `managedFields`, and do
//! nothing by themselves.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::FrontEnds;
use super::history::Kind;

/// How many servers run on one node of a crowd.
const ON_A_NODE: usize = 10;

/// A crowd of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// How many nodes.
    pub nodes: usize,
    /// How many servers of users.
    pub pods: usize,
}

impl FrontEnds {
    /// Adds a crowd to what a cluster's Kubernetes shows.
    pub fn add_crowd(&self, infrastructure: &str, crowd: Crowd) {
        let history = self.shared.history(infrastructure);
        for number in 0..crowd.nodes {
            history.put(Kind::Node, node(number));
        }
        let now = Utc::now();
        for number in 0..crowd.pods {
            history.put(Kind::Pod, pod(number, now, &running()));
        }
    }

    /// Changes a pod of the crowd in a way that means nothing, as kubelets do all the time.
    pub fn stir_crowd(&self, infrastructure: &str, number: usize) {
        let history = self.shared.history(infrastructure);
        history.put(Kind::Pod, pod(number, Utc::now(), &running()));
    }

    /// Lets a pod of the crowd find no node, from now on; since when.
    pub fn crowd_waits(&self, infrastructure: &str, number: usize) -> DateTime<Utc> {
        let now = Utc::now();
        let message = "0/51 nodes are available: 51 Insufficient memory.";
        let status = json!({
            "phase": "Pending",
            "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": message, "lastTransitionTime": seconds(now)
            }]
        });
        let history = self.shared.history(infrastructure);
        history.put(Kind::Pod, pod(number, now, &status));
        now
    }
}

/// Kubernetes writes whole seconds.
fn seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn running() -> Value {
    json!({
        "phase": "Running", "hostIP": "10.0.0.11", "podIP": "10.244.1.7", "qosClass": "Burstable",
        "conditions": [
            { "type": "Initialized", "status": "True" }, { "type": "Ready", "status": "True" },
            { "type": "ContainersReady", "status": "True" },
            { "type": "PodScheduled", "status": "True" }
        ],
        "containerStatuses": [{
            "name": "notebook", "image": "pangeo/pangeo-notebook:2026.11.01", "ready": true,
            "imageID": format!("docker.io/pangeo/pangeo-notebook@sha256:{}", "5e".repeat(32)),
            "containerID": format!("containerd://{}", "c1".repeat(32)), "restartCount": 0,
            "started": true, "state": { "running": { "startedAt": "2026-11-28T08:00:00Z" } }
        }]
    })
}

fn pod(number: usize, changed: DateTime<Utc>, status: &Value) -> Value {
    let name = format!("jupyter-crowd-{number}");
    let environment: Vec<Value> = (0..30)
        .map(|n| json!({ "name": format!("JUPYTERHUB_VARIABLE_{n}"), "value": "https://hub:8081/hub/api" }))
        .collect();
    let fields: serde_json::Map<String, Value> = (0..40)
        .map(|n| {
            (
                format!("f:JUPYTERHUB_VARIABLE_{n}"),
                json!({ ".": {}, "f:name": {}, "f:value": {} }),
            )
        })
        .collect();
    json!({
        "metadata": {
            "name": name, "namespace": "daskhub", "uid": format!("00000000-0000-4000-8000-{number:012}"),
            "creationTimestamp": "2026-11-28T08:00:00Z",
            "annotations": { "hub.jupyter.org/username": name, "changed": seconds(changed) },
            "labels": { "app": "jupyterhub", "component": "singleuser-server", "hub.jupyter.org/username": name },
            "managedFields": [{
                "manager": "OpenAPI-Generator", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-28T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields
            }]
        },
        "spec": {
            "nodeName": format!("crowd-{}", number / ON_A_NODE), "schedulerName": "default-scheduler",
            "volumes": [
                { "name": "volume-home", "persistentVolumeClaim": { "claimName": format!("claim-{number}") } },
                { "name": "dask", "configMap": { "name": "dask-etc", "defaultMode": 420 } }
            ],
            "containers": [{
                "name": "notebook", "image": "pangeo/pangeo-notebook:2026.11.01", "env": environment,
                "ports": [{ "name": "notebook-port", "containerPort": 8888, "protocol": "TCP" }],
                "volumeMounts": [{ "name": "volume-home", "mountPath": "/home/jovyan" }],
                "resources": {
                    "requests": { "cpu": "500m", "memory": "2147483648" },
                    "limits": { "cpu": "2", "memory": "4294967296" }
                }
            }]
        },
        "status": status
    })
}

fn node(number: usize) -> Value {
    let images: Vec<Value> = (0..20)
        .map(|n| json!({ "names": [format!("quay.io/image-{n}@sha256:{}", "ab".repeat(32))], "sizeBytes": 1_000_000 }))
        .collect();
    json!({
        "metadata": { "name": format!("crowd-{number}"), "labels": { "kubernetes.io/os": "linux" } },
        "spec": { "podCIDR": "10.244.1.0/24" },
        "status": {
            "capacity": { "cpu": "8", "memory": "32780552Ki", "pods": "110" },
            "allocatable": { "cpu": "8", "memory": "32678152Ki", "pods": "110" },
            "conditions": [
                { "type": "MemoryPressure", "status": "False" }, { "type": "Ready", "status": "True" }
            ],
            "nodeInfo": { "kubeletVersion": "v1.28.15" },
            "images": images
        }
    })
}
