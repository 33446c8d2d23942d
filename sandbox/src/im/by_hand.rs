//! Infrastructures that a person makes without the bot, as IM's dashboard does it for them: the
//! template with its additions, filled in, over the server's own API.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use super::api::TEMPLATES;
use super::{Im, tosca};

/// What the machines start from.
const IMAGE: &str = "ost://sandbox/ubuntu-jammy";

/// The templates of an elastic cluster with Grafana, the base first.
const CHOSEN: [&str; 3] = [
    "kubernetes.yaml",
    "kubernetes_elastic.yaml",
    "prometheus.yaml",
];

/// How long the machines may take.
const PATIENCE: Duration = Duration::from_mins(3);

impl Im {
    /// Sends a filled template with a person's access token; answers the id.
    ///
    /// # Errors
    /// When IM refuses it.
    pub async fn create_by_hand(
        &self,
        token: &str,
        name: &str,
        inputs: &[(&str, Value)],
    ) -> anyhow::Result<String> {
        let uri = self
            .asks_by_hand(
                "POST",
                "/infrastructures?async=1",
                token,
                template(name, inputs)?,
            )
            .await?;
        let id = uri.trim().rsplit('/').next().unwrap_or_default();
        Ok(id.to_owned())
    }

    /// Has the machines configured again, as the button *Reconfigure* does.
    ///
    /// # Errors
    /// When IM refuses it.
    pub async fn reconfigure_by_hand(&self, token: &str, id: &str) -> anyhow::Result<()> {
        let path = format!("/infrastructures/{id}/reconfigure");
        self.asks_by_hand("PUT", &path, token, String::new())
            .await
            .map(drop)
    }

    /// Waits until an infrastructure was configured so many times.
    ///
    /// # Errors
    /// When it fails, is deleted or takes too long.
    pub async fn wait_until_configured(&self, id: &str, times: u32) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            look.tick().await;
            let views = self.infrastructures();
            let view = views.iter().find(|view| view.id == id);
            let view = view.context("the infrastructure is gone")?;
            match view.state.as_str() {
                "configured" if view.configured >= times => return Ok(()),
                "failed" | "unconfigured" => bail!("the infrastructure is {}", view.state),
                _on_its_way => {}
            }
        }
        bail!("the infrastructure is not configured in time")
    }

    async fn asks_by_hand(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: String,
    ) -> anyhow::Result<String> {
        let authorization = format!(
            "id = im; type = InfrastructureManager; token = {token}\\nid = egi; type = EGI; \
             host = SANDBOX; vo = vo.pangeo.eu; token = {token}"
        );
        let answer = reqwest::Client::new()
            .request(method.parse()?, format!("{}{path}", self.url()))
            .header("authorization", authorization)
            .header("content-type", "text/yaml")
            .body(body)
            .send()
            .await
            .context("ask IM")?;
        let status = answer.status();
        let text = answer.text().await.context("read IM's answer")?;
        anyhow::ensure!(status.is_success(), "IM refuses it: {text}");
        Ok(text)
    }
}

/// The template of an elastic cluster with these inputs.
fn template(name: &str, inputs: &[(&str, Value)]) -> anyhow::Result<String> {
    let read = |file: &str| -> anyhow::Result<Value> {
        let known = TEMPLATES.iter().find(|(known, _text)| *known == file);
        let (_name, text) = known.with_context(|| format!("no template {file}"))?;
        serde_saphyr::from_str(text).with_context(|| format!("read {file}"))
    };
    let [base, additions @ ..] = CHOSEN;
    let mut document = read(base)?;
    for file in additions {
        let addition = read(file)?;
        let part = addition.get("topology_template");
        tosca::merge(&mut document, &json!({ "topology_template": part }));
    }
    let inputs = inputs.iter().map(|(input, value)| {
        let filled = json!({ "default": value });
        ((*input).to_owned(), filled)
    });
    let image = json!({"capabilities": {"os": {"properties": {"image": IMAGE}}}});
    let filled = json!({
        "metadata": {"infra_name": name},
        "topology_template": {
            "inputs": inputs.collect::<Map<_, _>>(),
            "node_templates": {"front": image, "wn": image},
        },
    });
    tosca::merge(&mut document, &filled);
    serde_saphyr::to_string(&document).context("write the template")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_template_describes_an_elastic_cluster() {
        let inputs = [("max_wn_num", 7.into()), ("wn_num", 2.into())];
        let design = tosca::read(&template("geo", &inputs).unwrap()).unwrap();
        assert_eq!(design.name.as_deref(), Some("geo"));
        assert_eq!(design.inputs["max_wn_num"], 7);
        let counts: Vec<usize> = design.systems.iter().map(|system| system.count).collect();
        assert_eq!(counts, [1, 2]);
        assert!(
            design
                .systems
                .iter()
                .all(|system| system.image.as_deref() == Some(IMAGE))
        );
    }
}
