//! Points in time as people write them.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Utc};
use chrono_tz::Tz;

/// Why a text is no point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It does not read.
    #[error(
        "is not a time; write it as `2026-12-31 08:00` (UTC), `2026-12-31 08:00 Europe/Paris` or `2026-12-31`"
    )]
    Grammar,
    /// It is no time of day.
    #[error("is not a time of day; write it as `07:30` (UTC) or `07:30 Europe/Paris`")]
    OfDay,
    /// The zone is not one of the IANA database.
    #[error("names a time zone that is not known; write one such as `UTC` or `Europe/Paris`")]
    Zone,
    /// Clocks are put forward over it.
    #[error("does not exist there: clocks are put forward over it; take an hour later")]
    Skipped,
}

/// A day with an optional time of day and an optional zone of the IANA database; UTC where none is
/// given, midnight where no time is. An hour that clocks show twice is its first. RFC 3339 is
/// taken, too.
///
/// # Errors
/// [`TimeError`], which says what is allowed.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, TimeError> {
    parse_zoned(text).map(|time| time.to_utc())
}

/// The same in the zone that was given, UTC where none is.
///
/// # Errors
/// [`TimeError`], which says what is allowed.
pub fn parse_zoned(text: &str) -> Result<DateTime<Tz>, TimeError> {
    let text = text.trim();
    if text.len() > 64 {
        return Err(TimeError::Grammar);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Tz::UTC));
    }
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let day = words.next().filter(|word| word.len() == 10);
    let day = day.and_then(|word| NaiveDate::parse_from_str(word, "%Y-%m-%d").ok());
    let day = day.ok_or(TimeError::Grammar)?;
    let mut word = words.next();
    let mut time = NaiveTime::MIN;
    if let Some(given) = word.filter(|word| word.contains(':')) {
        let parsed = NaiveTime::parse_from_str(given, "%H:%M").ok();
        time = parsed
            .filter(|_time| given.len() == 5)
            .ok_or(TimeError::Grammar)?;
        word = words.next();
    }
    let zone = match word {
        Some(name) => name.parse::<Tz>().map_err(|_unknown| TimeError::Zone)?,
        None => Tz::UTC,
    };
    if words.next().is_some() {
        return Err(TimeError::Grammar);
    }
    match zone.from_local_datetime(&NaiveDateTime::new(day, time)) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Ok(time),
        LocalResult::None => Err(TimeError::Skipped),
    }
}

/// A time of day, every day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    time: NaiveTime,
    zone: Tz,
}

impl TimeOfDay {
    /// From `07:30` (UTC) or `07:30 Europe/Paris`.
    ///
    /// # Errors
    /// [`TimeError`], which says what is allowed.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let (time, zone) = text.trim().split_once(' ').unwrap_or((text.trim(), "UTC"));
        let time = NaiveTime::parse_from_str(time, "%H:%M")
            .ok()
            .filter(|_time| time.len() == 5);
        Ok(Self {
            time: time.ok_or(TimeError::OfDay)?,
            zone: zone.parse().map_err(|_unknown| TimeError::Zone)?,
        })
    }

    /// The day there, once its time has come.
    pub fn day_if_past(&self, now: DateTime<Utc>) -> Option<NaiveDate> {
        let there = now.with_timezone(&self.zone);
        (there.time() >= self.time).then(|| there.date_naive())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match parse_time(text) {
            Ok(time) => time.to_rfc3339(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn times_are_read_in_their_zone() {
        for (text, utc) in [
            ("2026-12-31", "2026-12-31T00:00:00+00:00"),
            ("2026-12-31 08:00", "2026-12-31T08:00:00+00:00"),
            (" 2026-12-31  08:00 UTC", "2026-12-31T08:00:00+00:00"),
            ("2026-12-31 08:00 Europe/Paris", "2026-12-31T07:00:00+00:00"),
            ("2026-07-01 Europe/Paris", "2026-06-30T22:00:00+00:00"),
            ("2026-12-31T08:00:00Z", "2026-12-31T08:00:00+00:00"),
            // Shown twice, at the end of summer time.
            ("2026-10-25 02:30 Europe/Paris", "2026-10-25T00:30:00+00:00"),
        ] {
            assert_eq!(read(text), utc, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_why() {
        for text in [
            "",
            "soon",
            "31.12.2026 08:00",
            "2026-12-31 25:00",
            "2026-12-31 8:00",
            "2026-02-30 08:00",
            "2026-12-31 08:00 UTC x",
            "+12026-01-01 08:00",
        ] {
            assert_eq!(parse_time(text), Err(TimeError::Grammar), "{text}");
        }
        assert_eq!(parse_time("2026-12-31 08:00 Paris"), Err(TimeError::Zone));
        let skipped = parse_time("2026-03-29 02:30 Europe/Paris");
        assert_eq!(skipped, Err(TimeError::Skipped));
    }

    #[test]
    fn a_time_of_day_comes_once_a_day_in_its_zone() {
        let at = TimeOfDay::parse("07:30 Europe/Paris").unwrap();
        let day = |text: &str| {
            let now = parse_time(text).unwrap();
            at.day_if_past(now).map(|day| day.to_string())
        };
        assert_eq!(day("2026-12-01 06:29"), None);
        assert_eq!(day("2026-12-01 06:30").as_deref(), Some("2026-12-01"));
        // After midnight there it is another day.
        assert_eq!(day("2026-12-01 23:30"), None);
        for text in ["7:30", "soon", "24:00", ""] {
            assert_eq!(TimeOfDay::parse(text), Err(TimeError::OfDay), "{text}");
        }
        assert_eq!(TimeOfDay::parse("07:30 Mars"), Err(TimeError::Zone));
    }
}
