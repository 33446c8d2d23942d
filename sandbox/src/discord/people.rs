//! People for tests: `discord.person("ana").runs("/pangeo status").await`.
//!
//! A person can do what Discord's client allows; anything else fails the test with the words
//! that the client would show. Methods called `tries_…` give the refusal instead.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::client::{Refused, Use};
use super::ids::Id;
use super::interactions::{Modal, Record, Stage};
use super::model::{Channel, Message, Permission};
use super::state::{APPLICATION, OTHER_BOT, PANGEO_CHANNEL};
use super::{Discord, PATIENCE, lock};

/// Somebody in the guild.
#[derive(Clone)]
pub struct Person {
    pub(crate) discord: Arc<Discord>,
    id: Id,
}

/// Something a person did that the bot answers.
#[derive(Clone)]
pub struct Interaction {
    pub(crate) discord: Arc<Discord>,
    id: Id,
}

/// Fails the test that called.
#[expect(
    clippy::panic,
    reason = "only tests call this, and it is their way to fail"
)]
fn fail(what: &dyn std::fmt::Display) -> ! {
    panic!("{what}")
}

pub(crate) fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(&error))
}

impl Discord {
    /// A person by name: ana (operator), ben and eva (approvers), vic (viewer), mia (operator
    /// and approver), zed (no role). Fails the test if there is no such person.
    pub fn person(self: &Arc<Self>, name: &str) -> Person {
        let state = self.state.read();
        let found = state
            .people
            .iter()
            .find(|p| p.username == name)
            .map(|p| p.id);
        drop(state);
        let Some(id) = found else {
            fail(&format!("nobody here is called {name}"));
        };
        Person {
            discord: Arc::clone(self),
            id,
        }
    }

    /// Another bot in the guild; it can react and write.
    pub fn other_bot(self: &Arc<Self>) -> Person {
        Person {
            discord: Arc::clone(self),
            id: OTHER_BOT,
        }
    }

    /// The messages of a channel that are there now, oldest first, with ephemeral ones.
    pub fn messages(&self, channel: Id) -> Vec<Message> {
        let state = self.state.read();
        let all = state
            .messages
            .get(&channel)
            .into_iter()
            .flat_map(|m| m.values());
        all.cloned().collect()
    }

    /// A message wherever it is, as it is now.
    pub fn message(&self, id: Id) -> Option<Message> {
        self.state.read().find_message(id).cloned()
    }

    /// All channels, threads and direct-message channels.
    pub fn channels(&self) -> Vec<Channel> {
        self.state.read().channels.values().cloned().collect()
    }

    /// The thread that hangs on a message.
    pub fn thread_of(&self, message: Id) -> Option<Channel> {
        let state = self.state.read();
        state
            .channels
            .get(&message)
            .filter(|c| c.is_thread())
            .cloned()
    }

    /// The direct messages between the bot and a person, oldest first.
    pub fn direct_messages(&self, person: &Person) -> Vec<Message> {
        let channel = self.state.read().dm_between(APPLICATION, person.id);
        channel.map(|c| self.messages(c)).unwrap_or_default()
    }

    /// Waits for a message that fits, in any channel, looking at those that are there already
    /// too; the newest one wins.
    ///
    /// # Errors
    /// When none came before the deadline; the error contains the transcript.
    pub async fn wait_for_message(
        &self,
        fits: impl Fn(&Message) -> bool,
        deadline: Duration,
    ) -> anyhow::Result<Message> {
        let look = |d: &Self| {
            let state = d.state.read();
            let all = state.messages.values().flat_map(|m| m.values());
            all.filter(|m| fits(m)).max_by_key(|m| m.id).cloned()
        };
        self.wait_until(deadline, look).await
    }

    /// The names of the registered commands' subcommands (`pangeo deploy`, `pangeo ops list`).
    pub fn registered_commands(&self) -> Vec<String> {
        fn walk(option: &Value, path: &str, all: &mut Vec<String>) {
            let name = option
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let path = format!("{path} {name}");
            let inner = option.get("options").and_then(Value::as_array);
            let subs: Vec<_> = inner
                .into_iter()
                .flatten()
                .filter(|o| matches!(o.get("type").and_then(Value::as_u64), Some(1 | 2)))
                .collect();
            if subs.is_empty() {
                all.push(path.trim().to_owned());
            }
            for sub in subs {
                walk(sub, &path, all);
            }
        }
        let mut all = Vec::new();
        for command in &self.state.read().commands {
            walk(command, "", &mut all);
        }
        all
    }

    /// Waits until the bot has registered a command of this name.
    ///
    /// # Errors
    /// When it did not within 15 s.
    pub async fn wait_for_command(&self, name: &str) -> anyhow::Result<()> {
        let known = |d: &Self| {
            let state = d.state.read();
            let mut names = state
                .commands
                .iter()
                .filter_map(|c| c.get("name")?.as_str());
            names.any(|n| n == name).then_some(())
        };
        self.wait_until(PATIENCE, known).await
    }

    /// Gives a person exactly these roles and tells bots that have the intent for members.
    pub fn set_roles(&self, person: &str, roles: &[&str]) {
        let mut state = self.state.change();
        let ids: Vec<Id> = state
            .roles
            .iter()
            .filter(|r| roles.contains(&r.name.as_str()))
            .map(|r| r.id)
            .collect();
        if ids.len() != roles.len() {
            fail(&format!("not all of {roles:?} are roles here"));
        }
        let Some(account) = state.people.iter_mut().find(|p| p.username == person) else {
            fail(&format!("nobody here is called {person}"));
        };
        account.roles = ids;
        let mut shape = super::shapes::member(account);
        if let Some(map) = shape.as_object_mut() {
            map.insert("guild_id".to_owned(), serde_json::json!(super::GUILD));
        }
        let intent = super::gateway::intents::GUILD_MEMBERS;
        lock(&self.gateway).dispatch("GUILD_MEMBER_UPDATE", intent, &shape, false);
        self.changed();
    }

    /// Takes a permission from the bot in a channel and its threads.
    pub fn deny(&self, channel: Id, permission: Permission) {
        if let Some(channel) = self.state.change().channels.get_mut(&channel) {
            channel.denied |= permission.bit();
        }
    }

    /// Gives a permission back.
    pub fn allow(&self, channel: Id, permission: Permission) {
        if let Some(channel) = self.state.change().channels.get_mut(&channel) {
            channel.denied &= !permission.bit();
        }
    }

    /// A moderator takes all reactions from a message at once.
    pub fn remove_all_reactions(&self, message: &Message) {
        let mut state = self.state.change();
        self.drop_reactions(&mut state, (message.channel_id, message.id), None);
    }

    /// A moderator takes all reactions of one emoji from a message at once.
    pub fn remove_emoji(&self, message: &Message, emoji: &str) {
        let mut state = self.state.change();
        self.drop_reactions(&mut state, (message.channel_id, message.id), Some(emoji));
    }

    /// A moderator deletes several messages of one channel at once.
    pub fn delete_in_bulk(&self, messages: &[Message]) {
        let Some(first) = messages.first() else {
            return;
        };
        let ids: Vec<_> = messages.iter().map(|m| m.id).collect();
        let mut state = self.state.change();
        self.drop_messages(&mut state, first.channel_id, &ids, true);
    }

    /// A moderator deletes a channel or thread.
    pub fn delete_channel_or_thread(&self, id: Id) {
        let mut state = self.state.change();
        if let Some(channel) = state.channels.get(&id).cloned() {
            self.drop_channel(&mut state, &channel);
        }
    }

    /// A moderator archives (and locks) a thread.
    pub fn archive_thread(&self, id: Id, lock_it: bool) {
        let mut state = self.state.change();
        if let Some(thread) = state.channels.get_mut(&id) {
            thread.archived = true;
            thread.locked = lock_it;
            let thread = thread.clone();
            self.tell_channel(&state, &thread, false);
        }
    }
}

impl Person {
    /// The person's id.
    pub fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn interaction(&self, id: Id) -> Interaction {
        Interaction {
            discord: Arc::clone(&self.discord),
            id,
        }
    }

    /// Types a command in `#pangeo`; returns once the bot acknowledged it or failed to.
    pub async fn runs(&self, typed: &str) -> Interaction {
        self.runs_in(PANGEO_CHANNEL, typed).await
    }

    /// Types a command in a channel or thread.
    pub async fn runs_in(&self, channel: Id, typed: &str) -> Interaction {
        let interaction = must(self.tries_in(channel, typed));
        interaction.settled().await;
        interaction
    }

    /// Types a command in `#pangeo` and drops a file on its last option.
    pub async fn runs_with(&self, typed: &str, option: &str, file: (&str, &[u8])) -> Interaction {
        let (name, content) = file;
        let id = self.discord.take_file(name, content.to_vec().into());
        self.runs(&format!("{typed} {option}:{id}")).await
    }

    /// Types a command in `#pangeo` and does not wait for anything.
    ///
    /// # Errors
    /// What Discord's client would not let the person do.
    pub fn tries(&self, typed: &str) -> Result<Interaction, Refused> {
        self.tries_in(PANGEO_CHANNEL, typed)
    }

    /// Types a command in a channel and does not wait for anything.
    ///
    /// # Errors
    /// What Discord's client would not let the person do.
    pub fn tries_in(&self, channel: Id, typed: &str) -> Result<Interaction, Refused> {
        let parsed = super::slash::parse(&self.discord.state.read(), typed, false)?;
        let of = Use {
            user: self.id,
            channel,
            command: &parsed.command,
            options: &parsed.options,
        };
        let id = self.discord.use_command(&of, false, Some(typed.trim()))?;
        Ok(self.interaction(id))
    }

    /// What Discord offers for the last option of a command that is being typed in `#pangeo`:
    /// names and values.
    pub async fn completes(&self, typed: &str) -> Vec<(String, String)> {
        self.completes_in(PANGEO_CHANNEL, typed).await
    }

    /// The same in another channel. Fails the test if the bot does not answer.
    pub async fn completes_in(&self, channel: Id, typed: &str) -> Vec<(String, String)> {
        let parsed = must(super::slash::parse(&self.discord.state.read(), typed, true));
        let of = Use {
            user: self.id,
            channel,
            command: &parsed.command,
            options: &parsed.options,
        };
        let id = must(self.discord.use_command(&of, true, None));
        let choices = must(self.discord.choices_of(id).await);
        let plain = |v: Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        choices.into_iter().map(|(n, v)| (n, plain(v))).collect()
    }

    /// Presses the newest button with this label that the person sees and that is not disabled.
    pub async fn presses(&self, label: &str) -> Interaction {
        let message = must(self.newest_with(label));
        self.presses_on(&message, label).await
    }

    /// Presses a button of a message.
    pub async fn presses_on(&self, message: &Message, label: &str) -> Interaction {
        let interaction = must(self.tries_to_press(message, label));
        interaction.settled().await;
        interaction
    }

    /// Presses a button of a message as it is now and does not wait for anything.
    ///
    /// # Errors
    /// What Discord's client would not let the person do.
    pub fn tries_to_press(&self, message: &Message, label: &str) -> Result<Interaction, Refused> {
        let at = (message.channel_id, message.id);
        let now = self
            .discord
            .state
            .read()
            .message_of(self.id, at.0, at.1)?
            .clone();
        let buttons = now.buttons();
        let Some(button) = buttons.iter().find(|b| b.label.contains(label) && !b.link) else {
            let labels: Vec<_> = buttons.iter().map(|b| b.label.as_str()).collect();
            return Err(Refused(format!(
                "no button `{label}`; there are {labels:?}"
            )));
        };
        let id = self
            .discord
            .use_component(self.id, at, &button.custom_id, None)?;
        Ok(self.interaction(id))
    }

    /// Picks values from the select of a message.
    pub async fn picks(&self, message: &Message, custom_id: &str, values: &[&str]) -> Interaction {
        let at = (message.channel_id, message.id);
        let values = values.iter().map(|&v| v.to_owned()).collect();
        let id = must(
            self.discord
                .use_component(self.id, at, custom_id, Some(values)),
        );
        let interaction = self.interaction(id);
        interaction.settled().await;
        interaction
    }

    fn newest_with(&self, label: &str) -> Result<Message, Refused> {
        let state = self.discord.state.read();
        let visible = |m: &&Message| state.message_of(self.id, m.channel_id, m.id).is_ok();
        let has = |m: &&Message| {
            let buttons = m.buttons();
            buttons
                .iter()
                .any(|b| b.label.contains(label) && !b.disabled && !b.link)
        };
        let all = state.messages.values().flat_map(|m| m.values());
        let newest = all
            .filter(visible)
            .filter(has)
            .max_by_key(|m| m.id)
            .cloned();
        newest.ok_or_else(|| Refused(format!("no message with a button `{label}`")))
    }

    /// Fills in a modal and submits it; fields are named by `custom_id` or label.
    pub async fn fills(&self, modal: &Modal, fields: &[(&str, &str)]) -> Interaction {
        let interaction = must(self.tries_to_fill(modal, fields));
        interaction.settled().await;
        interaction
    }

    /// Fills in a modal, submits it and does not wait for anything.
    ///
    /// # Errors
    /// What Discord's client would not let the person do, such as an empty required field.
    pub fn tries_to_fill(
        &self,
        modal: &Modal,
        fields: &[(&str, &str)],
    ) -> Result<Interaction, Refused> {
        let known = modal.inputs();
        let mut by_id = Map::new();
        for (name, value) in fields {
            let found = known.iter().find(|(id, label)| id == name || label == name);
            let id = found.map_or(*name, |(id, _)| id.as_str());
            by_id.insert(id.to_owned(), Value::from(*value));
        }
        let id = self
            .discord
            .submit_modal(self.id, modal.interaction, &by_id)?;
        Ok(self.interaction(id))
    }

    /// Reacts to a message.
    pub fn reacts(&self, message: &Message, emoji: &str) {
        let at = (message.channel_id, message.id);
        must(self.discord.react(self.id, at, emoji, true));
    }

    /// Takes a reaction back.
    pub fn takes_back(&self, message: &Message, emoji: &str) {
        let at = (message.channel_id, message.id);
        must(self.discord.react(self.id, at, emoji, false));
    }

    /// Deletes a message, of whomever.
    pub fn deletes(&self, message: &Message) {
        must(
            self.discord
                .delete_as(self.id, (message.channel_id, message.id)),
        );
    }

    /// Writes a message.
    pub fn says(&self, channel: Id, content: &str) -> Message {
        must(self.discord.say(self.id, channel, content))
    }

    /// Refuses direct messages from now on, or takes them again.
    pub fn closes_direct_messages(&self, closed: bool) {
        let mut state = self.discord.state.change();
        if let Some(account) = state.people.iter_mut().find(|p| p.id == self.id) {
            account.dms_closed = closed;
        }
    }
}

impl Interaction {
    /// Its id.
    pub fn id(&self) -> Id {
        self.id
    }

    fn record(&self) -> Option<Record> {
        self.discord.record_of(self.id)
    }

    /// Waits until it was acknowledged or given up.
    pub(crate) async fn settled(&self) {
        let done = |_: &Discord| self.record().filter(|r| r.stage != Stage::Waiting);
        let limit = self.discord.options.acknowledge_within + Duration::from_secs(2);
        must(self.discord.wait_until(limit, done).await);
    }

    /// How long the bot took to acknowledge it; none if it has not.
    pub fn acknowledged_after(&self) -> Option<Duration> {
        self.record()?.acknowledged
    }

    /// Whether the person saw "The application did not respond".
    pub fn failed(&self) -> bool {
        self.record().is_some_and(|r| r.stage == Stage::Failed)
    }

    /// The answer, once it is there in full. Fails the test if none comes within 15 s.
    pub async fn answer(&self) -> Message {
        must(self.try_answer().await)
    }

    /// The answer, once it is there in full.
    ///
    /// # Errors
    /// When none came within 15 s, or the bot failed to acknowledge, or deleted its answer.
    pub async fn try_answer(&self) -> anyhow::Result<Message> {
        let ready = |_: &Discord| {
            let record = self.record()?;
            match record.stage {
                Stage::Answered | Stage::Failed => Some(record),
                Stage::Waiting | Stage::Deferred | Stage::DeferredUpdate => None,
                Stage::Modal | Stage::Choices => Some(record),
            }
        };
        let record = self.discord.wait_until(PATIENCE, ready).await?;
        anyhow::ensure!(
            record.stage != Stage::Failed,
            "The application did not respond"
        );
        anyhow::ensure!(record.stage == Stage::Answered, "it was answered by a form");
        let message = record.answer.and_then(|id| self.discord.message(id));
        message.ok_or_else(|| anyhow::anyhow!("the bot deleted its answer"))
    }

    /// The modal that it opened. Fails the test if there is none within 15 s.
    pub async fn modal(&self) -> Modal {
        let ready = |d: &Discord| d.modal_of(self.id);
        must(self.discord.wait_until(PATIENCE, ready).await)
    }
}

impl Discord {
    /// The choices that a completion was answered with.
    pub(crate) async fn choices_of(&self, id: Id) -> anyhow::Result<Vec<(String, Value)>> {
        let done = |d: &Self| d.record_of(id).filter(|r| r.stage != Stage::Waiting);
        let limit = self.options.acknowledge_within + Duration::from_secs(1);
        let record = self.wait_until(limit, done).await?;
        anyhow::ensure!(record.stage == Stage::Choices, "Loading options failed");
        Ok(record.choices)
    }
}
