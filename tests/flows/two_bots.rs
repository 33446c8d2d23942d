//! Two bots on one database.

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";

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
