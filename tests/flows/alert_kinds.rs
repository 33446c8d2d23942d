//! Alerts that have nothing to do with growing: each is told with its evidence and over when it is
//! put right.

use std::time::{Duration, SystemTime};

use sandbox::discord::Message;
use sandbox::faults::{Fault, On};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::{QUICK, deployed_with};
use crate::scene::Scene;

/// Waits for an alert and checks what it says.
async fn told(scene: &Scene, title: &str, words: &[&str]) -> Message {
    let alert = scene.sees(title).await;
    for word in words {
        assert!(alert.says(word), "{word}: {}", alert.text());
    }
    alert
}

async fn none_is_open(scene: &Scene) {
    scene
        .counts("select count(*) from alerts where state <> 'resolved'", 0)
        .await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_gateway_that_is_silent_and_pods_that_crash_are_told_once(pool: PgPool) {
    let (scene, id) = deployed_with(pool, QUICK).await;
    let front_ends = &scene.world.front_ends;

    // The hub's proxy can't reach it; the hub goes on.
    let unreachable = front_ends.hub_faults().inject(
        On::get("/services/dask-gateway"),
        Fault::answer(503, ""),
        10_000,
    );
    told(
        &scene,
        "geo: the Dask gateway does not answer",
        &[
            "answers 503",
            "hint: `/pangeo logs gateway name:geo`",
            "docs/alerts.md#gateway-down",
        ],
    )
    .await;
    drop(unreachable);
    front_ends.hub_faults().clear();
    scene.sees("does not answer as it should (over)").await;

    // Its pod crashes: that is one matter, told with the gateway.
    front_ends.crash_deployment(&id, "api-daskhub-dask-gateway", true);
    let crashing = "daskhub/api-daskhub-dask-gateway-6d988656cf-0: CrashLoopBackOff";
    told(&scene, crashing, &["answers 404", "started again 7 times"]).await;
    front_ends.crash_deployment(&id, "api-daskhub-dask-gateway", false);
    none_is_open(&scene).await;

    // Pods of neither hub nor gateway.
    front_ends.crash_deployment(&id, "user-scheduler", true);
    told(
        &scene,
        "geo: 2 pods start again and again",
        &[
            "daskhub/user-scheduler-6d988656cf-0: CrashLoopBackOff, started again 7 times",
            "hint: `/pangeo logs pod` shows",
            "docs/alerts.md#pods-crash",
        ],
    )
    .await;
    front_ends.crash_deployment(&id, "user-scheduler", false);
    scene.sees("2 pods start again and again (over)").await;
    none_is_open(&scene).await;
    let kinds: Vec<String> = sqlx::query_scalar("select kind from alerts order by since")
        .fetch_all(&scene.pool)
        .await
        .unwrap();
    assert_eq!(kinds, ["gateway", "gateway", "pods"], "nothing beside them");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_full_disk_and_an_old_backup_are_told_with_their_numbers(pool: PgPool) {
    let more = [
        ("WATCH_DISKS", "/,/var/tmp,/not/there"),
        ("WATCH_BACKUP_PATH", "/var/backups/hub"),
    ];
    let keys = [QUICK, &more].concat();
    let (scene, id) = deployed_with(pool, &keys).await;
    let front_ends = &scene.world.front_ends;
    let missing = told(
        &scene,
        "geo: there is no new backup of the hub's database",
        &[
            "/var/backups/hub is not there",
            "docs/alerts.md#backup-missing",
        ],
    )
    .await;
    let folder = front_ends.root(&id).unwrap().join("var/backups/hub");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("empty.sqlite"), "").unwrap();
    let file = std::fs::File::create(folder.join("a.sqlite")).unwrap();
    std::io::Write::write_all(&mut &file, b"rows").unwrap();
    let two_days = Duration::from_hours(50);
    file.set_modified(SystemTime::now() - two_days).unwrap();
    let old = "the newest file of /var/backups/hub is 50 h old; at most 26 h are allowed";
    let again = scene.sees(old).await;
    assert_eq!(again.id, missing.id, "the same alert");
    file.set_modified(SystemTime::now()).unwrap();
    scene
        .sees("there is no new backup of the hub's database (over)")
        .await;

    front_ends.fill_disk(&id, true).unwrap();
    told(
        &scene,
        "geo: /var/tmp of the front end is nearly full",
        &[
            "/var/tmp is 100 % full: 0.0 of 0.0 GiB",
            "`/pangeo run disk-usage name:geo`",
            "docs/alerts.md#disk-full",
        ],
    )
    .await;
    front_ends.fill_disk(&id, false).unwrap();
    scene
        .sees("/var/tmp of the front end is nearly full (over)")
        .await;
    none_is_open(&scene).await;
    scene.nothing_unexpected();
}
