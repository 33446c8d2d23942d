//! Every key of the configuration, once: what it is for, its unit and its default.
//!
//! `pangeo-bot.example.toml`, `.env.example` and `docs/configuration.md` are written from this
//! table, and a test fails when they differ. After a change run
//! `UPDATE_DOCS=1 cargo test --lib config` to write them again.

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text in quotes.
    Text,
    /// A whole number.
    Number,
    /// A list of texts.
    Texts,
    /// A list of whole numbers.
    Numbers,
    /// Never in the file: an environment variable, or a file named by `<key>_file`.
    Secret,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Section, dot, key.
    pub path: &'static str,
    /// How its value is written.
    pub form: Form,
    /// The unit of a number, or what kind of text it is.
    pub unit: &'static str,
    /// The default as TOML; `None` when there is none.
    pub default: Option<&'static str>,
    /// A value for the example file when there is no default.
    pub example: &'static str,
    /// What it is for, one or two sentences.
    pub about: &'static str,
}

impl Key {
    /// The environment variable that overrides the key.
    pub(crate) fn variable(&self) -> String {
        format!("PANGEO_BOT_{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// The variables of secrets that belong to one entry of a list.
pub(crate) const ENTRY_SECRETS: &[(&str, &str, &str)] = &[
    (
        "im.credentials",
        "PANGEO_BOT_IM_CREDENTIAL_",
        "Password or token of the cloud credential of that name (upper case, dashes as underscores).",
    ),
    (
        "sealing.keys",
        "PANGEO_BOT_SEALING_KEY_",
        "The sealing key with that id (upper case, dashes as underscores): 64 hexadecimal digits.",
    ),
];

const fn text(
    path: &'static str,
    default: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Key {
    Key {
        path,
        form: Form::Text,
        unit,
        default: Some(default),
        example: "",
        about,
    }
}

const fn number(
    path: &'static str,
    default: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Key {
    Key {
        path,
        form: Form::Number,
        unit,
        default: Some(default),
        example: "",
        about,
    }
}

const fn texts(
    path: &'static str,
    default: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Key {
    Key {
        path,
        form: Form::Texts,
        unit,
        default: Some(default),
        example: "",
        about,
    }
}

const fn unset(
    path: &'static str,
    form: Form,
    example: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Key {
    Key {
        path,
        form,
        unit,
        default: None,
        example,
        about,
    }
}

const fn secret(path: &'static str, about: &'static str) -> Key {
    Key {
        path,
        form: Form::Secret,
        unit: "secret",
        default: None,
        example: "",
        about,
    }
}

/// All keys, in the order of the example file.
pub(crate) const KEYS: &[Key] = &[
    secret(
        "discord.token",
        "The bot's token from the Discord developer portal. Needed by `serve`.",
    ),
    unset(
        "discord.application_id",
        Form::Number,
        "1180000000000000001",
        "Discord id",
        "The id of the Discord application. Needed by `serve`.",
    ),
    unset(
        "discord.guild",
        Form::Number,
        "1180000000000000002",
        "Discord id",
        "The only guild (server) in which the bot answers. Needed by `serve`.",
    ),
    unset(
        "discord.channels",
        Form::Numbers,
        "[1180000000000000003]",
        "Discord ids",
        "The channels in which the bot answers; plans and announcements go to the first. Needed by `serve`.",
    ),
    text(
        "discord.api_base",
        "\"https://discord.com/api/v10\"",
        "URL",
        "Where Discord's REST interface is; only the sandbox needs another one.",
    ),
    unset(
        "discord.roles.operator",
        Form::Numbers,
        "[1180000000000000004]",
        "Discord role ids",
        "Who may ask for changes.",
    ),
    unset(
        "discord.roles.approver",
        Form::Numbers,
        "[1180000000000000005]",
        "Discord role ids",
        "Who may approve: the VO managers.",
    ),
    unset(
        "discord.roles.viewer",
        Form::Numbers,
        "[1180000000000000006]",
        "Discord role ids",
        "Who may look: status, list, redacted logs.",
    ),
    secret(
        "database.url",
        "PostgreSQL: `postgres://user:password@host/database`. Needed by all but `check` and `render`.",
    ),
    number(
        "database.max_connections",
        "10",
        "connections",
        "The most connections to PostgreSQL, 2 to 100.",
    ),
    text(
        "im.url",
        "\"https://im.egi.eu/im\"",
        "URL",
        "The Infrastructure Manager's REST interface.",
    ),
    secret(
        "im.token",
        "An EGI Check-in access token for IM and for cloud credentials without a secret of their own. \
        A file is read again for every call, since these tokens live about an hour.",
    ),
    unset(
        "im.username",
        Form::Text,
        "\"pangeo\"",
        "text",
        "For an IM with its own user names, instead of a token.",
    ),
    secret("im.password", "The password of `im.username`."),
    number(
        "im.timeout_s",
        "30",
        "seconds",
        "How long a call of IM may take, 1 to 300; four times as long where IM has to ask a cloud.",
    ),
    unset(
        "im.default_credential",
        Form::Text,
        "\"cesnet\"",
        "name of a credential",
        "The cloud credential that `deploy` takes when none is given; the first of the list otherwise.",
    ),
    number(
        "im.listed_within_s",
        "300",
        "seconds",
        "How long IM may take until it lists a new infrastructure, 1 to 3600. A create whose answer got lost is looked for this long before another is sent.",
    ),
    text(
        "dns.url",
        "\"https://nsupdate.fedcloud.eu\"",
        "URL",
        "The dynamic DNS service.",
    ),
    unset(
        "dns.resolver",
        Form::Text,
        "\"9.9.9.9:53\"",
        "address:port",
        "The DNS server that is asked whether names resolve; the system's when not set.",
    ),
    texts(
        "dns.domains",
        "[\"vm.fedcloud.eu\"]",
        "domains",
        "Host names must lie below one of these.",
    ),
    unset(
        "checkin.client_id",
        Form::Text,
        "\"pangeo-bot\"",
        "client id",
        "The bot's own public client at Check-in, with device code and refresh token grants and `offline_access`; \
        needed for `token renew` by login and by kept refresh token.",
    ),
    text(
        "checkin.issuers.production",
        "\"https://aai.egi.eu/auth/realms/egi\"",
        "URL",
        "The issuer of production Check-in.",
    ),
    text(
        "checkin.issuers.demo",
        "\"https://aai-demo.egi.eu/auth/realms/egi\"",
        "URL",
        "The issuer of demo Check-in.",
    ),
    text(
        "checkin.issuers.development",
        "\"https://aai-dev.egi.eu/auth/realms/egi\"",
        "URL",
        "The issuer of development Check-in.",
    ),
    text(
        "hub.scheme",
        "\"https\"",
        "https or http",
        "How hubs are reached when they are checked; `http` only in tests.",
    ),
    number("hub.port", "443", "port", "The port of hubs."),
    unset(
        "hub.extra_roots_file",
        Form::Text,
        "\"/etc/pangeo-bot/roots.pem\"",
        "path of a PEM file",
        "Root certificates that are trusted beside the public ones when a hub is checked.",
    ),
    text(
        "frontend.user",
        "\"cloudadm\"",
        "user name",
        "The user on front ends; it has `sudo`.",
    ),
    number(
        "frontend.ssh_port",
        "22",
        "port",
        "The port of SSH on front ends.",
    ),
    text(
        "frontend.work_dir",
        "\"/tmp/pangeo-bot\"",
        "path of a folder",
        "A private folder of this machine for SSH sockets; keys lie there only while a connection is open.",
    ),
    text(
        "helm.repository",
        "\"https://helm.dask.org\"",
        "URL",
        "The chart repository.",
    ),
    text(
        "helm.chart",
        "\"daskhub\"",
        "chart name",
        "The chart in the repository.",
    ),
    text(
        "helm.default_version",
        "\"2022.8.2\"",
        "chart version",
        "The version that `deploy` takes when none is given; where it is known not to fit the Kubernetes version, the last fitting one of `known_versions`.",
    ),
    texts(
        "helm.known_versions",
        "[\"2022.8.2\", \"2023.1.0\", \"2024.1.0\", \"2024.1.1\"]",
        "chart versions",
        "The versions that are offered while typing, oldest first.",
    ),
    number(
        "helm.timeout_s",
        "1800",
        "seconds",
        "How long helm waits for the hub to be ready, 60 to 7200.",
    ),
    text(
        "templates.source",
        "\"https://raw.githubusercontent.com/grycap/tosca/main/templates\"",
        "URL or path of a folder",
        "Where `kubernetes.yaml` and the other TOSCA templates are.",
    ),
    texts(
        "images.registries",
        "[\"docker.io=https://registry-1.docker.io\", \"quay.io=https://quay.io\", \"ghcr.io=https://ghcr.io\"]",
        "name=URL each",
        "The registries that are asked which tags an image has, by the names that images begin with; `[]` asks none.",
    ),
    text(
        "vo.name",
        "\"vo.pangeo.eu\"",
        "VO",
        "The Virtual Organisation whose members may log in to hubs.",
    ),
    unset(
        "vo.email",
        Form::Text,
        "\"vo-managers@example.org\"",
        "e-mail address",
        "The address for Let's Encrypt when `deploy` is given none.",
    ),
    text(
        "web.listen",
        "\"127.0.0.1:8080\"",
        "address:port",
        "Where the bot's own pages listen.",
    ),
    text(
        "web.public_url",
        "\"http://127.0.0.1:8080\"",
        "URL",
        "How people reach these pages; links in the chat begin with it.",
    ),
    number(
        "web.link_lifetime_s",
        "604800",
        "seconds",
        "How long a link to an operation's log works, 60 to 31536000.",
    ),
    secret(
        "web.link_key",
        "64 hexadecimal digits that sign links; made from the sealing key when not set.",
    ),
    unset(
        "sealing.current",
        Form::Text,
        "\"2026a\"",
        "id of a key",
        "The key that new secrets are sealed with; the first of the list otherwise.",
    ),
    number(
        "operations.lease_s",
        "30",
        "seconds",
        "How long a replica owns a step without a sign of life, 5 to 600.",
    ),
    number(
        "operations.poll_ms",
        "10000",
        "milliseconds",
        "The pause between two looks at an outside system, 20 to 300000.",
    ),
    number(
        "operations.parallel",
        "8",
        "operations",
        "How many operations one replica runs at once, 1 to 64.",
    ),
    number(
        "token.refresh_wait_s",
        "1200",
        "seconds",
        "How long cron on a front end may take to make a new refresh token, 1 to 86400; it runs every 5 minutes.",
    ),
    number(
        "token.quiet_s",
        "120",
        "seconds",
        "How long the log of CLUES must not say that the token is expired before a renewal is done, 1 to 3600.",
    ),
    number(
        "watch.sample_s",
        "60",
        "seconds",
        "The pause between two counts of a cluster's nodes and pods, for the picture in `status`, 1 to 120.",
    ),
    number(
        "watch.look_s",
        "30",
        "seconds",
        "The pause between two looks at a cluster, 1 to 3600.",
    ),
    number(
        "watch.full_look_s",
        "300",
        "seconds",
        "The pause between two looks at all systems of a cluster at which nobody waits, 1 to 86400.",
    ),
    number(
        "watch.stall_after_s",
        "300",
        "seconds",
        "How long pods may wait for a node, while none is on its way, before the channel is told, 1 to 86400.",
    ),
    number(
        "watch.latent_after_s",
        "600",
        "seconds",
        "How long what would stall the next growth may last, while nobody waits, 1 to 86400.",
    ),
    number(
        "watch.boot_s",
        "1500",
        "seconds",
        "How long a node may take from the request until pods run on it, 1 to 86400.",
    ),
    number(
        "watch.blind_after_s",
        "300",
        "seconds",
        "How long a hub, or a system that the watch reads, may be silent, 1 to 86400.",
    ),
    number(
        "watch.waits_after_s",
        "1800",
        "seconds",
        "How long a stopped operation may wait for a person, 1 to 604800.",
    ),
    number(
        "watch.resolve_after_s",
        "60",
        "seconds",
        "How long something must be gone until its alert is over, 1 to 86400.",
    ),
    number(
        "watch.escalate_after_s",
        "1800",
        "seconds",
        "After so long without anybody who sees to an alert the approvers are called too, 1 to 604800.",
    ),
    number(
        "watch.again_after_s",
        "14400",
        "seconds",
        "After so long they are called once more, again and again, 60 to 604800.",
    ),
    text(
        "watch.digest_at",
        "\"07:00\"",
        "time of day, with a zone",
        "When the channel is told each day what is open and what comes up, such as `07:00 Europe/Paris`; empty is never.",
    ),
    number(
        "watch.idle_days",
        "7",
        "days",
        "After so many days without a user's server a cluster with workers on is named in the digest, 0 to 365; 0 is never.",
    ),
    secret(
        "watch.ping_url",
        "An address that is asked each minute while the clusters are looked at, so that a dead man's switch outside notices when they are not.",
    ),
    number(
        "watch.token_before_s",
        "240",
        "seconds",
        "How long before its end a front end's access token is told of, 60 to 604800; cron refreshes it when less than 600 are left, every 300.",
    ),
    texts(
        "watch.disks",
        "[\"/\", \"/pv\"]",
        "paths",
        "The folders of front ends whose file systems are watched; one that is not there is passed over. The templates export `/pv` to the pods.",
    ),
    number(
        "watch.disk_percent",
        "85",
        "percent",
        "From when on a file system is told as nearly full, of its bytes or of its files, 1 to 100.",
    ),
    text(
        "watch.backup_path",
        "\"\"",
        "path",
        "The file or folder on front ends that backups of the hub's database are written to; not watched if empty.",
    ),
    number(
        "watch.backup_age_s",
        "93600",
        "seconds",
        "How old the newest backup may be, 60 to 31536000; 26 hours are a day and a late run.",
    ),
    texts(
        "watch.off",
        "[]",
        "kinds of alerts",
        "What is not watched: scaling, blind, token, hub, gateway, certificate, pods, disk, backup, drift, operation. With all of them nothing is looked at.",
    ),
    number(
        "schedules.announce_before_s",
        "600",
        "seconds",
        "How long before a scheduled run the channel is told, 1 to 86400.",
    ),
    number(
        "schedules.late_at_most_s",
        "900",
        "seconds",
        "How late a scheduled run may start when the bot was away, 1 to 86400; a later one is left out and told.",
    ),
    number(
        "events.scale_up_before_s",
        "1800",
        "seconds",
        "How long before an event its worker nodes are powered on, 60 to 86400; a node takes some minutes to boot and to pull the image.",
    ),
    number(
        "events.people_come_within_s",
        "1800",
        "seconds",
        "How long after its start an event's worker nodes are kept on for people who come, 0 to 86400; then CLUES gives back those that are idle.",
    ),
    number(
        "events.scale_down_after_s",
        "3600",
        "seconds",
        "How long after an event the cluster's maximum goes back to what it was, 0 to 86400; a server that is still used on a node that is to go keeps it from that.",
    ),
    unset(
        "commands.dir",
        Form::Text,
        "\"/etc/pangeo-bot/commands\"",
        "path of a folder",
        "A site's own command files, added to the built-in ones.",
    ),
    text(
        "log.format",
        "\"text\"",
        "text or json",
        "How log lines look.",
    ),
    text(
        "log.filter",
        "\"info\"",
        "tracing filter",
        "Which log lines are written, such as `info,pangeo_bot::services=debug`.",
    ),
];
