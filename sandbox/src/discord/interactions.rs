//! Interactions: made by people, acknowledged by the bot within 3 s, good for 15 min.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::gateway::intents;
use super::ids::Id;
use super::model::{Cause, Message};
use super::shapes;
use super::state::State;
use super::{Discord, lock};

/// How many interactions are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 20_000;

/// What a person did; the numbers are Discord's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Component,
    Autocomplete,
    ModalSubmit,
}

impl Kind {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Command => 2,
            Self::Component => 3,
            Self::Autocomplete => 4,
            Self::ModalSubmit => 5,
        }
    }
}

/// How far the bot got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not acknowledged yet.
    Waiting,
    /// "… is thinking": a message with the flag for loading stands there.
    Deferred,
    /// Acknowledged without a visible change; an edit may follow.
    DeferredUpdate,
    /// There is an answer.
    Answered,
    /// A modal was shown.
    Modal,
    /// Choices for a completion came.
    Choices,
    /// Not acknowledged in time.
    Failed,
}

/// A modal on a person's screen.
#[derive(Clone, Debug)]
pub struct Modal {
    /// The interaction that it answers.
    pub interaction: Id,
    /// What the bot gets back.
    pub custom_id: String,
    /// Its title.
    pub title: String,
    /// Its components as the bot sent them.
    pub components: Vec<Value>,
}

impl Modal {
    /// The `custom_id` and the label of every text input.
    pub fn inputs(&self) -> Vec<(String, String)> {
        let inputs = super::validate::modal_inputs(&self.components);
        let id = |input: &Value| {
            input
                .get("custom_id")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        inputs
            .into_iter()
            .map(|(input, label)| (id(&input).unwrap_or_default(), label))
            .collect()
    }
}

/// One interaction.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: Id,
    pub(crate) token: String,
    pub(crate) kind: Kind,
    pub(crate) user: Id,
    pub(crate) channel: Id,
    /// `pangeo deploy`, for the message's metadata.
    pub(crate) name: String,
    /// The message whose component was used, also through a modal.
    pub(crate) source: Option<Id>,
    /// The interaction that opened the modal.
    pub(crate) trigger: Option<Cause>,
    pub(crate) at: Instant,
    pub(crate) acknowledged: Option<Duration>,
    pub(crate) stage: Stage,
    /// What `@original` means.
    pub(crate) original: Option<Id>,
    /// The message in which the person sees the answer.
    pub(crate) answer: Option<Id>,
    pub(crate) modal: Option<Modal>,
    pub(crate) choices: Vec<(String, Value)>,
}

impl Record {
    /// What a message that answers it tells about it.
    pub(crate) fn cause(&self) -> Cause {
        Cause {
            id: self.id,
            kind: self.kind.number(),
            user: self.user,
            name: self.name.clone(),
            source: self.source.filter(|_| self.kind == Kind::Component),
            trigger: self.trigger.clone().map(Box::new),
        }
    }
}

/// All remembered interactions.
#[derive(Default)]
pub(crate) struct Interactions {
    by_id: BTreeMap<Id, Record>,
    by_token: BTreeMap<String, Id>,
}

impl Interactions {
    pub(crate) fn get(&self, id: Id) -> Option<&Record> {
        self.by_id.get(&id)
    }

    pub(crate) fn by_token(&self, token: &str) -> Option<&Record> {
        self.by_id.get(self.by_token.get(token)?)
    }

    pub(crate) fn put(&mut self, record: Record) {
        self.by_token.insert(record.token.clone(), record.id);
        self.by_id.insert(record.id, record);
        while self.by_id.len() > REMEMBERED {
            if let Some((_, old)) = self.by_id.pop_first() {
                self.by_token.remove(&old.token);
            }
        }
    }
}

/// What a person does.
pub(crate) struct Deed<'a> {
    pub(crate) kind: Kind,
    pub(crate) user: Id,
    pub(crate) channel: Id,
    pub(crate) data: Value,
    pub(crate) name: String,
    pub(crate) source: Option<&'a Message>,
    pub(crate) trigger: Option<Cause>,
}

impl Discord {
    /// Makes an interaction and dispatches it.
    pub(crate) fn interact(&self, state: &mut State, deed: Deed<'_>) -> Id {
        let id = state.next_id();
        let token = format!(
            "sandbox.{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        );
        let mut payload = Map::new();
        payload.insert("id".to_owned(), json!(id));
        payload.insert("type".to_owned(), json!(deed.kind.number()));
        payload.insert("token".to_owned(), json!(token));
        payload.extend(shapes::interaction_base(state, deed.channel, deed.user));
        payload.insert("data".to_owned(), deed.data);
        if let Some(message) = deed.source {
            payload.insert("message".to_owned(), shapes::message(state, message));
        }
        lock(&self.interactions).put(Record {
            id,
            token,
            kind: deed.kind,
            user: deed.user,
            channel: deed.channel,
            name: deed.name,
            source: deed.source.map(|m| m.id),
            trigger: deed.trigger,
            at: Instant::now(),
            acknowledged: None,
            stage: Stage::Waiting,
            original: None,
            answer: None,
            modal: None,
            choices: Vec::new(),
        });
        let payload = Value::Object(payload);
        lock(&self.gateway).dispatch("INTERACTION_CREATE", intents::NONE, &payload, false);
        id
    }

    pub(crate) fn record_of(&self, id: Id) -> Option<Record> {
        lock(&self.interactions).get(id).cloned()
    }

    /// Gives up those that were not acknowledged in time and tells their people.
    pub(crate) fn expire_interactions(&self) {
        let late: Vec<Record> = {
            let mut all = lock(&self.interactions);
            let since = self.options.acknowledge_within;
            let late = |r: &&mut Record| r.stage == Stage::Waiting && r.at.elapsed() > since;
            all.by_id
                .values_mut()
                .filter(late)
                .map(|record| {
                    record.stage = Stage::Failed;
                    record.clone()
                })
                .collect()
        };
        for record in late {
            if record.kind != Kind::Autocomplete {
                let mut state = self.state.change();
                let line = format!(
                    "(The application did not respond to {})",
                    state.name_of(record.user)
                );
                state.note_deed(record.channel, line);
            }
            let text = "The application did not respond";
            let data = json!({"interaction_id": record.id, "text": text});
            self.tell_page("interaction_failed", data, Some(vec![record.user]));
        }
    }
}
