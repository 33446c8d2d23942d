//! The least that a serenity bot can do: it defers each command and completes its answer.
//!
//! `make bench` measures it beside ours, on the same machine and in the same run, so that what the
//! machine and serenity take can be told from what we add. It takes three arguments: the base of
//! the sandbox's Discord, the guild, and the application; and the token from `DISCORD_TOKEN`.

use anyhow::Context as _;
use serenity::all::{
    ApplicationId, CommandInteraction, Context, CreateCommand, EditInteractionResponse,
    EventHandler, GatewayIntents, GuildId, Interaction, Ready,
};
use serenity::client::ClientBuilder;
use serenity::http::HttpBuilder;

/// About as long as our `/pangeo help`.
const ANSWER: &str = "Nothing is deployed, and there is nothing to be seen here.";

struct Bare {
    guild: GuildId,
}

#[serenity::async_trait]
impl EventHandler for Bare {
    async fn ready(&self, context: Context, _ready: Ready) {
        let command = CreateCommand::new("bare").description("Answers");
        let registered = self.guild.set_commands(&context, vec![command]).await;
        drop(registered);
    }

    async fn interaction_create(&self, context: Context, interaction: Interaction) {
        if let Interaction::Command(command) = interaction {
            let answered = answer(&context, &command).await;
            drop(answered);
        }
    }
}

async fn answer(context: &Context, command: &CommandInteraction) -> serenity::Result<()> {
    command.defer_ephemeral(context).await?;
    let answer = EditInteractionResponse::new().content(ANSWER);
    command.edit_response(context, answer).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |what: &'static str| arguments.next().context(what);
    let base = argument("the base of Discord")?;
    let guild: u64 = argument("the guild")?.parse()?;
    let application: u64 = argument("the application")?.parse()?;
    let token = std::env::var_os("DISCORD_TOKEN").context("set DISCORD_TOKEN")?;
    let token = token.into_string().ok().context("read DISCORD_TOKEN")?;
    let http = HttpBuilder::new(&token)
        .application_id(ApplicationId::new(application))
        .proxy(base)
        .ratelimiter_disabled(true)
        .build();
    let bare = Bare {
        guild: GuildId::new(guild),
    };
    ClientBuilder::new_with_http(http, GatewayIntents::GUILDS)
        .event_handler(bare)
        .await?
        .start()
        .await?;
    Ok(())
}
