//! What completes while somebody types.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::Planner;
use super::values::place::known_places;
use crate::commands::Complete;
use crate::domain::chart::Chart;
use crate::domain::deploy::{DeployOptions, Method};
use crate::domain::images::dated;
use crate::domain::yaml;
use crate::operations::values::text_of;

/// How long who types may wait for a registry.
const TYPING: Duration = Duration::from_millis(1500);

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
            Complete::ImageTags => self.image_tags(so_far).await,
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
        let Ok(source) = self.store.chart_source(&cluster).await else {
            return Vec::new();
        };
        let version = cluster.chart_version.clone().unwrap_or_default();
        let chart = Chart { source, version };
        let schemas = self.schemas.remembered(&chart);
        if schemas.is_none() {
            // Who types can't wait for a front end; the next letter finds more.
            self.read_schemas_meanwhile(cluster, chart);
        }
        known_places(&tree, &schemas.unwrap_or_default())
    }

    /// Tags of an image, those with a day first. Who types waits for a registry only once.
    async fn image_tags(&self, so_far: &BTreeMap<String, String>) -> Vec<String> {
        let image = match (so_far.get("image"), so_far.get("name")) {
            (Some(image), _) => Some(image.clone()),
            (None, Some(name)) => self.image_of(name).await,
            (None, None) => None,
        };
        let Some(image) = image else {
            return Vec::new();
        };
        let registries = &self.services.registries;
        let tags = match registries.remembered(&image) {
            Some(tags) => tags,
            None => match tokio::time::timeout(TYPING, registries.tags(&image)).await {
                Ok(Ok(tags)) => tags,
                Ok(Err(_)) | Err(_) => return Vec::new(),
            },
        };
        let dated = dated(&tags);
        let others = tags.iter().map(String::as_str);
        let others = others.filter(|tag| !dated.contains(tag));
        let all = dated.iter().copied().chain(others);
        all.map(str::to_owned).collect()
    }

    /// The image of notebooks of a cluster, from the rows.
    async fn image_of(&self, name: &str) -> Option<String> {
        let cluster = self.store.cluster_by_name(name).await.ok().flatten()?;
        let text = text_of(&self.vault, cluster.id, cluster.revision).await;
        let tree = yaml::read(text.ok().flatten()?.expose_secret()).ok()?;
        let name = tree.pointer("/jupyterhub/singleuser/image/name");
        name.and_then(serde_json::Value::as_str).map(str::to_owned)
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
