//! Two bots on one database.

use std::time::Instant;

use sandbox::faults::{On, Place};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::kill::{DEPLOY, Effect, HOST, Mark, all_is_right};
use crate::scene::Scene;

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_bots_deploy_once(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let mut second = scene.second_bot().await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    let view = scene.world.im.infrastructure("pangeo-geo").unwrap();
    assert_eq!(scene.world.front_ends.releases(&view.id).len(), 1);
    assert!(second.is_running());
    second.stop().await.unwrap();
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_other_bot_takes_over_gateway_and_operation(pool: PgPool) {
    let mut scene = Scene::start(pool).await;
    let mut second = scene.second_bot().await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.bot.kill().await.unwrap();
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    second.stop().await.unwrap();
    scene.nothing_unexpected();
}

/// Two bots; the one that runs the deploy is killed at an effect, and the other ends it.
async fn takes_over(pool: PgPool, effect: Effect, place: Place) {
    let mut scene = Scene::start(pool).await;
    let mut second = scene.second_bot().await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    let held = effect.hold(&scene, place);
    scene.person("ben").reacts(&plan, "✅");
    held.reached().await;
    let holder: String = sqlx::query_scalar("select lease_holder from operations")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    // The slots are numbered in the order in which the bots started.
    let victim = match holder.as_str() {
        "bot-1" => &mut scene.bot,
        "bot-2" => &mut second,
        other => panic!("nobody is called {other}"),
    };
    held.kill(victim).await;
    let mark = Mark::of(&scene.pool).await;
    assert!(mark.runs());
    mark.goes_on(&scene.pool, Instant::now()).await;
    let heir: Option<String> = sqlx::query_scalar("select lease_holder from operations")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_ne!(heir, Some(holder));
    all_is_right(&scene).await;
    second.stop().await.unwrap();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deploy_whose_bot_dies_in_its_create_is_ended_by_the_other(pool: PgPool) {
    let create = Effect::Im(|| On::post("/infrastructures?async"));
    takes_over(pool, create, Place::After).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deploy_whose_bot_dies_in_its_reconfigure_is_ended_by_the_other(pool: PgPool) {
    let reconfigure = Effect::Im(|| On::put("/reconfigure"));
    takes_over(pool, reconfigure, Place::Before).await;
}
