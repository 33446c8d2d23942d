//! Bad input: answered privately, in words that say what is allowed, and nothing is changed.
//!
//! What Discord's own client would not send is sent raw, so that it is the bot that refuses.

use sandbox::discord::Interaction;
use sandbox::faults::{On, Place};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const HOST: &str = "geo.vm.fedcloud.eu";

/// Everything that an input may have changed.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    /// Plans, grants, operations, clusters, kept secrets and messages to be told.
    rows: i64,
    /// Messages that not only one person sees, in any channel or thread.
    told: usize,
    /// Requests to a service that change something there.
    changes: Vec<String>,
}

async fn traces(scene: &Scene) -> Traces {
    let sql = "select (select count(*) from plans) + (select count(*) from grants)
                    + (select count(*) from operations) + (select count(*) from clusters)
                    + (select count(*) from secrets) + (select count(*) from messages)";
    let rows = sqlx::query_scalar(sql)
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    let world = &scene.world;
    let channels = world.discord.channels();
    let told = channels
        .iter()
        .flat_map(|channel| world.discord.messages(channel.id))
        .filter(|message| !message.is_ephemeral())
        .count();
    let at_im = world.im.faults().requests().into_iter();
    let mut changes: Vec<String> = at_im
        .filter(|request| request.method != "GET" && !request.path.contains("dry_run"))
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    changes.extend(
        world
            .dns
            .update_calls()
            .iter()
            .map(|call| format!("{call:?}")),
    );
    changes.extend(world.front_ends.infrastructures());
    Traces {
        rows,
        told,
        changes,
    }
}

/// The bot refused it: privately, with these words, and nothing was changed.
async fn is_refused(scene: &Scene, what: &str, because: &str, before: &Traces, tried: Interaction) {
    let answer = tried.try_answer().await;
    let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(answer.is_ephemeral(), "{what}: answered in public");
    assert!(
        answer.says(because) && !answer.says("something went wrong"),
        "{what}: no {because:?} in {:?}",
        answer.text()
    );
    assert_eq!(traces(scene).await, *before, "{what}: it left traces");
}

/// What a person types passes Discord's client and is refused by the bot.
async fn refused(scene: &Scene, person: &str, typed: &str, because: &str) {
    let before = traces(scene).await;
    let tried = scene.person(person).tries(typed);
    let tried = tried.unwrap_or_else(|client| panic!("the client refuses {typed}: {client}"));
    is_refused(scene, typed, because, &before, tried).await;
}

/// What no client of Discord's would send is refused by the bot as well.
async fn refused_raw(scene: &Scene, command: &str, options: &[(&str, Value)], because: &str) {
    let before = traces(scene).await;
    let what = format!("{command} {options:?}");
    let tried = scene.person("ana").sends(command, options).await;
    is_refused(scene, &what, because, &before, tried).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn names_are_refused_with_what_is_allowed(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let long = format!("{}.vm.fedcloud.eu", "a".repeat(300));
    let hosts = [
        "pangeo",
        "-geo.vm.fedcloud.eu",
        "geo..vm.fedcloud.eu",
        "geo .vm.fedcloud.eu",
        "geo.vm.fedcloud.eu reboot",
        "geo.vm.fedcloud.eu\u{a0}x",
        "pаngeo.vm.fedcloud.eu", // a Cyrillic letter
        "ge\u{200b}o.vm.fedcloud.eu",
        "https://geo.vm.fedcloud.eu",
        "geo.vm.fedcloud.eu:443",
        "$(id).vm.fedcloud.eu",
        "geo;reboot.vm.fedcloud.eu",
        "10.0.0.1",
        &long,
    ];
    for host in hosts {
        let typed = format!("/pangeo deploy name:geo host:\"{host}\"");
        refused(&scene, "ana", &typed, "host").await;
    }
    for host in ["geo.example.org", "evilvm.fedcloud.eu"] {
        let typed = format!("/pangeo deploy name:geo host:{host}");
        refused(&scene, "ana", &typed, "vm.fedcloud.eu").await;
    }
    let long = "a".repeat(41);
    let names = [
        "Geo",
        "ge o",
        "geo;id",
        "$(id)",
        "-geo",
        "1geo",
        "geo.eu",
        "ge\u{202e}o",
        &long,
    ];
    for name in names {
        let typed = format!("/pangeo deploy name:\"{name}\" host:{HOST}");
        refused(&scene, "ana", &typed, "name").await;
    }
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn bad_options_are_refused_with_what_is_allowed(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let deploy = format!("/pangeo deploy name:geo host:{HOST}");
    for (more, because) in [
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
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_no_client_would_send_is_refused_too(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let with = |name: &'static str, value: Value| {
        let mut all = vec![("name", json!("geo")), ("host", json!(HOST))];
        all.retain(|(known, _value)| *known != name);
        all.push((name, value));
        all
    };
    for (name, value) in [
        // Beyond the limits that the client knows.
        ("workers-max", json!(-1)),
        ("workers-max", json!(99_999_999_999_i64)),
        ("workers-max", json!(i64::MIN)),
        ("worker-cpus", json!(0)),
        ("auth", json!("password")),
        ("check-in", json!("$(id)")),
        ("method", json!("")),
        ("purpose", json!("x".repeat(6_000))),
        ("purpose", json!("a\0b")),
        // Options of another type.
        ("name", json!(7)),
        ("name", json!(true)),
        ("host", json!(-1)),
        ("workers-max", json!("many")),
        ("workers-max", json!(2.5)),
        ("workers-max", json!(true)),
        ("end-date", json!(20_990_101)),
        ("email", json!(false)),
        ("image", json!(1.5)),
        // One that is not there.
        ("force", json!(true)),
    ] {
        refused_raw(&scene, "pangeo deploy", &with(name, value), name).await;
    }
    refused_raw(&scene, "pangeo deploy", &[("name", json!("geo"))], "host").await;
    refused_raw(&scene, "pangeo deploy", &[], "name").await;
    refused_raw(&scene, "pangeo ops list", &[("state", json!(3))], "state").await;
    refused_raw(
        &scene,
        "pangeo ops show",
        &[("operation", json!(12))],
        "operation",
    )
    .await;
    refused_raw(&scene, "pangeo reboot", &[("host", json!(HOST))], "command").await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn operations_that_are_not_there_are_not_acted_on(pool: PgPool) {
    let scene = Scene::start(pool).await;
    for command in [
        "ops show",
        "ops cancel",
        "ops resume",
        "ops retry",
        "ops undo",
        "logs operation",
    ] {
        for id in ["ffffffff", "01890000-0000-7000-8000-000000000000"] {
            let typed = format!("/pangeo {command} operation:{id}");
            refused(&scene, "ana", &typed, "there is no").await;
        }
        for id in ["../../etc/passwd", "' or 1=1 --", "geo", "FFFFFFFF"] {
            let typed = format!("/pangeo {command} operation:\"{id}\"");
            refused(&scene, "ana", &typed, "is not the id of an operation").await;
        }
    }
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
    let before = traces(&scene).await;
    let tried = scene.person("ana").runs_in(random, &deploy).await;
    is_refused(&scene, "in #random", "answers in", &before, tried).await;
    scene.nothing_unexpected();
}

fn native(name: &str, host: &str) -> String {
    format!("/pangeo deploy name:{name} host:{host} auth:native")
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_missing_is_found_before_anybody_approves(pool: PgPool) {
    let scene = Scene::start(pool).await;
    refused(&scene, "ana", &native("geo", HOST), "dns set-secret").await;
    scene.keeps_dns_secret(HOST).await;
    scene.world.im.set_quota("cores", 98.0, 100.0);
    refused(&scene, "ana", &native("geo", HOST), "cores").await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_second_deploy_of_the_same_name_or_host_makes_no_second_cluster(pool: PgPool) {
    const OTHER: &str = "other.vm.fedcloud.eu";
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    scene.keeps_dns_secret(OTHER).await;
    let ana = scene.person("ana");
    ana.runs(&native("geo", HOST)).await.answer().await;
    let first = scene.plan("Create cluster `geo`").await;

    // While the first waits for approval both can be asked for; only one can start.
    ana.runs(&native("geo", OTHER)).await.answer().await;
    let same_name = scene.plan_after(Some(&first), "Create cluster `geo`").await;
    ana.runs(&native("atlas", HOST)).await.answer().await;
    let same_host = scene.plan("Create cluster `atlas`").await;
    let hold = scene
        .world
        .dns
        .faults()
        .hold(On::get("/nic/update"), Place::Before);
    let ben = scene.person("ben");
    ben.reacts(&first, "✅");
    hold.reached().await;
    scene.settles().await;

    // While it runs: a new one is refused at once, and one that waits is void when it is approved.
    refused(&scene, "ana", &native("geo", OTHER), "exists").await;
    refused(&scene, "ana", &native("other", HOST), "is at").await;
    for (plan, what) in [(&same_name, "geo"), (&same_host, "host")] {
        ben.reacts(plan, "✅");
        let is_void = |d: &sandbox::discord::Discord| d.message(plan.id).filter(|m| m.says("void"));
        let told = scene.world.discord.wait_until(PATIENCE, is_void).await;
        let told = told.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(told.says(what), "{}", told.text());
    }
    hold.release();
    // The hub's address is the last that is told.
    scene.sees("geo is ready").await;
    scene.settles().await;
    refused(&scene, "ana", &native("geo", OTHER), "exists").await;
    refused(&scene, "ana", &native("other", HOST), "is at").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    scene.nothing_unexpected();
}

/// What is typed into a form, by input.
type Fields<'a> = &'a [(&'a str, &'a str)];

#[sqlx::test(migrator = "MIGRATOR")]
async fn nonsense_in_a_form_keeps_nothing(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.world.prepare_host(HOST);
    let ana = scene.person("ana");
    let dns = format!("/pangeo dns set-secret host:{HOST}");
    let client = format!("/pangeo checkin set-client host:{HOST}");
    let over = "x".repeat(201);
    let huge = "x".repeat(4_001);
    let forms: [(&str, Fields<'_>, &str); 9] = [
        (
            &dns,
            &[("secret", "a\0b\0c\0d\0e\0f\0")],
            "control characters",
        ),
        (
            &dns,
            &[("secret", "line\nbreak-in-it")],
            "control characters",
        ),
        (&dns, &[("secret", "short")], "6 to 200"),
        (&dns, &[("secret", over.as_str())], "6 to 200"),
        (&dns, &[("secret", huge.as_str())], "allowed"),
        (&dns, &[("secret", "")], "6 to 200"),
        (&dns, &[("password", "horse-battery-staple")], "secret"),
        (
            &client,
            &[("client-id", "a\0b"), ("client-secret", "horse-battery")],
            "control characters",
        ),
        (
            &client,
            &[("client-id", "geo"), ("client-secret", huge.as_str())],
            "allowed",
        ),
    ];
    for (command, fields, because) in forms {
        let modal = ana.runs(command).await.modal().await;
        let before = traces(&scene).await;
        let tried = ana.submits(&modal, fields).await;
        let what = format!(
            "{command} {:?}",
            fields.iter().map(|f| (f.0, f.1.len())).collect::<Vec<_>>()
        );
        is_refused(&scene, &what, because, &before, tried.clone()).await;
        let text = tried.answer().await.text();
        let shows = fields.iter().any(|(_name, value)| {
            value.len() > 5 && text.contains(value.trim_matches(char::is_control))
        });
        assert!(!shows, "{what}: shows what was typed");
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from secrets")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(kept, 0);
    scene.nothing_unexpected();
}
