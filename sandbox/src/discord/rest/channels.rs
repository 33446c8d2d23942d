//! Channels and threads over REST.

use chrono::Utc;
use serde_json::{Value, json};

use super::{Call, Reply};
use crate::discord::error::{ApiError, ApiResult, Problems};
use crate::discord::ids::Id;
use crate::discord::limits::RENAME;
use crate::discord::model::{Channel, DM, HAS_THREAD, Message, PRIVATE_THREAD, Permission, THREAD};
use crate::discord::shapes;
use crate::discord::state::{APPLICATION, State, new_channel};
use crate::discord::{Discord, lock};

impl Discord {
    pub(super) fn get_channel(&self, id: Id) -> ApiResult<Reply> {
        let state = self.state.read();
        let channel = state.visible(id)?;
        Ok(Reply::Json(shapes::channel(&state, channel)))
    }

    pub(super) fn edit_channel(&self, id: Id, call: &Call) -> ApiResult<Reply> {
        let mut state = self.state.change();
        let channel = state.visible(id)?.clone();
        if channel.kind == DM {
            return Err(ApiError::new(
                403,
                50003,
                "Cannot execute action on a DM channel",
            ));
        }
        if channel.owner != Some(APPLICATION) {
            state.require(id, Permission::ManageThreads)?;
        }
        let mut changed = channel.clone();
        apply_channel(&mut changed, &call.body)?;
        let renamed = changed.name != channel.name || changed.topic != channel.topic;
        if renamed {
            let verdict = lock(&self.limits).count(RENAME, &id.to_string(), true);
            if verdict.refusal().is_some() {
                return Ok(Reply::Limited(verdict));
            }
        }
        let shape = shapes::channel(&state, &changed);
        state.channels.insert(id, changed.clone());
        self.tell_channel(&state, &changed, false);
        Ok(Reply::Json(shape))
    }

    pub(super) fn delete_channel(&self, id: Id) -> ApiResult<Reply> {
        let mut state = self.state.change();
        let channel = state.require(id, Permission::ManageThreads)?.clone();
        if !channel.is_thread() {
            return Err(ApiError::missing_permissions());
        }
        self.drop_channel(&mut state, &channel);
        Ok(Reply::Json(shapes::channel(&state, &channel)))
    }

    /// Deletes a channel with its threads and messages and tells about it.
    pub(crate) fn drop_channel(&self, state: &mut State, channel: &Channel) {
        let threads: Vec<_> = state
            .channels
            .values()
            .filter(|c| c.parent == Some(channel.id))
            .cloned()
            .collect();
        for gone in threads.iter().chain([channel]) {
            drop(state.channels.remove(&gone.id));
            let messages = state.messages.remove(&gone.id).unwrap_or_default();
            for file in messages.values().flat_map(|m| &m.attachments) {
                self.files.remove(file.id);
            }
        }
        self.tell_channel_deleted(state, channel);
    }

    pub(super) fn typing(&self, id: Id) -> ApiResult<Reply> {
        self.state.read().require(id, Permission::SendMessages)?;
        Ok(Reply::Empty)
    }

    pub(super) fn join_thread(&self, id: Id) -> ApiResult<Reply> {
        let state = self.state.read();
        if state.visible(id)?.is_thread() {
            return Ok(Reply::Empty);
        }
        Err(ApiError::unknown_channel())
    }

    /// Starts the thread of a message; its id is the message's.
    pub(super) fn thread_from_message(
        &self,
        channel: Id,
        message: Id,
        call: &Call,
    ) -> ApiResult<Reply> {
        let mut state = self.state.change();
        state.require(channel, Permission::CreatePublicThreads)?;
        let starter = state.public_message(channel, message)?;
        if state.channels.contains_key(&message) {
            return Err(ApiError::new(
                400,
                160_004,
                "A thread has already been created for this message",
            ));
        }
        if starter.channel_id != channel || state.visible(channel)?.kind != 0 {
            return Err(ApiError::new(
                400,
                50024,
                "Cannot execute action on this channel type",
            ));
        }
        let thread = new_thread(message, channel, THREAD, &call.body)?;
        let shape = shapes::channel(&state, &thread);
        state.channels.insert(message, thread.clone());
        self.tell_channel(&state, &thread, true);
        if let Some(starter) = state.message_mut(channel, message) {
            starter.flags |= HAS_THREAD;
            let starter = starter.clone();
            self.tell_message(&state, &starter, false);
        }
        Ok(Reply::Created(shape))
    }

    /// Starts a thread of its own; a public one is announced by a message of type 18.
    pub(super) fn create_thread(&self, channel: Id, call: &Call) -> ApiResult<Reply> {
        let mut state = self.state.change();
        let parent = state.require(channel, Permission::CreatePublicThreads)?;
        if parent.kind != 0 {
            return Err(ApiError::new(
                400,
                50024,
                "Cannot execute action on this channel type",
            ));
        }
        let kind = match call.body.get("type").and_then(Value::as_u64) {
            Some(11) => THREAD,
            None | Some(12) => PRIVATE_THREAD,
            Some(_) => {
                return Err(ApiError::new(
                    400,
                    50024,
                    "Cannot execute action on this channel type",
                ));
            }
        };
        let id = state.next_id();
        let thread = new_thread(id, channel, kind, &call.body)?;
        let shape = shapes::channel(&state, &thread);
        state.channels.insert(id, thread.clone());
        self.tell_channel(&state, &thread, true);
        if kind == THREAD {
            let id = state.next_id();
            let mut note = Message::empty(id, channel, APPLICATION, Utc::now());
            note.kind = 18;
            note.content.clone_from(&thread.name);
            note.reference = Some(thread.id);
            state.add_message(note.clone());
            self.tell_message(&state, &note, true);
        }
        Ok(Reply::Created(shape))
    }
}

fn new_thread(id: Id, parent: Id, kind: u8, body: &Value) -> ApiResult<Channel> {
    let mut thread = new_channel(id, kind, "");
    thread.parent = Some(parent);
    thread.owner = Some(APPLICATION);
    if body.get("name").is_none() {
        let mut problems = Problems::default();
        problems.required("name");
        problems.into_result()?;
    }
    apply_channel(&mut thread, body)?;
    Ok(thread)
}

fn apply_channel(channel: &mut Channel, body: &Value) -> ApiResult<()> {
    let mut problems = Problems::default();
    if let Some(name) = body.get("name") {
        let name = name.as_str().unwrap_or_default();
        problems.length("name", name, 1, 100);
        name.clone_into(&mut channel.name);
    }
    if let Some(topic) = body.get("topic").filter(|_| !channel.is_thread()) {
        let topic = topic.as_str().map(str::to_owned);
        problems.max_length("topic", topic.as_deref().unwrap_or_default(), 1_024);
        channel.topic = topic;
    }
    if let Some(minutes) = body.get("auto_archive_duration").and_then(Value::as_u64) {
        if ![60, 1_440, 4_320, 10_080].contains(&minutes) {
            problems.add(
                "auto_archive_duration",
                "BASE_TYPE_CHOICES",
                "Value must be one of (60, 1440, 4320, 10080).",
            );
        }
        channel.auto_archive_minutes = minutes;
    }
    if channel.is_thread() {
        for (key, flag) in [
            ("archived", &mut channel.archived),
            ("locked", &mut channel.locked),
        ] {
            if let Some(value) = body.get(key).and_then(Value::as_bool) {
                *flag = value;
            }
        }
    }
    problems.into_result()
}

impl State {
    /// The channel objects that a page shows.
    pub(crate) fn page_channels(&self) -> Value {
        let all = self.channels.values();
        json!(
            all.map(|c| crate::discord::events::page_channel(self, c))
                .collect::<Vec<_>>()
        )
    }
}
