//! What Discord's own client lets a person do: the checks before anything is sent.

use chrono::Utc;
use serde_json::{Map, Value, json};

use super::Discord;
use super::ids::Id;
use super::interactions::{Deed, Kind, Modal, Record};
use super::model::{Channel, DM, Message};
use super::shapes;
use super::state::{APPLICATION, GUILD, OTHER_BOT, State};
use super::validate::modal_inputs;

/// Discord's client would not let the person do this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

pub(crate) fn refuse<T>(text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(text.into()))
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

fn kind_of(option: &Value) -> u64 {
    option
        .get("type")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

/// What a command's options turned into, and what they name.
#[derive(Default)]
struct Checked {
    path: String,
    resolved: Map<String, Value>,
}

impl State {
    pub(crate) fn command(&self, id: &str) -> Result<&Value, Refused> {
        let found = self.commands.iter().find(|c| text(c, "id") == id);
        found.ok_or_else(|| {
            Refused("This command is outdated, please try again in a few minutes".to_owned())
        })
    }

    /// The channel if this person may write there.
    pub(crate) fn channel_of(&self, user: Id, channel: Id) -> Result<&Channel, Refused> {
        let found = self.channels.get(&channel).filter(|c| self.sees(user, c));
        found.ok_or_else(|| Refused("This channel does not exist or you can't see it".to_owned()))
    }

    /// A message that this person sees.
    pub(crate) fn message_of(&self, user: Id, channel: Id, id: Id) -> Result<&Message, Refused> {
        self.channel_of(user, channel)?;
        self.message(channel, id)
            .filter(|m| m.only_for.is_none_or(|only| only == user))
            .ok_or_else(|| Refused("This message does not exist any more".to_owned()))
    }

    /// Checks options against what was registered and gives them as Discord sends them.
    fn check_options(
        &self,
        of: &Value,
        given: &[Value],
        completing: bool,
        out: &mut Checked,
    ) -> Result<Vec<Value>, Refused> {
        let known = array(of, "options");
        let mut all = Vec::new();
        for option in given {
            let name = text(option, "name");
            let Some(definition) = known.iter().find(|k| text(k, "name") == name) else {
                return refuse(format!("`{}` has no option `{name}`", text(of, "name")));
            };
            if given.iter().filter(|o| text(o, "name") == name).count() > 1 {
                return refuse(format!("`{name}` is given twice"));
            }
            if kind_of(definition) <= 2 {
                out.path.push(' ');
                out.path.push_str(name);
                let inner =
                    self.check_options(definition, array(option, "options"), completing, out)?;
                all.push(json!({"name": name, "type": kind_of(definition), "options": inner}));
                continue;
            }
            let focused = option.get("focused").and_then(Value::as_bool) == Some(true);
            let value = option.get("value").cloned().unwrap_or(Value::Null);
            if !completing {
                self.check_value(definition, &value, &mut out.resolved)?;
            }
            let mut sent = json!({"name": name, "type": kind_of(definition), "value": value});
            if let (true, Some(map)) = (focused, sent.as_object_mut()) {
                map.insert("focused".to_owned(), json!(true));
            }
            all.push(sent);
        }
        let has_subcommands = known.iter().any(|k| kind_of(k) <= 2);
        if has_subcommands && all.len() != 1 {
            return refuse(format!(
                "choose one of the subcommands of `{}`",
                text(of, "name")
            ));
        }
        if !completing {
            for definition in known
                .iter()
                .filter(|k| k.get("required") == Some(&Value::Bool(true)))
            {
                let name = text(definition, "name");
                if !all.iter().any(|o| text(o, "name") == name) {
                    return refuse(format!("`{name}` is required"));
                }
            }
        }
        Ok(all)
    }

    fn check_value(
        &self,
        definition: &Value,
        value: &Value,
        resolved: &mut Map<String, Value>,
    ) -> Result<(), Refused> {
        let name = text(definition, "name");
        let choices = array(definition, "choices");
        if !choices.is_empty() && !choices.iter().any(|c| c.get("value") == Some(value)) {
            let names: Vec<_> = choices.iter().map(|c| text(c, "name")).collect();
            return refuse(format!("`{name}` must be one of: {}", names.join(", ")));
        }
        match (kind_of(definition), value) {
            (3, Value::String(string)) => {
                let len = i32::try_from(string.chars().count()).unwrap_or(i32::MAX);
                let max = number(definition, "max_length").unwrap_or(6_000.0);
                if string.is_empty()
                    || f64::from(len) < number(definition, "min_length").unwrap_or(0.0)
                {
                    return refuse(format!("`{name}` is too short"));
                }
                if f64::from(len) > max {
                    return refuse(format!("`{name}` is too long, at most {max}"));
                }
                Ok(())
            }
            (4 | 10, Value::Number(given)) => {
                let given = given.as_f64().unwrap_or_default();
                let min = number(definition, "min_value").unwrap_or(-9_007_199_254_740_991.0);
                let max = number(definition, "max_value").unwrap_or(9_007_199_254_740_991.0);
                if (kind_of(definition) == 4 && given.fract() != 0.0) || given < min || given > max
                {
                    return refuse(format!("`{name}` must be a number between {min} and {max}"));
                }
                Ok(())
            }
            (5, Value::Bool(_)) => Ok(()),
            (11, Value::String(id)) => {
                let known = resolved.get("attachments").and_then(|files| files.get(id));
                known
                    .map(drop)
                    .ok_or_else(|| Refused(format!("`{name}` is no file")))
            }
            (6..=9, Value::String(id)) => self.resolve(kind_of(definition), name, id, resolved),
            _ => refuse(format!("`{name}` has not the right kind of value")),
        }
    }

    /// Adds the user, channel or role that an option names.
    fn resolve(
        &self,
        kind: u64,
        name: &str,
        id: &str,
        resolved: &mut Map<String, Value>,
    ) -> Result<(), Refused> {
        let mut put = |group: &str, value: Value| {
            let group = resolved
                .entry(group.to_owned())
                .or_insert_with(|| json!({}));
            if let Some(map) = group.as_object_mut() {
                map.insert(id.to_owned(), value);
            }
        };
        let number: Id = id
            .parse()
            .map_err(|_why| Refused(format!("`{name}` is no id")))?;
        if let (6 | 9, Some(account)) = (kind, self.account(number)) {
            put("users", shapes::user(account));
            put("members", shapes::bare_member(account));
            return Ok(());
        }
        if let (8 | 9, Some(role)) = (kind, self.roles.iter().find(|r| r.id == number)) {
            put("roles", shapes::role(role));
            return Ok(());
        }
        if let (7, Some(channel)) = (kind, self.channels.get(&number)) {
            put("channels", shapes::channel(self, channel));
            return Ok(());
        }
        refuse(format!("`{name}` does not name anything here"))
    }
}

/// A use of a command: by whom, where, which, with what.
pub(crate) struct Use<'a> {
    pub(crate) user: Id,
    pub(crate) channel: Id,
    pub(crate) command: &'a str,
    pub(crate) options: &'a [Value],
}

impl Discord {
    /// Runs a slash command, or completes one of its options.
    pub(crate) fn use_command(
        &self,
        of: &Use<'_>,
        completing: bool,
        shown: Option<&str>,
    ) -> Result<Id, Refused> {
        let mut state = self.state.change();
        let channel = state.channel_of(of.user, of.channel)?;
        if channel.kind == DM {
            return refuse("Commands of a server can't be used in direct messages");
        }
        let command = state.command(of.command)?.clone();
        let mut checked = Checked {
            path: text(&command, "name").to_owned(),
            resolved: Map::new(),
        };
        self.resolve_files(&state, of, &mut checked.resolved);
        let options = state.check_options(&command, of.options, completing, &mut checked)?;
        let mut data = json!({
            "id": command.get("id"),
            "name": command.get("name"),
            "type": 1,
            "guild_id": GUILD,
            "options": options,
        });
        if let (false, Some(map)) = (checked.resolved.is_empty(), data.as_object_mut()) {
            map.insert("resolved".to_owned(), Value::Object(checked.resolved));
        }
        if !completing {
            let line = shown.map_or_else(
                || super::slash::shown(&checked.path, &options),
                str::to_owned,
            );
            let line = format!("{}: {line}", state.name_of(of.user));
            state.note_deed(of.channel, line);
        }
        let kind = if completing {
            Kind::Autocomplete
        } else {
            Kind::Command
        };
        let deed = Deed {
            kind,
            user: of.user,
            channel: of.channel,
            data,
            name: checked.path,
            source: None,
            trigger: None,
        };
        Ok(self.interact(&mut state, deed))
    }

    /// Adds the files that came with a command.
    fn resolve_files(&self, state: &State, of: &Use<'_>, resolved: &mut Map<String, Value>) {
        let mut level = of.options;
        while let Some(below) = level.first().filter(|one| one.get("options").is_some()) {
            level = array(below, "options");
        }
        for option in level {
            let id = text(option, "value").parse::<Id>().ok();
            if let Some(file) = id.and_then(|id| self.files.given(id)) {
                let shape = shapes::given_file(&state.base, of.channel, &file);
                let files = resolved
                    .entry("attachments".to_owned())
                    .or_insert_with(|| json!({}));
                if let Some(map) = files.as_object_mut() {
                    map.insert(file.id.to_string(), shape);
                }
            }
        }
    }

    /// Presses a button or picks from a select.
    pub(crate) fn use_component(
        &self,
        user: Id,
        at: (Id, Id),
        custom_id: &str,
        values: Option<Vec<String>>,
    ) -> Result<Id, Refused> {
        let mut state = self.state.change();
        let message = state.message_of(user, at.0, at.1)?.clone();
        if message.author != APPLICATION {
            return refuse("Only the bot's components can be used");
        }
        let found = message
            .flat_components()
            .find(|c| text(c, "custom_id") == custom_id);
        let Some(component) = found else {
            return refuse("This button does not exist any more");
        };
        if component.get("disabled") == Some(&Value::Bool(true)) {
            return refuse("This button is disabled");
        }
        let kind = kind_of(component);
        let mut data =
            json!({"custom_id": custom_id, "component_type": kind, "id": component.get("id")});
        let mut label = text(component, "label").to_owned();
        if kind != 2 {
            let values = values.unwrap_or_default();
            let known = array(component, "options");
            if kind == 3
                && !values
                    .iter()
                    .all(|v| known.iter().any(|k| text(k, "value") == v))
            {
                return refuse("This choice does not exist");
            }
            label = values.join(", ");
            if let Some(map) = data.as_object_mut() {
                map.insert("values".to_owned(), json!(values));
            }
        }
        let line = format!("{} presses [{label}]", state.name_of(user));
        state.note_deed(at.0, line);
        let deed = Deed {
            kind: Kind::Component,
            user,
            channel: at.0,
            data,
            name: String::new(),
            source: Some(&message),
            trigger: None,
        };
        Ok(self.interact(&mut state, deed))
    }

    /// Fills in and submits a modal; `fields` are by `custom_id`.
    pub(crate) fn submit_modal(
        &self,
        user: Id,
        interaction: Id,
        fields: &Map<String, Value>,
    ) -> Result<Id, Refused> {
        let mut state = self.state.change();
        let record = self.record_of(interaction).filter(|r| r.user == user);
        let Some((record, modal)) = record.and_then(|r| Some((r.clone(), r.modal?))) else {
            return refuse("This form is not open");
        };
        let components = modal
            .components
            .iter()
            .map(|row| filled_row(row, fields))
            .collect::<Result<Vec<_>, _>>()?;
        let known = modal.inputs();
        if let Some(unknown) = fields
            .keys()
            .find(|k| !known.iter().any(|(id, _)| id == *k))
        {
            return refuse(format!("The form has no field `{unknown}`"));
        }
        let line = format!("{} fills in \"{}\"", state.name_of(user), modal.title);
        state.note_deed(record.channel, line);
        let source = source_message(&state, &record);
        let deed = Deed {
            kind: Kind::ModalSubmit,
            user,
            channel: record.channel,
            data: json!({"custom_id": modal.custom_id, "components": components}),
            name: String::new(),
            source: source.as_ref(),
            trigger: Some(record.cause()),
        };
        Ok(self.interact(&mut state, deed))
    }

    /// Writes a message as a person.
    pub(crate) fn say(&self, user: Id, channel: Id, content: &str) -> Result<Message, Refused> {
        let mut state = self.state.change();
        state.channel_of(user, channel)?;
        let content = content.trim();
        if content.is_empty() || content.chars().count() > 2_000 {
            return refuse("A message has 1 to 2000 characters");
        }
        let id = state.next_id();
        let mut message = Message::empty(id, channel, user, Utc::now());
        content.clone_into(&mut message.content);
        for bot in [APPLICATION, OTHER_BOT] {
            if content.contains(&format!("<@{bot}>")) {
                message.mentions.push(bot);
            }
        }
        state.add_message(message.clone());
        self.tell_message(&state, &message, true);
        Ok(message)
    }

    /// Sets (or takes back) a person's reaction.
    pub(crate) fn react(
        &self,
        user: Id,
        at: (Id, Id),
        emoji: &str,
        set: bool,
    ) -> Result<(), Refused> {
        let mut state = self.state.change();
        if state.message_of(user, at.0, at.1)?.is_ephemeral() {
            return refuse("Nobody can react to a message that only you see");
        }
        let done = if set {
            self.set_reaction(&mut state, at, emoji, user)
        } else {
            self.unset_reaction(&mut state, at, emoji, user)
        };
        done.map_err(|error| Refused(error.message))
    }

    /// Deletes a message as a person; everybody here may delete any that they see.
    pub(crate) fn delete_as(&self, user: Id, (channel, id): (Id, Id)) -> Result<(), Refused> {
        let mut state = self.state.change();
        state.message_of(user, channel, id)?;
        self.drop_messages(&mut state, channel, &[id], false);
        Ok(())
    }

    /// The modal that an interaction was answered with.
    pub(crate) fn modal_of(&self, interaction: Id) -> Option<Modal> {
        self.record_of(interaction)?.modal
    }
}

pub(crate) fn source_message(state: &State, record: &Record) -> Option<Message> {
    state.message(record.channel, record.source?).cloned()
}

/// A row of a modal as it is sent back, with the person's value or the one that stood there.
fn filled_row(row: &Value, fields: &Map<String, Value>) -> Result<Value, Refused> {
    let mut sent = Map::new();
    sent.insert("type".to_owned(), json!(kind_of(row)));
    let mut inner = Vec::new();
    for (input, label) in modal_inputs(std::slice::from_ref(row)) {
        let id = text(&input, "custom_id");
        let given = fields.get(id).and_then(Value::as_str);
        let value = given.unwrap_or_else(|| text(&input, "value"));
        let required = input
            .get("required")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let len = u64::try_from(value.chars().count()).unwrap_or(u64::MAX);
        let limit = |key: &str, or: u64| input.get(key).and_then(Value::as_u64).unwrap_or(or);
        if value.is_empty() && required {
            return refuse(format!("`{label}` is required"));
        }
        if len > limit("max_length", 4_000) {
            return refuse(format!("`{label}` is too long"));
        }
        if !value.is_empty() && len < limit("min_length", 0) {
            return refuse(format!("`{label}` is too short"));
        }
        inner.push(json!({"type": 4, "custom_id": id, "value": value}));
    }
    if kind_of(row) == 18 {
        sent.insert("component".to_owned(), inner.pop().unwrap_or_default());
    } else {
        sent.insert("components".to_owned(), Value::Array(inner));
    }
    Ok(Value::Object(sent))
}
