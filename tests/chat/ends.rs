//! How an operation's end is told.

use pangeo_bot::domain::operation::OperationState;
use pangeo_bot::domain::plan::PlanState;
use pangeo_bot::store::MIGRATOR;
use pangeo_bot::store::operations::Rest;
use sandbox::faults::{On, Place};
use sqlx::PgPool;

use crate::world::World;

#[sqlx::test(migrator = "MIGRATOR")]
async fn success_is_told_with_addresses_and_the_log(pool: PgPool) {
    tells_success(World::start(pool).await).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
#[ignore = "needs CONFORMANCE_DATA"]
async fn conformance_requests_are_as_discord_describes_them(pool: PgPool) {
    let world = World::start(pool).await;
    assert!(world.checks_requests(), "set CONFORMANCE_DATA");
    tells_success(world).await;
}

async fn tells_success(world: World) {
    world.knows_secret("horse-battery-staple");
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    world.person("ben").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
    let log = ["TASK [kube] @everyone", "password = horse-battery-staple"];
    let rest = Rest::Ended(OperationState::Succeeded);
    let operation = world.runs_operation(&log, &rest).await;
    world.settles().await;

    let thread = world.discord.thread_of(message.id).unwrap();
    let told = world.discord.messages(thread.id);
    let summary = told.iter().find(|m| m.says("is ready after")).unwrap();
    assert!(
        summary.says("https://geo.vm.fedcloud.eu/grafana/"),
        "{}",
        summary.text()
    );
    assert_eq!(summary.mentions, [world.person("mia").id()]);
    let file = format!("operation-{}.log", operation.id.short());
    assert_eq!(summary.attachments[0].filename, file);
    let progress = told
        .iter()
        .find(|m| m.says("deploy geo · succeeded") && m.id != summary.id)
        .unwrap();
    assert!(
        progress.says("2 of 2 steps") && progress.buttons().is_empty(),
        "{}",
        progress.text()
    );
    assert_eq!(
        world.messages_that_say("Hub: https://geo.vm.fedcloud.eu/"),
        1
    );

    let vic = world.person("vic");
    let log = vic
        .runs(&format!(
            "/pangeo logs operation operation:{}",
            operation.id.short()
        ))
        .await
        .answer()
        .await;
    assert!(log.is_ephemeral());
    assert_eq!(log.attachments[0].filename, file);
    let shown = vic
        .runs(&format!(
            "/pangeo ops show operation:{}",
            operation.id.short()
        ))
        .await
        .answer()
        .await;
    assert!(shown.says("check-dns-name"), "{}", shown.text());
    let listed = vic.runs("/pangeo ops list state:all").await.answer().await;
    assert!(listed.says(&operation.id.short()), "{}", listed.text());
    assert!(!world.discord.transcript().contains("horse-battery-staple"));
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_stop_asks_a_person_what_to_do(pool: PgPool) {
    let world = World::start(pool).await;
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    world
        .person("ben")
        .presses_on(&message, "Approve")
        .await
        .answer()
        .await;
    world.until_state(plan, PlanState::Started).await;
    let rest = Rest::Stopped {
        reason: "IM refused the token".to_owned(),
        hint: "renew it, then retry".to_owned(),
    };
    let operation = world.runs_operation(&["401"], &rest).await;
    world.settles().await;
    let thread = world.discord.thread_of(message.id).unwrap();
    let told = world.discord.messages(thread.id);
    let summary = told
        .iter()
        .find(|m| m.says("stands still") && m.says("IM refused the token"))
        .unwrap();
    // The lines of the steps that failed say why, the first line does not repeat it.
    assert!(summary.says("`geo` stands still\n"), "{}", summary.text());
    assert!(
        summary.says("hint: renew it, then retry"),
        "{}",
        summary.text()
    );

    let refused = world
        .person("vic")
        .presses_on(summary, "Retry")
        .await
        .answer()
        .await;
    assert!(refused.says("may do this"), "{}", refused.text());
    // While the cluster is locked it does not go on.
    let ana = world.person("ana");
    let lock = "/pangeo lock name:geo end:2099-01-01 reason:Course";
    ana.runs(lock).await.answer().await;
    let locked = ana.presses_on(summary, "Retry").await.answer().await;
    assert!(locked.says("is locked until"), "{}", locked.text());
    ana.runs("/pangeo unlock name:geo").await.answer().await;
    let undo = world
        .person("ana")
        .presses_on(summary, "Undo")
        .await
        .answer()
        .await;
    assert!(undo.says("played plans are refused"), "{}", undo.text());
    // Until its buttons are gone, a message that was answered is still on somebody's screen.
    let edits = world
        .discord
        .faults()
        .hold(On::patch("/channels/"), Place::Before);
    let ana = world.person("ana");
    let retried = ana.presses_on(summary, "Retry").await.answer().await;
    assert!(retried.says("goes on"), "{}", retried.text());
    let late = ana.presses_on(summary, "Leave").await.answer().await;
    assert!(
        late.is_ephemeral() && late.says("this was answered before") && late.says("goes on now"),
        "{}",
        late.text()
    );
    edits.release();
    let id = summary.id;
    world
        .until("the buttons are gone, the text is as it was", |discord| {
            let now = discord.message(id)?;
            (now.buttons().is_empty() && now.says("IM refused the token")).then_some(())
        })
        .await;
    let cancelled = world
        .person("ana")
        .runs(&format!(
            "/pangeo ops cancel operation:{}",
            operation.id.short()
        ))
        .await
        .answer()
        .await;
    assert!(cancelled.says("stops after"), "{}", cancelled.text());
    let unknown = world
        .person("ana")
        .runs("/pangeo ops cancel operation:00000000")
        .await
        .answer()
        .await;
    assert!(
        unknown.says("there is no such operation"),
        "{}",
        unknown.text()
    );
    world.ends_well().await;
}
