//! Commands on a front end that wait, so that a test can kill the bot exactly there.
//!
//! The pretend `sudo` looks for `/run/hold`, which names a place, a file and part of a command
//! line, and waits until that file is gone. It is the counterpart of [`crate::faults::Hold`] for SSH.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::FrontEnds;
use crate::faults::Place;

/// How often it is looked whether the command has come.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A command that is to wait. Dropping it lets it go.
#[derive(Debug)]
pub struct HeldCommand {
    run: PathBuf,
    id: String,
}

impl FrontEnds {
    /// Makes commands run by `sudo` wait whose words, joined by spaces, contain `words`. One at a
    /// time for each front end.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn hold_command(
        &self,
        infrastructure: &str,
        words: &str,
        place: Place,
    ) -> anyhow::Result<HeldCommand> {
        let run = self.with_machine(infrastructure, |machine| machine.folder.join("data/run"))?;
        let id = format!("hold-{}", uuid::Uuid::new_v4().simple());
        let held = HeldCommand { run, id };
        let place = match place {
            Place::Before => "before",
            Place::After => "after",
        };
        let orders = format!("{place}\n{}\n{words}\n", held.id);
        let part = held.run.join("hold.part");
        std::fs::write(held.run.join(&held.id), "")
            .and_then(|()| std::fs::write(&part, orders))
            .and_then(|()| std::fs::rename(&part, held.run.join("hold")))
            .context("hold a command")?;
        Ok(held)
    }
}

impl HeldCommand {
    /// Waits until such a command has come. The caller sets the deadline.
    pub async fn reached(&self) {
        let file = self.run.join(format!("{}.reached", self.id));
        while !file.exists() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lets it go on.
    pub fn release(self) {
        drop(self);
    }

    /// Ends it with status 1; one held [`Place::After`] has had its effect.
    pub fn discard(self) {
        let file = self.run.join(format!("{}.discarded", self.id));
        if let Err(error) = std::fs::write(file, "") {
            tracing::warn!(%error, "a held command goes on");
        }
    }
}

impl Drop for HeldCommand {
    fn drop(&mut self) {
        for name in ["hold", self.id.as_str()] {
            // A front end that is gone has taken the files along.
            drop(std::fs::remove_file(self.run.join(name)));
        }
    }
}
