//! `/pangeo adopt`: a cluster that somebody made by hand after the howto comes into the inventory,
//! and nothing outside changes.

use std::collections::BTreeMap;

use sandbox::discord::Message;
use sandbox::faults::{Fault, On};
use sandbox::frontend::SshDoor;
use sandbox::world::{BOT_USER, ByHand, CLIENT_SECRET};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";

/// Somebody goes through the howto; the id in IM.
async fn by_hand(scene: &Scene, user: &str, host: &str) -> String {
    let name = "by-hand";
    let made = scene.world.make_by_hand(ByHand { name, host, user }).await;
    made.unwrap()
}

async fn answer(scene: &Scene, who: &str, typed: &str) -> Message {
    scene.person(who).runs(typed).await.answer().await
}

/// Ana asks; what the bot answers privately.
async fn asks(scene: &Scene, options: &str) -> String {
    let answer = answer(scene, "ana", &format!("/pangeo adopt {options}")).await;
    assert!(answer.is_ephemeral());
    answer.text()
}

async fn is_refused(scene: &Scene, options: &str, because: &str) {
    let answer = asks(scene, options).await;
    assert!(answer.contains(because), "{options}: {answer}");
    assert!(answer.contains("nothing was changed"), "{answer}");
}

fn says_all(message: &Message, words: &[&str]) {
    for words in words {
        assert!(message.says(words), "no {words:?} in {}", message.text());
    }
}

/// Everything outside that the bot could have changed.
fn outside(scene: &Scene, id: &str) -> BTreeMap<&'static str, String> {
    let world = &scene.world;
    let writes = world.im.faults().requests().into_iter();
    let writes = writes.filter(|request| request.method != "GET").count();
    let front_ends = &world.front_ends;
    let changes = front_ends.commands(id).into_iter();
    let changes = changes.filter(|command| {
        ["helm upgrade", "rm ", "mv ", "tee", "cat >", "clues power"]
            .iter()
            .any(|words| command.contains(words))
    });
    BTreeMap::from([
        ("IM", format!("{:?}", world.im.infrastructures())),
        ("writes to IM", writes.to_string()),
        ("DNS", format!("{:?}", world.dns.records())),
        ("updates of DNS", world.dns.update_calls().len().to_string()),
        ("helm", front_ends.helm_runs(id).to_string()),
        ("releases", format!("{:?}", front_ends.releases(id))),
        ("changes", changes.collect::<Vec<_>>().join("\n")),
    ])
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn it_is_found_by_its_host_and_works_as_any_other(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let id = by_hand(&scene, BOT_USER, HOST).await;
    scene.world.im.let_act(&id, "ana");
    let before = outside(&scene, &id);

    asks(
        &scene,
        &format!("name:geo host:{HOST} purpose:Course end-date:2099-12-31"),
    )
    .await;
    let plan = scene.plan("into the inventory as `geo`").await;
    let account = format!("may act on it in IM: {BOT_USER}, ana");
    says_all(
        &plan,
        &[
            &id,
            "nothing outside is changed",
            "user cloudadm, key of VM 0 (sealed)",
            "+ host key SHA256:",
            "+ release daskhub-2024.1.1, helm revision 1 (deployed), as revision 1",
            &account,
            "+ front end of 4 CPUs, 16 GB; up to 5 workers of 8 CPUs, 32 GB",
            "+ notebook image pangeo/pangeo-notebook:2022.09.21",
            "+ login: EGI Check-in, production",
            "+ Kubernetes 1.35.3",
            "+ purpose: Course",
            "~ not known: the DNS secret of",
            "compare it with what",
        ],
    );
    let files = plan.attachments.iter();
    let files: Vec<&str> = files.map(|file| file.filename.as_str()).collect();
    assert_eq!(files, ["found.txt", "values.yaml"]);
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("adopt geo · succeeded").await;
    assert_eq!(outside(&scene, &id), before);

    for (typed, words) in [
        ("list", vec!["geo", "running", "revision 1", "Course"]),
        (
            "status name:geo",
            vec!["running", "answers, JupyterHub", "configured", "2024.1.1"],
        ),
        (
            "values show name:geo",
            vec!["start within 600 s", "geo-values-1.yaml"],
        ),
        (
            "values history name:geo",
            vec!["adopted, made by hand: helm revision 1"],
        ),
        ("values drift name:geo", vec!["no"]),
        ("token status name:geo", vec!["the token lives"]),
        ("diagnose name:geo", vec!["ok"]),
        ("nodes list name:geo", vec!["wn1"]),
        ("flavor show name:geo", vec!["CLUES believes"]),
        ("owners show name:geo", vec!["(the bot's account)", "• ana"]),
    ] {
        let answer = answer(&scene, "vic", &format!("/pangeo {typed}")).await;
        for words in words {
            assert!(
                answer.says(words),
                "{typed}: no {words:?} in {}",
                answer.text()
            );
        }
    }
    let shown = answer(&scene, "vic", "/pangeo values show name:geo").await;
    let file = scene.world.discord.file(shown.attachments[0].id).unwrap();
    let file = String::from_utf8(file).unwrap();
    assert!(!file.contains(CLIENT_SECRET), "{file}");
    assert!(file.contains("secretToken: secret"), "{file}");
    let sealed = "select count(*) from secrets where owner_kind = 'cluster'";
    scene.counts(sealed, 2).await;
    let masked: String = sqlx::query_scalar("select values_masked from revisions")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert!(!masked.contains(CLIENT_SECRET), "{masked}");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn it_is_found_by_its_id_then_changed_and_deleted(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let id = by_hand(&scene, BOT_USER, HOST).await;
    let (ana, ben) = (scene.person("ana"), scene.person("ben"));
    let address = format!("{}/infrastructures/{id}", scene.world.im.url());
    asks(&scene, &format!("name:geo infrastructure:{address}")).await;
    let plan = scene.plan("into the inventory as `geo`").await;
    says_all(&plan, &[HOST, "no end date"]);
    ben.reacts(&plan, "✅");
    scene.sees("adopt geo · succeeded").await;
    // One infrastructure is one cluster.
    let again = format!("name:geo2 infrastructure:{id}");
    is_refused(
        &scene,
        &again,
        "the inventory has it already: cluster `geo`",
    )
    .await;
    let again = format!("name:geo host:{HOST}");
    is_refused(&scene, &again, "`name`: the inventory has it already").await;
    let again = format!("name:geo2 host:{HOST}");
    is_refused(&scene, &again, "`host`: the inventory has it already").await;

    answer(&scene, "ana", "/pangeo scale name:geo max:6").await;
    let plan = scene.plan("scale geo").await;
    ben.reacts(&plan, "✅");
    scene.sees("scale geo · succeeded").await;
    let set = "/pangeo values set name:geo path:jupyterhub.singleuser.startTimeout value:700";
    answer(&scene, "ana", set).await;
    let plan = scene.plan("values set geo").await;
    ben.reacts(&plan, "✅");
    scene.sees("values set geo · succeeded").await;
    let values = scene.world.front_ends.last_values(&id).unwrap();
    assert!(values.contains("startTimeout: 700") && values.contains(CLIENT_SECRET));

    let modal = ana.runs("/pangeo destroy name:geo").await.modal().await;
    ana.fills(&modal, &[("name", "geo")]).await.answer().await;
    let plan = scene.plan("Delete cluster `geo`").await;
    ben.reacts(&plan, "✅");
    scene.person("eva").reacts(&plan, "✅");
    scene.sees("`destroy` of `geo` is done").await;
    assert_eq!(scene.world.im.infrastructures(), []);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_could_not_be_worked_with_is_refused_at_once(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let world = &scene.world;
    is_refused(&scene, "name:geo", "give `host`").await;
    let nowhere = format!("name:geo host:{HOST}");
    is_refused(&scene, &nowhere, "points nowhere").await;
    let unknown = "name:geo infrastructure:01234567-89ab";
    is_refused(&scene, unknown, "IM knows no infrastructure").await;
    is_refused(
        &scene,
        "name:geo infrastructure:a%20b%20c%20d",
        "`infrastructure`:",
    )
    .await;
    let over = format!("name:geo host:{HOST} end-date:2020-01-01");
    is_refused(&scene, &over, "is over").await;

    // Another person made it.
    let id = by_hand(&scene, "zoe", "atlas.vm.fedcloud.eu").await;
    let others = format!("name:atlas infrastructure:{id}");
    is_refused(&scene, &others, "belongs to somebody else in IM").await;
    is_refused(
        &scene,
        &others,
        &format!("must let the bot's account `{BOT_USER}` act"),
    )
    .await;
    let others = "name:atlas host:atlas.vm.fedcloud.eu";
    is_refused(&scene, others, "none has its front end at").await;

    let id = by_hand(&scene, BOT_USER, HOST).await;
    let geo = format!("name:geo infrastructure:{id}");
    let other_key = "A".repeat(43);
    let wrong = format!("{geo} fingerprint:SHA256:{other_key}");
    is_refused(&scene, &wrong, "`fingerprint`: the front end at").await;
    world.front_ends.set_ssh(&id, SshDoor::Refusing).unwrap();
    is_refused(&scene, &geo, "refuses SSH connections").await;
    world.front_ends.set_ssh(&id, SshDoor::Open).unwrap();
    let frontend = world.front_ends.address(&id).unwrap();
    let no_key = serde_json::json!({"radl": [
        {"class": "network", "id": "public_net", "outbound": "yes"},
        {"class": "system", "id": "front", "state": "configured",
         "net_interface.0.connection": "public_net", "net_interface.0.ip": frontend.to_string()},
    ]});
    let vm = On::get(&format!("/infrastructures/{id}/vms/0"));
    let hidden = world
        .im
        .faults()
        .inject(vm, Fault::answer(200, &no_key.to_string()), 1);
    is_refused(&scene, &geo, "IM has no key for the front end").await;
    assert_eq!(hidden.hits(), 1);

    let token = world
        .checkin
        .mint_token(BOT_USER, chrono::Duration::hours(1))
        .unwrap();
    world.im.fail_next_configure();
    world.im.reconfigure_by_hand(&token, &id).await.unwrap();
    let again = world.im.wait_until_configured(&id, 3).await;
    assert!(again.is_err(), "it was to fail");
    is_refused(&scene, &geo, "IM says `unconfigured`").await;

    // A cluster without DaskHub.
    let bare = world.im.create_by_hand(&token, "bare", &[]).await.unwrap();
    world.im.wait_until_configured(&bare, 1).await.unwrap();
    let bare = format!("name:bare infrastructure:{bare}");
    is_refused(&scene, &bare, "has no release `daskhub`").await;
    let plans = "select (select count(*) from plans) + (select count(*) from clusters)
                     + (select count(*) from secrets)";
    scene.counts(plans, 0).await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_changes_between_plan_and_adoption_stops_it_and_its_undo_forgets_it(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let id = by_hand(&scene, BOT_USER, HOST).await;
    let (ben, front_ends) = (scene.person("ben"), &scene.world.front_ends);
    let clusters = "select count(*) from clusters where phase <> 'removed'";
    let secrets = "select count(*) from secrets where owner_kind = 'cluster'";
    let adopt = format!("name:geo host:{HOST}");

    // Whoever answers now is not whom people compared.
    asks(&scene, &adopt).await;
    let plan = scene.plan("into the inventory as `geo`").await;
    front_ends.change_host_key(&id).await.unwrap();
    ben.reacts(&plan, "✅");
    let stopped = scene
        .stops("is not the pinned one", "somebody may stand in between")
        .await;
    scene.undoes(&stopped, "`adopt` of `geo`").await;
    scene.sees("undo adopt geo · undone").await;
    scene.counts(clusters, 0).await;
    scene.counts(secrets, 0).await;
    front_ends.restore_host_key(&id).await.unwrap();

    // Somebody changes the values meanwhile.
    asks(&scene, &adopt).await;
    let plan = scene.plan_after(Some(&stopped), "into the inventory").await;
    let values = front_ends.last_values(&id).unwrap();
    let values = values.replace("startTimeout: 600", "startTimeout: 601");
    front_ends.upgrade_by_hand(&id, &values);
    ben.reacts(&plan, "✅");
    let next = "undo this operation and run the command again";
    let stopped = scene
        .stops_after(Some(&stopped), "changed meanwhile", next)
        .await;
    let before = outside(&scene, &id);
    scene.undoes(&stopped, "`adopt` of `geo`").await;
    let undone = "select count(*) from operations where state = 'undone'";
    scene.counts(undone, 2).await;
    scene.counts(clusters, 0).await;
    assert_eq!(outside(&scene, &id), before);

    asks(&scene, &adopt).await;
    let plan = scene.plan_after(Some(&stopped), "into the inventory").await;
    says_all(&plan, &["helm revision 2 (deployed), as revision 1"]);
    ben.reacts(&plan, "✅");
    scene.sees("adopt geo · succeeded").await;
    scene.counts(clusters, 1).await;
    scene.nothing_unexpected();
}
