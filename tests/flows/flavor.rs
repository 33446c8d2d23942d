//! `/pangeo flavor`: what CLUES believes of worker nodes is looked at and set right.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sandbox::frontend::ServerSize;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
const CFG: &str = "etc/clues2/conf.d/plugin-kubernetes.cfg";

/// A scene with a cluster, and its infrastructure's id.
async fn deployed(pool: PgPool) -> (Scene, String) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;
    let id = scene.world.im.infrastructure("pangeo-geo").unwrap().id;
    (scene, id)
}

async fn waits_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while !holds() {
        look.tick().await;
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cluster_that_does_not_grow_does_so_with_the_real_size(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let front_ends = &scene.world.front_ends;
    // Two such notebooks don't fit on one node of 8 cores and 32 GB.
    let size = ServerSize {
        cpu_milli: 4000,
        memory: 20_000_000_000,
    };
    front_ends.start_server(&id, "ana", size);
    front_ends.start_server(&id, "eva", size);
    let shown = scene
        .person("vic")
        .runs("/pangeo flavor show name:geo")
        .await;
    let shown = shown.answer().await;
    assert!(shown.says("smaller than they are"), "{}", shown.text());
    assert!(shown.says("1 core, 1 GiB"), "{}", shown.text());
    let path = front_ends.root(&id).unwrap().join(CFG);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let before = std::fs::read_to_string(&path).unwrap();

    scene
        .person("ana")
        .runs("/pangeo flavor set name:geo")
        .await
        .answer()
        .await;
    let plan = scene.plan("Tell CLUES of `geo`").await;
    assert_eq!(front_ends.believed_size(&id), Some((1, 1 << 30)));
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("CLUES counts with 8 cores").await;

    let (slots, memory) = front_ends.believed_size(&id).unwrap();
    assert_eq!(slots, 8);
    let after = std::fs::read_to_string(&path).unwrap();
    let expected = before
        .replace("SLOTS=1", "SLOTS=8")
        .replace("MEMORY=1073741824", &format!("MEMORY={memory}"));
    assert_eq!(after, expected);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    // Now CLUES powers a node on, and both notebooks run.
    waits_until("a second node", || {
        front_ends
            .servers(&id)
            .iter()
            .all(|(_, node)| node.is_some())
    })
    .await;
    let again = scene
        .person("ana")
        .runs("/pangeo flavor set name:geo")
        .await;
    let again = again.answer().await;
    assert!(again.says("already"), "{}", again.text());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_a_person_changed_after_the_plan_is_left_alone(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    scene
        .person("ana")
        .runs("/pangeo flavor set name:geo")
        .await
        .answer()
        .await;
    let plan = scene.plan("Tell CLUES of `geo`").await;
    let path = scene.world.front_ends.root(&id).unwrap().join(CFG);
    let by_hand = std::fs::read_to_string(&path)
        .unwrap()
        .replace("SLOTS=1", "SLOTS=4");
    std::fs::write(&path, &by_hand).unwrap();
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("was changed meanwhile").await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), by_hand);
    scene.nothing_unexpected();
}
