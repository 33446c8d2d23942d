//! A bot that has nothing to do, and its start.

use std::time::Duration;

use sandbox::world::bot::BotProcess;

use crate::table::{Row, ms};
use crate::{id, process};

/// How long it is watched, and left alone before.
const MINUTE: Duration = Duration::from_secs(60);
/// How often it is started.
const STARTS: usize = 7;

/// Starts the bot several times and leaves it running. The first start migrates and is left out.
pub(crate) async fn start_to_ready(bot: &mut BotProcess) -> anyhow::Result<[Row; 1]> {
    bot.start().await?;
    let mut times = Vec::new();
    for _start in 0..STARTS {
        bot.stop().await?;
        times.push(bot.start().await?);
    }
    times.sort_unstable();
    let median = times.get(STARTS / 2).copied().unwrap_or_default();
    let slowest = times.last().copied().unwrap_or_default();
    Ok([Row::new(
        format!("start to ready, migrations done, median of {STARTS}"),
        format!("{} (slowest {})", ms(median), ms(slowest)),
        "< 300 ms",
    )])
}

/// Watches a bot that has just started for a minute, and reads its memory at the end.
pub(crate) async fn idle(bot: &BotProcess) -> anyhow::Result<[Row; 2]> {
    let id = id(bot)?;
    let warm = Duration::from_secs(5);
    wait(warm).await;
    let before = process::cpu(id)?;
    wait(MINUTE - warm).await;
    let used = process::cpu(id)? - before;
    let share = 100.0 * used.as_secs_f64() / (MINUTE - warm).as_secs_f64();
    let (resident, anonymous) = process::memory_kib(id)?;
    let mib = |kib: u64| format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024);
    Ok([
        Row::new(
            "idle memory, 60 s after the start",
            format!(
                "{} resident, {} of it not files",
                mib(resident),
                mib(anonymous)
            ),
            "< 25 MiB",
        ),
        Row::new(
            "idle processor time over 55 s",
            format!("{share:.2} % of a core"),
            "< 0.5 %",
        ),
    ])
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing happens, and that is what is watched"
)]
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}
