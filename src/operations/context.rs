//! What a step may touch.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StepError;
use super::services::Services;
use crate::domain::cluster::Cluster;
use crate::domain::deploy::DeployOptions;
use crate::domain::operation::{Operation, StepRow};
use crate::domain::redact::Redactor;
use crate::store::operations::Claim;
use crate::store::secrets::SecretOwner;
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

/// The longest line that goes into a log, in characters; a longer one is cut.
const LONGEST_LINE: usize = 4_000;

/// What a step may touch while it runs.
#[derive(Debug)]
pub struct StepContext<'a> {
    /// The outside systems.
    pub services: &'a Services,
    /// The rows.
    pub store: &'a Store,
    /// The secrets.
    pub vault: &'a Vault,
    /// The operation.
    pub operation: &'a Operation,
    /// Its cluster, as it stood when the step began.
    pub cluster: &'a Cluster,
    /// All steps of the operation, as they stood when this one began.
    pub steps: &'a [StepRow],
    /// This step's own row.
    pub step: &'a StepRow,
    pub(super) claim: Claim,
    pub(super) redactor: &'a Redactor,
}

impl StepContext<'_> {
    /// The options of the operation's command, as its plan kept them.
    ///
    /// # Errors
    /// When they were written by a version that this one does not understand.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, StepError> {
        readable("the options of an operation", &self.operation.options)
    }

    /// The options with which the cluster was deployed, whatever this operation is.
    ///
    /// # Errors
    /// When they were written by a version that this one does not understand.
    pub fn deploy_options(&self) -> Result<DeployOptions, StepError> {
        readable("the options of a cluster", &self.cluster.options)
    }

    /// What an earlier step handed on.
    ///
    /// # Errors
    /// When that step is not there or its output does not read: a fault of the command file.
    pub fn output_of<T: DeserializeOwned>(&self, step: &str) -> Result<T, StepError> {
        let row = self.steps.iter().find(|row| row.name == step);
        let output = row.map(|row| row.output.clone()).unwrap_or_default();
        serde_json::from_value(output).map_err(|error| StepError::Fatal {
            reason: format!("the step `{step}` has not run before `{}`", self.step.name),
            hint: "this is a fault of the command file; tell whoever runs the bot".to_owned(),
            source: Some(error.into()),
        })
    }

    /// What this step learnt in an earlier run.
    pub fn learnt_before<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.step.output.clone()).ok()
    }

    /// Keeps what was just learnt, before anything else happens.
    ///
    /// # Errors
    /// When the database fails or the operation was taken over.
    pub async fn learn<T: Serialize + Sync>(&self, value: &T) -> Result<(), StepError> {
        let value = serde_json::to_value(value).map_err(|error| {
            StepError::Store(StoreError::Unreadable {
                what: "a step's output",
                problem: error.to_string(),
            })
        })?;
        Ok(self
            .store
            .step_learnt(self.claim, &self.step.name, &value)
            .await?)
    }

    /// Shows what the step is doing, one line.
    ///
    /// # Errors
    /// When the database fails or the operation was taken over.
    pub async fn note(&self, note: &str) -> Result<(), StepError> {
        let note = self.redactor.redact(note);
        Ok(self
            .store
            .step_note(self.claim, &self.step.name, &note)
            .await?)
    }

    /// Appends text to the operation's log, redacted, line by line.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log(&self, text: &str) -> Result<(), StepError> {
        let redacted = self.redactor.redact(text);
        let lines: Vec<String> = redacted
            .lines()
            .map(|line| {
                line.trim_end()
                    .chars()
                    .take(LONGEST_LINE)
                    .collect::<String>()
            })
            .filter(|line| !line.is_empty())
            .collect();
        Ok(self
            .store
            .append_log(self.operation.id, &self.step.name, &lines)
            .await?)
    }

    /// Checks that the claim still holds, right before an effect.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another replica took the operation over.
    pub async fn still_ours(&self) -> Result<(), StepError> {
        Ok(self
            .store
            .prolong_lease(self.claim, self.services.settings.lease)
            .await?)
    }

    /// The owner of the cluster's secrets.
    pub fn cluster_secrets(&self) -> SecretOwner {
        SecretOwner::Cluster(self.cluster.id)
    }

    /// The owner of the host's secrets.
    pub fn host_secrets(&self) -> SecretOwner {
        SecretOwner::Host(self.cluster.host.clone())
    }
}

fn readable<T: DeserializeOwned>(
    what: &'static str,
    value: &serde_json::Value,
) -> Result<T, StepError> {
    serde_json::from_value(value.clone()).map_err(|error| {
        StepError::Store(StoreError::Unreadable {
            what,
            problem: error.to_string(),
        })
    })
}
