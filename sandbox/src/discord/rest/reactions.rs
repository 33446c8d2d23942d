//! Reactions over REST.

use serde_json::json;

use super::{Call, Reply};
use crate::discord::Discord;
use crate::discord::error::{ApiError, ApiResult};
use crate::discord::ids::Id;
use crate::discord::model::{Permission, Reaction};
use crate::discord::shapes;
use crate::discord::state::{APPLICATION, State};

/// How many kinds of emoji a message takes.
const MAX_KINDS: usize = 20;

impl Discord {
    pub(super) fn list_reactions(
        &self,
        (channel, id): (Id, Id),
        emoji: &str,
        call: &Call,
    ) -> ApiResult<Reply> {
        check_emoji(emoji)?;
        let limit = super::messages::limit(call, 25)?;
        let after: Option<Id> = call.query.get("after").and_then(|a| a.parse().ok());
        let state = self.state.read();
        state.require(channel, Permission::ReadMessageHistory)?;
        let message = state.public_message(channel, id)?;
        let reaction = message.reactions.iter().find(|r| r.emoji == emoji);
        let mut users = reaction.map(|r| r.users.clone()).unwrap_or_default();
        users.sort_unstable();
        let users: Vec<_> = users
            .into_iter()
            .filter(|user| after.is_none_or(|after| *user > after))
            .take(limit)
            .map(|user| shapes::user_of(&state, user))
            .collect();
        Ok(Reply::Json(json!(users)))
    }

    pub(super) fn add_reaction(&self, (channel, id): (Id, Id), emoji: &str) -> ApiResult<Reply> {
        let mut state = self.state.change();
        state.require(channel, Permission::ReadMessageHistory)?;
        let message = state.public_message(channel, id)?;
        if !message.reactions.iter().any(|r| r.emoji == emoji) {
            state.require(channel, Permission::AddReactions)?;
        }
        self.set_reaction(&mut state, (channel, id), emoji, APPLICATION)?;
        Ok(Reply::Empty)
    }

    /// Takes back a reaction of the bot (`None`) or of somebody else.
    pub(super) fn remove_reaction(
        &self,
        (channel, id): (Id, Id),
        emoji: &str,
        user: Option<Id>,
    ) -> ApiResult<Reply> {
        let mut state = self.state.change();
        state.visible(channel)?;
        if user.is_some_and(|user| user != APPLICATION) {
            state.require(channel, Permission::ManageMessages)?;
        }
        let user = user.unwrap_or(APPLICATION);
        self.unset_reaction(&mut state, (channel, id), emoji, user)?;
        Ok(Reply::Empty)
    }

    /// Takes away all reactions, or all of one emoji.
    pub(super) fn clear_reactions(
        &self,
        (channel, id): (Id, Id),
        emoji: Option<&str>,
    ) -> ApiResult<Reply> {
        let mut state = self.state.change();
        state.visible(channel)?;
        state.require(channel, Permission::ManageMessages)?;
        state.public_message(channel, id)?;
        self.drop_reactions(&mut state, (channel, id), emoji);
        Ok(Reply::Empty)
    }

    /// Sets a reaction and tells about it; setting it again is no change.
    pub(crate) fn set_reaction(
        &self,
        state: &mut State,
        (channel, id): (Id, Id),
        emoji: &str,
        user: Id,
    ) -> ApiResult<()> {
        check_emoji(emoji)?;
        let message = state
            .message_mut(channel, id)
            .ok_or_else(ApiError::unknown_message)?;
        let full = message.reactions.len() >= MAX_KINDS;
        match message.reactions.iter_mut().find(|r| r.emoji == emoji) {
            Some(reaction) if reaction.users.contains(&user) => return Ok(()),
            Some(reaction) => reaction.users.push(user),
            None if full => {
                return Err(ApiError::new(
                    400,
                    30010,
                    "Maximum number of reactions reached (20)",
                ));
            }
            None => message.reactions.push(Reaction {
                emoji: emoji.to_owned(),
                users: vec![user],
            }),
        }
        let message = message.clone();
        self.tell_reaction(state, &message, emoji, (user, true));
        Ok(())
    }

    /// Takes a reaction back and tells about it; one that is not there is no error, as with
    /// Discord.
    pub(crate) fn unset_reaction(
        &self,
        state: &mut State,
        (channel, id): (Id, Id),
        emoji: &str,
        user: Id,
    ) -> ApiResult<()> {
        check_emoji(emoji)?;
        let message = state
            .message_mut(channel, id)
            .ok_or_else(ApiError::unknown_message)?;
        let Some(reaction) = message
            .reactions
            .iter_mut()
            .find(|r| r.emoji == emoji && r.users.contains(&user))
        else {
            return Ok(());
        };
        reaction.users.retain(|u| *u != user);
        message.reactions.retain(|r| !r.users.is_empty());
        let message = message.clone();
        self.tell_reaction(state, &message, emoji, (user, false));
        Ok(())
    }

    /// Takes away all reactions, or all of one emoji, and tells about it.
    pub(crate) fn drop_reactions(
        &self,
        state: &mut State,
        (channel, id): (Id, Id),
        emoji: Option<&str>,
    ) {
        let Some(message) = state.message_mut(channel, id) else {
            return;
        };
        message
            .reactions
            .retain(|r| emoji.is_some_and(|e| r.emoji != e));
        let message = message.clone();
        self.tell_reactions_removed(state, &message, emoji);
    }
}

/// Refuses what is neither an emoji nor `name:id`. Discord knows its list; here anything short
/// without ASCII letters passes.
fn check_emoji(emoji: &str) -> ApiResult<()> {
    let custom = emoji
        .split_once(':')
        .is_some_and(|(name, id)| !name.is_empty() && id.parse::<u64>().is_ok());
    let unicode = !emoji.is_empty()
        && emoji.chars().count() <= 10
        && !emoji
            .chars()
            .any(|c| c.is_ascii_alphabetic() || c.is_whitespace())
        && !emoji.is_ascii();
    if custom || unicode {
        return Ok(());
    }
    Err(ApiError::new(400, 10014, "Unknown Emoji"))
}
