//! What a runbook runs on a front end, as a plan and its operation keep it.
//!
//! The whole argument lists stand in the options of the plan, so that its digest covers them and
//! the operation runs what was approved, whatever became of the command's file meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key of the options under which it is kept.
const KEY: &str = "runbook";

/// Whether a run may be repeated when nobody knows whether it came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// Running it twice does no harm.
    Safe,
    /// A person decides.
    Ask,
}

/// One program to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRun {
    /// The name of its step.
    pub name: String,
    /// The program and its arguments.
    pub run: Vec<String>,
    /// How long it may take, in seconds.
    pub time_limit_s: u64,
    /// Whether it may be repeated.
    pub repeat: Repeat,
}

impl RemoteRun {
    /// How long it may take.
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs(self.time_limit_s)
    }

    /// The argument list as people see it: every argument whole, in quotes.
    pub fn shown(&self) -> String {
        Value::from(self.run.clone()).to_string()
    }
}

/// Everything that an operation of a runbook needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runbook {
    /// How long it may take in all, in seconds.
    pub time_limit_s: u64,
    /// Its programs, in order.
    pub runs: Vec<RemoteRun>,
}

impl Runbook {
    /// The runbook in the options of a plan or an operation; none if it is no runbook.
    pub fn of(options: &Value) -> Option<Self> {
        serde_json::from_value(options.get(KEY)?.clone()).ok()
    }

    /// The options that keep it.
    pub fn into_options(self) -> Value {
        serde_json::json!({ KEY: self })
    }

    /// The run of a step.
    pub fn run(&self, step: &str) -> Option<&RemoteRun> {
        self.runs.iter().find(|run| run.name == step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_keep_it_and_other_options_are_none() {
        let runbook = Runbook {
            time_limit_s: 60,
            runs: vec![RemoteRun {
                name: "look".to_owned(),
                run: vec!["df".to_owned(), "-h".to_owned(), "a \"b\"".to_owned()],
                time_limit_s: 10,
                repeat: Repeat::Safe,
            }],
        };
        let options = runbook.clone().into_options();
        assert_eq!(Runbook::of(&options), Some(runbook.clone()));
        assert_eq!(Runbook::of(&serde_json::json!({"name": "geo"})), None);
        let run = runbook.run("look").unwrap();
        assert_eq!(run.shown(), r#"["df","-h","a \"b\""]"#);
    }
}
