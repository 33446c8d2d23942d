//! `/pangeo destroy`: two grants and the typed name, then nothing is left.

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";

/// A scene with a running cluster `geo`.
async fn deployed(pool: PgPool) -> Scene {
    let scene = Scene::start(pool).await;
    scene.deploys("").await;
    scene
}

async fn asks(scene: &Scene, typed: &str) -> String {
    let ana = scene.person("ana");
    let modal = ana.runs("/pangeo destroy name:geo").await.modal().await;
    let answer = ana.fills(&modal, &[("name", typed)]).await.answer().await;
    assert!(answer.is_ephemeral());
    answer.text()
}

async fn count(scene: &Scene, sql: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()))
        .fetch_one(&scene.pool)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_managers_let_a_cluster_go_and_nothing_is_left(pool: PgPool) {
    let scene = deployed(pool).await;
    let refused = asks(&scene, "gee").await;
    assert!(refused.contains("type its name exactly"), "{refused}");
    assert_eq!(count(&scene, "select count(*) from plans").await, 1);

    asks(&scene, "geo").await;
    let plan = scene.plan("Delete cluster `geo`").await;
    for lost in [
        "volume hub-db-dir of 1Gi",
        "infrastructure",
        "DNS record of",
    ] {
        assert!(plan.says(lost), "{lost}: {}", plan.text());
    }
    scene.person("ben").reacts(&plan, "✅");
    scene
        .world
        .discord
        .wait_for_message(
            |message| message.id == plan.id && message.says("1 of 2"),
            crate::scene::PATIENCE,
        )
        .await
        .unwrap();
    assert_eq!(scene.world.im.delete_calls(), 0);
    scene.person("eva").reacts(&plan, "✅");

    scene.sees("`destroy` of `geo` is done").await;
    assert!(scene.world.im.infrastructure("pangeo-geo").is_none());
    assert!(!scene.world.dns.records().contains_key(HOST));
    assert_eq!(count(&scene, "select count(*) from secrets").await, 0);
    let running = "select count(*) from clusters where phase <> 'removed'";
    assert_eq!(count(&scene, running).await, 0);
    assert_eq!(count(&scene, "select count(*) from revisions").await, 1);
    let vic = scene.person("vic");
    let listed = vic.runs("/pangeo list").await.answer().await;
    assert!(listed.says("No clusters yet"), "{}", listed.text());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_can_not_be_removed_is_told_and_the_rest_goes(pool: PgPool) {
    let scene = deployed(pool).await;
    scene.world.dns.set_blocked(HOST, true);
    asks(&scene, "geo").await;
    let plan = scene.plan("Delete cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.person("eva").reacts(&plan, "✅");
    let summary = scene.sees("`destroy` of `geo` is done").await;
    assert!(summary.says("still points to"), "{}", summary.text());
    assert!(summary.says("Dynamic DNS portal"), "{}", summary.text());
    assert!(scene.world.im.infrastructure("pangeo-geo").is_none());
    scene.nothing_unexpected();
}
