//! A Discord of our own: REST, gateway, files, and the page's API, on one loopback port.
//!
//! It answers what Discord would answer to a bot like ours and refuses what Discord would refuse,
//! with Discord's codes and words. Sources: Discord's documentation and API description as of
//! 2026-08 (`domain.md` section 8), and what serenity 0.12.5 and discord.js 14 expect.
//!
//! | file | is |
//! |---|---|
//! | `state` `model` `ids` | the guild as it is kept, with its people, channels and messages |
//! | `shapes` | JSON as Discord writes it |
//! | `rest/` | `/api/v10`: routes, one file per topic |
//! | `validate` `commands_check` `limits` `openapi` | what Discord refuses |
//! | `interactions` | commands, buttons, modals, completion: their deadlines and callbacks |
//! | `gateway` `events` | the WebSocket, and who is told what |
//! | `people` `slash` `client` | what tests let people do, as Discord's own client lets them |
//! | `raw` | the same without the checks of that client |
//! | `page_api` | the same for the web page |
//! | `transcript` | the channel as text |
//!
//! How a command flows: [`Person::runs`] parses the text against the registered commands →
//! `interactions` keeps a record and dispatches `INTERACTION_CREATE` → the bot calls back over
//! `rest/webhooks` → the message is put into `state` and told to bots and page → the test, which
//! waits on [`Discord::wait_until`], goes on.
//!
//! **Invariant:** the lock of `state` is taken before any other and never held over an await.
//! **Invariant:** what a client may not see (ephemeral messages of others, content without the
//! intent) never leaves this module towards it.
//!
//! Left out: voice, polls, stickers, forums, webhooks other than those of interactions,
//! compression, ETF, user accounts over REST, and the limit of one IDENTIFY per 5 s.

mod burst;
mod client;
mod commands_check;
mod error;
mod events;
mod files;
mod gateway;
mod ids;
mod interactions;
mod journal;
mod limits;
mod model;
mod openapi;
mod page_api;
mod people;
mod raw;
mod rest;
mod shapes;
mod slash;
mod state;
mod transcript;
mod validate;
mod world_panel;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokio::sync::{broadcast, watch};

use crate::faults::Faults;
use crate::saved::Saved;
use crate::serve::{self, Background};

pub use client::Refused;
pub use gateway::Disconnect;
pub use ids::Id;
pub use interactions::Modal;
pub use journal::{Recorded, Violation};
pub use limits::RateLimits;
pub use model::{Attachment, Button, Channel, Message, Permission, Reaction};
pub use people::{Interaction, Person};
pub use state::{APPLICATION, GUILD, OTHER_BOT, PANGEO_CHANNEL, RANDOM_CHANNEL};
pub use world_panel::WorldPanel;

/// The token of the sandbox's bot. Its first part is the application id, as in a real one.
const TOKEN: &str = "MTEwMDAwMDAwMDAwMDAwMDAxMA.sandbx.this-token-opens-only-the-sandbox";

/// How long tests wait for something that should happen.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a pretend Discord is started.
#[derive(Clone, Debug)]
pub struct DiscordOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the guild is kept between restarts; only in memory if absent.
    pub state_file: Option<PathBuf>,
    /// How strictly requests are limited.
    pub rate_limits: RateLimits,
    /// How often a bot has to send a heartbeat; Discord says 41.25 s.
    pub heartbeat: Duration,
    /// How long a bot has to acknowledge an interaction; Discord gives 3 s.
    pub acknowledge_within: Duration,
    /// How long the token of an interaction is good; Discord gives 15 min.
    pub token_valid: Duration,
    /// Discord's API description, to check every request and answer against.
    pub openapi: Option<PathBuf>,
    /// Whether the application has the privileged intents (members, presences, content).
    pub privileged_intents: bool,
}

impl Default for DiscordOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state_file: None,
            rate_limits: RateLimits::AsDiscord,
            heartbeat: Duration::from_millis(41_250),
            acknowledge_within: Duration::from_secs(3),
            token_valid: Duration::from_secs(15 * 60),
            openapi: None,
            privileged_intents: false,
        }
    }
}

/// A pretend Discord that runs until it is dropped.
pub struct Discord {
    url: String,
    options: DiscordOptions,
    state: Arc<Saved<state::State>>,
    gateway: Mutex<gateway::Sessions>,
    interactions: Mutex<interactions::Interactions>,
    journal: Mutex<journal::Journal>,
    limits: Mutex<limits::Buckets>,
    files: files::Files,
    openapi: Option<openapi::OpenApi>,
    page: broadcast::Sender<events::PageEvent>,
    changes: watch::Sender<u64>,
    world: Mutex<Option<Arc<dyn WorldPanel>>>,
    faults: Faults,
    background: Background,
}

/// Takes a lock even if a task panicked while holding it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Discord {
    /// Starts serving.
    ///
    /// # Errors
    /// When the port is taken, or the state or the API description can't be read.
    pub async fn start(options: DiscordOptions) -> anyhow::Result<Arc<Self>> {
        let (listener, address) = serve::listen(options.listen).await?;
        let url = format!("http://{address}");
        let state = Arc::new(Saved::<state::State>::open(options.state_file.clone())?);
        let mut background = Background::new();
        background.keep(Arc::clone(&state));
        state.change().base.clone_from(&url);
        let openapi = options
            .openapi
            .as_ref()
            .map(|path| openapi::OpenApi::read(path))
            .transpose()?;
        let discord = Arc::new(Self {
            url,
            files: files::Files::new(options.state_file.as_deref()),
            state,
            gateway: Mutex::default(),
            interactions: Mutex::default(),
            journal: Mutex::default(),
            limits: Mutex::new(limits::Buckets::new(options.rate_limits)),
            openapi,
            page: broadcast::Sender::new(4_096),
            changes: watch::Sender::new(0),
            world: Mutex::default(),
            faults: Faults::new(),
            background,
            options,
        });
        let served = Arc::downgrade(&discord);
        let router = router(&served, &discord.faults);
        discord.background.serve(listener, router);
        discord.background.run(tick(served));
        Ok(discord)
    }

    /// `http://127.0.0.1:PORT`, for `discord.api` and for browsers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bot's token.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// The application's id, which is also the bot user's.
    pub fn application_id(&self) -> Id {
        APPLICATION
    }

    /// The guild's id.
    pub fn guild_id(&self) -> Id {
        GUILD
    }

    /// The id of `#pangeo`, the bot's channel.
    pub fn channel_id(&self) -> Id {
        PANGEO_CHANNEL
    }

    /// The id of a role by its name: `operator`, `approver`, `viewer`.
    pub fn role_id(&self, name: &str) -> Option<Id> {
        let state = self.state.read();
        state.roles.iter().find(|r| r.name == name).map(|r| r.id)
    }

    /// The faults of the REST API: failing, slow, lost answers, requests held at the door.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Sets what the page's world panel shows and does.
    pub fn set_world(&self, world: Arc<dyn WorldPanel>) {
        *lock(&self.world) = Some(world);
        self.world_changed();
    }

    /// Waits until `look` finds something, looking again after every change.
    ///
    /// # Errors
    /// When `deadline` passes first; the error contains the transcript.
    pub async fn wait_until<T>(
        &self,
        deadline: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut changes = self.changes.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(self) {
                    return found;
                }
                if changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        match tokio::time::timeout(deadline, wait).await {
            Ok(found) => Ok(found),
            Err(_) => anyhow::bail!(
                "did not happen within {deadline:?}; so far:\n{}",
                self.transcript()
            ),
        }
    }
}

/// Everything that is served: the page, its API, REST, gateway and files. Faults are set on REST.
fn router(discord: &Weak<Discord>, faults: &Faults) -> axum::Router {
    let rest = rest::router().with_state(Weak::clone(discord));
    axum::Router::new()
        .merge(gateway::router())
        .merge(files::router())
        .merge(page_api::router())
        .with_state(Weak::clone(discord))
        .merge(faults.wrap(rest))
        .merge(crate::page::router())
}

/// Lets deadlines pass, until the server is gone.
async fn tick(discord: Weak<Discord>) {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    loop {
        every.tick().await;
        let Some(discord) = discord.upgrade() else {
            return;
        };
        discord.expire_interactions();
        discord.expire_sessions();
    }
}

/// The server of a request; handlers hold no reference between requests, so that dropping
/// [`Discord`] ends it.
struct Server(Arc<Discord>);

impl FromRequestParts<Weak<Discord>> for Server {
    type Rejection = StatusCode;

    async fn from_request_parts(
        _parts: &mut Parts,
        state: &Weak<Discord>,
    ) -> Result<Self, Self::Rejection> {
        state
            .upgrade()
            .map(Self)
            .ok_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}
