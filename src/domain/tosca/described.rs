//! What a template that somebody else filled in says about a cluster.
//!
//! IM keeps the template as it was sent, the values in the `default` of the inputs, as the
//! dashboard writes them. What is not there, or is of another form, is not known.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::domain::clues::change::Counts;
use crate::domain::deploy::{MachineSize, Method};
use crate::domain::names::HostName;
use crate::domain::size::Size;
use crate::domain::yaml::{self, YamlError};

const COMPUTE: &str = "tosca.nodes.indigo.Compute";

/// What a template says; it holds none of its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The size of the front end.
    pub frontend: Option<MachineSize>,
    /// The size of a worker node.
    pub worker: Option<MachineSize>,
    /// How many workers there may be, and how many are kept free.
    pub counts: Option<Counts>,
    /// The version of Kubernetes.
    pub kubernetes_version: Option<String>,
    /// The e-mail for Let's Encrypt.
    pub email: Option<String>,
    /// The DNS name of the front end.
    pub host: Option<HostName>,
    /// What the machines start from, such as `ost://site/ubuntu-jammy`.
    pub image: Option<String>,
    /// Whether the template installs DaskHub itself.
    pub method: Method,
}

impl Described {
    /// Reads the template that IM has stored: **with secrets**.
    ///
    /// # Errors
    /// When it is not YAML.
    pub fn read(text: &SecretString) -> Result<Self, YamlError> {
        let document = yaml::read(text.expose_secret())?;
        let empty = Map::new();
        let part = |name: &str| {
            let part = document.pointer(&format!("/topology_template/{name}"));
            part.and_then(Value::as_object).unwrap_or(&empty)
        };
        let inputs = Inputs(part("inputs"));
        let counts = inputs.number("max_wn_num").map(|max| Counts {
            max,
            min_free: inputs.number("min_wn_num").unwrap_or(0),
        });
        let by_template = inputs.text("jupyterhub_image_name").is_some();
        Ok(Self {
            frontend: inputs.machine("fe"),
            worker: inputs.machine("wn"),
            counts,
            kubernetes_version: inputs.text("kube_version"),
            email: inputs.text("kube_cert_user_email"),
            host: inputs
                .text("kube_public_dns_name")
                .and_then(|host| HostName::parse(&host).ok()),
            image: part("node_templates").values().find_map(image_of),
            method: if by_template {
                Method::Tosca
            } else {
                Method::Helm
            },
        })
    }
}

/// The inputs of a template, read by the value in their `default`.
struct Inputs<'a>(&'a Map<String, Value>);

impl Inputs<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let text = match self.0.get(name)?.get("default")? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.text(name)?.parse().ok()
    }

    fn machine(&self, kind: &str) -> Option<MachineSize> {
        let size = |what: &str| Size::parse(&self.text(&format!("{kind}_{what}"))?).ok();
        Some(MachineSize {
            cpus: self.number(&format!("{kind}_cpus"))?,
            memory: size("mem")?,
            // 0 stands for the flavour's own.
            disk: size("disk_size").filter(|disk| disk.bytes() > 0),
        })
    }
}

/// The image of a node that is a machine.
fn image_of(node: &Value) -> Option<String> {
    if node.get("type").and_then(Value::as_str) != Some(COMPUTE) {
        return None;
    }
    let image = node
        .pointer("/capabilities/os/properties/image")?
        .as_str()?;
    (!image.is_empty()).then(|| image.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Described {
        Described::read(&SecretString::from(text)).unwrap()
    }

    #[test]
    fn what_the_dashboard_filled_in_is_read() {
        let described = read(
            "
topology_template:
  inputs:
    fe_cpus: {type: integer, default: 4}
    fe_mem: {type: scalar-unit.size, default: 16 GB}
    fe_disk_size: {default: 0 GiB}
    wn_cpus: {default: '8'}
    wn_mem: {default: 32 GB}
    wn_disk_size: {default: 50 GiB}
    max_wn_num: {default: 7}
    min_wn_num: {default: 1}
    kube_version: {default: 1.30.14}
    kube_public_dns_name: {default: geo.vm.fedcloud.eu}
    kube_cert_user_email: {default: a@example.org}
    kube_admin_token: {default: hidden}
  node_templates:
    lrms: {type: tosca.nodes.indigo.LRMS.FrontEnd.Kubernetes}
    front:
      type: tosca.nodes.indigo.Compute
      capabilities: {os: {properties: {image: 'ost://site/ubuntu-jammy'}}}
",
        );
        let size = |text: &str| Size::parse(text).unwrap();
        let machine = |cpus, memory, disk: Option<&str>| MachineSize {
            cpus,
            memory: size(memory),
            disk: disk.map(size),
        };
        let expected = Described {
            frontend: Some(machine(4, "16 GB", None)),
            worker: Some(machine(8, "32 GB", Some("50 GiB"))),
            counts: Some(Counts {
                max: 7,
                min_free: 1,
            }),
            kubernetes_version: Some("1.30.14".to_owned()),
            email: Some("a@example.org".to_owned()),
            host: Some(HostName::parse("geo.vm.fedcloud.eu").unwrap()),
            image: Some("ost://site/ubuntu-jammy".to_owned()),
            method: Method::Helm,
        };
        assert_eq!(described, expected);
        assert!(!format!("{described:?}").contains("hidden"));
    }

    #[test]
    fn what_is_not_there_is_not_known() {
        let described = read(
            "{topology_template: {inputs: {fe_cpus: {default: {get_input: x}}, fe_mem: {default: 1},
              kube_public_dns_name: {default: ''}, wn_cpus: {default: many},
              jupyterhub_image_name: {default: a/b}}}}",
        );
        let nothing = Described {
            frontend: None,
            worker: None,
            counts: None,
            kubernetes_version: None,
            email: None,
            host: None,
            image: None,
            method: Method::Tosca,
        };
        assert_eq!(described, nothing);
        let method = Method::Helm;
        assert_eq!(read("[a]"), Described { method, ..nothing });
    }
}
