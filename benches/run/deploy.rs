//! The bot's own time in a deploy.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sandbox::discord::Message;
use sandbox::world::bot::BotProcess;

use crate::setting::Setting;
use crate::table::{Row, ms};
use crate::{id, process};

/// How long the deploy may take.
const PATIENCE: Duration = Duration::from_secs(90);
const HOST: &str = "geo.vm.fedcloud.eu";

/// What the bot has counted so far.
#[derive(Clone, Copy)]
struct Counted {
    steps: f64,
    calls: f64,
    attempts: f64,
    cpu: Duration,
}

impl Counted {
    async fn read(bot: &BotProcess) -> anyhow::Result<Self> {
        let url = format!("http://{}/metrics", bot.settings().web);
        let text = reqwest::get(url).await?.text().await?;
        let sum = |name: &str| {
            text.lines()
                .filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '))
                .filter_map(|(_labels, value)| value.parse::<f64>().ok())
                .sum::<f64>()
        };
        Ok(Self {
            steps: sum("pangeo_bot_step_seconds_sum{"),
            calls: sum("pangeo_bot_call_seconds_sum{"),
            attempts: sum("pangeo_bot_step_seconds_count{"),
            cpu: process::cpu(id(bot)?)?,
        })
    }
}

/// Deploys once, as ana and ben would.
pub(crate) async fn rows(setting: &Setting, bot: &BotProcess) -> anyhow::Result<[Row; 2]> {
    let discord = &setting.world.discord;
    setting.world.prepare_host(HOST);
    let ana = discord.person("ana");
    let typed = format!("/pangeo dns set-secret host:{HOST}");
    let form = ana.runs(&typed).await.modal().await;
    let secret = [("secret", sandbox::world::DNS_SECRET)];
    ana.fills(&form, &secret).await.answer().await;
    let typed = format!("/pangeo deploy name:geo host:{HOST} auth:native");
    ana.runs(&typed).await.answer().await;
    // The bot adds its own reactions last.
    let plan = |m: &Message| m.says("Create cluster `geo`") && m.reactions.len() == 2;
    let plan = discord.wait_for_message(plan, PATIENCE).await?;

    let (before, began) = (Counted::read(bot).await?, Instant::now());
    discord.person("ben").reacts(&plan, "✅");
    let ended = |m: &Message| m.says("succeeded") && m.says(HOST);
    let ended = discord.wait_for_message(ended, PATIENCE).await;
    ended.context("the deploy did not end well")?;
    let (after, took) = (Counted::read(bot).await?, began.elapsed());

    let seconds = |value: f64| ms(Duration::from_secs_f64(value.max(0.0)));
    let own = (after.steps - before.steps) - (after.calls - before.calls);
    let attempts = after.attempts - before.attempts;
    Ok([
        Row::new(
            "own time in a deploy",
            format!(
                "{} in {attempts} attempts of steps ({} outside)",
                seconds(own),
                seconds(after.calls - before.calls)
            ),
            "< 300 ms",
        ),
        Row::new(
            "processor time in a deploy",
            format!(
                "{} ({} from ✅ to URL)",
                ms(after.cpu - before.cpu),
                ms(took)
            ),
            "",
        ),
    ])
}
