//! The bot is killed around every effect outside: with the intent written and the effect not made,
//! and with the effect made and its answer not received.

use sandbox::faults::{On, Place};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::kill::{DEPLOY, Effect, HOST, Held, all_is_right, start_again};
use crate::scene::Scene;

/// The effects of a deploy, in their order.
const EFFECTS: [Effect; 6] = [
    Effect::Im(|| On::post("/infrastructures?async")),
    Effect::Dns(|| On::get("/nic/update")),
    Effect::Im(|| On::put("/reconfigure")),
    Effect::Command("/detached-run.sh 0700"),
    Effect::Command("/values.yaml 0600"),
    Effect::Command("/detached-run.sh start"),
];

async fn killed_at_every_effect(pool: PgPool, place: Place) -> Scene {
    let mut scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    let mut held = EFFECTS[0].hold(&scene, place);
    scene.person("ben").reacts(&plan, "✅");
    for next in &EFFECTS[1..] {
        held.kill(&mut scene.bot).await;
        held = next.hold(&scene, place);
        start_again(&mut scene, None).await;
    }
    held.kill(&mut scene.bot).await;
    start_again(&mut scene, None).await;
    all_is_right(&scene).await;
    scene
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_before_every_effect_a_deploy_ends_right(pool: PgPool) {
    let scene = killed_at_every_effect(pool, Place::Before).await;
    assert_eq!(scene.world.im.reconfigure_calls(), 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_after_every_effect_a_deploy_ends_right(pool: PgPool) {
    let scene = killed_at_every_effect(pool, Place::After).await;
    // A needless update is abuse; a needless reconfiguration only takes time.
    let updates = scene.world.dns.faults().count(&On::get("/nic/update"));
    assert_eq!(updates, 1);
}

/// Posts to a place, after so many others.
fn posts(place: impl std::fmt::Display, after: u32) -> On {
    On::post(&format!("/api/v10/channels/{place}/messages"))
        .exactly()
        .after(after)
}

async fn killed_at_every_post(pool: PgPool, place: Place) {
    let mut scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let discord = scene.world.discord.clone();
    let hold = |on: On| Held::Request(discord.faults().hold(on, place));
    // A post that was not made is made by the next bot, and must not be taken for the one after.
    let again = match place {
        Place::Before => 1,
        Place::After => 0,
    };
    let channel = discord.channel_id();

    let held = hold(posts(channel, 0));
    scene.person("ana").runs(DEPLOY).await.answer().await;
    held.kill(&mut scene.bot).await;
    let held = hold(On::post("/threads"));
    start_again(&mut scene, None).await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    held.kill(&mut scene.bot).await;
    let held = hold(posts(plan.id, 0));
    start_again(&mut scene, None).await;
    held.kill(&mut scene.bot).await;
    // Summary and hub are told in two places, sometimes at once: then one kill is for both.
    let (summary, hub) = (hold(posts(plan.id, again)), hold(posts(channel, 0)));
    start_again(&mut scene, None).await;
    summary.kill(&mut scene.bot).await;
    start_again(&mut scene, None).await;
    hub.kill(&mut scene.bot).await;
    start_again(&mut scene, None).await;
    all_is_right(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_before_every_post_no_message_is_lost_or_doubled(pool: PgPool) {
    killed_at_every_post(pool, Place::Before).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_after_every_post_no_message_is_lost_or_doubled(pool: PgPool) {
    killed_at_every_post(pool, Place::After).await;
}
