//! Two causes of a stall at once: the first of the chain is named and the other stands below it; once
//! the first is cured by the button of its alert, the same alert goes on with what is left.

use std::time::{Duration, Instant};

use pangeo_bot::domain::diagnosis::Cause;
use sandbox::discord::{Id, Message};
use sandbox::frontend::ServerSize;
use sandbox::world::StallCause;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::{QUICK, deployed_with};
use crate::causes::want_one_more;
use crate::scene::{PATIENCE, Scene};

/// An alert that was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) is_over: bool,
    /// The cause that it names, then those that stand below it.
    pub(crate) causes: Vec<String>,
    /// How long after its beginning people were told, in seconds.
    pub(crate) after_s: f64,
}

impl Told {
    pub(crate) fn names(&self, cause: &str) -> bool {
        self.causes.iter().any(|one| one == cause)
    }

    pub(crate) fn first(&self) -> &str {
        &self.causes[0]
    }
}

type Row = (String, String, serde_json::Value, f64);

/// The alerts that were told so far, oldest first.
pub(crate) async fn told(scene: &Scene) -> Vec<Told> {
    let sql = "select id::text, state, finding, extract(epoch from fired_at - since)::float8
               from alerts where fired_at is not null order by fired_at";
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(&scene.pool).await.unwrap();
    rows.into_iter()
        .map(|(id, state, finding, after_s)| {
            let first = finding["cause"].as_str().unwrap_or("unknown");
            let others = finding["others"].as_array().into_iter().flatten();
            let others = others.filter_map(|line| line.as_str()?.split(": ").next());
            Told {
                id,
                is_over: state == "resolved",
                causes: [first]
                    .into_iter()
                    .chain(others)
                    .map(str::to_owned)
                    .collect(),
                after_s,
            }
        })
        .collect()
}

/// Waits until what was told is as wanted; answers that.
pub(crate) async fn until(scene: &Scene, what: &str, is: impl Fn(&[Told]) -> bool) -> Vec<Told> {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        look.tick().await;
        let told = told(scene).await;
        if is(&told) {
            return told;
        }
        if began.elapsed() > PATIENCE {
            let vic = scene.person("vic");
            let seen = vic.runs("/pangeo diagnose name:geo").await.answer().await;
            panic!("{what}: {told:#?}\n{}", seen.text());
        }
    }
}

/// CLUES has given back the nodes that nobody uses.
pub(crate) async fn idle(scene: &Scene, id: &str) {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        look.tick().await;
        let nodes = scene.world.front_ends.nodes(id);
        if nodes.iter().filter(|node| node.state != "off").count() <= 1 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{nodes:?}");
    }
}

/// How an alert calls a cause.
pub(crate) fn name(cause: StallCause) -> &'static str {
    match cause {
        StallCause::TokenExpired => "token expired",
        StallCause::RefreshFailing => "token not refreshed",
        StallCause::CluesDead => "CLUES dead",
        StallCause::WrongNodeSize => "wrong node size in CLUES",
        StallCause::MaximumReached => "maximum reached",
        StallCause::CloudRefuses => "quota or cloud error",
        StallCause::NotConfigured => "VM never configured",
        StallCause::NodeNotReady => "node not ready",
        StallCause::PodNeverFits => "pod can never fit",
        StallCause::PowerOnGivenUp => "power-on given up",
        StallCause::NodesDisabled => "nodes disabled",
        StallCause::NotScaling => "not a scaling matter",
    }
}

/// The button of a cause's alert, and words of the plan that it opens. The site cures a quota; what a pod
/// asks for is cured by the values, see `alert_causes`, and by whoever starts it anew.
pub(crate) fn button(cause: StallCause) -> Option<(&'static str, &'static str)> {
    match cause {
        StallCause::TokenExpired | StallCause::RefreshFailing => {
            Some(("/pangeo token renew", "Renew the access token"))
        }
        StallCause::CluesDead => Some(("/pangeo run restart-clues", "Run `restart-clues`")),
        StallCause::WrongNodeSize => Some(("/pangeo flavor set", "flavor set geo")),
        StallCause::MaximumReached => Some(("/pangeo scale", "at most")),
        StallCause::NotConfigured | StallCause::NodeNotReady => {
            Some(("/pangeo nodes replace", "Replace the machine of"))
        }
        StallCause::PowerOnGivenUp => Some(("/pangeo nodes reset", "+ reset the state of")),
        StallCause::NodesDisabled => Some(("/pangeo nodes enable", "+ enable")),
        StallCause::CloudRefuses | StallCause::PodNeverFits | StallCause::NotScaling => None,
    }
}

/// The message with a key that is as wanted.
async fn posted(scene: &Scene, key: &str, is: impl Fn(&Message) -> bool) -> Message {
    let sql = "select discord_message_id from messages where key = $1";
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        look.tick().await;
        let query = sqlx::query_scalar::<_, Option<i64>>(sql).bind(key);
        let id = query.fetch_optional(&scene.pool).await.unwrap().flatten();
        let id = id.map(|id| Id::new(u64::try_from(id).unwrap()));
        let found = id.and_then(|id| scene.world.discord.message(id));
        if let Some(message) = found.filter(|message| is(message)) {
            return message;
        }
        assert!(began.elapsed() < PATIENCE, "{key} is not shown as wanted");
    }
}

/// Cures a cause: by the button of its alert and the approval of its plan, where there is one.
pub(crate) async fn cure(scene: &Scene, infrastructure: &str, alert: &str, cause: StallCause) {
    let world = &scene.world;
    let Some((label, plan)) = button(cause) else {
        world.cause(infrastructure, cause, false).unwrap();
        return;
    };
    let has_button = |one: &Message| one.buttons().iter().any(|b| b.label == label);
    let alert = posted(scene, &format!("alert/{alert}"), has_button).await;
    let ana = scene.person("ana");
    let pressed = ana.presses_on(&alert, label).await;
    let answer = if label == "/pangeo token renew" {
        let lifetime = chrono::Duration::minutes(60);
        let token = world.checkin.mint_token(sandbox::world::BOT_USER, lifetime);
        let modal = pressed.modal().await;
        let fields = [("token", token.unwrap())];
        let fields = fields.each_ref().map(|(name, text)| (*name, text.as_str()));
        ana.fills(&modal, &fields).await.answer().await
    } else {
        pressed.answer().await
    };
    assert!(answer.says("plan"), "{label}: {}", answer.text());
    let done = operations(scene, "succeeded").await;
    let newest = "select 'plan/' || id from plans order by created_at desc limit 1";
    let newest: String = sqlx::query_scalar(newest)
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    let waits = |one: &Message| one.reactions.len() == 2;
    let posted = posted(scene, &newest, waits).await;
    assert!(posted.says(plan), "{plan}: {}", posted.text());
    scene.person("ben").reacts(&posted, "✅");
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(100));
    while operations(scene, "succeeded").await == done {
        look.tick().await;
        let stopped = operations(scene, "stopped").await;
        assert!(
            began.elapsed() < PATIENCE && stopped == 0,
            "{label} is not done"
        );
    }
}

async fn operations(scene: &Scene, state: &str) -> i64 {
    sqlx::query_scalar("select count(*) from operations where state = $1")
        .bind(state)
        .fetch_one(&scene.pool)
        .await
        .unwrap()
}

/// Two causes that are there at once.
struct Pair {
    /// The one that is named.
    first: StallCause,
    second: StallCause,
    /// Whether the second can be seen beside the first: a CLUES that is dead tells nothing of its
    /// nodes.
    is_seen: bool,
}

const fn pair(first: StallCause, second: StallCause) -> Pair {
    Pair {
        first,
        second,
        is_seen: true,
    }
}

const fn hidden(first: StallCause, second: StallCause) -> Pair {
    Pair {
        is_seen: false,
        ..pair(first, second)
    }
}

/// In four parts, each for a cluster of its own; a cause is the first of at most three in one, since
/// more of the same would be told as a group.
const PAIRS: [[Pair; 5]; 4] = [
    [
        pair(StallCause::TokenExpired, StallCause::CluesDead),
        pair(StallCause::WrongNodeSize, StallCause::NodesDisabled),
        hidden(StallCause::CluesDead, StallCause::WrongNodeSize),
        pair(StallCause::NodeNotReady, StallCause::NodesDisabled),
        pair(StallCause::PowerOnGivenUp, StallCause::NotScaling),
    ],
    [
        pair(StallCause::TokenExpired, StallCause::WrongNodeSize),
        pair(StallCause::CluesDead, StallCause::NodeNotReady),
        pair(StallCause::WrongNodeSize, StallCause::PowerOnGivenUp),
        pair(StallCause::NotConfigured, StallCause::NodesDisabled),
        pair(StallCause::PodNeverFits, StallCause::PowerOnGivenUp),
    ],
    [
        pair(StallCause::TokenExpired, StallCause::NodeNotReady),
        pair(StallCause::RefreshFailing, StallCause::CluesDead),
        pair(StallCause::CloudRefuses, StallCause::NodeNotReady),
        pair(StallCause::NodesDisabled, StallCause::NotScaling),
        pair(StallCause::MaximumReached, StallCause::NotScaling),
    ],
    [
        pair(StallCause::TokenExpired, StallCause::PodNeverFits),
        pair(StallCause::RefreshFailing, StallCause::NotScaling),
        hidden(StallCause::CluesDead, StallCause::NodesDisabled),
        pair(StallCause::NodeNotReady, StallCause::PowerOnGivenUp),
        pair(StallCause::WrongNodeSize, StallCause::PodNeverFits),
    ],
];

/// The alert's cause explains those below it.
fn is_in_order(alert: &Told) -> bool {
    let places = alert.causes.iter().map(|cause| Cause::from_word(cause));
    let places: Vec<_> = places.collect();
    places.iter().all(Option::is_some) && places.is_sorted()
}

/// Switches both on, with those who wait for a node; who came.
async fn strike(scene: &Scene, id: &str, pair: &Pair) -> Vec<String> {
    let world = &scene.world;
    let (first, second) = (pair.first, pair.second);
    // With a token that lives a little longer nodes would still come.
    let comes_alone = [StallCause::RefreshFailing, StallCause::MaximumReached].contains(&first)
        && second == StallCause::NotScaling;
    let guests = |scene| {
        if comes_alone {
            Vec::new()
        } else {
            want_one_more(scene, id)
        }
    };
    let is_slow = [StallCause::NotConfigured, StallCause::MaximumReached].contains(&first);
    if is_slow {
        // Nodes come on first, so that it is there when the other one comes.
        world.cause(id, first, true).unwrap();
        let mut guests = guests(scene);
        let sql =
            "select count(*) from alerts where state <> 'resolved' and finding->>'cause' = $1";
        let began = Instant::now();
        let mut look = tokio::time::interval(Duration::from_millis(100));
        loop {
            look.tick().await;
            let query = sqlx::query_scalar(sql).bind(name(first));
            let count: i64 = query.fetch_one(&scene.pool).await.unwrap();
            if count == 1 {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "no {}", name(first));
        }
        world.cause(id, second, true).unwrap();
        if first == StallCause::NotConfigured {
            // One who still waits when that machine is replaced.
            let size = ServerSize {
                cpu_milli: 6000,
                memory: 20_000_000_000,
            };
            world.front_ends.start_server(id, "one-more", size);
            guests.push("one-more".to_owned());
        }
        return guests;
    }
    // What restarts CLUES, or needs it alive, goes before it dies.
    let is_last = first == StallCause::CluesDead;
    let order = if is_last {
        [second, first]
    } else {
        [first, second]
    };
    for cause in order {
        world.cause(id, cause, true).unwrap();
    }
    guests(scene)
}

/// The pairs, one after the other, in one cluster.
async fn each_pair_is_told_in_order(pool: PgPool, pairs: &[Pair]) {
    let keys = [("WATCH_BOOT_S", "20"), ("WATCH_ESCALATE_AFTER_S", "3600")];
    let (scene, id) = deployed_with(pool, &[QUICK, &keys].concat()).await;
    let world = &scene.world;
    world.set_pace(60);
    world.cause(&id, StallCause::WrongNodeSize, false).unwrap();
    let mut number = 0;
    for pair in pairs {
        let (first, second) = (name(pair.first), name(pair.second));
        let what = format!("{first} and {second}");
        let guests = strike(&scene, &id, pair).await;
        let told = until(&scene, &what, |told| told.len() > number).await;
        assert_eq!(told[number].first(), first, "{what}: {told:#?}");
        // A token that still lives may be told of before anybody waits for it, by an alert of its own.
        let may_be_alone = pair.first == StallCause::RefreshFailing;
        if !may_be_alone {
            assert_eq!(told.len(), number + 1, "{what}: {told:#?}");
            let is_below = |told: &[Told]| told[number].names(second) == pair.is_seen;
            let told = until(&scene, &format!("{what} below it"), is_below).await;
            assert!(is_in_order(&told[number]), "{what}: {told:#?}");
        }

        cure(&scene, &id, &told[number].id, pair.first).await;
        if pair.first == StallCause::CloudRefuses {
            // CLUES has given up meanwhile.
            world.cause(&id, StallCause::PowerOnGivenUp, false).unwrap();
        }
        let goes_on = |told: &[Told]| {
            let mut alerts = told[number..].iter();
            let is_cured = alerts.all(|alert| alert.is_over || !alert.names(first));
            let last = told.last().filter(|alert| !alert.is_over);
            is_cured && last.is_some_and(|alert| alert.names(second))
        };
        let told = until(&scene, &format!("{what}: goes on"), goes_on).await;
        let last = number + usize::from(may_be_alone && told.len() > number + 1);
        assert_eq!(told.len(), last + 1, "the same alert: {told:#?}");

        world.cause(&id, pair.second, false).unwrap();
        world.cause(&id, StallCause::PowerOnGivenUp, false).unwrap();
        let is_over = |told: &[Told]| told.iter().all(|alert| alert.is_over);
        let told = until(&scene, &format!("{what}: is over"), is_over).await;
        assert_eq!(told.len(), last + 1, "nothing beside it: {told:#?}");
        world.cause(&id, pair.first, false).unwrap();
        for guest in guests {
            world.front_ends.stop_server(&id, &guest);
        }
        idle(&scene, &id).await;
        number = last + 1;
    }
    scene.settles().await;
    each_was_posted_once(&scene, number);
    scene.nothing_unexpected();
}

/// Each alert has one message, and one reply that it is over.
fn each_was_posted_once(scene: &Scene, alerts: usize) {
    let discord = &scene.world.discord;
    let messages = discord.messages(discord.channel_id());
    let over = messages.iter().filter(|one| one.says("(over)"));
    let (ends, alone): (Vec<&Message>, Vec<&Message>) = over.partition(|one| one.says("it lasted"));
    assert_eq!((alone.len(), ends.len()), (alerts, alerts));
    for end in ends {
        let of = |one: &&&Message| Some(one.id) == end.reference;
        assert_eq!(alone.iter().filter(of).count(), 1, "{}", end.text());
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_first_of_two_causes_is_told_and_cured_1(pool: PgPool) {
    each_pair_is_told_in_order(pool, &PAIRS[0]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_first_of_two_causes_is_told_and_cured_2(pool: PgPool) {
    each_pair_is_told_in_order(pool, &PAIRS[1]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_first_of_two_causes_is_told_and_cured_3(pool: PgPool) {
    each_pair_is_told_in_order(pool, &PAIRS[2]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_first_of_two_causes_is_told_and_cured_4(pool: PgPool) {
    each_pair_is_told_in_order(pool, &PAIRS[3]).await;
}
