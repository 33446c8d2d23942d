//! Who is told what: bots over the gateway, pages over server-sent events, waiting tests.

use serde_json::{Value, json};

use super::gateway::intents;
use super::ids::Id;
use super::model::{Channel, DM, Message};
use super::shapes;
use super::state::{APPLICATION, GUILD, State};
use super::{Discord, lock};

/// An event for the page.
#[derive(Clone, Debug)]
pub(crate) struct PageEvent {
    pub(crate) event: &'static str,
    pub(crate) data: Value,
    /// The people that may see it; everybody if absent.
    pub(crate) only: Option<Vec<Id>>,
}

impl Discord {
    /// Wakes tests that wait for a change.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    pub(crate) fn tell_page(&self, event: &'static str, data: Value, only: Option<Vec<Id>>) {
        // Nobody may be looking; that is no error.
        drop(self.page.send(PageEvent { event, data, only }));
        self.changed();
    }

    /// The world around Discord changed: pages fetch its panel again.
    pub fn world_changed(&self) {
        self.tell_page("world", json!({}), None);
    }

    /// Tells about a message that is new or was changed.
    pub(crate) fn tell_message(&self, state: &State, message: &Message, new: bool) {
        let mut shape = shapes::message(state, message);
        let channel = state.channels.get(&message.channel_id);
        let is_dm = channel.is_some_and(|c| c.kind == DM);
        let only = match (message.only_for, channel) {
            (Some(person), _) => Some(vec![person]),
            (None, Some(channel)) if is_dm => Some(channel.recipients.clone()),
            (None, _) => None,
        };
        self.tell_page("message", page_message(state, message), only);
        if message.is_ephemeral() || channel.is_none_or(|c| !state.sees(APPLICATION, c)) {
            return;
        }
        if let Some(map) = shape.as_object_mut() {
            if !is_dm {
                map.insert("guild_id".to_owned(), json!(GUILD));
                if let Some(account) = state.account(message.author) {
                    map.insert("member".to_owned(), shapes::bare_member(account));
                }
            }
            if let (true, Some(nonce)) = (new, &message.nonce) {
                map.insert("nonce".to_owned(), nonce.clone());
            }
        }
        let open =
            is_dm || message.author == APPLICATION || message.mentions.contains(&APPLICATION);
        let kind = if new {
            "MESSAGE_CREATE"
        } else {
            "MESSAGE_UPDATE"
        };
        let intent = if is_dm {
            intents::DIRECT_MESSAGES
        } else {
            intents::GUILD_MESSAGES
        };
        lock(&self.gateway).dispatch(kind, intent, &shape, !open);
    }

    /// Tells that messages were deleted, one by one or in bulk.
    pub(crate) fn tell_deleted(&self, state: &State, gone: &[Message], bulk: bool) {
        for message in gone {
            let data = json!({"id": message.id, "channel_id": message.channel_id});
            self.tell_page("message_delete", data, message.only_for.map(|id| vec![id]));
        }
        let seen: Vec<_> = gone.iter().filter(|m| !m.is_ephemeral()).collect();
        let Some(channel) = seen.first().and_then(|m| state.channels.get(&m.channel_id)) else {
            return;
        };
        if !state.sees(APPLICATION, channel) {
            return;
        }
        let is_dm = channel.kind == DM;
        let intent = if is_dm {
            intents::DIRECT_MESSAGES
        } else {
            intents::GUILD_MESSAGES
        };
        let mut gateway = lock(&self.gateway);
        if bulk {
            let ids: Vec<_> = seen.iter().map(|m| m.id).collect();
            let shape = json!({"ids": ids, "channel_id": channel.id, "guild_id": GUILD});
            gateway.dispatch("MESSAGE_DELETE_BULK", intent, &shape, false);
            return;
        }
        for message in seen {
            let mut shape = json!({"id": message.id, "channel_id": channel.id});
            if let (false, Some(map)) = (is_dm, shape.as_object_mut()) {
                map.insert("guild_id".to_owned(), json!(GUILD));
            }
            gateway.dispatch("MESSAGE_DELETE", intent, &shape, false);
        }
    }

    /// Tells about one reaction that was set or taken back.
    pub(crate) fn tell_reaction(
        &self,
        state: &State,
        on: &Message,
        emoji: &str,
        change: (Id, bool),
    ) {
        let (user, set) = change;
        let is_dm = state
            .channels
            .get(&on.channel_id)
            .is_some_and(|c| c.kind == DM);
        let mut shape = json!({
            "user_id": user,
            "type": 0,
            "message_id": on.id,
            "emoji": shapes::emoji(emoji),
            "channel_id": on.channel_id,
            "burst": false,
        });
        if let Some(map) = shape.as_object_mut() {
            if !is_dm {
                map.insert("guild_id".to_owned(), json!(GUILD));
            }
            if set {
                map.insert("message_author_id".to_owned(), json!(on.author));
                if let (false, Some(account)) = (is_dm, state.account(user)) {
                    map.insert("member".to_owned(), shapes::member(account));
                }
            }
        }
        let kind = if set {
            "MESSAGE_REACTION_ADD"
        } else {
            "MESSAGE_REACTION_REMOVE"
        };
        self.dispatch_reaction(state, on, kind, &shape);
    }

    /// Tells that all reactions of a message, or all of one emoji, were taken away.
    pub(crate) fn tell_reactions_removed(&self, state: &State, on: &Message, emoji: Option<&str>) {
        let mut shape = json!({
            "channel_id": on.channel_id,
            "message_id": on.id,
            "guild_id": GUILD,
        });
        if let (Some(emoji), Some(map)) = (emoji, shape.as_object_mut()) {
            map.insert("emoji".to_owned(), shapes::emoji(emoji));
        }
        let kind = match emoji {
            Some(_) => "MESSAGE_REACTION_REMOVE_EMOJI",
            None => "MESSAGE_REACTION_REMOVE_ALL",
        };
        self.dispatch_reaction(state, on, kind, &shape);
    }

    fn dispatch_reaction(&self, state: &State, on: &Message, kind: &'static str, shape: &Value) {
        let channel = state.channels.get(&on.channel_id);
        let is_dm = channel.is_some_and(|c| c.kind == DM);
        let intent = if is_dm {
            intents::DIRECT_MESSAGE_REACTIONS
        } else {
            intents::GUILD_MESSAGE_REACTIONS
        };
        if channel.is_some_and(|c| state.sees(APPLICATION, c)) {
            lock(&self.gateway).dispatch(kind, intent, shape, false);
        }
        let only = channel.filter(|_| is_dm).map(|c| c.recipients.clone());
        self.tell_page("message", page_message(state, on), only);
    }

    /// Tells about a channel or thread that is new or was changed.
    pub(crate) fn tell_channel(&self, state: &State, channel: &Channel, new: bool) {
        let mut shape = shapes::channel(state, channel);
        let only = (channel.kind == DM).then(|| channel.recipients.clone());
        self.tell_page("channel", page_channel(state, channel), only);
        let kind = match (channel.is_thread(), new) {
            (true, true) => "THREAD_CREATE",
            (true, false) => "THREAD_UPDATE",
            (false, true) => "CHANNEL_CREATE",
            (false, false) => "CHANNEL_UPDATE",
        };
        if channel.kind == DM || !state.sees(APPLICATION, channel) {
            return;
        }
        if let (true, true, Some(map)) = (channel.is_thread(), new, shape.as_object_mut()) {
            map.insert("newly_created".to_owned(), json!(true));
        }
        lock(&self.gateway).dispatch(kind, intents::GUILDS, &shape, false);
    }

    /// Tells that a channel or thread is gone.
    pub(crate) fn tell_channel_deleted(&self, state: &State, channel: &Channel) {
        let shape = if channel.is_thread() {
            json!({"id": channel.id, "guild_id": GUILD, "parent_id": channel.parent, "type": channel.kind})
        } else {
            shapes::channel(state, channel)
        };
        let kind = if channel.is_thread() {
            "THREAD_DELETE"
        } else {
            "CHANNEL_DELETE"
        };
        lock(&self.gateway).dispatch(kind, intents::GUILDS, &shape, false);
        self.tell_page("channel_delete", json!({"id": channel.id}), None);
    }

    /// Tells that the registered commands are others now.
    pub(crate) fn tell_commands(&self, state: &State) {
        self.tell_page("commands", json!(state.commands), None);
    }
}

/// A message for the page: reactions with `users`, the ids of who gave them, since `me` is what the
/// bot did and every page is another person's.
pub(crate) fn page_message(state: &State, message: &Message) -> Value {
    let mut shape = shapes::message(state, message);
    let shown = shape.get_mut("reactions").and_then(Value::as_array_mut);
    for (shown, reaction) in shown.into_iter().flatten().zip(&message.reactions) {
        if let Some(map) = shown.as_object_mut() {
            map.insert("users".to_owned(), json!(reaction.users));
        }
    }
    shape
}

/// A channel for the page: direct messages with both their people.
pub(crate) fn page_channel(state: &State, channel: &Channel) -> Value {
    let mut shape = shapes::channel(state, channel);
    if let (DM, Some(map)) = (channel.kind, shape.as_object_mut()) {
        let both = channel
            .recipients
            .iter()
            .map(|id| shapes::user_of(state, *id));
        map.insert("recipients".to_owned(), both.collect());
    }
    shape
}
