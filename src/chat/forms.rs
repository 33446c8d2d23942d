//! Forms: what Discord calls modals.
//!
//! A form opens as the first answer to a command or button. What is typed into it arrives later, as
//! an interaction of its own, possibly at another replica or after a restart; so its id carries all
//! that is needed, and who may is checked again.
//!
//! **Invariant:** a typed value is a secret from the first line on: it is never logged, shown or
//! kept but sealed. Only a long text of which the command's file does not say that it is a secret
//! is given back, to who typed it alone, when it is refused: nobody should have to type it again.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString};
use serenity::all::{
    ActionRowComponent, CreateActionRow, CreateInputText, CreateModal, InputTextStyle,
    ModalInteraction,
};

use super::Shared;
use super::access::Admitted;
use super::custom_id::{FormId, raw_options};
use super::dispatch::Ticket;
use super::handlers::{self, Call};
use super::messages::answers;
use super::text::{cut, units};
use super::view::{File, View};
use crate::approvals::ForceAnswer;
use crate::commands::value::Options;
use crate::commands::{Command, ModalInput, ModalStyle};
use crate::domain::ids::PlanId;
use crate::domain::person::Role;
use crate::domain::values::secrets::masked;

/// The most that Discord takes as a title.
const MAX_TITLE: usize = 45;
/// The most that Discord takes in one input.
const MAX_INPUT: usize = 4000;
/// The input of the form for a break-glass.
const REASON: &str = "reason";
/// The least and the most of a reason.
const REASON_LENGTH: (u16, u16) = (10, 500);

/// What was typed, by input.
pub(crate) type Values = BTreeMap<String, SecretString>;

/// Opens the form of a command.
pub(crate) async fn open(
    shared: &Shared,
    ticket: &Ticket<'_>,
    command: &Command,
    options: &Options,
) {
    let form = FormId::Command {
        name: command.name(),
        options: command
            .options
            .iter()
            .map(|option| options.text(&option.name).unwrap_or_default())
            .collect(),
    };
    let (Some(id), Some(modal)) = (form.to_custom_id(), &command.modal) else {
        shared
            .say(ticket, View::text(answers::OPTIONS_TOO_LONG))
            .await;
        return;
    };
    let rows = modal.inputs.iter().map(input_row).collect();
    let modal = CreateModal::new(id, title(command, &modal.title, options)).components(rows);
    shared.open(ticket, modal).await;
}

/// The title of a form with the host that it is for. A host that does not fit with the title's own
/// words stands alone: it is what tells one form from another.
fn title(command: &Command, words: &str, options: &Options) -> String {
    let mut hosts = command
        .options
        .iter()
        .filter_map(|option| options.host_name(&option.name));
    let Some(host) = hosts.next() else {
        return words.to_owned();
    };
    let title = format!("{words}: {host}");
    if units(&title) <= MAX_TITLE {
        title
    } else {
        cut(host.as_str(), MAX_TITLE)
    }
}

/// Opens the form for the reason of a break-glass.
pub(crate) async fn open_force(shared: &Shared, ticket: &Ticket<'_>, plan: PlanId) {
    let input = CreateInputText::new(InputTextStyle::Paragraph, "Why can it not wait?", REASON)
        .placeholder("Everybody in the channel will read this")
        .min_length(REASON_LENGTH.0)
        .max_length(REASON_LENGTH.1)
        .required(true);
    let modal = CreateModal::new(FormId::Force(plan).to_string(), "Start without approval")
        .components(vec![CreateActionRow::InputText(input)]);
    shared.open(ticket, modal).await;
}

/// The roles that may force any command; whether this one may be forced is in its plan.
pub(crate) fn who_may_force(shared: &Shared) -> Vec<Role> {
    let mut roles = Vec::new();
    for command in shared.parts.catalogue.commands() {
        for approvals in command.approvals.iter().filter(|approvals| approvals.force) {
            for role in &approvals.from {
                if !roles.contains(role) {
                    roles.push(*role);
                }
            }
        }
    }
    if roles.is_empty() {
        roles.push(Role::Approver);
    }
    roles
}

fn input_row(input: &ModalInput) -> CreateActionRow {
    let style = match input.style {
        ModalStyle::Short => InputTextStyle::Short,
        ModalStyle::Paragraph => InputTextStyle::Paragraph,
    };
    let mut text = CreateInputText::new(style, input.label.clone(), input.name.clone())
        .min_length(input.min)
        .max_length(input.max)
        .required(input.min > 0);
    if let Some(placeholder) = &input.placeholder {
        text = text.placeholder(placeholder.clone());
    }
    CreateActionRow::InputText(text)
}

/// A form was sent.
pub(crate) async fn take(shared: &Shared, interaction: ModalInteraction, received: Instant) {
    let mut ticket = Ticket::of_form(&interaction, received);
    let values = typed(&interaction);
    match FormId::parse(&interaction.data.custom_id) {
        Some(FormId::Force(plan)) => {
            "form force".clone_into(&mut ticket.name);
            match shared.access.check(&ticket.caller, &who_may_force(shared)) {
                Ok(caller) => {
                    let work = Box::pin(force(shared, plan, caller, values));
                    shared.work(&ticket, work).await;
                }
                Err(refusal) => shared.refuse(&ticket, "form force", &refusal).await,
            }
        }
        Some(FormId::Command { name, options }) => {
            command_form(shared, ticket, (&name, &options), values).await;
        }
        None => {
            shared
                .say(&ticket, View::text(answers::UNKNOWN_BUTTON))
                .await;
        }
    }
}

fn typed(interaction: &ModalInteraction) -> Values {
    let rows = interaction.data.components.iter();
    rows.flat_map(|row| &row.components)
        .filter_map(|component| {
            let ActionRowComponent::InputText(input) = component else {
                return None;
            };
            let value = input.value.clone().unwrap_or_default();
            Some((input.custom_id.clone(), SecretString::from(value)))
        })
        .collect()
}

async fn command_form(
    shared: &Shared,
    mut ticket: Ticket<'_>,
    form: (&str, &[String]),
    values: Values,
) {
    let (name, given) = form;
    let command = shared.parts.catalogue.get(name);
    let Some((command, modal)) =
        command.and_then(|command| Some((command, command.modal.as_ref()?)))
    else {
        shared
            .say(&ticket, View::text(answers::UNKNOWN_COMMAND))
            .await;
        return;
    };
    ticket.name = format!("form {name}");
    let caller = match shared.access.check(&ticket.caller, &command.may_run) {
        Ok(caller) => caller,
        Err(refusal) => return shared.refuse(&ticket, name, &refusal).await,
    };
    let options = match handlers::checked(shared, command, &raw_options(command, given)) {
        Ok(options) => options,
        Err(errors) => {
            let text = answers::option_problems(&shared.clean, &errors);
            return shared.say(&ticket, View::text(text)).await;
        }
    };
    let back = given_back(command, &values);
    let values = match check_values(&modal.inputs, values) {
        Ok(values) => values,
        Err(text) => {
            let mut view = View::text(text);
            if back.is_empty() {
                return shared.say(&ticket, view).await;
            }
            // A file takes too long for an answer at once.
            view.files = back;
            let answer = Box::pin(std::future::ready(Ok(view)));
            return shared.work(&ticket, answer).await;
        }
    };
    let call = Call {
        shared,
        command,
        options,
        caller,
    };
    shared
        .work(&ticket, Box::pin(handlers::submit(call, values)))
        .await;
}

/// The long texts that are no secrets, as files; what is secret in them is hidden.
pub(crate) fn given_back(command: &Command, values: &Values) -> Vec<File> {
    let inputs = command.modal.iter().flat_map(|modal| &modal.inputs);
    let texts = inputs.filter(|input| input.style == ModalStyle::Paragraph && !input.secret);
    texts
        .filter_map(|input| {
            let text = values.get(&input.name)?.expose_secret();
            let file = File {
                name: format!("{}.txt", input.name),
                content: masked(text).unwrap_or_else(|_not_yaml| text.to_owned()),
            };
            (!text.trim().is_empty()).then_some(file)
        })
        .collect()
}

/// Checks what was typed; Discord's page checks lengths too, but need not be what sent it.
fn check_values(inputs: &[ModalInput], mut values: Values) -> Result<Values, String> {
    let mut checked = Values::new();
    for input in inputs {
        let value = values.remove(&input.name).unwrap_or_default();
        let limits = (usize::from(input.min), usize::from(input.max));
        let value = check_value(&value, limits, input.style)
            .map_err(|problem| answers::field_problem(&input.label, &problem))?;
        checked.insert(input.name.clone(), value);
    }
    Ok(checked)
}

/// Checks one value; spaces and line ends around it, as they come from copying, are dropped.
fn check_value(
    value: &SecretString,
    (min, max): (usize, usize),
    style: ModalStyle,
) -> Result<SecretString, String> {
    let text = value.expose_secret();
    if units(text) > MAX_INPUT {
        return Err(format!(
            "is longer than {MAX_INPUT} characters; {min} to {max} are allowed"
        ));
    }
    let text = text.trim();
    let is_allowed = |character: char| match style {
        ModalStyle::Short => !character.is_control(),
        ModalStyle::Paragraph => !character.is_control() || matches!(character, '\n' | '\r' | '\t'),
    };
    if !text.chars().all(is_allowed) {
        return Err(
            "contains control characters such as NUL or a line end: copy it again".to_owned(),
        );
    }
    let length = text.chars().count();
    if length < min || length > max {
        return Err(format!(
            "has {length} characters; {min} to {max} are allowed"
        ));
    }
    Ok(SecretString::from(text))
}

async fn force(
    shared: &Shared,
    plan: PlanId,
    caller: Admitted,
    values: Values,
) -> anyhow::Result<View> {
    let reason = values.get(REASON).context("the form has no reason")?;
    let limits = (usize::from(REASON_LENGTH.0), usize::from(REASON_LENGTH.1));
    let reason = match check_value(reason, limits, ModalStyle::Paragraph) {
        Ok(reason) => reason,
        Err(problem) => return Ok(View::text(answers::field_problem("reason", &problem))),
    };
    // A reason is for everybody to read, but still somebody's text.
    let reason = shared.clean.prose(reason.expose_secret());
    let parts = &shared.parts;
    let answer = parts.approvals.force(plan, &caller.person, &reason).await?;
    let mut text = answers::force(&shared.clean, &answer);
    if answer == ForceAnswer::Forced {
        let started = parts.starter.start_if_approved(plan).await?;
        text = answers::with_start(&shared.clean, text, Some(&started));
    }
    Ok(View::text(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::value::RawValue;

    fn check(text: &str, limits: (usize, usize)) -> Result<String, String> {
        let value = check_value(&SecretString::from(text), limits, ModalStyle::Short)?;
        Ok(value.expose_secret().to_owned())
    }

    #[test]
    fn copied_spaces_are_dropped_and_limits_hold() {
        assert_eq!(check(" s3cret-value \n", (4, 200)).unwrap(), "s3cret-value");
        assert!(
            check("abc", (4, 200))
                .unwrap_err()
                .contains("4 to 200 are allowed")
        );
        assert!(
            check(&"x".repeat(201), (4, 200))
                .unwrap_err()
                .contains("has 201")
        );
        assert!(
            check(&"x".repeat(4001), (4, 5000))
                .unwrap_err()
                .contains("4000")
        );
    }

    #[test]
    fn a_form_names_the_host_that_it_is_for() {
        let steps = crate::operations::start::known_steps();
        let catalogue = crate::commands::Catalogue::built_in(&steps).unwrap();
        let titled = |name: &str, option: &str, value: &str| {
            let command = catalogue.get(name).unwrap();
            let raw = BTreeMap::from([(option.to_owned(), RawValue::Text(value.to_owned()))]);
            let options = crate::commands::options::parse_options(command, &raw).unwrap();
            title(command, &command.modal.as_ref().unwrap().title, &options)
        };
        assert_eq!(
            titled("dns set-secret", "host", "pangeo.vm.fedcloud.eu"),
            "Dynamic DNS secret: pangeo.vm.fedcloud.eu"
        );
        let long = "a-long-name-of-a-hub.students.vm.fedcloud.eu";
        assert_eq!(titled("checkin set-client", "host", long), long);
        let longer = format!("{}.vm.fedcloud.eu", "x".repeat(60));
        assert_eq!(units(&titled("dns set-secret", "host", &longer)), MAX_TITLE);
    }

    #[test]
    fn control_characters_are_refused_without_showing_the_value() {
        for text in ["se\0cret", "se\ncret", "se\u{7f}cret", "se\u{1b}[0mcret"] {
            let problem = check(text, (4, 200)).unwrap_err();
            assert!(
                problem.contains("control characters") && !problem.contains("cret"),
                "{problem}"
            );
        }
        let lines = SecretString::from("one\ntwo");
        assert!(check_value(&lines, (1, 10), ModalStyle::Paragraph).is_ok());
    }
}
