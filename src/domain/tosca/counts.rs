//! The numbers of worker nodes in the template that IM has stored of an infrastructure.
//!
//! CLUES, too, sends that template back to IM, with another count, when it powers a node on
//! (`cluesplugins/im.py`), so that what it says there is literal and not an input any more.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::domain::clues::change::Counts;
use crate::domain::names::HostName;
use crate::domain::yaml::{self, YamlError};

const COMPUTE: &str = "tosca.nodes.indigo.Compute";
const WORKER: &str = "tosca.nodes.indigo.LRMS.WorkerNode.Kubernetes";

/// The inputs of the elastic addition.
const MAX: &str = "max_wn_num";
const MIN_FREE: &str = "min_wn_num";

/// The input of the template that is the cluster's host name.
const PUBLIC_NAME: &str = "kube_public_dns_name";

/// Why the numbers of a stored template can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CountsError {
    /// It is not YAML.
    #[error("the template that IM has stored can't be read")]
    Read(#[source] YamlError),
    /// It could not be written.
    #[error("the template that IM has stored can't be written")]
    Write(#[source] YamlError),
    /// It is not that of an elastic cluster of front end and workers.
    #[error("the template that IM has stored has no {0}")]
    Lacks(&'static str),
    /// It has other machines too, whose number would have to be told as well.
    #[error(
        "the template that IM has stored has {0} kinds of machines, not a front end and workers"
    )]
    Machines(usize),
}

/// A template that IM has stored. **With secrets**: it is never printed.
pub struct Stored(Value);

impl Stored {
    /// Reads it.
    ///
    /// # Errors
    /// [`CountsError`] when it is not that of an elastic cluster.
    pub fn read(text: &SecretString) -> Result<Self, CountsError> {
        let stored = Self(yaml::read(text.expose_secret()).map_err(CountsError::Read)?);
        stored.counts()?;
        let nodes = stored.nodes()?;
        let machines = nodes.values().filter(|node| is_of(node, COMPUTE)).count();
        if machines != 2 {
            return Err(CountsError::Machines(machines));
        }
        stored.worker()?;
        Ok(stored)
    }

    /// How many workers there may be, and how many are kept free.
    ///
    /// # Errors
    /// When it does not say.
    pub fn counts(&self) -> Result<Counts, CountsError> {
        let number = |input: &'static str| {
            let pointer = format!("/topology_template/inputs/{input}/default");
            let value = self.0.pointer(&pointer)?;
            let text = value.as_str().and_then(|text| text.parse().ok());
            u32::try_from(value.as_u64().or(text)?).ok()
        };
        Ok(Counts {
            max: number(MAX).ok_or(CountsError::Lacks(MAX))?,
            min_free: number(MIN_FREE).ok_or(CountsError::Lacks(MIN_FREE))?,
        })
    }

    /// The same with other numbers, for IM: **with secrets**. `running` is how many workers IM has:
    /// with any other number it would add or remove some.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn with(mut self, counts: Counts, running: usize) -> Result<SecretString, CountsError> {
        let worker = self.worker()?;
        for (input, number) in [(MAX, counts.max), (MIN_FREE, counts.min_free)] {
            let pointer = format!("/topology_template/inputs/{input}/default");
            let value = self.0.pointer_mut(&pointer);
            *value.ok_or(CountsError::Lacks(input))? = number.into();
        }
        let pointer = format!(
            "/topology_template/node_templates/{}/capabilities/scalable/properties",
            worker.replace('~', "~0").replace('/', "~1")
        );
        let scalable = self.0.pointer_mut(&pointer).and_then(Value::as_object_mut);
        let scalable = scalable.ok_or(CountsError::Lacks("count of workers"))?;
        scalable.insert("count".to_owned(), running.into());
        let text = yaml::write(&self.0).map_err(CountsError::Write)?;
        Ok(text.into())
    }

    /// The host name that the cluster is made for.
    ///
    /// # Errors
    /// When it does not say.
    pub fn public_name(&self) -> Result<&str, CountsError> {
        let pointer = format!("/topology_template/inputs/{PUBLIC_NAME}/default");
        let name = self.0.pointer(&pointer).and_then(Value::as_str);
        name.ok_or(CountsError::Lacks(PUBLIC_NAME))
    }

    /// The same made for another host name.
    ///
    /// # Errors
    /// When it does not say one.
    pub fn named(mut self, host: &HostName) -> Result<Self, CountsError> {
        let pointer = format!("/topology_template/inputs/{PUBLIC_NAME}/default");
        let name = self.0.pointer_mut(&pointer);
        *name.ok_or(CountsError::Lacks(PUBLIC_NAME))? = host.as_str().into();
        Ok(self)
    }

    fn nodes(&self) -> Result<&Map<String, Value>, CountsError> {
        let nodes = self.0.pointer("/topology_template/node_templates");
        let nodes = nodes.and_then(Value::as_object);
        nodes.ok_or(CountsError::Lacks("nodes"))
    }

    /// The name of the machine that workers run on.
    fn worker(&self) -> Result<String, CountsError> {
        let nodes = self.nodes()?;
        let host = nodes
            .values()
            .filter(|node| is_of(node, WORKER))
            .find_map(|node| {
                let requirements = node.get("requirements")?.as_array()?;
                let hosts = requirements.iter().find_map(|one| one.get("host"))?;
                hosts.as_str().or_else(|| hosts.get("node")?.as_str())
            });
        host.filter(|host| nodes.contains_key(*host))
            .map(str::to_owned)
            .ok_or(CountsError::Lacks("machine for workers"))
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stored")
    }
}

fn is_of(node: &Value, kind: &str) -> bool {
    node.get("type").and_then(Value::as_str) == Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = "
topology_template:
  inputs:
    wn_num: {type: integer, default: 1}
    max_wn_num: {type: integer, default: 5}
    min_wn_num: {type: integer, default: 0}
    kube_admin_token: {type: string, default: hidden}
  node_templates:
    front: {type: tosca.nodes.indigo.Compute}
    wn:
      type: tosca.nodes.indigo.Compute
      capabilities: {scalable: {properties: {count: {get_input: wn_num}}}}
    wn_node:
      type: tosca.nodes.indigo.LRMS.WorkerNode.Kubernetes
      requirements: [{host: wn}]
";

    fn stored(text: &str) -> Result<Stored, CountsError> {
        Stored::read(&text.to_owned().into())
    }

    #[test]
    fn three_numbers_change_and_nothing_else() {
        let before = stored(STORED).unwrap();
        let (old, new) = (
            Counts {
                max: 5,
                min_free: 0,
            },
            Counts {
                max: 8,
                min_free: 1,
            },
        );
        assert_eq!(before.counts().unwrap(), old);
        let text = before.with(new, 3).unwrap();
        let after = Stored::read(&text).unwrap();
        assert_eq!(after.counts().unwrap(), new);
        let mut expected = yaml::read(STORED).unwrap();
        for (pointer, value) in [
            ("/topology_template/inputs/max_wn_num/default", 8),
            ("/topology_template/inputs/min_wn_num/default", 1),
            (
                "/topology_template/node_templates/wn/capabilities/scalable/properties/count",
                3,
            ),
        ] {
            *expected.pointer_mut(pointer).unwrap() = value.into();
        }
        assert_eq!(after.0, expected);
        assert!(!format!("{after:?}").contains("hidden"));
    }

    #[test]
    fn templates_of_other_clusters_are_left_alone() {
        let third = "\n    gpu: {type: tosca.nodes.indigo.Compute}\n    wn_node:";
        for (from, to) in [
            ("max_wn_num", "most_wn_num"),
            ("default: 5", "default: {get_input: x}"),
            ("\n    wn_node:", third),
            ("host: wn", "host: wm"),
            ("topology_template", "topology"),
        ] {
            assert!(stored(&STORED.replacen(from, to, 1)).is_err(), "{from}");
        }
    }
}
