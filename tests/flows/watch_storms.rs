//! What shakes the watch and not the cluster: API servers that restart, lines that are cut, logs that
//! are rotated, an Infrastructure Manager that is away, a bot that dies. Nothing is lost, doubled or
//! invented.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sandbox::discord::Message;
use sandbox::faults::{Fault, On};
use sandbox::frontend::{ServerSize, SshDoor};
use sandbox::world::StallCause;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alert_pairs::{Told, idle, name, told, until};
use crate::alerts::{QUICK, deployed_with};
use crate::causes::want_one_more;
use crate::scene::{PATIENCE, Scene};

/// A server of which one fits on a node.
const LARGE: ServerSize = ServerSize {
    cpu_milli: 6000,
    memory: 20_000_000_000,
};

/// Numbers by a seed, so that a failed test can be run again as it was.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Some time up to two seconds.
    async fn waits(&mut self) {
        pass(Duration::from_millis(self.below(2000))).await;
    }
}

/// Lets time pass.
pub(crate) async fn pass(time: Duration) {
    let mut ticks = tokio::time::interval(time.max(Duration::from_millis(1)));
    ticks.tick().await;
    ticks.tick().await;
}

/// Holds every alert that people know of against the channel and the audit: one message, one reply
/// once it is over and none before, one line for each.
pub(crate) async fn accounts(scene: &Scene) {
    scene.settles().await;
    let discord = &scene.world.discord;
    let channels = discord.channels().into_iter();
    let messages: Vec<Message> = channels.flat_map(|one| discord.messages(one.id)).collect();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for message in &messages {
        let text = message.text();
        let footer = text.lines().map(|line| line.trim_start_matches("| "));
        for line in footer.filter(|line| line.starts_with("alert ") || line.starts_with("end of")) {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    let audit: Vec<(String, String)> =
        sqlx::query_as("select action, subject from audit where action like 'alert.%'")
            .fetch_all(&scene.pool)
            .await
            .unwrap();
    let count = |action: &str, id: &str| {
        let of = |row: &&(String, String)| row.0 == action && row.1 == id;
        audit.iter().filter(of).count()
    };
    let all = told(scene).await;
    for alert in &all {
        let short = alert.id.replace('-', "").split_off(24);
        let shown = |line: String| lines.remove(&line).unwrap_or_default();
        let mut shown = shown;
        assert_eq!(shown(format!("alert {short}")), 1, "{alert:#?}");
        let ends = usize::from(alert.is_over);
        assert_eq!(shown(format!("end of alert {short}")), ends, "{alert:#?}");
        let told = (
            count("alert.fired", &alert.id),
            count("alert.resolved", &alert.id),
        );
        assert_eq!(told, (1, ends), "{alert:#?}");
    }
    assert!(lines.is_empty(), "of no alert: {lines:?}");
}

/// Something shakes for up to two seconds.
async fn gust(scene: &Scene, id: &str, dice: &mut Dice) {
    let world = &scene.world;
    let front_ends = &world.front_ends;
    let gone = || Fault::answer(503, "Service Unavailable");
    match dice.below(8) {
        0 => front_ends.end_watches(id),
        1 => front_ends.expire_watches(id),
        2 => {
            // The API server restarts: connections end, and it has forgotten what changed.
            let faults = front_ends.kubernetes_faults();
            drop(faults.inject(On::any(), Fault::DropRequest, 10_000));
            front_ends.end_watches(id);
            dice.waits().await;
            faults.clear();
            front_ends.expire_watches(id);
        }
        3 => {
            let faults = front_ends.kubernetes_faults();
            drop(faults.inject(On::any(), gone(), 10_000));
            dice.waits().await;
            faults.clear();
        }
        4 => front_ends.cut_ssh(id).unwrap(),
        5 => {
            front_ends.set_ssh(id, SshDoor::Refusing).unwrap();
            front_ends.cut_ssh(id).unwrap();
            dice.waits().await;
            front_ends.set_ssh(id, SshDoor::Open).unwrap();
        }
        6 => front_ends.rotate_clues_log(id).unwrap(),
        _im => {
            drop(world.im.faults().inject(On::any(), gone(), 10_000));
            dice.waits().await;
            world.im.faults().clear();
        }
    }
    dice.waits().await;
}

/// A cluster with CLUES that knows its nodes, 60 times as fast.
async fn quick(pool: PgPool, blind_after_s: &'static str) -> (Scene, String) {
    let keys = [
        ("WATCH_BOOT_S", "20"),
        ("WATCH_ESCALATE_AFTER_S", "3600"),
        ("WATCH_BLIND_AFTER_S", blind_after_s),
    ];
    let (scene, id) = deployed_with(pool, &[QUICK, &keys].concat()).await;
    scene.world.set_pace(60);
    let wrong = StallCause::WrongNodeSize;
    scene.world.cause(&id, wrong, false).unwrap();
    (scene, id)
}

/// Everybody has a place.
pub(crate) async fn all_run(scene: &Scene, id: &str) {
    let began = Instant::now();
    let servers = || scene.world.front_ends.servers(id);
    while servers().iter().any(|(_, node)| node.is_none()) {
        pass(Duration::from_millis(100)).await;
        assert!(began.elapsed() < PATIENCE, "{:?}", servers());
    }
}

pub(crate) fn is_over(told: &[Told]) -> bool {
    told.iter().all(|alert| alert.is_over)
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn gusts_end_double_and_invent_no_alert(pool: PgPool) {
    let (scene, id) = quick(pool, "30").await;
    let (world, mut dice) = (&scene.world, Dice(4));
    // An alert that stands, through everything.
    world.cause(&id, StallCause::CluesDead, true).unwrap();
    let guests = want_one_more(&scene, &id);
    until(&scene, "CLUES dead", |told| told.len() == 1).await;
    for _gust in 0..12 {
        gust(&scene, &id, &mut dice).await;
        let all = told(&scene).await;
        assert!(all.len() == 1 && !all[0].is_over, "{all:#?}");
        assert_eq!(all[0].first(), name(StallCause::CluesDead), "{all:#?}");
    }
    accounts(&scene).await;
    world.cause(&id, StallCause::CluesDead, false).unwrap();
    until(&scene, "it is over", is_over).await;
    all_run(&scene, &id).await;

    // Users come and go, and all of them get their nodes.
    for round in 0..4 {
        for guest in &guests {
            world.front_ends.stop_server(&id, guest);
        }
        for number in 0..2 {
            let user = format!("user-{round}-{number}");
            world.front_ends.start_server(&id, &user, LARGE);
        }
        for _gust in 0..3 {
            gust(&scene, &id, &mut dice).await;
        }
        all_run(&scene, &id).await;
        for number in 0..2 {
            let user = format!("user-{round}-{number}");
            world.front_ends.stop_server(&id, &user);
        }
    }
    let all = told(&scene).await;
    assert_eq!(all.len(), 1, "nobody is told of gusts: {all:#?}");
    accounts(&scene).await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_log_that_was_rotated_while_nobody_comes_is_no_death(pool: PgPool) {
    let (scene, id) = quick(pool, "30").await;
    // CLUES of a cluster at rest writes a line every half hour.
    scene.world.set_pace(1);
    idle(&scene, &id).await;
    scene.world.front_ends.rotate_clues_log(&id).unwrap();
    let log = scene.world.front_ends.root(&id).unwrap();
    let log = log.join("var/log/clues2/clues2.log");
    let looked = "select count(*)::int8 from watched
                  where looked_at > now() - interval '2 s'";
    for _second in 0..10 {
        pass(Duration::from_secs(1)).await;
    }
    scene.counts(looked, 1).await;
    assert_eq!(
        std::fs::metadata(&log).unwrap().len(),
        0,
        "it is empty still"
    );
    let all = told(&scene).await;
    assert!(all.is_empty(), "{all:#?}");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_infrastructure_manager_that_is_away_is_one_alert_and_no_stall(pool: PgPool) {
    // Three seconds are the five minutes after which silence is told; an hour is 36.
    let (scene, id) = quick(pool, "3").await;
    let world = &scene.world;
    let began = Instant::now();
    let gone = Fault::answer(503, "Service Unavailable");
    drop(world.im.faults().inject(On::any(), gone, 1_000_000));
    until(&scene, "IM is not seen", |told| told.len() == 1).await;
    let mut round = 0;
    while began.elapsed() < Duration::from_secs(36) {
        // CLUES has a way to IM that the bot has not: the cluster grows as it should.
        let user = format!("user-{round}");
        world.front_ends.start_server(&id, &user, LARGE);
        all_run(&scene, &id).await;
        pass(Duration::from_secs(2)).await;
        round += 1;
        if round % 4 == 0 {
            for number in 0..round {
                world.front_ends.stop_server(&id, &format!("user-{number}"));
            }
        }
    }
    let all = told(&scene).await;
    assert!(all.len() == 1 && !all[0].is_over, "{all:#?}");
    assert_eq!(all[0].first(), "not seen");
    world.im.faults().clear();
    until(&scene, "IM is there", is_over).await;
    accounts(&scene).await;
    scene
        .sees("the bot can't see Infrastructure Manager (over)")
        .await;
    scene.nothing_unexpected();
}

/// Kills the bot after a while and starts it again after another.
async fn dies(scene: &mut Scene, dice: &mut Dice) {
    dice.waits().await;
    scene.bot.kill().await.unwrap();
    dice.waits().await;
    scene.bot.start().await.unwrap();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_at_random_the_bot_tells_everything_once(pool: PgPool) {
    let (mut scene, id) = quick(pool, "3").await;
    let world = std::sync::Arc::clone(&scene.world);
    let (mut dice, mut expected) = (Dice(7), 0);
    let hub = world.front_ends.hub_faults();
    for round in 0..6 {
        // One that the cluster has, and one beside it.
        let cause = [
            StallCause::CluesDead,
            StallCause::NodesDisabled,
            StallCause::NotScaling,
        ][round % 3];
        world.cause(&id, cause, true).unwrap();
        let guests = want_one_more(&scene, &id);
        if round % 2 == 0 {
            drop(hub.inject(On::any(), Fault::answer(502, "Bad Gateway"), 100_000));
        }
        dies(&mut scene, &mut dice).await;
        expected += 1 + usize::from(round % 2 == 0);
        let all = until(&scene, name(cause), |told| told.len() == expected).await;
        let open: Vec<&Told> = all.iter().filter(|alert| !alert.is_over).collect();
        assert!(
            open.iter().any(|alert| alert.first() == name(cause)),
            "{all:#?}"
        );
        dies(&mut scene, &mut dice).await;

        hub.clear();
        world.cause(&id, cause, false).unwrap();
        for guest in &guests {
            world.front_ends.stop_server(&id, guest);
        }
        dies(&mut scene, &mut dice).await;
        let all = until(&scene, "all is over", is_over).await;
        assert_eq!(all.len(), expected, "nothing is invented: {all:#?}");
        world.cause(&id, StallCause::PowerOnGivenUp, false).unwrap();
        idle(&scene, &id).await;
    }
    accounts(&scene).await;
    scene.nothing_unexpected();
}
