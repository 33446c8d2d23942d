//! `/pangeo deploy`, from the channel to the hub's URL.

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";

#[sqlx::test(migrator = "MIGRATOR")]
async fn ana_deploys_and_ben_approves_by_reaction(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret("geo.vm.fedcloud.eu").await;

    let answer = scene.person("ana").runs(DEPLOY).await.answer().await;
    assert!(answer.says("plan"), "{}", answer.text());
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");

    scene.sees("https://geo.vm.fedcloud.eu").await;
    scene.sees("/grafana/").await;
    scene.sees("succeeded").await;
    let view = scene.world.im.infrastructure("pangeo-geo").unwrap();
    assert_eq!(scene.world.im.create_calls(), 1);
    let releases = scene.world.front_ends.releases(&view.id);
    assert_eq!(releases.len(), 1, "{releases:#?}");
    assert_eq!(releases[0].status, "deployed");
    scene.nothing_unexpected();
}
