//! What a pretend cluster is: kept over restarts of the sandbox.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// All clusters, by IM's id of the infrastructure.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Clusters {
    pub(super) clusters: BTreeMap<String, Cluster>,
    /// Counts the clusters ever made; names their folders.
    pub(super) made: u32,
}

/// One cluster with its front end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) folder: String,
    pub(super) address: Ipv4Addr,
    pub(super) private_key: String,
    pub(super) inputs: Map<String, Value>,
    /// Whether IM configured it: before, there is no Kubernetes.
    pub(super) configured: bool,
    /// The host name that has a valid certificate.
    pub(super) certificate_for: Option<String>,
    /// The chart version whose custom resource definitions are installed.
    pub(super) crds: Option<String>,
    pub(super) releases: Vec<Revision>,
    pub(super) workload: Workload,
    /// How often `helm upgrade` was run for real.
    pub(super) helm_runs: u32,
}

/// One revision of the release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revision {
    /// From 1.
    pub revision: u32,
    /// helm's word for its state.
    pub status: String,
    /// Version of the chart.
    pub chart_version: String,
    /// helm's description.
    pub description: String,
    /// When it last changed.
    pub updated: DateTime<Utc>,
    /// The values, as the text that was sent.
    pub values: String,
}

/// How the pods of DaskHub are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Workload {
    /// There are none.
    #[default]
    Absent,
    /// They start.
    Starting,
    /// They are ready.
    Ready,
    /// One deployment does not become ready.
    Broken { deployment: String, message: String },
}

impl Cluster {
    /// An input of the template as text.
    pub(super) fn input(&self, name: &str) -> Option<String> {
        let value = self.inputs.get(name)?;
        if value.is_null() {
            return None;
        }
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    }

    /// The Kubernetes version with its `v`.
    pub(super) fn kubernetes_version(&self) -> String {
        let version = self
            .input("kube_version")
            .unwrap_or_else(|| "1.28.15".to_owned());
        format!("v{}", version.trim_start_matches('v'))
    }

    /// The minor version of Kubernetes, 28 for 1.28.15.
    pub(super) fn kubernetes_minor(&self) -> u32 {
        self.kubernetes_version()
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse().ok())
            .unwrap_or(28)
    }

    pub(super) fn newest(&self) -> Option<&Revision> {
        self.releases.last()
    }

    /// The revision that runs.
    pub(super) fn deployed(&self) -> Option<&Revision> {
        self.releases
            .iter()
            .rev()
            .find(|revision| revision.status == "deployed")
    }

    pub(super) fn revision_mut(&mut self, number: u32) -> Option<&mut Revision> {
        self.releases
            .iter_mut()
            .find(|revision| revision.revision == number)
    }

    /// The host that the values of the running release send to the hub.
    pub(super) fn ingress_host(&self) -> Option<String> {
        let values: Value = serde_saphyr::from_str(&self.deployed()?.values).ok()?;
        values
            .pointer("/jupyterhub/ingress/hosts/0")?
            .as_str()
            .map(str::to_owned)
    }
}
