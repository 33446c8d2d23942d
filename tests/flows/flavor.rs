//! `/pangeo flavor`: what CLUES believes of worker nodes is looked at and set right.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sandbox::faults::{Fault, On};
use sandbox::frontend::ServerSize;
use sandbox::world::StallCause;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const CFG: &str = "etc/clues2/conf.d/plugin-kubernetes.cfg";

/// A scene with a cluster whose CLUES somebody told a wrong size, and its infrastructure's id.
async fn deployed(pool: PgPool) -> (Scene, String) {
    let scene = Scene::start(pool).await;
    let id = scene.deploys("").await;
    let wrong = StallCause::WrongNodeSize;
    scene.world.cause(&id, wrong, true).unwrap();
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
    scene.sees("flavor set geo · succeeded").await;

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
    scene.ends_outdated("changed meanwhile").await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), by_hand);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_new_cluster_knows_the_size_of_its_nodes_and_grows(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let id = scene.deploys("").await;
    scene.sees("as a worker node really has").await;
    let front_ends = &scene.world.front_ends;
    assert_eq!(scene.world.causes(&id), []);
    for user in ["ana", "eva"] {
        let size = ServerSize {
            cpu_milli: 4000,
            memory: 20_000_000_000,
        };
        front_ends.start_server(&id, user, size);
    }
    let both_run = || {
        front_ends
            .servers(&id)
            .iter()
            .all(|(_, node)| node.is_some())
    };
    waits_until("a second node", both_run).await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_new_cluster_without_workers_takes_what_was_ordered(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let none = r#"{"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[]}"#;
    let none = Fault::Answer {
        status: 200,
        content_type: Some("application/json".to_owned()),
        body: none.to_owned(),
    };
    let faults = scene.world.front_ends.kubernetes_faults();
    drop(faults.inject(On::get("/api/v1/nodes"), none, 1000));
    let id = scene.deploys("").await;
    let told = scene.sees("no worker node has joined").await;
    assert!(told.says("/pangeo flavor set name:geo"), "{}", told.text());
    // 32 GB less 5 %.
    let believed = scene.world.front_ends.believed_size(&id);
    assert_eq!(believed, Some((8, 30_400_000_000)));
    scene.nothing_unexpected();
}
