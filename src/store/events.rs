//! Events: a course with its lock and what runs by itself for it, recorded and ended as one.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::audit::{self, AuditEntry};
use super::schedules::{self, NewSchedule};
use super::{Store, StoreError, doing, messages, wake};
use crate::domain::event::{Event, EventWish};
use crate::domain::ids::{
    ClusterId, DiscordChannelId, DiscordUserId, EventId, LockId, PlanId, ScheduleId,
};
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::operation::Operation;

/// The most events that are listed.
const LISTED: i64 = 200;

struct Row {
    id: EventId,
    cluster_id: ClusterId,
    name: String,
    people: i32,
    nodes: i32,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    reason: String,
    made_by: i64,
    channel_id: i64,
    scaled_up: bool,
    locked: bool,
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            cluster: row.cluster_id,
            name: row.name,
            people: u32::try_from(row.people).unwrap_or_default(),
            nodes: u32::try_from(row.nodes).unwrap_or_default(),
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            reason: row.reason,
            made_by: DiscordUserId::from_db(row.made_by),
            channel: DiscordChannelId::from_db(row.channel_id),
            scaled_up: row.scaled_up,
            locked: row.locked,
        }
    }
}

impl Store {
    /// Keeps an event with its lock and its runs, once; a run that is due already comes at once.
    /// False if there would be more schedules than there may be: then nothing is kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_event(
        &self,
        operation: &Operation,
        wish: &EventWish,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let id = EventId::from(operation.id.as_uuid());
        let mut tx = self.begin().await?;
        if !insert(&mut tx, now, operation, wish).await? {
            // It was kept before its result was.
            return Ok(true);
        }
        lock(&mut tx, now, operation, wish).await?;
        let times = wish.times(now).map_err(|error| StoreError::Unreadable {
            what: "a run of an event",
            problem: error.to_string(),
        })?;
        for (run, at) in times {
            let new = NewSchedule {
                id: ScheduleId::new(),
                wish: run,
                next_at: Some(at),
                event: Some(id),
            };
            if !schedules::insert(&mut tx, now, operation, &new).await? {
                return Ok(false);
            }
        }
        let details = serde_json::json!({
            "cluster": operation.cluster, "people": wish.people, "nodes": wish.nodes,
            "from": wish.starts_at, "until": wish.ends_at, "reason": wish.reason,
            "plan": operation.plan,
        });
        let entry = AuditEntry::by(operation.requester, "event.added", id.to_string(), details);
        audit::append(&mut tx, now, entry).await?;
        wake(&mut tx).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Ends an event with its lock and what was to run for it, and tells the channel; false if it
    /// is over. `by` is nobody when it was undone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_event(
        &self,
        id: EventId,
        by: Option<DiscordUserId>,
        because: &str,
        notice: Option<Notice>,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let by_row = by.map(DiscordUserId::to_db);
        let ended = sqlx::query_scalar!(
            "update events set ended_at = $2, ended_by = $3, ended_because = $4
             where id = $1 and ended_at is null returning channel_id",
            id.as_uuid(),
            now,
            by_row,
            because
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("ended an event"))?;
        let Some(channel) = ended else {
            return Ok(false);
        };
        sqlx::query!(
            "update locks set lifted_by = $2, lifted_at = $3
             where event_id = $1 and lifted_at is null",
            id.as_uuid(),
            by_row,
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("lifted the lock of an event"))?;
        // A run whose plan is being made is fenced off.
        sqlx::query!(
            "update schedules set next_at = null, ended_by = $2, ended_because = $3,
                 attempt = attempt + 1, holder = null, held_until = null
             where event_id = $1 and next_at is not null",
            id.as_uuid(),
            by_row,
            because
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("ended the runs of an event"))?;
        let details = serde_json::json!({"because": because});
        let entry = match by {
            Some(by) => AuditEntry::by(by, "event.ended", id.to_string(), details),
            None => AuditEntry::by_bot("event.ended", id.to_string(), details),
        };
        audit::append(&mut tx, now, entry).await?;
        if let Some(notice) = notice {
            let place = Place::Channel(DiscordChannelId::from_db(channel));
            let kind = MessageKind::Notice(notice);
            messages::tell(&mut tx, now, &format!("event-ended/{id}"), &kind, &place).await?;
        }
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// The events that run or are to come, the first to begin first; of a cluster, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(&self, cluster: Option<&str>) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"select e.id as "id: EventId", cluster_id as "cluster_id: ClusterId", c.name, people,
                   nodes, starts_at, ends_at, reason, made_by, channel_id,
                   exists (select from schedules s
                       where s.event_id = e.id and s.last_plan is not null) as "scaled_up!",
                   exists (select from locks l
                       where l.event_id = e.id and l.lifted_at is null) as "locked!"
               from events e join clusters c on c.id = e.cluster_id
               where ended_at is null and ends_at > $2 and c.phase <> 'removed'
                 and ($1::text is null or c.name = $1)
               order by starts_at, e.id limit $3"#,
            cluster,
            self.clock.now(),
            LISTED
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the events"))?;
        Ok(rows.into_iter().map(Event::from).collect())
    }

    /// The event that runs or is to come whose id, or its last 8 digits, a person typed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_by_text(&self, text: &str) -> Result<Option<Event>, StoreError> {
        let text = text.to_lowercase();
        let mut all = self.events(None).await?.into_iter();
        Ok(all.find(|one| one.id.short() == text || one.id.to_string() == text))
    }

    /// The event for which a plan was made, if it was made for one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_of_plan(&self, plan: PlanId) -> Result<Option<EventId>, StoreError> {
        let found = sqlx::query_scalar!(
            r#"select event_id as "event_id!: EventId" from schedules
               where last_plan = $1 and event_id is not null limit 1"#,
            plan.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await;
        found.map_err(doing("looked for the event of a plan"))
    }
}

/// Keeps the event itself; false if it was kept before.
async fn insert(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    operation: &Operation,
    wish: &EventWish,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "insert into events (id, cluster_id, people, nodes, starts_at, ends_at, reason, made_by,
             channel_id, made_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (id) do nothing",
        operation.id.as_uuid(),
        operation.cluster.as_uuid(),
        i32::try_from(wish.people).unwrap_or(i32::MAX),
        i32::try_from(wish.nodes).unwrap_or(i32::MAX),
        wish.starts_at,
        wish.ends_at,
        wish.reason,
        operation.requester.to_db(),
        operation.channel.to_db(),
        now
    )
    .execute(connection)
    .await
    .map_err(doing("kept an event"))?;
    Ok(done.rows_affected() == 1)
}

/// Keeps the lock of an event, from its start to its end.
async fn lock(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    operation: &Operation,
    wish: &EventWish,
) -> Result<(), StoreError> {
    let lock = LockId::new();
    sqlx::query!(
        "insert into locks (id, cluster_id, reason, starts_at, ends_at, set_by, set_at, event_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        lock.as_uuid(),
        operation.cluster.as_uuid(),
        wish.reason,
        wish.starts_at,
        wish.ends_at,
        operation.requester.to_db(),
        now,
        operation.id.as_uuid()
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("kept the lock of an event"))?;
    let details = serde_json::json!({
        "lock": lock, "reason": wish.reason, "from": wish.starts_at, "until": wish.ends_at,
        "event": operation.id,
    });
    let (by, subject) = (operation.requester, operation.cluster.to_string());
    let entry = AuditEntry::by(by, "cluster.locked", subject, details);
    audit::append(connection, now, entry).await?;
    Ok(())
}
