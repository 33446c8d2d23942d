//! The sections of the configuration, as types.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::secrets::SecretSource;
use crate::domain::{
    deploy::CheckinInstance,
    ids::{DiscordChannelId, DiscordRoleId},
    names::HostName,
    person::Role,
};

pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

#[expect(
    clippy::expect_used,
    reason = "only called with literals; a test parses all of them"
)]
fn default_url(text: &str) -> Url {
    Url::parse(text).expect("a default URL is valid")
}

/// `[discord]`: where the bot answers and whom.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discord {
    /// The bot's token.
    #[serde(skip)]
    pub token: Option<SecretString>,
    pub(super) token_file: Option<PathBuf>,
    /// The id of the Discord application.
    pub application_id: Option<u64>,
    /// The only guild in which the bot answers.
    pub guild: Option<u64>,
    /// The channels in which the bot answers; the first takes plans and announcements.
    pub channels: Vec<DiscordChannelId>,
    /// The bot's role names (`operator`, `approver`, `viewer`) and the Discord roles that hold them.
    pub roles: BTreeMap<Role, Vec<DiscordRoleId>>,
    /// Discord's REST interface.
    pub api_base: Url,
}

impl Default for Discord {
    fn default() -> Self {
        Self {
            token: None,
            token_file: None,
            application_id: None,
            guild: None,
            channels: Vec::new(),
            roles: BTreeMap::new(),
            api_base: default_url("https://discord.com/api/v10"),
        }
    }
}

/// `[database]`: PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `postgres://…`, with its password.
    #[serde(skip)]
    pub url: Option<SecretString>,
    pub(super) url_file: Option<PathBuf>,
    /// The most connections that one replica opens.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            max_connections: 10,
        }
    }
}

/// `[im]`: the Infrastructure Manager and the clouds behind it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Im {
    /// IM's REST interface.
    pub url: Url,
    /// A Check-in access token, read again for every call.
    #[serde(skip)]
    pub token: Option<SecretSource>,
    pub(super) token_file: Option<PathBuf>,
    /// A user name of IM itself, instead of a token.
    pub username: Option<String>,
    /// The password of [`Im::username`].
    #[serde(skip)]
    pub password: Option<SecretString>,
    pub(super) password_file: Option<PathBuf>,
    /// How long a call may take; four times as long where IM asks a cloud.
    #[serde(rename = "timeout_s", deserialize_with = "seconds")]
    pub timeout: Duration,
    /// The credential that is taken when none is asked for.
    pub default_credential: Option<String>,
    /// How long IM may take until it lists a new infrastructure.
    #[serde(rename = "listed_within_s", deserialize_with = "seconds")]
    pub listed_within: Duration,
    /// The clouds that may be used.
    pub credentials: Vec<CloudCredential>,
}

impl Default for Im {
    fn default() -> Self {
        Self {
            url: default_url("https://im.egi.eu/im"),
            token: None,
            token_file: None,
            username: None,
            password: None,
            password_file: None,
            timeout: Duration::from_secs(30),
            default_credential: None,
            listed_within: Duration::from_secs(300),
            credentials: Vec::new(),
        }
    }
}

impl Im {
    /// The credential of that name, or the default one when no name is given.
    pub fn credential(&self, name: Option<&str>) -> Option<&CloudCredential> {
        match name.or(self.default_credential.as_deref()) {
            Some(name) => self.credentials.iter().find(|one| one.name == name),
            None => self.credentials.first(),
        }
    }
}

/// The kind of a cloud credential, in IM's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum CloudKind {
    /// A site of the EGI Federation, by its name.
    #[serde(rename = "EGI")]
    Egi,
    /// An OpenStack, by its Keystone URL.
    OpenStack,
    /// IM's pretend cloud, for tests.
    Dummy,
}

/// One of `[[im.credentials]]`: a cloud, and how to log in to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudCredential {
    /// What people type, and the credential's `id` in IM.
    pub name: String,
    /// What kind of cloud it is.
    pub kind: CloudKind,
    /// EGI: the site's name; OpenStack: the Keystone URL.
    #[serde(default)]
    pub host: Option<String>,
    /// The VO; that of the section `vo` when not set.
    #[serde(default)]
    pub vo: Option<String>,
    /// OpenStack: the user, `egi.eu` with a Check-in token.
    #[serde(default)]
    pub username: Option<String>,
    /// OpenStack: the project, `openid` with a Check-in token.
    #[serde(default)]
    pub tenant: Option<String>,
    /// OpenStack: the domain.
    #[serde(default)]
    pub domain: Option<String>,
    /// OpenStack: such as `3.x_oidc_access_token`.
    #[serde(default)]
    pub auth_version: Option<String>,
    /// The image that VMs are started from when none is asked for, such as `ost://host/id`.
    #[serde(default)]
    pub image: Option<String>,
    /// The password or token; IM's access token is used when there is none.
    #[serde(skip)]
    pub secret: Option<SecretSource>,
    #[serde(default)]
    pub(super) secret_file: Option<PathBuf>,
}

/// `[dns]`: dynamic DNS, and who is asked whether names resolve.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// The update service.
    pub url: Url,
    /// The DNS server to ask; the system's when `None`.
    pub resolver: Option<SocketAddr>,
    /// Host names must lie below one of these.
    pub domains: Vec<HostName>,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            url: default_url("https://nsupdate.fedcloud.eu"),
            resolver: None,
            domains: HostName::parse("vm.fedcloud.eu").into_iter().collect(),
        }
    }
}

/// `[checkin]`: the issuers of EGI Check-in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkin {
    /// One issuer for each instance.
    pub issuers: Issuers,
    /// The bot's own public client, with which people log in to renew tokens.
    pub client_id: Option<String>,
}

/// `[checkin.issuers]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Issuers {
    /// Where the VO is.
    pub production: Url,
    /// The demonstration instance.
    pub demo: Url,
    /// Where one may approve one's own client.
    pub development: Url,
}

impl Issuers {
    /// The issuer of an instance.
    pub fn of(&self, instance: CheckinInstance) -> &Url {
        match instance {
            CheckinInstance::Production => &self.production,
            CheckinInstance::Demo => &self.demo,
            CheckinInstance::Development => &self.development,
        }
    }
}

impl Default for Issuers {
    fn default() -> Self {
        Self {
            production: default_url("https://aai.egi.eu/auth/realms/egi"),
            demo: default_url("https://aai-demo.egi.eu/auth/realms/egi"),
            development: default_url("https://aai-dev.egi.eu/auth/realms/egi"),
        }
    }
}

/// How hubs are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HubScheme {
    /// With a certificate, as users do.
    Https,
    /// Only for tests.
    Http,
}

/// `[hub]`: how a hub is checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hub {
    /// How hubs are reached.
    pub scheme: HubScheme,
    /// Their port.
    pub port: u16,
    /// A PEM file of root certificates that are trusted as well.
    pub extra_roots_file: Option<PathBuf>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            scheme: HubScheme::Https,
            port: 443,
            extra_roots_file: None,
        }
    }
}

/// `[frontend]`: how front ends are reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Frontend {
    /// The user, who has `sudo`.
    pub user: String,
    /// The port of SSH.
    pub ssh_port: u16,
    /// A private folder for sockets, and for keys while a connection is open.
    pub work_dir: PathBuf,
}

impl Default for Frontend {
    fn default() -> Self {
        Self {
            user: "cloudadm".to_owned(),
            ssh_port: 22,
            work_dir: PathBuf::from("/tmp/pangeo-bot"),
        }
    }
}

/// `[helm]`: the chart.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Helm {
    /// The chart repository.
    pub repository: Url,
    /// The chart's name in it.
    pub chart: String,
    /// The chart version when none is asked for.
    pub default_version: String,
    /// The versions that are offered while typing.
    pub known_versions: Vec<String>,
    /// How long helm waits for the hub to be ready.
    #[serde(rename = "timeout_s", deserialize_with = "seconds")]
    pub timeout: Duration,
}

impl Default for Helm {
    fn default() -> Self {
        Self {
            repository: default_url("https://helm.dask.org"),
            chart: "daskhub".to_owned(),
            default_version: "2022.8.2".to_owned(),
            known_versions: ["2022.8.2", "2023.1.0", "2024.1.0", "2024.1.1"]
                .map(str::to_owned)
                .to_vec(),
            timeout: Duration::from_mins(30),
        }
    }
}

/// `[templates]`: where the TOSCA templates are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Templates {
    /// A URL, or the path of a folder.
    pub source: String,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            source: "https://raw.githubusercontent.com/grycap/tosca/main/templates".to_owned(),
        }
    }
}

/// `[vo]`: whose members may log in to hubs.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vo {
    /// The Virtual Organisation.
    pub name: String,
    /// The e-mail for Let's Encrypt when `deploy` is given none.
    pub email: Option<String>,
}

impl Default for Vo {
    fn default() -> Self {
        Self {
            name: "vo.pangeo.eu".to_owned(),
            email: None,
        }
    }
}

/// `[web]`: the bot's own pages.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Where they listen.
    pub listen: SocketAddr,
    /// How people reach them.
    pub public_url: Url,
    /// How long a link works.
    #[serde(rename = "link_lifetime_s", deserialize_with = "seconds")]
    pub link_lifetime: Duration,
    /// 64 hexadecimal digits; made from the sealing key when `None`.
    #[serde(skip)]
    pub link_key: Option<SecretString>,
    pub(super) link_key_file: Option<PathBuf>,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: default_url("http://127.0.0.1:8080"),
            link_lifetime: Duration::from_hours(168),
            link_key: None,
            link_key_file: None,
        }
    }
}

/// `[sealing]`: the keys that secrets in the database are sealed with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sealing {
    /// The key that new secrets are sealed with; the first of the list when `None`.
    pub current: Option<String>,
    /// All keys that may still be needed to open one.
    pub keys: Vec<SealingKey>,
}

impl Sealing {
    /// The key that new secrets are sealed with.
    pub fn current_key(&self) -> Option<&SealingKey> {
        match &self.current {
            Some(id) => self.keys.iter().find(|key| key.id == *id),
            None => self.keys.first(),
        }
    }
}

/// One of `[[sealing.keys]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealingKey {
    /// The key's id, stored beside what it sealed.
    pub id: String,
    /// 64 hexadecimal digits; `None` only in a configuration that [`super::Config::require_for_serve`] refuses.
    #[serde(skip)]
    pub key: Option<SecretString>,
    #[serde(default)]
    pub(super) key_file: Option<PathBuf>,
}

/// `[operations]`: how work is shared between replicas.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operations {
    /// How long a replica owns a step without a sign of life.
    #[serde(rename = "lease_s", deserialize_with = "seconds")]
    pub lease: Duration,
    /// The pause between two looks at an outside system.
    #[serde(rename = "poll_ms", deserialize_with = "milliseconds")]
    pub poll: Duration,
    /// How many operations one replica runs at once.
    pub parallel: usize,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(10),
            parallel: 8,
        }
    }
}

/// `[token]`: renewals of the access tokens on front ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// How long cron on a front end may take to make a new refresh token.
    #[serde(rename = "refresh_wait_s", deserialize_with = "seconds")]
    pub refresh_wait: Duration,
    /// How long the log of CLUES must be quiet after that.
    #[serde(rename = "quiet_s", deserialize_with = "seconds")]
    pub quiet: Duration,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            refresh_wait: Duration::from_mins(20),
            quiet: Duration::from_mins(2),
        }
    }
}

/// `[commands]`: a site's own commands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commands {
    /// A folder of command files, added to the built-in ones.
    pub dir: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines are written.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}
