//! The whole world around one bot: Discord, Infrastructure Manager, Dynamic DNS, Check-in and front
//! ends, wired together, and the bot as a child process.
//!
//! ```text
//!        page ──▶ Discord ◀──REST, gateway── bot ──▶ IM ──▶ front ends (sshd, helm, Kubernetes, hub)
//!          │                                  ├────▶ Dynamic DNS ◀── resolver
//!          └──▶ panel: look and break         ├────▶ Check-in
//!                                             └────▶ registry of images
//! ```
//!
//! [`World::start`] starts the services; [`World::bot_settings`] is what a bot must be told to live
//! in it; [`bot::BotProcess`] runs the unmodified binary with them.

pub mod bot;
mod by_hand;
mod causes;
mod hubs;
pub mod panel;
mod ports;
mod settings;
mod stalls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;

pub use by_hand::ByHand;
pub use causes::StallCause;
pub use settings::BotSettings;

use crate::checkin::{Checkin, CheckinOptions, ClientRegistration};
use crate::discord::{Discord, DiscordOptions};
use crate::dns::{Dns, DnsOptions};
use crate::frontend::{Ec3Options, FrontEnds, FrontEndsOptions};
use crate::im::{Im, ImOptions, SpeedOptions};
use crate::pace::Pace;
use crate::registry::Registry;
use ports::Ports;

/// How fast the pretend cloud is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// Fractions of a second.
    Tests,
    /// Slow enough to watch: a deploy takes about a minute.
    Watch,
}

/// How a world is started.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Where its files lie. State is kept there if `keep_state`; short, since it holds sockets.
    pub dir: PathBuf,
    /// Where the page and Discord listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether state outlives the world.
    pub keep_state: bool,
    /// How fast the pretend cloud is.
    pub speed: Speed,
    /// How Discord behaves, except where it listens and keeps its state.
    pub discord: DiscordOptions,
}

impl WorldOptions {
    /// A fast world on free ports that keeps nothing.
    pub fn for_tests(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            listen: ([127, 0, 0, 1], 0).into(),
            keep_state: false,
            speed: Speed::Tests,
            discord: DiscordOptions::default(),
        }
    }
}

/// Everything around one bot.
pub struct World {
    /// Discord, with the page.
    pub discord: Arc<Discord>,
    /// Infrastructure Manager.
    pub im: Arc<Im>,
    /// Dynamic DNS with its name server.
    pub dns: Arc<Dns>,
    /// EGI Check-in, all three instances in one.
    pub checkin: Arc<Checkin>,
    /// A registry of container images.
    pub registry: Arc<Registry>,
    /// The front ends.
    pub front_ends: Arc<FrontEnds>,
    dir: PathBuf,
    speed: Speed,
    pace: Pace,
    is_paced: AtomicBool,
}

/// The person whose access token the bot shows to IM, and who so owns all infrastructures.
pub const BOT_USER: &str = "pangeo-bot";

/// The bot's own public client at Check-in.
pub const BOT_CLIENT: &str = "pangeo-bot-client";

/// How long that token lives when it is minted.
const TOKEN_LIFETIME_H: i64 = 24;

/// The domain of host names.
pub const DOMAIN: &str = "vm.fedcloud.eu";

/// A host name that everything is prepared for, so that the first command works.
pub const PREPARED_HOST: &str = "pangeo.vm.fedcloud.eu";

/// The update secret of every prepared host.
pub const DNS_SECRET: &str = "sandbox-dns-secret";

/// The OIDC client of [`PREPARED_HOST`].
pub const CLIENT_ID: &str = "sandbox-client";

/// Its secret.
pub const CLIENT_SECRET: &str = "sandbox-client-secret";

impl World {
    /// Starts all services.
    ///
    /// # Errors
    /// When a port is taken, the state does not read, or `sshd` is not installed.
    pub async fn start(options: WorldOptions) -> anyhow::Result<Arc<Self>> {
        let dir = options.dir;
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let file = |name: &str| options.keep_state.then(|| dir.join(name));
        let ports = Ports::new(options.listen, file("ports.json"))?;
        let discord = Discord::start(DiscordOptions {
            listen: options.listen,
            state_file: file("discord.json"),
            ..options.discord
        })
        .await
        .context("start Discord")?;
        let dns = Dns::start(DnsOptions {
            listen: ports.choose("dns", 3)?,
            name_server: ports.choose("name-server", 4)?,
            state_file: file("dns.json"),
            propagation: match options.speed {
                Speed::Tests => Duration::ZERO,
                Speed::Watch => Duration::from_secs(3),
            },
        })
        .await
        .context("start Dynamic DNS")?;
        let checkin = Checkin::start(CheckinOptions {
            listen: ports.choose("checkin", 5)?,
            state_file: file("checkin.json"),
            token_lifetime: Duration::from_secs(3600),
        })
        .await
        .context("start Check-in")?;
        let registry = Registry::start(ports.choose("registry", 6)?)
            .await
            .context("start the registry of images")?;
        let pace = Pace::default();
        let own = front_end_options(dir.join("fe"), &checkin, options.speed, &pace);
        let front_ends = FrontEnds::start(own)
            .await
            .context("start the front ends")?;
        let im = Im::start(ImOptions {
            listen: ports.choose("im", 2)?,
            state_file: file("im.json"),
            speed: match options.speed {
                Speed::Tests => SpeedOptions::for_tests(),
                Speed::Watch => SpeedOptions::to_watch(),
            },
            machines: front_ends.clone(),
            dns: Some(dns.clone()),
            checkin: Some(checkin.clone()),
        })
        .await
        .context("start Infrastructure Manager")?;
        front_ends.use_workers(im.workers());
        let world = Self {
            discord,
            im,
            dns,
            checkin,
            registry,
            front_ends,
            dir,
            speed: options.speed,
            pace,
            is_paced: AtomicBool::default(),
        };
        world.prepare()?;
        Ok(Arc::new(world))
    }

    /// What people would have prepared before the first command: a host with its secret, a client
    /// with its redirect URI, and an access token for the bot.
    fn prepare(&self) -> anyhow::Result<()> {
        if self.dns.hosts().is_empty() {
            self.prepare_host(PREPARED_HOST);
        }
        if self.checkin.clients().is_empty() {
            self.prepare_client(CLIENT_ID, CLIENT_SECRET, PREPARED_HOST);
        }
        self.checkin
            .add_client(BOT_CLIENT, ClientRegistration::default());
        self.renew_token()
    }

    /// Adds a host to Dynamic DNS, as its portal would.
    pub fn prepare_host(&self, host: &str) {
        self.dns.add_host(host, DNS_SECRET);
    }

    /// Registers an OIDC client for a host, as the Federation Registry would.
    pub fn prepare_client(&self, id: &str, secret: &str, host: &str) {
        self.checkin.add_client(
            id,
            ClientRegistration {
                secret: Some(secret.to_owned()),
                redirect_uris: vec![format!("https://{host}/hub/oauth_callback")],
                disabled: false,
            },
        );
    }

    /// Writes a fresh access token to where the bot reads it.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn renew_token(&self) -> anyhow::Result<()> {
        self.write_token(chrono::Duration::hours(TOKEN_LIFETIME_H))
    }

    /// Writes an access token of this lifetime; a negative one has expired.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_token(&self, lifetime: chrono::Duration) -> anyhow::Result<()> {
        let token = self.checkin.mint_token(BOT_USER, lifetime)?;
        let (path, beside) = (self.token_file(), self.dir.join("im-token.tmp"));
        std::fs::write(&beside, token).with_context(|| format!("write {}", beside.display()))?;
        std::fs::rename(&beside, &path).with_context(|| format!("write {}", path.display()))
    }

    /// Lets the access token of every front end be expired, and its refresh token worthless.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn expire_front_ends(&self) -> anyhow::Result<()> {
        let expired = self
            .checkin
            .mint_token(BOT_USER, chrono::Duration::hours(-1))?;
        for infrastructure in self.front_ends.infrastructures() {
            self.front_ends
                .leave_with_token(&infrastructure, &expired)?;
        }
        Ok(())
    }

    /// Where the bot reads its access token.
    pub fn token_file(&self) -> PathBuf {
        self.dir.join("im-token")
    }

    /// Where the files of this world lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lets pretend time pass this many times as fast, 1 to 600: users, CLUES and machines, which
    /// from now on take their real time (five minutes to boot) divided by it.
    ///
    /// Tokens live by the clock all the same, since the bot reads their ends.
    pub fn set_pace(&self, times: u32) {
        self.pace.set(times);
        self.is_paced.store(true, Ordering::Relaxed);
        let takes = |seconds| self.pace.takes(Duration::from_secs(seconds));
        self.im.set_speed(SpeedOptions {
            pending: takes(60),
            configuring: takes(240),
            deleting: takes(30),
            listing: takes(5),
        });
    }

    /// How many times as fast pretend time passes; `None` while it does as it began: users and CLUES
    /// at their real pace, machines as quick as [`Speed`] says.
    pub fn pace(&self) -> Option<u32> {
        let is_set = self.is_paced.load(Ordering::Relaxed);
        is_set.then(|| self.pace.times())
    }

    /// How fast the pretend cloud is.
    pub fn speed(&self) -> Speed {
        self.speed
    }
}

/// How front ends are made.
fn front_end_options(
    dir: PathBuf,
    checkin: &Arc<Checkin>,
    speed: Speed,
    pace: &Pace,
) -> FrontEndsOptions {
    FrontEndsOptions {
        install_time: match speed {
            Speed::Tests => Duration::from_millis(300),
            Speed::Watch => Duration::from_secs(15),
        },
        reconsider: match speed {
            Speed::Tests => Duration::ZERO,
            Speed::Watch => Duration::from_secs(5),
        },
        ec3: Some(ec3_options(Arc::clone(checkin), speed)),
        pace: pace.clone(),
        ..FrontEndsOptions::new(dir)
    }
}

/// How the tokens of front ends live.
fn ec3_options(checkin: Arc<Checkin>, speed: Speed) -> Ec3Options {
    Ec3Options {
        checkin,
        user: BOT_USER.to_owned(),
        refresh_every: match speed {
            Speed::Tests => Duration::from_millis(400),
            Speed::Watch => Duration::from_secs(20),
        },
    }
}
