//! What people may do with an operation that exists: cancel, retry, resume, leave.

use std::sync::Arc;
use std::time::Duration;

use super::start::lock_against;
use crate::commands::Catalogue;
use crate::domain::operation::{Operation, OperationState};
use crate::domain::person::Person;
use crate::store::{Store, StoreError};

/// How a person's wish went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controlled {
    /// It is done; the text says what follows.
    Done(String),
    /// There is no operation with this id.
    NoSuchOperation,
    /// The operation is not in a state in which that can be done.
    NotPossible {
        /// Where it stands.
        state: OperationState,
        /// What can be done instead.
        hint: String,
    },
}

/// Cancels, retries, resumes and leaves operations. Who may is decided before, by `chat`.
#[derive(Clone, Debug)]
pub struct Control {
    store: Store,
    catalogue: Arc<Catalogue>,
    time_limit: Duration,
}

impl Control {
    /// Over a store; an operation that is taken up again gets `time_limit` anew.
    pub fn new(store: Store, catalogue: Arc<Catalogue>, time_limit: Duration) -> Self {
        Self {
            store,
            catalogue,
            time_limit,
        }
    }

    /// The operation that a person means: its whole id or the 8 digits that are shown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, operation: &str) -> Result<Option<Operation>, StoreError> {
        self.store.operation_by_text(operation.trim()).await
    }

    /// Asks a running operation to stop before its next step; the audit keeps the reason.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel(
        &self,
        operation: &str,
        by: &Person,
        reason: Option<&str>,
    ) -> Result<Controlled, StoreError> {
        let Some(found) = self.find(operation).await? else {
            return Ok(Controlled::NoSuchOperation);
        };
        if self.store.request_cancel(found.id, by.id, reason).await? {
            return Ok(Controlled::Done(format!(
                "operation `{}` stops after what it is doing now; then choose to undo, retry or leave it",
                found.id.short()
            )));
        }
        self.not_possible(&found).await
    }

    /// Lets a stopped or left operation go on from the step that failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry(&self, operation: &str, by: &Person) -> Result<Controlled, StoreError> {
        let Some(found) = self.find(operation).await? else {
            return Ok(Controlled::NoSuchOperation);
        };
        let command = self.catalogue.get(&found.command);
        let event = match found.plan {
            Some(plan) => self.store.event_of_plan(plan).await?,
            None => None,
        };
        let target = (found.target.as_str(), event);
        if let Some(lock) = lock_against(&self.store, command, target).await? {
            return Ok(Controlled::NotPossible {
                state: found.state,
                hint: lock.refusal(&found.target),
            });
        }
        if self
            .store
            .take_up_again(found.id, by.id, self.time_limit)
            .await?
        {
            return Ok(Controlled::Done(format!(
                "operation `{}` goes on from the step that stopped it",
                found.id.short()
            )));
        }
        self.not_possible(&found).await
    }

    /// Lets an operation go on now: one that waits looks at once, one that stopped for a person
    /// goes on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume(&self, operation: &str, by: &Person) -> Result<Controlled, StoreError> {
        let Some(found) = self.find(operation).await? else {
            return Ok(Controlled::NoSuchOperation);
        };
        if self.store.wake_operation(found.id).await? {
            return Ok(Controlled::Done(format!(
                "operation `{}` looks again now",
                found.id.short()
            )));
        }
        if found.state == OperationState::Stopped {
            return self.retry(operation, by).await;
        }
        self.not_possible(&found).await
    }

    /// Leaves a stopped operation as it is, so that others may run on its target.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave(&self, operation: &str, by: &Person) -> Result<Controlled, StoreError> {
        let Some(found) = self.find(operation).await? else {
            return Ok(Controlled::NoSuchOperation);
        };
        if self.store.leave_operation(found.id, by.id).await? {
            return Ok(Controlled::Done(format!(
                "operation `{}` is left as it is; everything that it made stays and counts",
                found.id.short()
            )));
        }
        self.not_possible(&found).await
    }

    async fn not_possible(&self, found: &Operation) -> Result<Controlled, StoreError> {
        let fresh = self.store.operation(found.id).await?;
        let state = fresh.map_or(found.state, |operation| operation.state);
        let hint = match state {
            OperationState::Queued | OperationState::Running | OperationState::Waiting => {
                "it is under way: it can be cancelled, or left to finish"
            }
            OperationState::Stopped => "it has stopped: retry it, undo it or leave it",
            OperationState::Failed | OperationState::Cancelled => {
                "it was left: it can be retried or undone while no newer operation of its target exists"
            }
            OperationState::Succeeded => {
                "nothing is left to do; `/pangeo status` shows the cluster"
            }
            OperationState::Undone => "it was undone; run the command again for a new plan",
        };
        Ok(Controlled::NotPossible {
            state,
            hint: hint.to_owned(),
        })
    }
}
