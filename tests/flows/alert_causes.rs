//! Every cause of a stall, as an alert: the right one, nothing beside it, and over when it is put
//! right.

use std::time::Instant;

use sandbox::frontend::ServerSize;
use sandbox::world::StallCause;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::{QUICK, deployed_with};
use crate::causes::want_one_more;
use crate::scene::{PATIENCE, Scene};

/// Each cause, how an alert calls it, and whether it brings those who wait.
const CAUSES: [(StallCause, &str, bool); 12] = [
    (StallCause::TokenExpired, "token expired", false),
    (StallCause::RefreshFailing, "token not refreshed", false),
    (StallCause::CluesDead, "CLUES dead", false),
    (StallCause::WrongNodeSize, "wrong node size in CLUES", false),
    (StallCause::PowerOnGivenUp, "power-on given up", false),
    (StallCause::NodesDisabled, "nodes disabled", false),
    (StallCause::CloudRefuses, "quota or cloud error", false),
    (StallCause::NotConfigured, "VM never configured", false),
    (StallCause::NodeNotReady, "node not ready", true),
    (StallCause::PodNeverFits, "pod can never fit", true),
    (StallCause::NotScaling, "not a scaling matter", true),
    (StallCause::MaximumReached, "maximum reached", true),
];

/// The causes that were told so far, each alert with its last one, oldest first.
async fn told(scene: &Scene) -> Vec<(String, String)> {
    sqlx::query_as(
        "select coalesce(finding->>'cause', 'unknown'), state from alerts
         where fired_at is not null order by fired_at",
    )
    .fetch_all(&scene.pool)
    .await
    .unwrap()
}

async fn until(scene: &Scene, what: &str, is: impl Fn(&[(String, String)]) -> bool) {
    let began = Instant::now();
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        look.tick().await;
        let told = told(scene).await;
        if is(&told) {
            return;
        }
        if began.elapsed() > PATIENCE {
            let vic = scene.person("vic");
            let seen = vic.runs("/pangeo diagnose name:geo").await.answer().await;
            panic!("{what}: {told:?}\n{}", seen.text());
        }
    }
}

/// CLUES has given back the nodes that nobody uses.
async fn idle(scene: &Scene, id: &str) {
    let began = Instant::now();
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        look.tick().await;
        let nodes = scene.world.front_ends.nodes(id);
        if nodes.iter().filter(|node| node.state != "off").count() <= 1 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{nodes:?}");
    }
}

/// Each of these, one after the other, in one cluster.
async fn each_is_told_alone(pool: PgPool, causes: &[(StallCause, &str, bool)]) {
    // Pretend time is 60 times as fast, and so are the limits.
    let keys = [QUICK, &[("WATCH_BOOT_S", "20")]].concat();
    let (scene, id) = deployed_with(pool, &keys).await;
    let world = &scene.world;
    world.set_pace(60);
    world.cause(&id, StallCause::WrongNodeSize, false).unwrap();
    for (number, (cause, name, brings)) in causes.iter().enumerate() {
        world.cause(&id, *cause, true).unwrap();
        let guests = if *brings {
            Vec::new()
        } else {
            want_one_more(&scene, &id)
        };
        let is_told = |told: &[(String, String)]| told.len() > number;
        until(&scene, name, is_told).await;
        let all = told(&scene).await;
        assert_eq!(all.len(), number + 1, "{name}: {all:?}");
        assert_eq!(all[number].0, *name, "{all:?}");

        world.cause(&id, *cause, false).unwrap();
        // What CLUES gave up meanwhile is reset, as an operator would.
        world.cause(&id, StallCause::PowerOnGivenUp, false).unwrap();
        let is_over = |told: &[(String, String)]| told.iter().all(|(_, state)| state == "resolved");
        until(&scene, &format!("{name} is over"), is_over).await;
        for guest in guests {
            world.front_ends.stop_server(&id, &guest);
        }
        idle(&scene, &id).await;
        let all = told(&scene).await;
        assert_eq!(all.len(), number + 1, "nothing beside it: {all:?}");
    }
    scene.settles().await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_wrong_with_clues_and_its_token_is_told_alone(pool: PgPool) {
    each_is_told_alone(pool, &CAUSES[..6]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_wrong_with_machines_and_pods_is_told_alone(pool: PgPool) {
    each_is_told_alone(pool, &CAUSES[6..]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cluster_that_grows_as_it_should_is_told_nothing(pool: PgPool) {
    let keys = [QUICK, &[("WATCH_BOOT_S", "30")]].concat();
    let (scene, id) = deployed_with(pool, &keys).await;
    let world = &scene.world;
    world.set_pace(60);
    world.cause(&id, StallCause::WrongNodeSize, false).unwrap();
    for round in 0..3 {
        for number in 0..3 {
            let size = ServerSize {
                cpu_milli: 6000,
                memory: 20_000_000_000,
            };
            let user = format!("user-{round}-{number}");
            world.front_ends.start_server(&id, &user, size);
        }
        let began = Instant::now();
        let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
        while world
            .front_ends
            .servers(&id)
            .iter()
            .any(|(_, node)| node.is_none())
        {
            look.tick().await;
            assert!(began.elapsed() < PATIENCE, "the cluster does not grow");
        }
        for number in 0..3 {
            let user = format!("user-{round}-{number}");
            world.front_ends.stop_server(&id, &user);
        }
    }
    assert_eq!(told(&scene).await, []);
    scene.nothing_unexpected();
}
