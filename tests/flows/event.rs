//! `/pangeo event`: a course has its nodes before it, is left alone meanwhile, and gives them back.

use chrono::{DateTime, Days, TimeDelta, Utc};
use pangeo_bot::domain::clock::Clock;
use sandbox::discord::Message;
use sandbox::world::BOT_USER;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const SCALED: &str =
    "select count(*) from operations where command = 'scale' and state = 'succeeded'";

fn now() -> DateTime<Utc> {
    Clock::system().now()
}

/// A scene with a cluster, and its infrastructure's id.
async fn deployed(pool: PgPool) -> (Scene, String) {
    let scene = Scene::start(pool).await;
    let id = scene.deploys("").await;
    (scene, id)
}

async fn answered(scene: &Scene, name: &str, typed: &str) -> String {
    scene.person(name).runs(typed).await.answer().await.text()
}

/// The options for a course in a month.
fn in_a_month() -> String {
    let day = now().date_naive() + Days::new(30);
    format!("start:\"{day} 09:00 Europe/Paris\" end:\"{day} 17:00 Europe/Paris\"")
}

/// Ana plans a course; the plan.
async fn planned(scene: &Scene, options: &str, reason: &str) -> Message {
    let typed = format!("/pangeo event plan name:geo {options} reason:\"{reason}\"");
    let answer = answered(scene, "ana", &typed).await;
    assert!(answer.contains("plan `"), "{answer}");
    scene.plan(reason).await
}

async fn approved(scene: &Scene, plan: &Message, reason: &str) {
    scene.person("ben").reacts(plan, "✅");
    let recorded = "select count(*) from operations where command = 'event plan'
                    and state = 'succeeded' and options->>'reason' = $1";
    let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
    let began = std::time::Instant::now();
    loop {
        look.tick().await;
        let done: i64 = sqlx::query_scalar(recorded)
            .bind(reason)
            .fetch_one(&scene.pool)
            .await
            .unwrap();
        if done == 1 {
            return;
        }
        assert!(began.elapsed() < crate::scene::PATIENCE, "not recorded");
    }
}

async fn changed(scene: &Scene, sql: &'static str) {
    let done = sqlx::query(sql).execute(&scene.pool).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{sql}");
}

/// Lets the next run be due now.
async fn next_is_due(scene: &Scene) {
    let sql = "update schedules set next_at = now(), whenever = '2020-01-01' where id = (
                   select id from schedules where next_at is not null order by next_at limit 1)";
    changed(scene, sql).await;
}

/// How many worker nodes are on, and how many there may be.
fn nodes(scene: &Scene, id: &str) -> (usize, u64) {
    let nodes = scene.world.front_ends.nodes(id);
    let on = nodes
        .iter()
        .filter(|node| ["idle", "used"].contains(&&*node.state));
    let inputs = scene.world.im.infrastructure("pangeo-geo").unwrap().inputs;
    (on.count(), inputs["max_wn_num"].as_u64().unwrap())
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_course_has_its_nodes_is_left_alone_and_gives_them_back(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let options = format!("{} people:20", in_a_month());
    let plan = planned(&scene, &options, "Sea ice school").await;
    for words in [
        "20 people, each with a notebook of 2 cores, 4 GiB",
        "7 nodes for all, beside 1 in use now; at most 5 may be on",
        "08:30 Europe/Paris (",
        "scale at-least:7 max:8 min-free:7",
        "09:30 Europe/Paris (",
        "scale min-free:0",
        "17:00 Europe/Paris (",
        "locked, but for token renewals",
        "18:00 Europe/Paris (",
        "max:5",
        "raised to 8",
        "approve it before",
        "continuous-image-puller",
        "cores: ",
    ] {
        assert!(plan.says(words), "no {words:?} in {}", plan.text());
    }
    approved(&scene, &plan, "Sea ice school").await;
    let list = answered(&scene, "vic", "/pangeo event list").await;
    assert!(list.contains("20 people on 7 nodes"), "{list}");
    let status = answered(&scene, "vic", "/pangeo status name:geo").await;
    assert!(status.contains("20 people on 7 nodes"), "{status}");
    let all = answered(&scene, "vic", "/pangeo list").await;
    assert!(all.contains("20 people on 7 nodes"), "{all}");

    next_is_due(&scene).await;
    scene.counts(SCALED, 1).await;
    let (on, max) = nodes(&scene, &id);
    assert!(on >= 7 && max == 8, "{on} of {max}");
    let run = scene.sees("by schedule `").await;
    assert!(run.says("with the schedule"), "{}", run.text());

    // It runs: nobody changes anything, but for tokens.
    changed(&scene, "update events set starts_at = now()").await;
    changed(&scene, "update locks set starts_at = now()").await;
    let refused = answered(&scene, "ana", "/pangeo scale name:geo max:9").await;
    assert!(refused.contains("is locked until"), "{refused}");
    assert!(refused.contains("Sea ice school"), "{refused}");
    let ana = scene.person("ana");
    let modal = ana.runs("/pangeo token renew name:geo").await.modal().await;
    let hour = chrono::Duration::minutes(60);
    let token = scene.world.checkin.mint_token(BOT_USER, hour).unwrap();
    let renews = ana.fills(&modal, &[("token", &token)]).await.answer().await;
    assert!(renews.says("plan `"), "{}", renews.text());

    // Its own lock does not keep it from going back, in two steps.
    next_is_due(&scene).await;
    scene.counts(SCALED, 2).await;
    assert_eq!(nodes(&scene, &id).1, 8);
    next_is_due(&scene).await;
    scene.counts(SCALED, 3).await;
    let (on, max) = nodes(&scene, &id);
    assert_eq!(max, 5);
    assert!(on <= 5, "{on} nodes are on");
    let left = "select count(*) from schedules where next_at is not null";
    scene.counts(left, 0).await;
    scene.settles().await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_course_that_has_begun_gets_its_nodes_at_once(pool: PgPool) {
    let (scene, id) = deployed(pool).await;
    let at = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M").to_string();
    let (start, end) = (now() - TimeDelta::hours(1), now() + TimeDelta::hours(5));
    let options = format!("start:\"{}\" end:\"{}\" people:12", at(start), at(end));
    let plan = planned(&scene, &options, "Begun").await;
    assert!(plan.says("it has begun already"), "{}", plan.text());
    assert!(plan.says("4 nodes for all"), "{}", plan.text());
    approved(&scene, &plan, "Begun").await;
    scene.counts(SCALED, 1).await;
    assert!(nodes(&scene, &id).0 >= 4);
    let list = answered(&scene, "vic", "/pangeo event list name:geo").await;
    assert!(list.contains("runs until"), "{list}");
    // Cancelled after its nodes came: who cancels is told that they are still there.
    let event = event_id(&list);
    let typed = format!("/pangeo event cancel event:{event}");
    let cancelled = answered(&scene, "ana", &typed).await;
    assert!(cancelled.contains("is cancelled"), "{cancelled}");
    let told = scene.sees("geo: an event is cancelled").await;
    assert!(told.says("/pangeo scale name:geo"), "{}", told.text());
    scene.settles().await;
    scene.nothing_unexpected();
}

fn event_id(list: &str) -> String {
    let id = list.split("(`").nth(1).and_then(|id| id.split('`').next());
    id.unwrap_or_else(|| panic!("no event in {list}"))
        .to_owned()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_course_is_cancelled_with_its_lock_and_its_runs(pool: PgPool) {
    let (scene, _id) = deployed(pool).await;
    let month = in_a_month();
    let plan = planned(&scene, &format!("{month} people:20"), "Winter school").await;
    approved(&scene, &plan, "Winter school").await;
    let again = planned(&scene, &format!("{month} people:3"), "Summer school").await;
    let words = "overlaps with another event";
    assert!(again.says(words), "no {words:?} in {}", again.text());
    answered(&scene, "ana", "/pangeo scale name:geo max:6").await;
    let scale = scene.plan("Scale `geo`").await;
    let words = "an event is planned on it: ";
    assert!(scale.says(words), "no {words:?} in {}", scale.text());

    // None of its runs is removed alone; its lock is lifted alone, and everybody sees it.
    let schedules = answered(&scene, "vic", "/pangeo schedule list").await;
    let run = schedules.split('`').nth(1).unwrap();
    let typed = format!("/pangeo schedule remove schedule:{run}");
    let refused = answered(&scene, "ana", &typed).await;
    assert!(refused.contains("is a run of event"), "{refused}");
    let unlocked = answered(&scene, "ana", "/pangeo unlock name:geo").await;
    assert!(unlocked.contains("goes on without its lock"), "{unlocked}");
    let list = answered(&scene, "vic", "/pangeo event list").await;
    assert!(list.contains("(its lock was lifted)"), "{list}");
    let list = answered(&scene, "vic", "/pangeo event list").await;
    let cancel = format!("/pangeo event cancel event:{}", event_id(&list));
    let completed = scene
        .person("ana")
        .completes("/pangeo event cancel event:")
        .await;
    assert!(
        completed.iter().any(|(name, _)| name.contains("Winter")),
        "{completed:?}"
    );
    let cancelled = answered(&scene, "ana", &cancel).await;
    assert!(cancelled.contains("is cancelled"), "{cancelled}");
    let told = scene.sees("geo: an event is cancelled").await;
    assert!(!told.says("scaled up"), "{}", told.text());
    for sql in [
        "select count(*) from schedules where next_at is not null",
        "select count(*) from locks where lifted_at is null",
        "select count(*) from events where ended_at is null",
    ] {
        scene.counts(sql, 0).await;
    }
    let again = answered(&scene, "ana", &cancel).await;
    assert!(again.contains("there is no event"), "{again}");
    let list = answered(&scene, "vic", "/pangeo event list").await;
    assert!(list.contains("no event runs or is to come"), "{list}");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_can_not_be_held_is_told_at_once(pool: PgPool) {
    let (scene, _id) = deployed(pool).await;
    let month = in_a_month();
    for (options, words) in [
        (
            "start:2098-01-02 end:2098-01-01 people:3".to_owned(),
            "is not after the start",
        ),
        (
            "start:2020-01-01 end:2020-01-02 people:3".to_owned(),
            "it is over since",
        ),
        (
            "start:2020-01-01 end:2098-01-02 people:3".to_owned(),
            "31 days at most",
        ),
        (
            "start:2098-01-01 end:2098-01-02 people:3".to_owned(),
            "within a year",
        ),
        (
            format!("{month} people:3 notebook-cpus:16"),
            "a notebook asks for 16 cores",
        ),
        (
            format!("{month} people:3 notebook-memory:64GB"),
            "a notebook asks for 2 cores",
        ),
        (format!("{month} people:1000 workers:100"), "500 at most"),
    ] {
        let typed = format!("/pangeo event plan name:geo {options}");
        let answer = answered(&scene, "ana", &typed).await;
        assert!(answer.contains(words), "{options}: {answer}");
    }
    let typed = format!("/pangeo event plan name:sea {month} people:3");
    let answer = answered(&scene, "ana", &typed).await;
    assert!(answer.contains("no cluster `sea`"), "{answer}");
    let plans: i64 = sqlx::query_scalar("select count(*) from plans where command <> 'deploy'")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(plans, 0);
    scene.nothing_unexpected();
}
