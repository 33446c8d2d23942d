//! Where it is measured: the machine, and a world with a bot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use pangeo_bot::domain::clock::Clock;
use sandbox::discord::{DiscordOptions, RateLimits};
use sandbox::world::bot::{BotProcess, find_binary};
use sandbox::world::{World, WorldOptions};

/// What the figures depend on, as a line.
pub(crate) fn machine() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(": "))
        .map_or("unknown", |(_field, model)| model);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let date = Clock::system().now().format("%Y-%m-%d %H:%M");
    let commit = std::env::var_os("BENCH_COMMIT").unwrap_or_else(|| "unknown".into());
    Ok(format!(
        "{cores} cores ({model}), load {load} before, {date} UTC, commit {}",
        commit.display()
    ))
}

/// A world, and the database for its bots.
pub(crate) struct Setting {
    pub(crate) world: Arc<World>,
    dir: PathBuf,
}

impl Drop for Setting {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.dir);
        drop(removed);
    }
}

/// A Discord without rate limits, since Discord's own would be what is measured.
pub(crate) fn discord() -> DiscordOptions {
    DiscordOptions {
        rate_limits: RateLimits::Relaxed,
        ..DiscordOptions::default()
    }
}

impl Setting {
    /// A fast world that keeps nothing.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let name = format!("bench-{}", uuid::Uuid::new_v4().simple());
        let dir = std::env::temp_dir().join(name);
        let options = WorldOptions {
            discord: discord(),
            ..WorldOptions::for_tests(&dir)
        };
        let world = World::start(options).await?;
        Ok(Self { world, dir })
    }

    /// The folder of the world, which goes with it.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The release build of the bot, not started yet.
    pub(crate) fn bot(&self) -> anyhow::Result<BotProcess> {
        self.bot_with(&[])
    }

    /// The same with variables that set keys of the configuration.
    pub(crate) fn bot_with(&self, keys: &[(&str, &str)]) -> anyhow::Result<BotProcess> {
        let any = ([127, 0, 0, 1], 0).into();
        let url = database_url()?;
        let mut settings = self.world.bot_settings("bot", &url, any, "")?;
        let keys = keys
            .iter()
            .map(|(key, value)| (format!("PANGEO_BOT_{key}"), (*value).to_owned()));
        settings.variables.extend(keys);
        let log = Some(self.dir.join("bot.log"));
        Ok(BotProcess::new(find_binary()?, settings, log))
    }
}

/// Where the bot's rows are.
pub(crate) fn database_url() -> anyhow::Result<String> {
    std::env::var_os("DATABASE_URL")
        .and_then(|url| url.into_string().ok())
        .context("set DATABASE_URL to an empty database; `make bench` does")
}

/// A program that was built beside the bot.
pub(crate) fn beside_the_bot(name: &str) -> anyhow::Result<PathBuf> {
    let bot = find_binary()?;
    let path = bot.parent().unwrap_or(Path::new(".")).join(name);
    anyhow::ensure!(path.exists(), "{} is not built", path.display());
    Ok(path)
}
