//! Compares a command with Discord's limits and with itself.
//!
//! Discord: names `^[-_'\p{L}\p{N}]{1,32}$` in lower case (ours are ASCII), descriptions of 1 to
//! 100 characters, 25 options and choices, choices of 1 to 100 characters, required options first,
//! 8000 characters in all, modals of 1 to 5 inputs with titles and labels of 45, placeholders of
//! 100 and texts of 4000 characters
//! (<https://discord.com/developers/docs/interactions/application-commands>, read 2026-08).

use std::collections::BTreeSet;

use super::{
    file::Report,
    runbook,
    shown::Shown,
    spec::{Command, Effect, Modal, OptionKind, OptionSpec},
};

const MAX_OPTIONS: usize = 25;
const MAX_CHOICES: usize = 25;
pub(super) const MAX_DESCRIPTION: usize = 100;
const MAX_CHOICE: usize = 100;

/// Whether a text may be the name of a command, group, option or input.
pub(super) fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
}

/// What is wrong with a description, if anything.
pub(super) fn description_problem(text: &str) -> Option<String> {
    let length = text.chars().count();
    if length == 0 || length > MAX_DESCRIPTION {
        return Some(format!(
            "the description has {length} characters; 1 to {MAX_DESCRIPTION} are allowed"
        ));
    }
    text.chars()
        .any(char::is_control)
        .then(|| "the description must be one line".to_owned())
}

/// The characters that count towards Discord's 8000: names, descriptions as far as they are shown,
/// and choices.
pub(super) fn weight(command: &Command, shown: Shown) -> usize {
    let count = |text: &str| text.chars().count();
    let options = command.options.iter().map(|option| {
        let choices = option.choices.iter().map(|choice| 2 * count(choice));
        let description = count(&option.description).min(shown.of_options());
        count(&option.name) + description + choices.sum::<usize>()
    });
    let description = count(&command.description).min(shown.of_commands());
    count(&command.path.name) + description + options.sum::<usize>()
}

pub(super) fn check(command: &Command, known_steps: &[&str], report: &mut Report<'_>) {
    if let Some(text) = description_problem(&command.description) {
        report.add("description", text);
    }
    if command.may_run.is_empty() {
        report.add(
            "description",
            "nobody may run it; name a role in `[who] may_run`",
        );
    }
    check_options(command, report);
    if let Some(modal) = &command.modal {
        check_modal(modal, report);
        check_when(command, modal, report);
    }
    check_effect(command, report);
    check_approvals(command, report);
    check_operation(command, known_steps, report);
    runbook::check(command, known_steps, report);
}

fn check_options(command: &Command, report: &mut Report<'_>) {
    if command.options.len() > MAX_OPTIONS {
        report.add(
            "description",
            format!(
                "it has {} options; Discord allows {MAX_OPTIONS}",
                command.options.len()
            ),
        );
    }
    let mut seen = BTreeSet::new();
    let mut optional = false;
    for option in &command.options {
        let thing = format!("option {}", option.name);
        if !seen.insert(&option.name) {
            report.add(
                &thing,
                format!("the option `{}` is given twice", option.name),
            );
        }
        if option.required && optional {
            report.add(
                &thing,
                format!(
                    "`{}` is required and stands after an optional one; required options stand first",
                    option.name
                ),
            );
        }
        optional |= !option.required;
        for text in option_problems(option) {
            report.add(&thing, format!("`{}`: {text}", option.name));
        }
    }
}

fn option_problems(option: &OptionSpec) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_name(&option.name) {
        problems.push("a name has 1 to 32 small letters, digits and dashes".to_owned());
    }
    problems.extend(description_problem(&option.description));
    if option.required && option.default.is_some() {
        problems.push("a required option has no default".to_owned());
    }
    if option.kind == OptionKind::Choice {
        let count = option.choices.len();
        if !(1..=MAX_CHOICES).contains(&count) {
            problems.push(format!(
                "it has {count} choices; 1 to {MAX_CHOICES} are allowed"
            ));
        }
        if option.complete.is_some() {
            problems.push("choices and `complete` exclude each other".to_owned());
        }
    } else if !option.choices.is_empty() {
        problems.push("only the kind `choice` has choices".to_owned());
    }
    for choice in &option.choices {
        let length = choice.chars().count();
        if !(1..=MAX_CHOICE).contains(&length) {
            problems.push(format!(
                "a choice has {length} characters; 1 to {MAX_CHOICE} are allowed"
            ));
        }
    }
    if option.kind == OptionKind::Boolean && option.complete.is_some() {
        problems.push("true or false needs no `complete`".to_owned());
    }
    problems.extend(bounds_problem(option));
    problems
}

fn bounds_problem(option: &OptionSpec) -> Option<String> {
    let bounds = (option.min, option.max);
    match option.kind {
        OptionKind::Integer => match bounds {
            (Some(min), Some(max)) if min <= max => None,
            (Some(_), Some(_)) => Some("`min` is greater than `max`".to_owned()),
            (None, _) | (_, None) => Some("a number needs `min` and `max`".to_owned()),
        },
        OptionKind::Text => match bounds {
            (Some(min), Some(max)) if (0..=max).contains(&min) && max <= 6000 => None,
            (Some(_) | None, Some(_) | None) => {
                Some("a text needs `min` and `max` within 0 to 6000 characters".to_owned())
            }
        },
        OptionKind::ClusterName
        | OptionKind::HostName
        | OptionKind::PublicAddress
        | OptionKind::Boolean
        | OptionKind::Choice
        | OptionKind::Email
        | OptionKind::Date
        | OptionKind::Time
        | OptionKind::Person
        | OptionKind::Image
        | OptionKind::Tag
        | OptionKind::Version
        | OptionKind::Size
        | OptionKind::SiteImage
        | OptionKind::Word
        | OptionKind::Operation
        | OptionKind::Duration
        | OptionKind::Pattern
        | OptionKind::File
        | OptionKind::NodeName
        | OptionKind::PodName
        | OptionKind::RepositoryUrl
        | OptionKind::ChartName
        | OptionKind::ChartFolder => (bounds != (None, None))
            .then(|| "only numbers and texts have `min` and `max`".to_owned()),
    }
}

fn check_modal(modal: &Modal, report: &mut Report<'_>) {
    let too_long = |what: &str, text: &str, max: usize| {
        let length = text.chars().count();
        (length == 0 || length > max)
            .then(|| format!("{what} has {length} characters; 1 to {max} are allowed"))
    };
    let mut problems: Vec<String> = Vec::new();
    problems.extend(too_long("the modal's title", &modal.title, 45));
    if !(1..=5).contains(&modal.inputs.len()) {
        problems.push(format!(
            "the modal has {} inputs; 1 to 5 are allowed",
            modal.inputs.len()
        ));
    }
    let mut seen = BTreeSet::new();
    for input in &modal.inputs {
        let what = format!("the modal's input `{}`", input.name);
        if !is_name(&input.name) {
            problems.push(format!(
                "{what} needs a name of 1 to 32 small letters, digits and dashes"
            ));
        }
        if !seen.insert(&input.name) {
            problems.push(format!("{what} is given twice"));
        }
        problems.extend(too_long(&format!("the label of {what}"), &input.label, 45));
        if let Some(placeholder) = &input.placeholder {
            problems.extend(too_long(
                &format!("the placeholder of {what}"),
                placeholder,
                100,
            ));
        }
        if input.max == 0 || input.max > 4000 || input.min > input.max {
            problems.push(format!("{what} needs `min` <= `max` <= 4000"));
        }
    }
    for text in problems {
        report.add("modal", text);
    }
}

/// The form must hang at a choice that exists.
fn check_when(command: &Command, modal: &Modal, report: &mut Report<'_>) {
    if let Some(option) = &modal.unless
        && command.option(option).is_none_or(|spec| spec.required)
    {
        let text = format!("`unless`: there is no option `{option}` that may be left out");
        report.add("modal", text);
    }
    let Some(when) = &modal.when else {
        return;
    };
    let choices = command.option(&when.option).map(|option| &option.choices);
    if !choices.is_some_and(|choices| choices.contains(&when.is)) {
        let text = format!(
            "there is no option `{}` with the choice `{}`",
            when.option, when.is
        );
        report.add("modal", format!("`when`: {text}"));
    }
}

fn check_effect(command: &Command, report: &mut Report<'_>) {
    let parts = (command.operation.is_some(), command.approvals.is_some());
    match command.effect {
        Effect::Operation => {
            if !parts.0 {
                report.add(
                    "description",
                    "`effect = \"operation\"` needs `[operation]`",
                );
            }
            if !parts.1 {
                report.add(
                    "description",
                    "`effect = \"operation\"` needs `[approvals]`",
                );
            }
        }
        Effect::Reads | Effect::Records => {
            if parts.0 || parts.1 {
                report.add(
                    "description",
                    "`[operation]` and `[approvals]` need `effect = \"operation\"`",
                );
            }
            if command.effect == Effect::Reads && command.modal.is_some() {
                report.add("modal", "a command that only reads opens no modal");
            }
        }
    }
}

fn check_approvals(command: &Command, report: &mut Report<'_>) {
    let Some(approvals) = &command.approvals else {
        return;
    };
    if approvals.needed > 0 && approvals.from.is_empty() {
        report.add("approvals", "nobody may approve; name a role in `from`");
    }
    if approvals.needed > 10 {
        report.add("approvals", "`needed` is 10 at most");
    }
    if let Some(remind_after) = approvals.remind_after
        && remind_after >= approvals.expire_after
    {
        report.add(
            "approvals",
            "`remind_after` must be shorter than `expire_after`",
        );
    }
    if !approvals.then_ask.is_empty() && approvals.remind_after.is_none() {
        report.add("approvals", "`then_ask` needs `remind_after`");
    }
}

fn check_operation(command: &Command, known_steps: &[&str], report: &mut Report<'_>) {
    let Some(operation) = &command.operation else {
        return;
    };
    if command.option(&operation.exclusive).is_none() {
        report.add(
            "exclusive",
            format!(
                "`exclusive` names the option `{}`, which the command does not have",
                operation.exclusive
            ),
        );
    }
    if operation.schedulable {
        let has_file = command.options.iter().any(|o| o.kind == OptionKind::File);
        let of_cluster = command
            .option(&operation.exclusive)
            .is_some_and(|option| option.kind == OptionKind::ClusterName && option.required);
        if command.modal.is_some() || has_file || !of_cluster {
            report.add(
                "exclusive",
                "`schedulable` needs a command about one cluster, without a form and a file",
            );
        }
    }
    // A command about an operation runs that operation's own steps, backwards.
    let of_an_operation = command
        .option(&operation.exclusive)
        .is_some_and(|option| option.kind == OptionKind::Operation);
    if operation.steps.is_empty() && !of_an_operation {
        report.add("exclusive", "the operation has no steps");
    }
    let mut seen = BTreeSet::new();
    for step in &operation.steps {
        let thing = format!("step {step}");
        if operation.remote.is_empty() && !known_steps.contains(&step.as_str()) {
            report.add(
                &thing,
                format!(
                    "there is no step `{step}`; the known steps are: {}",
                    known_steps.join(", ")
                ),
            );
        }
        if !seen.insert(step) {
            report.add(&thing, format!("the step `{step}` is named twice"));
        }
    }
}
