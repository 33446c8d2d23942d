//! Messages of channels over REST.

use chrono::Utc;
use serde_json::{Value, json};

use super::{Call, Reply};
use crate::discord::Discord;
use crate::discord::error::{ApiError, ApiResult, Problems};
use crate::discord::files;
use crate::discord::ids::Id;
use crate::discord::model::{Attachment, DM, EPHEMERAL, LOADING, Message, Permission};
use crate::discord::shapes;
use crate::discord::state::{APPLICATION, State};
use crate::discord::validate;

/// How long a nonce makes a second message impossible; Discord says "a few minutes".
const NONCE_MINUTES: i64 = 5;

/// The `limit` of a list: 1 to 100.
pub(super) fn limit(call: &Call, default: usize) -> ApiResult<usize> {
    let Some(text) = call.query.get("limit") else {
        return Ok(default);
    };
    if let Some(limit) = text.parse().ok().filter(|n| (1..=100).contains(n)) {
        return Ok(limit);
    }
    let mut problems = Problems::default();
    problems.add(
        "limit",
        "NUMBER_TYPE_MAX",
        "int value should be between 1 and 100.",
    );
    problems.into_result().map(|()| default)
}

impl Discord {
    pub(super) fn list_messages(&self, channel: Id, call: &Call) -> ApiResult<Reply> {
        let limit = limit(call, 50)?;
        let at = |key: &str| call.query.get(key).and_then(|v| v.parse::<Id>().ok());
        let state = self.state.read();
        state.require(channel, Permission::ReadMessageHistory)?;
        let all = state
            .messages
            .get(&channel)
            .into_iter()
            .flat_map(|m| m.values());
        let all: Vec<_> = all.filter(|m| !m.is_ephemeral()).collect();
        let mut picked: Vec<_> = if let Some(around) = at("around") {
            let middle = all.partition_point(|m| m.id < around);
            let start = middle.saturating_sub(limit / 2);
            all.into_iter().skip(start).take(limit).collect()
        } else if let Some(after) = at("after") {
            all.into_iter()
                .filter(|m| m.id > after)
                .take(limit)
                .collect()
        } else {
            let before = at("before");
            let end = before.map_or(all.len(), |b| all.partition_point(|m| m.id < b));
            let older = all.into_iter().take(end);
            older.skip(end.saturating_sub(limit)).collect()
        };
        picked.reverse();
        let shapes: Vec<_> = picked.iter().map(|m| self.as_bot_sees(&state, m)).collect();
        Ok(Reply::Json(json!(shapes)))
    }

    pub(super) fn get_message(&self, channel: Id, id: Id) -> ApiResult<Reply> {
        let state = self.state.read();
        state.require(channel, Permission::ReadMessageHistory)?;
        let message = state.public_message(channel, id)?;
        Ok(Reply::Json(self.as_bot_sees(&state, message)))
    }

    /// Content of others is hidden from an application without the privileged intent.
    fn as_bot_sees(&self, state: &State, message: &Message) -> Value {
        let mut shape = shapes::message(state, message);
        let dm = state
            .channels
            .get(&message.channel_id)
            .is_some_and(|c| c.kind == DM);
        let open = dm
            || message.author == APPLICATION
            || message.mentions.contains(&APPLICATION)
            || self.options.privileged_intents;
        if !open {
            shapes::without_content(&mut shape);
        }
        shape
    }

    pub(super) fn create_message(&self, channel: Id, call: &Call) -> ApiResult<Reply> {
        validate::message(&call.body, &call.files)?;
        let mut state = self.state.change();
        may_send(&state, channel, call)?;
        let nonce = call.body.get("nonce").filter(|n| !n.is_null()).cloned();
        let enforced = call.body.get("enforce_nonce").and_then(Value::as_bool) == Some(true);
        if let (Some(nonce), true) = (&nonce, enforced)
            && let Some(old) = recent_with_nonce(&state, nonce)
        {
            return Ok(Reply::Json(with_nonce(&state, old)));
        }
        let id = state.next_id();
        let mut message = Message::empty(id, channel, APPLICATION, Utc::now());
        message.nonce = nonce;
        message.flags = call.body.get("flags").and_then(Value::as_u64).unwrap_or(0) & (4 | 4_096);
        add_reference(&state, &mut message, &call.body)?;
        self.fill(&mut state, &mut message, call)?;
        self.reopen(&mut state, channel)?;
        let shape = with_nonce(&state, &message);
        state.add_message(message.clone());
        self.tell_message(&state, &message, true);
        Ok(Reply::Json(shape))
    }

    pub(super) fn edit_message(&self, channel: Id, id: Id, call: &Call) -> ApiResult<Reply> {
        validate::message(&call.body, &call.files)?;
        let mut state = self.state.change();
        let message = state.public_message(channel, id)?.clone();
        if message.author != APPLICATION {
            return Err(ApiError::new(
                403,
                50005,
                "Cannot edit a message authored by another user",
            ));
        }
        let message = self.edit(&mut state, message, call)?;
        Ok(Reply::Json(shapes::message(&state, &message)))
    }

    /// Applies an edit, keeps it and tells about it.
    pub(super) fn edit(
        &self,
        state: &mut State,
        mut message: Message,
        call: &Call,
    ) -> ApiResult<Message> {
        // Filling in a deferred answer does not count as an edit.
        message.edited = (!message.is_loading()).then(Utc::now);
        message.flags &= !LOADING;
        self.fill(state, &mut message, call)?;
        if let Some(place) = state.message_mut(message.channel_id, message.id) {
            place.clone_from(&message);
        }
        self.tell_message(state, &message, false);
        Ok(message)
    }

    pub(super) fn delete_message(&self, channel: Id, id: Id) -> ApiResult<Reply> {
        let mut state = self.state.change();
        let message = state.public_message(channel, id)?;
        if message.author != APPLICATION {
            state.require(channel, Permission::ManageMessages)?;
        }
        self.drop_messages(&mut state, channel, &[id], false);
        Ok(Reply::Empty)
    }

    pub(super) fn bulk_delete(&self, channel: Id, call: &Call) -> ApiResult<Reply> {
        let ids = call.body.get("messages").and_then(Value::as_array);
        let ids: Vec<Id> = ids
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str()?.parse().ok())
            .collect();
        if !(2..=100).contains(&ids.len()) {
            return Err(ApiError::new(
                400,
                50016,
                "Provided too few or too many messages to delete. Must provide at least 2 and at most 100 messages.",
            ));
        }
        let mut state = self.state.change();
        state.require(channel, Permission::ManageMessages)?;
        self.drop_messages(&mut state, channel, &ids, true);
        Ok(Reply::Empty)
    }

    /// Deletes messages and their files, and tells about it.
    pub(crate) fn drop_messages(&self, state: &mut State, channel: Id, ids: &[Id], bulk: bool) {
        let Some(messages) = state.messages.get_mut(&channel) else {
            return;
        };
        let gone: Vec<_> = ids.iter().filter_map(|id| messages.remove(id)).collect();
        for file in gone.iter().flat_map(|m| &m.attachments) {
            self.files.remove(file.id);
        }
        self.tell_deleted(state, &gone, bulk);
    }

    /// Writing in an archived thread opens it again, unless it is locked.
    fn reopen(&self, state: &mut State, channel: Id) -> ApiResult<()> {
        let Some(thread) = state.channels.get_mut(&channel).filter(|c| c.archived) else {
            return Ok(());
        };
        if thread.locked {
            return Err(ApiError::new(400, 50083, "Thread is archived"));
        }
        thread.archived = false;
        let thread = thread.clone();
        self.tell_channel(state, &thread, false);
        Ok(())
    }

    /// Puts what a body says into a message; what it leaves out stays.
    pub(crate) fn fill(
        &self,
        state: &mut State,
        message: &mut Message,
        call: &Call,
    ) -> ApiResult<()> {
        let body = &call.body;
        match body.get("content") {
            Some(Value::String(content)) => content.trim().clone_into(&mut message.content),
            Some(_) => message.content.clear(),
            None => {}
        }
        if let Some(embeds) = body.get("embeds") {
            let embeds = embeds.as_array().cloned().unwrap_or_default();
            message.embeds = embeds.into_iter().map(finished_embed).collect();
        }
        if let Some(rows) = body.get("components") {
            message.components = rows.as_array().cloned().unwrap_or_default();
            number_components(&mut message.components, &mut 0);
        }
        self.fill_files(state, message, call);
        let empty = message.content.is_empty()
            && message.embeds.is_empty()
            && message.attachments.is_empty();
        if empty {
            return Err(ApiError::new(400, 50006, "Cannot send an empty message"));
        }
        mention(state, message, body.get("allowed_mentions"));
        Ok(())
    }

    fn fill_files(&self, state: &mut State, message: &mut Message, call: &Call) {
        let listed = call.body.get("attachments").and_then(Value::as_array);
        if let Some(listed) = listed {
            let stays = |a: &Attachment| {
                let id = a.id.to_string();
                listed
                    .iter()
                    .any(|l| id_text(l).as_deref() == Some(id.as_str()))
            };
            let (kept, gone) = std::mem::take(&mut message.attachments)
                .into_iter()
                .partition(stays);
            message.attachments = kept;
            for file in gone {
                self.files.remove(file.id);
            }
        }
        for upload in &call.files {
            let about = listed
                .into_iter()
                .flatten()
                .find(|l| id_text(l).as_deref() == Some(&upload.index));
            let description = about
                .and_then(|a| a.get("description"))
                .and_then(Value::as_str);
            let filename = files::clean_name(&upload.filename);
            let file = Attachment {
                id: state.next_id(),
                content_type: files::content_type(&filename).to_owned(),
                filename,
                size: upload.bytes.len().try_into().unwrap_or(u64::MAX),
                description: description.map(str::to_owned),
            };
            self.files.add(file.id, upload.bytes.clone());
            message.attachments.push(file);
        }
    }
}

fn id_text(listed: &Value) -> Option<String> {
    match listed.get("id")? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn may_send(state: &State, channel: Id, call: &Call) -> ApiResult<()> {
    let found = state.visible(channel)?;
    if found.kind == DM {
        let closed = |id: &Id| state.account(*id).is_some_and(|a| a.dms_closed);
        if found.recipients.iter().any(closed) {
            return Err(ApiError::new(
                403,
                50007,
                "Cannot send messages to this user",
            ));
        }
        return Ok(());
    }
    let write = if found.is_thread() {
        Permission::SendMessagesInThreads
    } else {
        Permission::SendMessages
    };
    state.require(channel, write)?;
    if !call.files.is_empty() {
        state.require(channel, Permission::AttachFiles)?;
    }
    if call
        .body
        .get("embeds")
        .and_then(Value::as_array)
        .is_some_and(|e| !e.is_empty())
    {
        state.require(channel, Permission::EmbedLinks)?;
    }
    Ok(())
}

fn add_reference(state: &State, message: &mut Message, body: &Value) -> ApiResult<()> {
    let Some(reference) = body.get("message_reference").filter(|r| !r.is_null()) else {
        return Ok(());
    };
    let id = reference.get("message_id").and_then(Value::as_str);
    let found = id
        .and_then(|id| id.parse().ok())
        .and_then(|id| state.message(message.channel_id, id));
    if let Some(found) = found {
        message.reference = Some(found.id);
        message.kind = 19;
        return Ok(());
    }
    if reference.get("fail_if_not_exists").and_then(Value::as_bool) == Some(false) {
        return Ok(());
    }
    let mut problems = Problems::default();
    problems.add(
        "message_reference",
        "MESSAGE_REFERENCE_UNKNOWN_MESSAGE",
        "Unknown message",
    );
    problems.into_result()
}

fn recent_with_nonce<'a>(state: &'a State, nonce: &Value) -> Option<&'a Message> {
    let since = Id::at(Utc::now() - chrono::Duration::minutes(NONCE_MINUTES));
    state
        .messages
        .values()
        .flat_map(|m| m.range(since..).map(|(_, m)| m))
        .find(|m| m.author == APPLICATION && m.nonce.as_ref() == Some(nonce))
}

/// Only the answer to a create, and `MESSAGE_CREATE`, have the nonce.
fn with_nonce(state: &State, message: &Message) -> Value {
    let mut shape = shapes::message(state, message);
    if let (Some(nonce), Some(map)) = (&message.nonce, shape.as_object_mut()) {
        map.insert("nonce".to_owned(), nonce.clone());
    }
    shape
}

/// Discord adds the type, and `inline` to fields.
fn finished_embed(mut embed: Value) -> Value {
    if let Some(map) = embed.as_object_mut() {
        map.retain(|_, v| !v.is_null());
        map.insert("type".to_owned(), json!("rich"));
        let fields = map.get_mut("fields").and_then(Value::as_array_mut);
        for field in fields
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            field.entry("inline").or_insert(Value::Bool(false));
        }
    }
    embed
}

/// Discord numbers the components of a message.
fn number_components(components: &mut [Value], last: &mut u64) {
    for component in components.iter_mut().filter_map(Value::as_object_mut) {
        *last += 1;
        component.entry("id").or_insert_with(|| json!(*last));
        if let Some(Value::Array(inner)) = component.get_mut("components") {
            number_components(inner, last);
        }
    }
}

/// Finds `<@id>`, `<@&id>` and `@everyone`, and keeps those that may be notified.
fn mention(state: &State, message: &mut Message, allowed: Option<&Value>) {
    let allowed = allowed.filter(|a| !a.is_null());
    let parses = |kind: &str| {
        allowed.is_none_or(|a| {
            let parse = a.get("parse").and_then(Value::as_array);
            parse.is_some_and(|p| p.iter().any(|v| v.as_str() == Some(kind)))
        })
    };
    let lists = |kind: &str, id: Id| {
        let list = allowed.and_then(|a| a.get(kind)).and_then(Value::as_array);
        list.is_some_and(|l| l.iter().any(|v| v.as_str() == Some(&id.to_string())))
    };
    let ids = |start: &str| -> Vec<Id> {
        let after = message.content.split(start).skip(1);
        after
            .filter_map(|rest| rest.split_once('>')?.0.trim_start_matches('!').parse().ok())
            .collect()
    };
    let mut users = ids("<@");
    users.retain(|id| state.account(*id).is_some() && (parses("users") || lists("users", *id)));
    users.dedup();
    let mut roles = ids("<@&");
    roles.retain(|id| {
        state.roles.iter().any(|r| r.id == *id) && (parses("roles") || lists("roles", *id))
    });
    roles.dedup();
    let everyone = message.content.contains("@everyone") || message.content.contains("@here");
    message.mention_everyone = everyone && parses("everyone");
    message.mentions = users;
    message.mention_roles = roles;
    // Ephemeral messages notify nobody.
    if message.flags & EPHEMERAL != 0 {
        message.mention_everyone = false;
    }
}
