//! What the replica that works on an operation writes: its claim, its steps, its rest.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

use super::{Claim, Rest, Row, StepDbRow, StepEnd, fence, progress_key, tell_summary};
use crate::domain::cluster::Phase;
use crate::domain::ids::{ClusterId, OperationId, PlanId};
use crate::domain::operation::{Operation, OperationState, StepRow};
use crate::store::audit::{self, AuditEntry};
use crate::store::{Store, StoreError, clusters, doing, messages, wake};

impl Store {
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
        let mut tx = self.begin().await?;
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
        let mut tx = self.begin().await?;
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
        let mut tx = self.begin().await?;
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
        let mut tx = self.begin().await?;
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
        let mut tx = self.begin().await?;
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
        let mut tx = self.begin().await?;
        fence(&mut tx, claim).await?;
        let (state, wake_at, reason, hint) = match rest {
            Rest::Until(wake_at) => (OperationState::Waiting, Some(*wake_at), None, None),
            Rest::Stopped { reason, hint } => (
                OperationState::Stopped,
                None,
                Some(reason.as_str()),
                Some(hint.as_str()),
            ),
            Rest::Outdated { reason, hint } => (
                OperationState::Cancelled,
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
}
