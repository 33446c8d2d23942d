//! Operations and their steps, as they are.

use chrono::{DateTime, Utc};

use super::{Row, StepDbRow};
use crate::domain::ids::{ClusterId, DiscordChannelId, OperationId, PlanId};
use crate::domain::operation::{Operation, OperationState, StepRow};
use crate::store::{Store, StoreError, doing};

impl Store {
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

    /// The operations of a target that are not over, in the order of their turns: the first one is at
    /// work, or waits for a person and holds the others up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_operations(&self, target: &str) -> Result<Vec<Operation>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: OperationId", plan_id as "plan_id: PlanId", command, target,
                   cluster_id as "cluster_id: ClusterId", options, requester_id, channel_id, state,
                   direction, attempt, wake_at, cancel_requested_by, stop_reason, hint, deadline,
                   created_at, started_at, ended_at
               from operations
               where target = $1 and state in ('queued', 'running', 'waiting', 'stopped')
               order by created_at, id limit 20"#,
            target
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the open operations"))?
        .into_iter()
        .map(Operation::try_from)
        .collect()
    }

    /// Whether an operation of a target has ended since then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation_ended_since(
        &self,
        target: &str,
        since: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"select exists (select from operations
                   where target = $1 and ended_at >= $2) as "ended!""#,
            target,
            since
        )
        .fetch_one(&self.pool)
        .await
        .map_err(doing("looked for operations that ended"))
    }

    /// The operation whose turn it is, if this one waits behind it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation_before(
        &self,
        operation: &Operation,
    ) -> Result<Option<Operation>, StoreError> {
        if operation.state != OperationState::Queued {
            return Ok(None);
        }
        let open = self.open_operations(&operation.target).await?;
        let first = open.into_iter().next();
        Ok(first.filter(|first| first.id != operation.id))
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
