//! `flavor show`: what CLUES believes of a worker node beside what was asked for and what there is.

use std::time::Duration;

use super::{LookError, Looks, Report, Tone};
use crate::domain::clues::NodeSize;
use crate::domain::cluster::Cluster;
use crate::domain::deploy::DeployOptions;
use crate::operations::StepError;
use crate::operations::clues::{real_size, smallest};
use crate::services::kubernetes::NodeState;

/// How long the front end and Kubernetes may take together.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// How many nodes are named.
const NAMED: usize = 15;

impl Looks {
    /// What CLUES believes of worker nodes; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails; a front end that does not answer is part of the report.
    pub async fn flavor(&self, name: &str) -> Result<Option<Report>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let title = format!("Worker nodes of `{}`", cluster.name);
        let look = tokio::time::timeout(LOOK_LIMIT, self.sizes(&cluster)).await;
        Ok(Some(match look {
            Ok(Ok((believed, workers))) => report(title, &cluster, believed, &workers),
            Ok(Err(error)) => Report::new(title, Tone::Bad, error.for_people()).hint(error.hint()),
            Err(_elapsed) => {
                let text = "the front end does not answer in time";
                Report::new(title, Tone::Bad, text).hint("try again")
            }
        }))
    }

    async fn sizes(&self, cluster: &Cluster) -> Result<(NodeSize, Vec<NodeState>), StepError> {
        let believed = self.services.believed_size(cluster, &self.vault).await?;
        let workers = self.services.workers(cluster, &self.vault).await?;
        Ok((believed, workers))
    }
}

fn report(title: String, cluster: &Cluster, believed: NodeSize, workers: &[NodeState]) -> Report {
    let name = &cluster.name;
    let asked: Option<DeployOptions> = serde_json::from_value(cluster.options.clone()).ok();
    let (tone, text, hint) = match smallest(workers) {
        Some(real) if real == believed => {
            (Tone::Good, "CLUES believes what is true".to_owned(), None)
        }
        Some(real) if believed.slots < real.slots || believed.memory < real.memory => (
            Tone::Bad,
            "CLUES believes nodes to be smaller than they are: it powers none on for pods that would fit".to_owned(),
            Some(format!("`/pangeo flavor set name:{name}` takes the real size")),
        ),
        Some(_) => (
            Tone::Warn,
            "CLUES believes nodes to be larger than they are: it powers some on for pods that don't fit".to_owned(),
            Some(format!("`/pangeo flavor set name:{name}` takes the real size")),
        ),
        None => (
            Tone::Neutral,
            "no worker node is on, so that nobody can compare".to_owned(),
            None,
        ),
    };
    let nodes: Vec<String> = workers
        .iter()
        .take(NAMED)
        .map(|node| {
            let size = real_size(node);
            let size = size.map_or_else(|| "unknown".to_owned(), |size| size.to_string());
            format!("{}: {size}", node.name)
        })
        .collect();
    let mut report = Report::new(title, tone, text)
        .field("CLUES believes", believed.to_string())
        .field(
            "Asked for",
            asked.map_or_else(
                || "unknown".to_owned(),
                |asked| format!("{} CPUs, {}", asked.worker.cpus, asked.worker.memory),
            ),
        );
    if !nodes.is_empty() {
        report = report.field("Kubernetes may use", nodes.join("\n"));
    }
    match hint {
        Some(hint) => report.hint(hint),
        None => report,
    }
}
