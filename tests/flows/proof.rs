//! The proof of a cure: a test user's server after an alert is over.

use sandbox::discord::Message;
use sandbox::faults::{Hold, On, Place};
use sandbox::frontend::ServerSize;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::{QUICK, deployed_with};
use crate::scene::{PATIENCE, Scene};

/// A notebook of which one fits on a worker of 8 cores and 32 GB.
const LARGE: ServerSize = ServerSize {
    cpu_milli: 4000,
    memory: 20_000_000_000,
};

/// Ana gives a token; what the bot answers.
async fn gives(scene: &Scene, token: &str) -> Message {
    let ana = scene.person("ana");
    let modal = ana.runs("/pangeo alerts test-user name:geo").await;
    let modal = modal.modal().await;
    let answer = ana.fills(&modal, &[("token", token)]).await.answer().await;
    assert!(answer.is_ephemeral() && !answer.says(token));
    answer
}

/// Nodes of a size that CLUES knows, more people than fit, and a CLUES that is dead.
async fn stalls(scene: &Scene, id: &str) {
    let front_ends = &scene.world.front_ends;
    front_ends.kill_clues(id);
    for user in ["ada", "bob"] {
        front_ends.start_server(id, user, LARGE);
    }
    scene.sees("geo: scaling stalls: CLUES dead").await;
}

/// CLUES runs again, and those who waited go.
async fn is_cured(scene: &Scene, id: &str) {
    let front_ends = &scene.world.front_ends;
    front_ends.start_clues(id);
    for user in ["ada", "bob"] {
        front_ends.stop_server(id, user);
    }
}

async fn reached(hold: &Hold) {
    let reached = tokio::time::timeout(PATIENCE, hold.reached()).await;
    reached.expect("nobody stands at the door");
}

fn of_probe(scene: &Scene, id: &str) -> usize {
    let servers = scene.world.front_ends.servers(id);
    servers.iter().filter(|(user, _)| user == "probe").count()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cure_is_proven_by_a_server_that_is_gone_afterwards(pool: PgPool) {
    let (scene, id) = deployed_with(pool, QUICK).await;
    let front_ends = &scene.world.front_ends;
    let refused = gives(&scene, "no-token-of-anybody").await;
    assert!(
        refused.says("does not take the token"),
        "{}",
        refused.text()
    );
    let admin = front_ends.add_hub_token(&id, "admin");
    let refused = gives(&scene, &admin).await;
    assert!(refused.says("administrator"), "{}", refused.text());
    let token = front_ends.add_hub_token(&id, "probe");
    let kept = gives(&scene, &token).await;
    assert!(kept.says("a server of `probe`"), "{}", kept.text());

    stalls(&scene, &id).await;
    is_cured(&scene, &id).await;
    let end = scene.sees("proven: it was ready within").await;
    assert!(end.says("it lasted"), "{}", end.text());
    assert!(end.says("a server of `probe`"), "{}", end.text());
    scene
        .counts(
            "select count(*) from proofs where state = 'done' and outcome = 'proven'",
            1,
        )
        .await;
    assert_eq!(of_probe(&scene, &id), 0, "it is deleted");
    assert!(!scene.log().contains(&token), "the token stands in the log");
    let text = scene.world.discord.transcript();
    assert!(!text.contains(&token), "the token stands in the chat");

    // Without the token nothing is started.
    let ana = scene.person("ana");
    let off = ana.runs("/pangeo alerts test-user name:geo off:true").await;
    let off = off.answer().await;
    assert!(off.says("forgotten"), "{}", off.text());
    scene
        .counts("select count(*) from secrets where name = 'hub-token'", 0)
        .await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_server_that_is_there_is_left_alone(pool: PgPool) {
    let (scene, id) = deployed_with(pool, QUICK).await;
    let front_ends = &scene.world.front_ends;
    let token = front_ends.add_hub_token(&id, "probe");
    gives(&scene, &token).await;
    let small = ServerSize {
        cpu_milli: 100,
        memory: 100_000_000,
    };
    front_ends.start_server(&id, "probe", small);
    stalls(&scene, &id).await;
    is_cured(&scene, &id).await;
    let end = scene.sees("has a server already").await;
    assert!(end.says("not proven"), "{}", end.text());
    assert_eq!(of_probe(&scene, &id), 1, "somebody uses it");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_in_every_state_a_proof_starts_one_server_and_deletes_it(pool: PgPool) {
    let (mut scene, id) = deployed_with(pool, QUICK).await;
    let token = scene.world.front_ends.add_hub_token(&id, "probe");
    gives(&scene, &token).await;
    stalls(&scene, &id).await;
    // Held before it is taken, after it was taken, and before it is deleted.
    let faults = scene.world.front_ends.hub_faults().clone();
    let path = "/hub/api/users/probe/server";
    let before = faults.hold(On::post(path), Place::Before);
    is_cured(&scene, &id).await;
    reached(&before).await;
    scene.bot.kill().await.unwrap();
    before.discard();
    assert_eq!(of_probe(&scene, &id), 0, "nobody was asked");
    let after = faults.hold(On::post(path), Place::After);
    scene.bot.start().await.unwrap();
    reached(&after).await;
    scene.bot.kill().await.unwrap();
    after.discard();
    assert_eq!(of_probe(&scene, &id), 1, "it was taken");
    let deletes = faults.hold(On::delete(path), Place::Before);
    scene.bot.start().await.unwrap();
    reached(&deletes).await;
    scene.bot.kill().await.unwrap();
    deletes.discard();
    scene.bot.start().await.unwrap();
    let end = scene.sees("proven: it was ready within").await;
    assert!(end.says("a server of `probe`"), "{}", end.text());
    assert_eq!(of_probe(&scene, &id), 0, "it is deleted");
    scene.nothing_unexpected();
}
