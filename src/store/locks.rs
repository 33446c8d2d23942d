//! Locks on clusters.

use chrono::{DateTime, Utc};

use super::audit::{self, AuditEntry};
use super::{Store, StoreError, doing, messages};
use crate::domain::cluster::Cluster;
use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, EventId, LockId};
use crate::domain::lock::Lock;
use crate::domain::message::{MessageKind, Notice, Place};

struct Row {
    id: LockId,
    cluster_id: ClusterId,
    reason: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    set_by: i64,
    quiet: bool,
}

impl From<Row> for Lock {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            cluster: row.cluster_id,
            reason: row.reason,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            set_by: DiscordUserId::from_db(row.set_by),
            quiet: row.quiet,
        }
    }
}

impl Store {
    /// Keeps a lock and tells the channel, with its audit row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock(
        &self,
        lock: &Lock,
        notice: Notice,
        channel: DiscordChannelId,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        sqlx::query!(
            "insert into locks (id, cluster_id, reason, starts_at, ends_at, set_by, set_at, quiet)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
            lock.id.as_uuid(),
            lock.cluster.as_uuid(),
            lock.reason,
            lock.starts_at,
            lock.ends_at,
            lock.set_by.to_db(),
            now,
            lock.quiet
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("kept a lock"))?;
        let details = serde_json::json!({
            "lock": lock.id, "reason": lock.reason, "from": lock.starts_at, "until": lock.ends_at,
            "no-alerts": lock.quiet,
        });
        let subject = lock.cluster.to_string();
        let entry = AuditEntry::by(lock.set_by, "cluster.locked", subject, details);
        audit::append(&mut tx, now, entry).await?;
        let key = format!("lock/{}", lock.id);
        let place = Place::Channel(channel);
        messages::tell(&mut tx, now, &key, &MessageKind::Notice(notice), &place).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// Lifts every lock on a cluster that holds or is to come, and tells the channel; answers how
    /// many there were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlock(
        &self,
        cluster: &Cluster,
        by: DiscordUserId,
        notice: Notice,
        channel: DiscordChannelId,
    ) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let lifted = sqlx::query_scalar!(
            r#"update locks set lifted_by = $2, lifted_at = $3
               where cluster_id = $1 and lifted_at is null and ends_at > $3
               returning id as "id: LockId""#,
            cluster.id.as_uuid(),
            by.to_db(),
            now
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(doing("lifted locks"))?;
        let Some(first) = lifted.first() else {
            return Ok(0);
        };
        let details = serde_json::json!({"locks": lifted});
        let entry = AuditEntry::by(by, "cluster.unlocked", cluster.id.to_string(), details);
        audit::append(&mut tx, now, entry).await?;
        let key = format!("unlock/{first}");
        let place = Place::Channel(channel);
        messages::tell(&mut tx, now, &key, &MessageKind::Notice(notice), &place).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(u64::try_from(lifted.len()).unwrap_or(u64::MAX))
    }

    /// The locks on a cluster that hold or are to come, the first to begin first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn locks(&self, cluster: ClusterId) -> Result<Vec<Lock>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"select id as "id: LockId", cluster_id as "cluster_id: ClusterId", reason, starts_at,
                   ends_at, set_by, quiet
               from locks where cluster_id = $1 and lifted_at is null and ends_at > $2
               order by starts_at, id"#,
            cluster.as_uuid(),
            self.clock.now()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the locks"))?;
        Ok(rows.into_iter().map(Lock::from).collect())
    }

    /// The lock that holds now on the cluster of this name, the last to end if there are several;
    /// that of an event does not count for what runs for this event.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock_on(
        &self,
        name: &str,
        for_event: Option<EventId>,
    ) -> Result<Option<Lock>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"select l.id as "id: LockId", cluster_id as "cluster_id: ClusterId", reason, starts_at,
                   ends_at, set_by, quiet
               from locks l join clusters c on c.id = l.cluster_id
               where c.name = $1 and c.phase <> 'removed' and lifted_at is null
                 and starts_at <= $2 and ends_at > $2
                 and ($3::uuid is null or event_id is distinct from $3)
               order by ends_at desc limit 1"#,
            name,
            self.clock.now(),
            for_event.map(EventId::as_uuid)
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("looked for a lock"))?;
        Ok(row.map(Lock::from))
    }
}
