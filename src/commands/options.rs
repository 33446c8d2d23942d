//! One parser for each kind of option.
//!
//! Each says in its error what is allowed, in words for the person who typed.
//! Text from people is hostile: control characters are refused everywhere, and every kind has a
//! longest length.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::NaiveDate;

use super::{
    file::parse_duration,
    spec::{Command, OptionKind, OptionSpec, WireType},
    value::{OptionValue, Options, RawValue},
};
use crate::domain::{
    chart::{ChartFolder, ChartName, RepositoryUrl},
    clues::NodeName,
    dns::public_address,
    email::is_email,
    ids::DiscordUserId,
    logs::Pattern,
    names::{ClusterName, HostName, PodName},
    seal::MAX_SECRET_BYTES,
    size::Size,
    time::parse_zoned,
};

/// What is wrong with one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// The option's name.
    pub option: String,
    /// What is wrong and what is allowed.
    pub text: String,
}

impl OptionError {
    /// An error with one option.
    pub fn new(option: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            option: option.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.option, self.text)
    }
}

impl std::error::Error for OptionError {}

/// Parses what a person gave, and fills in the defaults of the command's file.
///
/// # Errors
/// One error for each option that is wrong, unknown or absent.
pub fn parse_options(
    command: &Command,
    raw: &BTreeMap<String, RawValue>,
) -> Result<Options, Vec<OptionError>> {
    parse(command, raw, true)
}

/// The same, where an absent required option is the caller's matter: `pangeo-bot render` can do
/// without most of them.
///
/// # Errors
/// One error for each option that is wrong or unknown.
pub fn parse_given(
    command: &Command,
    raw: &BTreeMap<String, RawValue>,
) -> Result<Options, Vec<OptionError>> {
    parse(command, raw, false)
}

fn parse(
    command: &Command,
    raw: &BTreeMap<String, RawValue>,
    all: bool,
) -> Result<Options, Vec<OptionError>> {
    let mut options = Options::default();
    let mut errors = Vec::new();
    for name in raw.keys().filter(|name| command.option(name).is_none()) {
        let name: String = name.chars().take(32).collect();
        errors.push(OptionError::new(name, "there is no such option"));
    }
    for spec in &command.options {
        match (raw.get(&spec.name), &spec.default) {
            (Some(value), _) => match parse_value(spec, value) {
                Ok(value) => options.insert(&spec.name, value, true),
                Err(text) => errors.push(OptionError::new(&spec.name, text)),
            },
            (None, Some(default)) => options.insert(&spec.name, default.clone(), false),
            (None, None) if spec.required && all => {
                errors.push(OptionError::new(&spec.name, "is needed"));
            }
            (None, None) => {}
        }
    }
    if errors.is_empty() {
        Ok(options)
    } else {
        Err(errors)
    }
}

/// Parses one value.
///
/// # Errors
/// Words that say what is allowed.
pub fn parse_value(spec: &OptionSpec, raw: &RawValue) -> Result<OptionValue, String> {
    let text = raw.to_string();
    if text.len() > 24_000 {
        return Err("is too long".to_owned());
    }
    let is_text = matches!(raw, RawValue::Text(_));
    if matches!(spec.kind.wire_type(), WireType::Text | WireType::User) && !is_text {
        return Err("must be text".to_owned());
    }
    match spec.kind {
        OptionKind::ClusterName => ClusterName::parse(&text)
            .map(OptionValue::ClusterName)
            .map_err(|error| error.to_string()),
        OptionKind::HostName => HostName::parse(&text)
            .map(OptionValue::HostName)
            .map_err(|error| error.to_string()),
        OptionKind::PublicAddress => public_address(&text)
            .map(OptionValue::Address)
            .map_err(|error| error.to_string()),
        OptionKind::Integer => integer(spec, &text),
        OptionKind::Boolean => match raw {
            RawValue::Boolean(value) => Ok(OptionValue::Boolean(*value)),
            RawValue::Integer(_) | RawValue::Text(_) | RawValue::File(_) | RawValue::Other => {
                bool::from_str(&text)
                    .map(OptionValue::Boolean)
                    .map_err(|_not_a_bool| "must be `true` or `false`".to_owned())
            }
        },
        OptionKind::Choice => choice(spec, text),
        OptionKind::Text => line(spec, &text),
        OptionKind::Email => email(text),
        OptionKind::Date => date(&text),
        OptionKind::Time => parse_zoned(&text)
            .map(OptionValue::Time)
            .map_err(|error| format!("{} {error}", shown(&text))),
        OptionKind::Person => person(&text),
        OptionKind::Image => image(text),
        OptionKind::Tag => tag(text),
        OptionKind::Version => version(text),
        OptionKind::Size => Size::parse(&text)
            .map(OptionValue::Size)
            .map_err(|error| error.to_string()),
        OptionKind::SiteImage => site_image(text),
        OptionKind::Word => word(text),
        OptionKind::Operation => operation(text),
        OptionKind::Duration => duration(&text),
        OptionKind::Pattern => Pattern::parse(&text)
            .map(OptionValue::Pattern)
            .map_err(|error| error.to_string()),
        OptionKind::File => file(raw),
        OptionKind::NodeName => NodeName::parse(&text)
            .map(OptionValue::NodeName)
            .map_err(|error| error.to_string()),
        OptionKind::PodName => PodName::parse(&text)
            .map(OptionValue::PodName)
            .map_err(|error| error.to_string()),
        OptionKind::RepositoryUrl => RepositoryUrl::parse(&text)
            .map(|url| OptionValue::Text(url.into()))
            .map_err(|error| error.to_string()),
        OptionKind::ChartName => ChartName::parse(&text)
            .map(|name| OptionValue::Text(name.into()))
            .map_err(|error| error.to_string()),
        OptionKind::ChartFolder => ChartFolder::parse(&text)
            .map(|folder| OptionValue::Text(folder.into()))
            .map_err(|error| error.to_string()),
    }
}

/// The longest file, in bytes; what can be sealed.
pub const MAX_FILE_BYTES: usize = MAX_SECRET_BYTES;

fn file(raw: &RawValue) -> Result<OptionValue, String> {
    let RawValue::File(file) = raw else {
        return Err("must be a file".to_owned());
    };
    if file.bytes > MAX_FILE_BYTES as u64 {
        return Err(format!(
            "the file has {} bytes; at most {MAX_FILE_BYTES} are taken",
            file.bytes
        ));
    }
    Ok(OptionValue::File(file.clone()))
}

/// The text for messages: cut, and without characters that would play tricks.
fn shown(text: &str) -> String {
    let text: String = text
        .chars()
        .filter(|c| !c.is_control() && *c != '`')
        .take(60)
        .collect();
    format!("`{text}`")
}

fn integer(spec: &OptionSpec, text: &str) -> Result<OptionValue, String> {
    let (min, max) = (spec.min.unwrap_or(i64::MIN), spec.max.unwrap_or(i64::MAX));
    match text.trim().parse::<i64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(OptionValue::Integer(value)),
        Ok(_) | Err(_) => Err(format!(
            "{} is not allowed; use a whole number from {min} to {max}",
            shown(text)
        )),
    }
}

fn choice(spec: &OptionSpec, text: String) -> Result<OptionValue, String> {
    if spec.choices.contains(&text) {
        return Ok(OptionValue::Text(text));
    }
    let choices: Vec<String> = spec.choices.iter().map(|one| format!("`{one}`")).collect();
    Err(format!(
        "{} is not allowed; use one of {}",
        shown(&text),
        choices.join(", ")
    ))
}

fn line(spec: &OptionSpec, text: &str) -> Result<OptionValue, String> {
    let text = text.trim();
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let (min, max) = (spec.min.unwrap_or(0), spec.max.unwrap_or(200));
    if !(min..=max).contains(&length) {
        return Err(format!(
            "has {length} characters; {min} to {max} are allowed"
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("must be one line without control characters".to_owned());
    }
    Ok(OptionValue::Text(text.to_owned()))
}

fn email(text: String) -> Result<OptionValue, String> {
    if is_email(&text) {
        Ok(OptionValue::Text(text))
    } else {
        Err(format!(
            "{} is not an e-mail address; write one such as `name@example.org`",
            shown(&text)
        ))
    }
}

fn date(text: &str) -> Result<OptionValue, String> {
    let strict = text.len() == 10;
    match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(date) if strict => Ok(OptionValue::Date(date)),
        Ok(_) | Err(_) => Err(format!(
            "{} is not a day; write it as `2026-12-31`",
            shown(text)
        )),
    }
}

fn person(text: &str) -> Result<OptionValue, String> {
    text.parse::<u64>()
        .ok()
        .filter(|id| *id > 0)
        .map(|id| OptionValue::Person(DiscordUserId(id)))
        .ok_or_else(|| format!("{} is nobody; choose a member from the list", shown(text)))
}

/// The grammar of <https://github.com/distribution/reference>: an optional registry with a port,
/// and path components of small letters, digits and separators.
fn image(text: String) -> Result<OptionValue, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let is_component = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
            })
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let is_registry = |part: &str| match part.split_once(':') {
        Some((host, port)) => is_component(host) && port.parse::<u16>().is_ok(),
        None => is_component(part),
    };
    let good = text.len() <= 200
        && match parts.as_slice() {
            [] => false,
            [only] => is_component(only),
            [first, rest @ ..] => is_registry(first) && rest.iter().all(|part| is_component(part)),
        };
    if good {
        return Ok(OptionValue::Text(text));
    }
    let hint = match text.rsplit_once(':') {
        Some((_, after)) if !after.contains('/') => "; put the tag into `tag`",
        Some(_) | None => "",
    };
    Err(format!(
        "{} is not the name of an image; write one such as `pangeo/pangeo-notebook`{hint}",
        shown(&text)
    ))
}

fn tag(text: String) -> Result<OptionValue, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=128).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['.', '-']) {
        Ok(OptionValue::Text(text))
    } else {
        Err(format!(
            "{} is not a tag; use letters, digits, `.`, `_` and `-`, such as `2022.09.21`",
            shown(&text)
        ))
    }
}

fn version(text: String) -> Result<OptionValue, String> {
    let (numbers, rest) = text
        .split_once('-')
        .map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let is_number =
        |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let count = numbers.split('.').count();
    let good = (2..=4).contains(&count)
        && numbers.split('.').all(is_number)
        && rest.is_none_or(|rest| (1..=40).contains(&rest.len()) && rest.bytes().all(plain));
    if good {
        Ok(OptionValue::Text(text))
    } else {
        Err(format!(
            "{} is not a version; write one such as `2022.8.2` or `1.30.14`",
            shown(&text)
        ))
    }
}

fn site_image(text: String) -> Result<OptionValue, String> {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'.' | b'_' | b'-' | b':' | b'/' | b'?' | b'=' | b'&' | b'%' | b'+'
            )
    };
    if (1..=300).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        Ok(OptionValue::Text(text))
    } else {
        Err(format!(
            "{} is not an image of VMs; use its name at the site, such as `ubuntu-jammy`, or its URL for IM, such as `ost://host/id`",
            shown(&text)
        ))
    }
}

fn word(text: String) -> Result<OptionValue, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b' ');
    if (1..=32).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.ends_with(' ')
    {
        Ok(OptionValue::Text(text))
    } else {
        Err(format!(
            "{} is not allowed; use letters, digits, `-`, `_` and `.`, at most 32",
            shown(&text)
        ))
    }
}

fn operation(text: String) -> Result<OptionValue, String> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let short = text.len() == 8 && text.bytes().all(hex);
    if short || uuid::Uuid::parse_str(&text).is_ok() {
        Ok(OptionValue::Text(text))
    } else {
        Err(format!(
            "{} is not the id of an operation; use its 8 digits, or choose one from the list",
            shown(&text)
        ))
    }
}

fn duration(text: &str) -> Result<OptionValue, String> {
    parse_duration(text.trim())
        .map(OptionValue::Duration)
        .ok_or_else(|| {
            format!(
                "{} is not a time span; write a number and s, m, h or d, such as `30m`",
                shown(text)
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Complete;

    fn spec(kind: OptionKind) -> OptionSpec {
        OptionSpec {
            name: "x".to_owned(),
            kind,
            description: "X".to_owned(),
            required: false,
            default: None,
            choices: vec!["a".to_owned(), "b".to_owned()],
            min: Some(0),
            max: Some(50),
            complete: None::<Complete>,
        }
    }

    fn accepts(kind: OptionKind, text: &str) -> bool {
        parse_value(&spec(kind), &RawValue::from(text)).is_ok()
    }

    #[test]
    fn what_is_good_is_accepted() {
        for (kind, text) in [
            (OptionKind::ClusterName, "geo-2026"),
            (OptionKind::HostName, "pangeo.vm.fedcloud.eu"),
            (OptionKind::PublicAddress, "147.251.9.9"),
            (OptionKind::Integer, "50"),
            (OptionKind::Boolean, "true"),
            (OptionKind::Choice, "b"),
            (OptionKind::Text, "Course on sea ice, spring"),
            (OptionKind::Email, "a.b+c@example.org"),
            (OptionKind::Date, "2026-12-31"),
            (OptionKind::Time, "2026-12-31 08:00 Europe/Paris"),
            (OptionKind::Person, "1100000000000000101"),
            (OptionKind::Image, "pangeo/pangeo-notebook"),
            (OptionKind::Image, "registry.example.org:5000/a/b_c"),
            (OptionKind::Tag, "2022.09.21"),
            (OptionKind::Tag, "latest"),
            (OptionKind::Version, "2022.8.2"),
            (OptionKind::Version, "0.0.1-set.by.chartpress"),
            (OptionKind::Size, "16 GB"),
            (
                OptionKind::SiteImage,
                "ost://identity.cloud.muni.cz/0123-abc",
            ),
            (
                OptionKind::SiteImage,
                "appdb://CESNET-MCC/egi.ubuntu.22.04?vo.pangeo.eu",
            ),
            (OptionKind::SiteImage, "ubuntu-jammy"),
            (OptionKind::Word, "cesnet"),
            (OptionKind::Word, "dns set-secret"),
            (OptionKind::Operation, "0a1b2c3d"),
            (OptionKind::RepositoryUrl, "https://helm.dask.org"),
            (OptionKind::ChartName, "daskhub"),
            (OptionKind::ChartFolder, "/opt/daskhub"),
        ] {
            assert!(accepts(kind, text), "{kind:?} refused {text:?}");
        }
    }

    #[test]
    fn what_could_do_harm_is_refused_by_every_kind() {
        let kinds = [
            OptionKind::ClusterName,
            OptionKind::HostName,
            OptionKind::PublicAddress,
            OptionKind::Integer,
            OptionKind::Boolean,
            OptionKind::Choice,
            OptionKind::Email,
            OptionKind::Date,
            OptionKind::Time,
            OptionKind::Person,
            OptionKind::Image,
            OptionKind::Tag,
            OptionKind::Version,
            OptionKind::Size,
            OptionKind::SiteImage,
            OptionKind::Word,
            OptionKind::Operation,
            OptionKind::RepositoryUrl,
            OptionKind::ChartName,
            OptionKind::ChartFolder,
        ];
        let long = "a".repeat(30_000);
        for text in [
            "",
            " ",
            "-x",
            "--option",
            "a;reboot",
            "$(id)",
            "`id`",
            "a|b",
            "a'b",
            "a\"b",
            "a\nb",
            "a\0b",
            "а",  // Cyrillic
            "１", // full width
            "a\u{202e}b",
            "{{ x }}",
            "99999999999999999999",
            "-1",
            &long,
        ] {
            for kind in kinds {
                // A big number or one letter is a good tag, word or image name.
                if text == "99999999999999999999"
                    && matches!(
                        kind,
                        OptionKind::Tag
                            | OptionKind::Word
                            | OptionKind::Image
                            | OptionKind::SiteImage
                    )
                {
                    continue;
                }
                assert!(!accepts(kind, text), "{kind:?} accepted {text:?}");
            }
        }
        for text in ["a\nb", "a\0b", "\u{7f}x", &long] {
            assert!(
                !accepts(OptionKind::Text, text),
                "a text was accepted: {text:?}"
            );
        }
        for bad in ["2026-02-30", "2026-1-1", "31.12.2026", "+12026-01-01"] {
            assert!(!accepts(OptionKind::Date, bad), "{bad}");
        }
    }

    #[test]
    fn errors_say_what_is_allowed() {
        let error = |kind, text: &str| parse_value(&spec(kind), &RawValue::from(text)).unwrap_err();
        insta::assert_snapshot!(error(OptionKind::Integer, "-3"), @"`-3` is not allowed; use a whole number from 0 to 50");
        insta::assert_snapshot!(error(OptionKind::Choice, "c`c"), @"`cc` is not allowed; use one of `a`, `b`");
        insta::assert_snapshot!(error(OptionKind::Image, "a/b:latest"), @"`a/b:latest` is not the name of an image; write one such as `pangeo/pangeo-notebook`; put the tag into `tag`");
        insta::assert_snapshot!(error(OptionKind::Date, "soon"), @"`soon` is not a day; write it as `2026-12-31`");
    }
}
