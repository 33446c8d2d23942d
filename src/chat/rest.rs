//! Discord's REST interface: serenity's client with deadlines, errors that say what to do, and no
//! secrets in them.
//!
//! In production serenity's own limiter waits where Discord asks for it. A sandbox on loopback is
//! reached by serenity's `proxy`, which works only without that limiter; then a 429 is tried again
//! here, a few times, with growing pauses (serenity does not hand on the `retry_after`).
//!
//! **Invariant:** no URL ends up in an error, since the URLs of interactions contain their tokens.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serenity::all::{
    ApplicationId, AutoArchiveDuration, ChannelId, CreateInteractionResponse, CreateMessage,
    CreateThread, EditInteractionResponse, EditMessage, EditThread, GuildId, Http, HttpBuilder,
    InteractionId, Message, MessageId, MessagePagination, ReactionType, UserId,
};
use serenity::http::HttpError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::parts::Settings;
use crate::domain::ids::{DiscordChannelId, DiscordMessageId, DiscordUserId};

/// How long an ordinary request may take.
const CALL: Duration = Duration::from_secs(10);
/// How long a request with files may take.
const UPLOAD: Duration = Duration::from_secs(60);
/// How long the first answer to an interaction may take; Discord waits 3 s.
const ACKNOWLEDGE: Duration = Duration::from_millis(2800);
/// The pause after the first 429; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// How often a 429 is tried again: 0.25 + 0.5 + 1 + 2 s.
const TRIES_AFTER_429: u32 = 4;

/// Why Discord did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// Discord refused.
    #[error("Discord refused to {doing}: {text} (status {status}, code {code})")]
    Refused {
        /// What we were doing.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
        /// Discord's own code, 0 or -1 if there is none.
        code: i64,
        /// Discord's words.
        text: String,
    },
    /// Discord did not answer, or not in HTTP.
    #[error("Discord could not be reached to {doing}")]
    Unreachable {
        /// What we were doing.
        doing: &'static str,
        /// The cause, without the URL.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Discord took too long; it may have been done.
    #[error("Discord did not answer in time to {doing}")]
    TimedOut {
        /// What we were doing.
        doing: &'static str,
    },
    /// The request or the answer does not fit to what serenity knows.
    #[error("serenity could not {doing}: {problem}")]
    Misfit {
        /// What we were doing.
        doing: &'static str,
        /// What does not fit.
        problem: String,
    },
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The same request may succeed later.
    Transient,
    /// The token is not accepted.
    TokenRefused,
    /// The message is gone.
    UnknownMessage,
    /// The channel or thread is gone.
    UnknownChannel,
    /// The thread exists already.
    ThreadExists,
    /// The thread is archived.
    Archived,
    /// The bot lacks a permission or access.
    Forbidden,
    /// The person takes no private messages.
    NoDirectMessages,
    /// The request will never succeed.
    Permanent,
}

impl RestError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "serenity's own enums, which may grow"
    )]
    fn new(doing: &'static str, error: serenity::Error) -> Self {
        match error {
            serenity::Error::Http(HttpError::UnsuccessfulRequest(response)) => {
                let mut text = response.error.message.clone();
                for error in response.error.errors.iter().take(5) {
                    text.push_str(&format!("; {}: {}", error.path, error.message));
                }
                RestError::Refused {
                    doing,
                    status: response.status_code.as_u16(),
                    code: i64::try_from(response.error.code).unwrap_or_default(),
                    text,
                }
            }
            serenity::Error::Http(HttpError::Request(source)) => RestError::Unreachable {
                doing,
                source: Box::new(source.without_url()),
            },
            other => RestError::Misfit {
                doing,
                problem: other.to_string(),
            },
        }
    }

    /// What follows from it. The codes are Discord's (`topics/opcodes-and-status-codes`).
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            RestError::Unreachable { .. } | RestError::TimedOut { .. } => ErrorClass::Transient,
            RestError::Misfit { .. } => ErrorClass::Permanent,
            RestError::Refused { status, code, .. } => match (*status, *code) {
                (429 | 500..=599, _) => ErrorClass::Transient,
                (401, _) => ErrorClass::TokenRefused,
                (_, 10_003) => ErrorClass::UnknownChannel,
                (_, 10_008) => ErrorClass::UnknownMessage,
                (_, 160_004) => ErrorClass::ThreadExists,
                (_, 50_083) => ErrorClass::Archived,
                (_, 50_007) => ErrorClass::NoDirectMessages,
                (403, _) => ErrorClass::Forbidden,
                _ => ErrorClass::Permanent,
            },
        }
    }

    fn is_429(&self) -> bool {
        matches!(self, RestError::Refused { status: 429, .. })
    }
}

/// The requests that the bot sends.
#[derive(Clone)]
pub(crate) struct Rest {
    http: Arc<Http>,
    settings: Arc<Settings>,
    ended: CancellationToken,
}

impl Rest {
    pub(crate) fn new(settings: Arc<Settings>, ended: CancellationToken) -> Self {
        let http = Arc::new(build_http(&settings));
        Self {
            http,
            settings,
            ended,
        }
    }

    /// A client of its own for the gateway's connection.
    pub(crate) fn fresh_http(&self) -> Http {
        build_http(&self.settings)
    }

    /// A pause that ends with the bot.
    pub(crate) async fn pause(&self, pause: Duration) {
        let _elapsed = timeout(pause, self.ended.cancelled()).await;
    }

    pub(crate) fn guild(&self) -> GuildId {
        GuildId::new(self.settings.login.guild.max(1))
    }

    async fn call<T, F>(
        &self,
        doing: &'static str,
        limit: Duration,
        ask: impl Fn() -> F,
    ) -> Result<T, RestError>
    where
        F: Future<Output = serenity::Result<T>>,
    {
        let tries = async {
            let mut pause = FIRST_PAUSE;
            for _try in 0..TRIES_AFTER_429 {
                match ask().await.map_err(|error| RestError::new(doing, error)) {
                    Err(error) if error.is_429() => self.pause(pause).await,
                    answer => return answer,
                }
                pause *= 2;
            }
            ask().await.map_err(|error| RestError::new(doing, error))
        };
        match timeout(limit, tries).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(RestError::TimedOut { doing }),
        }
    }

    /// Where the gateway is.
    pub(crate) async fn gateway_url(&self) -> Result<String, RestError> {
        let gateway = self
            .call("ask for the gateway", CALL, || self.http.get_bot_gateway())
            .await?;
        Ok(gateway.url)
    }

    /// Who we are.
    pub(crate) async fn me(&self) -> Result<DiscordUserId, RestError> {
        let me = self
            .call("ask who the bot is", CALL, || self.http.get_current_user())
            .await?;
        Ok(DiscordUserId(me.id.get()))
    }

    /// The commands that are registered for the guild, by name.
    pub(crate) async fn registered_commands(&self) -> Result<Vec<String>, RestError> {
        let commands = self
            .call("read the registered commands", CALL, || {
                self.http.get_guild_commands(self.guild())
            })
            .await?;
        Ok(commands.into_iter().map(|command| command.name).collect())
    }

    /// Registers the commands for the guild, instead of all that were there.
    pub(crate) async fn register_commands(
        &self,
        commands: &serde_json::Value,
    ) -> Result<(), RestError> {
        self.call("register the commands", CALL, || {
            self.http.create_guild_commands(self.guild(), commands)
        })
        .await?;
        Ok(())
    }

    /// The first answer to an interaction.
    pub(crate) async fn acknowledge(
        &self,
        id: InteractionId,
        token: &str,
        answer: &CreateInteractionResponse,
    ) -> Result<(), RestError> {
        let files = Vec::new();
        self.call("answer an interaction", ACKNOWLEDGE, || {
            self.http
                .create_interaction_response(id, token, answer, files.clone())
        })
        .await
    }

    /// Completes a deferred answer.
    pub(crate) async fn complete_answer(
        &self,
        token: &str,
        answer: &EditInteractionResponse,
    ) -> Result<(), RestError> {
        self.call("complete an answer", UPLOAD, || {
            let answer = answer.clone();
            async { serenity::builder::Builder::execute(answer, &*self.http, token).await }
        })
        .await?;
        Ok(())
    }

    /// Posts a message.
    pub(crate) async fn post(
        &self,
        channel: DiscordChannelId,
        message: &CreateMessage,
    ) -> Result<Message, RestError> {
        let channel = channel_id(channel);
        self.call("post a message", UPLOAD, || {
            channel.send_message(&*self.http, message.clone())
        })
        .await
    }

    /// Edits a message.
    pub(crate) async fn edit(
        &self,
        channel: DiscordChannelId,
        message: DiscordMessageId,
        edit: &EditMessage,
    ) -> Result<(), RestError> {
        let (channel, message) = (channel_id(channel), message_id(message));
        self.call("edit a message", CALL, || {
            self.http.edit_message(channel, message, edit, Vec::new())
        })
        .await?;
        Ok(())
    }

    /// Up to 100 messages of a channel after a snowflake.
    pub(crate) async fn messages_after(
        &self,
        channel: DiscordChannelId,
        after: u64,
    ) -> Result<Vec<Message>, RestError> {
        let channel = channel_id(channel);
        self.call("look for a message", CALL, || {
            let after = MessagePagination::After(MessageId::new(after.max(1)));
            self.http.get_messages(channel, Some(after), Some(100))
        })
        .await
    }

    /// Makes the thread of a message, or finds that it exists; its id is the message's.
    pub(crate) async fn make_thread(
        &self,
        channel: DiscordChannelId,
        message: DiscordMessageId,
        name: &str,
    ) -> Result<(), RestError> {
        let (channel, message) = (channel_id(channel), message_id(message));
        let thread = CreateThread::new(name).auto_archive_duration(AutoArchiveDuration::OneWeek);
        let made = self
            .call("make a thread", CALL, || {
                self.http
                    .create_thread_from_message(channel, message, &thread, None)
            })
            .await;
        match made {
            Ok(_thread) => Ok(()),
            Err(error) if error.class() == ErrorClass::ThreadExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes a thread out of the archive.
    pub(crate) async fn unarchive(&self, thread: DiscordChannelId) -> Result<(), RestError> {
        let thread = channel_id(thread);
        let edit = EditThread::new().archived(false);
        self.call("open an archived thread", CALL, || {
            self.http.edit_thread(thread, &edit, None)
        })
        .await?;
        Ok(())
    }

    /// The channel for private messages to a person.
    pub(crate) async fn direct_channel(
        &self,
        user: DiscordUserId,
    ) -> Result<DiscordChannelId, RestError> {
        let body = serde_json::json!({"recipient_id": user.to_string()});
        let channel = self
            .call("open a private channel", CALL, || {
                self.http.create_private_channel(&body)
            })
            .await?;
        Ok(DiscordChannelId(channel.id.get()))
    }

    /// Adds the bot's own reaction.
    pub(crate) async fn react(
        &self,
        channel: DiscordChannelId,
        message: DiscordMessageId,
        emoji: &str,
    ) -> Result<(), RestError> {
        let emoji = ReactionType::Unicode(emoji.to_owned());
        let (channel, message) = (channel_id(channel), message_id(message));
        self.call("add a reaction", CALL, || {
            self.http.create_reaction(channel, message, &emoji)
        })
        .await
    }

    /// Removes the reaction of a person.
    pub(crate) async fn remove_reaction(
        &self,
        place: (DiscordChannelId, DiscordMessageId),
        user: DiscordUserId,
        emoji: &str,
    ) -> Result<(), RestError> {
        let emoji = ReactionType::Unicode(emoji.to_owned());
        let (channel, message) = (channel_id(place.0), message_id(place.1));
        self.call("remove a reaction", CALL, || {
            self.http
                .delete_reaction(channel, message, user_id(user), &emoji)
        })
        .await
    }

    /// Up to 100 people who reacted, after an id; with whether each is a bot.
    pub(crate) async fn reactions(
        &self,
        place: (DiscordChannelId, DiscordMessageId),
        emoji: &str,
        after: Option<u64>,
    ) -> Result<Vec<(DiscordUserId, bool)>, RestError> {
        let emoji = ReactionType::Unicode(emoji.to_owned());
        let (channel, message) = (channel_id(place.0), message_id(place.1));
        let users = self
            .call("read the reactions", CALL, || {
                self.http
                    .get_reaction_users(channel, message, &emoji, 100, after)
            })
            .await?;
        Ok(users
            .into_iter()
            .map(|user| (DiscordUserId(user.id.get()), user.bot))
            .collect())
    }

    /// The roles of a member; none if they left.
    pub(crate) async fn member_roles(
        &self,
        user: DiscordUserId,
    ) -> Result<Vec<crate::domain::ids::DiscordRoleId>, RestError> {
        let member = self
            .call("read a member's roles", CALL, || {
                self.http.get_member(self.guild(), user_id(user))
            })
            .await;
        match member {
            Ok(member) => Ok(member
                .roles
                .iter()
                .map(|role| crate::domain::ids::DiscordRoleId(role.get()))
                .collect()),
            Err(RestError::Refused { status: 404, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn build_http(settings: &Settings) -> Http {
    let builder = HttpBuilder::new(settings.login.token.expose_secret())
        .application_id(ApplicationId::new(settings.login.application_id.max(1)));
    match settings.api_base.host() {
        Some(url::Host::Domain("discord.com")) => builder.build(),
        _sandbox => builder
            .proxy(settings.api_base.origin().ascii_serialization())
            .ratelimiter_disabled(true)
            .build(),
    }
}

fn channel_id(id: DiscordChannelId) -> ChannelId {
    ChannelId::new(id.0.max(1))
}

fn message_id(id: DiscordMessageId) -> MessageId {
    MessageId::new(id.0.max(1))
}

fn user_id(id: DiscordUserId) -> UserId {
    UserId::new(id.0.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: i64) -> ErrorClass {
        RestError::Refused {
            doing: "try",
            status,
            code,
            text: String::new(),
        }
        .class()
    }

    #[test]
    fn what_follows_depends_on_status_and_code() {
        assert_eq!(refused(429, 0), ErrorClass::Transient);
        assert_eq!(refused(502, -1), ErrorClass::Transient);
        assert_eq!(refused(401, 0), ErrorClass::TokenRefused);
        assert_eq!(refused(404, 10_008), ErrorClass::UnknownMessage);
        assert_eq!(refused(404, 10_003), ErrorClass::UnknownChannel);
        assert_eq!(refused(400, 160_004), ErrorClass::ThreadExists);
        assert_eq!(refused(400, 50_083), ErrorClass::Archived);
        assert_eq!(refused(403, 50_007), ErrorClass::NoDirectMessages);
        assert_eq!(refused(403, 50_013), ErrorClass::Forbidden);
        assert_eq!(refused(400, 50_035), ErrorClass::Permanent);
    }
}
