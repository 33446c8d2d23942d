//! What an infrastructure shall be: the systems that a template describes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One kind of machine and how many of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct System {
    pub(super) name: String,
    pub(super) count: usize,
    pub(super) cpus: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    /// The size of the root disk, if one is asked for.
    pub(super) disk_bytes: Option<u64>,
    /// The sizes of further volumes.
    pub(super) volumes_bytes: Vec<u64>,
    pub(super) image: Option<String>,
    /// Whether it has a public address.
    pub(super) public: bool,
    /// The networks of its interfaces, first to last.
    pub(super) networks: Vec<String>,
    /// VMs to remove, by number.
    #[serde(default)]
    pub(super) removal_list: Vec<u32>,
}

/// What a template describes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Design {
    /// `metadata.infra_name`.
    pub(super) name: Option<String>,
    /// The values of the TOSCA inputs.
    pub(super) inputs: Map<String, Value>,
    /// The systems, those with public addresses first.
    pub(super) systems: Vec<System>,
    /// Id and whether it is reachable from outside.
    pub(super) networks: Vec<(String, bool)>,
    /// The TOSCA document, if it was one.
    pub(super) tosca: Option<Value>,
}

/// Bytes in GB, rounded as IM does.
fn gigabytes(bytes: u64) -> u64 {
    bytes.saturating_add(500_000_000) / 1_000_000_000
}

impl Design {
    /// The host name that users will type, if the template has one.
    pub(super) fn host(&self) -> Option<&str> {
        let host = self.inputs.get("kube_public_dns_name")?.as_str()?;
        (!host.is_empty()).then_some(host)
    }

    pub(super) fn system(&self, name: &str) -> Option<&System> {
        self.systems.iter().find(|system| system.name == name)
    }

    /// The answer to `dry_run`: one VM object per machine, all disks among the volumes.
    pub(super) fn estimate(&self) -> (Vec<Value>, Vec<Value>) {
        let (mut compute, mut storage) = (Vec::new(), Vec::new());
        for system in &self.systems {
            let mut vm = Map::new();
            vm.insert("cpuCores".to_owned(), json!(system.cpus.unwrap_or(1)));
            let megabytes = system.memory_bytes.unwrap_or(512_000_000) / 1_000_000;
            vm.insert("memoryInMegabytes".to_owned(), json!(megabytes));
            if let Some(bytes) = system.disk_bytes {
                vm.insert("diskSizeInGigabytes".to_owned(), json!(gigabytes(bytes)));
            }
            if system.public {
                vm.insert("publicIP".to_owned(), json!(1));
            }
            for _ in 0..system.count {
                compute.push(Value::Object(vm.clone()));
                for bytes in system.disk_bytes.iter().chain(&system.volumes_bytes) {
                    storage.push(json!({ "sizeInGigabytes": gigabytes(*bytes) }));
                }
            }
        }
        (compute, storage)
    }

    /// Cores, memory in GiB, machines and public addresses in all.
    pub(super) fn needs(&self) -> [(&'static str, f64); 4] {
        let sum = |of: &dyn Fn(&System) -> u64| -> f64 {
            let total: u64 = self
                .systems
                .iter()
                .map(|s| of(s).saturating_mul(u64::try_from(s.count).unwrap_or(u64::MAX)))
                .sum();
            // Counts of cores and bytes are far below 2^53.
            total.to_string().parse().unwrap_or(f64::MAX)
        };
        [
            ("cores", sum(&|s| s.cpus.unwrap_or(1))),
            (
                "ram",
                sum(&|s| s.memory_bytes.unwrap_or(0)) / f64::from(1_u32 << 30),
            ),
            ("instances", sum(&|_| 1)),
            ("floating_ips", sum(&|s| u64::from(s.public))),
        ]
    }
}
