//! A command as types.

use std::{fmt, str::FromStr, time::Duration};

use serde::Deserialize;

use super::runbook::RemoteStep;
use super::value::{OptionValue, Options};
use crate::domain::person::Role;

/// Where a command stands below `/pangeo`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandPath {
    /// The group, such as `dns`.
    pub group: Option<String>,
    /// The command's own name, such as `check`.
    pub name: String,
}

impl fmt::Display for CommandPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{group} {}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What running a command changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing: it only shows.
    Reads,
    /// Rows of the bot itself, at once and without a plan.
    Records,
    /// An outside system: it is planned, approved and run as an operation.
    Operation,
}

/// Who must agree before the operation starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// How many grants start it; 0 starts it at once.
    pub needed: u32,
    /// Whose grants count.
    pub from: Vec<Role>,
    /// How long the plan waits.
    pub expire_after: Duration,
    /// When those who may grant are reminded, counted from the posting of the plan.
    pub remind_after: Option<Duration>,
    /// Who is asked as well after the reminder.
    pub then_ask: Vec<Role>,
    /// Whether an approver may start it alone, with a reason and a later review.
    pub force: bool,
}

/// The operation behind a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationSpec {
    /// The option that names the target; one operation per target at a time.
    pub exclusive: String,
    /// How long it may take in all.
    pub time_limit: Duration,
    /// Whether it may start while its target is locked.
    pub under_lock: bool,
    /// Whether it may run by a schedule.
    pub schedulable: bool,
    /// Its steps by name, in order.
    pub steps: Vec<String>,
    /// What the steps of a runbook run on the front end, in the same order; else none.
    pub remote: Vec<RemoteStep>,
}

/// Where the choices come from while a person types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complete {
    /// The names of stored clusters.
    Clusters,
    /// The host names of stored clusters and of stored DNS secrets.
    Hosts,
    /// Operations, newest first.
    Operations,
    /// Schedules that are not over.
    Schedules,
    /// Alerts that are not over.
    Alerts,
    /// Events that run or are to come.
    Events,
    /// The clouds of the configuration.
    Credentials,
    /// The images that IM knows at the chosen cloud.
    SiteImages,
    /// The chart versions of the configuration.
    ChartVersions,
    /// Tags of the image in `image`, or of the one that the cluster in `name` has.
    ImageTags,
    /// The commands of this catalogue.
    Commands,
    /// Places in the values of the cluster that the option `name` names.
    ValuesPaths,
    /// The worker nodes that the cluster that the option `name` names may have.
    Nodes,
    /// The allowed values of an input of the TOSCA template.
    Template(String),
}

impl Complete {
    /// The words that may stand in a command file.
    pub const ALLOWED: &'static str = "clusters, hosts, operations, credentials, site-images, \
        schedules, alerts, events, chart-versions, commands, values-paths, nodes, \
        template:<input>";
}

impl FromStr for Complete {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "clusters" => Ok(Self::Clusters),
            "hosts" => Ok(Self::Hosts),
            "operations" => Ok(Self::Operations),
            "schedules" => Ok(Self::Schedules),
            "alerts" => Ok(Self::Alerts),
            "events" => Ok(Self::Events),
            "credentials" => Ok(Self::Credentials),
            "site-images" => Ok(Self::SiteImages),
            "chart-versions" => Ok(Self::ChartVersions),
            "image-tags" => Ok(Self::ImageTags),
            "commands" => Ok(Self::Commands),
            "nodes" => Ok(Self::Nodes),
            "values-paths" => Ok(Self::ValuesPaths),
            _input => match text.strip_prefix("template:") {
                Some(input) if !input.is_empty() => Ok(Self::Template(input.to_owned())),
                Some(_) | None => Err(format!(
                    "there is no source `{text}`; use one of: {}",
                    Self::ALLOWED
                )),
            },
        }
    }
}

/// How an option travels in Discord's interactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// Type 3.
    Text,
    /// Type 4.
    Integer,
    /// Type 5.
    Boolean,
    /// Type 11.
    File,
    /// Type 6: the id of a user of Discord, as text.
    User,
}

/// What an option's value is; each kind has a parser in [`super::options`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptionKind {
    /// The name of a cluster.
    ClusterName,
    /// A full DNS name.
    HostName,
    /// An IPv4 address that everybody can reach.
    PublicAddress,
    /// A whole number between `min` and `max`.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of `choices`.
    Choice,
    /// A line of text, of `min` to `max` characters.
    Text,
    /// An e-mail address.
    Email,
    /// A day, `2026-12-31`.
    Date,
    /// A point in time, `2026-12-31 08:00 Europe/Paris`.
    Time,
    /// A member of the guild.
    Person,
    /// The name of a container image, without its tag.
    Image,
    /// The tag of a container image.
    Tag,
    /// A version number such as `2022.8.2`.
    Version,
    /// An amount of memory or disk, such as `16 GB` or `20 GiB`.
    Size,
    /// An image of VMs: its name at the site or its URL for IM.
    SiteImage,
    /// A short name of letters, digits, `-`, `_`.
    Word,
    /// The id of an operation, whole or its last 8 digits.
    Operation,
    /// A time span, `30m`.
    Duration,
    /// A regular expression.
    Pattern,
    /// The name of a worker node.
    NodeName,
    /// The name of a pod.
    PodName,
    /// The address of a chart repository, `https` only.
    RepositoryUrl,
    /// The name of a chart.
    ChartName,
    /// A folder on a front end that a chart may lie in, by its whole path.
    ChartFolder,
    /// A file that is attached.
    File,
}

impl OptionKind {
    /// How it travels in Discord's interactions.
    pub fn wire_type(self) -> WireType {
        match self {
            Self::Integer => WireType::Integer,
            Self::Boolean => WireType::Boolean,
            Self::File => WireType::File,
            Self::Person => WireType::User,
            Self::ClusterName
            | Self::HostName
            | Self::PublicAddress
            | Self::Choice
            | Self::Text
            | Self::Email
            | Self::Date
            | Self::Time
            | Self::Image
            | Self::Tag
            | Self::Version
            | Self::Size
            | Self::SiteImage
            | Self::Word
            | Self::Operation
            | Self::Duration
            | Self::Pattern
            | Self::NodeName
            | Self::PodName
            | Self::RepositoryUrl
            | Self::ChartName
            | Self::ChartFolder => WireType::Text,
        }
    }
}

/// One option of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionSpec {
    /// Its name, in kebab case.
    pub name: String,
    /// What its value is.
    pub kind: OptionKind,
    /// One sentence for the person who types.
    pub description: String,
    /// Whether it must be given.
    pub required: bool,
    /// Its value when it is not given.
    pub default: Option<OptionValue>,
    /// The allowed values of a choice.
    pub choices: Vec<String>,
    /// The least number, or the shortest text in characters.
    pub min: Option<i64>,
    /// The greatest number, or the longest text in characters.
    pub max: Option<i64>,
    /// Where choices come from while a person types.
    pub complete: Option<Complete>,
}

/// The shape of an input of a modal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModalStyle {
    /// One line.
    Short,
    /// Several lines.
    Paragraph,
}

/// One input of a modal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModalInput {
    /// Its name, in kebab case.
    pub name: String,
    /// What stands above it.
    pub label: String,
    /// Its shape.
    #[serde(default = "short")]
    pub style: ModalStyle,
    /// What stands in it while it is empty.
    #[serde(default)]
    pub placeholder: Option<String>,
    /// The shortest text, in characters.
    pub min: u16,
    /// The longest text, in characters; Discord allows 4000.
    pub max: u16,
    /// Whether its value is a secret, which is sealed and never shown.
    #[serde(default)]
    pub secret: bool,
}

fn short() -> ModalStyle {
    ModalStyle::Short
}

/// The form that a command opens, since secrets are never options.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modal {
    /// Its title.
    pub title: String,
    /// Its inputs, one to five.
    pub inputs: Vec<ModalInput>,
    /// When it is opened; always if this is not said.
    #[serde(default)]
    pub when: Option<ModalWhen>,
    /// It is not opened if this option is given.
    #[serde(default)]
    pub unless: Option<String>,
}

impl Modal {
    /// Whether a call with these options opens it.
    pub fn opens_for(&self, options: &Options) -> bool {
        let unless = self.unless.as_ref();
        unless.is_none_or(|option| !options.is_given(option))
            && self
                .when
                .as_ref()
                .is_none_or(|when| options.text(&when.option).as_deref() == Some(&when.is))
    }
}

/// The choice that opens a form.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModalWhen {
    /// An option of the kind `choice`.
    pub option: String,
    /// One of its choices.
    pub is: String,
}

/// One command, as its file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Where it stands below `/pangeo`.
    pub path: CommandPath,
    /// One sentence: what it does.
    pub description: String,
    /// What it changes.
    pub effect: Effect,
    /// Who may run it, press its buttons, fill its forms and see its completions.
    pub may_run: Vec<Role>,
    /// Who must agree; only for operations.
    pub approvals: Option<Approvals>,
    /// Its options; the required ones stand first.
    pub options: Vec<OptionSpec>,
    /// The form that it opens.
    pub modal: Option<Modal>,
    /// The operation behind it.
    pub operation: Option<OperationSpec>,
    /// The file it was read from, for problems.
    pub file: String,
}

impl Command {
    /// The name below `/pangeo`, such as `dns check`.
    pub fn name(&self) -> String {
        self.path.to_string()
    }

    /// The option of that name.
    pub fn option(&self, name: &str) -> Option<&OptionSpec> {
        self.options.iter().find(|option| option.name == name)
    }

    /// The names of its steps, in order; none unless it is an operation.
    pub fn steps(&self) -> Vec<String> {
        let steps = self.operation.iter().flat_map(|operation| &operation.steps);
        steps.cloned().collect()
    }

    /// Whether its steps are programs that run on a front end.
    pub fn is_runbook(&self) -> bool {
        self.operation
            .as_ref()
            .is_some_and(|operation| !operation.remote.is_empty())
    }

    /// Whether it may start while its target is locked.
    pub fn goes_under_lock(&self) -> bool {
        self.operation
            .as_ref()
            .is_some_and(|operation| operation.under_lock)
    }

    /// Whether it may run by a schedule, without anybody there.
    pub fn is_schedulable(&self) -> bool {
        self.operation
            .as_ref()
            .is_some_and(|operation| operation.schedulable)
    }

    /// Whether it changes nothing.
    pub fn is_read_only(&self) -> bool {
        self.effect == Effect::Reads
    }
}
