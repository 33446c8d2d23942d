//! The TOSCA document of a deployment.
//!
//! grycap's template `kubernetes.yaml` gets its additions merged in and its inputs filled as IM's
//! dashboard does it (grycap/im-dashboard, `app/__init__.py` `createdep` and `app/utils.py`
//! `merge_templates`, read 2026-08): entries of `inputs`, `node_templates` and `outputs` of an
//! addition replace those of the same name; the `default` of an input is replaced by its value;
//! `metadata` gets `filename`, `childs` and `infra_name`; every Compute node gets the image and an
//! instance name; the elastic node gets the credentials with which CLUES will ask IM for nodes.
//!
//! **Invariant:** what values an input may have is read from the template, never from our code.
//! IM does not enforce `valid_values`, so [`Template::problems`] does.

mod counts;
mod described;
mod fill;
mod inputs;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use counts::{CountsError, Stored};
pub use described::Described;
pub use fill::{ToscaSecrets, infrastructure_name};
pub use inputs::Input;

use crate::domain::{
    deploy::{DeployOptions, Method},
    size::Size,
    yaml::{self, YamlError},
};

/// The template that everything is added to.
pub const BASE: &str = "kubernetes.yaml";

const ELASTIC: &str = "kubernetes_elastic.yaml";
const PROMETHEUS: &str = "prometheus.yaml";
const DASKHUB: &str = "daskhub.yaml";

/// The additions of a deployment, by file name.
pub fn additions(method: Method) -> &'static [&'static str] {
    match method {
        Method::Helm => &[ELASTIC, PROMETHEUS],
        Method::Tosca => &[ELASTIC, PROMETHEUS, DASKHUB],
    }
}

/// Why a template could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A file is not YAML.
    #[error("read the template `{file}`")]
    Read {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: YamlError,
    },
    /// A file is not a TOSCA template.
    #[error("the template `{file}` has no `{part}`")]
    Part {
        /// The file.
        file: String,
        /// What it lacks.
        part: &'static str,
    },
    /// An addition is not made for this template.
    #[error("the template `{file}` is not an addition to `{BASE}`")]
    Parent {
        /// The file.
        file: String,
    },
    /// An input that a deployment must set does not exist.
    #[error("the templates have no input `{input}`, which a deployment must set")]
    Input {
        /// The input.
        input: &'static str,
    },
    /// A value does not fit its input.
    #[error("the input `{input}` of the template does not take the value given")]
    Value {
        /// The input.
        input: String,
    },
    /// The result could not be written.
    #[error("write the TOSCA document")]
    Write(#[source] YamlError),
}

/// The templates of one kind of deployment, merged.
#[derive(Clone, Debug)]
pub struct Template {
    document: Map<String, Value>,
    method: Method,
}

impl Template {
    /// Merges the additions of `method` into the base; `text` gives the text of a file by its name.
    ///
    /// # Errors
    /// [`TemplateError`] names the file that does not hold.
    pub fn merge<'a>(
        method: Method,
        text: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, TemplateError> {
        let read = |file: &str| -> Result<Map<String, Value>, TemplateError> {
            let part = |part| TemplateError::Part {
                file: file.to_owned(),
                part,
            };
            let text = text(file).ok_or_else(|| part("text"))?;
            let tree = yaml::read(text).map_err(|source| TemplateError::Read {
                file: file.to_owned(),
                source,
            })?;
            match tree {
                Value::Object(map)
                    if map.get("topology_template").is_some_and(Value::is_object) =>
                {
                    Ok(map)
                }
                Value::Object(_)
                | Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => Err(part("topology_template")),
            }
        };
        let mut document = read(BASE)?;
        for file in additions(method) {
            let addition = read(file)?;
            if !names_parent(&addition) {
                return Err(TemplateError::Parent {
                    file: (*file).to_owned(),
                });
            }
            merge_one(&mut document, addition);
        }
        let metadata = object(&mut document, "metadata");
        metadata.insert("filename".to_owned(), BASE.into());
        metadata.insert("childs".to_owned(), additions(method).into());
        Ok(Self { document, method })
    }

    fn inputs(&self) -> Option<&Map<String, Value>> {
        self.document
            .get("topology_template")?
            .get("inputs")?
            .as_object()
    }

    /// An input by its name.
    pub fn input(&self, name: &str) -> Option<Input<'_>> {
        let definition = self.inputs()?.get(name)?.as_object()?;
        Some(Input::new(definition))
    }

    /// The values that an input may have, as text, in the template's order; for completion.
    pub fn allowed(&self, name: &str) -> Vec<String> {
        self.input(name)
            .map(|input| input.allowed())
            .unwrap_or_default()
    }

    /// The value of an input that is not set, as text.
    pub fn default_of(&self, name: &str) -> Option<String> {
        self.input(name)?.default_text()
    }

    /// The version of Kubernetes that a deployment with these options gets.
    pub fn kubernetes_version(&self, options: &DeployOptions) -> Option<String> {
        options
            .kubernetes_version
            .clone()
            .or_else(|| self.default_of("kube_version"))
    }

    /// The SHA-256 of the merged templates, as 64 hexadecimal digits.
    pub fn digest(&self) -> String {
        let text = Value::Object(self.document.clone()).to_string();
        hex::encode(Sha256::digest(text.as_bytes()))
    }

    /// The options with the template's defaults and its digest written out, so that an approval
    /// covers them: the template may change between the plan and its operation.
    pub fn settle(&self, mut options: DeployOptions) -> DeployOptions {
        options.template = Some(self.digest());
        options.kubernetes_version = self.kubernetes_version(&options);
        let size = |input: &str| Size::parse(&self.default_of(input)?).ok();
        options.frontend.disk = options.frontend.disk.or_else(|| size("fe_disk_size"));
        options.worker.disk = options.worker.disk.or_else(|| size("wn_disk_size"));
        options
    }

    /// What the template does not allow, as option and words; empty when all holds.
    pub fn problems(&self, options: &DeployOptions) -> Vec<(&'static str, String)> {
        let text = |size: &Size| Some(size.to_string());
        let (worker, frontend) = (&options.worker, &options.frontend);
        [
            ("worker-cpus", "wn_cpus", Some(worker.cpus.to_string())),
            ("worker-memory", "wn_mem", text(&worker.memory)),
            (
                "worker-disk",
                "wn_disk_size",
                worker.disk.as_ref().and_then(text),
            ),
            ("frontend-cpus", "fe_cpus", Some(frontend.cpus.to_string())),
            ("frontend-memory", "fe_mem", text(&frontend.memory)),
            (
                "frontend-disk",
                "fe_disk_size",
                frontend.disk.as_ref().and_then(text),
            ),
            (
                "kubernetes-version",
                "kube_version",
                options.kubernetes_version.clone(),
            ),
        ]
        .into_iter()
        .filter_map(|(option, input, value)| {
            let value = value?;
            let Some(input) = self.input(input) else {
                return Some((option, "the TOSCA template has no such setting".to_owned()));
            };
            if input.accepts(&value) {
                return None;
            }
            let allowed: Vec<String> = input
                .allowed()
                .iter()
                .map(|one| format!("`{one}`"))
                .collect();
            Some((
                option,
                format!(
                    "`{value}` is not offered; the TOSCA template allows {}",
                    allowed.join(", ")
                ),
            ))
        })
        .collect()
    }

    /// What the deployment takes from the quota when it has grown to its maximum.
    pub fn estimate(&self, options: &DeployOptions) -> Estimate {
        let size = |given: Option<&Size>, input: &str| {
            let default = || Size::parse(&self.default_of(input)?).ok();
            given
                .cloned()
                .or_else(default)
                .map_or(0, |size| size.gigabytes())
        };
        let workers = u64::from(options.workers_max.max(1));
        Estimate {
            instances: 1 + workers,
            cores: u64::from(options.frontend.cpus) + workers * u64::from(options.worker.cpus),
            memory_gb: options.frontend.memory.gigabytes()
                + workers * options.worker.memory.gigabytes(),
            disk_gb: size(options.frontend.disk.as_ref(), "fe_disk_size")
                + workers * size(options.worker.disk.as_ref(), "wn_disk_size"),
        }
    }
}

/// What a deployment takes at most: the front end and all worker nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// VMs.
    pub instances: u64,
    /// Cores.
    pub cores: u64,
    /// Memory in decimal gigabytes.
    pub memory_gb: u64,
    /// Disks in decimal gigabytes.
    pub disk_gb: u64,
}

fn names_parent(addition: &Map<String, Value>) -> bool {
    addition
        .get("metadata")
        .and_then(|metadata| metadata.get("parents"))
        .and_then(Value::as_array)
        .is_some_and(|parents| parents.iter().any(|parent| parent == BASE))
}

/// The object of that key, made when it is absent.
fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    static_object(value)
}

/// A value that was made an object just before.
#[expect(clippy::unreachable, reason = "the caller has just made it an object")]
fn static_object(value: &mut Value) -> &mut Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("the value was made an object")
        }
    }
}

fn merge_one(document: &mut Map<String, Value>, mut addition: Map<String, Value>) {
    let topology = object(document, "topology_template");
    if let Some(Value::Object(mut parts)) = addition.remove("topology_template") {
        for part in ["inputs", "node_templates", "outputs"] {
            if let Some(Value::Object(entries)) = parts.remove(part) {
                object(topology, part).extend(entries);
            }
        }
    }
    let tabs = addition
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("tabs"))
        .map(Value::take);
    if let Some(Value::Object(tabs)) = tabs {
        object(object(document, "metadata"), "tabs").extend(tabs);
    }
}

#[cfg(test)]
mod tests;
