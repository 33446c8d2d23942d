//! Schedules: commands that were approved once and run by themselves, once or again and again.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, EventId, PlanId, ScheduleId};
use crate::domain::time::{TimeError, parse_time};

/// How many schedules there may be at once.
pub const MOST: usize = 100;
/// How long a schedule lives at most.
pub const LONGEST: TimeDelta = TimeDelta::days(365);
/// The least time between two runs.
const LEAST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// How many runs are looked at for the least time between two of them.
const LOOKED_AT: usize = 50;

/// The command that makes one.
pub const SCHEDULE_COMMAND: &str = "schedule add";

/// When people are told of a run, and how late it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleTimes {
    /// How long before a run the channel is told.
    pub announce_before: Duration,
    /// How late a run may start, after the bot was away.
    pub late_at_most: Duration,
}

impl Default for ScheduleTimes {
    fn default() -> Self {
        Self {
            announce_before: Duration::from_mins(10),
            late_at_most: Duration::from_mins(15),
        }
    }
}

/// Why a text does not say when.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// It looks like a point in time.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// It looks like a cron line, and is none.
    #[error("is not a cron line: {0}")]
    Cron(String),
    /// It is neither.
    #[error(
        "says neither a time, such as `2026-12-04 08:00 Europe/Paris`, nor a cron line, such as `0 8 * * 1-5 Europe/Paris` (minute, hour, day, month, weekday)"
    )]
    Grammar,
    /// It comes back too soon.
    #[error("runs more than once an hour; that is too often")]
    TooOften,
}

/// When something runs: once, or at the times of a cron line; in a time zone.
#[derive(Clone, Debug)]
pub struct When {
    times: Times,
    zone: Tz,
}

#[derive(Clone, Debug)]
enum Times {
    Once(DateTime<Utc>),
    Cron(Box<Cron>),
}

impl When {
    /// Reads a point in time or a cron line of five fields, each with an optional zone of the IANA
    /// database; UTC where none is given.
    ///
    /// A time of day that clocks skip comes right after the gap; one that they show twice comes
    /// once, at its first.
    ///
    /// # Errors
    /// [`WhenError`], which says what is allowed.
    pub fn parse(text: &str) -> Result<Self, WhenError> {
        if text.len() > 100 {
            return Err(WhenError::Grammar);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let zone_of = |word: &str| Tz::from_str(word).map_err(|_unknown| TimeError::Zone);
        if words
            .first()
            .is_some_and(|first| first.get(4..5) == Some("-"))
        {
            let at = parse_time(text)?;
            let zone = words.last().and_then(|word| zone_of(word).ok());
            return Ok(Self {
                times: Times::Once(at),
                zone: zone.unwrap_or(Tz::UTC),
            });
        }
        let (line, zone) = match words.as_slice() {
            [line @ .., zone] if line.len() == 5 => (line, zone_of(zone)?),
            line if line.len() == 5 => (line, Tz::UTC),
            _other => return Err(WhenError::Grammar),
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(&line.join(" "));
        let cron = cron.map_err(|error| WhenError::Cron(error.to_string()))?;
        Ok(Self {
            times: Times::Cron(Box::new(cron)),
            zone,
        })
    }

    /// Whether it comes more than once.
    pub fn repeats(&self) -> bool {
        matches!(self.times, Times::Cron(_))
    }

    /// The first time after a moment; `None` if there is none.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Once(at) => (*at > after).then_some(*at),
            Times::Cron(cron) => {
                let next = cron.find_next_occurrence(&after.with_timezone(&self.zone), false);
                next.ok().map(|time| time.to_utc())
            }
        }
    }

    /// The first times after a moment and until another.
    pub fn first(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
        most: usize,
    ) -> Vec<DateTime<Utc>> {
        let next = |at: &DateTime<Utc>| self.next_after(*at);
        let all = std::iter::successors(self.next_after(after), next);
        all.take_while(|at| *at <= until).take(most).collect()
    }

    /// Says that it comes more often than allowed.
    ///
    /// # Errors
    /// [`WhenError::TooOften`]
    pub fn check_pause(&self, after: DateTime<Utc>) -> Result<(), WhenError> {
        let times = self.first(after, after + LONGEST, LOOKED_AT);
        let pauses = times.iter().zip(times.iter().skip(1));
        let mut pauses = pauses.map(|(one, next)| *next - *one);
        if pauses.any(|pause| pause < LEAST_PAUSE) {
            return Err(WhenError::TooOften);
        }
        Ok(())
    }

    /// A time in the zone and in UTC.
    pub fn in_words(&self, at: DateTime<Utc>) -> String {
        in_zone(at, self.zone)
    }
}

/// A time in a zone and in UTC, for people.
pub fn in_zone(at: DateTime<Utc>, zone: Tz) -> String {
    let there = at.with_timezone(&zone);
    if zone == Tz::UTC {
        return there.format("%a %Y-%m-%d %H:%M UTC").to_string();
    }
    format!(
        "{} {zone} ({} UTC)",
        there.format("%a %Y-%m-%d %H:%M"),
        at.format("%H:%M")
    )
}

/// What is to be recorded, as the plan of a schedule keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleWish {
    /// The command, such as `scale`.
    pub command: String,
    /// Its options as they were typed.
    pub options: BTreeMap<String, String>,
    /// Of command, options and steps.
    pub digest: String,
    /// When, as it was typed.
    pub when: String,
    /// Why.
    pub reason: String,
    /// The last moment of a run.
    pub until: DateTime<Utc>,
}

impl ScheduleWish {
    /// The first run after a moment.
    ///
    /// # Errors
    /// When it was written by a version that reads times otherwise.
    pub fn next_after(&self, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, WhenError> {
        let next = When::parse(&self.when)?.next_after(after);
        Ok(next.filter(|at| *at <= self.until))
    }
}

/// A schedule as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub name: String,
    /// The plan with which it was approved.
    pub plan: PlanId,
    /// What runs, and when.
    pub wish: ScheduleWish,
    /// Who asked for it.
    pub made_by: DiscordUserId,
    /// Where it is told.
    pub channel: DiscordChannelId,
    /// The next run; none once it is over.
    pub next_at: Option<DateTime<Utc>>,
    /// The run that is left out, and who said so.
    pub skip: Option<(DateTime<Utc>, DiscordUserId)>,
    /// The last run that was due.
    pub last_at: Option<DateTime<Utc>>,
    /// The plan of the last run that started.
    pub last_plan: Option<PlanId>,
    /// How the last run went, if it did not start.
    pub last_result: Option<String>,
    /// The event for which it runs, whose lock does not hold for it.
    pub event: Option<EventId>,
}

impl Schedule {
    /// The command as it would be typed.
    pub fn typed(&self) -> String {
        typed(&self.wish.command, &self.wish.options)
    }

    /// The run after the one that is due, if there is one; those that were missed are not made up.
    pub fn after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = self.next_at.map_or(now, |at| at.max(now));
        self.wish.next_after(after).ok().flatten()
    }

    /// Whether the next run is to be left out.
    pub fn is_skipped(&self) -> bool {
        self.skip.is_some_and(|(at, _by)| Some(at) == self.next_at)
    }
}

/// A command with its options as they would be typed.
pub fn typed(command: &str, options: &BTreeMap<String, String>) -> String {
    let options = options.iter().map(|(name, value)| {
        if value.is_empty() || value.contains([' ', '"']) {
            format!(" {name}:\"{}\"", value.replace('"', "\\\""))
        } else {
            format!(" {name}:{value}")
        }
    });
    std::iter::once(command.to_owned()).chain(options).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        parse_time(text).unwrap()
    }

    fn times(when: &str, after: &str, most: usize) -> Vec<String> {
        let after = at(after);
        let times = When::parse(when)
            .unwrap()
            .first(after, after + LONGEST, most);
        let words = times
            .iter()
            .map(|at| at.format("%Y-%m-%d %H:%M").to_string());
        words.collect()
    }

    #[test]
    fn a_point_in_time_comes_once() {
        let when = "2026-12-04 08:00 Europe/Paris";
        assert_eq!(times(when, "2026-12-01", 3), ["2026-12-04 07:00"]);
        assert_eq!(times(when, "2026-12-04 07:00", 3), [""; 0]);
        let when = When::parse(when).unwrap();
        let words = when.in_words(at("2026-12-04 07:00"));
        assert_eq!(words, "Fri 2026-12-04 08:00 Europe/Paris (07:00 UTC)");
        let when = When::parse("2026-12-04 08:00").unwrap();
        let words = when.in_words(at("2026-12-04 08:00"));
        assert_eq!(words, "Fri 2026-12-04 08:00 UTC");
    }

    #[test]
    fn a_cron_line_comes_at_its_times_of_the_zone() {
        for (when, after, expected) in [
            // Friday, then Monday.
            (
                "0 8 * * 1-5",
                "2026-12-04 00:00",
                ["2026-12-04 08:00", "2026-12-07 08:00"],
            ),
            (
                "0 8 * * mon Europe/Paris",
                "2026-12-01",
                ["2026-12-07 07:00", "2026-12-14 07:00"],
            ),
            // A month without a 31st has none; the last day is written L.
            (
                "30 6 31 * *",
                "2026-03-31 07:00",
                ["2026-05-31 06:30", "2026-07-31 06:30"],
            ),
            (
                "0 18 L * *",
                "2027-02-01",
                ["2027-02-28 18:00", "2027-03-31 18:00"],
            ),
            ("0 0 29 2 *", "2028-01-01", ["2028-02-29 00:00", ""]),
        ] {
            let found = times(when, after, 2);
            let expected: Vec<&str> = expected
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            assert_eq!(found, expected, "{when}");
        }
    }

    #[test]
    fn clocks_that_are_put_forward_or_back_neither_lose_nor_repeat_a_run() {
        // Clocks go from 02:00 to 03:00 on 2026-03-29.
        let gap = times("30 2 * * * Europe/Paris", "2026-03-28 00:00", 3);
        assert_eq!(
            gap,
            ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"]
        );
        // Clocks show 02:00 to 03:00 twice on 2026-10-25.
        let fold = times("30 2 * * * Europe/Paris", "2026-10-24 01:00", 3);
        assert_eq!(
            fold,
            ["2026-10-25 00:30", "2026-10-26 01:30", "2026-10-27 01:30"]
        );
        // 08:00 stays 08:00 there.
        let across = times("0 8 * * * Europe/Paris", "2026-10-24 07:00", 2);
        assert_eq!(across, ["2026-10-25 07:00", "2026-10-26 07:00"]);
    }

    #[test]
    fn what_says_no_time_is_told_why() {
        for (text, words) in [
            ("soon", "says neither"),
            ("", "says neither"),
            ("0 8 * *", "says neither"),
            ("0 8 * * 1-5 Paris", "time zone"),
            ("0 25 * * *", "is not a cron line"),
            ("0 8 * * 1-9", "is not a cron line"),
            ("2026-12-04 8:00", "is not a time"),
            ("2026-03-29 02:30 Europe/Paris", "put forward"),
        ] {
            let error = When::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn nothing_runs_more_than_once_an_hour() {
        let check = |text: &str| When::parse(text).unwrap().check_pause(at("2026-12-01"));
        for (text, is_fine) in [
            ("0 * * * *", true),
            ("0 8 * * *", true),
            ("0,30 8 * * *", false),
            ("* * * * *", false),
            ("59 7,8 * * *", true),
        ] {
            assert_eq!(check(text).is_ok(), is_fine, "{text}");
        }
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let options = [("name", "geo"), ("reason", "a \"b\" c"), ("value", "")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = typed("values set", &options.into());
        assert_eq!(text, r#"values set name:geo reason:"a \"b\" c" value:"""#);
    }
}
