//! What a bot must be told to live in a world.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

use super::{DOMAIN, Speed, World};

/// A configuration file and the variables beside it.
#[derive(Clone, Debug)]
pub struct BotSettings {
    /// The configuration file, written into the world's folder.
    pub config_file: PathBuf,
    /// The variables with the secrets.
    pub variables: Vec<(String, String)>,
    /// Where the bot's own pages listen.
    pub web: SocketAddr,
}

/// The key that seals secrets in the sandbox. It protects nothing.
const SEALING_KEY: &str = "73616e64626f782073616e64626f782073616e64626f782073616e64626f7821";

impl World {
    /// Writes the bot's configuration file and gives it with the variables that hold secrets.
    ///
    /// `more` is appended to the file, to change what a test wants to change.
    ///
    /// # Errors
    /// When the file can't be written or no port is free.
    pub fn bot_settings(
        &self,
        name: &str,
        database_url: &str,
        web: SocketAddr,
        more: &str,
    ) -> anyhow::Result<BotSettings> {
        let web = free_port(web)?;
        let roots = self.dir.join("roots.pem");
        std::fs::write(&roots, self.front_ends.ca_pem()).context("write the root certificate")?;
        let text = format!("{}\n{more}\n", self.bot_config(name, web));
        let config_file = self.dir.join(format!("{name}.toml"));
        std::fs::write(&config_file, text)
            .with_context(|| format!("write {}", config_file.display()))?;
        let variable = |name: &str, value: &str| (format!("PANGEO_BOT_{name}"), value.to_owned());
        let variables = vec![
            variable("CONFIG", &config_file.display().to_string()),
            variable("DATABASE_URL", database_url),
            variable("DISCORD_TOKEN", self.discord.token()),
            variable("SEALING_KEY_SANDBOX", SEALING_KEY),
        ];
        Ok(BotSettings {
            config_file,
            variables,
            web,
        })
    }

    fn bot_config(&self, name: &str, web: SocketAddr) -> String {
        let discord = &self.discord;
        let role = |name: &str| {
            discord
                .role_id(name)
                .map_or_else(|| "0".to_owned(), |id| id.to_string())
        };
        let (poll_ms, lease_s, quiet_s, sample_s) = match self.speed {
            Speed::Tests => (100, 5, 1, 60),
            Speed::Watch => (2_000, 15, 15, 10),
        };
        let alerts = self.alerts_config();
        let dir = self.dir.display();
        let clouds = self.clouds_config();
        format!(
            r#"# Written by the sandbox. Everything here is a simulation.
[discord]
application_id = {application}
guild = {guild}
channels = [{channel}]
api_base = "{api}/api/v10"

[discord.roles]
operator = [{operator}]
approver = [{approver}]
viewer = [{viewer}]

{clouds}
[hub]
port = 8443
extra_roots_file = "{dir}/roots.pem"

[frontend]
ssh_port = 2222
work_dir = "{work_dir}"

[templates]
source = "{templates}"

[images]
registries = ["docker.io={registry}"]

[vo]
name = "vo.pangeo.eu"
email = "sandbox@example.org"

[web]
listen = "{web}"
public_url = "http://{web}"

[sealing]
current = "sandbox"
[[sealing.keys]]
id = "sandbox"

[operations]
lease_s = {lease_s}
poll_ms = {poll_ms}

[token]
quiet_s = {quiet_s}

[watch]
sample_s = {sample_s}
{alerts}
"#,
            application = discord.application_id(),
            guild = discord.guild_id(),
            channel = discord.channel_id(),
            api = discord.url(),
            operator = role("operator"),
            approver = role("approver"),
            viewer = role("viewer"),
            templates = self.im.templates_url(),
            registry = self.registry.url(),
            work_dir = std::env::temp_dir()
                .join(format!("pb-{}-{name}", std::process::id()))
                .display(),
        )
    }
}

impl World {
    /// A test that is not about alerts shall meet none; on the page a stall is told within minutes.
    fn alerts_config(&self) -> &'static str {
        match self.speed {
            Speed::Tests => {
                r#"digest_at = ""
off = ["scaling", "blind", "token", "hub", "gateway", "certificate", "pods", "disk", "backup", "drift", "operation"]"#
            }
            Speed::Watch => {
                "disks = [\"/\", \"/var/tmp\"]
look_s = 5
full_look_s = 20
stall_after_s = 45
latent_after_s = 60
boot_s = 240
blind_after_s = 45
waits_after_s = 300
resolve_after_s = 15"
            }
        }
    }

    /// Infrastructure Manager with its cloud, Dynamic DNS and Check-in.
    fn clouds_config(&self) -> String {
        let issuer = self.checkin.issuer();
        let listed_within_s = match self.speed {
            Speed::Tests => 2,
            Speed::Watch => 5,
        };
        format!(
            r#"[im]
url = "{im}"
token_file = "{token_file}"
listed_within_s = {listed_within_s}

[[im.credentials]]
name = "sandbox-site"
kind = "EGI"
host = "SANDBOX"
vo = "vo.pangeo.eu"
image = "ost://sandbox/ubuntu-jammy"
secret_file = "{token_file}"

[dns]
url = "{dns}"
resolver = "{resolver}"
domains = ["{DOMAIN}"]

[checkin]
client_id = "{client}"

[checkin.issuers]
production = "{issuer}"
demo = "{issuer}"
development = "{issuer}"
"#,
            client = super::BOT_CLIENT,
            im = self.im.url(),
            token_file = self.token_file().display(),
            dns = self.dns.url(),
            resolver = self.dns.name_server(),
        )
    }
}

/// The address itself, or one with a port that was free a moment ago and that nobody else gets
/// while the bot is down: each of this process once, from below those that Linux gives to
/// connections (`net.ipv4.ip_local_port_range` begins at 32768).
fn free_port(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: std::ops::Range<u32> = 10_240..32_768;

    if address.port() != 0 {
        return Ok(address);
    }
    // Processes beside each other begin far apart.
    let first = std::process::id().wrapping_mul(997);
    for _port in PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + first.wrapping_add(step) % (PORTS.end - PORTS.start);
        let address = SocketAddr::new(address.ip(), u16::try_from(port)?);
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no port of {PORTS:?} is free")
}
