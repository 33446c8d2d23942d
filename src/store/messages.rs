//! The outbox.
//!
//! A message is told by [`tell`], within the transaction of whatever happened, and posted later by
//! `chat`. Telling the same key again raises its version, so that a burst of changes ends in one
//! edit. A poster claims a message for a short time, marks its first attempt before it posts, and
//! records the answer after; a message whose first attempt is marked without an answer is looked
//! up in Discord before it is posted again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Store, StoreError, doing, wake};
use crate::domain::ids::{DiscordChannelId, DiscordMessageId, PlanId};
use crate::domain::message::{MessageKind, OutboxMessage, Place};

struct Row {
    key: String,
    kind: serde_json::Value,
    place: serde_json::Value,
    version: i32,
    posted_version: i32,
    discord_channel_id: Option<i64>,
    discord_message_id: Option<i64>,
    first_attempt_at: Option<DateTime<Utc>>,
    attempts: i32,
}

impl TryFrom<Row> for OutboxMessage {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = |error: serde_json::Error| StoreError::Unreadable {
            what: "a message",
            problem: error.to_string(),
        };
        Ok(Self {
            key: row.key,
            kind: serde_json::from_value(row.kind).map_err(unreadable)?,
            place: serde_json::from_value(row.place).map_err(unreadable)?,
            version: row.version,
            posted_version: row.posted_version,
            channel: row.discord_channel_id.map(DiscordChannelId::from_db),
            message: row.discord_message_id.map(DiscordMessageId::from_db),
            first_attempt_at: row.first_attempt_at,
            attempts: row.attempts,
        })
    }
}

/// Tells a message within the caller's transaction: a new one, or a known one anew.
pub(crate) async fn tell(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    key: &str,
    kind: &MessageKind,
    place: &Place,
) -> Result<(), StoreError> {
    let as_json = |error: serde_json::Error| StoreError::Unreadable {
        what: "a message",
        problem: error.to_string(),
    };
    sqlx::query!(
        "insert into messages (key, kind, place, not_before, created_at) values ($1, $2, $3, $4, $4)
         on conflict (key) do update set version = messages.version + 1, failed_because = null",
        key,
        serde_json::to_value(kind).map_err(as_json)?,
        serde_json::to_value(place).map_err(as_json)?,
        now
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("told a message"))?;
    wake(connection).await
}

/// Shows a known message anew, within the caller's transaction; nothing if it was never told.
pub(crate) async fn touch(connection: &mut PgConnection, key: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "update messages set version = version + 1, failed_because = null where key = $1",
        key
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("touched a message"))?;
    wake(connection).await
}

/// Shows every message anew whose key begins so, within the caller's transaction; those that were
/// given up stay so.
pub(crate) async fn touch_all(
    connection: &mut PgConnection,
    prefix: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update messages set version = version + 1
         where starts_with(key, $1) and failed_because is null",
        prefix
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("touched messages"))?;
    wake(connection).await
}

impl Store {
    /// Tells a message on its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell(
        &self,
        key: &str,
        kind: &MessageKind,
        place: &Place,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tell(&mut tx, self.clock.now(), key, kind, place).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// Shows a known message anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch_message(&self, key: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        touch(&mut tx, key).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// Claims up to `limit` messages that are due, oldest first, for `ttl`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_messages(
        &self,
        poster: &str,
        limit: i64,
        ttl: Duration,
    ) -> Result<Vec<OutboxMessage>, StoreError> {
        let now = self.clock.now();
        sqlx::query_as!(
            Row,
            "update messages set claimed_by = $1, claimed_until = $2
             where key in (select key from messages
                 where posted_version < version and failed_because is null and not_before <= $3
                   and (claimed_until is null or claimed_until < $3 or claimed_by = $1)
                 order by created_at, key for update skip locked limit $4)
             returning key, kind, place, version, posted_version, discord_channel_id,
                       discord_message_id, first_attempt_at, attempts",
            poster,
            now + ttl,
            now,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("claimed messages"))?
        .into_iter()
        .map(OutboxMessage::try_from)
        .collect()
    }

    /// Marks that the first post of a message is about to be tried: the intent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_attempted(&self, key: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "update messages set first_attempt_at = coalesce(first_attempt_at, $2) where key = $1",
            key,
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .map_err(doing("marked an attempt"))?;
        Ok(())
    }

    /// Records that Discord shows `version` of a message: the result. The next edit is not before
    /// `rest` has passed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_posted(
        &self,
        posted: &OutboxMessage,
        channel: DiscordChannelId,
        message: DiscordMessageId,
        rest: Duration,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update messages set posted_version = $2, discord_channel_id = $3,
                 discord_message_id = $4, attempts = 0, not_before = $5, claimed_until = null
             where key = $1",
            posted.key,
            posted.version,
            channel.to_db(),
            message.to_db(),
            self.clock.now() + rest
        )
        .execute(&self.pool)
        .await
        .map_err(doing("recorded a post"))?;
        Ok(())
    }

    /// Tries a message again later.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_delayed(&self, key: &str, by: Duration) -> Result<(), StoreError> {
        sqlx::query!(
            "update messages set attempts = attempts + 1, not_before = $2, claimed_until = null
             where key = $1",
            key,
            self.clock.now() + by
        )
        .execute(&self.pool)
        .await
        .map_err(doing("delayed a message"))?;
        Ok(())
    }

    /// Gives a message up; telling it anew takes it up again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_failed(&self, key: &str, why: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "update messages set failed_because = $2, claimed_until = null where key = $1",
            key,
            why
        )
        .execute(&self.pool)
        .await
        .map_err(doing("gave a message up"))?;
        Ok(())
    }

    /// A message was deleted in Discord: post it anew if it is told again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_gone(&self, key: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "update messages set discord_message_id = null, first_attempt_at = null,
                 posted_version = 0, claimed_until = null
             where key = $1",
            key
        )
        .execute(&self.pool)
        .await
        .map_err(doing("forgot a message"))?;
        Ok(())
    }

    /// A message can't be shown where it was told: post it somewhere else.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn move_message(&self, key: &str, place: &Place) -> Result<(), StoreError> {
        let unreadable = |error: serde_json::Error| StoreError::Unreadable {
            what: "a message",
            problem: error.to_string(),
        };
        sqlx::query!(
            "update messages set place = $2, discord_channel_id = null, discord_message_id = null,
                 first_attempt_at = null, posted_version = 0, attempts = 0, claimed_until = null
             where key = $1",
            key,
            serde_json::to_value(place).map_err(unreadable)?
        )
        .execute(&self.pool)
        .await
        .map_err(doing("moved a message"))?;
        Ok(())
    }

    /// A message by its key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message(&self, key: &str) -> Result<Option<OutboxMessage>, StoreError> {
        sqlx::query_as!(
            Row,
            "select key, kind, place, version, posted_version, discord_channel_id,
                    discord_message_id, first_attempt_at, attempts
             from messages where key = $1",
            key
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a message"))?
        .map(OutboxMessage::try_from)
        .transpose()
    }

    /// The plan whose message this is, if it is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_of_message(
        &self,
        message: DiscordMessageId,
    ) -> Result<Option<PlanId>, StoreError> {
        let key = sqlx::query_scalar!(
            "select key from messages where discord_message_id = $1 and key like 'plan/%'",
            message.to_db()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("looked for a plan"))?;
        Ok(key.and_then(|key| key.strip_prefix("plan/").and_then(|id| id.parse().ok())))
    }

    /// The key of a message, by what Discord calls it; `None` if the outbox did not post it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_of_message(
        &self,
        message: DiscordMessageId,
    ) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar!(
            "select key from messages where discord_message_id = $1",
            message.to_db()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("looked for a message"))
    }

    /// How many messages wait to be posted or edited.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn messages_due(&self) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"select count(*) as "count!" from messages
               where posted_version < version and failed_because is null"#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(doing("counted messages"))?;
        Ok(count)
    }
}
