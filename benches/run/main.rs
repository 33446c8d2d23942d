//! `make bench`: what `docs/` promises, measured with the release build of the unmodified bot in a
//! world of the sandbox, and printed as one table. Nothing is asserted: a shared machine is slow
//! now and then, and a person reads the table.
//!
//! | row | how |
//! |---|---|
//! | acknowledge | the sandbox's Discord sends `/pangeo help` at a steady rate and takes the time from each dispatch to the callback; a bare serenity bot gets the same in a Discord of its own, before and after |
//! | processor time | of the bot's process in `/proc`, over the same commands |
//! | own time in a deploy | from the bot's `/metrics`, before the approval and after the end: the time of all attempts of steps (with what is read and written for them) less the time of all calls to outside systems |
//! | idle | the process in `/proc`, a minute after its start |
//! | start to ready | from starting the process to the first 200 of `/readyz`, median of some |
//! | log of 2 GB | the time from the command to its answer, and the process's memory before and after |
//! | token on 50 front ends | the time of the step that writes, from the rows; Ansible's playbook on the same front ends right after it |
//! | status of 100 clusters | the time from the command to its answer; half of the clusters answer |
//! | simulated weeks | the product's rules over a simulated cluster, look by look, as in `tests/week.rs` |
//! | watch | 200 clusters, each with a crowd of 50 nodes and 500 pods of which one changes each second: the bot's process in `/proc` after a minute, and for 20 of them the time from the threshold to the row of the alert |
//! | days against the bot | a bot of its own looks at seven clusters that live a day of the week each, in pretend time, and at one that breaks at random, see `tests/week/live.rs` |
//! | redaction | two logs through the redactor, on one core |
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

mod burst;
mod days;
mod deploy;
mod fleet;
mod logs;
mod process;
mod redaction;
mod rest;
mod setting;
mod table;
mod watch;
mod week;

use anyhow::Context as _;

use setting::Setting;

/// Measures everything, in about twenty minutes; `scripts/bench days` only the days against the bot,
/// which are ten of them, and `scripts/bench quick` all but these.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{}", setting::machine()?);
    let is_asked = |part: &str| std::env::args().any(|word| word == part);
    if is_asked("days") {
        println!("\n{}", table::text(&days::rows().await?));
        return Ok(());
    }
    let mut rows = redaction::rows().to_vec();
    let measured = measure(&mut rows, is_asked("quick")).await;
    // What was measured before something failed is worth a look, too.
    println!("\n{}", table::text(&rows));
    measured
}

/// Measures one thing after the other.
async fn measure(rows: &mut Vec<table::Row>, is_quick: bool) -> anyhow::Result<()> {
    rows.extend(week::rows());
    let setting = Setting::start().await?;
    let mut bot = setting.bot()?;
    rows.extend(rest::start_to_ready(&mut bot).await?);
    rows.extend(rest::idle(&bot).await?);
    rows.extend(deploy::rows(&setting, &bot).await?);
    rows.extend(logs::rows(&setting, &bot).await?);
    rows.extend(burst::rows(&setting, &mut bot).await?);
    // The burst has ended it.
    bot.start().await?;
    rows.extend(fleet::rows(&setting).await?);
    rows.extend(watch::rows(&setting, bot).await?);
    if !is_quick {
        rows.extend(days::rows().await?);
    }
    Ok(())
}

/// The process of a bot that runs.
fn id(bot: &sandbox::world::bot::BotProcess) -> anyhow::Result<u32> {
    bot.id().context("the bot does not run")
}
