//! Amounts of memory and disk, as TOSCA writes them.
//!
//! `GB` is decimal (10⁹ bytes) and `GiB` binary (2³⁰), in TOSCA as in helm
//! (TOSCA Simple Profile 1.3, section 3.3.6.4).

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug)]
enum Unit {
    B,
    KB,
    KiB,
    MB,
    MiB,
    GB,
    GiB,
    TB,
    TiB,
}

impl Unit {
    const ALL: [Self; 9] = [
        Self::B,
        Self::KB,
        Self::KiB,
        Self::MB,
        Self::MiB,
        Self::GB,
        Self::GiB,
        Self::TB,
        Self::TiB,
    ];

    /// How it is written.
    const fn name(self) -> &'static str {
        match self {
            Self::B => "B",
            Self::KB => "kB",
            Self::KiB => "KiB",
            Self::MB => "MB",
            Self::MiB => "MiB",
            Self::GB => "GB",
            Self::GiB => "GiB",
            Self::TB => "TB",
            Self::TiB => "TiB",
        }
    }

    const fn bytes(self) -> u64 {
        match self {
            Self::B => 1,
            Self::KB => 1_000,
            Self::KiB => 1 << 10,
            Self::MB => 1_000_000,
            Self::MiB => 1 << 20,
            Self::GB => 1_000_000_000,
            Self::GiB => 1 << 30,
            Self::TB => 1_000_000_000_000,
            Self::TiB => 1 << 40,
        }
    }
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an amount; write a number and a unit, such as `16 GB` or `20 GiB`")]
pub struct SizeError {
    /// The text, cut to 60 characters.
    text: String,
}

/// A whole number of a unit, such as `16 GB`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    number: u64,
    unit: Unit,
    bytes: u64,
}

impl Size {
    /// Nothing.
    pub const ZERO: Self = Self {
        number: 0,
        unit: Unit::GB,
        bytes: 0,
    };

    /// That many decimal gigabytes.
    pub const fn gb(number: u64) -> Self {
        Self {
            number,
            unit: Unit::GB,
            bytes: number.saturating_mul(1_000_000_000),
        }
    }

    /// That many binary gigabytes.
    pub const fn gib(number: u64) -> Self {
        Self {
            number,
            unit: Unit::GiB,
            bytes: number.saturating_mul(1 << 30),
        }
    }

    /// The amount as Kubernetes writes it: `4G`, `2Gi`.
    pub fn quantity(&self) -> String {
        format!("{}{}", self.number, self.unit.name().trim_end_matches('B'))
    }

    /// The amount as Dask writes it: `24 G`.
    pub fn spaced_quantity(&self) -> String {
        format!("{} {}", self.number, self.unit.name().trim_end_matches('B'))
    }

    /// Parses a number and a unit, with or without a space; case does not matter.
    ///
    /// # Errors
    /// [`SizeError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, SizeError> {
        let wrong = || SizeError {
            text: text.chars().take(60).collect(),
        };
        let trimmed = text.trim();
        let end = trimmed
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(wrong)?;
        let (number, unit) = trimmed.split_at(end);
        let number: u64 = number.parse().map_err(|_not_a_number| wrong())?;
        let unit = unit.trim_start();
        let unit = Unit::ALL
            .into_iter()
            .find(|one| one.name().eq_ignore_ascii_case(unit))
            .ok_or_else(wrong)?;
        let bytes = number.checked_mul(unit.bytes()).ok_or_else(wrong)?;
        Ok(Self {
            number,
            unit,
            bytes,
        })
    }

    /// The amount in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The amount in decimal gigabytes, rounded up.
    pub fn gigabytes(&self) -> u64 {
        self.bytes.div_ceil(1_000_000_000)
    }
}

impl PartialEq for Size {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Size {}

impl PartialOrd for Size {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Size {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.unit.name())
    }
}

impl TryFrom<String> for Size {
    type Error = SizeError;

    fn try_from(text: String) -> Result<Self, SizeError> {
        Self::parse(&text)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_and_binary_units_differ() {
        assert_eq!(Size::parse("32 GB").unwrap().bytes(), 32_000_000_000);
        assert_eq!(Size::parse("32GiB").unwrap().bytes(), 34_359_738_368);
        assert_eq!(Size::parse("1 tib").unwrap().to_string(), "1 TiB");
        assert_eq!(
            Size::parse("1000 MB").unwrap(),
            Size::parse("1 GB").unwrap()
        );
        assert_eq!(Size::parse("20 GiB").unwrap().gigabytes(), 22);
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in [
            "",
            "GB",
            "16",
            "-1 GB",
            "1.5 GB",
            "16 G B",
            "16 XB",
            "99999999999999999999 GB",
            "18446744073 TB",
            "16 GB; reboot",
            "１６ GB",
        ] {
            assert!(Size::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
