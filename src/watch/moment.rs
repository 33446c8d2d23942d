//! A moment on two clocks, by which a clock that was set is known.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::domain::clock::Clock;

/// A clock that goes wrong by less between two looks is not one that was set: time servers slew it.
const SET_BY: TimeDelta = TimeDelta::seconds(5);

/// A moment: on the clock of the day, which people and time servers set, and on one that only goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) day: DateTime<Utc>,
    at: Instant,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self {
            day: clock.now(),
            at: Instant::now(),
        }
    }

    /// By how much the clock of the day was set between this moment and a later one, if it was.
    pub(super) fn set_until(&self, later: &Self) -> Option<TimeDelta> {
        let passed = TimeDelta::from_std(later.at - self.at).unwrap_or_default();
        let set = (later.day - self.day) - passed;
        (set.abs() > SET_BY).then_some(set)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn moment(start: Instant, passed_s: u64, day_s: i64) -> Moment {
        Moment {
            day: DateTime::UNIX_EPOCH + TimeDelta::seconds(day_s),
            at: start + Duration::from_secs(passed_s),
        }
    }

    #[test]
    fn a_clock_that_was_set_is_known_in_both_directions_and_a_slow_one_is_not() {
        let start = Instant::now();
        let set = |passed_s: u64, day_s: i64| {
            let later = moment(start, passed_s, 1000 + day_s);
            moment(start, 0, 1000).set_until(&later)
        };
        assert_eq!(set(60, 60), None);
        assert_eq!(set(60, 64), None);
        assert_eq!(set(60, 3660), Some(TimeDelta::hours(1)));
        assert_eq!(set(60, -3540), Some(TimeDelta::hours(-1)));
    }
}
