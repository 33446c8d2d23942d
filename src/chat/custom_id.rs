//! The ids of buttons and forms.
//!
//! They say what is meant in full, so that a button works after a restart and on every replica.
//! Discord hands them back as they were sent; still they are parsed like any text from outside.

use std::collections::BTreeMap;
use std::fmt;

use crate::commands::value::RawValue;
use crate::commands::{Catalogue, Command};
use crate::domain::ids::{OperationId, PlanId};
use crate::domain::message::Prepared;

/// The longest id that Discord takes.
pub(crate) const MAX: usize = 100;

/// What a button means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ButtonId {
    /// Yes to a plan.
    Approve(PlanId),
    /// No to a plan.
    Refuse(PlanId),
    /// Neither, again.
    TakeBack(PlanId),
    /// Start a plan without grants; opens a form.
    Force(PlanId),
    /// A forced start was reviewed.
    Review(PlanId),
    /// Stop an operation.
    Cancel(OperationId),
    /// Let a stopped operation go on.
    Retry(OperationId),
    /// Make a plan that undoes an operation.
    Undo(OperationId),
    /// Leave a stopped operation as it is.
    Leave(OperationId),
}

impl fmt::Display for ButtonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ButtonId::Approve(plan) => write!(f, "approve:{plan}"),
            ButtonId::Refuse(plan) => write!(f, "refuse:{plan}"),
            ButtonId::TakeBack(plan) => write!(f, "take-back:{plan}"),
            ButtonId::Force(plan) => write!(f, "force:{plan}"),
            ButtonId::Review(plan) => write!(f, "review:{plan}"),
            ButtonId::Cancel(operation) => write!(f, "cancel:{operation}"),
            ButtonId::Retry(operation) => write!(f, "retry:{operation}"),
            ButtonId::Undo(operation) => write!(f, "undo:{operation}"),
            ButtonId::Leave(operation) => write!(f, "leave:{operation}"),
        }
    }
}

impl ButtonId {
    /// The meaning of an id; `None` if it is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, id) = text.split_once(':')?;
        let plan = || id.parse::<PlanId>().ok();
        let operation = || id.parse::<OperationId>().ok();
        match word {
            "approve" => plan().map(ButtonId::Approve),
            "refuse" => plan().map(ButtonId::Refuse),
            "take-back" => plan().map(ButtonId::TakeBack),
            "force" => plan().map(ButtonId::Force),
            "review" => plan().map(ButtonId::Review),
            "cancel" => operation().map(ButtonId::Cancel),
            "retry" => operation().map(ButtonId::Retry),
            "undo" => operation().map(ButtonId::Undo),
            "leave" => operation().map(ButtonId::Leave),
            _other => None,
        }
    }
}

/// A command with its options in the order of its file; an absent one is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunId {
    /// The command, e.g. `token renew`.
    pub(crate) name: String,
    /// The options as they would be typed.
    pub(crate) options: Vec<String>,
}

impl RunId {
    /// The button that runs a command; `None` if the bot does not have it, something that it needs
    /// is not given, or the id would be too long.
    pub(crate) fn of(catalogue: &Catalogue, prepared: &Prepared) -> Option<String> {
        let command = catalogue.get(&prepared.command)?;
        let given = |name: &str| {
            let option = prepared.options.iter().find(|(given, _)| given == name);
            option.map(|(_, value)| value.clone())
        };
        let options = command.options.iter().map(|option| {
            let value = given(&option.name);
            (value.is_some() || !option.required).then(|| value.unwrap_or_default())
        });
        let run = Self {
            name: command.name(),
            options: options.collect::<Option<_>>()?,
        };
        let text = format!("run:{}:{}", run.name, run.options.join("|"));
        (text.len() <= MAX && Self::parse(&text).as_ref() == Some(&run)).then_some(text)
    }

    /// The meaning of an id; `None` if it is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, options) = text.strip_prefix("run:")?.split_once(':')?;
        Some(Self {
            name: name.to_owned(),
            options: options.split('|').map(str::to_owned).collect(),
        })
    }
}

/// Options as an id carries them, for the parser; an absent one is left out.
pub(crate) fn raw_options(command: &Command, values: &[String]) -> BTreeMap<String, RawValue> {
    let given = command.options.iter().zip(values);
    given
        .filter(|(_spec, text)| !text.is_empty())
        .map(|(spec, text)| (spec.name.clone(), RawValue::Text(text.clone())))
        .collect()
}

/// What a form means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FormId {
    /// The reason for starting a plan without grants.
    Force(PlanId),
    /// The form of a command, with the options that were given, in the order of its file.
    Command {
        /// The command, e.g. `dns set-secret`.
        name: String,
        /// The options as they were typed; an absent one is empty.
        options: Vec<String>,
    },
}

impl fmt::Display for FormId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormId::Force(plan) => write!(f, "force:{plan}"),
            FormId::Command { name, options } => write!(f, "form:{name}:{}", options.join("|")),
        }
    }
}

impl FormId {
    /// The id as Discord takes it; `None` if it would be too long or not come back the same.
    pub(crate) fn to_custom_id(&self) -> Option<String> {
        let text = self.to_string();
        (text.len() <= MAX && Self::parse(&text).as_ref() == Some(self)).then_some(text)
    }

    /// The meaning of an id; `None` if it is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(':')?;
        match word {
            "force" => rest.parse().ok().map(FormId::Force),
            "form" => {
                let (name, options) = rest.split_once(':')?;
                Some(FormId::Command {
                    name: name.to_owned(),
                    options: options.split('|').map(str::to_owned).collect(),
                })
            }
            _other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::start::known_steps;

    #[test]
    fn every_button_comes_back_as_it_was_sent() {
        let (plan, operation) = (PlanId::new(), OperationId::new());
        for button in [
            ButtonId::Approve(plan),
            ButtonId::Refuse(plan),
            ButtonId::TakeBack(plan),
            ButtonId::Force(plan),
            ButtonId::Review(plan),
            ButtonId::Cancel(operation),
            ButtonId::Retry(operation),
            ButtonId::Undo(operation),
            ButtonId::Leave(operation),
        ] {
            let text = button.to_string();
            assert!(text.len() <= MAX, "{text}");
            assert_eq!(ButtonId::parse(&text), Some(button));
        }
        for text in ["", "approve", "approve:", "approve:1", "other:1", ":"] {
            assert_eq!(ButtonId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_button_runs_only_what_it_can_name_whole() {
        let catalogue = Catalogue::built_in(&known_steps()).unwrap();
        let renew = Prepared::about("token renew", "geo");
        let id = RunId::of(&catalogue, &renew).unwrap();
        let run = RunId::parse(&id).unwrap();
        let command = catalogue.get(&run.name).unwrap();
        let raw = raw_options(command, &run.options);
        assert_eq!(raw.len(), 1);
        assert_eq!(raw.get("name"), Some(&RawValue::from("geo")));
        let needs_more = Prepared::about("lock", "geo");
        assert_eq!(RunId::of(&catalogue, &needs_more), None, "`end` is needed");
        let unknown = Prepared::about("no such command", "geo");
        assert_eq!(RunId::of(&catalogue, &unknown), None);
        let long = Prepared::about("token renew", &"a".repeat(100));
        assert_eq!(RunId::of(&catalogue, &long), None);
        let twofold = Prepared::about("token renew", "a|b");
        assert_eq!(RunId::of(&catalogue, &twofold), None);
    }

    #[test]
    fn a_form_remembers_the_options_of_its_command() {
        let form = |host: &str| FormId::Command {
            name: "dns set-secret".to_owned(),
            options: vec![host.to_owned(), String::new()],
        };
        let sent = form("geo.vm.fedcloud.eu").to_custom_id().unwrap();
        assert_eq!(FormId::parse(&sent), Some(form("geo.vm.fedcloud.eu")));
        assert_eq!(form(&"a".repeat(100)).to_custom_id(), None, "too long");
        assert_eq!(form("a|b").to_custom_id(), None, "would come back as two");
        let force = FormId::Force(PlanId::new());
        assert_eq!(FormId::parse(&force.to_string()), Some(force));
        assert_eq!(FormId::parse("form:x"), None);
    }
}
