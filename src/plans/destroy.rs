//! The plan of `destroy`: what is lost with a cluster.

use std::time::Duration;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::plan::PlanContent;
use crate::services::kubernetes::{Kubernetes, VolumeClaim};

/// How long the cluster may take to tell what it holds.
const LOOK_LIMIT: Duration = Duration::from_secs(15);

/// How many volumes are named.
const VOLUMES_NAMED: usize = 15;

impl Planner {
    pub(super) async fn draft_destroy(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        match cluster.phase {
            Phase::Running | Phase::Failed => {}
            Phase::Deploying | Phase::Removed => {
                return Ok(Err(vec![format!(
                    "`{}` is {}; cancel and undo its operation instead, see `/pangeo ops list`",
                    cluster.name,
                    cluster.phase.as_str()
                )]));
            }
        }
        let content = PlanContent {
            summary: format!(
                "Delete cluster `{}` at https://{}/",
                cluster.name, cluster.host
            ),
            difference: self.losses(&cluster).await,
            estimate: Vec::new(),
            warnings: vec![
                "nothing of it can be brought back: user volumes, hub database, infrastructure"
                    .to_owned(),
            ],
        };
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: serde_json::json!({
                "name": cluster.name,
                "infrastructure": cluster.infrastructure,
            }),
            target_revision: cluster.revision,
            steps: command.steps(),
            content,
            files: Vec::new(),
        }))
    }

    /// What goes, a line each; what can't be looked up is said to be unknown.
    async fn losses(&self, cluster: &Cluster) -> Vec<String> {
        let mut lines = Vec::new();
        match self.volumes(cluster).await {
            Ok(volumes) => {
                lines.extend(
                    volumes
                        .iter()
                        .take(VOLUMES_NAMED)
                        .map(|volume| format!("- volume {} of {}", volume.name, volume.size)),
                );
                if volumes.len() > VOLUMES_NAMED {
                    let more = volumes.len() - VOLUMES_NAMED;
                    lines.push(format!("- {more} volumes more"));
                }
            }
            Err(why) => lines.push(format!("- all user volumes; how many is unknown: {why}")),
        }
        lines.push("- release daskhub".to_owned());
        if let Some(id) = &cluster.infrastructure {
            lines.push(format!("- infrastructure {id} with all its VMs"));
        }
        lines.push(format!("- DNS record of {}", cluster.host));
        lines.push("- sealed secrets: keys, tokens, DNS secret, Check-in client".to_owned());
        lines
    }

    async fn volumes(&self, cluster: &Cluster) -> Result<Vec<VolumeClaim>, String> {
        let look = async {
            let frontend = self
                .services
                .frontend(cluster, &self.vault)
                .await
                .map_err(|error| error.for_people())?;
            let kubernetes = Kubernetes::connect(frontend)
                .await
                .map_err(|error| error.to_string())?;
            kubernetes
                .volume_claims(&self.services.settings.helm.namespace)
                .await
                .map_err(|error| error.to_string())
        };
        tokio::time::timeout(LOOK_LIMIT, look)
            .await
            .unwrap_or_else(|_elapsed| Err("the front end does not answer".to_owned()))
    }
}
