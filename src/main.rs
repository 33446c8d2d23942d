//! The binary: reads the command line, hands over to [`pangeo_bot::app`].

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use pangeo_bot::app;
use pangeo_bot::commands::Catalogue;
use pangeo_bot::config::{self, Config};
use pangeo_bot::domain::clock::Clock;
use pangeo_bot::domain::redact::Redactor;
use pangeo_bot::operations::start;
use pangeo_bot::{telemetry, web};
use tokio_util::sync::CancellationToken;

/// `ChatOps` for DaskHub on the EGI Federation.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The configuration file; see `pangeo-bot.example.toml`.
    #[arg(long, short, global = true, env = "PANGEO_BOT_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the bot.
    Serve {
        /// A folder of further command files, instead of that of the configuration.
        #[arg(long)]
        commands: Option<PathBuf>,
    },
    /// Check the configuration and every command file, offline.
    Check {
        /// A folder of further command files.
        #[arg(long)]
        commands: Option<PathBuf>,
    },
    /// Bring the database's schema up to date.
    Migrate,
    /// Look at the audit.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Seal every secret again with the current key.
    RotateKeys,
    /// Ask a running bot whether it is alive; for the container's health check.
    Health,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Prove the hash chain whole.
    Verify,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) {
    if !text.is_empty() {
        // A reader that has seen enough, such as `head`, is no error.
        let written = writeln!(std::io::stdout(), "{text}");
        drop(written);
    }
}

#[expect(
    clippy::print_stderr,
    reason = "an error of a command goes to standard error"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

async fn run() -> anyhow::Result<String> {
    let steps = start::known_steps();
    let catalogue = Catalogue::built_in(&steps)?;
    // `render` takes the options of `/pangeo deploy`, which stand in its command file.
    let matches = Arguments::command()
        .subcommand(app::render::command(&catalogue))
        .get_matches();
    let path = matches.get_one::<PathBuf>("config").cloned();
    let load = || Config::load(path.as_deref(), config::environment());
    if let Some(("render", matches)) = matches.subcommand() {
        let today = Clock::system().now().date_naive();
        return app::render::render(&load()?, &catalogue, matches, today).await;
    }
    match Arguments::from_arg_matches(&matches)?.command {
        Command::Serve { commands } => {
            let mut config = load()?;
            config.commands.dir = commands.or(config.commands.dir);
            serve(Arc::new(config)).await
        }
        Command::Check { commands } => {
            let folder = commands.as_deref();
            let report = app::check::check(path.as_deref(), config::environment(), folder, &steps);
            anyhow::ensure!(report.is_good(), "the check found problems\n{report}");
            Ok(report.to_string())
        }
        Command::Migrate => app::admin::migrate(Arc::new(load()?)).await,
        Command::Audit {
            command: AuditCommand::Verify,
        } => app::admin::verify_audit(Arc::new(load()?)).await,
        Command::RotateKeys => app::admin::rotate_keys(Arc::new(load()?)).await,
        Command::Health => {
            web::probe(load()?.web.listen).await?;
            Ok("alive".to_owned())
        }
    }
}

async fn serve(config: Arc<Config>) -> anyhow::Result<String> {
    let redactor = Redactor::new();
    app::parts::learn_secrets(&config, &redactor);
    telemetry::start(&config.log, &redactor)?;
    let ended = CancellationToken::new();
    let bot = app::serve::serve(config, Clock::system(), redactor, ended.clone());
    tokio::pin!(bot);
    tokio::select! {
        outcome = &mut bot => outcome?,
        () = asked_to_end() => {
            tracing::info!("ends, as asked; what is in hand goes on after the next start");
            ended.cancel();
            bot.await?;
        }
    }
    Ok(String::new())
}

/// Until Ctrl-C or SIGTERM.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
