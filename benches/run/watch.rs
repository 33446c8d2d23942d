//! One bot that watches 200 clusters with 50 nodes and 500 pods each, which change all the time.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sandbox::frontend::Crowd;
use sandbox::world::World;
use sandbox::world::bot::BotProcess;
use sqlx::PgPool;

use crate::fleet::{FLEET, deploy, infrastructures, until};
use crate::setting::{Setting, database_url};
use crate::table::{Row, ms};
use crate::{id, process};

/// How many clusters are watched, and what each shows.
const CLUSTERS: usize = 200;
const CROWD: Crowd = Crowd {
    nodes: 50,
    pods: 500,
};

/// The pause between two changes of a pod anywhere: one each second in every cluster.
const CHANGE_EVERY: Duration = Duration::from_millis(5);

/// In how many of them somebody waits, and for how long before that is a stall.
const STALLS: usize = 20;
const STALLS_AFTER_S: i64 = 20;

/// How long the process is watched.
const MEASURED: Duration = Duration::from_mins(1);

/// Measures memory, processor time and how late alerts are. Ends the bot.
pub(crate) async fn rows(setting: &Setting, mut bot: BotProcess) -> anyhow::Result<Vec<Row>> {
    let world = &setting.world;
    let pool = PgPool::connect(&database_url()?).await?;
    // Those that never answer were another measurement's.
    sqlx::query("update clusters set phase = 'removed' where name not like 'fleet-%'")
        .execute(&pool)
        .await?;
    deploy(world, &pool, FLEET..CLUSTERS).await?;
    bot.stop().await?;
    let ids = infrastructures(world, CLUSTERS)?;
    for infrastructure in &ids {
        world.front_ends.add_crowd(infrastructure, CROWD);
    }
    sqlx::query("truncate watched, alerts cascade")
        .execute(&pool)
        .await?;
    let stalls_after = STALLS_AFTER_S.to_string();
    let keys = [("WATCH_OFF", ""), ("WATCH_STALL_AFTER_S", &*stalls_after)];
    let bot = {
        let mut bot = setting.bot_with(&keys)?;
        bot.start().await?;
        bot
    };
    let began = Instant::now();
    let seen = "select count(*) from watched";
    until("all clusters are looked at", async || {
        let count: i64 = sqlx::query_scalar(seen).fetch_one(&pool).await?;
        Ok(usize::try_from(count)? >= CLUSTERS)
    })
    .await?;
    let first = began.elapsed();
    let measure = async {
        let process = id(&bot)?;
        let before = process::cpu(process)?;
        wait(MEASURED).await;
        let used = process::cpu(process)? - before;
        let (resident, _) = process::memory_kib(process)?;
        anyhow::Ok((used, resident, delays(world, &ids, &pool).await?))
    };
    let (used, resident, delays) = tokio::select! {
        measured = measure => measured?,
        () = churn(world, &ids) => anyhow::bail!("the changes ended"),
    };
    let mut rows = report(used, resident, &delays);
    rows.push(Row::new(
        "the same: from the start until each was looked at",
        ms(first),
        "",
    ));
    Ok(rows)
}

fn report(used: Duration, resident: u64, delays: &[Duration]) -> Vec<Row> {
    let what = format!(
        "watch of {CLUSTERS} clusters × {} nodes × {} pods, a change in each every second",
        CROWD.nodes, CROWD.pods
    );
    let share = 100.0 * used.as_secs_f64() / MEASURED.as_secs_f64();
    let median = delays.get(delays.len() / 2).copied().unwrap_or_default();
    let slowest = delays.last().copied().unwrap_or_default();
    vec![
        Row::new(
            format!("{what}: memory"),
            format!("{} MiB resident", resident / 1024),
            "< 250 MiB",
        ),
        Row::new(
            "the same: processor time",
            format!("{share:.0} % of a core"),
            "",
        ),
        Row::new(
            format!("the same: {STALLS} stalls, from the threshold to the alert, median"),
            format!("{} (slowest {})", ms(median), ms(slowest)),
            "≤ 5 s",
        ),
    ]
}

/// Changes pods one after the other, for ever.
async fn churn(world: &World, ids: &[String]) {
    let mut ticks = tokio::time::interval(CHANGE_EVERY);
    for number in 0.. {
        ticks.tick().await;
        if let Some(infrastructure) = ids.get(number % ids.len()) {
            // The first pods are those that wait.
            let pod = 1 + number / ids.len() % (CROWD.pods - 1);
            world.front_ends.stir_crowd(infrastructure, pod);
        }
    }
}

/// How late the alerts of some stalls are, the slowest last.
async fn delays(world: &World, ids: &[String], pool: &PgPool) -> anyhow::Result<Vec<Duration>> {
    for infrastructure in ids.iter().take(STALLS) {
        world.front_ends.crowd_waits(infrastructure, 0);
        wait(Duration::from_millis(300)).await;
    }
    let fired =
        "select since, fired_at from alerts where kind = 'scaling' and fired_at is not null";
    until("all stalls are told", async || {
        let rows = sqlx::query(fired).fetch_all(pool).await?;
        Ok(rows.len() >= STALLS)
    })
    .await?;
    let times: Vec<(DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(fired).fetch_all(pool).await?;
    let threshold = chrono::TimeDelta::seconds(STALLS_AFTER_S);
    let delays = times
        .into_iter()
        .map(|(since, fired)| (fired - since - threshold).to_std().unwrap_or_default());
    let mut delays: Vec<Duration> = delays.collect();
    delays.sort();
    Ok(delays)
}

#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}
