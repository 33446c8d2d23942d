//! The durable runner: operations made of named steps.
//!
//! ```text
//! Starter ──▶ rows (operation, steps) ──▶ Runner claims by lease ──▶ step by step:
//!     intent row ──▶ Step::run (effect) ──▶ result row      … until all are done
//!                         │ Wait  ──▶ row with a wake-up time, lease given back
//!                         │ Retry ──▶ the same, with back-off, a bounded number of times
//!                         └ Fatal, NeedsHuman ──▶ stopped: a person retries, undoes or leaves it
//! ```
//!
//! A process may be killed between any two lines. Then the lease ends (at once if the same replica
//! comes back), another claim gets a higher attempt number, and the step that has an intent without
//! a result runs again. That is why each step looks before it acts; see [`steps`].
//!
//! **Invariant:** nothing here knows Discord. What people see are rows of the outbox.
//! **Invariant:** a step's name is a persisted contract; its position is not.
//! **Invariant:** no step sleeps. A wait of more than a second is a row.

pub mod clues;
pub mod context;
pub mod control;
pub mod end_dates;
pub mod error;
pub mod nodes;
pub mod owners;
pub mod prover;
pub mod runner;
pub mod services;
pub mod start;
pub mod steps;
mod token;
pub mod values;
pub mod waker;

pub use context::StepContext;
pub use control::{Control, Controlled};
pub use end_dates::EndDates;
pub use error::StepError;
pub use prover::Prover;
pub use runner::{Runner, RunnerOptions};
pub use services::{Services, Settings};
pub use start::{StartError, StartOutcome, Starter};
pub use waker::Waker;

use std::time::Duration;

use async_trait::async_trait;

/// The field of a step's output that the summary shows to people, one line.
pub const TOLD: &str = "told";

/// How far one run of a step came.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Its effect is there; later steps may read the output.
    Done(serde_json::Value),
    /// Nothing is wrong, but it is not there yet: look again after a pause.
    Wait {
        /// The pause.
        after: Duration,
        /// What it waits for, one line.
        note: String,
    },
}

impl Progress {
    /// Done, with nothing to hand on.
    pub fn done() -> Self {
        Self::Done(serde_json::json!({}))
    }

    /// Done, with a line for the summary.
    pub fn told(line: impl Into<String>) -> Self {
        Self::Done(serde_json::json!({TOLD: line.into()}))
    }
}

/// How far one run of an undo came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Nothing of the step's effect is left.
    Undone,
    /// Something stays, by nature; the text says what and why.
    Left(String),
    /// Not there yet: look again after a pause.
    Wait {
        /// The pause.
        after: Duration,
        /// What it waits for, one line.
        note: String,
    },
}

/// One step of an operation. At least once: running it twice must do no harm.
#[async_trait]
pub trait Step: Send + Sync {
    /// The step's name: the same in the command file, the file name, the database and the logs.
    fn name(&self) -> &'static str;

    /// Looks whether its effect is there already, and brings it about if not.
    ///
    /// # Errors
    /// [`StepError`] says whether to try again, to give up or to ask a person.
    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError>;

    /// Takes the effect back; harmless if there is none.
    ///
    /// # Errors
    /// As [`Step::run`]; an undo that can't finish stops the operation and says what is left.
    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError>;

    /// What its undo takes away, one line in the plan of an undo; `None` if there is nothing, since
    /// it changes nothing outside.
    fn undo_words(&self) -> Option<&'static str> {
        None
    }

    /// What a person can do when it has waited for hours, done or undone; one sentence.
    fn when_stuck(&self) -> &'static str {
        "see what holds it up, then retry, which waits as long again"
    }
}
