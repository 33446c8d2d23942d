//! What a bot does with an interaction: callback, answer, follow-ups.

use chrono::Utc;
use serde_json::{Value, json};

use super::{Call, Reply};
use crate::discord::error::{ApiError, ApiResult, Problems};
use crate::discord::ids::Id;
use crate::discord::interactions::{Kind, Modal, Record, Stage};
use crate::discord::model::{EPHEMERAL, LOADING, Message};
use crate::discord::shapes;
use crate::discord::state::{APPLICATION, State};
use crate::discord::validate;
use crate::discord::{Discord, lock};

impl Discord {
    /// The first answer to an interaction; exactly one, within 3 s.
    pub(super) fn callback(&self, id: Id, token: &str, call: &Call) -> ApiResult<Reply> {
        let mut state = self.state.change();
        let record = self.record_of(id).filter(|r| r.token == token);
        let mut record = record.ok_or_else(ApiError::unknown_interaction)?;
        let late = record.at.elapsed() > self.options.acknowledge_within;
        if record.stage == Stage::Failed || (late && record.stage == Stage::Waiting) {
            return Err(ApiError::unknown_interaction());
        }
        if record.stage != Stage::Waiting {
            return Err(ApiError::new(
                400,
                40060,
                "Interaction has already been acknowledged.",
            ));
        }
        let kind = callback_type(&record, &call.body)?;
        let data = call.body.get("data").cloned().unwrap_or(Value::Null);
        let inner = Call {
            body: data,
            files: call.files.clone(),
            ..Call::default()
        };
        self.carry_out(&mut state, &mut record, kind, &inner)?;
        record.acknowledged = Some(record.at.elapsed());
        lock(&self.interactions).put(record.clone());
        self.changed();
        if call.query.get("with_response").map(String::as_str) != Some("true") {
            return Ok(Reply::Empty);
        }
        Ok(Reply::Json(callback_answer(&state, &record, kind)))
    }

    fn carry_out(
        &self,
        state: &mut State,
        record: &mut Record,
        kind: u64,
        call: &Call,
    ) -> ApiResult<()> {
        match kind {
            4 => {
                validate::message(&call.body, &call.files)?;
                let message = self.answer_with(state, record, call)?;
                record.original = Some(message);
                record.answer = record.original;
                record.stage = Stage::Answered;
            }
            5 => {
                let mut message = blank_answer(state, record, &call.body);
                message.flags |= LOADING;
                record.original = Some(message.id);
                record.stage = Stage::Deferred;
                state.add_message(message.clone());
                self.tell_message(state, &message, true);
            }
            6 => {
                record.original = record.source;
                record.stage = Stage::DeferredUpdate;
            }
            7 => {
                validate::message(&call.body, &call.files)?;
                let id = record.source.ok_or_else(ApiError::unknown_message)?;
                let message = state.message(record.channel, id);
                let message = message.cloned().ok_or_else(ApiError::unknown_message)?;
                self.edit(state, message, call)?;
                record.original = record.source;
                record.answer = record.original;
                record.stage = Stage::Answered;
            }
            8 => {
                validate::choices(&call.body)?;
                let choices = call.body.get("choices").and_then(Value::as_array);
                record.choices = choices
                    .into_iter()
                    .flatten()
                    .filter_map(|c| {
                        Some((c.get("name")?.as_str()?.to_owned(), c.get("value")?.clone()))
                    })
                    .collect();
                record.stage = Stage::Choices;
            }
            _ => {
                validate::modal(&call.body)?;
                let modal = read_modal(record.id, &call.body);
                let data = json!({
                    "interaction_id": record.id,
                    "title": modal.title,
                    "custom_id": modal.custom_id,
                    "components": modal.components,
                });
                record.modal = Some(modal);
                record.stage = Stage::Modal;
                self.tell_page("modal", data, Some(vec![record.user]));
            }
        }
        Ok(())
    }

    /// Writes a new message that answers an interaction.
    fn answer_with(&self, state: &mut State, record: &Record, call: &Call) -> ApiResult<Id> {
        let mut message = blank_answer(state, record, &call.body);
        self.fill(state, &mut message, call)?;
        let id = message.id;
        state.add_message(message.clone());
        self.tell_message(state, &message, true);
        Ok(id)
    }

    /// The interaction of a token that is still good and was acknowledged.
    fn acknowledged(&self, (app, token): (Id, &str)) -> ApiResult<Record> {
        let record = lock(&self.interactions).by_token(token).cloned();
        let record = record
            .filter(|_| app == APPLICATION)
            .ok_or_else(ApiError::unknown_webhook)?;
        if record.at.elapsed() > self.options.token_valid {
            return Err(ApiError::new(401, 50027, "Invalid Webhook Token"));
        }
        if matches!(
            record.stage,
            Stage::Waiting | Stage::Failed | Stage::Choices
        ) {
            return Err(ApiError::unknown_webhook());
        }
        Ok(record)
    }

    fn response_message(
        &self,
        state: &State,
        record: &Record,
        which: Option<Id>,
    ) -> ApiResult<Message> {
        let id = which
            .or(record.original)
            .ok_or_else(ApiError::unknown_message)?;
        let message = state.message(record.channel, id);
        message
            .filter(|m| m.author == APPLICATION && (m.cause.is_some() || record.source == Some(id)))
            .cloned()
            .ok_or_else(ApiError::unknown_message)
    }

    /// A follow-up; the first one after a defer fills in the deferred answer.
    pub(super) fn follow_up(&self, at: (Id, &str), call: &Call) -> ApiResult<Reply> {
        let mut record = self.acknowledged(at)?;
        if record.stage == Stage::Deferred {
            return self.edit_response(at, None, call);
        }
        validate::message(&call.body, &call.files)?;
        let mut state = self.state.change();
        let id = self.answer_with(&mut state, &record, call)?;
        if record.stage == Stage::DeferredUpdate {
            record.stage = Stage::Answered;
            record.answer = Some(id);
            lock(&self.interactions).put(record.clone());
            self.changed();
        }
        let message = state
            .message(record.channel, id)
            .ok_or_else(ApiError::unknown_message)?;
        Ok(Reply::Json(shapes::message(&state, message)))
    }

    pub(super) fn get_response(&self, at: (Id, &str), which: Option<Id>) -> ApiResult<Reply> {
        let record = self.acknowledged(at)?;
        let state = self.state.read();
        let message = self.response_message(&state, &record, which)?;
        Ok(Reply::Json(shapes::message(&state, &message)))
    }

    pub(super) fn edit_response(
        &self,
        at: (Id, &str),
        which: Option<Id>,
        call: &Call,
    ) -> ApiResult<Reply> {
        validate::message(&call.body, &call.files)?;
        let mut record = self.acknowledged(at)?;
        let mut state = self.state.change();
        let message = self.response_message(&state, &record, which)?;
        let is_original = record.original == Some(message.id);
        let message = self.edit(&mut state, message, call)?;
        if is_original && matches!(record.stage, Stage::Deferred | Stage::DeferredUpdate) {
            record.stage = Stage::Answered;
            record.answer = record.original;
            lock(&self.interactions).put(record);
            self.changed();
        }
        Ok(Reply::Json(shapes::message(&state, &message)))
    }

    pub(super) fn delete_response(&self, at: (Id, &str), which: Option<Id>) -> ApiResult<Reply> {
        let mut record = self.acknowledged(at)?;
        let mut state = self.state.change();
        let message = self.response_message(&state, &record, which)?;
        self.drop_messages(&mut state, message.channel_id, &[message.id], false);
        if record.original == Some(message.id) {
            record.original = None;
            record.answer = None;
            record.stage = Stage::Answered;
            lock(&self.interactions).put(record);
            self.changed();
        }
        Ok(Reply::Empty)
    }
}

/// The callback's type, if it fits the kind of interaction.
fn callback_type(record: &Record, body: &Value) -> ApiResult<u64> {
    let allowed: &[u64] = match record.kind {
        Kind::Command => &[4, 5, 9],
        Kind::Component => &[4, 5, 6, 7, 9],
        Kind::Autocomplete => &[8],
        Kind::ModalSubmit if record.source.is_some() => &[4, 5, 6, 7],
        Kind::ModalSubmit => &[4, 5],
    };
    let kind = body.get("type").and_then(Value::as_u64);
    if let Some(kind) = kind.filter(|k| allowed.contains(k)) {
        return Ok(kind);
    }
    let mut problems = Problems::default();
    let message = format!("Value must be one of {allowed:?}.")
        .replace(['[', '{'], "(")
        .replace(']', ")");
    problems.add("type", "BASE_TYPE_CHOICES", &message);
    problems.into_result().map(|()| 0)
}

/// The message of an answer before anything is in it.
fn blank_answer(state: &mut State, record: &Record, body: &Value) -> Message {
    let id = state.next_id();
    let mut message = Message::empty(id, record.channel, APPLICATION, Utc::now());
    message.kind = if record.kind == Kind::Command { 20 } else { 0 };
    message.cause = Some(record.cause());
    let flags = body.get("flags").and_then(Value::as_u64).unwrap_or(0);
    message.flags = flags & (EPHEMERAL | 4 | 4_096);
    if message.is_ephemeral() {
        message.only_for = Some(record.user);
    }
    message
}

fn read_modal(interaction: Id, data: &Value) -> Modal {
    let text = |key: &str| {
        data.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let components = data.get("components").and_then(Value::as_array);
    Modal {
        interaction,
        custom_id: text("custom_id"),
        title: text("title"),
        components: components.cloned().unwrap_or_default(),
    }
}

/// What `with_response=true` gives.
fn callback_answer(state: &State, record: &Record, kind: u64) -> Value {
    let message = record
        .original
        .and_then(|id| state.message(record.channel, id));
    let mut answer = json!({
        "interaction": {"id": record.id, "type": record.kind.number()},
    });
    if let (Some(message), Some(map)) = (message, answer.as_object_mut()) {
        map.insert(
            "interaction".to_owned(),
            json!({
                "id": record.id,
                "type": record.kind.number(),
                "response_message_id": message.id,
                "response_message_loading": message.is_loading(),
                "response_message_ephemeral": message.is_ephemeral(),
                "channel_id": record.channel,
                "guild_id": crate::discord::state::GUILD,
            }),
        );
        map.insert(
            "resource".to_owned(),
            json!({"type": kind, "message": shapes::message(state, message)}),
        );
    }
    answer
}
