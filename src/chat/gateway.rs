//! The connection on which Discord tells what happens.
//!
//! Of all replicas only the one that holds the lease `gateway` connects; the others stand by and
//! take over when it ends. The handlers below do nothing but pass on: interactions to [`Dispatch`],
//! changes of reactions and messages into [`Hints`], where they collapse.
//!
//! **Invariant:** serenity runs each handler in a task of its own, so none holds the others up.
//! **Invariant:** we never connect before `GET /gateway/bot` was answered, since serenity would
//! take the public gateway instead and try for ever without telling.

use std::sync::Arc;
use std::time::Duration;

use serenity::all::{
    ChannelId, Context, EventHandler, GatewayError, GatewayIntents, GuildId, Interaction,
    MessageId, Reaction, Ready, ResumedEvent, ShardStageUpdateEvent,
};
use serenity::client::ClientBuilder;
use serenity::gateway::ConnectionStage;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::ChatError;
use super::dispatch::Dispatch;
use super::reactions::Hints;
use super::rest::{ErrorClass, Rest, RestError};
use crate::domain::health::{Gateway, Health};
use crate::domain::ids::{DiscordChannelId, DiscordMessageId, DiscordUserId};
use crate::store::Store;

/// The lease of the one who connects.
const LEASE: &str = "gateway";
/// How long the lease lasts without a sign of life.
const LEASE_TTL: Duration = Duration::from_secs(8);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long a connection may take before everything is begun anew.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);
/// How long the connection may take to close.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(2);
/// The longest pause between two tries to reach Discord.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What Discord tells us about. None of these is privileged. Messages are told without what people
/// write, which is an intent of its own; we want to know that a plan's message was deleted
/// (<https://discord.com/developers/docs/events/gateway#list-of-intents>, 2026-08).
const INTENTS: GatewayIntents = GatewayIntents::GUILDS
    .union(GatewayIntents::GUILD_MESSAGES)
    .union(GatewayIntents::GUILD_MESSAGE_REACTIONS);

/// Where the connection stands; told to those inside who wait for it, and to the health page.
#[derive(Clone, Debug)]
pub(crate) struct State {
    sender: watch::Sender<Gateway>,
    health: Health,
}

impl State {
    pub(crate) fn new(health: Health) -> Self {
        Self {
            sender: watch::Sender::new(Gateway::Starting),
            health,
        }
    }

    pub(crate) fn set(&self, gateway: Gateway) {
        self.health.set_gateway(gateway);
        self.sender.send_replace(gateway);
    }

    pub(crate) fn now(&self) -> Gateway {
        *self.sender.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Gateway> {
        self.sender.subscribe()
    }
}

/// Passes on what Discord tells.
struct Handler {
    dispatch: Dispatch,
    hints: Arc<Hints>,
    state: State,
    me: DiscordUserId,
}

impl Handler {
    fn reacted(&self, reaction: &Reaction) {
        if reaction.user_id.map(UserIdExt::to_ours) != Some(self.me) {
            self.hints
                .reactions_changed(DiscordMessageId(reaction.message_id.get()));
        }
    }

    fn deleted(&self, message: MessageId) {
        self.hints.message_gone(DiscordMessageId(message.get()));
    }
}

/// Serenity's ids as ours.
trait UserIdExt {
    fn to_ours(self) -> DiscordUserId;
}

impl UserIdExt for serenity::all::UserId {
    fn to_ours(self) -> DiscordUserId {
        DiscordUserId(self.get())
    }
}

#[serenity::async_trait]
impl EventHandler for Handler {
    async fn ready(&self, _context: Context, ready: Ready) {
        tracing::info!(guilds = ready.guilds.len(), "connected to Discord");
        self.state.set(Gateway::Connected);
        self.hints.everything_changed();
    }

    async fn resume(&self, _context: Context, _event: ResumedEvent) {
        tracing::info!("the connection to Discord goes on");
        self.state.set(Gateway::Connected);
        self.hints.everything_changed();
    }

    async fn shard_stage_update(&self, _context: Context, event: ShardStageUpdateEvent) {
        if event.new == ConnectionStage::Disconnected {
            tracing::warn!("lost the connection to Discord; connecting again");
            self.state.set(Gateway::Reconnecting);
        }
    }

    async fn interaction_create(&self, _context: Context, interaction: Interaction) {
        self.dispatch.take(interaction).await;
    }

    async fn reaction_add(&self, _context: Context, reaction: Reaction) {
        self.reacted(&reaction);
    }

    async fn reaction_remove(&self, _context: Context, reaction: Reaction) {
        self.reacted(&reaction);
    }

    async fn reaction_remove_all(
        &self,
        _context: Context,
        _channel: ChannelId,
        message: MessageId,
    ) {
        self.hints
            .reactions_changed(DiscordMessageId(message.get()));
    }

    async fn reaction_remove_emoji(&self, _context: Context, reaction: Reaction) {
        self.hints
            .reactions_changed(DiscordMessageId(reaction.message_id.get()));
    }

    async fn message_delete(
        &self,
        _context: Context,
        _channel: ChannelId,
        message: MessageId,
        _guild: Option<GuildId>,
    ) {
        self.deleted(message);
    }

    async fn message_delete_bulk(
        &self,
        _context: Context,
        _channel: ChannelId,
        messages: Vec<MessageId>,
        _guild: Option<GuildId>,
    ) {
        for message in messages {
            self.deleted(message);
        }
    }
}

/// Keeps the connection, when it is this replica's turn.
pub(crate) struct Connection {
    pub(crate) rest: Rest,
    pub(crate) store: Store,
    pub(crate) replica: String,
    pub(crate) me: DiscordUserId,
    pub(crate) dispatch: Dispatch,
    pub(crate) hints: Arc<Hints>,
    pub(crate) state: State,
}

impl Connection {
    /// Runs until the bot ends.
    ///
    /// # Errors
    /// When Discord refuses the token or the intents: nothing but a person can mend that.
    pub(crate) async fn run(self, ended: CancellationToken) -> Result<(), ChatError> {
        while !ended.is_cancelled() {
            match self.take_lease().await {
                Some(true) => {
                    let connected = self.connect(&ended).await;
                    self.state.set(Gateway::Reconnecting);
                    self.give_lease_back().await;
                    connected?;
                }
                Some(false) => {
                    self.state.set(Gateway::HeldByAnother);
                }
                None => {}
            }
            self.rest.pause(RENEW_EVERY / 2).await;
        }
        Ok(())
    }

    /// Whether the lease is ours; `None` when the database does not say.
    async fn take_lease(&self) -> Option<bool> {
        match self.store.take_lease(LEASE, &self.replica, LEASE_TTL).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not ask for the lease of the gateway"
                );
                None
            }
        }
    }

    async fn give_lease_back(&self) {
        if let Err(error) = self.store.give_lease_back(LEASE, &self.replica).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not give the lease of the gateway back; it ends by itself"
            );
        }
    }

    async fn connect(&self, ended: &CancellationToken) -> Result<(), ChatError> {
        let url = match self.rest.gateway_url().await {
            Ok(url) => url,
            Err(error) => return give_up_if_refused(error, &self.state),
        };
        let handler = Handler {
            dispatch: self.dispatch.clone(),
            hints: Arc::clone(&self.hints),
            state: self.state.clone(),
            me: self.me,
        };
        let client = ClientBuilder::new_with_http(self.rest.fresh_http(), INTENTS)
            .event_handler(handler)
            .await;
        let mut client = match client {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(error = %error, "could not prepare the connection to Discord");
                return Ok(());
            }
        };
        *client.ws_url.lock().await = url;
        let shards = Arc::clone(&client.shard_manager);
        let over = tokio::select! {
            over = client.start() => Some(over),
            () = self.hold(ended) => None,
        };
        match over {
            None => {
                // Serenity waits long for a shard that is just connecting; dropping it ends it too.
                let _elapsed = timeout(SHUTDOWN_WITHIN, shards.shutdown_all()).await;
                Ok(())
            }
            Some(Ok(())) => Ok(()),
            Some(Err(serenity::Error::Gateway(GatewayError::InvalidAuthentication))) => {
                self.state.set(Gateway::Reconnecting);
                Err(ChatError::TokenRefused)
            }
            Some(Err(serenity::Error::Gateway(
                GatewayError::DisallowedGatewayIntents | GatewayError::InvalidGatewayIntents,
            ))) => Err(ChatError::IntentsRefused),
            Some(Err(error)) => {
                tracing::warn!(error = %error, "the connection to Discord ended");
                Ok(())
            }
        }
    }

    /// Renews the lease; returns when the bot ends, the lease is lost or no connection comes about.
    async fn hold(&self, ended: &CancellationToken) {
        let mut ticks = interval(RENEW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        let mut connected = Instant::now();
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _tick = ticks.tick() => {}
            }
            match self.take_lease().await {
                Some(true) => renewed = Instant::now(),
                Some(false) => {
                    tracing::warn!("another replica has taken the gateway over; disconnecting");
                    return;
                }
                None if renewed.elapsed() + RENEW_EVERY > LEASE_TTL => {
                    tracing::warn!("could not renew the lease of the gateway; disconnecting");
                    return;
                }
                None => {}
            }
            if self.state.now() == Gateway::Connected {
                connected = Instant::now();
            } else if connected.elapsed() > CONNECT_WITHIN {
                tracing::warn!("no connection to Discord for 60 s; beginning anew");
                return;
            }
        }
    }
}

fn give_up_if_refused(error: RestError, state: &State) -> Result<(), ChatError> {
    if error.class() == ErrorClass::TokenRefused {
        state.set(Gateway::Reconnecting);
        return Err(ChatError::TokenRefused);
    }
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "Discord does not say where its gateway is; asking again"
    );
    Ok(())
}

/// Asks Discord who the bot is, until it answers or the bot ends.
///
/// # Errors
/// [`ChatError::TokenRefused`].
pub(crate) async fn who_we_are(
    rest: &Rest,
    state: &State,
    ended: &CancellationToken,
) -> Result<Option<DiscordUserId>, ChatError> {
    let mut pause = Duration::from_millis(500);
    while !ended.is_cancelled() {
        match rest.me().await {
            Ok(me) => return Ok(Some(me)),
            Err(error) => give_up_if_refused(error, state)?,
        }
        rest.pause(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
    Ok(None)
}

/// Where an interaction came from, with the channel that a thread hangs in.
pub(crate) fn place_of(
    channel: ChannelId,
    partial: Option<&serenity::all::PartialChannel>,
) -> (DiscordChannelId, Option<DiscordChannelId>) {
    let is_thread = partial.is_some_and(|channel| {
        use serenity::all::ChannelType;
        matches!(
            channel.kind,
            ChannelType::PublicThread | ChannelType::PrivateThread | ChannelType::NewsThread
        )
    });
    let parent = partial.and_then(|channel| channel.parent_id);
    (
        DiscordChannelId(channel.get()),
        parent
            .filter(|_parent| is_thread)
            .map(|parent| DiscordChannelId(parent.get())),
    )
}
