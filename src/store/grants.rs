//! Grants: who said yes or no to a plan.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::audit::{self, AuditEntry};
use super::{Store, StoreError, doing, messages};
use crate::domain::approval::{Grant, GrantSource, Verdict};
use crate::domain::ids::{DiscordUserId, PlanId};

fn unreadable(problem: &str) -> StoreError {
    StoreError::Unreadable {
        what: "a grant",
        problem: problem.to_owned(),
    }
}

struct GrantRow {
    user_id: i64,
    source: String,
    verdict: String,
    given_at: DateTime<Utc>,
}

impl TryFrom<GrantRow> for Grant {
    type Error = StoreError;

    fn try_from(row: GrantRow) -> Result<Self, StoreError> {
        Ok(Self {
            user: DiscordUserId::from_db(row.user_id),
            source: [
                GrantSource::Reaction,
                GrantSource::Button,
                GrantSource::Carried,
                GrantSource::Schedule,
            ]
            .into_iter()
            .find(|source| source.as_str() == row.source)
            .ok_or_else(|| unreadable(&row.source))?,
            verdict: [Verdict::Approve, Verdict::Refuse]
                .into_iter()
                .find(|verdict| verdict.as_str() == row.verdict)
                .ok_or_else(|| unreadable(&row.verdict))?,
            given_at: row.given_at,
        })
    }
}

/// Takes the grants of a plan over to an identical one that replaces it, within the caller's
/// transaction.
pub(super) async fn carry(
    connection: &mut PgConnection,
    from: PlanId,
    to: PlanId,
    requester: DiscordUserId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into grants (plan_id, user_id, source, verdict, given_at)
         select distinct on (user_id) $2, user_id, 'carried', verdict, given_at from grants
         where plan_id = $1 and verdict = 'approve' and taken_back_at is null
           and ignored_because is null and user_id <> $3
         order by user_id, given_at",
        from.as_uuid(),
        to.as_uuid(),
        requester.to_db()
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("carried grants"))?;
    Ok(())
}

impl Store {
    /// The grants of a plan that count now, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn grants(&self, plan: PlanId) -> Result<Vec<Grant>, StoreError> {
        sqlx::query_as!(
            GrantRow,
            "select user_id, source, verdict, given_at from grants
             where plan_id = $1 and taken_back_at is null and ignored_because is null
             order by given_at, user_id",
            plan.as_uuid()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the grants"))?
        .into_iter()
        .map(Grant::try_from)
        .collect()
    }

    /// Records a grant. Answers whether it is new; a known one that counts changes nothing, and one
    /// that is ignored stays ignored until it is taken back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_grant(
        &self,
        plan: PlanId,
        grant: &Grant,
        ignored_because: Option<&str>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query!(
            "insert into grants (plan_id, user_id, source, verdict, given_at, ignored_because)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (plan_id, user_id, source, verdict) do update
             set given_at = excluded.given_at, taken_back_at = null,
                 ignored_because = excluded.ignored_because
             where grants.taken_back_at is not null",
            plan.as_uuid(),
            grant.user.to_db(),
            grant.source.as_str(),
            grant.verdict.as_str(),
            grant.given_at,
            ignored_because
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("recorded a grant"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let details = serde_json::json!({
            "verdict": grant.verdict, "source": grant.source, "ignored": ignored_because,
        });
        let entry = AuditEntry::by(grant.user, "plan.answered", plan.to_string(), details);
        audit::append(&mut tx, self.clock.now(), entry).await?;
        messages::touch(&mut tx, &format!("plan/{plan}")).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Takes a person's grants back; `source` and `verdict` narrow which. Answers whether there
    /// was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_grant_back(
        &self,
        plan: PlanId,
        user: DiscordUserId,
        source: Option<GrantSource>,
        verdict: Option<Verdict>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query!(
            "update grants set taken_back_at = $5
             where plan_id = $1 and user_id = $2 and taken_back_at is null
               and ($3::text is null or source = $3) and ($4::text is null or verdict = $4)",
            plan.as_uuid(),
            user.to_db(),
            source.map(GrantSource::as_str),
            verdict.map(Verdict::as_str),
            self.clock.now()
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("took a grant back"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let entry = AuditEntry::by(
            user,
            "plan.grant-taken-back",
            plan.to_string(),
            serde_json::json!({}),
        );
        audit::append(&mut tx, self.clock.now(), entry).await?;
        messages::touch(&mut tx, &format!("plan/{plan}")).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Every reaction grant of a plan that was not taken back, also the ignored ones.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reaction_grants(&self, plan: PlanId) -> Result<Vec<Grant>, StoreError> {
        sqlx::query_as!(
            GrantRow,
            "select user_id, source, verdict, given_at from grants
             where plan_id = $1 and taken_back_at is null and source = 'reaction'
             order by given_at, user_id",
            plan.as_uuid()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the reactions"))?
        .into_iter()
        .map(Grant::try_from)
        .collect()
    }
}
