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
