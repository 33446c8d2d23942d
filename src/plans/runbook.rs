//! The plan of a runbook: exactly what will run, and where.

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::runbook::fill_in;
use crate::commands::value::Options;
use crate::domain::plan::PlanContent;
use crate::domain::runbook::{Repeat, Runbook};

impl Planner {
    pub(super) async fn draft_runbook(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let exclusive = command.operation.as_ref().map(|one| &one.exclusive);
        let name = exclusive.and_then(|option| options.text(option));
        let name = name.unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let runbook = match fill_in(command, options) {
            Ok(runbook) => runbook,
            Err(problems) => return Ok(Err(problems)),
        };
        // A front end that can't be used is told now, not after somebody approved.
        if let Err(error) = self.services.frontend(&cluster, &self.vault).await {
            let problem = format!("{}; {}", error.for_people(), error.hint());
            return Ok(Err(vec![problem]));
        }
        let address = cluster.address.as_deref().unwrap_or_default();
        let user = self.services.user_of(&cluster);
        let content = PlanContent {
            summary: format!(
                "Run `{}` on the front end of `{name}`: {}, {address}, as {user}",
                command.path.name, cluster.host
            ),
            difference: lines(&runbook),
            estimate: Vec::new(),
            warnings: warnings(&runbook),
        };
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: runbook.into_options(),
            target_revision: cluster.revision,
            steps: command.steps(),
            content,
            files: Vec::new(),
        }))
    }
}

fn lines(runbook: &Runbook) -> Vec<String> {
    let runs = runbook.runs.iter();
    runs.map(|run| format!("~ {}: {}", run.name, run.shown()))
        .collect()
}

fn warnings(runbook: &Runbook) -> Vec<String> {
    let mut warnings = vec!["what these programs do can't be undone by the bot".to_owned()];
    let asks = runbook.runs.iter().filter(|run| run.repeat == Repeat::Ask);
    let asks: Vec<&str> = asks.map(|run| run.name.as_str()).collect();
    if !asks.is_empty() {
        warnings.push(format!(
            "if the front end goes down meanwhile, a person decides whether this runs again: {}",
            asks.join(", ")
        ));
    }
    warnings
}
