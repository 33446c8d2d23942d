//! The outbox: posts what was told, and edits it when it is told anew.
//!
//! ```text
//! claimed ──▶ made from the rows ──▶ first attempt marked ──▶ POST with nonce ──▶ recorded
//!                                        │ (crash, or no answer)
//!                                        └──▶ looked up by author and footer ──▶ adopted, edited
//! ```
//!
//! Messages of one place are shown one after the other, places side by side. A message rests for a
//! second after each edit, so that a burst of changes becomes one request.
//!
//! **Invariant:** a message whose first attempt is marked is looked up before it is posted again;
//! Discord's enforced nonce covers the moments in which a lookup does not show it yet.
//! **Invariant:** a plan is complete (files, reactions that came too early, the bot's own
//! reactions) before it is recorded as posted.

mod unshown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use serenity::all::{
    ChannelId, CreateMessage, Message, MessageId, MessageReference, MessageReferenceKind, Nonce,
};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::messages::{self, summary};
use super::reactions::Hints;
use super::rest::{ErrorClass, RestError};
use super::view::View;
use super::{ChatError, Shared};
use crate::domain::ids::{DiscordChannelId, DiscordMessageId, DiscordUserId, OperationId, PlanId};
use crate::domain::message::{MessageKind, OutboxMessage, Place};
use crate::domain::metrics::Outcome;
use crate::domain::operation::OperationState;
use crate::operations::start::DEPLOY_COMMAND;
use crate::store::{Store, StoreError};

/// How many messages are claimed at once, and for how long. When a claim ends too early, nonce and
/// look-up still keep a message single; when its owner died, another replica waits this long.
const BATCH: i64 = 10;
const CLAIM: Duration = Duration::from_secs(15);
/// The rest after each edit.
const REST: Duration = Duration::from_secs(1);
/// How often the outbox is looked at without being woken: while there is work, and else.
const BUSY_POLL: Duration = Duration::from_millis(250);
const IDLE_POLL: Duration = Duration::from_secs(1);
/// How many looks in a row find nothing before the poster is idle.
const LOOKS_UNTIL_IDLE: u32 = 20;
/// How long before the first attempt a lost message may have got its id: clocks differ.
const LOOK_BACK: chrono::Duration = chrono::Duration::seconds(60);
/// How many pages of 100 messages are looked through for a lost one.
const LOOK_PAGES: usize = 10;
/// How many threads are remembered as made.
const KNOWN_THREADS: usize = 1000;

/// Why a message is not shown yet.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rest(#[from] RestError),
    #[error("could not complete a plan's message")]
    Plan(#[source] anyhow::Error),
    #[error("the message that its thread hangs at is not posted yet")]
    NoParent,
    #[error("what it is about is gone")]
    NoSubject,
}

/// Posts and edits.
pub(crate) struct Poster {
    shared: Arc<Shared>,
    hints: Arc<Hints>,
    me: DiscordUserId,
    threads: Mutex<BTreeSet<u64>>,
}

impl Poster {
    pub(crate) fn new(shared: Arc<Shared>, hints: Arc<Hints>, me: DiscordUserId) -> Self {
        Self {
            shared,
            hints,
            me,
            threads: Mutex::default(),
        }
    }

    fn store(&self) -> &Store {
        &self.shared.parts.store
    }

    /// Runs until the bot ends.
    pub(crate) async fn run(self, ended: CancellationToken) -> Result<(), ChatError> {
        let mut wake = self.shared.parts.wake.clone();
        let mut quiet = 0;
        while !ended.is_cancelled() {
            wake.mark_unchanged();
            match self.round().await {
                Ok(0) => quiet += 1,
                Ok(_some) => {
                    quiet = 0;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "could not read the outbox"
                    );
                    self.shared.rest.pause(IDLE_POLL).await;
                }
            }
            let poll = if quiet > LOOKS_UNTIL_IDLE {
                IDLE_POLL
            } else {
                BUSY_POLL
            };
            tokio::select! {
                () = ended.cancelled() => {}
                _elapsed = timeout(poll, woken(&mut wake)) => {}
            }
        }
        Ok(())
    }

    /// Shows what is due. Answers how many messages that were.
    async fn round(&self) -> Result<usize, StoreError> {
        let replica = &self.shared.parts.settings.replica;
        let claimed = self.store().claim_messages(replica, BATCH, CLAIM).await?;
        let count = claimed.len();
        let mut places: BTreeMap<String, Vec<OutboxMessage>> = BTreeMap::new();
        for message in claimed {
            places
                .entry(format!("{:?}", message.place))
                .or_default()
                .push(message);
        }
        join_all(
            places
                .into_values()
                .map(|messages| self.show_in_turn(messages)),
        )
        .await;
        Ok(count)
    }

    async fn show_in_turn(&self, mut messages: Vec<OutboxMessage>) {
        messages.sort_by_key(|message| match message.kind {
            MessageKind::Plan(_) => 0,
            MessageKind::Progress(_) | MessageKind::AlertGroup(_) => 1,
            MessageKind::Notice(_) | MessageKind::LogView(_) | MessageKind::Alert(_) => 2,
            MessageKind::Summary(_) | MessageKind::LogLines(_) | MessageKind::AlertEnd(_) => 3,
        });
        for message in messages {
            let outcome = match self.show(&message).await {
                Ok(()) => Ok(Outcome::Done),
                Err(error) => self.not_shown(&message, error).await,
            };
            match outcome {
                Ok(outcome) => self.count(&message, outcome),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    message.key = message.key,
                    "could not delay a message"
                ),
            }
        }
    }

    async fn show(&self, message: &OutboxMessage) -> Result<(), PostError> {
        let view = self.shared.view_of(message).await?;
        let view = view
            .ok_or(PostError::NoSubject)?
            .redacted(&self.shared.clean);
        let at = match (message.channel, message.message) {
            (Some(channel), Some(id)) => {
                self.shared
                    .rest
                    .edit(channel, id, &view.into_edit())
                    .await?;
                (channel, id)
            }
            _not_posted => self.post(message, view).await?,
        };
        self.complete(message, at).await?;
        self.store()
            .message_posted(message, at.0, at.1, REST)
            .await?;
        if let MessageKind::Plan(id) = message.kind {
            // A reaction between the two lines above found no message in the rows.
            self.hints.plan_changed(id);
        }
        Ok(())
    }

    /// Posts a message, or finds that an earlier life did.
    async fn post(
        &self,
        message: &OutboxMessage,
        view: View,
    ) -> Result<(DiscordChannelId, DiscordMessageId), PostError> {
        let channel = self.channel(&message.place).await?;
        if let Some(tried_at) = message.first_attempt_at
            && let Some(found) = self.find(channel, &message.key, tried_at).await?
        {
            tracing::info!(
                message.key = message.key,
                "adopted a message that was posted before"
            );
            self.shared
                .rest
                .edit(channel, found, &view.into_edit())
                .await?;
            return Ok((channel, found));
        }
        self.store().message_attempted(&message.key).await?;
        let marked = self.store().message(&message.key).await?;
        let tried_at = marked.and_then(|marked| marked.first_attempt_at);
        let mut request = with_nonce(view.into_message(), &message.key, tried_at);
        if let Place::ReplyTo(key) = &message.place {
            let (channel, above) = self.posted_at(key).await?;
            request = request.reference_message(reply_to(channel, above));
        }
        let posted = self.shared.rest.post(channel, &request).await?;
        Ok((channel, DiscordMessageId(posted.id.get())))
    }

    /// What belongs to a message beside its text.
    async fn complete(
        &self,
        message: &OutboxMessage,
        at: (DiscordChannelId, DiscordMessageId),
    ) -> Result<(), PostError> {
        match &message.kind {
            MessageKind::Plan(id)
                if message.message != Some(at.1) || !self.is_complete(*id).await? =>
            {
                let reactions = &self.shared.reactions;
                reactions
                    .complete_post(*id, at)
                    .await
                    .map_err(PostError::Plan)
            }
            MessageKind::Summary(id) => Ok(self.tell_hub(*id).await?),
            MessageKind::Plan(_)
            | MessageKind::Progress(_)
            | MessageKind::LogView(_)
            | MessageKind::LogLines(_)
            | MessageKind::Alert(_)
            | MessageKind::AlertEnd(_)
            | MessageKind::AlertGroup(_)
            | MessageKind::Notice(_) => Ok(()),
        }
    }

    async fn is_complete(&self, plan: PlanId) -> Result<bool, StoreError> {
        let plan = self.store().plan(plan).await?;
        Ok(plan.is_none_or(|plan| plan.posted_in_full_at.is_some()))
    }

    /// Tells the channel about a new hub, once.
    async fn tell_hub(&self, id: OperationId) -> Result<(), StoreError> {
        let Some(operation) = self.store().operation(id).await? else {
            return Ok(());
        };
        let key = format!("hub/{id}");
        if operation.state != OperationState::Succeeded
            || operation.command != DEPLOY_COMMAND
            || self.store().message(&key).await?.is_some()
        {
            return Ok(());
        }
        if let Some(cluster) = self.store().cluster(operation.cluster).await? {
            let notice = summary::hub_is_ready(&cluster, &operation);
            let place = Place::Channel(operation.channel);
            self.store()
                .tell(&key, &MessageKind::Notice(notice), &place)
                .await?;
        }
        Ok(())
    }

    /// Where a place is; makes the thread or the private channel that it needs.
    async fn channel(&self, place: &Place) -> Result<DiscordChannelId, PostError> {
        match place {
            Place::Channel(channel) => Ok(*channel),
            Place::Direct(user) => Ok(self.shared.rest.direct_channel(*user).await?),
            Place::ReplyTo(key) => Ok(self.posted_at(key).await?.0),
            Place::ThreadOf(key) => {
                let (channel, message) = self.posted_at(key).await?;
                if !self.is_known_thread(message) {
                    let name = self.thread_name(key).await?;
                    let made = self.shared.rest.make_thread(channel, message, &name).await;
                    match made {
                        Ok(()) => {}
                        // A thread stays when the message is deleted that it hangs at.
                        Err(error) if error.class() == ErrorClass::UnknownMessage => {}
                        Err(error) => return Err(error.into()),
                    }
                    self.remember_thread(message);
                }
                // A thread that hangs at a message has the message's id.
                Ok(DiscordChannelId(message.0))
            }
        }
    }

    /// Where a message was posted.
    async fn posted_at(
        &self,
        key: &str,
    ) -> Result<(DiscordChannelId, DiscordMessageId), PostError> {
        let parent = self.store().message(key).await?;
        let at = parent.and_then(|parent| Some((parent.channel?, parent.message?)));
        at.ok_or(PostError::NoParent)
    }

    fn is_known_thread(&self, message: DiscordMessageId) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.contains(&message.0)
    }

    fn remember_thread(&self, message: DiscordMessageId) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() >= KNOWN_THREADS {
            threads.pop_first();
        }
        threads.insert(message.0);
    }

    async fn thread_name(&self, key: &str) -> Result<String, StoreError> {
        let id = key.strip_prefix("plan/").and_then(|id| id.parse().ok());
        let plan = match id {
            Some(id) => self.store().plan(id).await?,
            None => None,
        };
        Ok(plan.map_or_else(
            || messages::reference(key),
            |plan| {
                let name = format!("{} {}", plan.essence.command, plan.essence.target);
                super::text::cut(&self.shared.clean.redact(&name), 100)
            },
        ))
    }

    /// Looks for a message of ours that was posted at about `tried_at` or later.
    async fn find(
        &self,
        channel: DiscordChannelId,
        key: &str,
        tried_at: DateTime<Utc>,
    ) -> Result<Option<DiscordMessageId>, RestError> {
        let reference = messages::reference(key);
        let mut after = first_snowflake(tried_at - LOOK_BACK);
        for _page in 0..LOOK_PAGES {
            let page = self.shared.rest.messages_after(channel, after).await?;
            let ours = |message: &&Message| {
                message.author.id.get() == self.me.0
                    && message.embeds.iter().any(|embed| {
                        let footer = embed.footer.as_ref();
                        footer
                            .is_some_and(|footer| messages::has_reference(&footer.text, &reference))
                    })
            };
            if let Some(found) = page.iter().find(ours) {
                return Ok(Some(DiscordMessageId(found.id.get())));
            }
            match page.iter().map(|message| message.id.get()).max() {
                Some(last) if page.len() >= 100 => after = last,
                _end => break,
            }
        }
        Ok(None)
    }

    fn count(&self, message: &OutboxMessage, outcome: Outcome) {
        let kind = match message.kind {
            MessageKind::Plan(_) => "plan",
            MessageKind::Progress(_) => "progress",
            MessageKind::Summary(_) => "summary",
            MessageKind::LogView(_) | MessageKind::LogLines(_) => "log",
            MessageKind::Alert(_) | MessageKind::AlertEnd(_) | MessageKind::AlertGroup(_) => {
                "alert"
            }
            MessageKind::Notice(_) => "notice",
        };
        self.shared.parts.metrics.message(kind, outcome);
    }
}

/// Returns when there is something to do; never if nobody can tell any more.
async fn woken(wake: &mut tokio::sync::watch::Receiver<u64>) {
    if wake.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The first snowflake that Discord can give out at a time.
fn first_snowflake(time: DateTime<Utc>) -> u64 {
    // Discord's epoch is the beginning of 2015 (reference "snowflakes").
    let since = time.timestamp_millis() - 1_420_070_400_000;
    u64::try_from(since).unwrap_or_default() << 22
}

/// A reply, which is a message of its own if the other one was deleted.
fn reply_to(channel: DiscordChannelId, above: DiscordMessageId) -> MessageReference {
    let channel = ChannelId::new(channel.0.max(1));
    MessageReference::new(MessageReferenceKind::Default, channel)
        .message_id(MessageId::new(above.0.max(1)))
        .fail_if_not_exists(false)
}

/// The same key and first attempt have the same nonce; after a deletion it is another one.
fn with_nonce(request: CreateMessage, key: &str, tried_at: Option<DateTime<Utc>>) -> CreateMessage {
    let tried_at = tried_at
        .map(|time| time.timestamp_micros())
        .unwrap_or_default();
    let hash = hex::encode(Sha256::digest(format!("{key} {tried_at}").as_bytes()));
    let nonce = hash.get(..25).unwrap_or_default().to_owned();
    request.nonce(Nonce::String(nonce)).enforce_nonce(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_short_and_stable() {
        let time = DateTime::from_timestamp(1_790_000_000, 0);
        let nonce = |key: &str, time| {
            let request = with_nonce(CreateMessage::new(), key, time);
            serde_json::to_value(request).unwrap()["nonce"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(nonce("plan/1", time), nonce("plan/1", time));
        assert_ne!(nonce("plan/1", time), nonce("plan/2", time));
        assert_ne!(nonce("plan/1", time), nonce("plan/1", None));
        assert!(nonce("plan/1", time).len() <= 25);
    }

    #[test]
    fn snowflakes_follow_time() {
        // An example of Discord's documentation: 175928847299117063 is of 2016-04-30 11:18:25.796.
        let time = DateTime::from_timestamp_millis(1_462_015_105_796).unwrap();
        let first = first_snowflake(time);
        assert!(first <= 175_928_847_299_117_063);
        assert!(
            first_snowflake(time + chrono::Duration::milliseconds(1)) > 175_928_847_299_117_063
        );
    }
}
