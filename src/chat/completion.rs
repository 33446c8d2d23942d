//! Completes options while a person types.
//!
//! There is no acknowledgement here: Discord shows nothing until the choices come, and waits 3 s.
//! What takes longer, fails or is not allowed becomes an empty list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serenity::all::{
    AutocompleteChoice, CommandInteraction, CreateAutocompleteResponse, CreateInteractionResponse,
};
use tokio::time::timeout;

use super::Shared;
use super::dispatch::Ticket;
use super::handlers::{path_and_options, raw_values};
use super::messages::progress;
use super::text::cut;
use crate::commands::{Complete, OptionSpec, WireType};
use crate::domain::metrics::Outcome;
use crate::store::StoreError;

/// How long the choices may take.
const WITHIN: Duration = Duration::from_secs(2);
/// The most choices, and the most of one, that Discord takes.
const CHOICES: usize = 25;
const CHOICE: usize = 100;

/// A choice: what is shown, and what it stands for.
type Choice = (String, String);

/// A person types.
pub(crate) async fn take(shared: &Shared, interaction: CommandInteraction, received: Instant) {
    let mut ticket = Ticket::of_command(&interaction, received);
    "completion".clone_into(&mut ticket.name);
    let (name, given) = path_and_options(&interaction);
    let focused = interaction.data.autocomplete();
    let command = shared.parts.catalogue.get(&name);
    let allowed = command.filter(|command| {
        shared
            .access
            .check(&ticket.caller, &command.may_run)
            .is_ok()
    });
    let spec = allowed
        .zip(focused.as_ref())
        .and_then(|(command, focused)| command.option(focused.name));
    let permit = Arc::clone(&shared.in_work).try_acquire_owned().ok();
    let mut response = CreateAutocompleteResponse::new();
    if let (Some(spec), Some(focused), Some(_permit)) = (spec, focused, permit) {
        let so_far: BTreeMap<String, String> = raw_values(&interaction, given)
            .into_iter()
            .filter(|(option, _value)| option != focused.name)
            .map(|(option, value)| (option, value.to_string()))
            .collect();
        let found = timeout(WITHIN, choices(shared, spec, focused.value, &so_far)).await;
        response = match found {
            Ok(Ok(found)) => as_response(shared, spec, found),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not complete an option"
                );
                response
            }
            Err(_elapsed) => {
                tracing::info!(option = spec.name, "completing an option took too long");
                response
            }
        };
    }
    let response = CreateInteractionResponse::Autocomplete(response);
    let outcome = if shared.first_answer(&ticket, response).await {
        Outcome::Done
    } else {
        Outcome::Failed
    };
    shared.count(&ticket, outcome);
}

async fn choices(
    shared: &Shared,
    spec: &OptionSpec,
    typed: &str,
    so_far: &BTreeMap<String, String>,
) -> Result<Vec<Choice>, StoreError> {
    let found: Vec<Choice> = match &spec.complete {
        Some(Complete::Operations) => {
            let operations = shared.parts.store.recent_operations(None, 50).await?;
            let named = operations.iter().map(|operation| {
                let short = operation.id.short();
                let title = progress::title(&shared.clean, operation);
                (format!("{short} {title}"), short)
            });
            named.collect()
        }
        Some(Complete::Schedules) => {
            let schedules = shared.parts.store.schedules(None).await?;
            let named = schedules.iter().map(|schedule| {
                let short = schedule.id.short();
                (format!("{short} {}", schedule.typed()), short)
            });
            named.collect()
        }
        Some(Complete::Alerts) => {
            let alerts = shared.parts.store.open_alerts(None).await?;
            let named = alerts.iter().map(|alert| {
                let short = alert.id.short();
                (format!("{short} {}", alert.finding.title), short)
            });
            named.collect()
        }
        Some(Complete::Events) => {
            let events = shared.parts.store.events(None).await?;
            let named = events.iter().map(|event| {
                let short = event.id.short();
                let day = event.starts_at.format("%Y-%m-%d");
                (
                    format!("{short} {} {day} {}", event.name, event.reason),
                    short,
                )
            });
            named.collect()
        }
        Some(source) => as_choices(shared.parts.plans.complete(source, typed, so_far).await),
        None => as_choices(spec.choices.clone()),
    };
    Ok(matching(found, typed))
}

fn as_choices(values: Vec<String>) -> Vec<Choice> {
    values
        .into_iter()
        .map(|value| (value.clone(), value))
        .collect()
}

/// Those that contain what was typed; those that begin with it first.
fn matching(found: Vec<Choice>, typed: &str) -> Vec<Choice> {
    let typed = typed.trim().to_lowercase();
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for choice in found {
        let name = choice.0.to_lowercase();
        if name.starts_with(&typed) {
            first.push(choice);
        } else if name.contains(&typed) {
            then.push(choice);
        }
    }
    first.append(&mut then);
    first.truncate(CHOICES);
    first
}

fn as_response(
    shared: &Shared,
    spec: &OptionSpec,
    found: Vec<Choice>,
) -> CreateAutocompleteResponse {
    let choices = found.into_iter().filter_map(|(name, value)| {
        let name = cut(&shared.clean.redact(&name), CHOICE);
        match spec.kind.wire_type() {
            WireType::Integer => {
                let number = value.parse::<i64>().ok()?;
                Some(AutocompleteChoice::new(name, number))
            }
            // A value that had to be cut would mean something else.
            WireType::Text | WireType::Boolean | WireType::File | WireType::User => {
                (value.chars().count() <= CHOICE).then(|| AutocompleteChoice::new(name, value))
            }
        }
    });
    CreateAutocompleteResponse::new().set_choices(choices.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_the_typed_text_comes_first() {
        let found = ["meteo-geo", "geo", "Geology", "sea"]
            .map(|name| (name.to_owned(), name.to_owned()))
            .to_vec();
        let names: Vec<String> = matching(found, "GEO ").into_iter().map(|c| c.0).collect();
        assert_eq!(names, ["geo", "Geology", "meteo-geo"]);
        let many = (0..60).map(|n| (n.to_string(), n.to_string())).collect();
        assert_eq!(matching(many, "").len(), CHOICES);
    }
}
