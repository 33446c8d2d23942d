//! Alerts: what stalls is told with its cause, cured by its button, and over once it is gone.

use sandbox::discord::Message;
use sandbox::faults::{Fault, On};
use sandbox::frontend::{ServerSize, SshDoor};
use sandbox::world::StallCause;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

/// A notebook of which one fits on a worker of 8 cores and 32 GB.
pub(crate) const LARGE: ServerSize = ServerSize {
    cpu_milli: 4000,
    memory: 20_000_000_000,
};

/// A watch that a test can wait for.
pub(crate) const QUICK: &[(&str, &str)] = &[
    ("WATCH_OFF", ""),
    ("WATCH_LOOK_S", "1"),
    ("WATCH_FULL_LOOK_S", "2"),
    ("WATCH_STALL_AFTER_S", "3"),
    ("WATCH_LATENT_AFTER_S", "3"),
    ("WATCH_BLIND_AFTER_S", "3"),
    ("WATCH_RESOLVE_AFTER_S", "2"),
    ("WATCH_ESCALATE_AFTER_S", "6"),
    ("WATCH_SAMPLE_S", "1"),
    ("WATCH_DIGEST_AT", "00:00"),
];

async fn deployed(pool: PgPool) -> (Scene, String) {
    deployed_with(pool, QUICK).await
}

pub(crate) async fn deployed_with(pool: PgPool, keys: &[(&str, &str)]) -> (Scene, String) {
    let scene = Scene::start_set(pool, keys).await;
    let id = scene.deploys("").await;
    (scene, id)
}

async fn asks(scene: &Scene, typed: &str) -> Message {
    scene.person("ana").runs(typed).await.answer().await
}

fn count(scene: &Scene, words: &str) -> usize {
    let discord = &scene.world.discord;
    let messages = discord.messages(discord.channel_id());
    messages.iter().filter(|one| one.says(words)).count()
}

async fn shows(scene: &Scene, message: &Message, words: &str) -> Message {
    let is_it = |one: &Message| one.id == message.id && one.says(words);
    let seen = scene.world.discord.wait_for_message(is_it, PATIENCE).await;
    seen.unwrap_or_else(|error| panic!("it does not show {words:?}: {error}"))
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_stall_is_told_with_its_cause_and_over_once_its_button_has_cured_it(pool: PgPool) {
    let (mut scene, id) = deployed(pool).await;
    let nothing = asks(&scene, "/pangeo alerts list").await;
    assert!(nothing.says("nothing stalls"), "{}", nothing.text());

    let counted = "select (count(*) > 2)::int::bigint from samples";
    scene.counts(counted, 1).await;

    // CLUES is told a wrong size and dies, and more people come than fit on the first worker.
    let wrong = StallCause::WrongNodeSize;
    scene.world.cause(&id, wrong, true).unwrap();
    scene.world.front_ends.kill_clues(&id);
    for user in ["ada", "bob"] {
        scene.world.front_ends.start_server(&id, user, LARGE);
    }
    let alert = scene.sees("geo: scaling stalls: CLUES dead").await;
    for words in [
        "1 pod waits for a node and none is on its way: jupyter-",
        "Could not connect to CLUES server",
        "hint: `/pangeo run restart-clues name:geo`",
        "docs/alerts.md#clues-dead",
    ] {
        assert!(alert.says(words), "{words}: {}", alert.text());
    }
    // Its picture shows that one node more is wanted than is ready.
    let picture = alert
        .attachments
        .iter()
        .find(|file| file.filename == "chart.png");
    assert!(picture.is_some(), "{}", alert.text());
    let wanted = "select (count(*) > 0)::int::bigint from samples where nodes_wanted > nodes_ready";
    scene.counts(wanted, 1).await;
    let used = "select (max(servers) = 1)::int::bigint from samples";
    scene.counts(used, 1).await;
    let list = asks(&scene, "/pangeo alerts list").await;
    for words in ["1 alert fires", "CLUES dead", "nobody sees to it yet"] {
        assert!(list.says(words), "{words}: {}", list.text());
    }
    let status = asks(&scene, "/pangeo status name:geo").await;
    assert!(
        status.says("scaling stalls: CLUES dead"),
        "{}",
        status.text()
    );

    // Nobody sees to it: others are called, below it. A viewer can't take it on, ana can.
    let again = scene.sees("CLUES dead, still").await;
    assert_eq!(again.reference, Some(alert.id));
    let vic = scene.person("vic");
    let refused = vic.presses_on(&alert, "I see to it").await.answer().await;
    assert!(refused.says("operator"), "{}", refused.text());
    let ana = scene.person("ana");
    let taken = ana.presses_on(&alert, "I see to it").await.answer().await;
    assert!(taken.says("you see to alert"), "{}", taken.text());
    let taken = shows(&scene, &alert, "sees to it since").await;
    assert!(taken.buttons().iter().all(|b| b.label != "I see to it"));

    // After a restart nothing is told twice and nothing is forgotten.
    scene.bot.kill().await.unwrap();
    scene.bot.start().await.unwrap();
    ana.presses_on(&alert, "/pangeo run restart-clues")
        .await
        .answer()
        .await;
    let plan = scene.plan("Run `restart-clues` on the front end").await;
    scene.person("ben").reacts(&plan, "✅");
    // It helped against this cause, and shows the one behind it.
    let behind = "scaling stalls: wrong node size in CLUES";
    shows(&scene, &alert, behind).await;
    let alert = shows(&scene, &alert, "was done, and it is still there").await;
    for words in ["`run restart-clues`", "CLUES believes that wn"] {
        assert!(alert.says(words), "{words}: {}", alert.text());
    }
    ana.presses_on(&alert, "/pangeo flavor set")
        .await
        .answer()
        .await;
    let plan = scene.plan("flavor set geo").await;
    scene.person("ben").reacts(&plan, "✅");
    let end = scene.sees("it lasted").await;
    assert_eq!(end.reference, Some(alert.id));
    for words in ["✅ `run restart-clues`", "✅ `flavor set`", "(over)"] {
        assert!(end.says(words), "{words}: {}", end.text());
    }
    shows(&scene, &alert, "wrong node size in CLUES (over)").await;
    scene.settles().await;
    assert_eq!(count(&scene, "geo: scaling stalls"), 3, "alert, call, end");
    scene
        .counts("select count(*) from alerts where state <> 'resolved'", 0)
        .await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_can_not_be_seen_is_told_and_a_silence_keeps_still(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let past = "/pangeo alerts silence name:geo end:2020-01-01 reason:Update";
    let past = asks(&scene, past).await;
    assert!(past.says("in the future"), "{}", past.text());
    let silence_until =
        |end| format!("/pangeo alerts silence name:geo end:{end} reason:Update kind:hub");
    let silence = asks(&scene, &silence_until("2099-01-01")).await;
    assert!(silence.says("no `hub` alerts"), "{}", silence.text());
    // It takes the place of the one before.
    asks(&scene, &silence_until("2098-01-01")).await;

    let hub = scene.world.front_ends.hub_faults();
    drop(hub.inject(On::any(), Fault::answer(502, "Bad Gateway"), 10_000));
    scene
        .counts("select count(*) from alerts where state = 'firing'", 1)
        .await;
    let list = asks(&scene, "/pangeo alerts list name:geo").await;
    for words in ["the hub does not answer", "🔇 `geo` hub", "Update"] {
        assert!(list.says(words), "{words}: {}", list.text());
    }
    assert_eq!(list.text().matches('🔇').count(), 1, "{}", list.text());
    scene
        .world
        .front_ends
        .set_ssh(&id, SshDoor::Refusing)
        .unwrap();
    scene.world.front_ends.cut_ssh(&id).unwrap();
    // The machine as a whole is one matter.
    let blind = scene.sees("geo: neither the front end nor the hub").await;
    for words in ["cut off from the bot", "the hub: ", "CLUES: "] {
        assert!(blind.says(words), "{words}: {}", blind.text());
    }
    assert_eq!(count(&scene, "geo: the hub does not answer"), 0, "silenced");

    hub.clear();
    scene.world.front_ends.set_ssh(&id, SshDoor::Open).unwrap();
    scene
        .sees("neither the front end nor the hub answers (over)")
        .await;
    scene.sees("nothing was run by the bot").await;
    scene
        .counts("select count(*) from alerts where state <> 'resolved'", 0)
        .await;
    scene.settles().await;
    assert_eq!(
        count(&scene, "geo: the hub does not answer"),
        0,
        "nor its end"
    );
    let unknown = asks(&scene, "/pangeo alerts ack alert:12345678").await;
    assert!(unknown.says("no open alert"), "{}", unknown.text());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn many_at_once_are_one_message_and_what_was_missed_is_told(pool: PgPool) {
    let (mut scene, _id) = deployed(pool).await;
    scene.has_silent_clusters(9).await;
    let blind = "select count(*) from alerts where kind = 'blind' and state = 'firing'";
    scene.counts(blind, 9).await;
    let group = scene.sees("5 more of 5: neither the front end").await;
    assert!(group.says("`geo-"), "{}", group.text());
    scene.settles().await;
    let discord = &scene.world.discord;
    let in_channel = discord.messages(discord.channel_id());
    let alone = in_channel
        .iter()
        .filter(|one| one.says(": neither the front end") && one.reference.is_none())
        .filter(|one| one.id != group.id)
        .count();
    assert_eq!(alone, 4, "the others stand in the group's thread");
    let numbers = scene.metrics().await;
    let series = r#"pangeo_bot_alert_firing{cluster="geo-1",kind="blind"} 1"#;
    assert!(numbers.contains(series), "{numbers}");

    // The bot was away since yesterday, and the day's digest is not told yet.
    scene.bot.kill().await.unwrap();
    sqlx::raw_sql(
        "update watched set looked_at = looked_at - interval '1 day'; delete from facts where key = 'digest/day'",
    )
    .execute(&scene.pool)
    .await
    .unwrap();
    scene.bot.start().await.unwrap();
    let away = scene.sees("I was away").await;
    assert!(
        away.says("nobody watched the clusters from"),
        "{}",
        away.text()
    );
    assert!(away.says("is there still"), "{}", away.text());
    let digest = scene.sees("Today, 20").await;
    for words in [
        "Alerts",
        "`geo-1` neither the front end",
        "/pangeo alerts list",
    ] {
        assert!(digest.says(words), "{words}: {}", digest.text());
    }
    scene.settles().await;
    assert_eq!(count(&scene, "Today, 20"), 1);
    assert_eq!(count(&scene, "I was away"), 1);

    // Those of clusters that are gone are over.
    sqlx::raw_sql("update clusters set phase = 'removed' where name like 'geo-%'")
        .execute(&scene.pool)
        .await
        .unwrap();
    scene
        .counts("select count(*) from alerts where state <> 'resolved'", 0)
        .await;
    scene
        .sees("geo-1: neither the front end nor the hub answers (over)")
        .await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_quiet_lock_holds_alerts_back_and_the_switch_outside_is_told(pool: PgPool) {
    let switch = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ping/secret-word", switch.local_addr().unwrap());
    let keys = [QUICK, &[("WATCH_PING_URL", url.as_str())]].concat();
    let (scene, _id) = deployed_with(pool, &keys).await;
    let (stream, _from) = tokio::time::timeout(PATIENCE, switch.accept())
        .await
        .unwrap()
        .unwrap();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(stream);
    tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut line)
        .await
        .unwrap();
    assert_eq!(line.trim(), "GET /ping/secret-word HTTP/1.1");

    let lock = "/pangeo lock name:geo end:2099-01-01 reason:Downtime no-alerts:true";
    let locked = asks(&scene, lock).await;
    assert!(locked.says("is locked"), "{}", locked.text());
    scene.sees("Downtime (no new alerts)").await;
    let hub = scene.world.front_ends.hub_faults();
    drop(hub.inject(On::any(), Fault::answer(502, "Bad Gateway"), 10_000));
    let old = "select count(*) from alerts where kind = 'hub' and state = 'pending'
                 and since < now() - interval '5 s'";
    scene.counts(old, 1).await;
    assert_eq!(count(&scene, "geo: the hub does not answer"), 0);
    asks(&scene, "/pangeo unlock name:geo").await;
    let told = scene.sees("geo: the hub does not answer").await;
    assert!(told.says("502"), "{}", told.text());
    scene.nothing_unexpected();
}
