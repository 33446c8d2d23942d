//! What Infrastructure Manager answers, as types.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A template to send. It carries tokens and passwords, so that it is never printed.
#[derive(Clone)]
pub enum Template {
    /// TOSCA, as YAML text.
    Tosca(SecretString),
    /// IM's own language.
    Radl(SecretString),
}

impl Template {
    /// A TOSCA template.
    pub fn tosca(text: impl Into<SecretString>) -> Self {
        Self::Tosca(text.into())
    }

    /// A RADL template.
    pub fn radl(text: impl Into<SecretString>) -> Self {
        Self::Radl(text.into())
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Tosca(_) => "text/yaml",
            Self::Radl(_) => "text/plain",
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Tosca(text) | Self::Radl(text) => text.expose_secret(),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Template({}, {} bytes)",
            self.content_type(),
            self.text().len()
        )
    }
}

/// The state of a VM or an infrastructure, in IM's words.
///
/// Source: IM/VirtualMachine.py:41-49 and IM/rest/models.py of IM 2.0.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VmState {
    /// Asked for, not there yet.
    Pending,
    /// The machine runs, it is not configured yet.
    Running,
    /// Ready.
    Configured,
    /// Configuring failed.
    Unconfigured,
    /// Suspended.
    Stopped,
    /// Gone from the cloud.
    Off,
    /// The cloud refused or lost it.
    Failed,
    /// Being deleted.
    Deleting,
    /// IM could not ask the cloud, or uses a word that we don't know.
    #[serde(other)]
    Unknown,
}

impl VmState {
    /// IM's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Configured => "configured",
            Self::Unconfigured => "unconfigured",
            Self::Stopped => "stopped",
            Self::Off => "off",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the state may still become `configured` without anybody doing something.
    pub fn is_on_its_way(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Unknown => true,
            Self::Configured
            | Self::Unconfigured
            | Self::Stopped
            | Self::Off
            | Self::Failed
            | Self::Deleting => false,
        }
    }
}

impl fmt::Display for VmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state of an infrastructure and of each of its VMs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfrastructureState {
    /// Of the whole.
    pub state: VmState,
    /// Of each VM, by its number; VM 0 is the front end.
    #[serde(default)]
    pub vm_states: BTreeMap<u32, VmState>,
}

/// A piece of the contextualisation log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContMsg {
    /// The text, bytes `start..end` of the log; at most 256 KiB.
    pub text: String,
    /// Where it starts, in bytes. Larger than the offset asked for when text was left out since
    /// there was too much of it; 0 when the log began anew.
    pub start: u64,
    /// Where it ends: the offset for the next call.
    pub end: u64,
}

/// The outputs of a TOSCA template. Some are secrets (`kubeconfig`): only names are printed.
#[derive(Clone, Default)]
pub struct Outputs(pub(super) Map<String, Value>);

impl Outputs {
    /// The output as text, if it has a value and that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// The names of the outputs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// One address of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmAddress {
    /// The address.
    pub ip: IpAddr,
    /// Whether the network it belongs to is reachable from outside (`outbound = 'yes'`).
    pub public: bool,
}

/// What IM tells of one VM.
#[derive(Clone, Debug)]
pub struct VmInfo {
    /// Its state.
    pub state: VmState,
    /// Its addresses, by interface.
    pub addresses: Vec<VmAddress>,
    /// The name that it was given, such as `wn1`.
    pub host_name: Option<String>,
    /// The user to log in as.
    pub user: Option<String>,
    /// The private key of that user, PEM.
    pub private_key: Option<SecretString>,
    /// Number of cores.
    pub cpus: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
}

impl VmInfo {
    /// The first address on a network that is reachable from outside.
    pub fn public_address(&self) -> Option<IpAddr> {
        self.addresses.iter().find(|a| a.public).map(|a| a.ip)
    }

    /// Reads the JSON form of a VM's RADL: a list of objects with a `class`.
    pub(super) fn from_radl(radl: &Value) -> Option<Self> {
        let objects = radl.as_array()?;
        let of_class = |class: &'static str| {
            objects
                .iter()
                .filter(move |o| o.get("class").and_then(Value::as_str) == Some(class))
        };
        let system = of_class("system").next()?.as_object()?;
        let text = |name: &str| system.get(name).and_then(Value::as_str);
        let is_public = |network: &str| {
            of_class("network").any(|n| {
                n.get("id").and_then(Value::as_str) == Some(network)
                    && n.get("outbound").and_then(Value::as_str) == Some("yes")
            })
        };
        let mut addresses = Vec::new();
        // A VM has a handful of interfaces; numbers may have gaps after a resize.
        for n in 0..16_u32 {
            let public = text(&format!("net_interface.{n}.connection")).is_some_and(is_public);
            for kind in ["ip", "ipv6"] {
                let ip = text(&format!("net_interface.{n}.{kind}")).and_then(|ip| ip.parse().ok());
                addresses.extend(ip.map(|ip| VmAddress { ip, public }));
            }
        }
        let number = |name: &str| {
            let value = system
                .get(name)
                .or_else(|| system.get(&format!("{name}_min")))?;
            value.as_u64().or_else(|| value.as_str()?.parse().ok())
        };
        Some(Self {
            state: system
                .get("state")
                .and_then(|state| VmState::deserialize(state).ok())
                .unwrap_or(VmState::Unknown),
            addresses,
            host_name: text("net_interface.0.dns_name").map(str::to_owned),
            user: text("disk.0.os.credentials.username").map(str::to_owned),
            private_key: text("disk.0.os.credentials.private_key").map(SecretString::from),
            cpus: number("cpu.count").and_then(|n| u32::try_from(n).ok()),
            memory_bytes: number("memory.size"),
        })
    }
}

/// One VM of an [`Estimate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmEstimate {
    /// Cores.
    #[serde(default)]
    pub cpu_cores: f64,
    /// Memory in MB (decimal).
    #[serde(default)]
    pub memory_in_megabytes: f64,
    /// Disk in GB (decimal), if one is asked for.
    #[serde(default)]
    pub disk_size_in_gigabytes: Option<f64>,
    /// Public addresses.
    #[serde(default, rename = "publicIP")]
    pub public_ips: u32,
    /// Graphics processors.
    #[serde(default, rename = "GPU")]
    pub gpus: u32,
}

/// One volume of an [`Estimate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeEstimate {
    /// Size in GB (decimal).
    #[serde(default)]
    pub size_in_gigabytes: f64,
}

/// What an infrastructure would take of one cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudEstimate {
    /// The kind of cloud, such as `OpenStack`.
    #[serde(default)]
    pub cloud_type: String,
    /// Its URL.
    #[serde(default)]
    pub cloud_endpoint: String,
    /// Its VMs.
    #[serde(default)]
    pub compute: Vec<VmEstimate>,
    /// Its volumes.
    #[serde(default)]
    pub storage: Vec<VolumeEstimate>,
}

/// What an infrastructure would take, by the id of the cloud credential.
///
/// Source: `EstimateResouces` in IM/InfrastructureManager.py of IM 2.0.0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Estimate(pub BTreeMap<String, CloudEstimate>);

/// Sums of an estimate, in the units of [`Quotas`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Cores.
    pub cores: f64,
    /// Memory in GB (decimal).
    pub memory_gb: f64,
    /// VMs.
    pub instances: usize,
    /// Public addresses.
    pub public_ips: u32,
    /// Disks and volumes in GB (decimal).
    pub disk_gb: f64,
}

impl CloudEstimate {
    /// The sums over all VMs and volumes.
    pub fn totals(&self) -> Totals {
        // IM lists the disks of the VMs among the volumes too, where it knows their sizes.
        let disks: f64 = self
            .compute
            .iter()
            .filter_map(|vm| vm.disk_size_in_gigabytes)
            .sum();
        let volumes: f64 = self
            .storage
            .iter()
            .map(|volume| volume.size_in_gigabytes)
            .sum();
        Totals {
            cores: self.compute.iter().map(|vm| vm.cpu_cores).sum(),
            memory_gb: self
                .compute
                .iter()
                .map(|vm| vm.memory_in_megabytes)
                .sum::<f64>()
                / 1000.0,
            instances: self.compute.len(),
            public_ips: self.compute.iter().map(|vm| vm.public_ips).sum(),
            disk_gb: disks.max(volumes),
        }
    }
}

/// Used and limit of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// Used now.
    pub used: f64,
    /// The limit; negative means none.
    pub limit: f64,
}

impl Quota {
    /// What is left, or `None` if there is no limit.
    pub fn left(self) -> Option<f64> {
        (self.limit >= 0.0).then(|| (self.limit - self.used).max(0.0))
    }
}

/// The quotas of a site. Sites leave out what they don't limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quotas {
    /// Cores.
    #[serde(default)]
    pub cores: Option<Quota>,
    /// Memory in GiB (IM/connectors/OpenStack.py divides Nova's MiB by 1024).
    #[serde(default)]
    pub ram: Option<Quota>,
    /// VMs.
    #[serde(default)]
    pub instances: Option<Quota>,
    /// Public addresses.
    #[serde(default)]
    pub floating_ips: Option<Quota>,
    /// Security groups.
    #[serde(default)]
    pub security_groups: Option<Quota>,
    /// Volumes.
    #[serde(default)]
    pub volumes: Option<Quota>,
    /// Volumes, in GB.
    #[serde(default)]
    pub volume_storage: Option<Quota>,
}

/// An image of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What goes into the template, such as `ost://site/id`.
    pub uri: String,
    /// What people know it by.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_public_address_is_the_one_on_the_outbound_network() {
        // As IM 2.0.0 answers for a TOSCA front end, with a second address.
        let vm = VmInfo::from_radl(&json!([
            {"class": "network", "id": "private_net", "outbound": "no"},
            {"class": "network", "id": "public_net", "outbound": "yes"},
            {"class": "system", "id": "front", "cpu.count_min": 2,
             "memory.size_min": 4_000_000_000_u64, "state": "configured",
             "net_interface.0.connection": "private_net", "net_interface.0.ip": "10.0.0.1",
             "net_interface.1.connection": "public_net", "net_interface.1.ip": "192.0.2.7",
             "disk.0.os.credentials.username": "cloudadm",
             "disk.0.os.credentials.private_key": "-----BEGIN"}
        ]))
        .unwrap();
        assert_eq!(vm.public_address(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(vm.addresses.len(), 2);
        assert_eq!(vm.state, VmState::Configured);
        assert_eq!((vm.cpus, vm.memory_bytes), (Some(2), Some(4_000_000_000)));
        assert_eq!(vm.user.as_deref(), Some("cloudadm"));
        assert!(!format!("{vm:?}").contains("BEGIN"));
    }

    #[test]
    fn unknown_states_do_not_break_the_rest() {
        let state: InfrastructureState = serde_json::from_value(
            json!({"state": "pending", "vm_states": {"0": "configured", "1": "on fire"}}),
        )
        .unwrap();
        assert_eq!(state.vm_states[&0], VmState::Configured);
        assert_eq!(state.vm_states[&1], VmState::Unknown);
    }

    #[test]
    fn estimates_add_up_and_no_limit_is_no_limit() {
        let estimate: Estimate = serde_json::from_value(json!({"egi": {
            "cloudType": "OpenStack", "cloudEndpoint": "https://x:5000",
            "compute": [
                {"cpuCores": 4, "memoryInMegabytes": 16000, "diskSizeInGigabytes": 20, "publicIP": 1},
                {"cpuCores": 8, "memoryInMegabytes": 32000}
            ],
            "storage": [{"sizeInGigabytes": 20}, {"sizeInGigabytes": 100, "type": "ceph"}]
        }}))
        .unwrap();
        let totals = estimate.0["egi"].totals();
        assert_eq!(
            (totals.cores, totals.memory_gb, totals.disk_gb),
            (12.0, 48.0, 120.0)
        );
        assert_eq!((totals.instances, totals.public_ips), (2, 1));
        let quota = |used, limit| Quota { used, limit };
        assert_eq!(quota(3.0, 10.0).left(), Some(7.0));
        assert_eq!(quota(12.0, 10.0).left(), Some(0.0));
        assert_eq!(quota(3.0, -1.0).left(), None);
    }
}
