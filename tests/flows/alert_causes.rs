//! Every cause of a stall, as an alert: the right one, in time, nothing beside it, and over once the
//! button of the alert has cured it.

use std::time::Instant;

use sandbox::frontend::ServerSize;
use sandbox::world::StallCause;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alert_pairs::{Told, cure, idle, name, told, until};
use crate::alerts::{QUICK, deployed_with};
use crate::causes::want_one_more;
use crate::scene::PATIENCE;

/// Each cause, and whether it brings those who wait.
const CAUSES: [(StallCause, bool); 12] = [
    (StallCause::TokenExpired, false),
    (StallCause::RefreshFailing, false),
    (StallCause::CluesDead, false),
    (StallCause::WrongNodeSize, false),
    (StallCause::PowerOnGivenUp, false),
    (StallCause::NodesDisabled, false),
    (StallCause::CloudRefuses, false),
    (StallCause::NotConfigured, false),
    (StallCause::NodeNotReady, true),
    (StallCause::PodNeverFits, true),
    (StallCause::NotScaling, true),
    (StallCause::MaximumReached, true),
];

/// The threshold of these tests and 5 seconds, and as much again for a machine that has other things
/// to do.
const LATEST_S: f64 = 2.0 * (3.0 + 5.0);

/// Each of these, one after the other, in one cluster.
async fn each_is_told_alone(pool: PgPool, causes: &[(StallCause, bool)]) {
    // Pretend time is 60 times as fast, and so are the limits.
    let keys = [("WATCH_BOOT_S", "20"), ("WATCH_ESCALATE_AFTER_S", "3600")];
    let (scene, id) = deployed_with(pool, &[QUICK, &keys].concat()).await;
    let world = &scene.world;
    world.set_pace(60);
    world.cause(&id, StallCause::WrongNodeSize, false).unwrap();
    for (number, (cause, brings)) in causes.iter().enumerate() {
        let what = name(*cause);
        world.cause(&id, *cause, true).unwrap();
        let guests = if *brings {
            Vec::new()
        } else {
            want_one_more(&scene, &id)
        };
        let all = until(&scene, what, |told| told.len() > number).await;
        assert_eq!(all.len(), number + 1, "{what}: {all:#?}");
        assert_eq!(all[number].first(), what, "{all:#?}");
        assert!(all[number].after_s < LATEST_S, "{what}: {all:#?}");

        let alert = all[number].id.clone();
        cure(&scene, &id, &alert, *cause).await;
        let given_up = StallCause::PowerOnGivenUp;
        if *cause == StallCause::CloudRefuses {
            // It stays until the cloud has given a node, so CLUES must ask again.
            world.cause(&id, given_up, false).unwrap();
        }
        // What CLUES gave up meanwhile is what the alert goes on with.
        let has_more = |told: &[Told]| {
            let alert = &told[number];
            alert.is_over || *cause != given_up && alert.first() == name(given_up)
        };
        let all = until(&scene, &format!("{what} is cured"), has_more).await;
        if !all[number].is_over {
            cure(&scene, &id, &alert, given_up).await;
        }
        let is_over = |told: &[Told]| told[number].is_over;
        until(&scene, &format!("{what} is over"), is_over).await;
        for guest in guests {
            world.front_ends.stop_server(&id, &guest);
        }
        world.cause(&id, *cause, false).unwrap();
        world.cause(&id, given_up, false).unwrap();
        idle(&scene, &id).await;
        let all = told(&scene).await;
        assert_eq!(all.len(), number + 1, "nothing beside it: {all:#?}");
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
async fn values_that_no_node_or_no_registry_can_give_are_mended_by_the_button(pool: PgPool) {
    let (scene, id) = deployed_with(pool, QUICK).await;
    let world = &scene.world;
    world.cause(&id, StallCause::WrongNodeSize, false).unwrap();
    let (ana, ben) = (scene.person("ana"), scene.person("ben"));
    // Whoever lays values over may ask for more than a node has.
    let overlay = "jupyterhub: {singleuser: {memory: {guarantee: 64G, limit: 64G}}}";
    let modal = ana.runs("/pangeo values edit name:geo").await.modal().await;
    let fields = [("overlay", overlay), ("reason", "large data")];
    let answer = ana.fills(&modal, &fields).await.answer().await;
    assert!(answer.says("plan `"), "{}", answer.text());
    let plan = scene.plan("Lay changes over").await;
    ben.reacts(&plan, "✅");
    scene.sees("values edit geo · succeeded").await;

    for (cause, label, title, words) in [
        (
            StallCause::PodNeverFits,
            "/pangeo values notebook",
            "Change what a notebook of `geo` gets",
            "+      guarantee: 28Gi",
        ),
        (
            StallCause::NotScaling,
            "/pangeo values rollback",
            "Roll `geo` back to revision 2",
            "-      guarantee: 28Gi",
        ),
    ] {
        let before = told(&scene).await.len();
        world.cause(&id, cause, true).unwrap();
        let all = until(&scene, label, |told| told.len() > before).await;
        let alert = all.last().unwrap();
        assert_eq!(alert.first(), name(cause), "{all:#?}");
        let shown = scene.sees_button(label).await;
        let answer = ana.presses_on(&shown, label).await.answer().await;
        assert!(answer.says("plan `"), "{}", answer.text());
        let plan = scene.plan(title).await;
        assert!(plan.says(words), "{}", plan.text());
        ben.reacts(&plan, "✅");
        let command = label.trim_start_matches("/pangeo ");
        scene.sees(&format!("{command} geo · succeeded")).await;
        // Who waits starts anew, with what there is now.
        world.cause(&id, cause, false).unwrap();
        until(&scene, label, |told| told[before].is_over).await;
        scene.sees(&format!("✅ `{command}`")).await;
    }
    scene.settles().await;
    scene.nothing_unexpected();
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
    let all = told(&scene).await;
    assert!(all.is_empty(), "{all:#?}");
    scene.nothing_unexpected();
}
