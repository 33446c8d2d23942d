//! Logs that are followed: what was asked for, and the lines that came.
//!
//! One replica at a time reads a log for a view, by a lease; all show what it kept.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Postgres, Transaction};

use super::{Store, StoreError, doing, messages};
use crate::domain::ids::{DiscordChannelId, DiscordUserId, LogViewId};
use crate::domain::log_view::{LogView, LogViewLine};
use crate::domain::message::{MessageKind, Place};

/// How many logs may be followed at once.
const MAX_OPEN: i64 = 16;

/// How many views may wait for somebody who opens their page.
const MAX_WAITING: i64 = 1000;

/// How long the lines of a view stay after its end, and how long a view waits.
const KEPT: TimeDelta = TimeDelta::days(1);

struct Row {
    id: LogViewId,
    cluster: String,
    source: String,
    pod: Option<String>,
    grep: Option<String>,
    asked_by: i64,
    waits: bool,
    follow_until: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    problem: Option<String>,
}

impl From<Row> for LogView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            cluster: row.cluster,
            source: row.source,
            pod: row.pod,
            grep: row.grep,
            asked_by: DiscordUserId::from_db(row.asked_by),
            waits: row.waits,
            follow_until: row.follow_until,
            ended_at: row.ended_at,
            problem: row.problem,
        }
    }
}

impl Store {
    /// Keeps a view that waits until somebody opens its page; false if too many wait.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_log_view(&self, view: &LogView) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "delete from log_views where waits and created_at < $1",
            self.clock.now() - KEPT
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("forgot views of logs"))?;
        let kept = self.insert_view(&mut tx, view, MAX_WAITING).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(kept)
    }

    /// Lets a view that waits be followed from now on; nothing if too many are followed already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake_log_view(
        &self,
        id: LogViewId,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update log_views set waits = false, follow_until = $2
             where id = $1 and waits and ended_at is null
               and (select count(*) from log_views where ended_at is null and not waits) < $3",
            id.as_uuid(),
            until,
            MAX_OPEN
        )
        .execute(&self.pool)
        .await
        .map_err(doing("woke a view of a log"))?;
        Ok(())
    }

    async fn insert_view(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        view: &LogView,
        most: i64,
    ) -> Result<bool, StoreError> {
        let kept = sqlx::query!(
            "insert into log_views (id, cluster, source, pod, grep, asked_by, created_at, follow_until, waits)
             select $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::bigint,
                    $7::timestamptz, $8::timestamptz, $9::boolean
             where (select count(*) from log_views where ended_at is null and waits = $9) < $10",
            view.id.as_uuid(),
            view.cluster,
            view.source,
            view.pod,
            view.grep,
            view.asked_by.to_db(),
            self.clock.now(),
            view.follow_until,
            view.waits,
            most
        )
        .execute(&mut **tx)
        .await
        .map_err(doing("kept a view of a log"))?;
        Ok(kept.rows_affected() == 1)
    }

    /// Keeps a new view and tells its two messages; false if too many are open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_log_view(
        &self,
        view: &LogView,
        channel: DiscordChannelId,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        if !self.insert_view(&mut tx, view, MAX_OPEN).await? {
            return Ok(false);
        }
        let (head, live) = (head_key(view.id), live_key(view.id));
        let place = Place::Channel(channel);
        messages::tell(&mut tx, now, &head, &MessageKind::LogView(view.id), &place).await?;
        let thread = Place::ThreadOf(head);
        messages::tell(
            &mut tx,
            now,
            &live,
            &MessageKind::LogLines(view.id),
            &thread,
        )
        .await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Takes an open view that no other replica reads for; also one that is over, to end it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_log_view(
        &self,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<LogView>, StoreError> {
        let now = self.clock.now();
        let row = sqlx::query_as!(
            Row,
            r#"update log_views set holder = $1, held_until = $2
               where id = (select id from log_views
                           where ended_at is null and not waits and (held_until is null or held_until < $3)
                           order by created_at limit 1 for update skip locked)
               returning id as "id: LogViewId", cluster, source, pod, grep, asked_by, waits, follow_until,
                         ended_at, problem"#,
            holder,
            now + lease,
            now
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("claimed a view of a log"))?;
        Ok(row.map(Into::into))
    }

    /// Keeps new lines and the lease, and answers until when the log is followed; `None` if
    /// another replica has taken the view over. The message is shown anew if there are lines.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn append_log_view(
        &self,
        id: LogViewId,
        holder: &str,
        lease: Duration,
        lines: &[String],
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let mut tx = self.begin().await?;
        let until = sqlx::query_scalar!(
            "update log_views set held_until = $3
             where id = $1 and holder = $2 and ended_at is null
             returning follow_until",
            id.as_uuid(),
            holder,
            self.clock.now() + lease
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("held a view of a log"))?;
        if until.is_none() {
            return Ok(None);
        }
        if !lines.is_empty() {
            sqlx::query!(
                "insert into log_view_lines (view_id, text)
                 select $1::uuid, text from unnest($2::text[]) with ordinality as new (text, n) order by n",
                id.as_uuid(),
                lines
            )
            .execute(&mut *tx)
            .await
            .map_err(doing("kept lines of a log"))?;
            messages::touch(&mut tx, &live_key(id)).await?;
        }
        tx.commit().await.map_err(doing("committed"))?;
        Ok(until)
    }

    /// Ends a view, with what was in the way, and forgets views that ended long ago.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_log_view(
        &self,
        id: LogViewId,
        problem: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        sqlx::query!(
            "update log_views set ended_at = $2, problem = $3 where id = $1 and ended_at is null",
            id.as_uuid(),
            now,
            problem
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("ended a view of a log"))?;
        sqlx::query!("delete from log_views where ended_at < $1", now - KEPT)
            .execute(&mut *tx)
            .await
            .map_err(doing("forgot views of logs"))?;
        for key in [head_key(id), live_key(id)] {
            messages::touch(&mut tx, &key).await?;
        }
        tx.commit().await.map_err(doing("committed"))
    }

    /// A view.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_view(&self, id: LogViewId) -> Result<Option<LogView>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"select id as "id: LogViewId", cluster, source, pod, grep, asked_by, waits, follow_until,
                      ended_at, problem
               from log_views where id = $1"#,
            id.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a view of a log"))?;
        Ok(row.map(Into::into))
    }

    /// Up to `limit` lines after line `after`, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_view_lines_after(
        &self,
        id: LogViewId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<LogViewLine>, StoreError> {
        sqlx::query_as!(
            LogViewLine,
            "select line, text from log_view_lines
             where view_id = $1 and line > $2 order by line limit $3",
            id.as_uuid(),
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read lines of a log"))
    }

    /// The last `limit` lines, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_view_tail(
        &self,
        id: LogViewId,
        limit: i64,
    ) -> Result<Vec<LogViewLine>, StoreError> {
        let mut lines = sqlx::query_as!(
            LogViewLine,
            "select line, text from log_view_lines
             where view_id = $1 order by line desc limit $2",
            id.as_uuid(),
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read lines of a log"))?;
        lines.reverse();
        Ok(lines)
    }
}

/// The key of the message in the channel.
fn head_key(id: LogViewId) -> String {
    format!("log/{id}")
}

/// The key of the message in its thread.
fn live_key(id: LogViewId) -> String {
    format!("log-lines/{id}")
}
