//! How fast pretend time goes: from real time to ten minutes a second.
//!
//! What the pretend systems wait for (machines that boot, CLUES' idle time, users who stay) is said
//! in their own time and takes so many times less on the clock. What anybody can read (times in
//! logs, ages of pods, ends of tokens) is the clock's, since the bot reads it with its own clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The fastest: a week in 17 minutes.
pub const FASTEST: u32 = 600;

/// How fast pretend time goes; clones share it.
#[derive(Clone, Debug)]
pub struct Pace(Arc<AtomicU32>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }
}

impl Pace {
    /// How many pretend seconds pass in a second.
    pub fn times(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes it; it is kept between 1 and [`FASTEST`].
    pub fn set(&self, times: u32) {
        self.0.store(times.clamp(1, FASTEST), Ordering::Relaxed);
    }

    /// How much pretend time passes in this time of the clock.
    pub fn passes(&self, real: Duration) -> Duration {
        real.saturating_mul(self.times())
    }

    /// How long pretend time takes on the clock.
    pub fn takes(&self, pretend: Duration) -> Duration {
        pretend / self.times()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_minutes_pass_in_a_second_at_most() {
        let pace = Pace::default();
        let minute = Duration::from_secs(60);
        assert_eq!(pace.takes(minute), minute);
        pace.set(100_000);
        assert_eq!(pace.passes(Duration::from_secs(1)), 10 * minute);
        assert_eq!(pace.takes(10 * minute), Duration::from_secs(1));
        pace.set(0);
        assert_eq!(pace.times(), 1);
    }
}
