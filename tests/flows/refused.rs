//! Bad input: answered privately, in words that say what is allowed, and nothing is changed.

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";

/// Plans, operations and clusters that exist.
async fn rows(scene: &Scene) -> i64 {
    let sql = "select (select count(*) from plans) + (select count(*) from operations)
                    + (select count(*) from clusters)";
    sqlx::query_scalar(sql)
        .fetch_one(&scene.pool)
        .await
        .unwrap()
}

/// What a person types is refused, by Discord's client or privately by the bot.
async fn refused(scene: &Scene, person: &str, typed: &str, because: &str) {
    let before = rows(scene).await;
    match scene.person(person).tries(typed) {
        Err(_by_the_client) => {}
        Ok(interaction) => {
            let answer = interaction.answer().await;
            assert!(answer.is_ephemeral(), "{typed}: answered in public");
            assert!(
                answer.says(because),
                "{typed}: no {because:?} in {:?}",
                answer.text()
            );
            assert!(
                !answer.says("something went wrong"),
                "{typed}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(rows(scene).await, before, "{typed}: something was recorded");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn bad_options_are_refused_with_what_is_allowed(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let long = format!("{}.vm.fedcloud.eu", "a".repeat(300));
    let hosts = [
        "pangeo",
        "-geo.vm.fedcloud.eu",
        "geo..vm.fedcloud.eu",
        "pаngeo.vm.fedcloud.eu", // a Cyrillic letter
        "https://geo.vm.fedcloud.eu",
        "geo.vm.fedcloud.eu:443",
        "$(id).vm.fedcloud.eu",
        "geo;reboot.vm.fedcloud.eu",
        "10.0.0.1",
        &long,
    ];
    for host in hosts {
        refused(
            &scene,
            "ana",
            &format!("/pangeo deploy name:geo host:{host}"),
            "host",
        )
        .await;
    }
    refused(
        &scene,
        "ana",
        "/pangeo deploy name:geo host:geo.example.org",
        "vm.fedcloud.eu",
    )
    .await;
    refused(
        &scene,
        "ana",
        "/pangeo deploy name:geo host:evilvm.fedcloud.eu",
        "vm.fedcloud.eu",
    )
    .await;
    for name in [
        "Geo",
        "geo;id",
        "$(id)",
        "-geo",
        "1geo",
        "geo.eu",
        "ge\u{202e}o",
    ] {
        refused(
            &scene,
            "ana",
            &format!("/pangeo deploy name:{name} host:{HOST}"),
            "name",
        )
        .await;
    }
    let deploy = format!("/pangeo deploy name:geo host:{HOST}");
    for (more, because) in [
        ("workers-max:-1", "workers-max"),
        ("workers-max:99999999999", "workers-max"),
        ("workers-max:1 workers-min-free:5", "workers-min-free"),
        ("worker-cpus:3", "worker-cpus"),
        ("worker-memory:12parsec", "worker-memory"),
        ("auth:native check-in:demo", "check-in"),
        ("method:tosca auth:check-in", "method"),
        ("credential:nowhere", "credential"),
        ("kubernetes-version:0.1", "kubernetes-version"),
        ("end-date:yesterday", "end-date"),
        ("end-date:2020-01-01", "end-date"),
        ("email:not-an-address", "email"),
        ("image:$(id)", "image"),
    ] {
        refused(&scene, "ana", &format!("{deploy} {more}"), because).await;
    }
    refused(&scene, "ana", "/pangeo status name:nobody", "nobody").await;
    refused(
        &scene,
        "ana",
        "/pangeo ops retry operation:ffffffff",
        "operation",
    )
    .await;
    assert_eq!(scene.world.im.create_calls(), 0);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn who_may_not_is_refused_and_so_is_another_channel(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let deploy = format!("/pangeo deploy name:geo host:{HOST}");
    for person in ["vic", "zed", "ben"] {
        refused(&scene, person, &deploy, "operator").await;
    }
    refused(&scene, "zed", "/pangeo list", "viewer").await;
    let random = sandbox::discord::RANDOM_CHANNEL;
    let answer = scene
        .person("ana")
        .runs_in(random, &deploy)
        .await
        .answer()
        .await;
    assert!(
        answer.is_ephemeral() && answer.says("answers in"),
        "{}",
        answer.text()
    );
    assert_eq!(rows(&scene).await, 0);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_missing_or_taken_is_found_before_anybody_approves(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let native =
        |name: &str, host: &str| format!("/pangeo deploy name:{name} host:{host} auth:native");
    refused(&scene, "ana", &native("geo", HOST), "dns set-secret").await;
    scene.keeps_dns_secret(HOST).await;
    scene.world.im.set_quota("cores", 98.0, 100.0);
    refused(&scene, "ana", &native("geo", HOST), "cores").await;
    scene.world.im.set_quota("cores", 0.0, 200.0);

    scene
        .person("ana")
        .runs(&native("geo", HOST))
        .await
        .answer()
        .await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;
    scene.keeps_dns_secret("other.vm.fedcloud.eu").await;
    refused(
        &scene,
        "ana",
        &native("geo", "other.vm.fedcloud.eu"),
        "exists",
    )
    .await;
    refused(&scene, "ana", &native("other", HOST), "is at").await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn nonsense_in_a_form_keeps_nothing(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.world.prepare_host(HOST);
    let ana = scene.person("ana");
    let long = "x".repeat(4_000);
    for secret in ["a\0b\0c\0d\0e\0f\0", "line\nbreak-in-it", long.as_str()] {
        let modal = ana
            .runs(&format!("/pangeo dns set-secret host:{HOST}"))
            .await
            .modal()
            .await;
        // Discord's own client refuses what is longer than the form allows.
        if let Ok(interaction) = ana.tries_to_fill(&modal, &[("secret", secret)]) {
            let answer = interaction.answer().await;
            assert!(
                answer.is_ephemeral() && !answer.says("kept"),
                "{}",
                answer.text()
            );
        }
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from secrets")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(kept, 0);
    scene.nothing_unexpected();
}
