//! The chat against the sandbox's Discord: who may, plans and their reactions, the outbox.
//!
//! Database, Discord's HTTP and gateway are real; only planning and looking, which need a cloud,
//! are played here.
#![cfg(test)]

#[path = "chat/world.rs"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts bots beside itself, waits for rows and reads CONFORMANCE_DATA"
)]
mod world;

use std::time::Duration;

use pangeo_bot::domain::operation::OperationState;
use pangeo_bot::domain::plan::PlanState;
use pangeo_bot::store::MIGRATOR;
use pangeo_bot::store::operations::Rest;
use sandbox::discord::{Disconnect, Permission};
use sandbox::faults::{Fault, On, Place};
use sqlx::PgPool;
use world::{World, patience};

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_are_registered_once(pool: PgPool) {
    let mut world = World::start(pool).await;
    let names = world.discord.registered_commands();
    for name in [
        "pangeo deploy",
        "pangeo dns set-secret",
        "pangeo ops list",
        "pangeo help",
    ] {
        assert!(
            names.iter().any(|known| known == name),
            "{name} is not in {names:?}"
        );
    }
    let registrations = |world: &World| {
        let requests = world.discord.requests();
        requests
            .iter()
            .filter(|r| r.method == "PUT" && r.path.ends_with("/commands"))
            .count()
    };
    assert_eq!(registrations(&world), 1);

    world.restart_bot().await;
    let help = world
        .person("vic")
        .runs("/pangeo help")
        .await
        .answer()
        .await;
    assert!(
        help.is_ephemeral() && help.says("/pangeo deploy"),
        "{}",
        help.text()
    );
    assert_eq!(
        registrations(&world),
        1,
        "nothing changed, so nothing is registered again"
    );
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn role_and_channel_stand_before_everything(pool: PgPool) {
    let world = World::start(pool).await;
    let deploy = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu";

    let refused = world.person("vic").runs(deploy).await.answer().await;
    assert!(
        refused.is_ephemeral() && refused.says("only `operator` may do this"),
        "{}",
        refused.text()
    );
    let random = sandbox::discord::RANDOM_CHANNEL;
    let refused = world
        .person("ana")
        .runs_in(random, deploy)
        .await
        .answer()
        .await;
    assert!(
        refused.is_ephemeral() && refused.says("the bot answers in"),
        "{}",
        refused.text()
    );
    let refused = world
        .person("zed")
        .runs("/pangeo help")
        .await
        .answer()
        .await;
    assert!(refused.says("may do this"), "{}", refused.text());
    assert_eq!(world.plans_asked_for(), 0);

    // Completion: nothing for those who may not, nothing outside the channel.
    let offered = world.person("ana").completes("/pangeo status name:g").await;
    assert_eq!(offered, [("geo".to_owned(), "geo".to_owned())]);
    assert!(
        world
            .person("zed")
            .completes("/pangeo status name:g")
            .await
            .is_empty()
    );
    assert!(
        world
            .person("ana")
            .completes_in(random, "/pangeo status name:g")
            .await
            .is_empty()
    );

    // Buttons: a person without any role, and one with the wrong one.
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    let refused = world
        .person("zed")
        .presses_on(&message, "Approve")
        .await
        .answer()
        .await;
    assert!(refused.says("may do this"), "{}", refused.text());
    let refused = world
        .person("vic")
        .presses_on(&message, "Approve")
        .await
        .answer()
        .await;
    assert!(
        refused.says("only `approver` may answer this plan"),
        "{}",
        refused.text()
    );
    assert_eq!(world.state_of(plan).await, PlanState::Waiting);

    // A form is checked again when it is sent.
    let form = world
        .person("ana")
        .runs("/pangeo dns set-secret host:geo.vm.fedcloud.eu")
        .await
        .modal()
        .await;
    world.discord.set_roles("ana", &["viewer"]);
    let sent = world
        .person("ana")
        .fills(&form, &[("secret", "horse-battery-staple")])
        .await;
    let refused = sent.answer().await;
    assert!(
        refused.says("only `operator` may do this"),
        "{}",
        refused.text()
    );
    assert_eq!(world.secret("geo.vm.fedcloud.eu", "dns-secret").await, None);
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn wrong_options_are_answered_privately_and_change_nothing(pool: PgPool) {
    let world = World::start(pool).await;
    let ana = world.person("ana");
    for (typed, said) in [
        (
            "/pangeo deploy name:\"a b\" host:geo.vm.fedcloud.eu",
            "`name`",
        ),
        ("/pangeo deploy name:geo host:-geo.vm.fedcloud.eu", "`host`"),
        ("/pangeo deploy name:geo host:gео.vm.fedcloud.eu", "`host`"),
        (
            "/pangeo deploy name:geo;reboot host:geo.vm.fedcloud.eu",
            "`name`",
        ),
    ] {
        let answer = ana.runs(typed).await.answer().await;
        let text = answer.text().replace('\\', "");
        assert!(answer.is_ephemeral(), "{typed}");
        assert!(text.contains("nothing was changed"), "{typed}: {text}");
        assert!(
            text.contains(said) || text.contains(said.trim_matches('`')),
            "{typed}: {text}"
        );
    }
    assert_eq!(world.plans_asked_for(), 0);
    let answer = ana
        .runs("/pangeo deploy name:geo host:geo.vm.fedcloud.eu")
        .await
        .answer()
        .await;
    assert!(answer.says("played plans are refused"), "{}", answer.text());
    assert_eq!(world.plans_asked_for(), 1);
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn secrets_go_through_a_form_and_are_never_shown(pool: PgPool) {
    let world = World::start(pool).await;
    let ana = world.person("ana");
    let host = "geo.vm.fedcloud.eu";
    let form = ana
        .runs(&format!("/pangeo dns set-secret host:{host}"))
        .await
        .modal()
        .await;
    let bad = ana
        .fills(&form, &[("secret", "horse\u{1}battery")])
        .await
        .answer()
        .await;
    assert!(
        bad.says("control characters") && !bad.says("battery"),
        "{}",
        bad.text()
    );

    let form = ana
        .runs(&format!("/pangeo dns set-secret host:{host}"))
        .await
        .modal()
        .await;
    let kept = ana
        .fills(&form, &[("secret", " horse-battery-staple ")])
        .await
        .answer()
        .await;
    assert!(
        kept.is_ephemeral() && kept.says("sealed and kept"),
        "{}",
        kept.text()
    );
    assert_eq!(
        world.secret(host, "dns-secret").await.as_deref(),
        Some("horse-battery-staple")
    );

    let form = ana
        .runs(&format!("/pangeo checkin set-client host:{host}"))
        .await
        .modal()
        .await;
    let fields = [
        ("client-id", "client-0001"),
        ("client-secret", "correct-horse-secret"),
    ];
    ana.fills(&form, &fields).await.answer().await;
    assert_eq!(
        world.secret(host, "client-secret").await.as_deref(),
        Some("correct-horse-secret")
    );
    assert!(!world.discord.transcript().contains("correct-horse"));
    assert_eq!(world.audited("secret.set").await, 3);
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_plan_starts_with_enough_reactions_of_those_who_may(pool: PgPool) {
    let world = World::start(pool).await;
    let plan = world.plan("geo", 2).await;
    let message = world.plan_message(plan).await;
    assert!(
        message.says("deploy geo") && message.says("0 of 2 approvals"),
        "{}",
        message.text()
    );
    let names: Vec<&str> = message
        .attachments
        .iter()
        .map(|file| file.filename.as_str())
        .collect();
    assert_eq!(names, ["inputs.yaml", "values.yaml"]);
    assert_eq!(
        (message.reaction_count("✅"), message.reaction_count("❌")),
        (1, 1)
    );

    // The requester and those without the role: removed, with a private hint.
    world.person("mia").reacts(&message, "✅");
    world.person("vic").reacts(&message, "✅");
    world.discord.other_bot().reacts(&message, "✅");
    world
        .until("only the bot's own ✅ is left", |discord| {
            discord
                .message(message.id)?
                .reaction_count("✅")
                .eq(&1)
                .then_some(())
        })
        .await;
    world.until_told("mia", "you asked for it yourself").await;
    world
        .until_told("vic", "only `approver` may answer it")
        .await;
    world.person("ben").reacts(&message, "✅");
    world
        .until("one counts", |discord| {
            discord
                .message(message.id)?
                .says("1 of 2 approvals")
                .then_some(())
        })
        .await;
    world.person("ben").takes_back(&message, "✅");
    world
        .until("none counts", |discord| {
            discord
                .message(message.id)?
                .says("0 of 2 approvals")
                .then_some(())
        })
        .await;
    world.person("ben").reacts(&message, "✅");
    world.person("eva").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
    world
        .until("it says who approved, without buttons", |discord| {
            let message = discord.message(message.id)?;
            (message.says("approved by") && message.buttons().is_empty()).then_some(())
        })
        .await;
    // The progress hangs in a thread at the plan.
    let thread = world
        .until("a thread", |discord| discord.thread_of(message.id))
        .await;
    world
        .until("progress", |discord| {
            let messages = discord.messages(thread.id);
            messages
                .iter()
                .any(|m| m.says("deploy geo · queued") && m.says("check-dns-name"))
                .then_some(())
        })
        .await;
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn buttons_count_like_reactions_and_no_ends_it(pool: PgPool) {
    let world = World::start(pool).await;
    let plan = world.plan("geo", 2).await;
    let message = world.plan_message(plan).await;
    let own = world
        .person("mia")
        .presses_on(&message, "Approve")
        .await
        .answer()
        .await;
    assert!(
        own.says("nobody approves or refuses their own request"),
        "{}",
        own.text()
    );
    let ben = world.person("ben");
    let counted = ben.presses_on(&message, "Approve").await.answer().await;
    assert!(
        counted.says("your approval counts: 1 of 2"),
        "{}",
        counted.text()
    );
    let back = ben.presses_on(&message, "Take back").await.answer().await;
    assert!(back.says("it is taken back"), "{}", back.text());

    // Taking back by the button takes the reaction too.
    ben.reacts(&message, "✅");
    world
        .until("one counts", |discord| {
            discord
                .message(message.id)?
                .says("1 of 2 approvals")
                .then_some(())
        })
        .await;
    ben.presses_on(&message, "Take back").await.answer().await;
    world
        .until("no ✅ of ben", |discord| {
            let now = discord.message(message.id)?;
            (now.reaction_count("✅") == 1 && now.says("0 of 2 approvals")).then_some(())
        })
        .await;

    let no = world
        .person("eva")
        .presses_on(&message, "Refuse")
        .await
        .answer()
        .await;
    assert!(no.says("you refused the plan"), "{}", no.text());
    assert_eq!(world.state_of(plan).await, PlanState::Refused);
    world
        .until("it says so", |discord| {
            let message = discord.message(message.id)?;
            (message.says("refused") && message.buttons().is_empty()).then_some(())
        })
        .await;
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn force_asks_for_a_reason_and_for_a_review(pool: PgPool) {
    let world = World::start(pool).await;
    let plan = world.plan("geo", 2).await;
    let message = world.plan_message(plan).await;
    let refused = world
        .person("ana")
        .presses_on(&message, "Force")
        .await
        .answer()
        .await;
    assert!(
        refused.says("only `approver` may do this"),
        "{}",
        refused.text()
    );
    let ben = world.person("ben");
    let form = ben.presses_on(&message, "Force").await.modal().await;
    let fields = [("reason", "the course @everyone begins now")];
    let forced = ben.fills(&form, &fields).await.answer().await;
    assert!(forced.says("starts without approval"), "{}", forced.text());
    world.until_state(plan, PlanState::Started).await;
    let notice = world
        .until("the channel is told", |discord| {
            let messages = discord.messages(discord.channel_id());
            messages
                .into_iter()
                .find(|message| message.says("Started without approval"))
        })
        .await;
    assert!(
        !notice.mention_everyone && !notice.text().contains("@everyone"),
        "{}",
        notice.text()
    );
    let own = ben
        .presses_on(&notice, "I have reviewed it")
        .await
        .answer()
        .await;
    assert!(own.says("a second person must review it"), "{}", own.text());
    let done = world
        .person("eva")
        .presses_on(&notice, "I have reviewed it")
        .await
        .answer()
        .await;
    assert!(done.says("your review is recorded"), "{}", done.text());
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reactions_removed_in_bulk_and_deleted_messages_take_grants_back(pool: PgPool) {
    let world = World::start(pool).await;
    let plan = world.plan("geo", 2).await;
    let message = world.plan_message(plan).await;
    let counts = |text: &'static str| {
        let id = message.id;
        move |discord: &sandbox::discord::Discord| discord.message(id)?.says(text).then_some(())
    };
    world.person("ben").reacts(&message, "✅");
    world.until("one counts", counts("1 of 2 approvals")).await;
    world.discord.remove_all_reactions(&message);
    world.until("none counts", counts("0 of 2 approvals")).await;
    world.person("ben").reacts(&message, "✅");
    world
        .until("one counts again", counts("1 of 2 approvals"))
        .await;
    world.discord.remove_emoji(&message, "✅");
    world
        .until("none counts again", counts("0 of 2 approvals"))
        .await;

    world.person("ben").reacts(&message, "✅");
    world
        .until("one more time", counts("1 of 2 approvals"))
        .await;
    world.person("eva").deletes(&message);
    let again = world
        .until("it is posted anew, without the grant", |discord| {
            let messages = discord.messages(discord.channel_id());
            messages
                .into_iter()
                .find(|m| m.id != message.id && m.says("0 of 2 approvals"))
        })
        .await;
    assert_eq!(again.attachments.len(), 2);
    world.discord.delete_in_bulk(std::slice::from_ref(&again));
    world
        .until("and once more", |discord| {
            let messages = discord.messages(discord.channel_id());
            messages
                .into_iter()
                .find(|m| m.id != again.id && m.says("0 of 2 approvals"))
        })
        .await;
    assert_eq!(world.state_of(plan).await, PlanState::Waiting);
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deleted_plan_loses_its_grants_at_once(pool: PgPool) {
    let world = World::start(pool).await;
    let plan = world.plan("geo", 2).await;
    let message = world.plan_message(plan).await;
    let counts = |id: sandbox::discord::Id| {
        move |discord: &sandbox::discord::Discord| {
            discord.message(id)?.says("1 of 2 approvals").then_some(())
        }
    };
    world.person("ben").reacts(&message, "✅");
    world.until("one counts", counts(message.id)).await;
    let again = |known: Vec<sandbox::discord::Id>| {
        move |discord: &sandbox::discord::Discord| {
            let messages = discord.messages(discord.channel_id());
            messages.into_iter().find(|m| {
                !known.contains(&m.id) && m.says("0 of 2 approvals") && m.reaction_count("❌") == 1
            })
        }
    };
    // Nothing else makes the bot look: it has shown everything and read all reactions.
    world.rests().await;
    world.person("eva").deletes(&message);
    let second = world
        .until("it is posted anew", again(vec![message.id]))
        .await;
    assert_eq!(world.grants(plan).await, 0);
    world.person("ben").reacts(&second, "✅");
    world.until("one counts again", counts(second.id)).await;
    world.rests().await;
    world.discord.delete_in_bulk(std::slice::from_ref(&second));
    world
        .until("and once more", again(vec![message.id, second.id]))
        .await;
    assert_eq!(world.grants(plan).await, 0);
    assert_eq!(world.state_of(plan).await, PlanState::Waiting);
    world.ends_well().await;
}

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
async fn a_reaction_before_the_plan_is_complete_never_counts(pool: PgPool) {
    let world = World::start(pool).await;
    // The answer to the POST is held: the message is there, the bot does not know it yet.
    let hold = world
        .discord
        .faults()
        .hold(On::post("/messages"), Place::After);
    let plan = world.plan("geo", 1).await;
    hold.reached().await;
    let message = world
        .until("the message", |discord| {
            discord
                .messages(discord.channel_id())
                .into_iter()
                .find(|m| m.says("deploy geo"))
        })
        .await;
    world.person("ben").reacts(&message, "✅");
    hold.release();
    world
        .until_told("ben", "before the plan was posted in full")
        .await;
    assert_eq!(world.state_of(plan).await, PlanState::Waiting);
    world
        .until("complete", |discord| {
            (discord.message(message.id)?.reaction_count("❌") == 1).then_some(())
        })
        .await;
    world.person("ben").reacts(&message, "✅");
    world.until_state(plan, PlanState::Started).await;
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
async fn an_identical_plan_keeps_its_grants_until_they_are_taken_back(pool: PgPool) {
    let world = World::start(pool).await;
    let first = world.plan("geo", 2).await;
    let old = world.plan_message(first).await;
    world.person("ben").reacts(&old, "✅");
    world
        .until("one counts", |discord| {
            discord.message(old.id)?.says("1 of 2").then_some(())
        })
        .await;
    let second = world.plan("geo", 2).await;
    let new = world.plan_message(second).await;
    world
        .until("the grant is carried", |discord| {
            discord.message(new.id)?.says("1 of 2").then_some(())
        })
        .await;
    world
        .until("the old one is replaced", |discord| {
            discord.message(old.id)?.says("replaced").then_some(())
        })
        .await;
    world.person("ben").takes_back(&old, "✅");
    world
        .until("it is gone there too", |discord| {
            discord.message(new.id)?.says("0 of 2").then_some(())
        })
        .await;
    assert_eq!(world.state_of(second).await, PlanState::Waiting);
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
    let undo = world
        .person("ana")
        .presses_on(summary, "Undo")
        .await
        .answer()
        .await;
    assert!(undo.says("played plans are refused"), "{}", undo.text());
    let retried = world
        .person("ana")
        .presses_on(summary, "Retry")
        .await
        .answer()
        .await;
    assert!(retried.says("goes on"), "{}", retried.text());
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

#[sqlx::test(migrator = "MIGRATOR")]
async fn interactions_are_acknowledged_before_anything_slow(pool: PgPool) {
    let world = World::start(pool).await;
    world.slow_looks(Duration::from_secs(4));
    let list = world.person("vic").runs("/pangeo list").await;
    let after = list.acknowledged_after().unwrap();
    assert!(
        after < Duration::from_secs(2),
        "acknowledged after {after:?}"
    );
    assert!(list.answer().await.says("played list"));
    assert!(patience() > Duration::from_secs(4));
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_refused_token_is_fatal_and_clear(pool: PgPool) {
    let error = World::run_with_token(pool, "not-the-token")
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("Discord refuses the token"),
        "{error}"
    );
}
