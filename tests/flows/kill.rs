//! How the bot is killed at a chosen place, and what must be right afterwards.
//!
//! Rows: a trigger in the test's own database lets the transaction wait that would write a given
//! row, the test sees it wait, kills the bot, and PostgreSQL rolls the transaction back. So at
//! `running` the intent is not there, at `done` the effect is there and its result is not.
//!
//! Effects: the outside system lets the request or command wait before or after its effect. So
//! before it the intent is there and the effect is not, after it the effect is there and its
//! answer never comes. Nothing in the product knows of either.

use std::time::{Duration, Instant};

use sandbox::discord::{Discord, Message};
use sandbox::faults::{Hold, On, Place};
use sandbox::frontend::HeldCommand;
use sandbox::world::bot::BotProcess;
use sqlx::PgPool;

use crate::scene::{PATIENCE, Scene};

pub(crate) const HOST: &str = "geo.vm.fedcloud.eu";
pub(crate) const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";

/// What a start, or the death of another bot, may take until the work goes on.
pub(crate) const CONTINUES_WITHIN: Duration = Duration::from_secs(10);

/// A row that the bot is about to write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point<'a> {
    /// The state of a step.
    Step(&'a str, &'a str),
    /// The mark before the first post of a message, by the start of its key.
    Attempt(&'a str),
    /// The record after it.
    Posted(&'a str),
    /// The plan of a scheduled run, with the schedule's next time.
    Run,
    /// The start of the operation of a `scale`.
    Start,
}

impl Point<'_> {
    fn condition(self) -> (&'static str, String) {
        match self {
            Point::Run => (
                "schedules",
                "new.last_plan is distinct from old.last_plan".to_owned(),
            ),
            Point::Start => (
                "plans",
                "new.command = 'scale' and new.state = 'started'".to_owned(),
            ),
            Point::Step(step, state) => (
                "steps",
                format!("new.name = '{step}' and new.state = '{state}' and old.state <> '{state}'"),
            ),
            Point::Attempt(key) => (
                "messages",
                format!(
                    "new.key like '{key}/%' and new.first_attempt_at is not null and old.first_attempt_at is null"
                ),
            ),
            Point::Posted(key) => (
                "messages",
                format!(
                    "new.key like '{key}/%' and new.posted_version > 0 and old.posted_version = 0"
                ),
            ),
        }
    }
}

/// Lets the transaction wait that writes the row.
pub(crate) async fn arm(pool: &PgPool, point: Point<'_>) {
    let (table, condition) = point.condition();
    let sql = format!(
        "create function kill_point() returns trigger language plpgsql as $$
         begin
             if {condition} then perform pg_sleep(60); end if;
             return new;
         end $$;
         create trigger kill_point before update on {table} for each row execute function kill_point();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(pool)
        .await
        .unwrap();
}

/// Waits until the bot stands at the point, kills it, and takes the point away.
pub(crate) async fn kill_there(scene: &mut Scene, point: Point<'_>) {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let waiting = "select pid from pg_stat_activity
                   where datname = current_database() and wait_event = 'PgSleep'";
    loop {
        let pids: Vec<i32> = sqlx::query_scalar(waiting)
            .fetch_all(&scene.pool)
            .await
            .unwrap();
        if !pids.is_empty() {
            scene.bot.kill().await.unwrap();
            for pid in pids {
                sqlx::query("select pg_terminate_backend($1)")
                    .bind(pid)
                    .execute(&scene.pool)
                    .await
                    .unwrap();
            }
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "the bot never came to {point:?}"
        );
        look.tick().await;
    }
    let (table, _) = point.condition();
    let sql = format!("drop trigger kill_point on {table}; drop function kill_point();");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&scene.pool)
        .await
        .unwrap();
}

/// How far the work is, as the rows tell: it goes on when this changes.
#[derive(Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Mark {
    /// Claims of operations that still run; every bot that goes on with one counts up.
    attempts: i64,
    /// Operations that still run.
    running: i64,
    /// Messages whose first post was tried, and versions that were posted.
    tried: i64,
    posted: i64,
}

impl Mark {
    pub(crate) async fn of(pool: &PgPool) -> Self {
        let sql = "select coalesce(sum(attempt) filter (where is_running), 0) as attempts,
                       count(*) filter (where is_running) as running,
                       (select count(first_attempt_at) from messages) as tried,
                       (select coalesce(sum(posted_version), 0)::bigint from messages) as posted
                   from (select attempt, state in ('queued', 'running', 'waiting') as is_running
                         from operations) as each_operation";
        sqlx::query_as(sql).fetch_one(pool).await.unwrap()
    }

    /// Waits until an operation runs.
    pub(crate) async fn when_it_runs(pool: &PgPool) -> Self {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        let began = Instant::now();
        loop {
            let mark = Self::of(pool).await;
            if mark.runs() {
                return mark;
            }
            assert!(began.elapsed() < PATIENCE, "no operation runs: {mark:?}");
            look.tick().await;
        }
    }

    /// Whether an operation runs.
    pub(crate) fn runs(&self) -> bool {
        self.running > 0
    }

    /// Waits until somebody went on from here, `CONTINUES_WITHIN` after `began` at most.
    pub(crate) async fn goes_on(&self, pool: &PgPool, began: Instant) {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        loop {
            let now = Self::of(pool).await;
            let goes_on = if self.runs() {
                now.attempts > self.attempts || now.running < self.running
            } else {
                now != *self
            };
            if goes_on {
                return;
            }
            assert!(
                began.elapsed() < CONTINUES_WITHIN,
                "nothing went on after {:?}: {self:?}",
                began.elapsed()
            );
            look.tick().await;
        }
    }
}

/// Starts the bot again, and sees that the work goes on in time; at the next point the bot will wait.
pub(crate) async fn start_again(scene: &mut Scene, next: Option<Point<'_>>) {
    if let Some(next) = next {
        arm(&scene.pool, next).await;
    }
    let mark = Mark::of(&scene.pool).await;
    let began = Instant::now();
    scene.bot.start().await.unwrap();
    mark.goes_on(&scene.pool, began).await;
}

/// An effect outside, at which the bot can be killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// A request to Infrastructure Manager.
    Im(fn() -> On),
    /// A request to Dynamic DNS.
    Dns(fn() -> On),
    /// A command on the front end that contains these words.
    Command(&'static str),
}

/// An effect that is to wait.
pub(crate) enum Held {
    Request(Hold),
    Command(HeldCommand),
}

impl Effect {
    /// Makes it wait at the place.
    pub(crate) fn hold(self, scene: &Scene, place: Place) -> Held {
        match self {
            Self::Im(on) => Held::Request(scene.world.im.faults().hold(on(), place)),
            Self::Dns(on) => Held::Request(scene.world.dns.faults().hold(on(), place)),
            Self::Command(words) => {
                let front_ends = &scene.world.front_ends;
                let infrastructure = front_ends.infrastructures().remove(0);
                Held::Command(
                    front_ends
                        .hold_command(&infrastructure, words, place)
                        .unwrap(),
                )
            }
        }
    }
}

impl Held {
    /// Waits until the bot stands there.
    pub(crate) async fn reached(&self) {
        let reached = async {
            match self {
                Self::Request(hold) => hold.reached().await,
                Self::Command(held) => held.reached().await,
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.unwrap_or_else(|_| panic!("the bot never came to the effect"));
    }

    /// Kills the bot that stands there. Before its effect the effect is never made; after it, it
    /// is there and nobody got the answer.
    pub(crate) async fn kill(self, bot: &mut BotProcess) {
        self.reached().await;
        bot.kill().await.unwrap();
        match self {
            Self::Request(hold) => hold.discard(),
            Self::Command(held) => held.discard(),
        }
    }
}

/// What the bot said in a channel or thread, except to one person alone.
pub(crate) fn said_in(discord: &Discord, channel: sandbox::discord::Id) -> Vec<Message> {
    let bot = discord.application_id();
    let of_bot = |m: &Message| m.author == bot && !m.is_ephemeral() && m.kind != 18;
    discord
        .messages(channel)
        .into_iter()
        .filter(of_bot)
        .collect()
}

/// Messages that wait to be posted: one that a killed bot had claimed waits until its claim ends.
const UNPOSTED: &str =
    "select count(*) from messages where posted_version < version and failed_because is null";

/// One infrastructure, one release, and each message once.
pub(crate) async fn all_is_right(scene: &Scene) {
    scene.sees("succeeded").await;
    scene.counts(UNPOSTED, 0).await;
    let discord = &scene.world.discord;
    let channel = || said_in(discord, discord.channel_id());
    let told = |_: &Discord| (channel().len() >= 2).then_some(());
    discord.wait_until(PATIENCE, told).await.unwrap();
    let channel = channel();
    assert_eq!(channel.len(), 2, "the plan and the hub: {channel:#?}");
    let infrastructures = scene.world.im.infrastructures();
    assert_eq!(infrastructures.len(), 1, "{infrastructures:#?}");
    assert_eq!(scene.world.im.create_calls(), 1);
    let releases = scene.world.front_ends.releases(&infrastructures[0].id);
    assert_eq!(releases.len(), 1, "{releases:#?}");
    assert_eq!(releases[0].status, "deployed");
    assert_eq!(scene.world.front_ends.helm_runs(&infrastructures[0].id), 1);
    let thread = discord.thread_of(channel[0].id).unwrap();
    let told = said_in(discord, thread.id);
    assert_eq!(told.len(), 2, "the progress and the summary: {told:#?}");
    let revisions: i64 = sqlx::query_scalar("select count(*) from revisions")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(revisions, 1);
    scene.nothing_unexpected();
}

/// Nothing is left of a deploy that was stopped once and then undone, and it is said once.
pub(crate) async fn all_is_clean(scene: &Scene) {
    scene.sees_rests(2).await;
    let state: String = sqlx::query_scalar("select state from operations")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(state, "undone");
    assert_eq!(scene.world.im.infrastructures(), []);
    assert_eq!(scene.world.im.create_calls(), 1);
    assert_eq!(scene.world.front_ends.infrastructures(), [""; 0]);
    let secrets = "select count(*) from secrets where owner_kind = 'cluster'";
    let secrets: i64 = sqlx::query_scalar(secrets)
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(secrets, 0, "secrets of the cluster are left");
    scene.sees("everything that can be undone is undone").await;
    scene.sees("undo deploy geo · undone").await;
    scene.counts(UNPOSTED, 0).await;
    let discord = &scene.world.discord;
    let channel = said_in(discord, discord.channel_id());
    assert_eq!(channel.len(), 2, "the two plans: {channel:#?}");
    let thread = discord.thread_of(channel[0].id).unwrap();
    let told = said_in(discord, thread.id);
    assert_eq!(told.len(), 3, "the progress and two summaries: {told:#?}");
    scene.nothing_unexpected();
}
