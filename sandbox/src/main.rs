//! The sandbox's binary: `pangeo-sandbox run` starts the world, the page and the bot.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use sandbox::discord::DiscordOptions;
use sandbox::world::bot::BotProcess;
use sandbox::world::panel::Panel;
use sandbox::world::{PREPARED_HOST, Speed, World, WorldOptions};
use tokio::sync::Mutex;

/// A simulation of everything around pangeo-bot.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the world with its page, and the bot in it.
    Run {
        /// Where state is kept between runs.
        #[arg(long, default_value = ".sandbox")]
        state: PathBuf,
        /// The bot's binary.
        #[arg(long, default_value = "target/debug/pangeo-bot")]
        bot: PathBuf,
        /// Where the page listens.
        #[arg(long, default_value = "127.0.0.1:8000")]
        listen: SocketAddr,
        /// Where the bot's own pages listen.
        #[arg(long, default_value = "127.0.0.1:8001")]
        bot_web: SocketAddr,
        /// The bot's database; it holds a password, so it comes by the environment.
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
        /// Fractions of a second instead of a speed to watch.
        #[arg(long)]
        fast: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .finish();
    let set = tracing::subscriber::set_global_default(log);
    drop(set);
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "an error of a command goes to standard error"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

#[expect(clippy::print_stdout, reason = "this is what a newcomer reads")]
fn tell(page: &str, web: SocketAddr) {
    println!(
        "\n    The page:      {page}\n    \
         First command: /pangeo dns set-secret host:{PREPARED_HOST}   (secret: {dns})\n    \
         then:          /pangeo deploy name:pangeo host:{PREPARED_HOST} auth:native\n    \
         then:          switch to ben (top right) and react ✅ on the plan\n\n    \
         With Check-in login first run /pangeo checkin set-client host:{PREPARED_HOST}\n    \
         (client {client}, secret {secret}).\n    \
         The bot's own pages: http://{web}/readyz\n    \
         All of it is a simulation. Ctrl-C ends it; state is kept.\n",
        dns = sandbox::world::DNS_SECRET,
        client = sandbox::world::CLIENT_ID,
        secret = sandbox::world::CLIENT_SECRET,
    );
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Command::Run {
        state,
        bot,
        listen,
        bot_web,
        database_url,
        fast,
    } = arguments.command;
    std::fs::create_dir_all(&state)?;
    let state = state
        .canonicalize()
        .context("find the folder of the state")?;
    let options = WorldOptions {
        dir: state.clone(),
        listen: free(listen)?,
        keep_state: true,
        speed: if fast { Speed::Tests } else { Speed::Watch },
        discord: DiscordOptions::default(),
    };
    let world = World::start(options).await?;
    let settings = world.bot_settings("bot", &database_url, free(bot_web)?, "")?;
    let web = settings.web;
    let log = state.join("bot.log");
    let bot = Arc::new(Mutex::new(BotProcess::new(bot, settings, Some(log))));
    world
        .discord
        .set_world(Arc::new(Panel::new(world.clone(), bot.clone())));
    bot.lock().await.start().await?;
    tell(world.discord.url(), web);
    asked_to_end().await?;
    bot.lock().await.stop().await
}

/// The address, or another port on it where that is taken: something else may run there.
fn free(wanted: SocketAddr) -> anyhow::Result<SocketAddr> {
    let Err(error) = TcpListener::bind(wanted) else {
        return Ok(wanted);
    };
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return Err(error).with_context(|| format!("listen on {wanted}"));
    }
    let any = SocketAddr::new(wanted.ip(), 0);
    let free = TcpListener::bind(any)
        .and_then(|listener| listener.local_addr())
        .context("look for a free port")?;
    tracing::warn!("{wanted} is taken by another program; {free} is used instead");
    Ok(free)
}

/// Until Ctrl-C or SIGTERM.
async fn asked_to_end() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
