//! Hours of a cluster in pretend time, with and without faults, against the bot itself. `make bench`
//! does the same for longer.

use std::time::Duration;

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::deployed_with;
use crate::live::{KEYS, Watched};
use crate::scene::Scene;

fn watched(scene: &Scene, id: String) -> Watched<'_> {
    Watched {
        world: &scene.world,
        pool: &scene.pool,
        name: "geo".to_owned(),
        id,
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_working_day_is_told_nothing(pool: PgPool) {
    let (scene, id) = deployed_with(pool, &KEYS).await;
    let watched = watched(&scene, id);
    let told = watched.lives(Duration::from_hours(8), 0).await.unwrap();
    assert!(told.is_empty(), "{told:#?}");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn random_faults_in_it_are_all_found_and_none_is_invented(pool: PgPool) {
    let (scene, id) = deployed_with(pool, &KEYS).await;
    let watched = watched(&scene, id);
    let found = watched.suffers(6, 2).await.unwrap();
    assert!(found.missed.is_empty(), "{found:#?}");
    assert!(found.invented.is_empty(), "{found:#?}");
    scene.nothing_unexpected();
}
