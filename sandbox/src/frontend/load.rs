//! Users who come and go: quiet nights, busy days, a course on Monday and Wednesday at nine, and now
//! and then many at once.
//!
//! Who comes in which minute follows from the seed alone, so that two runs of a week are alike
//! however fast they go. The users never want more than three quarters of what the cluster can grow
//! to, as a hub's `active_server_limit` sees to: what then stalls is not their fault.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;

/// Where it begins: Monday, eight o'clock.
const BEGIN: u32 = 8 * HOUR;

/// Users who come in an hour of a weekday, by the hour.
const BUSY: [u32; 24] = [
    1, 1, 0, 0, 0, 0, 0, 1, 4, 6, 6, 5, 3, 5, 6, 6, 5, 3, 2, 2, 2, 2, 1, 1,
];

/// Users and when they leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Load {
    seed: u64,
    /// The last minute that was lived, from Monday, 0:00.
    minute: u32,
    /// What passed since, in milliseconds.
    passed_ms: u64,
    /// Until which minute each user stays, and eighths of a node that they hold.
    users: BTreeMap<String, (u32, u32)>,
    came: u32,
}

/// What a user does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Starts a server of so many eighths of a node.
    Comes(String, u32),
    Goes(String),
}

/// A number that depends on the seed, a minute and what it is for, and on nothing else
/// (`SplitMix64`).
fn chance(seed: u64, minute: u32, purpose: u32) -> u64 {
    let place = (u64::from(minute) << 32) | u64::from(purpose);
    let mut z = seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `limit`.
fn below(seed: u64, minute: u32, purpose: u32, limit: u32) -> u32 {
    let limit = u64::from(limit.max(1));
    u32::try_from(chance(seed, minute, purpose) % limit).unwrap_or_default()
}

/// How many come in a minute of the week.
fn arrivals(seed: u64, minute: u32) -> u32 {
    let (day, of_day) = (minute / DAY % 7, minute % DAY);
    let hour = usize::try_from(of_day / HOUR).unwrap_or_default();
    let rate = BUSY.get(hour).copied().unwrap_or_default();
    let (is_weekend, is_course) = (day > 4, matches!(day, 0 | 2));
    // On weekends a third.
    let one_in = if is_weekend { 180 } else { 60 };
    let mut count = u32::from(below(seed, minute, 1, one_in) < rate);
    let nine = 9 * HOUR;
    if is_course && (nine..nine + 10).contains(&of_day) {
        count += 1 + below(seed, minute, 2, 2);
    }
    let today = minute - of_day;
    let has_burst = !is_weekend && below(seed, today, 3, 3) == 0;
    if has_burst && of_day == 13 * HOUR + below(seed, today, 4, 3 * HOUR) {
        count += 4 + below(seed, minute, 5, 5);
    }
    count
}

impl Load {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            minute: BEGIN,
            passed_ms: 0,
            users: BTreeMap::new(),
            came: 0,
        }
    }

    /// The same from another day on; 0 is Monday.
    pub(super) fn beginning_on(mut self, day: u32) -> Self {
        self.minute += day % 7 * DAY;
        self
    }

    /// The users who are there.
    pub(super) fn users(&self) -> impl Iterator<Item = &String> {
        self.users.keys()
    }

    /// The time of its week, such as `Mon 09:05`.
    pub(super) fn clock(&self) -> String {
        const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let day = usize::try_from(self.minute / DAY % 7).unwrap_or_default();
        let of_day = self.minute % DAY;
        format!(
            "{} {:02}:{:02}",
            DAYS.get(day).copied().unwrap_or_default(),
            of_day / HOUR,
            of_day % HOUR
        )
    }

    /// What happens in this time; all together hold at most `limit` eighths of nodes.
    pub(super) fn passes(&mut self, elapsed: Duration, limit: u32) -> Vec<Turn> {
        let mut turns = Vec::new();
        self.passed_ms += u64::try_from(elapsed.as_millis()).unwrap_or_default();
        while self.passed_ms >= 60_000 {
            self.passed_ms -= 60_000;
            self.minute += 1;
            self.live(limit, &mut turns);
        }
        turns
    }

    fn live(&mut self, limit: u32, turns: &mut Vec<Turn>) {
        let now = self.minute;
        self.users.retain(|user, (until, _)| {
            let stays = *until > now;
            if !stays {
                turns.push(Turn::Goes(user.clone()));
            }
            stays
        });
        for number in 0..arrivals(self.seed, now) {
            let eighths = 1 + u32::from(below(self.seed, now, 100 + number, 4) == 0);
            let held: u32 = self.users.values().map(|(_, eighths)| eighths).sum();
            if held + eighths > limit {
                continue;
            }
            self.came += 1;
            let user = format!("user-{}", self.came);
            let is_course = (9 * HOUR..9 * HOUR + 10).contains(&(now % DAY));
            let stay = match below(self.seed, now, 200 + number, 100) {
                _ if is_course => 150 + below(self.seed, now, 300 + number, 40),
                0..60 => 15 + below(self.seed, now, 300 + number, 60),
                _ => 60 + below(self.seed, now, 300 + number, 180),
            };
            self.users.insert(user.clone(), (now + stay, eighths));
            turns.push(Turn::Comes(user, eighths));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: u32 = 7 * DAY;

    /// The users of each minute of a week, lived in steps of so many seconds.
    fn week(seed: u64, step: u64) -> (Vec<Turn>, Vec<usize>) {
        let mut load = Load::new(seed);
        let (mut turns, mut online) = (Vec::new(), Vec::new());
        for _ in 0..u64::from(WEEK) * 60 / step {
            turns.extend(load.passes(Duration::from_secs(step), 30));
            online.push(load.users().count());
        }
        (turns, online)
    }

    #[test]
    fn a_week_depends_on_its_seed_and_not_on_its_pace() {
        let (turns, _) = week(1, 12);
        assert_eq!(turns, week(1, 300).0);
        assert_ne!(turns, week(2, 300).0);
        let came = |turn: &&Turn| matches!(turn, Turn::Comes(..));
        let people = turns.iter().filter(came).count();
        assert!((150..600).contains(&people), "{people} people");
    }

    #[test]
    fn nights_are_quiet_courses_are_full_and_the_limit_holds() {
        let (_, online) = week(7, 60);
        // It begins at eight on Monday.
        let at = |day: usize, hour: usize| online[(day * 24 + hour - 8) * 60];
        for day in [0, 2] {
            assert!(at(day, 10) >= 8, "{} at the course", at(day, 10));
        }
        for day in 1..5 {
            assert!(at(day, 5) <= 3, "{} at night", at(day, 5));
        }
        assert!(online.iter().all(|users| *users <= 30));
        let mut load = Load::new(7);
        load.passes(Duration::from_secs(3600 * 49 + 300), 30);
        assert_eq!(load.clock(), "Wed 09:05");
        assert_eq!(Load::new(7).beginning_on(6).clock(), "Sun 08:00");
    }
}
