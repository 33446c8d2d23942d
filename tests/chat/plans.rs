//! Plans, their reactions and buttons.

use pangeo_bot::domain::plan::PlanState;
use pangeo_bot::store::MIGRATOR;
use sandbox::faults::{On, Place};
use sqlx::PgPool;

use crate::world::World;

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
    let told = world.discord.direct_messages(&world.person("mia"));
    let place = format!("/{}/{})", message.channel_id, message.id);
    assert!(
        told[0].says("[the plan](https://discord.com/channels/")
            && told[0].says(&place)
            && told[0].says(&format!("about plan {}, own request", plan.short())),
        "{}",
        told[0].text()
    );
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
