//! What is posted, once, whatever happens to messages, threads, Discord and the bot.

use pangeo_bot::domain::operation::OperationState;
use pangeo_bot::domain::plan::PlanState;
use pangeo_bot::store::MIGRATOR;
use pangeo_bot::store::operations::Rest;
use sandbox::discord::{Disconnect, Permission};
use sandbox::faults::{Fault, On, Place};
use sqlx::PgPool;

use crate::world::World;

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deleted_thread_hides_no_result(pool: PgPool) {
    let world = World::start(pool).await;
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    world.person("ben").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
    let thread = world
        .until("a thread with progress", |discord| {
            let thread = discord.thread_of(message.id)?;
            (!discord.messages(thread.id).is_empty()).then_some(thread)
        })
        .await;
    world.settles().await;
    world.discord.delete_channel_or_thread(thread.id);
    let rest = Rest::Ended(OperationState::Succeeded);
    world.runs_operation(&["done"], &rest).await;
    world.settles().await;
    let channel = world.discord.messages(world.discord.channel_id());
    let summary = channel.iter().find(|m| m.says("is ready after"));
    let summary = summary.unwrap_or_else(|| panic!("{}", world.discord.transcript()));
    assert_eq!(summary.mentions, [world.person("mia").id()]);
    assert_eq!(summary.attachments.len(), 1);
    let told_of_hub = |m: &&sandbox::discord::Message| {
        m.id != summary.id && m.says("Hub: https://geo.vm.fedcloud.eu/")
    };
    assert_eq!(channel.iter().filter(told_of_hub).count(), 1);
    assert_eq!(world.messages_that_say("is ready after"), 1);
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_thread_outlives_the_message_that_it_hangs_at(pool: PgPool) {
    let mut world = World::start(pool).await;
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    world.person("ben").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
    world.settles().await;
    let thread = world.discord.thread_of(message.id).unwrap();
    world.person("eva").deletes(&message);
    world.restart_bot().await;
    let rest = Rest::Ended(OperationState::Succeeded);
    world.runs_operation(&["done"], &rest).await;
    world.settles().await;
    let told = world.discord.messages(thread.id);
    assert!(
        told.iter().any(|m| m.says("is ready after")),
        "{}",
        world.discord.transcript()
    );
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_thread_that_refuses_the_summary_hides_no_hub(pool: PgPool) {
    let world = World::start(pool).await;
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    world.person("ben").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
    world.settles().await;
    let thread = world.discord.thread_of(message.id).unwrap();
    world
        .discord
        .deny(thread.id, Permission::SendMessagesInThreads);
    let rest = Rest::Ended(OperationState::Succeeded);
    world.runs_operation(&["done"], &rest).await;
    world.settles().await;
    assert_eq!(
        world.messages_that_say("Hub: https://geo.vm.fedcloud.eu/"),
        1
    );
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_happened_while_the_bot_was_away_is_read_again(pool: PgPool) {
    let mut world = World::start(pool).await;
    let (kept, taken) = (world.plan("geo", 2).await, world.plan("sea", 2).await);
    let kept_message = world.plan_message(kept).await;
    let taken_message = world.plan_message(taken).await;
    world.person("eva").reacts(&taken_message, "✅");
    world
        .until("one counts", |discord| {
            discord
                .message(taken_message.id)?
                .says("1 of 2")
                .then_some(())
        })
        .await;

    world.stop_bot().await;
    world.person("eva").takes_back(&taken_message, "✅");
    world.person("ben").reacts(&taken_message, "✅");
    world.person("ben").reacts(&kept_message, "✅");
    world.person("eva").reacts(&kept_message, "✅");
    world.start_bot().await;
    world.until_state(kept, PlanState::Started).await;
    world
        .until("only ben counts", |discord| {
            discord
                .message(taken_message.id)?
                .says("1 of 2")
                .then_some(())
        })
        .await;
    assert_eq!(world.state_of(taken).await, PlanState::Waiting);

    // The same when only the connection was away and its session is lost.
    world
        .discord
        .disconnect_bots(Disconnect::InvalidSession(false));
    world.person("eva").reacts(&taken_message, "✅");
    world.until_state(taken, PlanState::Started).await;
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_post_without_an_answer_is_found_again(pool: PgPool) {
    let mut world = World::start(pool).await;
    let faults = world.discord.faults().clone();
    faults.inject(On::post("/messages"), Fault::DropAnswer, 1);
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    assert_eq!(world.messages_that_say("deploy geo"), 1);

    // The same when the process dies in between.
    let hold = faults.hold(On::post("/messages"), Place::After);
    let second = world.plan("sea", 1).await;
    hold.reached().await;
    world.kill_bot().await;
    hold.discard();
    world.start_bot().await;
    world.plan_message(second).await;
    assert_eq!(world.messages_that_say("deploy sea"), 1);
    world.person("ben").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn refusals_of_discord_delay_or_end_a_message_but_lose_none(pool: PgPool) {
    let world = World::start(pool).await;
    let faults = world.discord.faults().clone();
    let limited =
        r#"{"message": "You are being rate limited.", "retry_after": 0.3, "global": false}"#;
    let limit = faults.inject(On::post("/messages"), Fault::answer(429, limited), 2);
    let broken = faults.inject(
        On::post("/messages").after(2),
        Fault::answer(502, "bad gateway"),
        1,
    );
    let plan = world.plan("geo", 1).await;
    world.plan_message(plan).await;
    assert_eq!((limit.hits(), broken.hits()), (2, 1));
    assert_eq!(world.messages_that_say("deploy geo"), 1);

    // Without the permission to manage messages a wrong reaction stays, and still does not count.
    let channel = world.discord.channel_id();
    world.discord.deny(channel, Permission::ManageMessages);
    let message = world.plan_message(plan).await;
    world.person("vic").reacts(&message, "✅");
    world
        .until_told("vic", "only `approver` may answer it")
        .await;
    assert_eq!(world.state_of(plan).await, PlanState::Waiting);

    // A person who takes no private messages stops nothing.
    world.person("ana").closes_direct_messages(true);
    world.person("ana").reacts(&message, "✅");
    world.person("ben").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn another_bot_takes_the_gateway_over(pool: PgPool) {
    let mut world = World::start(pool).await;
    let mut other = world.other_bot("replica-2").await;
    other.until_stands_by().await;
    let help = world.person("vic").runs("/pangeo help").await;
    assert!(help.answer().await.says("/pangeo deploy"));
    world.stop_bot().await;
    other.until_connected().await;
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    world.person("ben").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
    world.settles().await;
    assert_eq!(world.messages_that_say("deploy geo · approved"), 1);
    other.stop().await;
    world.ends_well().await;
}
