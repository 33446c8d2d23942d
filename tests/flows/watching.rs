//! Watching: what Kubernetes tells is seen at once, over every connection, by one replica.

use sandbox::frontend::SshDoor;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::{LARGE, QUICK, deployed_with};

/// Without what Kubernetes tells, nobody would look before the test has given up.
fn never_by_itself() -> Vec<(&'static str, &'static str)> {
    let rest = QUICK.iter().filter(|(key, _)| !key.ends_with("LOOK_S"));
    let looks = [("WATCH_LOOK_S", "600"), ("WATCH_FULL_LOOK_S", "3600")];
    rest.copied().chain(looks).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn who_begins_to_wait_is_seen_at_once_whatever_happened_to_the_connection(pool: PgPool) {
    let (scene, id) = deployed_with(pool, &never_by_itself()).await;
    let front_ends = &scene.world.front_ends;
    scene
        .counts("select least(count(*), 1) from watched", 1)
        .await;

    // The API server restarts, forgets what was, and the connection breaks.
    front_ends.end_watches(&id);
    front_ends.expire_watches(&id);
    front_ends.set_ssh(&id, SshDoor::Refusing).unwrap();
    front_ends.cut_ssh(&id).unwrap();
    scene
        .counts(
            "select count(*) from alerts where kind in ('blind', 'hub')",
            1,
        )
        .await;
    front_ends.set_ssh(&id, SshDoor::Open).unwrap();

    front_ends.kill_clues(&id);
    for user in ["ada", "bob"] {
        front_ends.start_server(&id, user, LARGE);
    }
    let alert = scene.sees("geo: scaling stalls: CLUES dead").await;
    assert!(
        alert.says("1 pod waits for a node and none is on its way"),
        "{}",
        alert.text()
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_bots_share_the_clusters_and_one_takes_all_when_the_other_dies(pool: PgPool) {
    let (mut scene, _id) = deployed_with(pool, QUICK).await;
    scene.has_silent_clusters(9).await;
    let all = "select count(*) from watch_shares where replica = 'bot-1'";
    scene.counts(all, 10).await;
    let mut second = scene.second_bot().await;
    let half = "select count(*) from (select from watch_shares group by replica having count(*) = 5) as halves";
    scene.counts(half, 2).await;

    second.kill().await.unwrap();
    scene.counts(all, 10).await;
    // A bot that ends gives its share back at once.
    scene.bot.stop().await.unwrap();
    scene.counts("select count(*) from watch_shares", 0).await;
    let doubled = "select count(*) from (select from alerts group by cluster_id, kind having count(*) > 1) as doubled";
    scene.counts(doubled, 0).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_clues_wrote_just_before_its_log_was_rotated_is_seen(pool: PgPool) {
    let (scene, id) = deployed_with(pool, &[]).await;
    let diagnosed = async || {
        let vic = scene.person("vic");
        vic.runs("/pangeo diagnose name:geo").await.answer().await
    };
    let writes = |text: &str| {
        let now = pangeo_bot::domain::clock::Clock::system()
            .now()
            .format("%Y-%m-%d %H:%M:%S");
        let line = format!("[PLUGIN-IM];ERROR;{now},000;Error adding resources. {text}\n");
        scene.world.front_ends.write_clues_log(&id, &line).unwrap();
    };
    assert!(!diagnosed().await.says("Error adding resources"));
    writes("no more cores");
    scene.world.front_ends.rotate_clues_log(&id).unwrap();
    let seen = diagnosed().await;
    assert!(seen.says("no more cores"), "{}", seen.text());
    writes("no more memory");
    let seen = diagnosed().await;
    assert!(seen.says("no more memory"), "{}", seen.text());
}
