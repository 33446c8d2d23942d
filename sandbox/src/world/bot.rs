//! The unmodified bot as a child process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::process::{Child, Command};

use super::BotSettings;

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A bot that runs, or ran.
pub struct BotProcess {
    binary: PathBuf,
    settings: BotSettings,
    log: Option<PathBuf>,
    child: Option<Child>,
}

impl BotProcess {
    /// A bot that is not started yet. Its log goes to the file, or to this process's output.
    pub fn new(binary: impl Into<PathBuf>, settings: BotSettings, log: Option<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            settings,
            log,
            child: None,
        }
    }

    /// Starts it and waits until it is ready. Answers how long that took.
    ///
    /// # Errors
    /// When it ends or is not ready in time; its log tells why.
    pub async fn start(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.launch()?;
        let url = format!("http://{}/readyz", self.settings.web);
        loop {
            let ready = reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success());
            if ready {
                return Ok(began.elapsed());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                anyhow::bail!(
                    "the bot ended with {status} before it was ready{}",
                    self.log_hint()
                );
            }
            anyhow::ensure!(
                began.elapsed() < START_LIMIT,
                "the bot was not ready in time{}",
                self.log_hint()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it without waiting.
    ///
    /// # Errors
    /// When the binary can't be run.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        // Whoever kills the sandbox must not leave a bot that holds the port of its pages.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&self.binary);
        command.arg("serve").kill_on_drop(true).stdin(Stdio::null());
        command.env_remove("DATABASE_URL");
        command.envs(
            self.settings
                .variables
                .iter()
                .map(|(name, value)| (name, value)),
        );
        if let Some(log) = &self.log {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(log)?;
            command.stdout(file.try_clone()?).stderr(file);
        }
        let child = command.spawn().with_context(|| {
            format!("run {}; build it with `cargo build`", self.binary.display())
        })?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it with SIGKILL, as a power cut would.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.context("kill the bot")?;
        }
        Ok(())
    }

    /// Asks it to end with SIGTERM and waits; kills it when it does not.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        if let Some(id) = child.id() {
            let status = Command::new("kill").arg(id.to_string()).status().await;
            drop(status);
        }
        if tokio::time::timeout(Duration::from_secs(10), child.wait())
            .await
            .is_err()
        {
            child.kill().await.context("kill the bot")?;
        }
        Ok(())
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// What it was told.
    pub fn settings(&self) -> &BotSettings {
        &self.settings
    }

    fn log_hint(&self) -> String {
        let Some(log) = &self.log else {
            return String::new();
        };
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(15).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!("; the end of {}:\n{}", log.display(), lines.join("\n"))
    }
}

/// The bot's binary beside the running program, as `cargo build` leaves it.
///
/// # Errors
/// When it is not built.
pub fn find_binary() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("find the running program")?;
    let folders = program.ancestors().skip(1).take(3);
    let found = folders
        .map(|folder: &Path| folder.join("pangeo-bot"))
        .find(|path| path.exists());
    found.context("pangeo-bot is not built; run `cargo build --workspace --bins`")
}
