//! The plan of `ops undo`: what undoing an operation takes away.

use super::{Draft, PlanError, Planner};
use crate::commands::value::Options;
use crate::domain::operation::{OperationState, StepState};
use crate::domain::plan::PlanContent;
use crate::operations::start::DEPLOY_COMMAND;

impl Planner {
    pub(super) async fn draft_undo(
        &self,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let text = options.text("operation").unwrap_or_default();
        let Some(operation) = self.store.operation_by_text(&text).await? else {
            return Ok(Err(vec![format!(
                "there is no operation `{}`",
                text.replace('`', "'")
            )]));
        };
        let may = match operation.state {
            OperationState::Stopped | OperationState::Failed | OperationState::Cancelled => true,
            OperationState::Queued
            | OperationState::Running
            | OperationState::Waiting
            | OperationState::Succeeded
            | OperationState::Undone => false,
        };
        if !may {
            return Ok(Err(vec![format!(
                "the state of operation `{}` is `{}`; only one that stopped can be undone",
                operation.id.short(),
                operation.state.as_str()
            )]));
        }
        let steps = self.store.steps(operation.id).await?;
        let done: Vec<String> = steps
            .iter()
            .rev()
            .filter(|step| step.state != StepState::Pending && step.state != StepState::Undone)
            .map(|step| step.name.clone())
            .collect();
        let content = PlanContent {
            summary: format!(
                "Undo `{}` of `{}` (operation `{}`)",
                operation.command,
                operation.target,
                operation.id.short()
            ),
            difference: done.iter().map(|step| format!("- {step}")).collect(),
            estimate: Vec::new(),
            warnings: warnings(&operation.command),
        };
        Ok(Ok(Draft {
            target: operation.target.clone(),
            options: serde_json::json!({"operation": operation.id}),
            target_revision: operation.attempt,
            steps: done,
            content,
            files: Vec::new(),
        }))
    }
}

fn warnings(command: &str) -> Vec<String> {
    if command == DEPLOY_COMMAND {
        vec![
            "The infrastructure is deleted with everything on it, user volumes included".to_owned(),
        ]
    } else {
        Vec::new()
    }
}
