//! The bot is killed with SIGKILL before and after every intent and result, around every post, and
//! at random. See `kill.rs` for how, `effects.rs` for kills around effects.

use std::time::Duration;

use pangeo_bot::domain::deploy::STEPS;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::kill::{DEPLOY, HOST, Mark, Point, all_is_right, arm, kill_there, start_again};
use crate::scene::Scene;

/// How many random kills are tried at most, and how many must hit a deploy that runs.
const KILLS: u64 = 16;
const KILLS_THAT_COUNT: u32 = 8;

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
    Mark::when_it_runs(&scene.pool).await;
    // The times are spread by a fixed sequence, so that a failure can be seen again.
    let mut counted = 0;
    for turn in 0..KILLS {
        let pause = Duration::from_millis(40 + (turn * 137) % 400);
        // The bot works meanwhile; there is nothing to wait for but the moment of its death.
        let work = std::future::pending::<()>();
        tokio::time::timeout(pause, work).await.unwrap_err();
        scene.bot.kill().await.unwrap();
        if !Mark::of(&scene.pool).await.runs() {
            scene.bot.start().await.unwrap();
            break;
        }
        counted += 1;
        start_again(&mut scene, None).await;
    }
    assert!(
        counted >= KILLS_THAT_COUNT,
        "only {counted} kills hit a deploy that ran"
    );
    all_is_right(&scene).await;
}
