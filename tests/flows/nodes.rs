//! `/pangeo nodes`: one table of three systems, and nodes powered through CLUES.

use std::time::{Duration, Instant};

use sandbox::frontend::ServerSize;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

async fn waits_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while !holds() {
        look.tick().await;
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
    }
}

/// The answer to a look or to what makes no plan.
async fn asks(scene: &Scene, typed: &str) -> String {
    let ana = scene.person("ana");
    let typed = format!("/pangeo nodes {typed}");
    ana.runs(&typed).await.answer().await.text()
}

/// Asks for a plan, has it approved, and waits for its end.
async fn does(scene: &Scene, typed: &str, plan: &str, told: &str) {
    asks(scene, typed).await;
    let plan = scene.plan(plan).await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees(told).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn nodes_are_shown_in_one_table_and_powered_through_clues(pool: PgPool) {
    let scene = Scene::start_set(pool, &[("WATCH_SAMPLE_S", "1")]).await;
    scene.deploys("").await;
    let (world, id) = (
        &scene.world,
        scene.world.im.infrastructure("pangeo-geo").unwrap().id,
    );
    let vms = || world.im.infrastructure("pangeo-geo").unwrap().vms;

    does(
        &scene,
        "on name:geo node:wn2",
        "+ power on wn2",
        "powered on: wn2",
    )
    .await;
    world.front_ends.set_enabled(&id, "wn4", false);
    let table = asks(&scene, "list name:geo").await;
    let row = |name: &str| {
        let row = table.lines().map(|line| line.trim_start_matches("| "));
        let mut rows = row.filter(|line| line.starts_with(name));
        rows.next()
            .unwrap_or_else(|| panic!("no {name} in {table}"))
            .to_owned()
    };
    assert!(table.contains("2 of 5 are on"), "{table}");
    assert!(row("wn1").contains("1 configured  ready"), "{table}");
    assert!(row("wn2").starts_with("wn2   idle"), "{table}");
    assert!(row("wn2").contains("2 configured  ready"), "{table}");
    assert!(row("wn2").contains("0 of 8"), "{table}");
    assert!(row("wn4").starts_with("wn4   off, disabled  -"), "{table}");

    let refused = asks(&scene, "on name:geo node:wn4").await;
    assert!(refused.contains("wn4 is disabled"), "{refused}");
    does(
        &scene,
        "enable name:geo node:wn4",
        "+ enable wn4",
        "CLUES may use wn4",
    )
    .await;
    world.front_ends.give_up(&id, "wn3");
    does(
        &scene,
        "reset name:geo node:wn3",
        "+ reset the state of wn3",
        "tries wn3 again",
    )
    .await;

    // Somebody uses the second node: nobody takes it away, unless by force.
    for user in ["eva", "vic"] {
        let size = ServerSize {
            cpu_milli: 4000,
            memory: 20_000_000_000,
        };
        world.front_ends.start_server(&id, user, size);
    }
    let vic_runs = || {
        let servers = world.front_ends.servers(&id);
        servers.contains(&("vic".to_owned(), Some("wn2".to_owned())))
    };
    waits_until("vic's server", vic_runs).await;
    let refused = asks(&scene, "replace name:geo node:wn2").await;
    assert!(refused.contains("in the way: vic"), "{refused}");
    let before: Vec<u32> = vms().into_iter().map(|(number, _)| number).collect();
    let typed = "replace name:geo node:wn2 force:true";
    asks(&scene, typed).await;
    let plan = scene.plan("Replace the machine of wn2").await;
    assert!(
        plan.says("this ends what runs there: vic"),
        "{}",
        plan.text()
    );
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("powered off: wn2").await;
    let after: Vec<u32> = vms().into_iter().map(|(number, _)| number).collect();
    assert_eq!((before, after), (vec![0, 1, 2], vec![0, 1, 3]));
    does(
        &scene,
        "off name:geo node:wn2",
        "- drain wn2 and power off",
        "`nodes off` of `geo` is done",
    )
    .await;
    assert_eq!(vms().len(), 2);
    let servers = world.front_ends.servers(&id);
    assert_eq!(servers, [("eva".to_owned(), Some("wn1".to_owned()))]);
    is_seen_at_one_look(&scene, &id).await;
    scene.nothing_unexpected();
}

/// `status` counts more pods than one answer of the API holds, and shows the last hours.
async fn is_seen_at_one_look(scene: &Scene, id: &str) {
    let world = &scene.world;
    for n in 0..600 {
        let size = ServerSize {
            cpu_milli: 400_000,
            memory: 1_000_000_000,
        };
        let user = format!("guest-{n}");
        world.front_ends.start_server(id, &user, size);
    }
    let vic = scene.person("vic");
    let status = vic.runs("/pangeo status name:geo").await.answer().await;
    for seen in [
        "600 pending",
        "1 user online",
        "certificate for",
        "ends <t:",
    ] {
        assert!(status.says(seen), "{seen}: {}", status.text());
    }
    let picture = &status.attachments[0];
    assert_eq!(picture.filename, "chart.png");
    assert_eq!(status.embeds[0]["image"]["url"], "attachment://chart.png");
    let png = world.discord.file(picture.id).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
}
