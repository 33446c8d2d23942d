//! `/pangeo schedule`: a command that runs by itself, and never without anybody knowing.

use chrono::Days;
use pangeo_bot::domain::clock::Clock;
use sandbox::discord::Message;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::kill::{Point, arm, kill_there};
use crate::scene::{PATIENCE, Scene};

async fn deployed(pool: PgPool) -> Scene {
    let scene = Scene::start(pool).await;
    scene.deploys("").await;
    scene
}

async fn answered(scene: &Scene, name: &str, typed: &str) -> String {
    scene.person(name).runs(typed).await.answer().await.text()
}

/// Ana schedules a command and ben approves it; the summary.
async fn schedules(scene: &Scene, when: &str, command: &str, reason: &str) -> Message {
    let typed = format!(
        "/pangeo schedule add name:geo when:\"{when}\" command:\"{command}\" reason:\"{reason}\""
    );
    let answer = answered(scene, "ana", &typed).await;
    assert!(answer.contains("plan `"), "{answer}");
    let plan = scene.plan(reason).await;
    scene.person("ben").reacts(&plan, "✅");
    let thread =
        |message: &Message| message.says("schedule add geo · succeeded") && message.id > plan.id;
    let told = scene.world.discord.wait_for_message(thread, PATIENCE).await;
    drop(told.unwrap());
    plan
}

/// Lets the next run be due now, or a while from now.
async fn due(scene: &Scene, reason: &str, seconds: i32) {
    let sql = "update schedules set next_at = now() + make_interval(secs => $2) where reason = $1";
    let done = sqlx::query(sql)
        .bind(reason)
        .bind(f64::from(seconds))
        .execute(&scene.pool)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
}

const STARTED: &str = "select count(*) from operations where command = 'scale'";

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_command_runs_by_itself_and_tells_before(pool: PgPool) {
    let scene = deployed(pool).await;
    refused(&scene).await;
    let plan = schedules(
        &scene,
        "0 8 * * 1-5 Europe/Paris",
        "scale max:7",
        "Winter school",
    )
    .await;
    for words in [
        "scale max:7",
        "08:00 Europe/Paris (",
        "and so on",
        "until",
        "max",
        "if it ran now",
    ] {
        assert!(plan.says(words), "{words}: {}", plan.text());
    }
    let list = answered(&scene, "vic", "/pangeo schedule list").await;
    assert!(list.contains("scale max:7 name:geo"), "{list}");
    let status = answered(&scene, "vic", "/pangeo status name:geo").await;
    assert!(status.contains("Winter school"), "{status}");

    // It is told before it runs, and can be skipped once.
    due(&scene, "Winter school", 300).await;
    let soon = scene.sees_button("Skip this time").await;
    assert!(
        soon.says("scale max:7 name:geo") && soon.says("Winter school"),
        "{}",
        soon.text()
    );
    let refused = scene
        .person("vic")
        .presses_on(&soon, "Skip this time")
        .await;
    assert!(refused.answer().await.says("approver"));
    let skipped = scene
        .person("ben")
        .presses_on(&soon, "Skip this time")
        .await;
    assert!(skipped.answer().await.says("is skipped"));
    scene.sees("scale is skipped once").await;
    let again = scene
        .person("ben")
        .presses_on(&soon, "Skip this time")
        .await;
    assert!(again.answer().await.says("is over, skipped already"));
    let sql = "update schedules set skip_at = now(), next_at = now()";
    sqlx::raw_sql(sql).execute(&scene.pool).await.unwrap();
    scene
        .counts(
            "select count(*) from schedules where last_result like 'skipped%'",
            1,
        )
        .await;

    // A lock blocks it, as any other change.
    let lock = "/pangeo lock name:geo end:2099-01-01 reason:Exam";
    answered(&scene, "ana", lock).await;
    due(&scene, "Winter school", 0).await;
    let told = scene.sees("scale did not run").await;
    assert!(told.says("is locked until"), "{}", told.text());
    answered(&scene, "ana", "/pangeo unlock name:geo").await;

    // Who may not run it by hand does not run it by a schedule.
    scene.world.discord.set_roles("ana", &["viewer"]);
    due(&scene, "Winter school", 0).await;
    scene.sees("is not `operator` any more").await;
    scene.world.discord.set_roles("ana", &["operator"]);

    // What nobody of those who approved it could approve any more does not run either.
    scene.world.discord.set_roles("ben", &["viewer"]);
    due(&scene, "Winter school", 0).await;
    let told = scene.sees("too few of those who approved it").await;
    assert!(told.says("approver"), "{}", told.text());
    scene.world.discord.set_roles("ben", &["approver"]);

    // It is too late for a run that was due an hour ago.
    due(&scene, "Winter school", -3600).await;
    scene.sees("the bot was away").await;
    scene.counts(STARTED, 0).await;

    due(&scene, "Winter school", 0).await;
    let succeeded = scene.sees("scale geo · succeeded").await;
    assert!(succeeded.says("scale"), "{}", succeeded.text());
    let plan = scene.sees("by schedule `").await;
    assert!(plan.says("with the schedule"), "{}", plan.text());
    scene.counts(STARTED, 1).await;
    let list = answered(&scene, "vic", "/pangeo schedule list name:geo").await;
    assert!(
        list.contains("succeeded") && list.contains("its plan"),
        "{list}"
    );

    let id = list.split('`').nth(1).unwrap().to_owned();
    let removed = answered(
        &scene,
        "ben",
        &format!("/pangeo schedule remove schedule:{id}"),
    )
    .await;
    assert!(removed.contains("is removed"), "{removed}");
    scene.sees("geo: a schedule is removed").await;
    let list = answered(&scene, "vic", "/pangeo schedule list").await;
    assert!(list.contains("nothing runs by a schedule"), "{list}");
    scene.settles().await;
    scene.nothing_unexpected();
}

/// What can't be scheduled is told at once.
async fn refused(scene: &Scene) {
    for (when, command, words) in [
        ("soon after", "scale max:7", "says neither"),
        ("2020-01-01 08:00", "scale max:7", "no such time"),
        ("0,30 8 * * *", "scale max:7", "too often"),
        ("0 8 * * *", "destroy", "does not run by a schedule"),
        ("0 8 * * *", "fly", "no command"),
        ("0 8 * * *", "scale max:many", "whole number"),
        ("0 8 * * *", "scale name:sea max:7", "another cluster"),
    ] {
        let typed = format!(
            "/pangeo schedule add name:geo when:\"{when}\" command:\"{command}\" reason:Course"
        );
        let answer = answered(scene, "ana", &typed).await;
        assert!(answer.contains(words), "{when} {command}: {answer}");
    }
    let plans: i64 = sqlx::query_scalar("select count(*) from plans where command <> 'deploy'")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(plans, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_run_starts_once_whoever_dies(pool: PgPool) {
    let mut scene = deployed(pool).await;
    let day = Clock::system().now().date_naive() + Days::new(30);
    for max in [7, 8, 9] {
        let (when, command) = (format!("{day} 08:00"), format!("scale max:{max}"));
        schedules(&scene, &when, &command, &format!("Course {max}")).await;
    }
    // Killed with the plan of the run made and not kept, and kept and not started.
    for (point, reason, runs) in [(Point::Run, "Course 7", 1), (Point::Start, "Course 8", 2)] {
        arm(&scene.pool, point).await;
        due(&scene, reason, 0).await;
        kill_there(&mut scene, point).await;
        scene.bot.start().await.unwrap();
        ran(&scene, runs).await;
    }
    // Of two bots one makes it.
    let mut second = scene.second_bot().await;
    due(&scene, "Course 9", 0).await;
    ran(&scene, 3).await;
    second.stop().await.unwrap();
    scene.settles().await;
    scene.nothing_unexpected();
}

/// So many runs have succeeded, each with one plan and one operation.
async fn ran(scene: &Scene, runs: i64) {
    let succeeded =
        "select count(*) from operations where command = 'scale' and state = 'succeeded'";
    scene.counts(succeeded, runs).await;
    scene.counts(STARTED, runs).await;
    scene
        .counts("select count(*) from plans where command = 'scale'", runs)
        .await;
}
