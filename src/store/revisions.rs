//! The history of a cluster's release.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, doing};
use crate::domain::chart::{Chart, ChartSource};
use crate::domain::cluster::Cluster;
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
    /// The chart.
    pub chart: Chart,
    /// The values, secrets masked.
    pub values_masked: String,
    /// Who asked for it.
    pub made_by: DiscordUserId,
    /// Why.
    pub reason: String,
    /// When it was recorded.
    pub made_at: DateTime<Utc>,
}

/// A row as the database has it.
struct Row {
    number: i32,
    operation: Option<OperationId>,
    helm_revision: i32,
    chart_version: String,
    chart_source: Option<serde_json::Value>,
    values_masked: String,
    made_by: i64,
    reason: String,
    made_at: DateTime<Utc>,
}

impl TryFrom<Row> for RevisionRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let source = row.chart_source.map(serde_json::from_value).transpose();
        let source: Option<ChartSource> = source.map_err(|error| StoreError::Unreadable {
            what: "the chart of a revision",
            problem: error.to_string(),
        })?;
        Ok(Self {
            number: row.number,
            operation: row.operation,
            helm_revision: row.helm_revision,
            chart: Chart {
                source: source.unwrap_or_default(),
                version: row.chart_version,
            },
            values_masked: row.values_masked,
            made_by: DiscordUserId::from_db(row.made_by),
            reason: row.reason,
            made_at: row.made_at,
        })
    }
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
        let rows = sqlx::query_as!(
            Row,
            r#"select number, operation_id as "operation: OperationId", helm_revision,
                      chart_version, chart_source, values_masked, made_by, reason, made_at
               from revisions where cluster_id = $1 order by number desc limit $2"#,
            cluster.as_uuid(),
            most
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the revisions"))?;
        rows.into_iter().map(RevisionRow::try_from).collect()
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
        let row = sqlx::query_as!(
            Row,
            r#"select number, operation_id as "operation: OperationId", helm_revision,
                      chart_version, chart_source, values_masked, made_by, reason, made_at
               from revisions where cluster_id = $1 and number = $2"#,
            cluster.as_uuid(),
            number
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a revision"))?;
        row.map(RevisionRow::try_from).transpose()
    }

    /// Where the chart of a cluster's newest revision comes from; the configured place if there is
    /// none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn chart_source(&self, cluster: &Cluster) -> Result<ChartSource, StoreError> {
        let row = self.revision(cluster.id, cluster.revision).await?;
        Ok(row.map(|row| row.chart.source).unwrap_or_default())
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
