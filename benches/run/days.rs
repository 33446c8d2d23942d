//! A week of a normal life, and random faults in it, against the bot itself in pretend time: seven
//! clusters live one day each, Monday to Sunday; then one of them breaks again and again.
//!
//! It has a world and a database of its own, since its bot looks at clusters all the time.

#[path = "../../tests/week/live.rs"]
mod live;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use live::{Watched, keys};
use sandbox::discord::Message;
use sandbox::world::World;
use sqlx::PgPool;

use crate::fleet::asks_for;
use crate::setting::{Setting, database_url};
use crate::table::Row;

/// The database.
const DATABASE: &str = "bench_days";
/// How many times as fast pretend time goes, the fastest of the sandbox.
const PACE: u32 = 600;
/// The days of a week, each lived by a cluster.
const DAYS: u32 = 7;
/// How many faults.
const FAULTS: usize = 30;
/// How long anything else may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Lives and breaks, in about ten minutes.
pub(crate) async fn rows() -> anyhow::Result<Vec<Row>> {
    let setting = Setting::start().await?;
    let url = own_database().await?;
    let keys = keys(PACE);
    let keys = keys.iter().map(|(key, value)| (*key, value.as_str()));
    let keys: Vec<(&str, &str)> = [("DATABASE_URL", url.as_str())]
        .into_iter()
        .chain(keys)
        .collect();
    let mut bot = setting.bot_with(&keys)?;
    bot.start().await?;
    let pool = PgPool::connect(&url).await?;
    let world = &setting.world;
    world.discord.wait_for_command("pangeo").await?;
    let mut clusters = Vec::new();
    for day in 0..DAYS {
        let name = format!("day-{day}");
        let id = deploy(world, &name).await?;
        clusters.push(Watched {
            world,
            pool: &pool,
            name,
            id,
            pace: PACE,
        });
    }
    let day = Duration::from_hours(24);
    let lives = (0..DAYS).zip(&clusters);
    let lives = lives.map(|(number, cluster)| cluster.lives(day, number));
    let told: usize = try_join_all(lives).await?.iter().map(Vec::len).sum();
    for cluster in &clusters {
        world.front_ends.set_load(&cluster.id, None);
    }
    let first = clusters.first().context("a cluster")?;
    let began = Instant::now();
    let found = first.suffers(FAULTS, 1).await?;
    let took = began.elapsed().as_secs();
    bot.stop().await?;
    let right = found.alerts.saturating_sub(found.invented.len());
    Ok(vec![
        Row::new(
            format!("{DAYS} days of normal elasticity at {PACE} × against the bot"),
            format!("{told} alerts"),
            "0 alerts",
        ),
        Row::new(
            format!("{FAULTS} random faults at {PACE} × against the bot: recall"),
            format!(
                "{} of {} found, the last after {:.1} s, in {took} s{}",
                found.faults - found.missed.len(),
                found.faults,
                found.latest_s,
                unless_none(&found.missed)
            ),
            "all",
        ),
        Row::new(
            "the same: precision",
            format!(
                "{right} of {} alerts right{}",
                found.alerts,
                unless_none(&found.invented)
            ),
            "all",
        ),
    ])
}

fn unless_none(all: &[impl AsRef<str>]) -> String {
    let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    if all.is_empty() {
        String::new()
    } else {
        format!(": {}", all.join(", "))
    }
}

/// A database beside that of the other figures; its URL.
async fn own_database() -> anyhow::Result<String> {
    let base = database_url()?;
    let pool = PgPool::connect(&base).await?;
    sqlx::raw_sql("drop database if exists bench_days")
        .execute(&pool)
        .await?;
    sqlx::raw_sql("create database bench_days")
        .execute(&pool)
        .await?;
    let mut url = url::Url::parse(&base)?;
    url.set_path(DATABASE);
    Ok(url.into())
}

/// Deploys a cluster; its infrastructure.
async fn deploy(world: &World, name: &str) -> anyhow::Result<String> {
    asks_for(world, name).await?;
    let ready = format!("{name} is ready");
    let is_ready = |m: &Message| m.says(&ready);
    world.discord.wait_for_message(is_ready, PATIENCE).await?;
    let view = world.im.infrastructure(&format!("pangeo-{name}"));
    Ok(view.context("find the cluster")?.id)
}
