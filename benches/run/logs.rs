//! The end of a log of 2 GB, and a search in it.

use std::time::Instant;

use anyhow::Context as _;
use sandbox::world::bot::BotProcess;

use crate::setting::Setting;
use crate::table::{Row, ms};
use crate::{id, process};

const BYTES: u64 = 2_000_000_000;

/// Reads the end of CLUES' log of the cluster `geo`, which has grown.
pub(crate) async fn rows(setting: &Setting, bot: &BotProcess) -> anyhow::Result<[Row; 2]> {
    let world = &setting.world;
    let geo = world.im.infrastructure("pangeo-geo").context("find geo")?;
    let lines: String = (0..2000)
        .map(|n| format!("[PLUGIN-IM];ERROR;2026-11-24 20:14:05,123;Error number {n}\n"))
        .collect();
    world.front_ends.grow_clues_log(&geo.id, BYTES, &lines)?;
    let ask = async |typed: &str, seen: &str| -> anyhow::Result<_> {
        let vic = world.discord.person("vic");
        let began = Instant::now();
        let answer = vic.runs(typed).await.answer().await;
        let took = began.elapsed();
        anyhow::ensure!(answer.says(seen), "{typed}: {}", answer.text());
        Ok(took)
    };
    // The connection to the front end is open already when the second one asks.
    ask("/pangeo logs clues name:geo lines:1", "number 1999").await?;
    let (before, _) = process::memory_kib(id(bot)?)?;
    let end = ask("/pangeo logs clues name:geo lines:100", "number 1999").await?;
    let (after, _) = process::memory_kib(id(bot)?)?;
    let searched = "/pangeo logs clues name:geo grep:no-such-thing";
    let search = ask(searched, "searched its last 64 MiB").await?;
    let grown = after.saturating_sub(before) / 1024;
    let log = "a log of 2 GB on a front end";
    Ok([
        Row::new(
            format!("the last 100 lines of {log}"),
            format!("{}, {grown} MiB more resident", ms(end)),
            "no memory",
        ),
        Row::new(
            format!("a search in vain in the last 64 MiB of {log}"),
            ms(search),
            "",
        ),
    ])
}
