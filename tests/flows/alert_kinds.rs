//! Alerts that have nothing to do with growing: each is told with its evidence and over when it is
//! put right.

use std::time::{Duration, SystemTime};

use sandbox::discord::Message;
use sandbox::faults::{Fault, On};
use sandbox::frontend::HelmFault;
use sandbox::switch::{DeadMansSwitch, SWITCH_KEY};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::{QUICK, deployed_with};
use crate::kill::HOST;
use crate::scene::{PATIENCE, Scene};

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

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_certificate_that_is_not_renewed_is_told_with_its_end(pool: PgPool) {
    let (mut scene, _id) = deployed_with(pool, QUICK).await;
    let front_ends = &scene.world.front_ends;
    front_ends.issue_certificate(HOST, 15).unwrap();
    let status = scene.person("vic").runs("/pangeo status name:geo").await;
    let status = status.answer().await;
    assert!(
        status.says("certificate for 14 days") || status.says("certificate for 15 days"),
        "{}",
        status.text()
    );
    // It is in the digest of the day before it is an alert.
    let seen = "select count(*) from watched
                where certificate_ends_at < now() + interval '16 d' and used_at is not null";
    scene.counts(seen, 1).await;
    scene.bot.kill().await.unwrap();
    let later = "delete from facts where key = 'digest/day';
                 update watched set used_at = used_at - interval '9 days'";
    sqlx::raw_sql(later).execute(&scene.pool).await.unwrap();
    scene.bot.start().await.unwrap();
    let digest = scene.sees("Certificates and tokens that end").await;
    for words in [
        "the certificate of its hub",
        "Nobody uses",
        "1 worker is on; with the front end it holds 12 of 400 cores and",
    ] {
        assert!(digest.says(words), "{words}: {}", digest.text());
    }
    let front_ends = &scene.world.front_ends;
    front_ends.issue_certificate(HOST, 10).unwrap();
    told(
        &scene,
        "geo: the certificate of the hub ends soon",
        &[
            "`it ends 20",
            "Let's Encrypt must reach the front end",
            "docs/alerts.md#certificate-ends",
        ],
    )
    .await;
    // cert-manager comes round after all.
    front_ends.issue_certificate(HOST, 90).unwrap();
    scene
        .sees("the certificate of the hub ends soon (over)")
        .await;
    none_is_open(&scene).await;
    let told: i64 = sqlx::query_scalar("select count(*) from alerts")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(told, 1, "15 days are enough");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_was_changed_by_hand_is_told_and_over_once_it_is_put_back(pool: PgPool) {
    let (scene, id) = deployed_with(pool, QUICK).await;
    let front_ends = &scene.world.front_ends;
    let before = front_ends.last_values(&id).unwrap();
    let by_hand = before.replace("startTimeout: 600", "startTimeout: 601");
    assert_ne!(by_hand, before);
    front_ends.upgrade_by_hand(&id, &by_hand);
    told(
        &scene,
        "geo: the hub is not set as it was approved",
        &[
            "startTimeout",
            "`/pangeo values drift name:geo`",
            "docs/alerts.md#changed-by-hand",
        ],
    )
    .await;
    let ana = scene.person("ana");
    ana.runs("/pangeo values overwrite name:geo")
        .await
        .answer()
        .await;
    let plan = scene.plan("Put revision 1 back").await;
    scene.person("ben").reacts(&plan, "✅");
    let end = scene.sees("it lasted").await;
    assert!(end.says("✅ `values overwrite`"), "{}", end.text());
    none_is_open(&scene).await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_operation_that_waits_for_a_person_is_told_until_one_decides(pool: PgPool) {
    let keys = [QUICK, &[("WATCH_WAITS_AFTER_S", "2")]].concat();
    let (scene, _id) = deployed_with(pool, &keys).await;
    scene.world.front_ends.fail_helm(&HelmFault::NotReady, 1);
    let ana = scene.person("ana");
    ana.runs("/pangeo values image name:geo tag:2024.01.15")
        .await
        .answer()
        .await;
    let plan = scene.plan("2024.01.15").await;
    scene.person("ben").reacts(&plan, "✅");
    let stopped = scene.sees_button("Retry").await;
    // What is approved now waits behind it, and everybody is told so; so does the alert come.
    ana.runs("/pangeo scale name:geo max:6")
        .await
        .answer()
        .await;
    let plan = scene.plan("Scale `geo`").await;
    let ben = scene.person("ben");
    let answer = ben.presses_on(&plan, "Approve").await.answer().await;
    for words in [
        "waits behind operation `",
        "waits for a person: `/pangeo ops",
    ] {
        assert!(answer.says(words), "{words}: {}", answer.text());
    }
    scene.sees("behind `values image`, which stopped").await;
    // A change of what is about to change: the plan warns, and ends by itself once it is its turn.
    ana.runs("/pangeo values limits name:geo workers:9")
        .await
        .answer()
        .await;
    let plan = scene.plan("Change what one Dask cluster").await;
    assert!(
        plan.says("`values image` stopped on it and waits for a person"),
        "{}",
        plan.text()
    );
    ben.reacts(&plan, "✅");
    let queued = "select count(*) from operations where state = 'queued'";
    scene.counts(queued, 2).await;
    let status = ana.runs("/pangeo status name:geo").await.answer().await;
    for words in [
        "values image stopped and holds up the others",
        "scale is queued",
    ] {
        assert!(status.says(words), "{words}: {}", status.text());
    }
    let alert = told(
        &scene,
        "geo: `values image` waits for a person",
        &[
            "stopped and holds every other change up",
            "`/pangeo ops show operation:",
            "docs/alerts.md#operation-stopped",
        ],
    )
    .await;
    ana.presses_on(&stopped, "Retry").await.answer().await;
    let is_its_end =
        |one: &Message| one.reference == Some(alert.id) && one.says("waits for a person (over)");
    let discord = &scene.world.discord;
    let end = discord
        .wait_for_message(is_its_end, PATIENCE)
        .await
        .unwrap();
    assert!(end.says("✅ `values image`"), "{}", end.text());
    let scaled = "select count(*) from operations where command = 'scale' and state = 'succeeded'";
    scene.counts(scaled, 1).await;
    scene
        .ends_outdated("changed meanwhile: revision 2 is the newest, the plan began with 1")
        .await;
    none_is_open(&scene).await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_limits_of_one_cluster_are_its_own(pool: PgPool) {
    let own = "
[[watch.clusters]]
name = \"geo\"
latent_after_s = 2
backup_path = \"/var/backups/geo\"
";
    let variables: Vec<(String, &str)> = QUICK
        .iter()
        .filter(|(key, _)| *key != "WATCH_LATENT_AFTER_S")
        .map(|(key, value)| (format!("PANGEO_BOT_{key}"), *value))
        .collect();
    let set: Vec<(&str, &str)> = variables.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let scene = Scene::start_told(pool, own, &set).await;
    let id = scene.deploys("").await;
    // Every other cluster needs no backup, and its CLUES may be dead for 10 minutes.
    told(
        &scene,
        "geo: there is no new backup",
        &["/var/backups/geo is not there"],
    )
    .await;
    scene.world.front_ends.kill_clues(&id);
    told(
        &scene,
        "geo: it can't grow as it should: CLUES dead",
        &["nobody waits for a node now"],
    )
    .await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_dead_mans_switch_is_asked_while_the_bot_lives_and_its_failing_harms_nothing(
    pool: PgPool,
) {
    let switch = DeadMansSwitch::start().await.unwrap();
    let url = switch.url();
    let refuses = switch
        .faults()
        .inject(On::any(), Fault::answer(500, "Internal Error"), 1);
    let keys = [QUICK, &[("WATCH_PING_URL", url.as_str())]].concat();
    let (mut scene, id) = deployed_with(pool, &keys).await;
    // It was refused once, which is logged without the address, and the watch goes on.
    scene.world.front_ends.kill_clues(&id);
    scene.sees("geo: it can't grow as it should").await;
    assert_eq!((refuses.hits(), switch.times()), (1, 0));
    let log = scene.log();
    assert!(log.contains("could not tell `watch.ping_url`"), "{log}");
    assert!(!log.contains(SWITCH_KEY), "the address is a secret");

    scene.bot.kill().await.unwrap();
    scene.bot.start().await.unwrap();
    switch.wait_for(1, PATIENCE).await.unwrap();
    assert!(!switch.is_off(Duration::from_mins(2)));
    // Once a minute, not with each look.
    scene.bot.kill().await.unwrap();
    assert_eq!(switch.times(), 1);
    assert!(switch.is_off(Duration::ZERO), "nobody asks any more");
    scene.nothing_unexpected();
}
