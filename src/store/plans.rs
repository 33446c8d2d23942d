//! Plans.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::audit::{self, AuditEntry};
use super::{Store, StoreError, doing, grants, messages};
use crate::domain::ids::{DiscordChannelId, DiscordUserId, PlanId};
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::plan::{Forced, Plan, PlanDigest, PlanEssence, PlanFile, PlanState};

struct Row {
    id: PlanId,
    command: String,
    target: String,
    options: serde_json::Value,
    target_revision: i32,
    steps: serde_json::Value,
    digest: String,
    content: serde_json::Value,
    rule: serde_json::Value,
    requester_id: i64,
    channel_id: i64,
    state: String,
    state_reason: Option<String>,
    superseded_by: Option<PlanId>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    posted_in_full_at: Option<DateTime<Utc>>,
    reminded_at: Option<DateTime<Utc>>,
    forced_by: Option<i64>,
    force_reason: Option<String>,
    reviewed_by: Option<i64>,
}

fn unreadable(problem: impl ToString) -> StoreError {
    StoreError::Unreadable {
        what: "a plan",
        problem: problem.to_string(),
    }
}

impl TryFrom<Row> for Plan {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            essence: PlanEssence {
                command: row.command,
                target: row.target,
                options: row.options,
                target_revision: row.target_revision,
                steps: serde_json::from_value(row.steps).map_err(unreadable)?,
            },
            digest: PlanDigest::from_stored(row.digest),
            content: serde_json::from_value(row.content).map_err(unreadable)?,
            rule: serde_json::from_value(row.rule).map_err(unreadable)?,
            requester: DiscordUserId::from_db(row.requester_id),
            channel: DiscordChannelId::from_db(row.channel_id),
            state: PlanState::from_stored(&row.state).ok_or_else(|| unreadable(&row.state))?,
            state_reason: row.state_reason,
            superseded_by: row.superseded_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            posted_in_full_at: row.posted_in_full_at,
            reminded_at: row.reminded_at,
            forced: row.forced_by.map(|by| Forced {
                by: DiscordUserId::from_db(by),
                reason: row.force_reason.unwrap_or_default(),
            }),
            reviewed_by: row.reviewed_by.map(DiscordUserId::from_db),
        })
    }
}

/// Sets the state of a plan that waits, within the caller's transaction; false if it did not wait.
pub(crate) async fn leave_waiting(
    connection: &mut PgConnection,
    id: PlanId,
    state: PlanState,
    reason: Option<&str>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update plans set state = $2, state_reason = $3 where id = $1 and state = 'waiting'",
        id.as_uuid(),
        state.as_str(),
        reason
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("ended a plan"))?;
    if done.rows_affected() == 1 {
        messages::touch(connection, &format!("plan/{id}")).await?;
        return Ok(true);
    }
    Ok(false)
}

/// Locks the row of a plan until the transaction ends and reads it.
pub(crate) async fn lock(connection: &mut PgConnection, id: PlanId) -> Result<bool, StoreError> {
    let found = sqlx::query!(
        "select id from plans where id = $1 for update",
        id.as_uuid()
    )
    .fetch_optional(connection)
    .await
    .map_err(doing("locked a plan"))?;
    Ok(found.is_some())
}

async fn supersede(
    connection: &mut PgConnection,
    id: PlanId,
    by: PlanId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update plans set state = 'superseded', superseded_by = $2,
             state_reason = 'an identical plan was made again and keeps its approvals'
         where id = $1 and state = 'waiting'",
        id.as_uuid(),
        by.as_uuid()
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("superseded a plan"))?;
    messages::touch(connection, &format!("plan/{id}")).await
}

impl Store {
    /// Keeps a new plan with its files, takes over the grants of an identical one that waits, and
    /// tells it to its channel.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_plan(
        &self,
        plan: &Plan,
        remind_at: Option<DateTime<Utc>>,
        files: &[PlanFile],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        insert(&mut tx, self.clock.now(), plan, (remind_at, files)).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// A plan.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan(&self, id: PlanId) -> Result<Option<Plan>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: PlanId", command, target, options, target_revision, steps, digest,
                      content, rule, requester_id, channel_id, state, state_reason,
                      superseded_by as "superseded_by: PlanId", created_at, expires_at,
                      posted_in_full_at, reminded_at, forced_by, force_reason, reviewed_by
               from plans where id = $1"#,
            id.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a plan"))?
        .map(Plan::try_from)
        .transpose()
    }

    /// Every plan that waits, oldest first; at most 1,000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting_plans(&self) -> Result<Vec<Plan>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: PlanId", command, target, options, target_revision, steps, digest,
                      content, rule, requester_id, channel_id, state, state_reason,
                      superseded_by as "superseded_by: PlanId", created_at, expires_at,
                      posted_in_full_at, reminded_at, forced_by, force_reason, reviewed_by
               from plans where state = 'waiting' order by created_at limit 1000"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the waiting plans"))?
        .into_iter()
        .map(Plan::try_from)
        .collect()
    }

    /// The identical plans that this one took over, directly or one from another; at most 100.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plans_before(&self, id: PlanId) -> Result<Vec<Plan>, StoreError> {
        let mut before: Vec<Plan> = Vec::new();
        let mut ids = vec![id.as_uuid()];
        while !ids.is_empty() && before.len() < 100 {
            let rows = sqlx::query_as!(
                Row,
                r#"select id as "id: PlanId", command, target, options, target_revision, steps,
                          digest, content, rule, requester_id, channel_id, state, state_reason,
                          superseded_by as "superseded_by: PlanId", created_at, expires_at,
                          posted_in_full_at, reminded_at, forced_by, force_reason, reviewed_by
                   from plans where superseded_by = any($1) limit 100"#,
                &ids
            )
            .fetch_all(&self.pool)
            .await
            .map_err(doing("read the plans before"))?;
            let rows: Vec<Plan> = rows
                .into_iter()
                .map(Plan::try_from)
                .collect::<Result<_, _>>()?;
            ids = rows.iter().map(|plan| plan.id.as_uuid()).collect();
            before.extend(rows);
        }
        Ok(before)
    }

    /// The files of a plan, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_files(&self, id: PlanId) -> Result<Vec<PlanFile>, StoreError> {
        sqlx::query_as!(
            PlanFile,
            "select name, content from plan_files where plan_id = $1 order by name",
            id.as_uuid()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read a plan's files"))
    }

    /// Marks that the message of a plan is complete, with its reactions: from now on they count.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_posted_in_full(&self, id: PlanId) -> Result<(), StoreError> {
        sqlx::query!(
            "update plans set posted_in_full_at = coalesce(posted_in_full_at, $2) where id = $1",
            id.as_uuid(),
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .map_err(doing("marked a plan as posted"))?;
        Ok(())
    }

    /// Ends a plan that waits; false if it did not wait any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_plan(
        &self,
        id: PlanId,
        state: PlanState,
        reason: &str,
        by: Option<DiscordUserId>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        if !leave_waiting(&mut tx, id, state, Some(reason)).await? {
            return Ok(false);
        }
        let details = serde_json::json!({"state": state, "reason": reason});
        let entry = by.map_or_else(
            || AuditEntry::by_bot("plan.ended", id.to_string(), details.clone()),
            |user| AuditEntry::by(user, "plan.ended", id.to_string(), details.clone()),
        );
        audit::append(&mut tx, self.clock.now(), entry).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// The plans whose reminder is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_reminders(&self) -> Result<Vec<PlanId>, StoreError> {
        sqlx::query_scalar!(
            r#"select id as "id: PlanId" from plans
               where state = 'waiting' and reminded_at is null and remind_at <= $1
                 and expires_at > $1
               order by remind_at limit 1000"#,
            self.clock.now()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("looked for reminders"))
    }

    /// Marks a plan as reminded and tells its reminder, in one transaction; false if somebody did
    /// already or it does not wait any more.
    ///
    /// # Errors
    /// When the database fails; the reminder is due still.
    pub async fn remind_plan(
        &self,
        id: PlanId,
        notice: Notice,
        place: &Place,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let done = sqlx::query!(
            "update plans set reminded_at = $2
             where id = $1 and state = 'waiting' and reminded_at is null",
            id.as_uuid(),
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("marked a plan as reminded"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let (key, kind) = (format!("reminder/{id}"), MessageKind::Notice(notice));
        messages::tell(&mut tx, now, &key, &kind, place).await?;
        messages::touch(&mut tx, &format!("plan/{id}")).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Records that somebody breaks the glass and tells it, in one transaction; false if the plan
    /// does not wait any more, has expired or was forced before.
    ///
    /// # Errors
    /// When the database fails; nothing is recorded or told then.
    pub async fn force_plan(
        &self,
        id: PlanId,
        forced: &Forced,
        notice: Notice,
        place: &Place,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let done = sqlx::query!(
            "update plans set forced_by = $2, force_reason = $3
             where id = $1 and state = 'waiting' and forced_by is null and expires_at > $4",
            id.as_uuid(),
            forced.by.to_db(),
            forced.reason,
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("forced a plan"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let details = serde_json::json!({"reason": forced.reason});
        let entry = AuditEntry::by(forced.by, "plan.forced", id.to_string(), details);
        audit::append(&mut tx, now, entry).await?;
        let (key, kind) = (format!("forced/{id}"), MessageKind::Notice(notice));
        messages::tell(&mut tx, now, &key, &kind, place).await?;
        messages::touch(&mut tx, &format!("plan/{id}")).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Records that a second person reviewed a forced start; false if somebody already did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn review_plan(&self, id: PlanId, by: DiscordUserId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let done = sqlx::query!(
            "update plans set reviewed_by = $2, reviewed_at = $3
             where id = $1 and forced_by is not null and forced_by <> $2 and reviewed_by is null",
            id.as_uuid(),
            by.to_db(),
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("reviewed a plan"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let entry = AuditEntry::by(by, "plan.reviewed", id.to_string(), serde_json::json!({}));
        audit::append(&mut tx, now, entry).await?;
        messages::touch(&mut tx, &format!("plan/{id}")).await?;
        messages::touch(&mut tx, &format!("forced/{id}")).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }
}

/// Keeps a new plan within the caller's transaction; see [`Store::insert_plan`].
pub(super) async fn insert(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    plan: &Plan,
    (remind_at, files): (Option<DateTime<Utc>>, &[PlanFile]),
) -> Result<(), StoreError> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtext($1)) as locked",
        plan.digest.as_str()
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(doing("locked a digest"))?;
    // Locked, so that it neither starts nor ends while its grants are carried over. One that
    // has expired keeps what it has until the sweep comes; one that was forced starts itself.
    let identical = sqlx::query_scalar!(
        r#"select id as "id: PlanId" from plans
           where digest = $1 and state = 'waiting' and expires_at > $2 and forced_by is null
           order by created_at desc limit 1 for update"#,
        plan.digest.as_str(),
        now
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(doing("looked for an identical plan"))?;
    insert_row(&mut *connection, plan, remind_at).await?;
    for file in files {
        sqlx::query!(
            "insert into plan_files (plan_id, name, content) values ($1, $2, $3)",
            plan.id.as_uuid(),
            file.name,
            file.content
        )
        .execute(&mut *connection)
        .await
        .map_err(doing("kept a plan's file"))?;
    }
    if let Some(identical) = identical {
        grants::carry(&mut *connection, identical, plan.id, plan.requester).await?;
        supersede(&mut *connection, identical, plan.id).await?;
    }
    let details = serde_json::json!({
        "command": plan.essence.command,
        "target": plan.essence.target,
        "digest": plan.digest.as_str(),
        "supersedes": identical,
    });
    let entry = AuditEntry::by(
        plan.requester,
        "plan.requested",
        plan.id.to_string(),
        details,
    );
    audit::append(&mut *connection, now, entry).await?;
    let place = Place::Channel(plan.channel);
    let key = format!("plan/{}", plan.id);
    messages::tell(
        &mut *connection,
        now,
        &key,
        &MessageKind::Plan(plan.id),
        &place,
    )
    .await
}

async fn insert_row(
    connection: &mut PgConnection,
    plan: &Plan,
    remind_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into plans (id, command, target, options, target_revision, steps, digest, content,
                            rule, requester_id, channel_id, state, created_at, expires_at, remind_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting', $12, $13, $14)",
        plan.id.as_uuid(),
        plan.essence.command,
        plan.essence.target,
        plan.essence.options,
        plan.essence.target_revision,
        serde_json::to_value(&plan.essence.steps).map_err(unreadable)?,
        plan.digest.as_str(),
        serde_json::to_value(&plan.content).map_err(unreadable)?,
        serde_json::to_value(&plan.rule).map_err(unreadable)?,
        plan.requester.to_db(),
        plan.channel.to_db(),
        plan.created_at,
        plan.expires_at,
        remind_at
    )
    .execute(connection)
    .await
    .map_err(doing("kept a plan"))?;
    Ok(())
}
