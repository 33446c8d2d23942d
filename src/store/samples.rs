//! What clusters had, minute by minute.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Store, StoreError, doing};
use crate::domain::ids::ClusterId;
use crate::domain::sample::Sample;

/// How long a sample stays.
const KEPT: TimeDelta = TimeDelta::days(1);

struct Row {
    at: DateTime<Utc>,
    nodes_ready: i32,
    pods_running: i32,
    pods_pending: i32,
    nodes_wanted: Option<i32>,
    servers: i32,
}

impl From<Row> for Sample {
    fn from(row: Row) -> Self {
        Self {
            at: row.at,
            nodes_ready: row.nodes_ready.unsigned_abs(),
            pods_running: row.pods_running.unsigned_abs(),
            pods_pending: row.pods_pending.unsigned_abs(),
            nodes_wanted: row.nodes_wanted.map(i32::unsigned_abs),
            servers: row.servers.unsigned_abs(),
        }
    }
}

impl Store {
    /// Keeps a sample; one of the same moment stays as it is. Without a count of the nodes that are
    /// wanted, those that the watch last saw to be missing are added to those that are ready.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_sample(&self, cluster: ClusterId, sample: &Sample) -> Result<(), StoreError> {
        let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        sqlx::query!(
            "insert into samples
                 (cluster_id, at, nodes_ready, pods_running, pods_pending, nodes_wanted, servers)
             values ($1, $2, $3, $4, $5, coalesce($6,
                 $3 + (select nodes_missing from watched where cluster_id = $1)), $7)
             on conflict do nothing",
            cluster.as_uuid(),
            sample.at,
            count(sample.nodes_ready),
            count(sample.pods_running),
            count(sample.pods_pending),
            sample.nodes_wanted.map(count),
            count(sample.servers)
        )
        .execute(&self.pool)
        .await
        .map_err(doing("kept a sample"))?;
        // Unused since it was first seen, or since it was last used.
        sqlx::query!(
            "update watched set used_at = greatest(used_at, $2)
             where cluster_id = $1 and ($3 or used_at is null)",
            cluster.as_uuid(),
            sample.at,
            sample.is_used()
        )
        .execute(&self.pool)
        .await
        .map_err(doing("kept when a cluster was used"))?;
        Ok(())
    }

    /// The running clusters that nobody used since `before` though workers are on: since when, and
    /// how many workers the newest sample counts; the longest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn idle_clusters(
        &self,
        before: DateTime<Utc>,
    ) -> Result<Vec<(ClusterId, DateTime<Utc>, u32)>, StoreError> {
        let rows = sqlx::query!(
            r#"select w.cluster_id as "cluster: ClusterId", w.used_at as "used_at!", s.nodes_ready
               from watched w join clusters c on c.id = w.cluster_id
               join lateral (select nodes_ready from samples
                   where cluster_id = w.cluster_id order by at desc limit 1) s on true
               where w.used_at < $1 and c.phase = 'running' and s.nodes_ready > 0
               order by w.used_at, w.cluster_id"#,
            before
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read which clusters nobody uses"))?;
        Ok(rows
            .into_iter()
            .map(|row| (row.cluster, row.used_at, row.nodes_ready.unsigned_abs()))
            .collect())
    }

    /// The samples of a cluster from a moment on, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn samples_since(
        &self,
        cluster: ClusterId,
        from: DateTime<Utc>,
    ) -> Result<Vec<Sample>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "select at, nodes_ready, pods_running, pods_pending, nodes_wanted, servers from samples
             where cluster_id = $1 and at >= $2 order by at",
            cluster.as_uuid(),
            from
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read samples"))?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Forgets samples that are older than a day.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_old_samples(&self) -> Result<(), StoreError> {
        sqlx::query!("delete from samples where at < $1", self.clock.now() - KEPT)
            .execute(&self.pool)
            .await
            .map_err(doing("forgot old samples"))?;
        Ok(())
    }
}
