//! The plan of `ops undo`: what undoing an operation takes away.

use super::{Draft, PlanError, Planner};
use crate::commands::value::Options;
use crate::domain::operation::{OperationState, StepRow, StepState};
use crate::domain::plan::PlanContent;
use crate::operations::Step;
use crate::operations::start::DEPLOY_COMMAND;
use crate::operations::steps::Registry;

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
        let done = begun(&steps).map(|step| step.name.clone()).collect();
        let content = PlanContent {
            summary: format!(
                "Undo `{}` of `{}` (operation `{}`)",
                operation.command,
                operation.target,
                operation.id.short()
            ),
            difference: difference(&operation.options, &steps),
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

/// What the undo of each step does, in the order in which they are undone; what is only read or
/// waited for comes together at the end.
fn difference(options: &serde_json::Value, steps: &[StepRow]) -> Vec<String> {
    let registry = Registry::all();
    let (mut lines, mut nothing) = (Vec::new(), Vec::new());
    for step in begun(steps) {
        let known = registry.find(options, &step.name);
        let words = known.map(Step::undo_words);
        match words {
            Some(Some(words)) if words.starts_with("nothing") => {
                lines.push(format!("  {}: {words}", step.name));
            }
            Some(Some(words)) => lines.push(format!("- {}: {words}", step.name)),
            Some(None) => nothing.push(step.name.as_str()),
            None => lines.push(format!("  {}: this bot does not know it", step.name)),
        }
    }
    if !nothing.is_empty() {
        lines.push(format!("  nothing to take back of {}", nothing.join(", ")));
    }
    lines
}

/// The steps that may have done something, the last one first.
fn begun(steps: &[StepRow]) -> impl Iterator<Item = &StepRow> {
    let may = |step: &&StepRow| match step.state {
        StepState::Running | StepState::Done | StepState::Failed | StepState::Left => true,
        StepState::Pending | StepState::Undone => false,
    };
    steps.iter().rev().filter(may)
}

fn warnings(command: &str) -> Vec<String> {
    if command == DEPLOY_COMMAND {
        vec![
            "the infrastructure is deleted with everything on it, user volumes included".to_owned(),
        ]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, state: StepState) -> StepRow {
        StepRow {
            name: name.to_owned(),
            state,
            attempts: 1,
            intent_at: None,
            result_at: None,
            output: serde_json::json!({}),
            note: None,
            error: None,
        }
    }

    #[test]
    fn the_plan_says_what_each_undo_does_and_leaves_out_what_never_began() {
        let steps = [
            step("check-dns-name", StepState::Done),
            step("create-infrastructure", StepState::Done),
            step("keep-access", StepState::Done),
            step("point-dns-name", StepState::Undone),
            step("connect", StepState::Failed),
            step("install-daskhub", StepState::Pending),
        ];
        let lines = difference(&serde_json::json!({}), &steps);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("- keep-access: forget the front end's"));
        assert!(lines[1].starts_with("- create-infrastructure: delete the infrastructure"));
        assert_eq!(
            lines[2],
            "  nothing to take back of connect, check-dns-name"
        );
    }
}
