//! Snowflakes, Discord's ids.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds between the Unix epoch and Discord's, the first second of 2015.
const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

/// A snowflake: 42 bits of milliseconds since 2015, then 22 bits of counters; a string in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u64);

impl Id {
    /// The id with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The smallest id that could have been given at this time.
    pub(crate) fn at(time: DateTime<Utc>) -> Self {
        let ms = u64::try_from(time.timestamp_millis()).unwrap_or(DISCORD_EPOCH_MS);
        Self(ms.saturating_sub(DISCORD_EPOCH_MS) << 22)
    }

    /// The id after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Id {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_strings_in_json_and_grow_with_time() {
        let id: Id = serde_json::from_str("\"175928847299117063\"").unwrap();
        assert_eq!(id.get(), 175_928_847_299_117_063);
        assert_eq!(
            serde_json::to_string(&id).unwrap(),
            "\"175928847299117063\""
        );
        let earlier = Id::at("2026-01-01T00:00:00Z".parse().unwrap());
        let later = Id::at("2026-01-01T00:00:01Z".parse().unwrap());
        assert!(earlier < later);
    }
}
