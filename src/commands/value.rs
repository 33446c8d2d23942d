//! The values of options: as they arrive, and as types.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, time::Duration};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::domain::{
    clues::NodeName,
    ids::DiscordUserId,
    logs::Pattern,
    names::{ClusterName, HostName, PodName},
    size::Size,
};

/// A file that is attached to a command; what it holds is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedFile {
    /// Its name.
    pub name: String,
    /// Where its content is.
    pub url: String,
    /// Its length in bytes, as Discord tells it.
    pub bytes: u64,
}

/// A value as Discord or a command line hands it over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RawValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
    /// A file.
    #[serde(skip)]
    File(AttachedFile),
    /// A kind of value that no option takes, such as a fraction or a person.
    #[serde(skip)]
    Other,
}

impl From<&str> for RawValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::File(file) => f.write_str(&file.name),
            Self::Other => f.write_str("a value of another kind"),
        }
    }
}

/// A value that its parser accepted.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// A cluster name.
    ClusterName(ClusterName),
    /// A host name.
    HostName(HostName),
    /// An IPv4 address that everybody can reach.
    Address(Ipv4Addr),
    /// A whole number within its limits.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A day.
    Date(NaiveDate),
    /// A point in time, in the zone in which it was given.
    Time(DateTime<Tz>),
    /// A member of the guild.
    Person(DiscordUserId),
    /// An amount of memory or disk.
    Size(Size),
    /// A time span.
    Duration(Duration),
    /// A regular expression.
    Pattern(Pattern),
    /// A worker node's name.
    NodeName(NodeName),
    /// A pod's name.
    PodName(PodName),
    /// Text that its parser found safe for its use.
    Text(String),
    /// A file that is attached, not read yet.
    File(AttachedFile),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterName(value) => value.fmt(f),
            Self::HostName(value) => value.fmt(f),
            Self::Address(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Date(value) => value.fmt(f),
            Self::Time(value) => {
                let time = value.to_utc();
                f.write_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true))
            }
            Self::Person(value) => value.fmt(f),
            Self::Size(value) => value.fmt(f),
            Self::Duration(value) => write!(f, "{}s", value.as_secs()),
            Self::Pattern(value) => value.fmt(f),
            Self::NodeName(value) => value.fmt(f),
            Self::PodName(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::File(file) => f.write_str(&file.name),
        }
    }
}

/// The options of one call, parsed, with the defaults of the command's file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    values: BTreeMap<String, OptionValue>,
    given: Vec<String>,
    sealed: Option<String>,
    form: Form,
}

/// What was typed into the form of a command, by input; it may be secret.
#[derive(Clone, Debug, Default)]
struct Form(BTreeMap<String, SecretString>);

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        let exposed = |(name, text): (&String, &SecretString)| {
            (name.clone(), text.expose_secret().to_owned())
        };
        self.0.iter().map(exposed).eq(other.0.iter().map(exposed))
    }
}

impl Options {
    pub(super) fn insert(&mut self, name: &str, value: OptionValue, given: bool) {
        self.values.insert(name.to_owned(), value);
        if given {
            self.given.push(name.to_owned());
        }
    }

    /// The same with the name of a secret that came with the command's form.
    #[must_use]
    pub fn with_sealed(mut self, secret: &str) -> Self {
        self.sealed = Some(secret.to_owned());
        self
    }

    /// The name of the secret that came with the command's form, if one did.
    pub fn sealed(&self) -> Option<&str> {
        self.sealed.as_deref()
    }

    /// The same with what was typed into the command's form.
    #[must_use]
    pub fn with_form(mut self, values: BTreeMap<String, SecretString>) -> Self {
        self.form = Form(values);
        self
    }

    /// What was typed into an input of the command's form.
    pub fn form(&self, input: &str) -> Option<&SecretString> {
        self.form.0.get(input)
    }

    /// The value of an option, given or by default.
    pub fn get(&self, name: &str) -> Option<&OptionValue> {
        self.values.get(name)
    }

    /// Whether the person gave the option; `false` for a default.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|one| one == name)
    }

    /// The value as text, whatever its type.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(ToString::to_string)
    }

    /// The value of an option that is a number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(OptionValue::Integer(value)) => Some(*value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is an address.
    pub fn address(&self, name: &str) -> Option<Ipv4Addr> {
        match self.get(name) {
            Some(OptionValue::Address(value)) => Some(*value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a host name.
    pub fn host_name(&self, name: &str) -> Option<&HostName> {
        match self.get(name) {
            Some(OptionValue::HostName(value)) => Some(value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a cluster name.
    pub fn cluster_name(&self, name: &str) -> Option<&ClusterName> {
        match self.get(name) {
            Some(OptionValue::ClusterName(value)) => Some(value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a day.
    pub fn date(&self, name: &str) -> Option<NaiveDate> {
        match self.get(name) {
            Some(OptionValue::Date(value)) => Some(*value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a point in time.
    pub fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        self.zoned_time(name).map(|time| time.to_utc())
    }

    /// The same in the zone in which it was given; UTC where none was.
    pub fn zoned_time(&self, name: &str) -> Option<DateTime<Tz>> {
        match self.get(name) {
            Some(OptionValue::Time(value)) => Some(*value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a member of the guild.
    pub fn person(&self, name: &str) -> Option<DiscordUserId> {
        match self.get(name) {
            Some(OptionValue::Person(value)) => Some(*value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is `true` or `false`; absent is `false`.
    pub fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some(OptionValue::Boolean(true)))
    }

    /// The file of an option.
    pub fn file(&self, name: &str) -> Option<&AttachedFile> {
        match self.get(name) {
            Some(OptionValue::File(file)) => Some(file),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a time span.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name) {
            Some(OptionValue::Duration(value)) => Some(*value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a regular expression.
    pub fn pattern(&self, name: &str) -> Option<&Pattern> {
        match self.get(name) {
            Some(OptionValue::Pattern(value)) => Some(value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a worker node's name.
    pub fn node_name(&self, name: &str) -> Option<&NodeName> {
        match self.get(name) {
            Some(OptionValue::NodeName(value)) => Some(value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is a pod's name.
    pub fn pod_name(&self, name: &str) -> Option<&PodName> {
        match self.get(name) {
            Some(OptionValue::PodName(value)) => Some(value),
            Some(_) | None => None,
        }
    }

    /// The value of an option that is an amount.
    pub fn size(&self, name: &str) -> Option<&Size> {
        match self.get(name) {
            Some(OptionValue::Size(value)) => Some(value),
            Some(_) | None => None,
        }
    }
}
