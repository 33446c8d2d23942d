//! The audit: append-only rows in a hash chain.
//!
//! The hash of a row is SHA-256 over the hash before it and the row's own fields, each with its
//! length, so that no field can flow into the next.

use chrono::{DateTime, SubsecRound, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::{Store, StoreError, doing};

/// One thing that somebody did.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// Who: a Discord user id, or `bot`.
    pub actor: String,
    /// What, e.g. `plan.requested`; a persisted word.
    pub action: &'static str,
    /// To what, e.g. a cluster's name or a plan's id.
    pub subject: String,
    /// More, without secrets.
    pub details: serde_json::Value,
}

impl AuditEntry {
    /// An entry of a person.
    pub fn by(
        actor: crate::domain::ids::DiscordUserId,
        action: &'static str,
        subject: impl Into<String>,
        details: serde_json::Value,
    ) -> Self {
        Self {
            actor: actor.to_string(),
            action,
            subject: subject.into(),
            details,
        }
    }

    /// An entry of the bot itself.
    pub fn by_bot(
        action: &'static str,
        subject: impl Into<String>,
        details: serde_json::Value,
    ) -> Self {
        Self {
            actor: "bot".to_owned(),
            action,
            subject: subject.into(),
            details,
        }
    }
}

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number, from 1, without gaps.
    pub sequence: i64,
    /// When, to the microsecond.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More, as JSON text.
    pub details: String,
    /// The hash of the row before.
    pub previous_hash: Vec<u8>,
    /// Its own hash.
    pub hash: Vec<u8>,
}

/// Which rows are wanted; `None` wants all.
#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// About the cluster of this name, its plans and its operations.
    pub cluster: Option<String>,
    /// By this person.
    pub actor: Option<crate::domain::ids::DiscordUserId>,
    /// Not older than this.
    pub since: Option<DateTime<Utc>>,
    /// So many at most.
    pub limit: i64,
}

/// What the verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Every row fits its predecessor.
    Whole {
        /// How many rows there are.
        rows: i64,
        /// The hash of the last, to be kept elsewhere.
        last_hash: String,
    },
    /// A row was changed, removed or put in between.
    Broken {
        /// The first row that does not fit.
        at: i64,
        /// Why.
        reason: String,
    },
}

impl AuditRow {
    fn expected_hash(&self) -> Vec<u8> {
        let mut hasher = Sha256::new();
        hasher.update(&self.previous_hash);
        hasher.update(self.sequence.to_be_bytes());
        hasher.update(self.at.timestamp_micros().to_be_bytes());
        for field in [&self.actor, &self.action, &self.subject, &self.details] {
            hasher.update(field.len().to_be_bytes());
            hasher.update(field.as_bytes());
        }
        hasher.finalize().to_vec()
    }
}

/// Appends a row within the caller's transaction; answers its number.
pub(crate) async fn append(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    entry: AuditEntry,
) -> Result<i64, StoreError> {
    // One writer at a time: the chain has one end.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('pangeo-bot audit')) as locked")
        .fetch_one(&mut *connection)
        .await
        .map_err(doing("locked the audit"))?;
    let last = sqlx::query!("select sequence, hash from audit order by sequence desc limit 1")
        .fetch_optional(&mut *connection)
        .await
        .map_err(doing("read the end of the audit"))?;
    let (sequence, previous_hash) =
        last.map_or((1, vec![0; 32]), |row| (row.sequence + 1, row.hash));
    let mut row = AuditRow {
        sequence,
        at: now.trunc_subsecs(6),
        actor: entry.actor,
        action: entry.action.to_owned(),
        subject: entry.subject,
        details: entry.details.to_string(),
        previous_hash,
        hash: Vec::new(),
    };
    row.hash = row.expected_hash();
    sqlx::query!(
        "insert into audit (sequence, at, actor, action, subject, details, previous_hash, hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        row.sequence,
        row.at,
        row.actor,
        row.action,
        row.subject,
        row.details,
        row.previous_hash,
        row.hash
    )
    .execute(connection)
    .await
    .map_err(doing("appended to the audit"))?;
    Ok(row.sequence)
}

impl Store {
    /// Appends a row on its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        append(&mut tx, self.clock.now(), entry).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// The newest rows that a filter lets through, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_newest(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        sqlx::query_as!(
            AuditRow,
            "with about as (
                 select id from clusters where name = $1
                 union select id from operations where target = $1
                 union select id from plans where target = $1)
             select sequence, at, actor, action, subject, details, previous_hash, hash
             from audit
             where ($1::text is null or subject = $1 or subject in (select id::text from about))
               and ($2::text is null or actor = $2)
               and ($3::timestamptz is null or at >= $3)
             order by sequence desc limit $4",
            filter.cluster,
            filter.actor.map(|actor| actor.to_string()),
            filter.since,
            filter.limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the audit"))
    }

    /// Up to 1,000 rows after `sequence`, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_rows_after(&self, sequence: i64) -> Result<Vec<AuditRow>, StoreError> {
        sqlx::query_as!(
            AuditRow,
            "select sequence, at, actor, action, subject, details, previous_hash, hash
             from audit where sequence > $1 order by sequence limit 1000",
            sequence
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the audit"))
    }

    /// Proves the chain whole, row by row, in bounded memory.
    ///
    /// # Errors
    /// When the database fails; a broken chain is an answer, not an error.
    pub async fn verify_audit(&self) -> Result<Verification, StoreError> {
        let mut expected = 1_i64;
        let mut previous_hash = vec![0_u8; 32];
        loop {
            let rows = self.audit_rows_after(expected - 1).await?;
            if rows.is_empty() {
                return Ok(Verification::Whole {
                    rows: expected - 1,
                    last_hash: hex::encode(previous_hash),
                });
            }
            for row in rows {
                let reason = if row.sequence != expected {
                    Some(format!("row {expected} is missing"))
                } else if row.previous_hash != previous_hash {
                    Some("it does not continue the row before".to_owned())
                } else if row.hash != row.expected_hash() {
                    Some("its content was changed".to_owned())
                } else {
                    None
                };
                if let Some(reason) = reason {
                    return Ok(Verification::Broken {
                        at: expected,
                        reason,
                    });
                }
                previous_hash = row.hash;
                expected += 1;
            }
        }
    }
}
