//! How fast commands are acknowledged, beside a bare serenity bot.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sandbox::discord::Discord;
use sandbox::world::bot::BotProcess;
use tokio::process::{Child, Command};

use crate::process;
use crate::setting::{self, Setting, beside_the_bot};
use crate::table::{Row, ms};

const RATE_PER_S: u32 = 200;
const SECONDS: u32 = 30;
/// How long a bot has to connect and register.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was seen of one bot.
struct Seen {
    /// Sorted.
    times: Vec<Duration>,
    cpu: Duration,
    memory_kib: u64,
}

impl Seen {
    fn percentile(&self, percent: usize) -> Duration {
        let at = self.times.len() * percent / 100;
        self.times.get(at).copied().unwrap_or_default()
    }

    /// Both, as if they were one.
    fn with(mut self, other: &Self) -> Self {
        self.times.extend(&other.times);
        self.times.sort_unstable();
        self.cpu = (self.cpu + other.cpu) / 2;
        self.memory_kib = self.memory_kib.max(other.memory_kib);
        self
    }
}

/// One bot after the other: the bare one in a Discord of its own, before and after ours, so that a
/// machine that is busy with something else shows in the difference of its two.
pub(crate) async fn rows(setting: &Setting, bot: &mut BotProcess) -> anyhow::Result<Vec<Row>> {
    let before = bare().await.context("measure the bare bot")?;
    let ours = ours(setting, bot).await.context("measure our bot")?;
    let after = bare().await.context("measure the bare bot again")?;
    let pair = |percent| {
        let (before, after) = (before.percentile(percent), after.percentile(percent));
        format!("{} and {}", ms(before), ms(after))
    };
    let apart = format!("p50 {}, p99 {}", pair(50), pair(99));
    let bare = before.with(&after);
    let sent = RATE_PER_S * SECONDS;
    let row = |what: &str, ours: Duration, bare: Duration, wanted: String| {
        let ratio = ours.as_secs_f64() / bare.as_secs_f64().max(1e-6);
        let seen = format!("{} (bare {}, × {ratio:.2})", ms(ours), ms(bare));
        Row::new(what, seen, wanted)
    };
    let acknowledge = |percent| {
        let (ours, bare) = (ours.percentile(percent), bare.percentile(percent));
        let wanted = format!("≤ 1.5 × bare = {}", ms(bare.mul_f64(1.5)));
        row(&format!("acknowledge p{percent}"), ours, bare, wanted)
    };
    Ok(vec![
        Row::new(
            format!("acknowledged of {sent}, at {RATE_PER_S}/s for {SECONDS} s"),
            format!(
                "{} (bare {} of {})",
                ours.times.len(),
                bare.times.len(),
                2 * sent
            ),
            "all",
        ),
        acknowledge(50),
        acknowledge(99),
        Row::new("the bare bot before and after ours", apart, ""),
        row(
            "processor time each, with the whole answer",
            ours.cpu,
            bare.cpu,
            String::new(),
        ),
        Row::new(
            "memory after it",
            format!(
                "{} MiB (bare {} MiB)",
                ours.memory_kib / 1024,
                bare.memory_kib / 1024
            ),
            "",
        ),
    ])
}

async fn ours(setting: &Setting, bot: &mut BotProcess) -> anyhow::Result<Seen> {
    let discord = &setting.world.discord;
    discord.wait_for_command("pangeo").await?;
    let seen = measure(discord, "/pangeo help", crate::id(bot)?).await?;
    bot.stop().await?;
    Ok(seen)
}

async fn bare() -> anyhow::Result<Seen> {
    let discord = Discord::start(setting::discord()).await?;
    let mut bot = start_bare(&discord)?;
    tokio::time::timeout(PATIENCE, discord.wait_for_command("bare"))
        .await
        .context("the bare bot did not register")??;
    let id = bot.id().context("the bare bot does not run")?;
    let seen = measure(&discord, "/bare", id).await?;
    bot.kill().await?;
    Ok(seen)
}

fn start_bare(discord: &Discord) -> anyhow::Result<Child> {
    let program = beside_the_bot("examples/bare-serenity")?;
    Command::new(&program)
        .args([
            discord.url(),
            &discord.guild_id().to_string(),
            &discord.application_id().to_string(),
        ])
        .env("DISCORD_TOKEN", discord.token())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {}", program.display()))
}

async fn measure(discord: &Arc<Discord>, typed: &str, id: u32) -> anyhow::Result<Seen> {
    // Connections and caches are made by the first ones.
    discord.burst(typed, 50, 1).await?;
    let before = process::cpu(id)?;
    let mut times = discord.burst(typed, RATE_PER_S, SECONDS).await?;
    let cpu = process::cpu(id)? - before;
    times.sort_unstable();
    Ok(Seen {
        times,
        cpu: cpu / (RATE_PER_S * SECONDS),
        memory_kib: process::memory_kib(id)?.0,
    })
}
