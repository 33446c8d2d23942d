//! The history of a cluster's release.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, doing};
use crate::domain::ids::{ClusterId, DiscordUserId, OperationId};

/// One recorded revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRow {
    /// From 1.
    pub number: i32,
    /// The operation that made it.
    pub operation: Option<OperationId>,
    /// Helm's number of it.
    pub helm_revision: i32,
    /// The chart version.
    pub chart_version: String,
    /// The values, secrets masked.
    pub values_masked: String,
    /// Who asked for it.
    pub made_by: DiscordUserId,
    /// Why.
    pub reason: String,
    /// When it was recorded.
    pub made_at: DateTime<Utc>,
}

impl Store {
    /// The newest revisions of a cluster, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revisions(
        &self,
        cluster: ClusterId,
        most: i64,
    ) -> Result<Vec<RevisionRow>, StoreError> {
        let rows = sqlx::query!(
            r#"select number, operation_id as "operation: OperationId", helm_revision,
                      chart_version, values_masked, made_by, reason, made_at
               from revisions where cluster_id = $1 order by number desc limit $2"#,
            cluster.as_uuid(),
            most
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the revisions"))?;
        let rows = rows.into_iter().map(|row| RevisionRow {
            number: row.number,
            operation: row.operation,
            helm_revision: row.helm_revision,
            chart_version: row.chart_version,
            values_masked: row.values_masked,
            made_by: DiscordUserId::from_db(row.made_by),
            reason: row.reason,
            made_at: row.made_at,
        });
        Ok(rows.collect())
    }

    /// One revision of a cluster.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revision(
        &self,
        cluster: ClusterId,
        number: i32,
    ) -> Result<Option<RevisionRow>, StoreError> {
        let row = sqlx::query!(
            r#"select number, operation_id as "operation: OperationId", helm_revision,
                      chart_version, values_masked, made_by, reason, made_at
               from revisions where cluster_id = $1 and number = $2"#,
            cluster.as_uuid(),
            number
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a revision"))?;
        Ok(row.map(|row| RevisionRow {
            number: row.number,
            operation: row.operation,
            helm_revision: row.helm_revision,
            chart_version: row.chart_version,
            values_masked: row.values_masked,
            made_by: DiscordUserId::from_db(row.made_by),
            reason: row.reason,
            made_at: row.made_at,
        }))
    }

    /// Takes the revision of an operation away, if it is the newest, so that the one before is.
    /// Answers its number; `None` if there was none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_back_revision(
        &self,
        cluster: ClusterId,
        operation: OperationId,
    ) -> Result<Option<i32>, StoreError> {
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(doing("began a transaction"))?;
        let taken = sqlx::query_scalar!(
            "delete from revisions using clusters
             where clusters.id = $1 and revisions.cluster_id = $1 and operation_id = $2
               and number = clusters.revision
             returning number",
            cluster.as_uuid(),
            operation.as_uuid()
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("took a revision back"))?;
        let Some(number) = taken else {
            return Ok(None);
        };
        let before = number - 1;
        sqlx::query!(
            "update clusters set revision = $2, changed_at = $3,
                 chart_version = coalesce((select chart_version from revisions
                                           where cluster_id = $1 and number = $2), chart_version)
             where id = $1",
            cluster.as_uuid(),
            before,
            self.clock.now()
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("lowered a revision"))?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(Some(number))
    }

    /// The number under which an operation recorded its revision, if it did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revision_of_operation(
        &self,
        cluster: ClusterId,
        operation: OperationId,
    ) -> Result<Option<i32>, StoreError> {
        sqlx::query_scalar!(
            "select number from revisions where cluster_id = $1 and operation_id = $2",
            cluster.as_uuid(),
            operation.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read the revisions"))
    }
}
