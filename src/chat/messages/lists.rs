//! Lists, reports and help.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{progress, roles, when};
use crate::chat::picture;
use crate::chat::text::{Clean, cut};
use crate::chat::view::{Card, FIELD, File, Shade, TEXT, View};
use crate::commands::{Catalogue, Command, Effect, OptionSpec};
use crate::domain::operation::Operation;
use crate::domain::person::Person;
use crate::looks::{Report, Tone};

/// A read-only answer of the bot's own parts; its text may contain markdown.
pub(crate) fn report(clean: &Clean, report: &Report) -> View {
    let mut text = clean.markdown(&report.text);
    if let Some(hint) = &report.hint {
        let _written = write!(text, "\nhint: {}", clean.markdown(hint));
    }
    let fields = report
        .fields
        .iter()
        .map(|(name, value)| (clean.redact(name), cut(&clean.markdown(value), FIELD)))
        .collect();
    let card = Card {
        title: clean.redact(&report.title),
        text: cut(&text, TEXT),
        shade: match report.tone {
            Tone::Good => Shade::Good,
            Tone::Neutral => Shade::Neutral,
            Tone::Warn => Shade::Warn,
            Tone::Bad => Shade::Bad,
        },
        fields,
        footer: String::new(),
    };
    let files = report.files.iter().map(|(name, content)| File {
        name: name.clone(),
        content: clean.redact(content),
    });
    View {
        files: files.collect(),
        picture: report.chart.as_ref().and_then(picture::png),
        ..View::card(card)
    }
}

/// Operations, newest first.
pub(crate) fn operations(clean: &Clean, operations: &[Operation]) -> View {
    if operations.is_empty() {
        return View::text(
            "no operations\nhint: `/pangeo ops list state:all` shows ended ones too",
        );
    }
    let mut text = String::new();
    for operation in operations {
        let _written = writeln!(
            text,
            "`{}` {} · {} · by <@{}>",
            operation.id.short(),
            clean.ours(&progress::title(clean, operation)),
            when(operation.created_at),
            operation.requester
        );
    }
    View::card(Card {
        title: "Operations".to_owned(),
        text: cut(&text, TEXT),
        ..Card::default()
    })
}

/// One operation.
pub(crate) fn operation(clean: &Clean, shown: &progress::Shown<'_>) -> View {
    let operation = shown.operation;
    let view = progress::view(clean, shown);
    let mut fields = vec![("Asked by".to_owned(), format!("<@{}>", operation.requester))];
    if !operation.state.is_final() {
        fields.push(("Time limit".to_owned(), when(operation.deadline)));
    }
    View {
        card: view.card.map(|card| Card { fields, ..card }),
        ..view
    }
}

/// What the bot can do for a person, and who may do the rest.
pub(crate) fn help(catalogue: &Catalogue, person: &Person) -> View {
    let mut text = String::from(
        "Changes are planned first, then approved by reactions or buttons, then done step by step; \
         the channel shows how far they are.\n",
    );
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for command in catalogue.commands() {
        let name = format!("`/pangeo {}`", command.name());
        if person.has_any(&command.may_run) {
            let _written = write!(text, "\n{name} {}", command.description);
        } else {
            others
                .entry(roles(&command.may_run))
                .or_default()
                .push(name);
        }
    }
    for (who, names) in others {
        let _written = write!(text, "\n\nonly for {who}: {}", names.join(", "));
    }
    let start = "1. sign up at EGI Check-in (https://aai.egi.eu/signup) and join the VO\n\
                 2. add a host name at https://nsupdate.fedcloud.eu, then `/pangeo dns set-secret`\n\
                 3. `/pangeo checkin sheet` shows what to fill in for the login of the hub, \
                 then `/pangeo checkin set-client`\n\
                 4. `/pangeo deploy`";
    View::card(Card {
        title: "Deploy and run DaskHub on the EGI Federation".to_owned(),
        text: cut(&text, TEXT),
        fields: vec![
            ("How to get a hub".to_owned(), start.to_owned()),
            (
                "More".to_owned(),
                "`/pangeo help command:deploy` shows the options of a command".to_owned(),
            ),
        ],
        ..Card::default()
    })
}

/// One command with its options.
pub(crate) fn help_of(command: &Command) -> View {
    let mut text = format!(
        "{}\n\nmay be run by {}",
        command.description,
        roles(&command.may_run)
    );
    match (&command.effect, &command.approvals) {
        (Effect::Operation, Some(approvals)) if approvals.needed > 0 => {
            let _written = write!(
                text,
                "\nneeds {} approval{} from {}",
                approvals.needed,
                if approvals.needed == 1 { "" } else { "s" },
                roles(&approvals.from)
            );
        }
        (Effect::Operation, _none) => text.push_str("\nneeds no approval"),
        (Effect::Reads | Effect::Records, _any) => {}
    }
    for option in &command.options {
        let _written = write!(text, "\n{}", option_line(option));
    }
    View::card(Card {
        title: format!("/pangeo {}", command.name()),
        text: cut(&text, TEXT),
        ..Card::default()
    })
}

fn option_line(option: &OptionSpec) -> String {
    let mut line = format!("• `{}` {}", option.name, option.description);
    if option.required {
        line.push_str(" (required)");
    }
    if let Some(default) = &option.default {
        let _written = write!(line, " (`{default}` if not given)");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::progress::tests::{at, operation, step};
    use super::*;
    use crate::domain::operation::{OperationState, StepState};
    use crate::domain::person::Role;
    use crate::domain::redact::Redactor;

    fn clean() -> Clean {
        Clean::new(Redactor::new())
    }

    #[test]
    fn help_shows_what_the_person_may_do_and_who_may_do_the_rest() {
        let steps = crate::operations::start::known_steps();
        let catalogue = Catalogue::built_in(&steps).unwrap();
        let shown = |role| {
            let person = Person {
                id: crate::domain::ids::DiscordUserId(1),
                roles: vec![role],
                is_bot: false,
            };
            help(&catalogue, &person).card.unwrap().text
        };
        let text = shown(Role::Viewer);
        let (may, others) = text.split_once("\n\nonly for ").unwrap();
        assert!(may.contains("`/pangeo status`"), "{may}");
        assert!(!may.contains("`/pangeo deploy`"), "{may}");
        assert!(others.contains("`operator`: "), "{others}");
        assert!(others.contains("`/pangeo deploy`"), "{others}");
        let text = shown(Role::Operator);
        assert!(text.contains("\n`/pangeo deploy` "), "{text}");
    }

    #[test]
    fn operations_are_listed_with_state_and_requester() {
        let one = operation(OperationState::Stopped);
        let text = operations(&clean(), std::slice::from_ref(&one))
            .card
            .unwrap()
            .text;
        assert_eq!(
            text,
            format!(
                "`{}` deploy geo · stopped · <t:1790000000:R> · by <@7>\n",
                one.id.short()
            )
        );
        assert!(
            operations(&clean(), &[])
                .content
                .starts_with("no operations")
        );
    }

    #[test]
    fn one_operation_shows_its_steps_and_buttons() {
        let one = operation(OperationState::Running);
        let steps = [step("connect", StepState::Done)];
        let shown = progress::Shown {
            operation: &one,
            before: None,
            steps: &steps,
            last_line: None,
            link: "https://bot/x",
            now: at(5),
        };
        let view = super::operation(&clean(), &shown);
        let card = view.card.unwrap();
        assert!(card.text.contains("✓ `connect` 2 s"), "{}", card.text);
        assert_eq!(card.fields[0], ("Asked by".to_owned(), "<@7>".to_owned()));
        assert_eq!(view.buttons.len(), 1);
    }

    #[test]
    fn a_report_keeps_its_hint_on_a_line_of_its_own() {
        let report = Report::new("geo", Tone::Warn, "does not resolve")
            .hint("run `/pangeo dns set-secret`")
            .file("values.yaml", "singleuser: {}\n");
        let view = super::report(&clean(), &report);
        assert_eq!(view.files[0].name, "values.yaml");
        let card = view.card.unwrap();
        assert_eq!(
            card.text,
            "does not resolve\nhint: run `/pangeo dns set-secret`"
        );
        assert_eq!(card.shade, Shade::Warn);
    }
}
