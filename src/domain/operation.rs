//! An operation: one run of a command, made of named steps.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, OperationId, PlanId};

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// Waits for its turn: another operation on the same target is open.
    Queued,
    /// A replica works on it.
    Running,
    /// Sleeps until its wake-up time.
    Waiting,
    /// Stands still until a person decides: retry, undo or leave.
    Stopped,
    /// All steps are done.
    Succeeded,
    /// Left as it was after an error.
    Failed,
    /// Left as it was after a cancel.
    Cancelled,
    /// Everything that could be undone is undone.
    Undone,
}

impl OperationState {
    /// Every state.
    pub const ALL: [OperationState; 8] = [
        OperationState::Queued,
        OperationState::Running,
        OperationState::Waiting,
        OperationState::Stopped,
        OperationState::Succeeded,
        OperationState::Failed,
        OperationState::Cancelled,
        OperationState::Undone,
    ];

    /// The word in the store and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationState::Queued => "queued",
            OperationState::Running => "running",
            OperationState::Waiting => "waiting",
            OperationState::Stopped => "stopped",
            OperationState::Succeeded => "succeeded",
            OperationState::Failed => "failed",
            OperationState::Cancelled => "cancelled",
            OperationState::Undone => "undone",
        }
    }

    /// The state out of the store.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing more will happen by itself and the target is free for others.
    pub fn is_final(self) -> bool {
        match self {
            OperationState::Queued
            | OperationState::Running
            | OperationState::Waiting
            | OperationState::Stopped => false,
            OperationState::Succeeded
            | OperationState::Failed
            | OperationState::Cancelled
            | OperationState::Undone => true,
        }
    }
}

/// Which way an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Forwards through its steps.
    Do,
    /// Backwards, undoing them.
    Undo,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Its intent is recorded; the effect may have happened.
    Running,
    /// Its result is recorded.
    Done,
    /// It gave up.
    Failed,
    /// Its effect is gone again.
    Undone,
    /// Its effect could not be undone and stays; the error says what.
    Left,
}

impl StepState {
    /// Every state.
    pub const ALL: [StepState; 6] = [
        StepState::Pending,
        StepState::Running,
        StepState::Done,
        StepState::Failed,
        StepState::Undone,
        StepState::Left,
    ];

    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            StepState::Pending => "pending",
            StepState::Running => "running",
            StepState::Done => "done",
            StepState::Failed => "failed",
            StepState::Undone => "undone",
            StepState::Left => "left",
        }
    }

    /// The state out of the store.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// An operation as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// The plan that was approved for it.
    pub plan: Option<PlanId>,
    /// The command, e.g. `deploy`.
    pub command: String,
    /// The cluster's name.
    pub target: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// The typed options as JSON.
    pub options: serde_json::Value,
    /// Who asked for it.
    pub requester: DiscordUserId,
    /// The channel it is told in.
    pub channel: DiscordChannelId,
    /// Where it stands.
    pub state: OperationState,
    /// Which way it runs.
    pub direction: Direction,
    /// The number of the current claim; a write with an older number is refused.
    pub attempt: i32,
    /// When it wakes up, if it waits.
    pub wake_at: Option<DateTime<Utc>>,
    /// Who wants it cancelled.
    pub cancel_requested_by: Option<DiscordUserId>,
    /// Why it stopped, in words for the channel.
    pub stop_reason: Option<String>,
    /// What to do next, in words for the channel.
    pub hint: Option<String>,
    /// The time limit of the command file, from the start.
    pub deadline: DateTime<Utc>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its first step began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it came to its final state.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A step of an operation as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRow {
    /// The step's name: the contract.
    pub name: String,
    /// Where it stands.
    pub state: StepState,
    /// How many times its intent was recorded.
    pub attempts: i32,
    /// When the last intent was recorded.
    pub intent_at: Option<DateTime<Utc>>,
    /// When the result was recorded.
    pub result_at: Option<DateTime<Utc>>,
    /// What it produced; later steps read it.
    pub output: serde_json::Value,
    /// What it is doing or waiting for, one line.
    pub note: Option<String>,
    /// Why it failed, or what of it stays, in words for the channel.
    pub error: Option<String>,
}

/// A line of an operation's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Its number; later lines have higher ones, with gaps.
    pub line: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The step that wrote it.
    pub step: String,
    /// The text, redacted.
    pub text: String,
}
