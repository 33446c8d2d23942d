//! The plan of `flavor set`: what CLUES shall believe of worker nodes.

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::clues::NodeSize;
use crate::domain::clues::change::SizeChange;
use crate::domain::cluster::Cluster;
use crate::domain::plan::PlanContent;
use crate::operations::StepError;
use crate::operations::clues::{of_clues, smallest};
use crate::services::clues::{VNODES, vnodes_of};

/// What the plan was made from.
struct Found {
    old: NodeSize,
    real: Option<NodeSize>,
    /// Nodes with a size of their own.
    own: usize,
}

impl Planner {
    pub(super) async fn draft_flavor_set(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let found = match self.node_sizes(&cluster).await {
            Ok(found) => found,
            Err(error) => {
                let problem = format!("{}; {}", error.for_people(), error.hint());
                return Ok(Err(vec![problem]));
            }
        };
        let slots = options
            .integer("cpus")
            .and_then(|cpus| u64::try_from(cpus).ok())
            .or(found.real.map(|real| real.slots));
        let memory = options
            .size("memory")
            .map(crate::domain::size::Size::bytes)
            .or(found.real.map(|real| real.memory));
        let (Some(slots), Some(memory)) = (slots, memory) else {
            return Ok(Err(vec![
                "no worker node is on that could tell its size: give `cpus` and `memory`, or power one on first".to_owned(),
            ]));
        };
        let new = NodeSize { slots, memory };
        let problems = problems(&found, new);
        if !problems.is_empty() {
            return Ok(Err(problems));
        }
        let change = SizeChange {
            old: found.old,
            new,
        };
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: serde_json::to_value(&change).unwrap_or_default(),
            target_revision: cluster.revision,
            steps: command.steps(),
            content: PlanContent {
                summary: format!(
                    "Tell CLUES of `{name}` that worker nodes have {new}, and restart it"
                ),
                difference: vec![
                    format!("- {} ({} bytes)", change.old, change.old.memory),
                    format!("+ {new} ({} bytes)", new.memory),
                ],
                estimate: Vec::new(),
                warnings: warnings(&found, new),
            },
            files: Vec::new(),
        }))
    }

    async fn node_sizes(&self, cluster: &Cluster) -> Result<Found, StepError> {
        let services = &self.services;
        let old = services.believed_size(cluster, &self.vault).await?;
        let clues = services.clues(cluster, &self.vault).await?;
        let file = clues.read(VNODES).await.map_err(of_clues)?;
        let own = vnodes_of(&file).map_err(of_clues)?.own_sizes().len();
        let workers = services.workers(cluster, &self.vault).await?;
        Ok(Found {
            old,
            real: smallest(&workers),
            own,
        })
    }
}

fn problems(found: &Found, new: NodeSize) -> Vec<String> {
    let mut problems = Vec::new();
    if found.old == new {
        problems.push(format!("CLUES counts with {new} already"));
    }
    if new.memory < 64 << 20 {
        problems.push("`memory`: no pod fits on less than 64 MiB".to_owned());
    }
    if found.own > 0 {
        problems.push(format!(
            "{} nodes have a size of their own in {VNODES}, so that another one would not count for them; take `cpu` and `memory` out there first",
            found.own
        ));
    }
    problems
}

fn warnings(found: &Found, new: NodeSize) -> Vec<String> {
    match found.real {
        Some(real) if new.slots > real.slots || new.memory > real.memory => vec![format!(
            "a real worker node has {real} only: CLUES will power nodes on for pods that then don't fit"
        )],
        Some(_) => Vec::new(),
        None => vec!["no worker node is on, so that nobody can compare".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(slots: u64, gib: u64) -> NodeSize {
        NodeSize {
            slots,
            memory: gib << 30,
        }
    }

    #[test]
    fn what_can_not_work_is_no_plan_and_what_may_not_is_warned_of() {
        let found = |own| Found {
            old: size(1, 1),
            real: Some(size(8, 32)),
            own,
        };
        assert_eq!(problems(&found(0), size(8, 32)), Vec::<String>::new());
        assert_eq!(problems(&found(0), size(1, 1)).len(), 1);
        assert_eq!(problems(&found(2), size(8, 32)).len(), 1);
        assert_eq!(problems(&found(0), size(1, 0)).len(), 1);
        assert_eq!(warnings(&found(0), size(8, 32)), Vec::<String>::new());
        assert_eq!(warnings(&found(0), size(8, 33)).len(), 1);
    }
}
