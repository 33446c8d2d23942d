//! The bot is killed during an undo: the world ends clean, and it is said once.

use sandbox::discord::Message;
use sandbox::faults::{On, Place};
use sqlx::PgPool;

use pangeo_bot::domain::deploy::STEPS;

use crate::MIGRATOR;
use crate::kill::{DEPLOY, Effect, HOST, Point, all_is_clean, arm, kill_there, start_again};
use crate::scene::Scene;

/// The steps whose undo changes something outside or forgets secrets: the bot is also killed
/// before their intent.
const EFFECTIVE: [&str; 4] = [
    "create-infrastructure",
    "keep-access",
    "point-dns-name",
    "install-daskhub",
];

/// The effects of an undo, in their order.
const EFFECTS: [Effect; 3] = [
    Effect::Command("helm uninstall"),
    Effect::Dns(|| On::get("/nic/delete")),
    Effect::Im(|| On::delete("/infrastructures/")),
];

/// A deploy that was cancelled before its last step, and the plan to undo it. The bot was killed
/// after an effect of it, if one is given.
async fn to_undo(pool: PgPool, killed_after: Option<Effect>) -> (Scene, Message) {
    let mut scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    let hub = scene.world.front_ends.hub_faults();
    let hold = hub.hold(On::any(), Place::Before);
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    let held = killed_after.map(|effect| effect.hold(&scene, Place::After));
    scene.person("ben").reacts(&plan, "✅");
    if let Some(held) = held {
        held.kill(&mut scene.bot).await;
        start_again(&mut scene, None).await;
    }
    hold.reached().await;
    scene.person("ana").presses("Cancel").await.answer().await;
    hold.release();
    scene.sees("cancelled it").await;
    scene.person("ana").presses("Undo…").await.answer().await;
    let undo = scene.plan("Undo `deploy` of `geo`").await;
    (scene, undo)
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_at_every_step_an_undo_ends_clean(pool: PgPool) {
    let (mut scene, undo) = to_undo(pool, None).await;
    let mut points = Vec::new();
    for step in STEPS
        .iter()
        .rev()
        .filter(|step| **step != "record-revision")
    {
        if EFFECTIVE.contains(step) {
            points.push(Point::Step(step, "running"));
        }
        points.push(Point::Step(step, "undone"));
    }
    arm(&scene.pool, points[0]).await;
    scene.person("ben").reacts(&undo, "✅");
    for (at, point) in points.iter().enumerate() {
        kill_there(&mut scene, *point).await;
        start_again(&mut scene, points.get(at + 1).copied()).await;
    }
    all_is_clean(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_around_every_effect_an_undo_ends_clean(pool: PgPool) {
    let (mut scene, undo) = to_undo(pool, None).await;
    let places = [Place::Before, Place::After];
    let all = EFFECTS
        .iter()
        .flat_map(|effect| places.map(|place| (*effect, place)));
    let all: Vec<(Effect, Place)> = all.collect();
    let mut held = all[0].0.hold(&scene, all[0].1);
    scene.person("ben").reacts(&undo, "✅");
    for (effect, place) in &all[1..] {
        held.kill(&mut scene.bot).await;
        held = effect.hold(&scene, *place);
        start_again(&mut scene, None).await;
    }
    held.kill(&mut scene.bot).await;
    start_again(&mut scene, None).await;
    all_is_clean(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_name_whose_update_was_not_answered_is_cleared(pool: PgPool) {
    let update = Effect::Dns(|| On::get("/nic/update"));
    let (scene, undo) = to_undo(pool, Some(update)).await;
    assert!(scene.world.dns.lookup(HOST).is_some());
    scene.person("ben").reacts(&undo, "✅");
    all_is_clean(&scene).await;
    assert!(scene.world.dns.lookup(HOST).is_none());
}
