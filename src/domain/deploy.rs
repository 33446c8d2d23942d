//! What a person asks for with `deploy`, complete and checked.
//!
//! Two checks stand here: [`DeployOptions::problems`], which no plan may have, and
//! [`DeployOptions::warnings`], which a careful person wants to know before saying yes.
//! What the TOSCA template allows is checked in [`crate::domain::tosca`], since only the template
//! knows.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::domain::{
    names::{ClusterName, HostName},
    size::Size,
};

/// The steps of a deployment, in order. The names are what the database keeps.
pub const STEPS: &[&str] = &[
    "check-dns-name",
    "check-oidc-client",
    "create-infrastructure",
    "wait-until-configured",
    "keep-access",
    "point-dns-name",
    "reconfigure",
    "wait-until-reconfigured",
    "connect",
    "render-values",
    "install-daskhub",
    "wait-for-deployments",
    "tell-node-size",
    "check-hub",
    "record-revision",
];

/// An instance of EGI Check-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckinInstance {
    /// Where the VO is.
    Production,
    /// The demonstration instance.
    Demo,
    /// Where one may approve one's own client.
    Development,
}

impl CheckinInstance {
    /// The word in commands and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Demo => "demo",
            Self::Development => "development",
        }
    }

    /// The instance of that word.
    pub fn from_word(text: &str) -> Option<Self> {
        [Self::Production, Self::Demo, Self::Development]
            .into_iter()
            .find(|one| one.as_str() == text)
    }
}

impl std::fmt::Display for CheckinInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How people log in to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "instance")]
pub enum Auth {
    /// With EGI Check-in; only members of the VO.
    CheckIn(CheckinInstance),
    /// With names and passwords of the hub's own.
    Native,
}

/// How DaskHub is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By helm on the front end, as the howto does.
    Helm,
    /// By grycap's TOSCA addition: no Check-in login and old settings.
    Tosca,
}

/// The size of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSize {
    /// Cores.
    pub cpus: u32,
    /// Memory.
    pub memory: Size,
    /// Disk; the template's default when `None`.
    pub disk: Option<Size>,
}

/// The container image that notebooks and Dask workers run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotebookImage {
    /// Its name, without the tag.
    pub name: String,
    /// Its tag.
    pub tag: String,
}

impl std::fmt::Display for NotebookImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

/// Everything that decides what a deployment makes; no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployOptions {
    /// The cluster's name.
    pub name: ClusterName,
    /// The hub's DNS name.
    pub host: HostName,
    /// How people log in.
    pub auth: Auth,
    /// The e-mail for Let's Encrypt.
    pub email: Option<String>,
    /// How far the cluster may grow, in worker nodes.
    pub workers_max: u32,
    /// How many worker nodes are kept without work.
    pub workers_min_free: u32,
    /// The size of a worker node.
    pub worker: MachineSize,
    /// The size of the front end; no user pods run there.
    pub frontend: MachineSize,
    /// The image of notebooks and Dask workers.
    pub image: NotebookImage,
    /// The version of the chart.
    pub chart_version: String,
    /// The version of Kubernetes; the template's default when `None`.
    pub kubernetes_version: Option<String>,
    /// The cloud credential; the configuration's default when `None`.
    pub credential: Option<String>,
    /// The image of the VMs; the credential's when `None`.
    pub site_image: Option<String>,
    /// How DaskHub is installed.
    pub method: Method,
    /// What the cluster is for.
    pub purpose: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// The last day it is needed.
    pub ends_on: Option<NaiveDate>,
    /// The digest of the TOSCA templates that the plan showed; set by
    /// [`Template::settle`](crate::domain::tosca::Template::settle).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// What a notebook asks for at least: cores and bytes of memory.
fn notebook_needs(auth: Auth) -> (u32, u64) {
    let notebook = crate::domain::values::Notebook::howto(auth);
    (notebook.cpu_guarantee, notebook.memory_guarantee.bytes())
}

impl DeployOptions {
    /// What makes no sense, as option and words; empty when all holds.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.workers_min_free > self.workers_max {
            problems.push((
                "workers-min-free",
                format!(
                    "{} nodes cannot be kept free when at most {} exist; raise `workers-max` or lower this",
                    self.workers_min_free, self.workers_max
                ),
            ));
        }
        if self.frontend.cpus < 2 || self.frontend.memory.bytes() < 4_000_000_000 {
            problems.push((
                "frontend-memory",
                "the front end is too small for Kubernetes; it needs 2 CPUs and 4 GB at least"
                    .to_owned(),
            ));
        }
        let (cpus, bytes) = notebook_needs(self.auth);
        if self.worker.cpus <= cpus || self.worker.memory.bytes() <= bytes {
            problems.push((
                "worker-memory",
                format!(
                    "no notebook would ever fit on a worker node: one asks for {cpus} CPUs and {} GB, and a node needs more than that for itself as well",
                    bytes / 1_000_000_000
                ),
            ));
        }
        if self.method == Method::Tosca && self.auth != Auth::Native {
            problems.push((
                "method",
                "`tosca` has no Check-in login; use `auth:native`, or `method:helm`".to_owned(),
            ));
        }
        problems
    }

    /// What a careful person wants to know before saying yes.
    ///
    /// `kubernetes_version` is the one that will be installed, from the options or the template.
    pub fn warnings(&self, kubernetes_version: Option<&str>) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.auth {
            Auth::Native => warnings.push(
                "native login: anyone on the internet may sign up; the first to take the name `admin` becomes administrator once accepted".to_owned(),
            ),
            Auth::CheckIn(CheckinInstance::Production) => {}
            Auth::CheckIn(instance) => warnings.push(format!(
                "the VO exists only in production Check-in unless it was asked for; in the {instance} instance nobody may be able to log in"
            )),
        }
        if self.image.tag == "latest" {
            warnings.push(format!(
                "the image `{}` changes without notice; a fixed tag makes results repeatable",
                self.image
            ));
        }
        if self.method == Method::Tosca {
            warnings.push(
                "the TOSCA template of DaskHub is from July 2022: no Check-in login, some settings are missing or old, later changes need helm anyway".to_owned(),
            );
            warnings.push(format!(
                "the TOSCA template gives the hub's ingress neither host nor certificate: https://{}/ answers once `values edit` has given it both",
                self.host
            ));
        } else if let Some(text) =
            kubernetes_version.and_then(|version| chart_warning(&self.chart_version, version))
        {
            warnings.push(text);
        }
        if self.workers_max > 10
            && (self.frontend.cpus < 4 || self.frontend.memory.bytes() < 16_000_000_000)
        {
            warnings.push(
                "a cluster of more than 10 worker nodes wants a front end of 4 CPUs and 16 GB at least".to_owned(),
            );
        }
        if self.ends_on.is_none() {
            warnings
                .push("no end date: nobody will be reminded to give the machines back".to_owned());
        }
        warnings
    }
}

/// The major and minor number of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Why a chart may not work on a version of Kubernetes.
///
/// Chart 2022.8.2 brings a scheduler for Kubernetes 1.19; charts from 2024 on need 1.25 (seen with
/// the real charts and API servers 1.20.2 and 1.36.2). The rule holds for known charts only.
pub fn chart_warning(chart: &str, kubernetes: &str) -> Option<String> {
    let (year, _) = numbers(chart)?;
    let kubernetes_numbers = numbers(kubernetes)?;
    if year >= 2024 && kubernetes_numbers < (1, 25) {
        return Some(format!(
            "chart {chart} is known to fail on Kubernetes {kubernetes}: it needs 1.25 or newer"
        ));
    }
    if year <= 2022 && kubernetes_numbers >= (1, 25) {
        return Some(format!(
            "the user scheduler of chart {chart} is older than Kubernetes {kubernetes}: user pods may stay pending; chart 2024.1.1 fits"
        ));
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn options() -> DeployOptions {
        DeployOptions {
            name: ClusterName::parse("pangeo").unwrap(),
            host: HostName::parse("pangeo.vm.fedcloud.eu").unwrap(),
            auth: Auth::CheckIn(CheckinInstance::Production),
            email: Some("a@example.org".to_owned()),
            workers_max: 5,
            workers_min_free: 0,
            worker: MachineSize {
                cpus: 8,
                memory: Size::parse("32 GB").unwrap(),
                disk: None,
            },
            frontend: MachineSize {
                cpus: 4,
                memory: Size::parse("16 GB").unwrap(),
                disk: None,
            },
            image: NotebookImage {
                name: "pangeo/pangeo-notebook".to_owned(),
                tag: "2022.09.21".to_owned(),
            },
            chart_version: "2024.1.1".to_owned(),
            kubernetes_version: None,
            credential: None,
            site_image: None,
            method: Method::Helm,
            purpose: None,
            contact: None,
            ends_on: NaiveDate::from_ymd_opt(2026, 12, 31),
            template: None,
        }
    }

    #[test]
    fn good_options_have_no_problems_and_no_warnings() {
        assert_eq!(options().problems(), []);
        assert_eq!(options().warnings(Some("1.30.14")), Vec::<String>::new());
    }

    #[test]
    fn all_warnings_have_one_form() {
        let mut worst = options();
        worst.auth = Auth::CheckIn(CheckinInstance::Demo);
        worst.image.tag = "latest".to_owned();
        worst.workers_max = 20;
        worst.frontend.cpus = 2;
        worst.ends_on = None;
        let mut warnings = worst.warnings(Some("1.20.2"));
        worst.auth = Auth::Native;
        worst.chart_version = "2022.8.2".to_owned();
        warnings.extend(worst.warnings(Some("1.30.14")));
        worst.method = Method::Tosca;
        warnings.extend(worst.warnings(None));
        assert!(warnings.len() >= 13, "{warnings:#?}");
        for warning in warnings {
            let small = warning.starts_with(|c: char| c.is_lowercase() || c == '`');
            assert!(small && !warning.ends_with('.'), "{warning}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_problem() {
        let named = |change: fn(&mut DeployOptions)| {
            let mut options = options();
            change(&mut options);
            let problems = options.problems();
            problems
                .iter()
                .map(|(option, _)| *option)
                .collect::<Vec<_>>()
        };
        assert_eq!(named(|o| o.workers_min_free = 6), ["workers-min-free"]);
        assert_eq!(named(|o| o.frontend.cpus = 1), ["frontend-memory"]);
        assert_eq!(named(|o| o.worker.cpus = 1), ["worker-memory"]);
        assert_eq!(
            named(|o| o.worker.memory = Size::parse("2 GB").unwrap()),
            ["worker-memory"]
        );
        assert_eq!(named(|o| o.method = Method::Tosca), ["method"]);
        // A native notebook asks for 2 CPUs and 4 GB.
        assert_eq!(
            named(|o| {
                o.auth = Auth::Native;
                o.worker.cpus = 2;
            }),
            ["worker-memory"]
        );
    }

    #[test]
    fn charts_are_warned_of_on_the_kubernetes_that_they_do_not_fit() {
        assert!(
            chart_warning("2022.8.2", "1.35.3")
                .unwrap()
                .contains("user scheduler")
        );
        assert!(
            chart_warning("2024.1.1", "1.23.11")
                .unwrap()
                .contains("known to fail")
        );
        assert_eq!(chart_warning("2022.8.2", "1.23.11"), None);
        assert_eq!(chart_warning("2024.1.1", "1.25.0"), None);
        assert_eq!(chart_warning("x", "1.25.0"), None);
    }

    #[test]
    fn a_stored_option_set_is_read_again() {
        let mut before = options();
        for auth in [Auth::Native, Auth::CheckIn(CheckinInstance::Demo)] {
            before.auth = auth;
            let text = serde_json::to_string(&before).unwrap();
            assert_eq!(
                serde_json::from_str::<DeployOptions>(&text).unwrap(),
                before
            );
        }
    }
}
