//! Registering slash commands in the guild.

use serde_json::{Map, Value, json};

use super::{Call, Reply};
use crate::discord::Discord;
use crate::discord::commands_check;
use crate::discord::error::{ApiError, ApiResult, Problems};
use crate::discord::ids::Id;
use crate::discord::state::{APPLICATION, GUILD, State};

/// How many commands a guild takes.
const MAX_COMMANDS: usize = 100;

impl Discord {
    pub(super) fn list_commands(&self, app: Id) -> ApiResult<Reply> {
        own(app)?;
        Ok(Reply::Json(json!(self.state.read().commands)))
    }

    /// Bulk overwrite; a command with the name of an old one keeps its id.
    pub(super) fn put_commands(&self, app: Id, call: &Call) -> ApiResult<Reply> {
        own(app)?;
        let wanted = call.body.as_array().ok_or_else(ApiError::bad_json)?;
        let mut problems = Problems::default();
        problems.max_items("commands", wanted.len(), MAX_COMMANDS);
        problems.into_result()?;
        let mut names = Vec::new();
        for (i, command) in wanted.iter().enumerate() {
            commands_check::command(command, &format!("{i}."))?;
            let name = command.get("name");
            if names.contains(&name) {
                let mut problems = Problems::default();
                problems.add(
                    &format!("{i}.name"),
                    "APPLICATION_COMMANDS_DUPLICATE_NAME",
                    "Application command names must be unique",
                );
                problems.into_result()?;
            }
            names.push(name);
        }
        let mut state = self.state.change();
        let kept: Vec<Value> = wanted.iter().map(|c| keep(&mut state, c, None)).collect();
        state.commands.clone_from(&kept);
        self.tell_commands(&state);
        Ok(Reply::Json(Value::Array(kept)))
    }

    /// Creates a command, or replaces the one of that name (then 200 instead of 201).
    pub(super) fn create_command(&self, app: Id, call: &Call) -> ApiResult<Reply> {
        own(app)?;
        commands_check::command(&call.body, "")?;
        let mut state = self.state.change();
        let name = call.body.get("name").cloned();
        let kept = keep(&mut state, &call.body, None);
        let old = state
            .commands
            .iter()
            .position(|c| c.get("name") == name.as_ref());
        match old.and_then(|i| state.commands.get_mut(i)) {
            Some(place) => *place = kept.clone(),
            None => state.commands.push(kept.clone()),
        }
        self.tell_commands(&state);
        Ok(if old.is_some() {
            Reply::Json(kept)
        } else {
            Reply::Created(kept)
        })
    }

    pub(super) fn get_command(&self, app: Id, id: Id) -> ApiResult<Reply> {
        own(app)?;
        let state = self.state.read();
        let command = state.commands.iter().find(|c| has_id(c, id));
        command.cloned().map(Reply::Json).ok_or_else(unknown)
    }

    pub(super) fn edit_command(&self, app: Id, id: Id, call: &Call) -> ApiResult<Reply> {
        own(app)?;
        let mut state = self.state.change();
        let old = state.commands.iter().find(|c| has_id(c, id)).cloned();
        let mut changed = old
            .and_then(|c| c.as_object().cloned())
            .ok_or_else(unknown)?;
        for (key, value) in call.body.as_object().ok_or_else(ApiError::bad_json)? {
            changed.insert(key.clone(), value.clone());
        }
        let changed = Value::Object(changed);
        commands_check::command(&changed, "")?;
        let kept = keep(&mut state, &changed, Some(id));
        for command in state.commands.iter_mut().filter(|c| has_id(c, id)) {
            command.clone_from(&kept);
        }
        self.tell_commands(&state);
        Ok(Reply::Json(kept))
    }

    pub(super) fn delete_command(&self, app: Id, id: Id) -> ApiResult<Reply> {
        own(app)?;
        let mut state = self.state.change();
        let before = state.commands.len();
        state.commands.retain(|c| !has_id(c, id));
        if state.commands.len() == before {
            return Err(unknown());
        }
        self.tell_commands(&state);
        Ok(Reply::Empty)
    }
}

fn unknown() -> ApiError {
    ApiError::new(404, 10063, "Unknown application command")
}

fn own(app: Id) -> ApiResult<()> {
    if app == APPLICATION {
        return Ok(());
    }
    Err(ApiError::new(
        403,
        20012,
        "You are not authorized to perform this action on this application",
    ))
}

fn has_id(command: &Value, id: Id) -> bool {
    command.get("id").and_then(Value::as_str) == Some(id.to_string().as_str())
}

/// The command as it is kept, with its old id if one of that name exists.
fn keep(state: &mut State, command: &Value, id: Option<Id>) -> Value {
    let name = command.get("name");
    let old = state
        .commands
        .iter()
        .find(|c| c.get("name") == name)
        .and_then(|c| c.get("id"))
        .cloned();
    let id = id
        .map(|id| json!(id))
        .or(old)
        .unwrap_or_else(|| json!(state.next_id()));
    let mut kept = Map::new();
    kept.insert("id".to_owned(), id);
    kept.insert("application_id".to_owned(), json!(APPLICATION));
    kept.insert("guild_id".to_owned(), json!(GUILD));
    for (key, value) in commands_check::normalised(command) {
        kept.entry(key).or_insert(value);
    }
    kept.insert("version".to_owned(), json!(state.next_id()));
    Value::Object(kept)
}
