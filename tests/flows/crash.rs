//! The bot is killed with SIGKILL before and after every intent, effect and result, and at random.
//!
//! Nothing in the product knows of it: a trigger in the test's own database lets the transaction
//! wait that would write a given row, the test sees it wait, kills the bot, and PostgreSQL rolls
//! the transaction back. So at `running` the intent is not there, at `done` the effect is there and
//! its result is not.

use std::time::{Duration, Instant};

use pangeo_bot::domain::deploy::STEPS;
use sandbox::discord::{Discord, Message};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";

/// What a start may take until the work goes on.
const CONTINUES_WITHIN: Duration = Duration::from_secs(10);

/// A row that the bot is about to write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point<'a> {
    /// The state of a step.
    Step(&'a str, &'a str),
    /// The mark before the first post of a message, by the start of its key.
    Attempt(&'a str),
    /// The record after it.
    Posted(&'a str),
}

impl Point<'_> {
    fn condition(self) -> (&'static str, String) {
        match self {
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

/// Starts the bot again; at the next point it will wait.
pub(crate) async fn start_again(scene: &mut Scene, next: Option<Point<'_>>) {
    if let Some(next) = next {
        arm(&scene.pool, next).await;
    }
    let took = scene.bot.start().await.unwrap();
    assert!(took < CONTINUES_WITHIN, "the start took {took:?}");
}

/// One infrastructure, one release, and each message once.
async fn all_is_right(scene: &Scene) {
    scene.sees("succeeded").await;
    let bot = scene.world.discord.application_id();
    let by_bot = |messages: Vec<Message>| -> Vec<Message> {
        let of_bot = |m: &Message| m.author == bot && !m.is_ephemeral() && m.kind != 18;
        messages.into_iter().filter(of_bot).collect()
    };
    let channel = || {
        by_bot(
            scene
                .world
                .discord
                .messages(scene.world.discord.channel_id()),
        )
    };
    let told = |_: &Discord| (channel().len() >= 2).then_some(());
    scene
        .world
        .discord
        .wait_until(PATIENCE, told)
        .await
        .unwrap();
    let channel = channel();
    assert_eq!(channel.len(), 2, "the plan and the hub: {channel:#?}");
    let infrastructures = scene.world.im.infrastructures();
    assert_eq!(infrastructures.len(), 1, "{infrastructures:#?}");
    assert_eq!(scene.world.im.create_calls(), 1);
    let releases = scene.world.front_ends.releases(&infrastructures[0].id);
    assert_eq!(releases.len(), 1, "{releases:#?}");
    assert_eq!(releases[0].status, "deployed");
    assert_eq!(scene.world.front_ends.helm_runs(&infrastructures[0].id), 1);
    let thread = scene.world.discord.thread_of(channel[0].id).unwrap();
    let told = by_bot(scene.world.discord.messages(thread.id));
    assert_eq!(told.len(), 2, "the progress and the summary: {told:#?}");
    let revisions: i64 = sqlx::query_scalar("select count(*) from revisions")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(revisions, 1);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_at_every_intent_and_result_a_deploy_ends_right(pool: PgPool) {
    let mut scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;

    let points: Vec<Point<'_>> = STEPS
        .iter()
        .flat_map(|step| [Point::Step(step, "running"), Point::Step(step, "done")])
        .collect();
    arm(&scene.pool, points[0]).await;
    scene.person("ben").reacts(&plan, "✅");
    for (at, point) in points.iter().enumerate() {
        kill_there(&mut scene, *point).await;
        start_again(&mut scene, points.get(at + 1).copied()).await;
    }
    all_is_right(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_around_every_post_no_message_is_lost_or_doubled(pool: PgPool) {
    let mut scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    arm(&scene.pool, Point::Attempt("plan")).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    kill_there(&mut scene, Point::Attempt("plan")).await;
    start_again(&mut scene, Some(Point::Posted("plan"))).await;
    kill_there(&mut scene, Point::Posted("plan")).await;
    start_again(&mut scene, Some(Point::Attempt("progress"))).await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    let points = [
        Point::Attempt("progress"),
        Point::Posted("progress"),
        Point::Attempt("summary"),
        Point::Posted("summary"),
        Point::Attempt("hub"),
        Point::Posted("hub"),
    ];
    for (at, point) in points.iter().enumerate() {
        kill_there(&mut scene, *point).await;
        start_again(&mut scene, points.get(at + 1).copied()).await;
    }
    all_is_right(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_at_random_a_deploy_ends_right(pool: PgPool) {
    let mut scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    // The times are spread by a fixed sequence, so that a failure can be seen again.
    for turn in 0..12_u64 {
        let pause = Duration::from_millis(40 + (turn * 137) % 500);
        // The bot works meanwhile; there is nothing to wait for but the moment of its death.
        let work = std::future::pending::<()>();
        tokio::time::timeout(pause, work).await.unwrap_err();
        scene.bot.kill().await.unwrap();
        start_again(&mut scene, None).await;
    }
    all_is_right(&scene).await;
}
