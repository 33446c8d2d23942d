//! Hours of a cluster in pretend time, with and without faults, against the bot itself. `make bench`
//! does the same for longer.

use std::time::Duration;

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::deployed_with;
use crate::live::{Watched, keys};
use crate::scene::Scene;

/// How many times as fast pretend time goes: slowly enough for a look in time on a machine that tests
/// other things, too; `make bench` has it twice as fast.
const PACE: u32 = 300;

async fn deployed(pool: PgPool) -> (Scene, String) {
    let keys = keys(PACE);
    let keys = keys.iter().map(|(key, value)| (*key, value.as_str()));
    deployed_with(pool, &keys.collect::<Vec<_>>()).await
}

fn watched(scene: &Scene, id: String) -> Watched<'_> {
    Watched {
        world: &scene.world,
        pool: &scene.pool,
        name: "geo".to_owned(),
        id,
        pace: PACE,
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_working_day_is_told_nothing(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let watched = watched(&scene, id);
    let told = watched.lives(Duration::from_hours(8), 0).await.unwrap();
    assert!(told.is_empty(), "{told:#?}");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn random_faults_in_it_are_all_found_and_none_is_invented(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let watched = watched(&scene, id);
    let found = watched.suffers(6, 2).await.unwrap();
    assert!(found.missed.is_empty(), "{found:#?}");
    assert!(found.invented.is_empty(), "{found:#?}");
    scene.nothing_unexpected();
}
