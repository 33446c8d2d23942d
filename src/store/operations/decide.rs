//! What people decide about an operation: cancel, go on, leave.

use std::time::Duration;

use super::{Claim, progress_key, tell_summary, touch_all};
use crate::domain::cluster::Phase;
use crate::domain::ids::{ClusterId, DiscordUserId, OperationId, PlanId};
use crate::store::audit::{self, AuditEntry};
use crate::store::{Store, StoreError, clusters, doing, messages, wake};

impl Store {
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
        let mut tx = self.begin().await?;
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
    /// in such a state, or if it was left and a newer one of its target came since; what waits
    /// behind a stopped one has not begun.
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
        let mut tx = self.begin().await?;
        let row = sqlx::query!(
            r#"update operations set state = 'queued', wake_at = null, stop_reason = null,
                   hint = null, cancel_requested_by = null, ended_at = null, deadline = $2
               where id = $1 and (state = 'stopped'
                 or state in ('failed', 'cancelled') and not exists (
                     select 1 from operations other
                     where other.target = operations.target and other.id <> operations.id
                       and other.created_at > operations.created_at))
               returning cluster_id as "cluster_id: ClusterId""#,
            id.as_uuid(),
            now + time_limit
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("took an operation up again"))?;
        let Some(row) = row else { return Ok(false) };
        sqlx::query!(
            "update steps set state = 'running', error = null, note = null, attempts = 0,
                 intent_at = $2
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
        touch_all(&mut tx, id).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Wakes a sleeping operation at once. False if it does not sleep.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake_operation(&self, id: OperationId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
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
        let mut tx = self.begin().await?;
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
}
