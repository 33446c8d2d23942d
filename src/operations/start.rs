//! From an approved plan to an operation.

use std::time::Duration;

use super::steps;
use crate::approvals::{Approvals, Decision};
use crate::commands::{Catalogue, Command};
use crate::domain::adoption::Adoption;
use crate::domain::cluster::NewCluster;
use crate::domain::deploy::DeployOptions;
use crate::domain::ids::{ClusterId, EventId, OperationId, PlanId};
use crate::domain::lock::Lock;
use crate::domain::operation::OperationState;
use crate::domain::plan::{Plan, PlanState};
use crate::domain::runbook::Runbook;
use crate::domain::token::{EVERY_CLUSTER, RenewOptions};
use crate::store::operations::{StartOn, Started};
use crate::store::{Store, StoreError};

/// The command whose plans undo an operation.
pub const UNDO_COMMAND: &str = "ops undo";

/// The command that creates a cluster.
pub const DEPLOY_COMMAND: &str = "deploy";

/// The command that takes a cluster that is there into the inventory.
pub const ADOPT_COMMAND: &str = "adopt";

/// Whether a command brings a cluster into the inventory, and its undo takes it out again; all
/// others are about one that is in it.
pub fn brings_cluster(command: &str) -> bool {
    [DEPLOY_COMMAND, ADOPT_COMMAND].contains(&command)
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// Its operation was created, and it is its turn.
    Started(OperationId),
    /// Its operation was created and waits behind another one.
    Queued {
        /// It.
        operation: OperationId,
        /// The one whose turn it is.
        behind: OperationId,
        /// Whether that waits for a person.
        is_stopped: bool,
    },
    /// More grants are needed.
    Waiting {
        /// Grants that count.
        given: u32,
        /// Grants that start it.
        needed: u32,
    },
    /// The target changed meanwhile; the text says how.
    Void(String),
    /// It had ended before.
    Ended,
}

/// Why a plan could not be started although it may.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan was made by a version of the bot that this one does not understand.
    #[error("the options of plan {plan} do not read")]
    Options {
        /// The plan.
        plan: PlanId,
        /// What does not read.
        #[source]
        source: serde_json::Error,
    },
    /// The command has no operation, or is not known any more.
    #[error("the command `{command}` starts no operation")]
    NoOperation {
        /// The command.
        command: String,
    },
}

/// Starts approved plans. Calling it twice, or on two replicas, starts one operation.
#[derive(Clone, Debug)]
pub struct Starter {
    store: Store,
    approvals: Approvals,
    catalogue: std::sync::Arc<Catalogue>,
}

impl Starter {
    /// Over its parts.
    pub fn new(store: Store, catalogue: std::sync::Arc<Catalogue>) -> Self {
        Self {
            approvals: Approvals::new(store.clone()),
            store,
            catalogue,
        }
    }

    /// Counts the grants of a plan, and creates its operation if they suffice and the target is
    /// still as the plan saw it. Says the same of an operation that was created meanwhile.
    ///
    /// # Errors
    /// [`StartError`]; the plan waits on.
    pub async fn start_if_approved(&self, id: PlanId) -> Result<StartOutcome, StartError> {
        match self.approvals.decide(id).await? {
            Decision::Waiting { given, needed } => Ok(StartOutcome::Waiting { given, needed }),
            // The same approval may have started it elsewhere: by the reaction beside the button.
            Decision::NotWaiting => match self.store.operation_of_plan(id).await? {
                Some(operation) => self.turn(&operation.target, operation.id).await,
                None => Ok(StartOutcome::Ended),
            },
            Decision::Refused { .. } => Ok(StartOutcome::Ended),
            Decision::Approved { .. } => {
                let Some(plan) = self.store.plan(id).await? else {
                    return Ok(StartOutcome::Ended);
                };
                self.start(&plan).await
            }
        }
    }

    async fn start(&self, plan: &Plan) -> Result<StartOutcome, StartError> {
        let command = &plan.essence.command;
        // A runbook says it itself, so that it starts as approved whatever became of its file.
        let time_limit = match Runbook::of(&plan.essence.options) {
            Some(runbook) => Duration::from_secs(runbook.time_limit_s),
            None => self.time_limit(command)?,
        };
        let event = self.store.event_of_plan(plan.id).await?;
        let known = self.catalogue.get(command);
        let target = (plan.essence.target.as_str(), event);
        if let Some(lock) = lock_against(&self.store, known, target).await? {
            let why = lock.refusal(&plan.essence.target);
            return self.void(plan, &why).await;
        }
        let started = if command == UNDO_COMMAND {
            let Some(operation) = self.store.operation_by_text(&undo_target(plan)).await? else {
                return self.void(plan, "the operation is not there any more").await;
            };
            self.store.start_undo(plan, operation.id, time_limit).await
        } else {
            let cluster = self.store.cluster_by_name(&plan.essence.target).await?;
            let current = cluster.as_ref().map_or(0, |cluster| cluster.revision);
            if current != plan.essence.target_revision {
                let why = format!("`{}` is at revision {current} now", plan.essence.target);
                return self.void(plan, &why).await;
            }
            match cluster {
                _ if brings_cluster(command) => {
                    let new = new_cluster(plan)?;
                    self.store.start(plan, StartOn::New(&new), time_limit).await
                }
                Some(cluster) => {
                    let on = StartOn::Existing(cluster.id);
                    self.store.start(plan, on, time_limit).await
                }
                None if plan.essence.target == EVERY_CLUSTER => {
                    let on = StartOn::Existing(anchor(plan)?);
                    self.store.start(plan, on, time_limit).await
                }
                None => return self.void(plan, "the cluster is not there any more").await,
            }
        };
        match started {
            Ok(Started::New(id)) => self.turn(&plan.essence.target, id).await,
            Ok(Started::NotWaiting) => Ok(StartOutcome::Ended),
            Ok(Started::Drifted) => {
                self.void(plan, "the operation went on since the plan was made, or a newer one changed its target")
                    .await
            }
            Err(StoreError::Taken { what }) => {
                self.void(
                    plan,
                    &format!("a cluster with the same {what} exists meanwhile"),
                )
                .await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it is the turn of an operation that was created.
    async fn turn(&self, target: &str, id: OperationId) -> Result<StartOutcome, StartError> {
        let open = self.store.open_operations(target).await?;
        Ok(match open.first() {
            Some(first) if first.id != id => StartOutcome::Queued {
                operation: id,
                behind: first.id,
                is_stopped: first.state == OperationState::Stopped,
            },
            Some(_) | None => StartOutcome::Started(id),
        })
    }

    async fn void(&self, plan: &Plan, why: &str) -> Result<StartOutcome, StartError> {
        if self
            .store
            .end_plan(plan.id, PlanState::Void, why, None)
            .await?
        {
            Ok(StartOutcome::Void(why.to_owned()))
        } else {
            Ok(StartOutcome::Ended)
        }
    }

    fn time_limit(&self, command: &str) -> Result<Duration, StartError> {
        self.catalogue
            .get(command)
            .and_then(|command| command.operation.as_ref())
            .map(|operation| operation.time_limit)
            .ok_or_else(|| StartError::NoOperation {
                command: command.to_owned(),
            })
    }
}

/// The lock that is in the way of a command on a target; a command that is not known any more goes
/// under none, and what runs for an event goes under the event's.
pub(crate) async fn lock_against(
    store: &Store,
    command: Option<&Command>,
    (target, event): (&str, Option<EventId>),
) -> Result<Option<Lock>, StoreError> {
    if command.is_some_and(Command::goes_under_lock) {
        return Ok(None);
    }
    store.lock_on(target, event).await
}

/// The id of the operation that an undo plan is about.
fn undo_target(plan: &Plan) -> String {
    let text = plan
        .essence
        .options
        .get("operation")
        .and_then(serde_json::Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn new_cluster(plan: &Plan) -> Result<NewCluster, StartError> {
    let unreadable = |source| StartError::Options {
        plan: plan.id,
        source,
    };
    let options = plan.essence.options.clone();
    if plan.essence.command == ADOPT_COMMAND {
        let adoption: Adoption = serde_json::from_value(options).map_err(unreadable)?;
        let deployed = adoption.deployed.as_ref().map(serde_json::to_value);
        return Ok(NewCluster {
            name: adoption.name,
            host: adoption.host,
            owner: adoption.owner,
            purpose: adoption.purpose,
            contact: adoption.contact,
            ends_on: adoption.ends_on,
            kubernetes_version: adoption.kubernetes_version,
            options: deployed
                .transpose()
                .map_err(unreadable)?
                .unwrap_or_else(|| serde_json::json!({})),
        });
    }
    let deploy: DeployOptions = serde_json::from_value(options.clone()).map_err(unreadable)?;
    Ok(NewCluster {
        name: deploy.name,
        host: deploy.host,
        owner: plan.requester,
        purpose: deploy.purpose,
        contact: deploy.contact,
        ends_on: deploy.ends_on,
        kubernetes_version: deploy.kubernetes_version,
        options,
    })
}

/// The cluster to which an operation on several belongs.
fn anchor(plan: &Plan) -> Result<ClusterId, StartError> {
    let options: Result<RenewOptions, _> = serde_json::from_value(plan.essence.options.clone());
    let options = options.map_err(|source| StartError::Options {
        plan: plan.id,
        source,
    })?;
    Ok(options.anchor)
}

/// The names of all steps, for the check of the command files.
pub fn known_steps() -> Vec<&'static str> {
    steps::Registry::all().names()
}
