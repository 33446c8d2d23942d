//! Alerts, silences, and what the watch remembers.
//!
//! What one look changes is one transaction: the memory, the alerts, and what people are told of
//! them. The row in `watched` is locked first, so that two replicas that look at once take turns.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::audit::{self, AuditEntry};
use super::{Store, StoreError, doing, messages};
use crate::domain::alert::{Alert, AlertKind, AlertState, Finding, Silence};
use crate::domain::diagnosis::stall::Memory;
use crate::domain::ids::{AlertId, ClusterId, DiscordUserId, SilenceId};
use crate::domain::message::{MessageKind, Place};

/// How many alerts are read at once.
const LISTED: i64 = 200;

struct Row {
    id: AlertId,
    cluster_id: ClusterId,
    kind: String,
    state: String,
    since: DateTime<Utc>,
    gone_since: Option<DateTime<Utc>>,
    fired_at: Option<DateTime<Utc>>,
    resolved_at: Option<DateTime<Utc>>,
    called_at: Option<DateTime<Utc>>,
    called: i32,
    acked_by: Option<i64>,
    acked_at: Option<DateTime<Utc>>,
    group_id: Option<AlertId>,
    finding: serde_json::Value,
}

fn unreadable(what: &'static str) -> impl FnOnce(serde_json::Error) -> StoreError {
    move |error| StoreError::Unreadable {
        what,
        problem: error.to_string(),
    }
}

impl TryFrom<Row> for Alert {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unknown = |problem: String| StoreError::Unreadable {
            what: "an alert",
            problem,
        };
        let finding: Finding =
            serde_json::from_value(row.finding).map_err(unreadable("an alert"))?;
        let acked_by = row.acked_by.map(DiscordUserId::from_db);
        Ok(Self {
            id: row.id,
            cluster: row.cluster_id,
            kind: AlertKind::from_word(&row.kind).ok_or_else(|| unknown(row.kind))?,
            state: AlertState::from_stored(&row.state).ok_or_else(|| unknown(row.state))?,
            since: row.since,
            gone_since: row.gone_since,
            fired_at: row.fired_at,
            resolved_at: row.resolved_at,
            called: row.called_at.map(|at| (at, row.called.unsigned_abs())),
            acknowledged: acked_by.zip(row.acked_at),
            group: row.group_id,
            finding,
        })
    }
}

/// What a look changes of one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// As it is now.
    pub alert: Alert,
    /// Whether it is to be forgotten instead: it never fired.
    pub is_forgotten: bool,
    /// The state that it was not in before.
    pub entered: Option<AlertState>,
    /// What people are told, by key; what they were told before is shown anew.
    pub tells: Vec<(String, MessageKind, Place)>,
}

impl Store {
    /// What is remembered of a cluster; nothing of one that was never looked at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watched(&self, cluster: ClusterId) -> Result<Memory, StoreError> {
        let memory = sqlx::query_scalar!(
            "select memory from watched where cluster_id = $1",
            cluster.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read what the watch remembers"))?;
        let memory = memory.map(serde_json::from_value).transpose();
        Ok(memory
            .map_err(unreadable("what the watch remembers"))?
            .unwrap_or_default())
    }

    /// Keeps what a look changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_look(
        &self,
        cluster: ClusterId,
        memory: &Memory,
        changes: &[Change],
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let memory = serde_json::to_value(memory);
        sqlx::query!(
            "insert into watched (cluster_id, memory, looked_at) values ($1, $2, $3)
             on conflict (cluster_id) do update set memory = $2, looked_at = $3",
            cluster.as_uuid(),
            memory.map_err(unreadable("what the watch remembers"))?,
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("kept what the watch remembers"))?;
        for change in changes {
            let is_kept = if change.is_forgotten {
                forget(&mut tx, change.alert.id).await?
            } else {
                keep(&mut tx, &change.alert).await?
            };
            if !is_kept {
                // Another replica was faster; the next look sees what it made of it.
                continue;
            }
            if let Some(entry) = entry(change) {
                audit::append(&mut tx, now, entry).await?;
            }
            for (key, kind, place) in &change.tells {
                messages::tell(&mut tx, now, key, kind, place).await?;
            }
        }
        tx.commit().await.map_err(doing("committed"))
    }

    /// The alerts that are not over; of a cluster, or all; those that fire first, then by time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_alerts(&self, cluster: Option<ClusterId>) -> Result<Vec<Alert>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: AlertId", cluster_id as "cluster_id: ClusterId", kind, state, since,
                   gone_since, fired_at, resolved_at, called_at, called, acked_by, acked_at,
                   group_id as "group_id: AlertId", finding
               from alerts where state <> 'resolved' and ($1::uuid is null or cluster_id = $1)
               order by fired_at nulls last, since, id limit $2"#,
            cluster.map(ClusterId::as_uuid),
            LISTED
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the open alerts"))?
        .into_iter()
        .map(Alert::try_from)
        .collect()
    }

    /// An alert.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn alert(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: AlertId", cluster_id as "cluster_id: ClusterId", kind, state, since,
                   gone_since, fired_at, resolved_at, called_at, called, acked_by, acked_at,
                   group_id as "group_id: AlertId", finding
               from alerts where id = $1"#,
            id.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read an alert"))?
        .map(Alert::try_from)
        .transpose()
    }

    /// The alert that is not over whose id, or its last 8 digits, a person typed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn alert_by_text(&self, text: &str) -> Result<Option<Alert>, StoreError> {
        let text = text.to_lowercase();
        let all = self.open_alerts(None).await?;
        let mut all = all.into_iter();
        Ok(all.find(|one| one.id.short() == text || one.id.to_string() == text))
    }

    /// The first of the alerts of one kind and cause that were told since a moment, and how many
    /// there were; the first of their group if they have one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn told_at_once(
        &self,
        kind: AlertKind,
        cause: Option<&str>,
        since: DateTime<Utc>,
    ) -> Result<Option<(AlertId, usize)>, StoreError> {
        let row = sqlx::query!(
            r#"select (array_agg(coalesce(group_id, id) order by group_id nulls last, called_at, id))[1]
                   as "first: AlertId", count(*) as "count!"
               from alerts
               where kind = $1 and state = 'firing' and called_at >= $2
                 and finding->>'cause' is not distinct from $3"#,
            kind.as_str(),
            since,
            cause
        )
        .fetch_one(&self.pool)
        .await
        .map_err(doing("counted the alerts of one cause"))?;
        let count = usize::try_from(row.count).unwrap_or(usize::MAX);
        Ok(row.first.map(|first| (first, count)))
    }

    /// The alerts that are told with a first one, with the names of their clusters.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn alerts_of_group(
        &self,
        first: AlertId,
    ) -> Result<Vec<(String, Alert)>, StoreError> {
        let ids = sqlx::query!(
            r#"select a.id as "id: AlertId", c.name from alerts a join clusters c on c.id = a.cluster_id
               where a.group_id = $1 order by a.called_at, a.id limit $2"#,
            first.as_uuid(),
            LISTED
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read a group of alerts"))?;
        let mut alerts = Vec::new();
        for row in ids {
            alerts.extend(self.alert(row.id).await?.map(|alert| (row.name, alert)));
        }
        Ok(alerts)
    }

    /// When any cluster that runs was last looked at in full.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_look(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        sqlx::query_scalar!(
            "select max(looked_at) from watched w join clusters c on c.id = w.cluster_id
             where c.phase = 'running'"
        )
        .fetch_one(&self.pool)
        .await
        .map_err(doing("read when the watch last looked"))
    }

    /// Keeps that a person has taken an alert on; false if it is over or somebody has already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acknowledge_alert(
        &self,
        id: AlertId,
        by: DiscordUserId,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let done = sqlx::query!(
            "update alerts set acked_by = $2, acked_at = $3
             where id = $1 and state = 'firing' and acked_by is null",
            id.as_uuid(),
            by.to_db(),
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("acknowledged an alert"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let nothing = serde_json::json!({});
        let entry = AuditEntry::by(by, "alert.acknowledged", id.to_string(), nothing);
        audit::append(&mut tx, now, entry).await?;
        messages::touch(&mut tx, &alert_key(id)).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Ends the alerts of clusters that are gone: nobody looks at those any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_alerts_of_removed(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let ended = sqlx::query_scalar!(
            r#"update alerts set state = 'resolved', resolved_at = $1
               where state <> 'resolved'
                 and cluster_id in (select id from clusters where phase = 'removed')
               returning id as "id: AlertId""#,
            now
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(doing("ended the alerts of removed clusters"))?;
        for id in &ended {
            let details = serde_json::json!({"because": "the cluster is gone"});
            let entry = AuditEntry::by_bot("alert.resolved", id.to_string(), details);
            audit::append(&mut tx, now, entry).await?;
            messages::touch(&mut tx, &alert_key(*id)).await?;
        }
        tx.commit().await.map_err(doing("committed"))
    }

    /// Keeps a silence on a cluster, and shows its alerts anew. An older one of the same kind ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn silence(&self, cluster: ClusterId, silence: &Silence) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        sqlx::query!(
            "update silences set ends_at = $3
             where cluster_id = $1 and kind is not distinct from $2 and ends_at > $3",
            cluster.as_uuid(),
            silence.kind.map(AlertKind::as_str),
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("ended a silence"))?;
        sqlx::query!(
            "insert into silences (id, cluster_id, kind, reason, ends_at, set_by, set_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
            silence.id.as_uuid(),
            cluster.as_uuid(),
            silence.kind.map(AlertKind::as_str),
            silence.reason,
            silence.ends_at,
            silence.set_by.to_db(),
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("kept a silence"))?;
        let details = serde_json::json!({
            "silence": silence.id, "kind": silence.kind.map(AlertKind::as_str),
            "reason": silence.reason, "until": silence.ends_at,
        });
        let by = silence.set_by;
        let entry = AuditEntry::by(by, "alert.silenced", cluster.to_string(), details);
        audit::append(&mut tx, now, entry).await?;
        for id in firing(&mut tx, cluster).await? {
            messages::touch(&mut tx, &alert_key(id)).await?;
        }
        tx.commit().await.map_err(doing("committed"))
    }

    /// The silences that hold on a cluster, the last to end first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn silences(&self, cluster: ClusterId) -> Result<Vec<Silence>, StoreError> {
        let rows = sqlx::query!(
            r#"select id as "id: SilenceId", kind, reason, ends_at, set_by from silences
               where cluster_id = $1 and lifted_at is null and ends_at > $2
               order by ends_at desc limit $3"#,
            cluster.as_uuid(),
            self.clock.now(),
            LISTED
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the silences"))?;
        Ok(rows
            .into_iter()
            .map(|row| Silence {
                id: row.id,
                kind: row.kind.as_deref().and_then(AlertKind::from_word),
                reason: row.reason,
                ends_at: row.ends_at,
                set_by: DiscordUserId::from_db(row.set_by),
            })
            .collect())
    }
}

/// The key of an alert's message.
pub fn alert_key(id: AlertId) -> String {
    format!("alert/{id}")
}

/// The key of the message of a group.
pub fn alert_group_key(first: AlertId) -> String {
    format!("alert-group/{first}")
}

/// The key of the reply when it is over.
pub fn alert_end_key(id: AlertId) -> String {
    format!("alert-end/{id}")
}

/// What the audit keeps of a change, if people know of the alert.
fn entry(change: &Change) -> Option<AuditEntry> {
    let action = match change.entered? {
        AlertState::Pending => return None,
        AlertState::Firing => "alert.fired",
        AlertState::Resolved => "alert.resolved",
    };
    let alert = &change.alert;
    let details = serde_json::json!({
        "cluster": alert.cluster, "kind": alert.kind.as_str(), "cause": alert.finding.cause,
        "since": alert.since,
    });
    Some(AuditEntry::by_bot(action, alert.id.to_string(), details))
}

async fn firing(
    connection: &mut PgConnection,
    cluster: ClusterId,
) -> Result<Vec<AlertId>, StoreError> {
    sqlx::query_scalar!(
        r#"select id as "id: AlertId" from alerts where cluster_id = $1 and state = 'firing'"#,
        cluster.as_uuid()
    )
    .fetch_all(connection)
    .await
    .map_err(doing("read the firing alerts"))
}

async fn forget(connection: &mut PgConnection, id: AlertId) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "delete from alerts where id = $1 and state = 'pending'",
        id.as_uuid()
    )
    .execute(connection)
    .await
    .map_err(doing("forgot an alert"))?;
    Ok(done.rows_affected() == 1)
}

/// Writes an alert; who acknowledged it is left as it is. False if another replica was faster.
async fn keep(connection: &mut PgConnection, alert: &Alert) -> Result<bool, StoreError> {
    let finding = serde_json::to_value(&alert.finding).map_err(unreadable("an alert"))?;
    let called = alert.called.map_or(0, |(_, times)| times);
    let done = sqlx::query!(
        "insert into alerts (id, cluster_id, kind, state, since, gone_since, fired_at, resolved_at,
             called_at, called, finding, group_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict do nothing",
        alert.id.as_uuid(),
        alert.cluster.as_uuid(),
        alert.kind.as_str(),
        alert.state.as_str(),
        alert.since,
        alert.gone_since,
        alert.fired_at,
        alert.resolved_at,
        alert.called.map(|(at, _)| at),
        i32::try_from(called).unwrap_or(i32::MAX),
        finding,
        alert.group.map(AlertId::as_uuid)
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("kept an alert"))?;
    if done.rows_affected() == 1 {
        return Ok(true);
    }
    let done = sqlx::query!(
        "update alerts set state = $2, since = $3, gone_since = $4, fired_at = $5, resolved_at = $6,
             called_at = $7, called = $8, finding = $9, group_id = $10
         where id = $1 and state <> 'resolved'",
        alert.id.as_uuid(),
        alert.state.as_str(),
        alert.since,
        alert.gone_since,
        alert.fired_at,
        alert.resolved_at,
        alert.called.map(|(at, _)| at),
        i32::try_from(called).unwrap_or(i32::MAX),
        finding,
        alert.group.map(AlertId::as_uuid)
    )
    .execute(connection)
    .await
    .map_err(doing("kept an alert"))?;
    Ok(done.rows_affected() == 1)
}
