//! `/pangeo deploy`, from the channel to the hub's URL.

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";

#[sqlx::test(migrator = "MIGRATOR")]
async fn ana_deploys_and_ben_approves_by_reaction(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret("geo.vm.fedcloud.eu").await;

    let answer = scene.person("ana").runs(DEPLOY).await.answer().await;
    assert!(answer.says("plan"), "{}", answer.text());
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");

    scene.sees("https://geo.vm.fedcloud.eu").await;
    scene.sees("/grafana/").await;
    scene.sees("succeeded").await;
    let view = scene.world.im.infrastructure("pangeo-geo").unwrap();
    assert_eq!(scene.world.im.create_calls(), 1);
    let releases = scene.world.front_ends.releases(&view.id);
    assert_eq!(releases.len(), 1, "{releases:#?}");
    assert_eq!(releases[0].status, "deployed");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_plan_says_what_is_odd_in_it_and_whom_to_ask(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret("geo.vm.fedcloud.eu").await;
    let ana = scene.person("ana");

    let nowhere = format!("{DEPLOY} credential:nowhere");
    let answer = ana.runs(&nowhere).await.answer().await;
    assert!(
        answer.says("choose one of") && answer.says("sandbox"),
        "{}",
        answer.text()
    );

    let odd = format!("{DEPLOY} chart-version:2024.9.9 contact:ana@example.org");
    ana.runs(&odd).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    assert!(plan.says("does not know chart 2024.9.9"), "{}", plan.text());
    assert!(plan.says("+ contact: ana@example.org"), "{}", plan.text());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn templates_that_changed_after_the_plan_are_not_used(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret("geo.vm.fedcloud.eu").await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;

    scene.world.im.change_templates();
    scene.person("ben").reacts(&plan, "✅");

    scene.sees("not those that the plan showed").await;
    scene
        .sees("hint: undo this operation and deploy again")
        .await;
    assert_eq!(scene.world.im.create_calls(), 0);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deployed_cluster_is_looked_at_by_who_may_look(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret("geo.vm.fedcloud.eu").await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene
        .person("ben")
        .presses_on(&plan, "Approve")
        .await
        .answer()
        .await;
    scene.sees("succeeded").await;
    let vic = scene.person("vic");
    let id: String = sqlx::query_scalar("select right(id::text, 8) from operations")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    for (typed, words) in [
        ("/pangeo list", vec!["geo", "running", "revision 1"]),
        (
            "/pangeo status name:geo",
            vec![
                "running",
                "answers, JupyterHub",
                "2 of 2 ready",
                "configured",
                "2024.1.1",
                "ends",
            ],
        ),
        (
            "/pangeo ops list state:all",
            vec!["deploy", "geo", "succeeded"],
        ),
        (
            &format!("/pangeo ops show operation:{id}"),
            vec!["install-daskhub", "record-revision"],
        ),
        (
            &format!("/pangeo logs operation operation:{id}"),
            vec!["Log of operation", "install-daskhub"],
        ),
        (
            "/pangeo dns check host:geo.vm.fedcloud.eu",
            vec!["points to 127."],
        ),
        (
            "/pangeo checkin sheet host:geo.vm.fedcloud.eu",
            vec!["/hub/oauth_callback"],
        ),
        ("/pangeo help", vec!["deploy", "status"]),
    ] {
        let runs = typed.contains("sheet").then(|| scene.person("ana"));
        let answer = runs
            .as_ref()
            .unwrap_or(&vic)
            .runs(typed)
            .await
            .answer()
            .await;
        for word in words {
            assert!(
                answer.says(word),
                "{typed}: no {word:?} in {}",
                answer.text()
            );
        }
    }
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_hub_with_check_in_login_gets_its_client(pool: PgPool) {
    const HOST: &str = "atlas.vm.fedcloud.eu";
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let (id, secret) = ("atlas-client", "atlas-client-secret");
    scene.world.prepare_client(id, secret, HOST);
    let ana = scene.person("ana");
    let deploy = format!("/pangeo deploy name:atlas host:{HOST} check-in:development");
    ana.runs(&deploy).await.answer().await;
    let warned = scene.plan("Create cluster `atlas`").await;
    assert!(
        warned.says("client of `atlas.vm.fedcloud.eu` is missing"),
        "{}",
        warned.text()
    );

    let modal = ana
        .runs(&format!("/pangeo checkin set-client host:{HOST}"))
        .await
        .modal()
        .await;
    let fields = [("client-id", id), ("client-secret", secret)];
    ana.fills(&modal, &fields).await.answer().await;
    let check = format!("/pangeo checkin check host:{HOST} check-in:development");
    let answer = ana.runs(&check).await.answer().await;
    assert!(answer.says("knows the client"), "{}", answer.text());
    scene.person("ben").reacts(&warned, "✅");
    scene.sees("succeeded").await;
    let view = scene.world.im.infrastructure("pangeo-atlas").unwrap();
    let values = scene.world.front_ends.last_values(&view.id).unwrap();
    assert!(values.contains(secret) && values.contains("role=member#aai.egi.eu"));
    assert!(
        !scene.world.discord.transcript().contains(secret),
        "the secret is in the chat"
    );
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_tosca_template_deploys_a_hub_that_helm_completes(pool: PgPool) {
    const HOST: &str = "geo.vm.fedcloud.eu";
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let ana = scene.person("ana");
    let tosca = format!(
        "/pangeo deploy name:geo host:{HOST} method:tosca image:pangeo/ml-notebook tag:2024.01.15"
    );
    ana.runs(&tosca).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    for words in [
        // What the howto says of it.
        "from July 2022: no Check-in login, some settings are missing or old",
        "later changes need helm anyway",
        "native login: anyone on the internet may sign up",
        "neither host nor certificate",
        "the DaskHub chart that the template chooses",
        "+ notebook image pangeo/ml-notebook:2024.01.15",
    ] {
        assert!(plan.says(words), "{words}: {}", plan.text());
    }
    assert!(!plan.says("install-daskhub"), "{}", plan.text());
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("geo is ready").await;
    scene.sees("does not answer yet").await;
    let id = scene.world.im.infrastructure("pangeo-geo").unwrap().id;
    let front_ends = &scene.world.front_ends;
    assert_eq!(front_ends.helm_runs(&id), 1, "only IM ran helm");
    assert_eq!(scene.world.causes(&id), []);

    // The values that IM gave are the first revision, without their secrets.
    let vic = scene.person("vic");
    let shown = vic.runs("/pangeo values show name:geo").await;
    let shown = shown.answer().await;
    assert!(
        shown.says("pangeo/ml-notebook:2024.01.15"),
        "{}",
        shown.text()
    );
    let history = vic.runs("/pangeo values history name:geo").await;
    let history = history.answer().await;
    assert!(
        history.says("helm 1 · chart 2024.1.1"),
        "{}",
        history.text()
    );

    let modal = ana.runs("/pangeo values edit name:geo").await.modal().await;
    let overlay = format!(
        "jupyterhub:\n  ingress:\n    hosts: [{HOST}]\n    tls:\n    - hosts: [{HOST}]\n      secretName: {HOST}\n"
    );
    ana.fills(&modal, &[("overlay", &overlay)])
        .await
        .answer()
        .await;
    let plan = scene
        .plan_after(Some(&plan), "Lay changes over the values")
        .await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees_rests(2).await;
    let status = vic.runs("/pangeo status name:geo").await.answer().await;
    for words in ["is running", "answers, JupyterHub"] {
        assert!(status.says(words), "{words}: {}", status.text());
    }

    let modal = ana.runs("/pangeo destroy name:geo").await.modal().await;
    ana.fills(&modal, &[("name", "geo")]).await.answer().await;
    let plan = scene.plan_after(Some(&plan), "Delete cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.person("eva").reacts(&plan, "✅");
    scene.sees("`destroy` of `geo` is done").await;
    assert_eq!(scene.left_over().await, Vec::<String>::new());
    scene.nothing_unexpected();
}
