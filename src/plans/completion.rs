//! What completes while somebody types.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use super::Planner;
use super::values::place::known_places;
use crate::commands::Complete;
use crate::domain::deploy::{DeployOptions, Method};
use crate::domain::yaml;
use crate::operations::values::text_of;

/// Discord shows no more.
const SHOWN: usize = 25;

impl Planner {
    /// Up to 25 values that contain what was typed. A source that does not answer completes to
    /// nothing, since a completion has no place for an error.
    pub async fn complete(
        &self,
        source: &Complete,
        typed: &str,
        so_far: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let all = match source {
            Complete::Clusters => self.cluster_names().await,
            Complete::Hosts => self.hosts().await,
            Complete::Operations => self.operations().await,
            Complete::Schedules => self.schedules().await,
            // `chat` completes these with their titles.
            Complete::Alerts | Complete::Events => Vec::new(),
            Complete::Credentials => self.services.settings.credential_names(),
            Complete::SiteImages => self.site_images(so_far.get("credential")).await,
            Complete::ChartVersions => self.settings.known_charts.clone(),
            Complete::Commands => self
                .catalogue
                .commands()
                .map(|command| command.name())
                .collect(),
            Complete::ValuesPaths => self.values_paths(so_far.get("name")).await,
            Complete::Nodes => self.nodes(so_far.get("name")).await,
            Complete::Template(input) => self.template_values(input).await,
        };
        let typed = typed.to_lowercase();
        all.into_iter()
            .filter(|one| one.to_lowercase().contains(&typed))
            .take(SHOWN)
            .collect()
    }

    /// What was read last, so that a slow source does not hold up who types.
    async fn template_values(&self, input: &str) -> Vec<String> {
        let templates = &self.services.templates;
        let template = match templates.remembered(Method::Helm) {
            Some(template) => Some(template),
            None => templates.fetch(Method::Helm).await.ok(),
        };
        template
            .map(|template| template.allowed(input))
            .unwrap_or_default()
    }

    async fn cluster_names(&self) -> Vec<String> {
        let clusters = self.store.clusters().await.unwrap_or_default();
        clusters
            .into_iter()
            .map(|cluster| cluster.name.to_string())
            .collect()
    }

    /// As IM and CLUES name them; nobody is asked, so that it is fast.
    async fn nodes(&self, name: Option<&String>) -> Vec<String> {
        let name = name.map(String::as_str).unwrap_or_default();
        let cluster = self.store.cluster_by_name(name).await.ok().flatten();
        let options = cluster.map(|cluster| cluster.options);
        let options: Option<DeployOptions> =
            options.and_then(|options| serde_json::from_value(options).ok());
        let max = options.map_or(0, |options| options.workers_max);
        (1..=max).map(|number| format!("wn{number}")).collect()
    }

    async fn hosts(&self) -> Vec<String> {
        let clusters = self.store.clusters().await.unwrap_or_default();
        let mut hosts: Vec<String> = clusters.into_iter().map(|c| c.host.to_string()).collect();
        let secrets = self.store.all_secrets().await.unwrap_or_default();
        hosts.extend(
            secrets
                .into_iter()
                .filter(|row| row.owner_kind == "host")
                .map(|row| row.owner),
        );
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Places in the values of a cluster, from the rows and from schemas that were read before.
    async fn values_paths(&self, name: Option<&String>) -> Vec<String> {
        let Some(name) = name else {
            return Vec::new();
        };
        let Ok(Some(cluster)) = self.store.cluster_by_name(name).await else {
            return Vec::new();
        };
        let text = text_of(&self.vault, cluster.id, cluster.revision).await;
        let tree = text
            .ok()
            .flatten()
            .and_then(|text| yaml::read(text.expose_secret()).ok())
            .unwrap_or_default();
        let version = cluster.chart_version.clone().unwrap_or_default();
        let schemas = self.schemas.remembered(&version);
        if schemas.is_none() {
            // Who types can't wait for a front end; the next letter finds more.
            self.read_schemas_meanwhile(cluster, version);
        }
        known_places(&tree, &schemas.unwrap_or_default())
    }

    async fn operations(&self) -> Vec<String> {
        let operations = self
            .store
            .recent_operations(None, 25)
            .await
            .unwrap_or_default();
        operations
            .into_iter()
            .map(|operation| operation.id.short())
            .collect()
    }

    async fn schedules(&self) -> Vec<String> {
        let schedules = self.store.schedules(None).await.unwrap_or_default();
        schedules
            .into_iter()
            .map(|schedule| schedule.id.short())
            .collect()
    }

    async fn site_images(&self, credential: Option<&String>) -> Vec<String> {
        let settings = &self.services.settings;
        let Some(credential) = settings.credential_named(credential.map(String::as_str)) else {
            return Vec::new();
        };
        let images = self
            .services
            .im
            .images(&credential.name)
            .await
            .unwrap_or_default();
        images.into_iter().map(|image| image.uri).collect()
    }
}
