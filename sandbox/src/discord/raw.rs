//! Interactions as a foreign or outdated client would send them: nothing is checked on the way, so
//! that the bot's own checks are seen.

use serde_json::{Value, json};

use super::Discord;
use super::client::{Refused, refuse, source_message};
use super::ids::Id;
use super::interactions::{Deed, Kind, Modal};
use super::people::{Interaction, Person, must};
use super::state::{GUILD, PANGEO_CHANNEL};

impl Person {
    /// Runs a command such as `pangeo deploy` in `#pangeo` with options of any kind and content;
    /// returns once the bot acknowledged it or failed to.
    pub async fn sends(&self, command: &str, options: &[(&str, Value)]) -> Interaction {
        let id = must(self.discord.send_command(self.id(), command, options));
        let interaction = self.interaction(id);
        interaction.settled().await;
        interaction
    }

    /// Submits a form with whatever it is given; fields are named by `custom_id`.
    pub async fn submits(&self, modal: &Modal, fields: &[(&str, &str)]) -> Interaction {
        let id = must(self.discord.send_modal(self.id(), modal, fields));
        let interaction = self.interaction(id);
        interaction.settled().await;
        interaction
    }
}

/// The kind of option that has such a value.
fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 5,
        Value::Number(number) if number.is_f64() => 10,
        Value::Number(_) => 4,
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => 3,
    }
}

impl Discord {
    fn send_command(&self, user: Id, path: &str, options: &[(&str, Value)]) -> Result<Id, Refused> {
        let mut state = self.state.change();
        let (name, below) = path.split_once(' ').unwrap_or((path, ""));
        let is_it = |command: &&Value| command.get("name").and_then(Value::as_str) == Some(name);
        let Some(command) = state.commands.iter().find(is_it).cloned() else {
            return refuse(format!("there is no command `/{name}`"));
        };
        let mut inner: Vec<Value> = options
            .iter()
            .map(|(name, value)| json!({"name": name, "type": kind_of(value), "value": value}))
            .collect();
        // The innermost word is the subcommand, those around it are groups.
        for (depth, word) in below.split_whitespace().rev().enumerate() {
            let kind = if depth == 0 { 1 } else { 2 };
            inner = vec![json!({"name": word, "type": kind, "options": inner})];
        }
        let line = format!(
            "{}: {}",
            state.name_of(user),
            super::slash::shown(path, &inner)
        );
        state.note_deed(PANGEO_CHANNEL, line);
        let deed = Deed {
            kind: Kind::Command,
            user,
            channel: PANGEO_CHANNEL,
            data: json!({
                "id": command.get("id"),
                "name": name,
                "type": 1,
                "guild_id": GUILD,
                "options": inner,
            }),
            name: path.to_owned(),
            source: None,
            trigger: None,
        };
        Ok(self.interact(&mut state, deed))
    }

    fn send_modal(&self, user: Id, modal: &Modal, fields: &[(&str, &str)]) -> Result<Id, Refused> {
        let mut state = self.state.change();
        let Some(record) = self.record_of(modal.interaction) else {
            return refuse("This form is not open");
        };
        let rows: Vec<Value> = fields
            .iter()
            .map(|(id, value)| {
                let input = json!({"type": 4, "custom_id": id, "value": value});
                json!({"type": 1, "components": [input]})
            })
            .collect();
        let line = format!("{} fills in \"{}\"", state.name_of(user), modal.title);
        state.note_deed(record.channel, line);
        let source = source_message(&state, &record);
        let deed = Deed {
            kind: Kind::ModalSubmit,
            user,
            channel: record.channel,
            data: json!({"custom_id": modal.custom_id, "components": rows}),
            name: String::new(),
            source: source.as_ref(),
            trigger: Some(record.cause()),
        };
        Ok(self.interact(&mut state, deed))
    }
}
