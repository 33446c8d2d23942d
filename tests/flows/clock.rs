//! The bot's clock is set while it watches: nothing is lost, doubled or invented.
//!
//! libfaketime stands between the bot and the clock of the machine, and reads by how much that is
//! wrong from a file; the clock that only goes on stays as it is, as when a time server sets one.

use std::path::PathBuf;
use std::time::Duration;

use sandbox::world::StallCause;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alert_pairs::{Told, name, told, until};
use crate::alerts::QUICK;
use crate::causes::want_one_more;
use crate::scene::Scene;
use crate::watch_storms::{accounts, all_run, is_over, pass};

/// A clock that is set.
struct FakeClock(PathBuf);

impl FakeClock {
    fn new() -> Self {
        let file = format!("clock-{}", uuid::Uuid::new_v4().simple());
        let clock = Self(std::env::temp_dir().join(file));
        clock.set("+0");
        clock
    }

    /// Sets it wrong by so much, such as `+20m`.
    fn set(&self, by: &str) {
        // At once, or a reader could see an empty file.
        let new = self.0.with_extension("new");
        std::fs::write(&new, by).unwrap();
        std::fs::rename(&new, &self.0).unwrap();
    }

    /// The variables for a program that shall see it.
    fn variables(&self) -> [(&'static str, String); 4] {
        let library = "/usr/$LIB/faketime/libfaketimeMT.so.1".to_owned();
        [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

impl Drop for FakeClock {
    fn drop(&mut self) {
        let removed = std::fs::remove_file(&self.0);
        drop(removed);
    }
}

/// The bot has seen that its clock was set, so many times.
async fn notices(scene: &Scene, times: usize) {
    let began = std::time::Instant::now();
    while scene
        .log()
        .matches("the clock was set; what is watched")
        .count()
        < times
    {
        pass(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{times}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_clock_that_is_set_invents_and_loses_no_alert(pool: PgPool) {
    let clock = FakeClock::new();
    let keys = [
        // It ends by the clock, as it should.
        ("WATCH_OFF", "token"),
        ("WATCH_STALL_AFTER_S", "6"),
        ("WATCH_LATENT_AFTER_S", "10"),
        ("WATCH_BOOT_S", "60"),
        ("WATCH_BLIND_AFTER_S", "20"),
        ("WATCH_ESCALATE_AFTER_S", "86400"),
        ("WATCH_AGAIN_AFTER_S", "86400"),
    ];
    let keys = [QUICK, &keys].concat();
    let keys = keys
        .iter()
        .map(|(key, value)| (format!("PANGEO_BOT_{key}"), (*value).to_owned()));
    let of_clock = clock
        .variables()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let variables: Vec<(String, String)> = keys.chain(of_clock).collect();
    let variables = variables
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let scene = Scene::start_told(pool, "", &variables.collect::<Vec<_>>()).await;
    let id = scene.deploys("").await;
    let world = &scene.world;
    world.set_pace(60);
    let wrong = StallCause::WrongNodeSize;
    world.cause(&id, wrong, false).unwrap();

    // A node is on its way, and by the clock it is for twenty minutes at once.
    let guests = want_one_more(&scene, &id);
    pass(Duration::from_secs(3)).await;
    clock.set("+20m");
    notices(&scene, 1).await;
    all_run(&scene, &id).await;
    pass(Duration::from_secs(4)).await;
    let nothing = told(&scene).await;
    assert!(nothing.is_empty(), "{nothing:#?}");

    // What is there for a moment is not for an hour.
    for guest in &guests {
        world.front_ends.stop_server(&id, guest);
    }
    let dead = StallCause::CluesDead;
    world.cause(&id, dead, true).unwrap();
    let pending = "select count(*) from alerts where state = 'pending'";
    scene.counts(pending, 1).await;
    clock.set("+80m");
    notices(&scene, 2).await;
    pass(Duration::from_secs(3)).await;
    world.cause(&id, dead, false).unwrap();
    pass(Duration::from_secs(4)).await;
    let nothing = told(&scene).await;
    assert!(nothing.is_empty(), "{nothing:#?}");

    // What stalls is told though the clock is set back, and after its time.
    world.cause(&id, dead, true).unwrap();
    pass(Duration::from_secs(2)).await;
    clock.set("+0");
    notices(&scene, 3).await;
    let all: Vec<Told> = until(&scene, "CLUES dead", |told| !told.is_empty()).await;
    assert_eq!((all.len(), all[0].first()), (1, name(dead)), "{all:#?}");
    assert!((10.0..15.0).contains(&all[0].after_s), "{all:#?}");

    // What stands is told no second time, nor is it over before it is.
    clock.set("+20m");
    notices(&scene, 4).await;
    pass(Duration::from_secs(4)).await;
    let all = told(&scene).await;
    assert!(all.len() == 1 && !all[0].is_over, "{all:#?}");
    world.cause(&id, dead, false).unwrap();
    until(&scene, "it is over", is_over).await;
    clock.set("-20m");
    notices(&scene, 5).await;
    pass(Duration::from_secs(4)).await;
    let all = told(&scene).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    accounts(&scene).await;
    scene.nothing_unexpected();
}
