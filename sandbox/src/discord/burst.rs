//! Load for benches.

use std::sync::Arc;
use std::time::Duration;

use super::client::{Refused, Use};
use super::ids::Id;
use super::interactions::Stage;
use super::state::PANGEO_CHANNEL;
use super::{Discord, PATIENCE};

impl Discord {
    /// Dispatches a command at a steady rate and gives the time from each dispatch to its
    /// acknowledgement, in order; those that were not acknowledged are left out.
    ///
    /// # Errors
    /// When the command can't be typed, or not every one was decided 15 s after the last.
    pub async fn burst(
        self: &Arc<Self>,
        typed: &str,
        rate_per_s: u32,
        seconds: u32,
    ) -> anyhow::Result<Vec<Duration>> {
        let user = self.person("ana").id();
        let total = rate_per_s * seconds;
        let mut every = tokio::time::interval(Duration::from_secs(1) / rate_per_s.max(1));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut ids = Vec::new();
        for _ in 0..total {
            every.tick().await;
            ids.push(self.dispatch_typed(user, typed)?);
        }
        let done = |d: &Self| {
            let waiting = |id: &Id| d.record_of(*id).is_some_and(|r| r.stage == Stage::Waiting);
            (!ids.iter().any(waiting)).then_some(())
        };
        self.wait_until(PATIENCE, done).await?;
        let times = ids
            .iter()
            .filter_map(|id| self.record_of(*id)?.acknowledged);
        Ok(times.collect())
    }

    fn dispatch_typed(&self, user: Id, typed: &str) -> Result<Id, Refused> {
        let parsed = super::slash::parse(&self.state.read(), typed, false)?;
        let of = Use {
            user,
            channel: PANGEO_CHANNEL,
            command: &parsed.command,
            options: &parsed.options,
        };
        self.use_command(&of, false, Some(typed))
    }
}
