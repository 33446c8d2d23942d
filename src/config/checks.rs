//! What must hold beside the types.

use std::{collections::BTreeSet, error::Error, ops::RangeInclusive};

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::{Config, ConfigProblem, Events, Watch, keys::KEYS, sections::CloudKind};
use crate::domain::{
    alert::AlertKind, email::is_email, front_end::path_problem, person::Role, time::TimeOfDay,
};

/// How old the newest backup may be, in seconds.
const BACKUP_AGE_S: RangeInclusive<u64> = 60..=31_536_000;

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn check_url(url: &Url) -> Option<&'static str> {
    if url.scheme() != "https" && url.scheme() != "http" {
        return Some("must begin with `https://`");
    }
    if url.scheme() == "http" && !is_loopback(url) {
        return Some("plain `http` is allowed only to this machine (127.0.0.1, ::1, localhost)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not contain a user name or password");
    }
    None
}

/// Whether a secret is a key of 32 bytes in hexadecimal digits.
fn is_key(secret: &SecretString) -> bool {
    hex::decode(secret.expose_secret()).is_ok_and(|bytes| bytes.len() == 32)
}

pub(super) fn check(config: &Config, problems: &mut Vec<ConfigProblem>) {
    check_urls(config, problems);
    check_ranges(config, problems);
    check_watch_ranges(&config.watch, problems);
    check_event_ranges(&config.events, problems);
    check_names(config, problems);
    check_im(config, problems);
    check_sealing(config, problems);
    check_watch(config, problems);
}

fn check_watch(config: &Config, problems: &mut Vec<ConfigProblem>) {
    let unknown = config
        .watch
        .off
        .iter()
        .filter(|word| AlertKind::from_word(word).is_none());
    let digest_at = &config.watch.digest_at;
    if !digest_at.is_empty()
        && let Err(error) = TimeOfDay::parse(digest_at)
    {
        problems.push(ConfigProblem::new("watch.digest_at", error.to_string()));
    }
    if let Some(url) = &config.watch.ping_url {
        let parsed = Url::parse(url.expose_secret()).ok();
        // The address is a secret, so it is not shown.
        if parsed.is_none_or(|url| check_url(&url).is_some()) {
            let text = "must be an address that begins with `https://`";
            problems.push(ConfigProblem::new("watch.ping_url", text));
        }
    }
    check_watched_clusters(&config.watch, problems);
    check_watched_paths(&config.watch, problems);
    let known = AlertKind::ALL.map(AlertKind::as_str).join(", ");
    problems.extend(unknown.map(|word| {
        ConfigProblem::new(
            "watch.off",
            format!("`{word}` is nothing that is watched; allowed: {known}"),
        )
    }));
}

fn check_watched_clusters(watch: &Watch, problems: &mut Vec<ConfigProblem>) {
    for cluster in &watch.clusters {
        let limits = [
            cluster.stall_after_s,
            cluster.latent_after_s,
            cluster.boot_s,
        ];
        let is_out = |range: RangeInclusive<u64>, s: &u64| !range.contains(s);
        let name = || format!("watch.clusters.{}", cluster.name);
        if limits.iter().flatten().any(|s| is_out(1..=86_400, s)) {
            let text = "a limit is out of range: 1 to 86400 seconds";
            problems.push(ConfigProblem::new(name(), text));
        }
        if cluster
            .backup_age_s
            .is_some_and(|s| is_out(BACKUP_AGE_S, &s))
        {
            let text = "`backup_age_s` is out of range: 60 to 31536000 seconds";
            problems.push(ConfigProblem::new(name(), text));
        }
    }
}

/// Paths on front ends.
fn check_watched_paths(watch: &Watch, problems: &mut Vec<ConfigProblem>) {
    let disks = watch.disks.iter().map(|path| ("watch.disks", path));
    let backup = [("watch.backup_path", &watch.backup_path)].into_iter();
    let of_clusters = watch.clusters.iter().filter_map(|cluster| {
        let path = cluster.backup_path.as_ref()?;
        Some(("watch.clusters", path))
    });
    let backups = backup.chain(of_clusters);
    let paths = disks.chain(backups.filter(|(_, path)| !path.is_empty()));
    problems.extend(paths.filter_map(|(key, path)| {
        let problem = path_problem(path)?;
        Some(ConfigProblem::new(key, format!("`{path}` {problem}")))
    }));
}

fn check_urls(config: &Config, problems: &mut Vec<ConfigProblem>) {
    let issuers = &config.checkin.issuers;
    let urls = [
        ("discord.api_base", &config.discord.api_base),
        ("im.url", &config.im.url),
        ("dns.url", &config.dns.url),
        ("checkin.issuers.production", &issuers.production),
        ("checkin.issuers.demo", &issuers.demo),
        ("checkin.issuers.development", &issuers.development),
        ("helm.repository", &config.helm.repository),
        ("web.public_url", &config.web.public_url),
    ];
    for (key, url) in urls {
        if let Some(text) = check_url(url) {
            problems.push(ConfigProblem::new(key, text));
        }
    }
    let registries = match config.images.by_name() {
        Ok(registries) => registries.values().find_map(check_url).map(str::to_owned),
        Err(entry) => Some(format!(
            "`{entry}` is no registry; write such as `quay.io=https://quay.io`"
        )),
    };
    problems.extend(registries.map(|text| ConfigProblem::new("images.registries", text)));
    let source = &config.templates.source;
    if source.contains("://") {
        let text = match Url::parse(source) {
            Ok(url) => check_url(&url).map(str::to_owned),
            Err(error) => Some(format!("is not a URL: {error}")),
        };
        if let Some(text) = text {
            problems.push(ConfigProblem::new("templates.source", text));
        }
    } else if source.is_empty() {
        problems.push(ConfigProblem::new(
            "templates.source",
            "must be a URL or the path of a folder",
        ));
    }
}

fn check_ranges(config: &Config, problems: &mut Vec<ConfigProblem>) {
    let numbers = [
        (
            "database.max_connections",
            config.database.max_connections.into(),
            2..=100,
        ),
        (
            "im.listed_within_s",
            config.im.listed_within.as_secs(),
            1..=3600,
        ),
        ("im.timeout_s", config.im.timeout.as_secs(), 1..=300),
        ("helm.timeout_s", config.helm.timeout.as_secs(), 60..=7200),
        (
            "web.link_lifetime_s",
            config.web.link_lifetime.as_secs(),
            60..=31_536_000,
        ),
        (
            "operations.lease_s",
            config.operations.lease.as_secs(),
            5..=600,
        ),
        (
            "operations.poll_ms",
            u64::try_from(config.operations.poll.as_millis()).unwrap_or(u64::MAX),
            20..=300_000,
        ),
        (
            "operations.parallel",
            config.operations.parallel as u64,
            1..=64,
        ),
        (
            "token.refresh_wait_s",
            config.token.refresh_wait.as_secs(),
            1..=86_400,
        ),
        ("token.quiet_s", config.token.quiet.as_secs(), 1..=3600),
        (
            "schedules.announce_before_s",
            config.schedules.announce_before.as_secs(),
            1..=86_400,
        ),
        (
            "schedules.late_at_most_s",
            config.schedules.late_at_most.as_secs(),
            1..=86_400,
        ),
    ];
    check_numbers(&numbers, problems);
}

fn check_event_ranges(events: &Events, problems: &mut Vec<ConfigProblem>) {
    let numbers = [
        (
            "events.scale_up_before_s",
            events.scale_up_before.as_secs(),
            60..=86_400,
        ),
        (
            "events.people_come_within_s",
            events.people_come_within.as_secs(),
            0..=86_400,
        ),
        (
            "events.scale_down_after_s",
            events.scale_down_after.as_secs(),
            0..=86_400,
        ),
    ];
    check_numbers(&numbers, problems);
}

fn check_watch_ranges(watch: &Watch, problems: &mut Vec<ConfigProblem>) {
    let numbers = [
        ("watch.sample_s", watch.sample.as_secs(), 1..=120),
        ("watch.look_s", watch.look.as_secs(), 1..=3600),
        ("watch.full_look_s", watch.full_look.as_secs(), 1..=86_400),
        (
            "watch.stall_after_s",
            watch.stall_after.as_secs(),
            1..=86_400,
        ),
        (
            "watch.latent_after_s",
            watch.latent_after.as_secs(),
            1..=86_400,
        ),
        ("watch.boot_s", watch.boot.as_secs(), 1..=86_400),
        (
            "watch.token_before_s",
            watch.token_before.as_secs(),
            60..=604_800,
        ),
        ("watch.idle_days", watch.idle_days.into(), 0..=365),
        ("watch.disk_percent", watch.disk_percent.into(), 1..=100),
        (
            "watch.backup_age_s",
            watch.backup_age.as_secs(),
            BACKUP_AGE_S,
        ),
        (
            "watch.blind_after_s",
            watch.blind_after.as_secs(),
            1..=86_400,
        ),
        (
            "watch.waits_after_s",
            watch.waits_after.as_secs(),
            1..=604_800,
        ),
        (
            "watch.resolve_after_s",
            watch.resolve_after.as_secs(),
            1..=86_400,
        ),
        (
            "watch.escalate_after_s",
            watch.escalate_after.as_secs(),
            1..=604_800,
        ),
        (
            "watch.again_after_s",
            watch.again_after.as_secs(),
            60..=604_800,
        ),
    ];
    check_numbers(&numbers, problems);
}

/// What is out of its range.
fn check_numbers(numbers: &[(&str, u64, RangeInclusive<u64>)], problems: &mut Vec<ConfigProblem>) {
    for (key, value, range) in numbers {
        if !range.contains(value) {
            let unit = KEYS
                .iter()
                .find(|one| one.path == *key)
                .map_or("", |key| key.unit);
            problems.push(ConfigProblem::new(
                *key,
                format!(
                    "{value} is out of range: {} to {} {unit}",
                    range.start(),
                    range.end()
                ),
            ));
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.starts_with(['-', '.'])
}

fn check_names(config: &Config, problems: &mut Vec<ConfigProblem>) {
    let names = [
        ("frontend.user", &config.frontend.user),
        ("helm.chart", &config.helm.chart),
        ("helm.default_version", &config.helm.default_version),
        ("vo.name", &config.vo.name),
    ];
    let versions = config.helm.known_versions.iter();
    for (key, name) in names
        .into_iter()
        .chain(versions.map(|version| ("helm.known_versions", version)))
    {
        if !is_plain(name) {
            problems.push(ConfigProblem::new(
                key,
                "use letters, digits, `-`, `_` and `.`, at most 100, beginning with a letter or digit",
            ));
        }
    }
    if config
        .vo
        .email
        .as_deref()
        .is_some_and(|email| !is_email(email))
    {
        problems.push(ConfigProblem::new(
            "vo.email",
            "is not an e-mail address; write one such as `name@example.org`",
        ));
    }
    if config.dns.domains.is_empty() {
        problems.push(ConfigProblem::new(
            "dns.domains",
            "name at least one domain",
        ));
    }
}

fn check_im(config: &Config, problems: &mut Vec<ConfigProblem>) {
    let mut seen = BTreeSet::new();
    for one in &config.im.credentials {
        let key = format!("im.credentials.{}", one.name);
        if !is_plain(&one.name) || one.name.len() > 32 {
            problems.push(ConfigProblem::new(
                key.clone(),
                "a name has letters, digits, `-`, `_`, at most 32",
            ));
        }
        if !seen.insert(&one.name) {
            problems.push(ConfigProblem::new(key.clone(), "this name is given twice"));
        }
        let needs_host = match one.kind {
            CloudKind::Egi | CloudKind::OpenStack => true,
            CloudKind::Dummy => false,
        };
        if needs_host && one.host.is_none() {
            problems.push(ConfigProblem::new(
                key,
                "`host` is needed for this kind of cloud",
            ));
        }
    }
    if let Some(name) = &config.im.default_credential
        && !seen.contains(name)
    {
        problems.push(ConfigProblem::new(
            "im.default_credential",
            format!("there is no credential `{name}` in `im.credentials`"),
        ));
    }
    if config.im.username.is_some() != config.im.password.is_some() {
        problems.push(ConfigProblem::new(
            "im.username",
            "a user name and a password go together; give both or none",
        ));
    }
}

fn check_sealing(config: &Config, problems: &mut Vec<ConfigProblem>) {
    const HOW: &str = "must be 64 hexadecimal digits; make one with `openssl rand -hex 32`";
    let mut seen = BTreeSet::new();
    for one in &config.sealing.keys {
        let place = format!("sealing.keys.{}", one.id);
        if !is_plain(&one.id) || one.id.len() > 32 {
            problems.push(ConfigProblem::new(
                place.clone(),
                "an id has letters, digits, `-`, `_`, at most 32",
            ));
        }
        if !seen.insert(&one.id) {
            problems.push(ConfigProblem::new(place.clone(), "this id is given twice"));
        }
        if one.key.as_ref().is_some_and(|key| !is_key(key)) {
            problems.push(ConfigProblem::new(place, HOW));
        }
    }
    if let Some(current) = &config.sealing.current
        && !seen.contains(current)
    {
        problems.push(ConfigProblem::new(
            "sealing.current",
            format!("there is no key `{current}` in `sealing.keys`"),
        ));
    }
    if config.web.link_key.as_ref().is_some_and(|key| !is_key(key)) {
        problems.push(ConfigProblem::new("web.link_key", HOW));
    }
}

fn missing(key: &str) -> ConfigProblem {
    let found = KEYS.iter().find(|one| one.path == key);
    let text = found.map_or_else(
        || "is not set".to_owned(),
        |key| format!("is not set; {} Variable: `{}`", key.about, key.variable()),
    );
    ConfigProblem::new(key, text)
}

pub(super) fn missing_for_discord(config: &Config) -> Vec<ConfigProblem> {
    let discord = &config.discord;
    let mut problems = Vec::new();
    if discord.token.is_none() {
        problems.push(missing("discord.token"));
    }
    if discord.application_id.is_none() {
        problems.push(missing("discord.application_id"));
    }
    if discord.guild.is_none() {
        problems.push(missing("discord.guild"));
    }
    problems
}

pub(super) fn missing_for_database(config: &Config) -> Vec<ConfigProblem> {
    match config.database.url {
        Some(_) => Vec::new(),
        None => vec![missing("database.url")],
    }
}

pub(super) fn missing_for_serve(config: &Config) -> Vec<ConfigProblem> {
    let mut problems = missing_for_discord(config);
    if config.discord.channels.is_empty() {
        problems.push(missing("discord.channels"));
    }
    for role in [Role::Operator, Role::Approver] {
        if config.discord.roles.get(&role).is_none_or(Vec::is_empty) {
            problems.push(missing(&format!("discord.roles.{role}")));
        }
    }
    problems.extend(missing_for_database(config));
    match config.sealing.current_key() {
        None => problems.push(ConfigProblem::new(
            "sealing.keys",
            "there is no key; add `[[sealing.keys]]` with an `id`, and its value in `PANGEO_BOT_SEALING_KEY_<ID>` or `key_file`",
        )),
        Some(key) if key.key.is_none() => problems.push(ConfigProblem::new(
            format!("sealing.keys.{}", key.id),
            "the key has no value; set `PANGEO_BOT_SEALING_KEY_<ID>` or `key_file`",
        )),
        Some(_) => {}
    }
    if config.im.credentials.is_empty() {
        problems.push(ConfigProblem::new(
            "im.credentials",
            "there is no cloud; add `[[im.credentials]]` with `name`, `kind` and `host`",
        ));
    }
    if config.im.token.is_none() && config.im.username.is_none() {
        problems.push(missing("im.token"));
    }
    for one in &config.im.credentials {
        let needs_secret = match one.kind {
            CloudKind::Egi | CloudKind::OpenStack => true,
            CloudKind::Dummy => false,
        };
        if needs_secret && one.secret.is_none() && config.im.token.is_none() {
            problems.push(ConfigProblem::new(
                format!("im.credentials.{}", one.name),
                "has no secret and there is no `im.token` instead; set `secret_file`",
            ));
        }
    }
    problems
}
