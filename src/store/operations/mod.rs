//! Operations, their steps and their log.
//!
//! A replica claims an operation for the time of a lease and gets a new attempt number; every
//! later write names it, so that a replica that lost its lease can't write any more. See
//! `docs/decisions/` for why these few statements are ours.

mod decide;
mod log;
mod read;
mod start;
mod work;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

pub use self::start::{StartOn, Started};
use super::{StoreError, doing, messages};
use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, OperationId, PlanId};
use crate::domain::message::{MessageKind, Place};
use crate::domain::operation::{Direction, Operation, OperationState, StepRow, StepState};

struct Row {
    id: OperationId,
    plan_id: Option<PlanId>,
    command: String,
    target: String,
    cluster_id: ClusterId,
    options: serde_json::Value,
    requester_id: i64,
    channel_id: i64,
    state: String,
    direction: String,
    attempt: i32,
    wake_at: Option<DateTime<Utc>>,
    cancel_requested_by: Option<i64>,
    stop_reason: Option<String>,
    hint: Option<String>,
    deadline: DateTime<Utc>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

fn unreadable(problem: impl ToString) -> StoreError {
    StoreError::Unreadable {
        what: "an operation",
        problem: problem.to_string(),
    }
}

impl TryFrom<Row> for Operation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            plan: row.plan_id,
            command: row.command,
            target: row.target,
            cluster: row.cluster_id,
            options: row.options,
            requester: DiscordUserId::from_db(row.requester_id),
            channel: DiscordChannelId::from_db(row.channel_id),
            state: OperationState::from_stored(&row.state).ok_or_else(|| unreadable(&row.state))?,
            direction: if row.direction == "undo" {
                Direction::Undo
            } else {
                Direction::Do
            },
            attempt: row.attempt,
            wake_at: row.wake_at,
            cancel_requested_by: row.cancel_requested_by.map(DiscordUserId::from_db),
            stop_reason: row.stop_reason,
            hint: row.hint,
            deadline: row.deadline,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}

struct StepDbRow {
    name: String,
    state: String,
    attempts: i32,
    intent_at: Option<DateTime<Utc>>,
    result_at: Option<DateTime<Utc>>,
    output: serde_json::Value,
    note: Option<String>,
    error: Option<String>,
}

impl TryFrom<StepDbRow> for StepRow {
    type Error = StoreError;

    fn try_from(row: StepDbRow) -> Result<Self, StoreError> {
        Ok(Self {
            state: StepState::from_stored(&row.state).ok_or_else(|| unreadable(&row.state))?,
            name: row.name,
            attempts: row.attempts,
            intent_at: row.intent_at,
            result_at: row.result_at,
            output: row.output,
            note: row.note,
            error: row.error,
        })
    }
}

/// The right to work on an operation until the lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The operation.
    pub operation: OperationId,
    /// The number of this claim.
    pub attempt: i32,
}

/// How a run of a step ended for good.
#[derive(Clone, Debug, PartialEq)]
pub struct StepEnd {
    /// Done, failed, undone or left.
    pub state: StepState,
    /// What later steps may read, an object; added to what the step learnt before.
    pub output: serde_json::Value,
    /// Why it failed or what was left, in words for the channel.
    pub error: Option<String>,
}

impl StepEnd {
    /// An end that hands nothing on.
    pub fn without_output(state: StepState, error: Option<String>) -> Self {
        Self {
            state,
            output: serde_json::json!({}),
            error,
        }
    }
}

/// How an operation comes to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It sleeps until then.
    Until(DateTime<Utc>),
    /// It stands still until a person decides.
    Stopped {
        /// Why, in words for the channel.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// It ended before it had done anything, since what was approved does not fit any more.
    Outdated {
        /// Why, in words for the channel.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// It ended.
    Ended(OperationState),
}

async fn fence(connection: &mut PgConnection, claim: Claim) -> Result<(), StoreError> {
    let ours = sqlx::query!(
        "select id from operations where id = $1 and attempt = $2 for update",
        claim.operation.as_uuid(),
        claim.attempt
    )
    .fetch_optional(connection)
    .await
    .map_err(doing("checked the claim"))?;
    if ours.is_some() {
        Ok(())
    } else {
        Err(StoreError::Fenced)
    }
}

fn progress_key(id: OperationId) -> String {
    format!("progress/{id}")
}

/// Shows what was told about an operation anew when it goes on: its progress, and the messages
/// about its earlier rests, whose buttons are answered now.
async fn touch_all(connection: &mut PgConnection, id: OperationId) -> Result<(), StoreError> {
    messages::touch(connection, &progress_key(id)).await?;
    messages::touch_all(connection, &format!("summary/{id}/")).await
}

/// Tells how an operation came to rest; each rest is a message of its own, so that people are
/// notified again after a retry.
async fn tell_summary(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    claim: Claim,
    plan: Option<PlanId>,
) -> Result<(), StoreError> {
    let Some(plan) = plan else { return Ok(()) };
    let id = claim.operation;
    let place = Place::ThreadOf(format!("plan/{plan}"));
    let key = format!("summary/{id}/{}", claim.attempt);
    messages::tell(connection, now, &key, &MessageKind::Summary(id), &place).await?;
    messages::touch(connection, &format!("plan/{plan}")).await
}
