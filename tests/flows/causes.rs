//! Every cause of a stall that the sandbox can have, as `/pangeo diagnose` sees it: what is found
//! there was not painted, but is what the pretend systems show.

use std::time::{Duration, Instant};

use sandbox::discord::Message;
use sandbox::frontend::ServerSize;
use sandbox::world::StallCause;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

/// Each cause, how the diagnosis calls it, and whether it shows only when CLUES wants a node.
const CAUSES: [(StallCause, &str, bool); 12] = [
    (StallCause::TokenExpired, "token expired", false),
    (StallCause::RefreshFailing, "token not refreshed", false),
    (StallCause::CluesDead, "CLUES dead", false),
    (StallCause::WrongNodeSize, "wrong node size in CLUES", false),
    (StallCause::PowerOnGivenUp, "power-on given up", false),
    (StallCause::NodesDisabled, "nodes disabled", false),
    (StallCause::NotConfigured, "VM never configured", true),
    (StallCause::NodeNotReady, "node not ready", false),
    (StallCause::PodNeverFits, "pod can never fit", false),
    (StallCause::NotScaling, "not a scaling matter", false),
    (StallCause::MaximumReached, "maximum reached", false),
    (StallCause::CloudRefuses, "quota or cloud error", true),
];

/// A cluster in which nothing is wrong; pretend time is 60 times as fast.
async fn deployed(pool: PgPool) -> (Scene, String) {
    let scene = Scene::start(pool).await;
    let id = scene.deploys("").await;
    scene.world.set_pace(60);
    let world = &scene.world;
    assert_eq!(world.causes(&id), []);
    (scene, id)
}

/// Diagnoses until the answer is as wanted.
async fn diagnosed(scene: &Scene, what: &str, is: impl Fn(&Message) -> bool) {
    let (vic, began) = (scene.person("vic"), Instant::now());
    loop {
        let answer = vic.runs("/pangeo diagnose name:geo").await.answer().await;
        if is(&answer) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: {}", answer.text());
    }
}

/// One user more than there are nodes on, each of whom needs a node.
pub(crate) fn want_one_more(scene: &Scene, id: &str) -> Vec<String> {
    let front_ends = &scene.world.front_ends;
    let is_on = |state: &str| ["idle", "used"].contains(&state);
    let nodes = front_ends.nodes(id).into_iter();
    let on = nodes.filter(|node| is_on(&node.state)).count();
    let users: Vec<String> = (0..=on).map(|number| format!("guest-{number}")).collect();
    for user in &users {
        let size = ServerSize {
            cpu_milli: 6000,
            memory: 20_000_000_000,
        };
        front_ends.start_server(id, user, size);
    }
    users
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn every_cause_shows_itself_and_is_gone_when_it_is_put_right(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let world = &scene.world;
    for (cause, name, wants_a_node) in CAUSES {
        let found = format!("❌ **{name}**");
        world.cause(&id, cause, true).unwrap();
        let guests = if wants_a_node {
            want_one_more(&scene, &id)
        } else {
            Vec::new()
        };
        diagnosed(&scene, &found, |answer| answer.says(&found)).await;
        assert!(world.causes(&id).contains(&cause), "{cause:?} is not on");

        world.cause(&id, cause, false).unwrap();
        for guest in guests {
            world.front_ends.stop_server(&id, &guest);
        }
        // What IM refused stands in CLUES' log for an hour.
        if cause != StallCause::CloudRefuses {
            let well = format!("no {name}");
            diagnosed(&scene, &well, |answer| !answer.says(&found)).await;
        }
        world.cause(&id, StallCause::PowerOnGivenUp, false).unwrap();
        let began = Instant::now();
        let mut look = tokio::time::interval(Duration::from_millis(50));
        while !world.causes(&id).is_empty() {
            look.tick().await;
            let causes = world.causes(&id);
            assert!(began.elapsed() < PATIENCE, "{causes:?} after {cause:?}");
        }
    }
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_expired_token_makes_clues_give_up_until_it_is_renewed(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let world = &scene.world;
    world.cause(&id, StallCause::TokenExpired, true).unwrap();
    want_one_more(&scene, &id);
    let given_up = StallCause::PowerOnGivenUp;
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let log = world.front_ends.root(&id).unwrap();
    let log = log.join("var/log/clues2/clues2.log");
    loop {
        look.tick().await;
        let text = std::fs::read_to_string(&log).unwrap();
        let refused = "Error adding resources Unauthorized. Invalid InfrastructureManager \
                       credentials. OIDC auth Token expired.";
        if text.contains(refused) && text.contains("failed to power on node wn2 (3 fails)") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
    }
    assert!(world.causes(&id).contains(&given_up));
    // With a token, and reset, the nodes come.
    world.cause(&id, StallCause::TokenExpired, false).unwrap();
    world.cause(&id, given_up, false).unwrap();
    let servers = || world.front_ends.servers(&id);
    while servers().iter().any(|(_, node)| node.is_none()) {
        look.tick().await;
        assert!(began.elapsed() < PATIENCE, "{:?}", servers());
    }
    scene.nothing_unexpected();
}

/// Asks for a plan, has it approved, and waits for its end.
async fn does(scene: &Scene, typed: &str, plan: &str, told: &str) {
    let ana = scene.person("ana");
    let answer = ana.runs(typed).await.answer().await;
    assert!(answer.says("plan"), "{typed}: {}", answer.text());
    let plan = scene.plan(plan).await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees(told).await;
}

/// Waits until everybody has a place.
async fn all_run(scene: &Scene, id: &str) {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let servers = || scene.world.front_ends.servers(id);
    while servers().iter().any(|(_, node)| node.is_none()) {
        look.tick().await;
        assert!(began.elapsed() < PATIENCE, "{:?}", servers());
    }
}

/// Lets one more come than there is room for, which stalls.
async fn stalls(scene: &Scene, id: &str, cause: StallCause, name: &str) -> Vec<String> {
    scene.world.cause(id, cause, true).unwrap();
    let guests = want_one_more(scene, id);
    let found = format!("❌ **{name}**");
    diagnosed(scene, &found, |answer| answer.says(&found)).await;
    guests
}

fn leave(scene: &Scene, id: &str, guests: Vec<String>) {
    for guest in guests {
        scene.world.front_ends.stop_server(id, &guest);
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_the_bot_offers_cures_what_nodes_have(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let world = &scene.world;
    // One node is enough for one more.
    let disabled = StallCause::NodesDisabled;
    let guests = stalls(&scene, &id, disabled, "nodes disabled").await;
    let typed = "/pangeo nodes enable name:geo node:wn2";
    does(&scene, typed, "+ enable wn2", "CLUES may use wn2").await;
    all_run(&scene, &id).await;
    leave(&scene, &id, guests);
    world.cause(&id, disabled, false).unwrap();

    let given_up = StallCause::PowerOnGivenUp;
    let guests = stalls(&scene, &id, given_up, "power-on given up").await;
    let typed = "/pangeo nodes reset name:geo node:wn3";
    let told = "CLUES tries wn3 again";
    does(&scene, typed, "+ reset the state of wn3", told).await;
    all_run(&scene, &id).await;
    leave(&scene, &id, guests);
    world.cause(&id, given_up, false).unwrap();

    // A machine that is made anew is configured.
    let broken = StallCause::NotConfigured;
    let guests = stalls(&scene, &id, broken, "VM never configured").await;
    let row = |row: &sandbox::im::InfrastructureView| {
        let is_broken = |(_, state): &&(u32, String)| state == "unconfigured";
        row.vms.iter().find(is_broken).map(|(number, _)| *number)
    };
    let number = row(&world.im.infrastructure("pangeo-geo").unwrap()).unwrap();
    let vic = scene.person("vic");
    let table = vic.runs("/pangeo nodes list name:geo").await;
    let table = table.answer().await.text();
    let its = table
        .lines()
        .find(|line| line.contains(&format!("{number} unconfigured")));
    let node = its
        .unwrap()
        .trim_start_matches("| ")
        .split(' ')
        .next()
        .unwrap();
    let typed = format!("/pangeo nodes replace name:geo node:{node}");
    let plan = format!("Replace the machine of {node}");
    does(&scene, &typed, &plan, &format!("powered off: {node}")).await;
    all_run(&scene, &id).await;
    leave(&scene, &id, guests);
    assert_eq!(world.causes(&id), []);

    // All nodes are held; one more than that may be.
    world.cause(&id, StallCause::MaximumReached, true).unwrap();
    let found = "❌ **maximum reached**";
    diagnosed(&scene, found, |answer| answer.says(found)).await;
    let typed = "/pangeo scale name:geo max:6";
    does(
        &scene,
        typed,
        "at most 6 worker nodes",
        "scale geo · succeeded",
    )
    .await;
    all_run(&scene, &id).await;
    scene.nothing_unexpected();
}
