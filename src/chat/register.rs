//! Registers `/pangeo` with everything below it, in one request, and only when it changed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::rest::{Rest, RestError};
use super::{ChatError, Shared};
use crate::commands::{Catalogue, Command, OptionKind, OptionSpec, Shown, WireType};
use crate::domain::health::Gateway;
use crate::store::{Store, StoreError};

/// The one command; all others are below it.
pub(crate) const ROOT: &str = "pangeo";

/// The pause before a failed registration is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Discord's types of options that are not values.
const SUB_COMMAND: u8 = 1;
const SUB_COMMAND_GROUP: u8 = 2;

/// Why the commands are not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Discord.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// The rows.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Registers the catalogue if Discord does not have it as it is. Answers whether it had to.
pub(crate) async fn register(
    rest: &Rest,
    store: &Store,
    catalogue: &Catalogue,
) -> Result<bool, RegisterError> {
    let commands = payload(catalogue);
    let digest = hex::encode(Sha256::digest(commands.to_string().as_bytes()));
    let fact = format!("commands/{}", rest.guild());
    let is_known = store.fact(&fact).await?.as_deref() == Some(digest.as_str());
    if is_known && rest.registered_commands().await? == [ROOT] {
        return Ok(false);
    }
    rest.register_commands(&commands).await?;
    store.set_fact(&fact, &digest).await?;
    Ok(true)
}

/// The body of the bulk overwrite.
fn payload(catalogue: &Catalogue) -> Value {
    let shown = catalogue.shown();
    let mut below: Vec<Value> = catalogue
        .groups()
        .map(|(group, description)| {
            let members: Vec<Value> = catalogue
                .commands()
                .filter(|command| command.path.group.as_deref() == Some(group))
                .map(|command| sub_command(command, shown))
                .collect();
            json!({
                "type": SUB_COMMAND_GROUP,
                "name": group,
                "description": shown.command(description),
                "options": members,
            })
        })
        .collect();
    let single = catalogue
        .commands()
        .filter(|command| command.path.group.is_none());
    below.extend(single.map(|command| sub_command(command, shown)));
    // Without a type it is one that is typed.
    json!([{
        "name": ROOT,
        "description": "Deploy and run DaskHub on the EGI Federation",
        "options": below,
    }])
}

fn sub_command(command: &Command, shown: Shown) -> Value {
    let options = command.options.iter();
    let options: Vec<Value> = options.map(|spec| option(spec, shown)).collect();
    json!({
        "type": SUB_COMMAND,
        "name": command.path.name,
        "description": shown.command(&command.description),
        "options": options,
    })
}

fn option(spec: &OptionSpec, shown: Shown) -> Value {
    let wire = match spec.kind.wire_type() {
        WireType::Text => 3,
        WireType::Integer => 4,
        WireType::Boolean => 5,
        WireType::File => 11,
        WireType::User => 6,
    };
    let mut option = json!({
        "type": wire,
        "name": spec.name,
        "description": shown.option(&spec.description),
        "required": spec.required,
    });
    let Some(fields) = option.as_object_mut() else {
        return option;
    };
    let (least, most) = if spec.kind == OptionKind::Integer {
        ("min_value", "max_value")
    } else {
        ("min_length", "max_length")
    };
    if matches!(spec.kind, OptionKind::Integer | OptionKind::Text) {
        if let Some(min) = spec.min {
            fields.insert(least.to_owned(), json!(min));
        }
        if let Some(max) = spec.max {
            fields.insert(most.to_owned(), json!(max));
        }
    }
    if spec.complete.is_some() {
        fields.insert("autocomplete".to_owned(), json!(true));
    } else if !spec.choices.is_empty() {
        let choices: Vec<Value> = spec
            .choices
            .iter()
            .map(|choice| json!({"name": choice, "value": choice}))
            .collect();
        fields.insert("choices".to_owned(), json!(choices));
    }
    option
}

/// Registers the commands when this replica gets the connection, and again until it succeeds.
pub(crate) async fn keep_registered(
    shared: Arc<Shared>,
    mut state: watch::Receiver<Gateway>,
    ended: CancellationToken,
) -> Result<(), ChatError> {
    loop {
        tokio::select! {
            () = ended.cancelled() => return Ok(()),
            found = state.wait_for(|state| *state == Gateway::Connected) => {
                if found.is_err() {
                    return Ok(());
                }
            }
        }
        let parts = &shared.parts;
        match register(&shared.rest, &parts.store, &parts.catalogue).await {
            Ok(true) => tracing::info!(guild.id = parts.settings.login.guild, "registered /pangeo"),
            Ok(false) => tracing::debug!("/pangeo is registered as it is"),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not register /pangeo; trying again in 10 s"
                );
                shared.rest.pause(AGAIN_AFTER).await;
                continue;
            }
        }
        // Once per connection: wait until it is lost.
        tokio::select! {
            () = ended.cancelled() => return Ok(()),
            found = state.wait_for(|state| *state != Gateway::Connected) => {
                if found.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
