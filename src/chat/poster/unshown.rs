//! What becomes of a message that Discord did not take: tried again, moved, or given up.

use std::time::Duration;

use super::{PostError, Poster, REST};
use crate::chat::rest::{ErrorClass, RestError};
use crate::domain::message::{MessageKind, OutboxMessage, Place};
use crate::domain::metrics::Outcome;
use crate::domain::plan::PlanState;
use crate::store::StoreError;

/// The pause until the message that a thread hangs at is there.
const PARENT_POLL: Duration = Duration::from_millis(250);
/// The longest pause before a message is tried again.
const MAX_DELAY: Duration = Duration::from_mins(5);
/// How often what Discord says and serenity does not understand is tried again.
const MISFITS: i32 = 5;

impl Poster {
    /// Delays a message or gives it up, as its error says.
    pub(super) async fn not_shown(
        &self,
        message: &OutboxMessage,
        error: PostError,
    ) -> Result<Outcome, StoreError> {
        let key = &message.key;
        let backoff = backoff(message.attempts);
        let rest = match &error {
            PostError::NoParent => return self.later(key, PARENT_POLL).await,
            PostError::NoSubject => return self.give_up(message, &error).await,
            PostError::Rest(rest) => Some(rest),
            PostError::Plan(cause) => cause.downcast_ref::<RestError>(),
            PostError::Store(_) => None,
        };
        let Some(rest) = rest else {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                message.key = key,
                "could not show a message; trying again"
            );
            return self.later(key, backoff).await;
        };
        match rest.class() {
            ErrorClass::Transient | ErrorClass::TokenRefused | ErrorClass::ThreadExists => {
                tracing::warn!(
                    error = rest as &dyn std::error::Error,
                    message.key = key,
                    "Discord does not show a message; trying again"
                );
                self.later(key, backoff).await
            }
            ErrorClass::Archived => {
                if let Some(thread) = message.channel
                    && let Err(error) = self.shared.rest.unarchive(thread).await
                {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "could not open an archived thread"
                    );
                }
                self.later(key, backoff).await
            }
            ErrorClass::UnknownMessage => self.gone(message, &error).await,
            ErrorClass::UnknownChannel => self.place_gone(message, &error).await,
            ErrorClass::Permanent
                if matches!(rest, RestError::Misfit { .. }) && message.attempts < MISFITS =>
            {
                self.later(key, backoff).await
            }
            ErrorClass::NoDirectMessages => {
                tracing::debug!(message.key = key, "the person takes no private messages");
                self.store()
                    .message_failed(key, "takes no private messages")
                    .await?;
                Ok(Outcome::Failed)
            }
            ErrorClass::Forbidden | ErrorClass::Permanent => self.give_up(message, &error).await,
        }
    }

    async fn later(&self, key: &str, pause: Duration) -> Result<Outcome, StoreError> {
        self.store().message_delayed(key, pause).await?;
        Ok(Outcome::Retry)
    }

    /// A message was deleted in Discord while we were about to edit it, or the message that a
    /// thread was to hang at.
    async fn gone(
        &self,
        message: &OutboxMessage,
        error: &PostError,
    ) -> Result<Outcome, StoreError> {
        if message.message.is_none() {
            return self.later(&message.key, backoff(message.attempts)).await;
        }
        match message.kind {
            MessageKind::Plan(id) => {
                // The rows are told by whoever reads the reactions; here only wait.
                self.hints.plan_changed(id);
                let plan = self.store().plan(id).await?;
                let waits = plan.is_some_and(|plan| plan.state == PlanState::Waiting);
                if waits {
                    return self.later(&message.key, REST).await;
                }
                self.give_up(message, error).await
            }
            MessageKind::Progress(_) => {
                self.store().message_gone(&message.key).await?;
                Ok(Outcome::Retry)
            }
            MessageKind::Summary(_)
            | MessageKind::LogView(_)
            | MessageKind::LogLines(_)
            | MessageKind::Alert(_)
            | MessageKind::AlertEnd(_)
            | MessageKind::AlertGroup(_)
            | MessageKind::Notice(_) => self.give_up(message, error).await,
        }
    }

    /// The thread of a message was deleted: what must not be missed comes in the channel instead.
    async fn place_gone(
        &self,
        message: &OutboxMessage,
        error: &PostError,
    ) -> Result<Outcome, StoreError> {
        let Place::ThreadOf(parent) = &message.place else {
            return self.give_up(message, error).await;
        };
        let in_channel = match message.kind {
            MessageKind::Summary(_) => true,
            MessageKind::Notice(_) => message.message.is_none(),
            MessageKind::Plan(_)
            | MessageKind::Progress(_)
            | MessageKind::LogView(_)
            | MessageKind::LogLines(_)
            | MessageKind::Alert(_)
            | MessageKind::AlertEnd(_)
            | MessageKind::AlertGroup(_) => false,
        };
        let parent = self.store().message(parent).await?;
        match parent.and_then(|parent| parent.channel) {
            Some(channel) if in_channel => {
                tracing::info!(
                    message.key = message.key,
                    "a thread was deleted; its message goes into the channel"
                );
                let place = Place::Channel(channel);
                self.store().move_message(&message.key, &place).await?;
                Ok(Outcome::Retry)
            }
            _not_worth_it => {
                tracing::info!(
                    message.key = message.key,
                    "a thread was deleted; its message is not shown any more"
                );
                let why = format!("{error}");
                self.store().message_failed(&message.key, &why).await?;
                Ok(Outcome::Failed)
            }
        }
    }

    async fn give_up(
        &self,
        message: &OutboxMessage,
        error: &PostError,
    ) -> Result<Outcome, StoreError> {
        let why = format!("{error}");
        tracing::error!(
            error = error as &dyn std::error::Error,
            message.key = message.key,
            hint = "if it is a permission: grant View Channel, Send Messages, Send Messages in Threads, \
                    Create Public Threads, Embed Links, Attach Files, Add Reactions, Manage Messages",
            "gave a message up"
        );
        if let MessageKind::Summary(id) = message.kind {
            // The channel is told about its hub all the same.
            self.tell_hub(id).await?;
        }
        self.store().message_failed(&message.key, &why).await?;
        Ok(Outcome::Failed)
    }
}

/// Half a second, doubled with each attempt, five minutes at most.
fn backoff(attempts: i32) -> Duration {
    let doubled = u32::try_from(attempts.clamp(0, 12)).unwrap_or_default();
    Duration::from_millis(500)
        .saturating_mul(1 << doubled)
        .min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_five_minutes() {
        assert_eq!(backoff(0), Duration::from_millis(500));
        assert_eq!(backoff(3), Duration::from_secs(4));
        assert_eq!(backoff(1000), MAX_DELAY);
        assert_eq!(backoff(-1), Duration::from_millis(500));
    }
}
