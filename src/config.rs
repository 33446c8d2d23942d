//! The configuration: one TOML file, and environment variables above it.
//!
//! Every key, with its unit and default, stands in `pangeo-bot.example.toml` and
//! `docs/configuration.md`; both are written from the one table in `keys.rs`.
//! `PANGEO_BOT_<SECTION>_<KEY>` overrides a key. Secrets are never written in the file: they come
//! from such a variable, or from a file of their own that a key ending in `_file` names.
//!
//! **Invariant:** a [`Config`] that was loaded is free of problems that can be seen without a
//! network. Values without a default may be absent; [`Config::require_for_serve`] names those
//! that `serve` needs.
//!
//! All problems are found at once, not only the first.

mod checks;
mod documents;
mod environment;
mod images;
mod keys;
mod scheduled;
mod secrets;
mod sections;
mod watched;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::de::DeserializeOwned;

pub use documents::{example_env, example_toml, reference};
pub use environment::environment;
pub use images::Images;
pub use scheduled::{Events, Schedules};
pub use secrets::{MAX_SECRET_BYTES, SecretError, SecretSource};
pub use sections::{
    Checkin, CloudCredential, CloudKind, Commands, Database, Discord, Dns, Frontend, Helm, Hub,
    HubScheme, Im, Issuers, Log, LogFormat, Operations, Sealing, SealingKey, Templates, Token, Vo,
    Web,
};
pub use watched::{Watch, WatchedCluster};

/// The longest configuration file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where the bot answers and whom.
    pub discord: Discord,
    /// PostgreSQL.
    pub database: Database,
    /// The Infrastructure Manager.
    pub im: Im,
    /// Dynamic DNS.
    pub dns: Dns,
    /// EGI Check-in.
    pub checkin: Checkin,
    /// How hubs are checked.
    pub hub: Hub,
    /// How front ends are reached.
    pub frontend: Frontend,
    /// The chart.
    pub helm: Helm,
    /// The TOSCA templates.
    pub templates: Templates,
    /// Where container images are looked up.
    pub images: Images,
    /// The Virtual Organisation.
    pub vo: Vo,
    /// The bot's own pages.
    pub web: Web,
    /// The sealing keys.
    pub sealing: Sealing,
    /// How work is shared.
    pub operations: Operations,
    /// Renewals of front ends' tokens.
    pub token: Token,
    /// What is looked at all the time.
    pub watch: Watch,
    /// What runs by itself.
    pub schedules: Schedules,
    /// Courses.
    pub events: Events,
    /// A site's own commands.
    pub commands: Commands,
    /// Logging.
    pub log: Log,
}

/// One thing that is wrong with the configuration, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key, the variable or the file that it is about.
    pub place: String,
    /// What is wrong and what to do.
    pub text: String,
}

impl ConfigProblem {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Everything that is wrong with the configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigProblem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration does not hold")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What the connection to Discord needs; see [`Config::discord_login`].
#[derive(Clone, Debug)]
pub struct DiscordLogin {
    /// The bot's token.
    pub token: SecretString,
    /// The id of the application.
    pub application_id: u64,
    /// The only guild.
    pub guild: u64,
}

impl Config {
    /// Reads the file, when one is given, and the variables whose names begin with `PANGEO_BOT_`.
    ///
    /// Take the variables from [`environment()`], or make them up in a test.
    ///
    /// # Errors
    /// All problems that were found.
    pub fn load(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut problems = Vec::new();
        let mut table = match path.map(read_table).transpose() {
            Ok(table) => table.unwrap_or_default(),
            Err(problem) => return Err(ConfigErrors(vec![problem])),
        };
        environment::refuse_secrets(&mut table, &mut problems);
        let secrets = environment::overlay(&mut table, variables, &mut problems);
        let mut config = Self::from_table(table, &mut problems);
        config.take_secrets(&secrets, &mut problems);
        checks::check(&config, &mut problems);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors(problems))
        }
    }

    fn from_table(mut table: toml::Table, problems: &mut Vec<ConfigProblem>) -> Self {
        let config = Self {
            discord: section(&mut table, "discord", problems),
            database: section(&mut table, "database", problems),
            im: section(&mut table, "im", problems),
            dns: section(&mut table, "dns", problems),
            checkin: section(&mut table, "checkin", problems),
            hub: section(&mut table, "hub", problems),
            frontend: section(&mut table, "frontend", problems),
            helm: section(&mut table, "helm", problems),
            templates: section(&mut table, "templates", problems),
            images: section(&mut table, "images", problems),
            vo: section(&mut table, "vo", problems),
            web: section(&mut table, "web", problems),
            sealing: section(&mut table, "sealing", problems),
            operations: section(&mut table, "operations", problems),
            token: section(&mut table, "token", problems),
            watch: section(&mut table, "watch", problems),
            schedules: section(&mut table, "schedules", problems),
            events: section(&mut table, "events", problems),
            commands: section(&mut table, "commands", problems),
            log: section(&mut table, "log", problems),
        };
        for unknown in table.keys() {
            problems.push(ConfigProblem::new(
                unknown,
                "there is no such section; `pangeo-bot.example.toml` has them all",
            ));
        }
        config
    }

    fn take_secrets(
        &mut self,
        variables: &environment::Secrets,
        problems: &mut Vec<ConfigProblem>,
    ) {
        let mut once = |path: &str, file: &Option<PathBuf>| {
            variables.read(path, file.as_ref()).unwrap_or_else(|error| {
                problems.push(ConfigProblem::new(path, checks::chain(&error)));
                None
            })
        };
        self.discord.token = once("discord.token", &self.discord.token_file);
        self.database.url = once("database.url", &self.database.url_file);
        self.im.password = once("im.password", &self.im.password_file);
        self.watch.ping_url = once("watch.ping_url", &self.watch.ping_url_file);
        self.web.link_key = once("web.link_key", &self.web.link_key_file);
        for key in &mut self.sealing.keys {
            key.key = once(&format!("sealing.keys.{}", key.id), &key.key_file);
        }
        self.im.token = variables.source("im.token", self.im.token_file.as_ref());
        for one in &mut self.im.credentials {
            one.secret = variables.source(
                &format!("im.credentials.{}", one.name),
                one.secret_file.as_ref(),
            );
        }
    }

    /// Looks whether everything is there that `serve` needs.
    ///
    /// # Errors
    /// One problem for each value that is absent.
    pub fn require_for_serve(&self) -> Result<(), ConfigErrors> {
        let problems = checks::missing_for_serve(self);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors(problems))
        }
    }

    /// What the connection to Discord needs.
    ///
    /// # Errors
    /// When one of the three is absent.
    pub fn discord_login(&self) -> Result<DiscordLogin, ConfigErrors> {
        let Discord {
            token: Some(token),
            application_id: Some(application_id),
            guild: Some(guild),
            ..
        } = &self.discord
        else {
            return Err(ConfigErrors(checks::missing_for_discord(self)));
        };
        Ok(DiscordLogin {
            token: token.clone(),
            application_id: *application_id,
            guild: *guild,
        })
    }

    /// The database's URL, which holds its password.
    ///
    /// # Errors
    /// When it is absent.
    pub fn database_url(&self) -> Result<&SecretString, ConfigErrors> {
        self.database
            .url
            .as_ref()
            .ok_or_else(|| ConfigErrors(checks::missing_for_database(self)))
    }
}

fn read_table(path: &Path) -> Result<toml::Table, ConfigProblem> {
    let place = path.display().to_string();
    let problem = |text: String| ConfigProblem::new(place.clone(), text);
    let length = std::fs::metadata(path)
        .map_err(|error| problem(format!("cannot be read: {error}")))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(problem(format!("is longer than {MAX_FILE_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| problem(format!("is not TOML: {}", error.message())))
}

fn section<T: DeserializeOwned + Default>(
    table: &mut toml::Table,
    name: &str,
    problems: &mut Vec<ConfigProblem>,
) -> T {
    let Some(value) = table.remove(name) else {
        return T::default();
    };
    T::deserialize(value).unwrap_or_else(|error: toml::de::Error| {
        let text = error.to_string();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let what = lines.next().unwrap_or("is not valid").to_owned();
        let key = lines
            .find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'))
            .map_or_else(|| name.to_owned(), |key| format!("{name}.{key}"));
        problems.push(ConfigProblem::new(key, what));
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::domain::person::Role;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let dir = std::env::temp_dir().join(format!("config-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("bot.toml");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(text.replace("{dir}", dir.to_str().unwrap()).as_bytes())
            .unwrap();
        std::fs::write(dir.join("secret"), "  from-the-file\n").unwrap();
        std::fs::write(dir.join("empty"), " \n").unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let loaded = Config::load(Some(&path), variables);
        std::fs::remove_dir_all(&dir).unwrap();
        loaded
    }

    fn places(loaded: Result<Config, ConfigErrors>) -> Vec<String> {
        match loaded {
            Ok(_) => Vec::new(),
            Err(errors) => errors.0.into_iter().map(|problem| problem.place).collect(),
        }
    }

    #[test]
    fn nothing_configured_is_a_valid_configuration_that_cannot_serve() {
        let config = Config::load(None, []).unwrap();
        let missing = config.require_for_serve().unwrap_err().to_string();
        for key in [
            "discord.token",
            "discord.guild",
            "discord.channels",
            "discord.roles",
            "database.url",
            "sealing.keys",
        ] {
            assert!(missing.contains(key), "{key} is not asked for: {missing}");
        }
    }

    #[test]
    fn variables_override_the_file() {
        let config = load(
            "[discord]\nguild = 1\n[helm]\ntimeout_s = 60",
            &[
                ("PANGEO_BOT_DISCORD_GUILD", "22"),
                ("PANGEO_BOT_DISCORD_CHANNELS", "3, 4"),
                ("PANGEO_BOT_DISCORD_ROLES_OPERATOR", "5"),
                ("PANGEO_BOT_VO_NAME", "vo.other.eu"),
                (
                    "PANGEO_BOT_CHECKIN_ISSUERS_DEMO",
                    "http://127.0.0.1:9/realm",
                ),
                ("HOME", "/root"),
            ],
        )
        .unwrap();
        assert_eq!(config.discord.guild, Some(22));
        assert_eq!(config.discord.channels.len(), 2);
        assert_eq!(config.discord.roles.get(&Role::Operator).unwrap().len(), 1);
        assert_eq!(config.vo.name, "vo.other.eu");
        assert_eq!(config.helm.timeout.as_secs(), 60);
        assert_eq!(config.checkin.issuers.demo.port(), Some(9));
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let found = places(load(
            "[discord]\ntoken = \"oops\"\nguild = \"x\"\n[nonsense]\n[im]\nurl = \"http://im.egi.eu\"\n\
             [web]\nlink_lifetime_s = 1\n[vo]\nemail = \"x\"\n[hub]\nportt = 1",
            &[("PANGEO_BOT_WHAT", "1")],
        ));
        for place in [
            "discord.token",
            "discord.guild",
            "nonsense",
            "im.url",
            "web.link_lifetime_s",
            "vo.email",
            "hub",
            "PANGEO_BOT_WHAT",
        ] {
            assert!(
                found.iter().any(|one| one.starts_with(place)),
                "{place} is not named in {found:?}"
            );
        }
    }

    #[test]
    fn secrets_come_from_files_or_variables_and_are_not_shown() {
        let config = load(
            "[discord]\ntoken_file = \"{dir}/secret\"\n[[im.credentials]]\nname = \"ces-net\"\nkind = \"EGI\"\n\
             host = \"CESNET-MCC\"",
            &[
                ("PANGEO_BOT_DATABASE_URL", "postgres://u:hidden@h/d"),
                ("PANGEO_BOT_IM_CREDENTIAL_CES_NET", "hidden"),
            ],
        )
        .unwrap();
        assert_eq!(
            config.discord.token.as_ref().unwrap().expose_secret(),
            "from-the-file"
        );
        let credential = config.im.credential(None).unwrap();
        assert_eq!(credential.name, "ces-net");
        let secret = credential.secret.as_ref().unwrap().read().unwrap();
        assert_eq!(secret.expose_secret(), "hidden");
        let shown = format!("{config:?}");
        assert!(!shown.contains("hidden") && !shown.contains("from-the-file"));
    }

    #[test]
    fn secret_files_that_do_not_hold_are_named() {
        let found = places(load("[discord]\ntoken_file = \"{dir}/empty\"", &[]));
        assert_eq!(found, ["discord.token"]);
        let found = places(load("[database]\nurl_file = \"{dir}/absent\"", &[]));
        assert_eq!(found, ["database.url"]);
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for (url, allowed) in [
            ("http://127.0.0.1:1/im", true),
            ("http://[::1]:1/im", true),
            ("http://localhost:1/im", true),
            ("http://127.0.0.1.evil.eu/im", false),
            ("http://10.0.0.1/im", false),
            ("ftp://127.0.0.1/im", false),
            ("https://user:pw@im.egi.eu/im", false),
            ("https://im.egi.eu/im", true),
        ] {
            let found = places(load(&format!("[im]\nurl = \"{url}\""), &[]));
            assert_eq!(found.is_empty(), allowed, "{url}: {found:?}");
        }
    }

    #[test]
    fn sealing_keys_are_checked() {
        let keys = "[sealing]\ncurrent = \"b\"\n[[sealing.keys]]\nid = \"a\"\n";
        let good = "11".repeat(32);
        let found = places(load(keys, &[("PANGEO_BOT_SEALING_KEY_A", &good)]));
        assert_eq!(found, ["sealing.current"]);
        let found = places(load(
            "[[sealing.keys]]\nid = \"a\"",
            &[("PANGEO_BOT_SEALING_KEY_A", "short")],
        ));
        assert_eq!(found, ["sealing.keys.a"]);
    }
}
