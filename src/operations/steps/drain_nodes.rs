//! `drain-nodes`: nothing runs any more on the nodes that are to be powered off.
//!
//! Lets Kubernetes put nothing new on them (cordon), then looks whose servers run there: unless the
//! plan was forced those are in the way, and nothing else happens until they have ended. Then the
//! other pods are evicted, which are made again elsewhere. Done already if nothing is left there.
//! Undo lets Kubernetes use the nodes again; what was evicted has been made again.

use async_trait::async_trait;

use crate::domain::clues::change::Moves;
use crate::operations::clues::of_kubernetes;
use crate::operations::nodes::{node_of, on_node};
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::kubernetes::Kubernetes;

/// See the module.
pub(super) struct DrainNodes;

#[async_trait]
impl Step for DrainNodes {
    fn name(&self) -> &'static str {
        "drain-nodes"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let moves: Moves = context.options()?;
        if moves.off.is_empty() {
            return Ok(Progress::done());
        }
        let kubernetes = api(context).await?;
        let nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
        let there = moves.off.iter().filter_map(|name| node_of(&nodes, name));
        let (mut in_the_way, mut left) = (Vec::new(), 0);
        for node in there {
            if !node.cordoned {
                context.still_ours().await?;
                let cordon = kubernetes.cordon(&node.name, true).await;
                cordon.map_err(of_kubernetes)?;
                context
                    .log(&format!("nothing new is put on {}", node.name))
                    .await?;
            }
            let found = on_node(&kubernetes, &node.name).await?;
            let whose = found.whose().filter(|_| !moves.forced);
            if let Some(whose) = whose {
                in_the_way.push(format!("{}: {whose}", node.name));
                continue;
            }
            for pod in found.users.iter().chain(&found.others) {
                // Nothing on a node that is not ready can end a pod; its machine's end does.
                left += usize::from(node.ready);
                if !pod.terminating {
                    context.still_ours().await?;
                    kubernetes.evict(pod).await.map_err(of_kubernetes)?;
                    context
                        .log(&format!("evicts {} from {}", pod.name, node.name))
                        .await?;
                }
            }
        }
        if !in_the_way.is_empty() {
            return Err(StepError::needs_human(
                format!("servers are in the way: {}", in_the_way.join("; ")),
                "nothing new is put on these nodes now: retry when the servers have ended, or undo; a new plan with `force` ends them",
            ));
        }
        if left > 0 {
            return Ok(Progress::Wait {
                after: context.services.settings.poll,
                note: format!("until {left} pods have ended"),
            });
        }
        Ok(Progress::done())
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let moves: Moves = context.options()?;
        if moves.off.is_empty() {
            return Ok(Undo::Undone);
        }
        let kubernetes = api(context).await?;
        let nodes = kubernetes.nodes().await.map_err(of_kubernetes)?;
        for name in &moves.off {
            if let Some(node) = node_of(&nodes, name).filter(|node| node.cordoned) {
                let cordon = kubernetes.cordon(&node.name, false).await;
                cordon.map_err(of_kubernetes)?;
            }
        }
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("let Kubernetes use the drained nodes again; pods that ended stay so")
    }

    fn when_stuck(&self) -> &'static str {
        "see with `kubectl get pods -A -o wide` what does not leave the nodes, then retry"
    }
}

async fn api(context: &StepContext<'_>) -> Result<Kubernetes, StepError> {
    let services = context.services;
    services.kubernetes(context.cluster, context.vault).await
}
