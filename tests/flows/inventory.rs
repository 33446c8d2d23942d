//! `/pangeo lock`, `unlock`, `transfer` and `audit`: what people agree on about a cluster.

use chrono::Days;
use pangeo_bot::domain::clock::Clock;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

async fn answered(scene: &Scene, name: &str, typed: &str) -> sandbox::discord::Message {
    let answer = scene.person(name).runs(typed).await.answer().await;
    assert!(answer.is_ephemeral(), "{typed}: answered in public");
    answer
}

/// Ana asks to delete `geo`; what the bot answers.
async fn asks_to_destroy(scene: &Scene) -> sandbox::discord::Message {
    let ana = scene.person("ana");
    let modal = ana.runs("/pangeo destroy name:geo").await.modal().await;
    ana.fills(&modal, &[("name", "geo")]).await.answer().await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cluster_is_locked_for_a_course_and_given_to_another(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.deploys("").await;
    asks_to_destroy(&scene).await;
    let waiting = scene.plan("Delete cluster `geo`").await;

    let over = answered(
        &scene,
        "ana",
        "/pangeo lock name:geo end:2020-01-01 reason:Course",
    )
    .await;
    assert!(over.says("nothing is locked"), "{}", over.text());
    let zone = "/pangeo lock name:geo end:\"2099-01-01 08:00 Paris\" reason:Course";
    let zone = answered(&scene, "ana", zone).await;
    assert!(zone.says("time zone"), "{}", zone.text());
    let lock =
        "/pangeo lock name:geo end:\"2099-01-01 08:00 Europe/Paris\" reason:\"Summer school\"";
    answered(&scene, "ana", lock).await;
    scene.sees("geo is to be left alone").await;

    // No plan is made, none that waited starts, and renewals go through.
    let refused = asks_to_destroy(&scene).await;
    assert!(refused.says("is locked until"), "{}", refused.text());
    assert!(refused.says("Summer school"), "{}", refused.text());
    scene.person("ben").reacts(&waiting, "✅");
    scene.person("eva").reacts(&waiting, "✅");
    let voided = |message: &sandbox::discord::Message| {
        message.id == waiting.id && message.says("is locked until")
    };
    let told = scene
        .world
        .discord
        .wait_for_message(voided, crate::scene::PATIENCE);
    told.await.unwrap();
    assert_eq!(scene.world.im.delete_calls(), 0);
    let renew = answered(&scene, "ana", "/pangeo token renew name:geo way:login").await;
    assert!(renew.says("plan"), "{}", renew.text());
    let status = answered(&scene, "vic", "/pangeo status name:geo").await;
    assert!(status.says("Summer school"), "{}", status.text());

    answered(&scene, "ben", "/pangeo unlock name:geo").await;
    scene.sees("geo may be changed again").await;
    let again = answered(&scene, "ben", "/pangeo unlock name:geo").await;
    assert!(again.says("is not locked"), "{}", again.text());
    assert!(asks_to_destroy(&scene).await.says("plan"));

    transferred(&scene).await;
    audited(&scene).await;
    reminded(scene).await;
}

async fn transferred(scene: &Scene) {
    let nothing = answered(scene, "ana", "/pangeo transfer name:geo").await;
    assert!(nothing.says("nothing would change"), "{}", nothing.text());
    let past = answered(
        scene,
        "ana",
        "/pangeo transfer name:geo end-date:2020-01-01",
    )
    .await;
    assert!(past.says("is over"), "{}", past.text());
    let day = Clock::system().now().date_naive() + Days::new(30);
    let typed = format!("/pangeo transfer name:geo owner:eva purpose:\"Sea ice\" end-date:{day}");
    answered(scene, "ana", &typed).await;
    let told = scene.sees("geo in the inventory").await;
    assert!(told.says("purpose: not set → Sea ice"), "{}", told.text());
    let eva = scene.person("eva").id();
    let status = answered(scene, "vic", "/pangeo status name:geo").await;
    for seen in [format!("<@{eva}>"), "Sea ice".to_owned(), day.to_string()] {
        assert!(status.says(&seen), "{seen}: {}", status.text());
    }
}

fn attached(scene: &Scene, message: &sandbox::discord::Message) -> String {
    let bytes = scene.world.discord.file(message.attachments[0].id).unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn audited(scene: &Scene) {
    let shown = answered(scene, "ben", "/pangeo audit name:geo").await;
    for action in ["cluster.transferred", "cluster.unlocked", "cluster.locked"] {
        assert!(shown.says(action), "{action}: {}", shown.text());
    }
    let of_ben = answered(scene, "ana", "/pangeo audit person:ben export:csv").await;
    let table = attached(scene, &of_ben);
    assert!(table.contains(",cluster.unlocked,"), "{table}");
    assert!(!table.contains(",cluster.locked,"), "{table}");
    let lines = answered(
        scene,
        "ana",
        "/pangeo audit name:geo since:1h export:json-lines",
    )
    .await;
    let text = attached(scene, &lines);
    let count = text.lines().count();
    assert!(count > 20, "{count} lines: {text}");
    let other = answered(scene, "ana", "/pangeo audit name:other").await;
    assert!(other.says("nothing of that kind"), "{}", other.text());
}

/// The owner is reminded of an end date that is near, and a button opens the form of `destroy`.
async fn reminded(mut scene: Scene) {
    let soon = Clock::system().now().date_naive() + Days::new(2);
    let typed = format!("/pangeo transfer name:geo end-date:{soon}");
    answered(&scene, "ana", &typed).await;
    // A start looks at once.
    scene.bot.stop().await.unwrap();
    scene.bot.start().await.unwrap();
    let reminder = scene.sees("geo is needed for 2 more days").await;
    let eva = scene.person("eva").id();
    assert!(reminder.says(&format!("<@{eva}>")), "{}", reminder.text());
    let vic = scene.person("vic");
    let refused = vic.presses_on(&reminder, "/pangeo destroy").await;
    assert!(refused.answer().await.says("approver"));
    let ben = scene.person("ben");
    let form = ben
        .presses_on(&reminder, "/pangeo destroy")
        .await
        .modal()
        .await;
    let answer = ben.fills(&form, &[("name", "geo")]).await.answer().await;
    assert!(answer.says("plan"), "{}", answer.text());
    let reminders = "select count(*) from messages where key like 'end-date/%'";
    scene.counts(reminders, 1).await;
    scene.nothing_unexpected();
}
