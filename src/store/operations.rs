//! Operations, their steps and their log.
//!
//! A replica claims an operation for the time of a lease and gets a new attempt number; every
//! later write names it, so that a replica that lost its lease can't write any more. See
//! `docs/decisions/` for why these few statements are ours.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use sqlx::PgConnection;

use super::audit::{self, AuditEntry};
use super::{Store, StoreError, clusters, doing, messages, plans, wake};
use crate::domain::cluster::{NewCluster, Phase};
use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, OperationId, PlanId};
use crate::domain::message::{MessageKind, Place};
use crate::domain::operation::{Direction, LogLine, Operation, OperationState, StepRow, StepState};
use crate::domain::plan::{Plan, PlanState};

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

/// How an attempt to start an approved plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// The operation exists now.
    New(OperationId),
    /// The plan did not wait any more; somebody else was faster or it ended.
    NotWaiting,
    /// The operation that it is about is not as the plan saw it; nothing was changed.
    Drifted,
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
    /// It ended.
    Ended(OperationState),
}

/// The cluster that an operation is about.
#[derive(Clone, Copy, Debug)]
pub enum StartOn<'a> {
    /// It is created in the same transaction.
    New(&'a NewCluster),
    /// It is there.
    Existing(ClusterId),
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

async fn insert_operation(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    plan: &Plan,
    cluster: ClusterId,
    time_limit: Duration,
) -> Result<OperationId, StoreError> {
    let id = OperationId::new();
    sqlx::query!(
        "insert into operations (id, plan_id, command, target, cluster_id, options, requester_id,
                                 channel_id, state, deadline, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, $10)",
        id.as_uuid(),
        plan.id.as_uuid(),
        plan.essence.command,
        plan.essence.target,
        cluster.as_uuid(),
        plan.essence.options,
        plan.requester.to_db(),
        plan.channel.to_db(),
        now + time_limit,
        now
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("created an operation"))?;
    sqlx::query!(
        "insert into steps (operation_id, name, position)
         select $1, name, ordinality::integer from unnest($2::text[]) with ordinality as s (name)",
        id.as_uuid(),
        &plan.essence.steps
    )
    .execute(connection)
    .await
    .map_err(doing("created the steps"))?;
    Ok(id)
}

impl Store {
    /// Starts the operation of an approved plan: plan, operation, steps, audit row and first
    /// message in one transaction, and the cluster where it is new.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when the name or host was taken meanwhile: the plan is void.
    pub async fn start(
        &self,
        plan: &Plan,
        on: StartOn<'_>,
        time_limit: Duration,
    ) -> Result<Started, StoreError> {
        let now = self.clock.now();
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        plans::lock(&mut tx, plan.id).await?;
        if !plans::leave_waiting(&mut tx, plan.id, PlanState::Started, None).await? {
            return Ok(Started::NotWaiting);
        }
        let cluster = match on {
            StartOn::New(new) => clusters::insert(&mut tx, now, new, &plan.essence.options).await?,
            StartOn::Existing(cluster) => cluster,
        };
        let id = insert_operation(&mut tx, now, plan, cluster, time_limit).await?;
        let details = serde_json::json!({"plan": plan.id, "digest": plan.digest.as_str()});
        audit::append(
            &mut tx,
            now,
            AuditEntry::by_bot("operation.created", id.to_string(), details),
        )
        .await?;
        let place = Place::ThreadOf(format!("plan/{}", plan.id));
        messages::tell(
            &mut tx,
            now,
            &progress_key(id),
            &MessageKind::Progress(id),
            &place,
        )
        .await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(Started::New(id))
    }

    /// Starts undoing a stopped or left operation, as its approved plan says, if it did not run
    /// since the plan was made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start_undo(
        &self,
        plan: &Plan,
        operation: OperationId,
        time_limit: Duration,
    ) -> Result<Started, StoreError> {
        let now = self.clock.now();
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        plans::lock(&mut tx, plan.id).await?;
        if !plans::leave_waiting(&mut tx, plan.id, PlanState::Started, None).await? {
            return Ok(Started::NotWaiting);
        }
        let turned = sqlx::query!(
            "update operations set state = 'queued', direction = 'undo', wake_at = null,
                 stop_reason = null, hint = null, cancel_requested_by = null, deadline = $2,
                 ended_at = null, attempt = attempt + 1, lease_holder = null, lease_expires_at = null
             where id = $1 and state in ('stopped', 'failed', 'cancelled') and attempt = $3",
            operation.as_uuid(),
            now + time_limit,
            plan.essence.target_revision
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("turned an operation round"))?;
        if turned.rows_affected() == 0 {
            return Ok(Started::Drifted);
        }
        sqlx::query!(
            "update steps set attempts = 0, note = null, error = null,
                 intent_at = case when state = 'running' then $2 else intent_at end
             where operation_id = $1",
            operation.as_uuid(),
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("reset the steps"))?;
        let details = serde_json::json!({"plan": plan.id});
        let entry = AuditEntry::by_bot("operation.undo-started", operation.to_string(), details);
        audit::append(&mut tx, now, entry).await?;
        messages::touch(&mut tx, &progress_key(operation)).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(Started::New(operation))
    }

    /// Claims one operation that may run now, for the time of a lease.
    ///
    /// An operation of this very replica whose process died is claimed at once, since one replica
    /// name runs once; `working_on` are those that this process has in hand.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_operation(
        &self,
        replica: &str,
        working_on: &[OperationId],
        lease: Duration,
    ) -> Result<Option<(Operation, Claim)>, StoreError> {
        let now = self.clock.now();
        let ids: Vec<uuid::Uuid> = working_on.iter().map(|id| id.as_uuid()).collect();
        let row = sqlx::query_as!(
            Row,
            r#"update operations set lease_holder = $1, lease_expires_at = $2,
                   attempt = attempt + 1, state = 'running', wake_at = null,
                   started_at = coalesce(started_at, $3)
               where id = (
                   select o.id from operations o
                   where o.state in ('queued', 'running', 'waiting')
                     and (o.wake_at is null or o.wake_at <= $3 or o.cancel_requested_by is not null)
                     and (o.lease_expires_at is null or o.lease_expires_at < $3 or o.lease_holder = $1)
                     and o.id <> all ($4)
                     and not exists (
                         select 1 from operations earlier
                         where earlier.target = o.target and earlier.created_at < o.created_at
                           and earlier.state in ('queued', 'running', 'waiting', 'stopped'))
                   order by o.created_at for update skip locked limit 1)
               returning id as "id: OperationId", plan_id as "plan_id: PlanId", command, target,
                   cluster_id as "cluster_id: ClusterId", options, requester_id, channel_id, state,
                   direction, attempt, wake_at, cancel_requested_by, stop_reason, hint, deadline,
                   created_at, started_at, ended_at"#,
            replica,
            now + lease,
            now,
            &ids
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("claimed an operation"))?;
        let Some(row) = row else { return Ok(None) };
        let operation = Operation::try_from(row)?;
        let claim = Claim {
            operation: operation.id,
            attempt: operation.attempt,
        };
        Ok(Some((operation, claim)))
    }

    /// When the next sleeping operation wakes up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_wake_up(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        sqlx::query_scalar!("select min(wake_at) from operations where state = 'waiting'")
            .fetch_one(&self.pool)
            .await
            .map_err(doing("looked for the next wake-up"))
    }

    /// Prolongs the lease of a claim.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when it was taken over.
    pub async fn prolong_lease(&self, claim: Claim, lease: Duration) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "update operations set lease_expires_at = $3
             where id = $1 and attempt = $2 and state = 'running'",
            claim.operation.as_uuid(),
            claim.attempt,
            self.clock.now() + lease
        )
        .execute(&self.pool)
        .await
        .map_err(doing("prolonged a lease"))?;
        if done.rows_affected() == 1 {
            Ok(())
        } else {
            Err(StoreError::Fenced)
        }
    }

    /// Records the intent of a step.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the operation was taken over.
    pub async fn step_intent(&self, claim: Claim, step: &str) -> Result<StepRow, StoreError> {
        // PostgreSQL keeps microseconds.
        let now = self.clock.now().trunc_subsecs(6);
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        fence(&mut tx, claim).await?;
        let row = sqlx::query_as!(
            StepDbRow,
            "update steps set state = 'running', attempts = attempts + 1,
                 intent_at = case when state = 'running' then intent_at else $3 end, error = null
             where operation_id = $1 and name = $2
             returning name, state, attempts, intent_at, result_at, output, note, error",
            claim.operation.as_uuid(),
            step,
            now
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(doing("recorded an intent"))?;
        if row.intent_at == Some(now) {
            let details = serde_json::json!({"step": step});
            let subject = claim.operation.to_string();
            audit::append(
                &mut tx,
                now,
                AuditEntry::by_bot("step.started", subject, details),
            )
            .await?;
        }
        messages::touch(&mut tx, &progress_key(claim.operation)).await?;
        tx.commit().await.map_err(doing("committed"))?;
        StepRow::try_from(row)
    }

    /// Keeps what a step learnt before its result, such as an id that was just given out.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the operation was taken over.
    pub async fn step_learnt(
        &self,
        claim: Claim,
        step: &str,
        output: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        fence(&mut tx, claim).await?;
        sqlx::query!(
            "update steps set output = output || $3 where operation_id = $1 and name = $2",
            claim.operation.as_uuid(),
            step,
            output
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("kept what a step learnt"))?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// Shows what a step is doing, one line.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the operation was taken over.
    pub async fn step_note(&self, claim: Claim, step: &str, note: &str) -> Result<(), StoreError> {
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        fence(&mut tx, claim).await?;
        let done = sqlx::query!(
            "update steps set note = $3
             where operation_id = $1 and name = $2 and note is distinct from $3",
            claim.operation.as_uuid(),
            step,
            note
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("noted what a step does"))?;
        if done.rows_affected() == 1 {
            messages::touch(&mut tx, &progress_key(claim.operation)).await?;
        }
        tx.commit().await.map_err(doing("committed"))
    }

    /// Records that a step looked and waits: its tries count anew, and it shows what for.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the operation was taken over.
    pub async fn step_waits(&self, claim: Claim, step: &str, note: &str) -> Result<(), StoreError> {
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        fence(&mut tx, claim).await?;
        sqlx::query!(
            "update steps set attempts = 0, note = $3 where operation_id = $1 and name = $2",
            claim.operation.as_uuid(),
            step,
            note
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("noted that a step waits"))?;
        messages::touch(&mut tx, &progress_key(claim.operation)).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// Records the result of a step.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the operation was taken over.
    pub async fn step_result(
        &self,
        claim: Claim,
        step: &str,
        end: &StepEnd,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        fence(&mut tx, claim).await?;
        sqlx::query!(
            "update steps set state = $3, result_at = $4, output = output || $5, error = $6
             where operation_id = $1 and name = $2",
            claim.operation.as_uuid(),
            step,
            end.state.as_str(),
            now,
            end.output,
            end.error
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("recorded a result"))?;
        let details = serde_json::json!({"step": step, "state": end.state, "error": end.error});
        let subject = claim.operation.to_string();
        audit::append(
            &mut tx,
            now,
            AuditEntry::by_bot("step.ended", subject, details),
        )
        .await?;
        messages::touch(&mut tx, &progress_key(claim.operation)).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// Brings an operation to rest and gives its lease back. An end sets the cluster's phase and
    /// tells the summary.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the operation was taken over.
    pub async fn rest(
        &self,
        claim: Claim,
        rest: &Rest,
        phase: Option<Phase>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        fence(&mut tx, claim).await?;
        let (state, wake_at, reason, hint) = match rest {
            Rest::Until(wake_at) => (OperationState::Waiting, Some(*wake_at), None, None),
            Rest::Stopped { reason, hint } => (
                OperationState::Stopped,
                None,
                Some(reason.as_str()),
                Some(hint.as_str()),
            ),
            Rest::Ended(state) => (*state, None, None, None),
        };
        let row = sqlx::query!(
            r#"update operations set state = $2, wake_at = $3,
                   stop_reason = coalesce($4, stop_reason), hint = $5,
                   lease_holder = null, lease_expires_at = null,
                   ended_at = case when $6 then $7::timestamptz end
               where id = $1 returning plan_id as "plan_id: PlanId", cluster_id as "cluster_id: ClusterId""#,
            claim.operation.as_uuid(),
            state.as_str(),
            wake_at,
            reason,
            hint,
            state.is_final(),
            now
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(doing("brought an operation to rest"))?;
        if let Some(phase) = phase {
            clusters::set_phase(&mut tx, now, row.cluster_id, phase).await?;
        }
        if !matches!(rest, Rest::Until(_)) {
            let details = serde_json::json!({"state": state, "reason": reason});
            let subject = claim.operation.to_string();
            audit::append(
                &mut tx,
                now,
                AuditEntry::by_bot("operation.rested", subject, details),
            )
            .await?;
            tell_summary(&mut tx, now, claim, row.plan_id).await?;
            messages::touch(&mut tx, &progress_key(claim.operation)).await?;
        }
        wake(&mut tx).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// Appends lines to the log of an operation; the caller has redacted them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn append_log(
        &self,
        operation: OperationId,
        step: &str,
        lines: &[String],
    ) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        // PostgreSQL keeps no NUL in text.
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.replace('\0', "\u{fffd}"))
            .collect();
        sqlx::query!(
            "insert into operation_log (operation_id, at, step, text)
             select $1, $2, $3, line from unnest($4::text[]) with ordinality as l (line, n) order by n",
            operation.as_uuid(),
            self.clock.now(),
            step,
            &lines
        )
        .execute(&self.pool)
        .await
        .map_err(doing("appended to a log"))?;
        Ok(())
    }

    /// Up to `limit` lines of the log after line `after`, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_lines_after(
        &self,
        operation: OperationId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<LogLine>, StoreError> {
        sqlx::query_as!(
            LogLine,
            "select line, at, step, text from operation_log
             where operation_id = $1 and line > $2 order by line limit $3",
            operation.as_uuid(),
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read a log"))
    }

    /// The last `limit` lines that a step wrote, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_tail(
        &self,
        operation: OperationId,
        step: &str,
        limit: i64,
    ) -> Result<Vec<LogLine>, StoreError> {
        let mut lines = sqlx::query_as!(
            LogLine,
            "select line, at, step, text from operation_log
             where operation_id = $1 and step = $2 order by line desc limit $3",
            operation.as_uuid(),
            step,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read a log"))?;
        lines.reverse();
        Ok(lines)
    }

    /// The last line of the log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_log_line(
        &self,
        operation: OperationId,
    ) -> Result<Option<LogLine>, StoreError> {
        sqlx::query_as!(
            LogLine,
            "select line, at, step, text from operation_log
             where operation_id = $1 order by line desc limit 1",
            operation.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a log"))
    }

    /// An operation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation(&self, id: OperationId) -> Result<Option<Operation>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: OperationId", plan_id as "plan_id: PlanId", command, target,
                   cluster_id as "cluster_id: ClusterId", options, requester_id, channel_id, state,
                   direction, attempt, wake_at, cancel_requested_by, stop_reason, hint, deadline,
                   created_at, started_at, ended_at
               from operations where id = $1"#,
            id.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read an operation"))?
        .map(Operation::try_from)
        .transpose()
    }

    /// The newest `limit` operations, newest first; of one target if given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recent_operations(
        &self,
        target: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Operation>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: OperationId", plan_id as "plan_id: PlanId", command, target,
                   cluster_id as "cluster_id: ClusterId", options, requester_id, channel_id, state,
                   direction, attempt, wake_at, cancel_requested_by, stop_reason, hint, deadline,
                   created_at, started_at, ended_at
               from operations where $1::text is null or target = $1
               order by created_at desc, id desc limit $2"#,
            target,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the operations"))?
        .into_iter()
        .map(Operation::try_from)
        .collect()
    }

    /// The operation whose short id (its last 8 digits) or full id this is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation_by_text(&self, text: &str) -> Result<Option<Operation>, StoreError> {
        let id = sqlx::query_scalar!(
            r#"select id as "id: OperationId" from operations
               where id::text = $1 or right(replace(id::text, '-', ''), 8) = $1
               order by created_at desc limit 1"#,
            text
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("looked for an operation"))?;
        match id {
            Some(id) => self.operation(id).await,
            None => Ok(None),
        }
    }

    /// The operation that a plan started.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation_of_plan(&self, plan: PlanId) -> Result<Option<Operation>, StoreError> {
        let id = sqlx::query_scalar!(
            r#"select id as "id: OperationId" from operations where plan_id = $1"#,
            plan.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("looked for an operation"))?;
        match id {
            Some(id) => self.operation(id).await,
            None => Ok(None),
        }
    }

    /// The steps of an operation, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn steps(&self, operation: OperationId) -> Result<Vec<StepRow>, StoreError> {
        sqlx::query_as!(
            StepDbRow,
            "select name, state, attempts, intent_at, result_at, output, note, error
             from steps where operation_id = $1 order by position",
            operation.as_uuid()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the steps"))?
        .into_iter()
        .map(StepRow::try_from)
        .collect()
    }

    /// Asks a running operation to stop at its next step or wait. False if it is at rest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn request_cancel(
        &self,
        id: OperationId,
        by: DiscordUserId,
        reason: Option<&str>,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        let done = sqlx::query!(
            "update operations set cancel_requested_by = $2
             where id = $1 and state in ('queued', 'running', 'waiting')
               and cancel_requested_by is null",
            id.as_uuid(),
            by.to_db()
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("asked for a cancel"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let entry = AuditEntry::by(
            by,
            "operation.cancel-requested",
            id.to_string(),
            serde_json::json!({"reason": reason}),
        );
        audit::append(&mut tx, now, entry).await?;
        messages::touch(&mut tx, &progress_key(id)).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Lets a stopped or left operation go on: failed steps begin anew. False if it is not at rest
    /// in such a state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_up_again(
        &self,
        id: OperationId,
        by: DiscordUserId,
        time_limit: Duration,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        let row = sqlx::query!(
            r#"update operations set state = 'queued', wake_at = null, stop_reason = null,
                   hint = null, cancel_requested_by = null, ended_at = null, deadline = $2
               where id = $1 and state in ('stopped', 'failed', 'cancelled')
                 and not exists (
                     select 1 from operations other
                     where other.target = operations.target and other.id <> operations.id
                       and other.created_at > operations.created_at)
               returning cluster_id as "cluster_id: ClusterId""#,
            id.as_uuid(),
            now + time_limit
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("took an operation up again"))?;
        let Some(row) = row else { return Ok(false) };
        sqlx::query!(
            "update steps set state = 'running', error = null, attempts = 0, intent_at = $2
             where operation_id = $1 and state in ('failed', 'running')",
            id.as_uuid(),
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("reset the failed steps"))?;
        clusters::set_first_phase(&mut tx, now, row.cluster_id, Phase::Deploying).await?;
        let entry = AuditEntry::by(
            by,
            "operation.taken-up-again",
            id.to_string(),
            serde_json::json!({}),
        );
        audit::append(&mut tx, now, entry).await?;
        messages::touch(&mut tx, &progress_key(id)).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Wakes a sleeping operation at once. False if it does not sleep.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake_operation(&self, id: OperationId) -> Result<bool, StoreError> {
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        let done = sqlx::query!(
            "update operations set wake_at = $2 where id = $1 and state = 'waiting'",
            id.as_uuid(),
            self.clock.now()
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("woke an operation"))?;
        wake(&mut tx).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Leaves a stopped operation as it is, for inspection. False if it is not stopped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_operation(
        &self,
        id: OperationId,
        by: DiscordUserId,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        let row = sqlx::query!(
            r#"update operations set ended_at = $2, hint = null,
                   state = case when cancel_requested_by is null then 'failed' else 'cancelled' end
               where id = $1 and state = 'stopped'
               returning attempt, cluster_id as "cluster_id: ClusterId", plan_id as "plan_id: PlanId""#,
            id.as_uuid(),
            now
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("left an operation"))?;
        let Some(row) = row else { return Ok(false) };
        clusters::set_first_phase(&mut tx, now, row.cluster_id, Phase::Failed).await?;
        let entry = AuditEntry::by(by, "operation.left", id.to_string(), serde_json::json!({}));
        audit::append(&mut tx, now, entry).await?;
        let claim = Claim {
            operation: id,
            attempt: row.attempt,
        };
        tell_summary(&mut tx, now, claim, row.plan_id).await?;
        messages::touch(&mut tx, &progress_key(id)).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// The channel that an operation is told in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channel_of_operation(
        &self,
        id: OperationId,
    ) -> Result<Option<DiscordChannelId>, StoreError> {
        Ok(self.operation(id).await?.map(|operation| operation.channel))
    }
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
