//! Which replica watches which cluster: equal shares, each held for a short time.
//!
//! A replica says that it lives by a lease of its own (`watcher/<replica>`), renews what it holds,
//! gives back what is more than its part, and takes what nobody holds.

use std::time::Duration;

use super::{Store, StoreError, doing};
use crate::domain::cluster::Cluster;
use crate::domain::ids::ClusterId;

impl Store {
    /// The running clusters that `replica` watches from now on, for at most `ttl` unless it asks
    /// again. No cluster is in the share of two replicas.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_shares(
        &self,
        replica: &str,
        ttl: Duration,
    ) -> Result<Vec<Cluster>, StoreError> {
        self.take_lease(&lease_of(replica), replica, ttl).await?;
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        sqlx::query!(
            "delete from watch_shares where expires_at < $1 and replica <> $2
                or cluster_id in (select id from clusters where phase <> 'running')",
            now,
            replica
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("removed old shares of the watch"))?;
        // A part is rounded up, so that all of them together are at least everything.
        let part = sqlx::query_scalar!(
            r#"select ceil(count(*)::float8 / (select greatest(count(*), 1) from leases
                   where name like 'watcher/%' and expires_at >= $1))::int8 as "part!"
               from clusters where phase = 'running'"#,
            now
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(doing("counted the clusters to watch"))?;
        sqlx::query!(
            "delete from watch_shares where replica = $1 and cluster_id not in
                (select cluster_id from watch_shares where replica = $1 order by cluster_id limit $2)",
            replica,
            part
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("gave a share of the watch back"))?;
        sqlx::query!(
            "update watch_shares set expires_at = $2 where replica = $1",
            replica,
            now + ttl
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("renewed a share of the watch"))?;
        sqlx::query!(
            "insert into watch_shares (cluster_id, replica, expires_at)
             select id, $1, $2 from clusters
             where phase = 'running' and not exists
                (select from watch_shares where watch_shares.cluster_id = clusters.id)
             order by id
             limit greatest($3 - (select count(*) from watch_shares where replica = $1), 0)
             on conflict (cluster_id) do nothing",
            replica,
            now + ttl,
            part
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("took a share of the watch"))?;
        let mine = sqlx::query_scalar!(
            r#"select cluster_id as "cluster_id: ClusterId" from watch_shares where replica = $1"#,
            replica
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(doing("read a share of the watch"))?;
        tx.commit().await.map_err(doing("committed"))?;
        let mut clusters = self.clusters().await?;
        clusters.retain(|cluster| mine.contains(&cluster.id));
        Ok(clusters)
    }

    /// Gives all that `replica` watches back at once, as it ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_shares_back(&self, replica: &str) -> Result<(), StoreError> {
        sqlx::query!("delete from watch_shares where replica = $1", replica)
            .execute(&self.pool)
            .await
            .map_err(doing("gave the shares of the watch back"))?;
        self.give_lease_back(&lease_of(replica), replica).await
    }
}

fn lease_of(replica: &str) -> String {
    format!("watcher/{replica}")
}
