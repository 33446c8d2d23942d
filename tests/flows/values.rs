//! `/pangeo values …`: what a hub is given is looked at and changed from the channel.

use sandbox::discord::Message;
use sandbox::frontend::HelmFault;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const HOST: &str = "geo.vm.fedcloud.eu";

const CLIENT: (&str, &str) = ("geo-client-id", "geo-client-secret");

/// A scene with a running hub with Check-in login, which has a client secret to keep.
async fn deployed(pool: PgPool) -> Scene {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    scene.world.prepare_client(CLIENT.0, CLIENT.1, HOST);
    let ana = scene.person("ana");
    let modal = ana
        .runs(&format!("/pangeo checkin set-client host:{HOST}"))
        .await
        .modal()
        .await;
    let fields = [("client-id", CLIENT.0), ("client-secret", CLIENT.1)];
    ana.fills(&modal, &fields).await.answer().await;
    let deploy = format!("/pangeo deploy name:geo host:{HOST} check-in:development");
    ana.runs(&deploy).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;
    scene
}

/// Ana runs it; the answer says that a plan is made.
async fn asks(scene: &Scene, typed: &str) {
    let answer = scene.person("ana").runs(typed).await.answer().await;
    assert!(answer.says("plan `"), "{typed}: {}", answer.text());
}

/// Ana runs it; the answer says why there is no plan.
async fn refused(scene: &Scene, typed: &str, why: &str) {
    let answer = scene.person("ana").runs(typed).await.answer().await;
    assert!(
        answer.says("nothing was changed") && answer.says(why),
        "{typed}: {}",
        answer.text()
    );
}

/// Ben approves the newest plan that says so, and it ends with this many operations at rest.
async fn approved(scene: &Scene, plan: &str, rests: i64) -> Message {
    let plan = scene.plan(plan).await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees_rests(rests).await;
    plan
}

async fn vic_sees(scene: &Scene, typed: &str, words: &[&str]) {
    let answer = scene.person("vic").runs(typed).await.answer().await;
    for word in words {
        assert!(
            answer.says(word),
            "{typed}: no {word:?} in {}",
            answer.text()
        );
    }
}

fn values(scene: &Scene) -> String {
    let view = scene.world.im.infrastructure("pangeo-geo").unwrap();
    scene.world.front_ends.last_values(&view.id).unwrap()
}

async fn states(scene: &Scene) -> Vec<String> {
    sqlx::query_scalar("select state from operations order by created_at")
        .fetch_all(&scene.pool)
        .await
        .unwrap()
}

/// There is a second cluster, with the first values of `geo` but for one.
async fn has_a_sister(scene: &Scene) {
    let sql = "
        insert into clusters (id, name, host, phase, owner_id, options, revision, created_at, changed_at)
        select gen_random_uuid(), 'sister', 'sister.vm.fedcloud.eu', 'failed', owner_id, options, 1,
               created_at, changed_at
        from clusters where name = 'geo';
        insert into revisions (cluster_id, number, helm_revision, chart_version, values_masked,
                               made_by, reason, made_at)
        select sister.id, 1, 1, of_geo.chart_version,
               replace(values_masked, 'startTimeout: 600', 'startTimeout: 601'),
               made_by, reason, made_at
        from clusters geo, clusters sister, revisions of_geo
        where geo.name = 'geo' and sister.name = 'sister'
          and of_geo.cluster_id = geo.id and of_geo.number = 1";
    sqlx::raw_sql(sql).execute(&scene.pool).await.unwrap();
}

/// Nothing unexpected happened and no secret was shown or stands open in a row.
async fn well(scene: &Scene) {
    for secret in [CLIENT.0, CLIENT.1] {
        let chat = scene.world.discord.transcript();
        assert!(!chat.contains(secret), "{secret} stands in the chat");
        for table in [
            "plans",
            "plan_files",
            "operations",
            "revisions",
            "steps",
            "operation_log",
        ] {
            let sql =
                format!("select count(*) from {table} as t where t::text like '%' || $1 || '%'");
            let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .bind(secret)
                .fetch_one(&scene.pool)
                .await
                .unwrap();
            assert_eq!(rows, 0, "{secret} stands in {table}");
        }
    }
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn limits_are_changed_and_stand_in_the_history(pool: PgPool) {
    let scene = deployed(pool).await;
    let before = values(&scene);
    let typed =
        "/pangeo values limits name:geo cores:12 memory:48GB idle-timeout:60 reason:Summer-school";
    asks(&scene, typed).await;
    let plan = approved(&scene, "Change what one Dask cluster", 2).await;
    for words in [
        "cluster_max_cores = 12",
        "cluster_max_cores = 6",
        "idle_timeout = 3600",
        "started anew",
    ] {
        assert!(plan.says(words), "no {words:?} in {}", plan.text());
    }
    assert_eq!(states(&scene).await, ["succeeded", "succeeded"]);

    let after = values(&scene);
    assert!(after.contains("cluster_max_memory = \"48 G\"") && after.contains(CLIENT.1));
    let changed = before.lines().zip(after.lines()).filter(|(a, b)| a != b);
    assert_eq!(changed.count(), 3, "other lines changed as well:\n{after}");
    vic_sees(
        &scene,
        "/pangeo values show name:geo",
        &["12 cores, 48 GB", "60 idle minutes", "2022.09"],
    )
    .await;
    vic_sees(
        &scene,
        "/pangeo values history name:geo",
        &["Summer-school", "helm 2", "helm 1"],
    )
    .await;
    vic_sees(
        &scene,
        "/pangeo values diff name:geo",
        &["-", "cluster_max_cores = 12", "revision 1"],
    )
    .await;
    vic_sees(
        &scene,
        "/pangeo values drift name:geo",
        &["nothing", "revision 2"],
    )
    .await;
    has_a_sister(&scene).await;
    vic_sees(
        &scene,
        "/pangeo values diff name:geo other:sister",
        &["startTimeout: 601", "sister", "cluster_max_cores = 6"],
    )
    .await;
    refused(&scene, "/pangeo values limits name:geo", "at least one of").await;
    refused(&scene, typed, "nothing would change").await;
    well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_image_changes_everywhere_and_one_value_is_set(pool: PgPool) {
    let scene = deployed(pool).await;
    // The first letter has the values that there are, the next those of the chart's schema too.
    let ana = scene.person("ana");
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    let began = std::time::Instant::now();
    loop {
        look.tick().await;
        assert!(
            began.elapsed() < PATIENCE,
            "no place of the schema completes"
        );
        let typed = "/pangeo values set name:geo path:";
        let places = ana.completes(&format!("{typed}prePu")).await;
        if places
            .iter()
            .any(|(_, value)| value == "jupyterhub.prePuller")
        {
            break;
        }
    }
    asks(&scene, "/pangeo values image name:geo tag:2024.01.15").await;
    approved(&scene, "Run `pangeo/pangeo-notebook:2024.01.15`", 2).await;
    assert_eq!(values(&scene).matches("2024.01.15").count(), 2);

    let path = "jupyterhub.singleuser.startTimeout";
    let places = scene
        .person("ana")
        .completes("/pangeo values set name:geo path:startTim")
        .await;
    assert!(places.iter().any(|(_, value)| value == path), "{places:?}");
    let set = |value: &str| format!("/pangeo values set name:geo path:{path} value:{value}");
    refused(&scene, &set("soon"), "must be of type").await;
    refused(
        &scene,
        "/pangeo values set name:geo path:jupyterhub.hubb value:1",
        "does not know",
    )
    .await;
    let secret = "/pangeo values set name:geo path:jupyterhub.proxy.secretToken value:abc";
    refused(&scene, secret, "is a secret").await;
    asks(&scene, &set("900")).await;
    approved(&scene, &format!("Set `{path}`"), 3).await;
    assert!(values(&scene).contains("startTimeout: 900"));

    asks(
        &scene,
        "/pangeo values notebook name:geo memory-limit:8GB cpu-limit:3",
    )
    .await;
    approved(&scene, "Change what a notebook", 4).await;
    asks(
        &scene,
        "/pangeo values worker-options name:geo cores-max:8 memory-max:16",
    )
    .await;
    approved(&scene, "may choose for Dask workers", 5).await;
    let now = values(&scene);
    for words in ["limit: 8G", "limit: 3", "min=1, max=8", "min=2, max=16"] {
        assert!(now.contains(words), "no {words:?} in\n{now}");
    }
    refused(
        &scene,
        "/pangeo values chart name:geo version:1999.1.1",
        "version 1999.1.1 of the chart can't be read",
    )
    .await;
    let view = scene.world.im.infrastructure("pangeo-geo").unwrap();
    let crds = || scene.world.front_ends.crds(&view.id);
    let older = crds();
    asks(&scene, "/pangeo values chart name:geo version:2023.1.0").await;
    let plan = approved(&scene, "to version 2023.1.0 of the chart", 6).await;
    assert!(plan.says("- chart 2024.1.1") && plan.says("+ chart 2023.1.0"));
    assert_ne!(crds(), older);
    assert_eq!(values(&scene), now);
    let seen = ["**6**", "chart 2023.1.0", "chart 2024.1.1"];
    vic_sees(&scene, "/pangeo values history name:geo", &seen).await;
    assert_eq!(states(&scene).await, ["succeeded"; 6]);
    well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_overlay_is_laid_over_and_rolled_back(pool: PgPool) {
    let scene = deployed(pool).await;
    let before = values(&scene);
    let ana = scene.person("ana");
    let bomb = format!("{}1", "{a: ".repeat(900));
    let long = "x".repeat(4000);
    let good = "jupyterhub:\n  cull:\n    timeout: 900\n    every: 60";
    for (overlay, answer) in [
        (
            "jupyterhub:\n  proxy:\n    secretToken: mine-from-now-on",
            "secret",
        ),
        ("a: &x 1\nb: *x", "can't be used"),
        ("jupyterhub:\n  hubb: {}", "refuses"),
        ("jupyterhub:\0 {}", "control characters"),
        (&bomb, "can't be used"),
        (&long, "a mapping"),
        (good, "plan `"),
    ] {
        let modal = ana.runs("/pangeo values edit name:geo").await.modal().await;
        let fields = [("overlay", overlay), ("reason", "idle servers cost")];
        let said = ana.fills(&modal, &fields).await.answer().await;
        assert!(said.says(answer), "{overlay}: {}", said.text());
        assert!(said.is_ephemeral(), "{}", said.text());
        // What was typed comes back with what is wrong, without its secret.
        let back = said.attachments.first().map(|file| {
            let bytes = scene.world.discord.file(file.id).unwrap();
            String::from_utf8(bytes).unwrap()
        });
        let shown = overlay.replace("mine-from-now-on", "secret");
        assert!(back == (overlay != good).then_some(shown), "{answer}");
        assert!(!said.says("mine-from-now-on"), "{}", said.text());
    }
    approved(&scene, "Lay changes over", 2).await;
    let after = values(&scene);
    assert!(
        after.contains("timeout: 900") && after.contains(CLIENT.1),
        "{after}"
    );
    vic_sees(
        &scene,
        "/pangeo values history name:geo",
        &["idle servers cost"],
    )
    .await;

    refused(
        &scene,
        "/pangeo values rollback name:geo revision:2",
        "is the newest",
    )
    .await;
    asks(&scene, "/pangeo values rollback name:geo revision:1").await;
    approved(&scene, "Roll `geo` back to revision 1", 3).await;
    assert_eq!(values(&scene), before);
    let typed = "/pangeo values edit name:geo reason:by-file";
    for (content, answer) in [
        (vec![b'#'; 70_000], "at most 65536"),
        (vec![b'a', b':', b' ', 0xff], "not text"),
        (b"a: \0".to_vec(), "not text"),
        (
            b"jupyterhub:\n  cull:\n    timeout: 1800\n".to_vec(),
            "plan `",
        ),
    ] {
        let file = ("values.yaml", content.as_slice());
        let said = ana.runs_with(typed, "file", file).await.answer().await;
        assert!(said.says(answer) && said.is_ephemeral(), "{}", said.text());
    }
    scene.plan("+    timeout: 1800").await;
    let undone = ["revision 1 → 3", "there is no difference"];
    vic_sees(&scene, "/pangeo values diff name:geo from:1 to:3", &undone).await;
    assert_eq!(states(&scene).await, ["succeeded"; 3]);
    well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_failed_upgrade_is_rolled_back_by_itself(pool: PgPool) {
    let scene = deployed(pool).await;
    let before = values(&scene);
    let view = scene.world.im.infrastructure("pangeo-geo").unwrap();
    scene.world.front_ends.fail_helm(&HelmFault::NotReady, 1);
    asks(&scene, "/pangeo values image name:geo tag:does-not-exist").await;
    approved(&scene, "does-not-exist", 2).await;
    scene.sees("rolled back by itself to helm revision 1").await;
    let stopped = scene.sees_button("Retry").await;
    let releases = scene.world.front_ends.releases(&view.id);
    let newest = releases.last().unwrap();
    assert_eq!(
        (newest.status.as_str(), newest.description.as_str()),
        ("deployed", "Rollback to 1")
    );
    assert_eq!(newest.values, before);

    // A retry overwrites nothing that was changed since.
    let front_ends = &scene.world.front_ends;
    let by_hand = before.replace("startTimeout: 600", "startTimeout: 601");
    front_ends.upgrade_by_hand(&view.id, &by_hand);
    let ana = scene.person("ana");
    ana.presses_on(&stopped, "Retry").await.answer().await;
    let offers_leave = |message: &Message| {
        let mut buttons = message.buttons().into_iter();
        message.says("changed meanwhile") && buttons.any(|button| button.label == "Leave")
    };
    let discord = &scene.world.discord;
    let stopped = discord.wait_for_message(offers_leave, PATIENCE).await;
    assert_eq!(values(&scene), by_hand);
    front_ends.upgrade_by_hand(&view.id, &before);

    ana.presses_on(&stopped.unwrap(), "Leave")
        .await
        .answer()
        .await;
    vic_sees(
        &scene,
        "/pangeo status name:geo",
        &["is running", "answers"],
    )
    .await;
    vic_sees(&scene, "/pangeo values drift name:geo", &["nothing"]).await;
    asks(&scene, "/pangeo values limits name:geo workers:9").await;
    approved(&scene, "Change what one Dask cluster", 4).await;
    assert_eq!(states(&scene).await, ["succeeded", "failed", "succeeded"]);
    vic_sees(
        &scene,
        "/pangeo values history name:geo",
        &["**2**", "helm 6"],
    )
    .await;
    well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_was_changed_by_hand_is_adopted_or_overwritten(pool: PgPool) {
    let scene = deployed(pool).await;
    let front_ends = &scene.world.front_ends;
    let view = scene.world.im.infrastructure("pangeo-geo").unwrap();
    let by_hand = |text: &str| front_ends.upgrade_by_hand(&view.id, text);
    by_hand(&values(&scene).replace("startTimeout: 600", "startTimeout: 601"));
    let seen = [
        "startTimeout: 601",
        "values adopt name:geo",
        "values overwrite name:geo",
    ];
    vic_sees(&scene, "/pangeo values drift name:geo", &seen).await;
    refused(
        &scene,
        "/pangeo values limits name:geo workers:9",
        "by hand",
    )
    .await;

    asks(&scene, "/pangeo values adopt name:geo reason:Evas-fix").await;
    let runs = front_ends.helm_runs(&view.id);
    approved(&scene, "Take what helm has over", 2).await;
    assert_eq!(
        front_ends.helm_runs(&view.id),
        runs,
        "adopting installed something"
    );
    vic_sees(
        &scene,
        "/pangeo values drift name:geo",
        &["nothing", "revision 2"],
    )
    .await;

    by_hand(&values(&scene).replace("startTimeout: 601", "startTimeout: 1"));
    asks(&scene, "/pangeo values overwrite name:geo").await;
    approved(&scene, "Put revision 2 back", 3).await;
    assert!(values(&scene).contains("startTimeout: 601"));

    // Changed between plan and approval: nothing is overwritten unseen.
    asks(&scene, "/pangeo values limits name:geo workers:9").await;
    by_hand(&values(&scene).replace("startTimeout: 601", "startTimeout: 2"));
    approved(&scene, "Change what one Dask cluster", 4).await;
    scene.ends_outdated("changed meanwhile").await;
    assert!(values(&scene).contains("startTimeout: 2"));
    well(&scene).await;
}
