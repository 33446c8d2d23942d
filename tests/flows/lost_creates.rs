//! A create whose answer is not known, at an IM that lists a new infrastructure only after a while:
//! it is looked for, and neither sent twice nor left behind by an undo.

use std::time::{Duration, Instant};

use sandbox::faults::{Fault, On, Place};
use sandbox::im::SpeedOptions;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
const LOOKS: &str = "looks whether IM took the create";
const NEVER: Duration = Duration::from_secs(3600);

/// IM lists new infrastructures so long after their creates.
fn lists_after(scene: &Scene, listing: Duration) {
    scene.world.im.set_speed(SpeedOptions {
        listing,
        ..SpeedOptions::for_tests()
    });
}

/// A bot that waits for half a minute until a new infrastructure is listed.
async fn patient(pool: PgPool) -> Scene {
    let told = [("PANGEO_BOT_IM_LISTED_WITHIN_S", "30")];
    Scene::start_told(pool, "", &told).await
}

async fn deploys(scene: &Scene) {
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
}

/// Cancels the deploy and has its undo approved.
async fn cancels_and_undoes(scene: &Scene) {
    scene.sees("cancelled it").await;
    scene.person("ana").presses("Undo…").await.answer().await;
    let plan = scene.plan("Undo `deploy` of `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
}

async fn is_undone(scene: &Scene) {
    scene.sees_rests(2).await;
    let state: String = sqlx::query_scalar("select state from operations")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(state, "undone");
    assert_eq!(scene.world.im.infrastructures(), []);
    assert_eq!(scene.world.im.delete_calls(), 1);
    assert_eq!(scene.world.front_ends.infrastructures(), [""; 0]);
    scene.nothing_unexpected();
}

/// Waits until IM has made so many infrastructures.
async fn creates(scene: &Scene, times: u64) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let began = Instant::now();
    while scene.world.im.create_calls() < times {
        assert!(began.elapsed() < PATIENCE, "IM created too few");
        look.tick().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_lost_create_that_is_listed_late_is_not_sent_twice(pool: PgPool) {
    let scene = patient(pool).await;
    lists_after(&scene, Duration::from_secs(1));
    let faults = scene.world.im.faults();
    faults.inject(On::post("/infrastructures?async"), Fault::DropAnswer, 1);
    deploys(&scene).await;
    scene.sees("succeeded").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_create_that_is_not_understood_is_not_sent_twice(pool: PgPool) {
    let scene = patient(pool).await;
    lists_after(&scene, Duration::from_secs(1));
    let page = Fault::content("<html>the proxy is tired</html>");
    let faults = scene.world.im.faults();
    faults.inject(On::post("/infrastructures?async"), page, 1);
    deploys(&scene).await;
    scene.sees("succeeded").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_create_that_never_arrived_is_sent_again(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let faults = scene.world.im.faults();
    faults.inject(On::post("/infrastructures?async"), Fault::DropRequest, 1);
    deploys(&scene).await;
    scene.sees("succeeded").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_create_that_arrives_after_a_restart_is_not_sent_twice(pool: PgPool) {
    let mut scene = patient(pool).await;
    let create = On::post("/infrastructures?async");
    let hold = scene.world.im.faults().hold(create, Place::Before);
    deploys(&scene).await;
    hold.reached().await;
    scene.bot.kill().await.unwrap();
    scene.bot.start().await.unwrap();
    scene.sees(LOOKS).await;
    hold.release();
    scene.sees("succeeded").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_undo_waits_for_a_create_that_may_still_show_up(pool: PgPool) {
    let scene = patient(pool).await;
    lists_after(&scene, NEVER);
    let faults = scene.world.im.faults();
    faults.inject(On::post("/infrastructures?async"), Fault::DropAnswer, 1);
    deploys(&scene).await;
    creates(&scene, 1).await;
    scene.sees(LOOKS).await;
    scene.person("ana").presses("Cancel").await.answer().await;
    cancels_and_undoes(&scene).await;
    let waits = |message: &sandbox::discord::Message| {
        message.says(LOOKS) && message.says("undo") && !message.says("cancelled it")
    };
    let seen = scene.world.discord.wait_for_message(waits, PATIENCE).await;
    seen.unwrap();
    lists_after(&scene, Duration::ZERO);
    is_undone(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_undo_deletes_by_its_id_what_im_does_not_list(pool: PgPool) {
    let scene = patient(pool).await;
    lists_after(&scene, NEVER);
    let dns = scene.world.dns.faults();
    let hold = dns.hold(On::get("/nic/update"), Place::Before);
    deploys(&scene).await;
    hold.reached().await;
    scene.person("ana").presses("Cancel").await.answer().await;
    hold.release();
    cancels_and_undoes(&scene).await;
    is_undone(&scene).await;
}
