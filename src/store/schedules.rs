//! Schedules: what runs by itself, and the right to make the plan of a run.
//!
//! A replica claims the runs that are due for the time of a lease and gets a new attempt number.
//! What it does then is one transaction that names the attempt: the plan of the run with the
//! schedule's grants and the schedule's next time, or why it does not start and the next time. So
//! no run is made twice, and none is lost.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::audit::{self, AuditEntry};
use super::{Store, StoreError, doing, messages, plans, wake};
use crate::domain::cluster::Phase;
use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, EventId, PlanId, ScheduleId};
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::operation::Operation;
use crate::domain::plan::{Plan, PlanFile};
use crate::domain::schedule::{MOST, Schedule, ScheduleTimes, ScheduleWish};

/// How many runs one replica makes at once.
const AT_ONCE: i64 = 8;

struct Row {
    id: ScheduleId,
    cluster_id: ClusterId,
    name: String,
    plan_id: PlanId,
    command: String,
    options: serde_json::Value,
    digest: String,
    whenever: String,
    reason: String,
    until: DateTime<Utc>,
    made_by: i64,
    channel_id: i64,
    next_at: Option<DateTime<Utc>>,
    skip_at: Option<DateTime<Utc>>,
    skipped_by: Option<i64>,
    last_at: Option<DateTime<Utc>>,
    last_plan: Option<PlanId>,
    last_result: Option<String>,
    event_id: Option<EventId>,
}

impl TryFrom<Row> for Schedule {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let options = serde_json::from_value(row.options);
        let options = options.map_err(|error| StoreError::Unreadable {
            what: "a schedule",
            problem: error.to_string(),
        })?;
        let skip = row.skip_at.zip(row.skipped_by);
        Ok(Self {
            id: row.id,
            cluster: row.cluster_id,
            name: row.name,
            plan: row.plan_id,
            wish: ScheduleWish {
                command: row.command,
                options,
                digest: row.digest,
                when: row.whenever,
                reason: row.reason,
                until: row.until,
            },
            made_by: DiscordUserId::from_db(row.made_by),
            channel: DiscordChannelId::from_db(row.channel_id),
            next_at: row.next_at,
            skip: skip.map(|(at, by)| (at, DiscordUserId::from_db(by))),
            last_at: row.last_at,
            last_plan: row.last_plan,
            last_result: row.last_result,
            event: row.event_id,
        })
    }
}

/// A run that is due, and the right to make it.
#[derive(Clone, Debug)]
pub struct Run {
    /// The schedule.
    pub schedule: Schedule,
    /// When it is due.
    pub at: DateTime<Utc>,
    /// Whether the cluster is there still.
    pub cluster: Phase,
    attempt: i32,
}

/// A schedule that is about to be kept.
pub(super) struct NewSchedule<'a> {
    /// Its id.
    pub(super) id: ScheduleId,
    /// What runs, and when.
    pub(super) wish: &'a ScheduleWish,
    /// The first run.
    pub(super) next_at: Option<DateTime<Utc>>,
    /// The event for which it runs.
    pub(super) event: Option<EventId>,
}

/// Why a run does not start, for the rows and the channel.
#[derive(Clone, Debug)]
pub struct NotRun {
    /// In a few words, for lists.
    pub result: String,
    /// What the channel is told, if anything.
    pub notice: Option<Notice>,
    /// The run after it; none ends the schedule.
    pub next_at: Option<DateTime<Utc>>,
}

/// The key of what is told of a run; as fine as the database keeps times, so that no run has that
/// of another.
fn run_key(schedule: ScheduleId, at: DateTime<Utc>) -> String {
    format!("schedule/{schedule}/{}", at.timestamp_micros())
}

impl Store {
    /// Keeps a schedule, once; false if there are as many as there may be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_schedule(
        &self,
        id: ScheduleId,
        operation: &Operation,
        wish: &ScheduleWish,
        next_at: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let new = NewSchedule {
            id,
            wish,
            next_at,
            event: None,
        };
        if !insert(&mut tx, now, operation, &new).await? {
            return Ok(self.schedule(id).await?.is_some());
        }
        wake(&mut tx).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Ends a schedule; false if it is over. `by` is nobody when it was undone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_schedule(
        &self,
        id: ScheduleId,
        by: Option<DiscordUserId>,
        because: &str,
        notice: Option<Notice>,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let ended = sqlx::query!(
            "update schedules set next_at = null, ended_by = $2, ended_because = $3,
                 attempt = attempt + 1, holder = null, held_until = null
             where id = $1 and next_at is not null returning channel_id",
            id.as_uuid(),
            by.map(DiscordUserId::to_db),
            because
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("ended a schedule"))?;
        let Some(ended) = ended else { return Ok(false) };
        let details = serde_json::json!({"because": because});
        let entry = match by {
            Some(by) => AuditEntry::by(by, "schedule.removed", id.to_string(), details),
            None => AuditEntry::by_bot("schedule.removed", id.to_string(), details),
        };
        audit::append(&mut tx, now, entry).await?;
        if let Some(notice) = notice {
            let place = Place::Channel(DiscordChannelId::from_db(ended.channel_id));
            let kind = MessageKind::Notice(notice);
            let key = format!("schedule-removed/{id}");
            messages::tell(&mut tx, now, &key, &kind, &place).await?;
        }
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Leaves one run out; false if it is not the next one any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn skip_run(
        &self,
        schedule: &Schedule,
        at: DateTime<Utc>,
        by: DiscordUserId,
        notice: Notice,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        // A run whose plan is being made is fenced off.
        let done = sqlx::query!(
            "update schedules set skip_at = $2, skipped_by = $3, attempt = attempt + 1,
                 holder = null, held_until = null
             where id = $1 and date_trunc('second', next_at) = date_trunc('second', $2::timestamptz)
               and skip_at is distinct from $2",
            schedule.id.as_uuid(),
            at,
            by.to_db()
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("skipped a run"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let details = serde_json::json!({"at": at});
        let entry = AuditEntry::by(by, "schedule.skipped", schedule.id.to_string(), details);
        audit::append(&mut tx, now, entry).await?;
        let key = format!("{}/skipped", run_key(schedule.id, at));
        let place = Place::Channel(schedule.channel);
        messages::tell(&mut tx, now, &key, &MessageKind::Notice(notice), &place).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// A schedule.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select s.id as "id: ScheduleId", cluster_id as "cluster_id: ClusterId", c.name,
                   plan_id as "plan_id: PlanId", command, s.options, digest, whenever, reason, until,
                   made_by, channel_id, next_at, skip_at, skipped_by, last_at,
                   last_plan as "last_plan: PlanId", last_result,
                   event_id as "event_id: EventId"
               from schedules s join clusters c on c.id = s.cluster_id where s.id = $1"#,
            id.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a schedule"))?
        .map(Schedule::try_from)
        .transpose()
    }

    /// The schedules that are not over, the next to run first; of a cluster, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedules(&self, cluster: Option<&str>) -> Result<Vec<Schedule>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select s.id as "id: ScheduleId", cluster_id as "cluster_id: ClusterId", c.name,
                   plan_id as "plan_id: PlanId", command, s.options, digest, whenever, reason, until,
                   made_by, channel_id, next_at, skip_at, skipped_by, last_at,
                   last_plan as "last_plan: PlanId", last_result,
                   event_id as "event_id: EventId"
               from schedules s join clusters c on c.id = s.cluster_id
               where next_at is not null
                 and ($1::text is null or c.name = $1 and c.phase <> 'removed')
               order by next_at, s.id limit 200"#,
            cluster
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the schedules"))?
        .into_iter()
        .map(Schedule::try_from)
        .collect()
    }

    /// The schedule that is not over whose id, or its last 8 digits, a person typed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedule_by_text(&self, text: &str) -> Result<Option<Schedule>, StoreError> {
        let all = self.schedules(None).await?;
        let text = text.to_lowercase();
        let mut all = all.into_iter();
        Ok(all.find(|one| one.id.short() == text || one.id.to_string() == text))
    }

    /// When something about schedules is to be done next: a run, or its announcement.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_of_schedules(
        &self,
        announce_before: Duration,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let row = sqlx::query!(
            "select min(next_at) filter (where announced_for is distinct from next_at) as told,
                 min(next_at) as runs from schedules where next_at is not null"
        )
        .fetch_one(&self.pool)
        .await
        .map_err(doing("looked for the next run"))?;
        Ok([row.told.map(|at| at - announce_before), row.runs]
            .into_iter()
            .flatten()
            .min())
    }

    /// Tells the channel of one run that comes soon; false if there is none. One that is too late
    /// already is not told: it does not run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn announce_run(
        &self,
        times: ScheduleTimes,
        words: impl Fn(&Schedule, DateTime<Utc>) -> Notice + Send,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let row = sqlx::query_as!(
            Row,
            r#"select s.id as "id: ScheduleId", cluster_id as "cluster_id: ClusterId", c.name,
                   plan_id as "plan_id: PlanId", command, s.options, digest, whenever, reason, until,
                   made_by, channel_id, next_at, skip_at, skipped_by, last_at,
                   last_plan as "last_plan: PlanId", last_result,
                   event_id as "event_id: EventId"
               from schedules s join clusters c on c.id = s.cluster_id
               where next_at <= $1 and next_at >= $2 and announced_for is distinct from next_at
               order by next_at limit 1 for update of s skip locked"#,
            now + times.announce_before,
            now - times.late_at_most
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("looked for a run to tell"))?;
        let Some(row) = row else { return Ok(false) };
        let schedule = Schedule::try_from(row)?;
        let at = schedule.next_at.unwrap_or(now);
        sqlx::query!(
            "update schedules set announced_for = next_at where id = $1",
            schedule.id.as_uuid()
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("marked a run as told"))?;
        let kind = MessageKind::Notice(words(&schedule, at));
        let place = Place::Channel(schedule.channel);
        messages::tell(&mut tx, now, &run_key(schedule.id, at), &kind, &place).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }

    /// Claims the runs that are due, for the time of a lease. What a dead process of this very
    /// replica held is claimed at once, so call it only when this one has none in hand.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_runs(&self, replica: &str, lease: Duration) -> Result<Vec<Run>, StoreError> {
        let now = self.clock.now();
        let claimed = sqlx::query!(
            r#"update schedules set holder = $1, held_until = $2, attempt = attempt + 1
               where id in (
                   select id from schedules
                   where next_at <= $3 and (held_until is null or held_until < $3 or holder = $1)
                   order by next_at limit $4 for update skip locked)
               returning id as "id: ScheduleId", attempt, next_at,
                   (select phase from clusters c where c.id = cluster_id) as "phase!""#,
            replica,
            now + lease,
            now,
            AT_ONCE
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("claimed runs"))?;
        let mut runs = Vec::new();
        for row in claimed {
            let (Some(schedule), Some(at)) = (self.schedule(row.id).await?, row.next_at) else {
                continue;
            };
            runs.push(Run {
                schedule,
                at,
                cluster: Phase::from_stored(&row.phase).unwrap_or(Phase::Removed),
                attempt: row.attempt,
            });
        }
        Ok(runs)
    }

    /// Gives a run back that can't be made now; it is tried again after a pause.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_run_off(&self, run: &Run, pause: Duration) -> Result<(), StoreError> {
        sqlx::query!(
            "update schedules set holder = null, held_until = $3 where id = $1 and attempt = $2",
            run.schedule.id.as_uuid(),
            run.attempt,
            self.clock.now() + pause
        )
        .execute(&self.pool)
        .await
        .map_err(doing("put a run off"))?;
        Ok(())
    }

    /// Records that a run does not start, and why.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when somebody else took it over.
    pub async fn run_not_started(&self, run: &Run, not_run: NotRun) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        go_on(&mut tx, run, (None, &not_run.result), not_run.next_at).await?;
        let id = run.schedule.id;
        let details = serde_json::json!({"at": run.at, "because": not_run.result});
        let entry = AuditEntry::by_bot("schedule.not-started", id.to_string(), details);
        audit::append(&mut tx, now, entry).await?;
        if let Some(notice) = not_run.notice {
            let key = format!("{}/not-started", run_key(id, run.at));
            let place = Place::Channel(run.schedule.channel);
            messages::tell(&mut tx, now, &key, &MessageKind::Notice(notice), &place).await?;
        }
        tx.commit().await.map_err(doing("committed"))
    }

    /// Keeps the plan of a run with the grants of its schedule, in one transaction with the
    /// schedule's next time.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when somebody else took it over: nothing is kept.
    pub async fn insert_plan_of_run(
        &self,
        plan: &Plan,
        (remind_at, files): (Option<DateTime<Utc>>, &[PlanFile]),
        run: &Run,
        next_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        plans::insert(&mut tx, now, plan, (remind_at, files)).await?;
        go_on(&mut tx, run, (Some(plan.id), "started"), next_at).await?;
        let by = sqlx::query_scalar!(
            "insert into grants (plan_id, user_id, source, verdict, given_at)
             select distinct on (user_id) $2, user_id, 'schedule', verdict, given_at from grants
             where plan_id = $1 and verdict = 'approve' and taken_back_at is null
               and ignored_because is null and user_id <> $3
             order by user_id, given_at
             on conflict do nothing returning user_id",
            run.schedule.plan.as_uuid(),
            plan.id.as_uuid(),
            plan.requester.to_db()
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(doing("gave a run the grants of its schedule"))?;
        let by: Vec<String> = by
            .into_iter()
            .map(|user| DiscordUserId::from_db(user).to_string())
            .collect();
        let details = serde_json::json!({
            "at": run.at, "plan": plan.id, "approved_by": by, "approved_with": run.schedule.plan,
        });
        let subject = run.schedule.id.to_string();
        let entry = AuditEntry::by_bot("schedule.planned", subject, details);
        audit::append(&mut tx, now, entry).await?;
        tx.commit().await.map_err(doing("committed"))
    }
}

/// Keeps a schedule with its audit row; false if it is kept already, or there are as many as there
/// may be.
pub(super) async fn insert(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    operation: &Operation,
    new: &NewSchedule<'_>,
) -> Result<bool, StoreError> {
    let open = count_open(connection).await?;
    let wish = new.wish;
    let done = sqlx::query!(
        "insert into schedules (id, cluster_id, plan_id, command, options, digest, whenever,
             reason, until, made_by, channel_id, made_at, next_at, event_id)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
         where $15 < $16::bigint
         on conflict (id) do nothing",
        new.id.as_uuid(),
        operation.cluster.as_uuid(),
        operation.plan.map(PlanId::as_uuid),
        wish.command,
        serde_json::json!(wish.options),
        wish.digest,
        wish.when,
        wish.reason,
        wish.until,
        operation.requester.to_db(),
        operation.channel.to_db(),
        now,
        new.next_at,
        new.event.map(EventId::as_uuid),
        open,
        i64::try_from(MOST).unwrap_or(i64::MAX)
    )
    .execute(&mut *connection)
    .await
    .map_err(doing("kept a schedule"))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let details = serde_json::json!({
        "cluster": operation.cluster, "command": wish.command, "options": wish.options,
        "when": wish.when, "until": wish.until, "reason": wish.reason, "plan": operation.plan,
        "event": new.event,
    });
    let (by, subject) = (operation.requester, new.id.to_string());
    let entry = AuditEntry::by(by, "schedule.added", subject, details);
    audit::append(connection, now, entry).await?;
    Ok(true)
}

/// How many schedules are not over; nobody adds one until the transaction ends.
async fn count_open(connection: &mut PgConnection) -> Result<i64, StoreError> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('schedules')) as locked")
        .fetch_one(&mut *connection)
        .await
        .map_err(doing("locked the schedules"))?;
    sqlx::query_scalar!(r#"select count(*) as "open!" from schedules where next_at is not null"#)
        .fetch_one(connection)
        .await
        .map_err(doing("counted the schedules"))
}

/// The run is dealt with: the schedule waits for the next one, or is over.
async fn go_on(
    connection: &mut PgConnection,
    run: &Run,
    (plan, result): (Option<PlanId>, &str),
    next_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "update schedules set next_at = $3, last_at = $4, last_plan = coalesce($5, last_plan),
             last_result = $6, holder = null, held_until = null,
             ended_because = case when $3::timestamptz is null then 'it was the last time' end
         where id = $1 and attempt = $2 and next_at = $4",
        run.schedule.id.as_uuid(),
        run.attempt,
        next_at,
        run.at,
        plan.map(PlanId::as_uuid),
        result
    )
    .execute(connection)
    .await
    .map_err(doing("went on to the next run"))?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::Fenced)
    }
}
