//! Fills the merged template with a deployment's options.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::{Template, TemplateError, object};
use crate::domain::{
    deploy::{DeployOptions, Method},
    names::ClusterName,
    yaml,
};

const COMPUTE: &str = "tosca.nodes.indigo.Compute";
const ELASTIC_CLUSTER: &str = "tosca.nodes.ec3.ElasticCluster";

/// What IM calls the infrastructure of a cluster; how a lost one is found again.
pub fn infrastructure_name(cluster: &ClusterName) -> String {
    format!("pangeo-{cluster}")
}

/// The secrets of the TOSCA document.
#[derive(Clone, Debug)]
pub struct ToscaSecrets {
    /// The token of the Kubernetes administrator.
    pub kubernetes_token: SecretString,
    /// The password of Grafana's `admin`.
    pub grafana_password: SecretString,
    /// The token between hub and Dask gateway; only with the method `tosca`.
    pub jupyterhub_token: SecretString,
    /// The credentials with which CLUES asks IM for nodes, in the form of IM's `Authorization`
    /// header; without them the cluster does not grow.
    pub im_auth: Option<SecretString>,
}

impl ToscaSecrets {
    fn all(text: &str) -> Self {
        let secret = || SecretString::from(text.to_owned());
        Self {
            kubernetes_token: secret(),
            grafana_password: secret(),
            jupyterhub_token: secret(),
            im_auth: Some(secret()),
        }
    }

    /// Words that stand for the secrets when a document is only looked at.
    pub fn placeholders() -> Self {
        let secret = |text: &str| SecretString::from(text.to_owned());
        Self {
            kubernetes_token: secret("kubernetes_token"),
            grafana_password: secret("grafana_password"),
            jupyterhub_token: secret("token1"),
            im_auth: Some(secret("im_auth")),
        }
    }
}

impl Template {
    /// The document that is sent to IM: **with secrets**.
    ///
    /// `image` is what the VMs start from, as IM writes it, such as `ost://host/id`.
    ///
    /// # Errors
    /// [`TemplateError`] when the template lacks an input or does not take a value.
    pub fn fill(
        &self,
        options: &DeployOptions,
        image: Option<&str>,
        secrets: &ToscaSecrets,
    ) -> Result<SecretString, TemplateError> {
        self.filled(options, image, secrets).map(SecretString::from)
    }

    /// The document for people: every secret is replaced by `secret`.
    ///
    /// # Errors
    /// As [`Template::fill`].
    pub fn fill_masked(
        &self,
        options: &DeployOptions,
        image: Option<&str>,
    ) -> Result<String, TemplateError> {
        self.filled(options, image, &ToscaSecrets::all("secret"))
    }

    /// The document with words that stand for the secrets.
    ///
    /// # Errors
    /// As [`Template::fill`].
    pub fn fill_with_placeholders(
        &self,
        options: &DeployOptions,
        image: Option<&str>,
    ) -> Result<String, TemplateError> {
        self.filled(options, image, &ToscaSecrets::placeholders())
    }

    fn filled(
        &self,
        options: &DeployOptions,
        image: Option<&str>,
        secrets: &ToscaSecrets,
    ) -> Result<String, TemplateError> {
        let mut document = self.document.clone();
        let name = infrastructure_name(&options.name);
        object(&mut document, "metadata").insert("infra_name".to_owned(), name.clone().into());
        let topology = object(&mut document, "topology_template");
        for (input, text) in self.values(options, secrets) {
            let value = self
                .input(input)
                .ok_or(TemplateError::Input { input })?
                .value(&text)
                .ok_or_else(|| TemplateError::Value {
                    input: input.to_owned(),
                })?;
            object(object(topology, "inputs"), input).insert("default".to_owned(), value);
        }
        for (node_name, node) in object(topology, "node_templates") {
            if let Value::Object(node) = node {
                set_node(node, &format!("{name}_{node_name}"), image, secrets);
            }
        }
        yaml::write(&Value::Object(document)).map_err(TemplateError::Write)
    }

    /// Every input that a deployment sets, with its value.
    fn values(
        &self,
        options: &DeployOptions,
        secrets: &ToscaSecrets,
    ) -> Vec<(&'static str, String)> {
        let (worker, frontend) = (&options.worker, &options.frontend);
        let secret = |secret: &SecretString| secret.expose_secret().to_owned();
        let mut values = vec![
            ("fe_cpus", frontend.cpus.to_string()),
            ("fe_mem", frontend.memory.to_string()),
            // The first worker node; CLUES adds and removes the others.
            ("wn_num", "1".to_owned()),
            ("wn_cpus", worker.cpus.to_string()),
            ("wn_mem", worker.memory.to_string()),
            ("kube_admin_token", secret(&secrets.kubernetes_token)),
            ("kube_cert_manager", "true".to_owned()),
            ("kube_public_dns_name", options.host.to_string()),
            // The values of the chart ask for the ingress class `nginx`.
            ("kube_ingress_type", "nginx".to_owned()),
            ("max_wn_num", options.workers_max.to_string()),
            ("min_wn_num", options.workers_min_free.to_string()),
            ("admin_password", secret(&secrets.grafana_password)),
        ];
        let size =
            |size: &Option<crate::domain::size::Size>| size.as_ref().map(ToString::to_string);
        let given = [
            ("fe_disk_size", size(&frontend.disk)),
            ("wn_disk_size", size(&worker.disk)),
            ("kube_version", options.kubernetes_version.clone()),
            ("kube_cert_user_email", options.email.clone()),
        ];
        values.extend(
            given
                .into_iter()
                .filter_map(|(input, text)| Some((input, text?))),
        );
        match self.method {
            Method::Helm => {}
            Method::Tosca => values.extend([
                ("jupyterhub_token", secret(&secrets.jupyterhub_token)),
                ("jupyterhub_image_name", options.image.name.clone()),
                ("jupyterhub_image_tag", options.image.tag.clone()),
            ]),
        }
        values
    }
}

fn set_node(
    node: &mut Map<String, Value>,
    instance_name: &str,
    image: Option<&str>,
    secrets: &ToscaSecrets,
) {
    match node.get("type").and_then(Value::as_str) {
        Some(COMPUTE) => {
            object(node, "properties").insert("instance_name".to_owned(), instance_name.into());
            if let Some(image) = image {
                let os = object(object(node, "capabilities"), "os");
                let properties = object(os, "properties");
                // A node with an image of its own keeps it.
                if properties.get("image").is_none_or(|image| image == "") {
                    properties.insert("image".to_owned(), image.into());
                }
            }
        }
        Some(ELASTIC_CLUSTER) => {
            if let Some(auth) = &secrets.im_auth {
                let properties = object(node, "properties");
                properties.insert("im_auth".to_owned(), auth.expose_secret().into());
            }
        }
        Some(_) | None => {}
    }
}
