//! The start of an operation, and of its undo, from an approved plan.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{progress_key, touch_all};
use crate::domain::cluster::NewCluster;
use crate::domain::ids::{ClusterId, OperationId};
use crate::domain::message::{MessageKind, Place};
use crate::domain::plan::{Plan, PlanState};
use crate::store::audit::{self, AuditEntry};
use crate::store::{Store, StoreError, clusters, doing, messages, plans};

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

/// The cluster that an operation is about.
#[derive(Clone, Copy, Debug)]
pub enum StartOn<'a> {
    /// It is created in the same transaction.
    New(&'a NewCluster),
    /// It is there.
    Existing(ClusterId),
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
        let mut tx = self.begin().await?;
        plans::lock(&mut tx, plan.id).await?;
        if !plans::leave_waiting(&mut tx, plan.id, PlanState::Started, None).await? {
            return Ok(Started::NotWaiting);
        }
        let cluster = match on {
            StartOn::New(new) => clusters::insert(&mut tx, now, new).await?,
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
    /// since the plan was made, and, if it was left, no newer one of its target came since.
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
        let mut tx = self.begin().await?;
        plans::lock(&mut tx, plan.id).await?;
        if !plans::leave_waiting(&mut tx, plan.id, PlanState::Started, None).await? {
            return Ok(Started::NotWaiting);
        }
        let turned = sqlx::query!(
            "update operations set state = 'queued', direction = 'undo', wake_at = null,
                 stop_reason = null, hint = null, cancel_requested_by = null, deadline = $2,
                 ended_at = null, attempt = attempt + 1, lease_holder = null, lease_expires_at = null
             where id = $1 and attempt = $3 and (state = 'stopped'
               or state in ('failed', 'cancelled') and not exists (
                   select 1 from operations other
                   where other.target = operations.target and other.id <> operations.id
                     and other.created_at > operations.created_at))",
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
        touch_all(&mut tx, operation).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(Started::New(operation))
    }
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
