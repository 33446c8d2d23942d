//! Reads one command file.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{
    catalogue::Problem,
    limits,
    options::parse_value,
    runbook::RemoteStep,
    spec::{
        Approvals, Command, CommandPath, Complete, Effect, Modal, OperationSpec, OptionKind,
        OptionSpec,
    },
    value::RawValue,
};
use crate::domain::{person::Role, runbook::Repeat};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCommand {
    description: Spanned<String>,
    effect: Effect,
    who: RawWho,
    approvals: Option<RawApprovals>,
    #[serde(default)]
    options: Vec<RawOption>,
    modal: Option<Spanned<Modal>>,
    operation: Option<RawOperation>,
    #[serde(default)]
    steps: Vec<RawStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWho {
    may_run: Vec<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApprovals {
    needed: Spanned<u32>,
    from: Vec<Role>,
    expire_after: Spanned<String>,
    remind_after: Option<Spanned<String>>,
    #[serde(default)]
    then_ask: Vec<Role>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOption {
    name: Spanned<String>,
    kind: OptionKind,
    description: String,
    #[serde(default)]
    required: bool,
    default: Option<toml::Value>,
    #[serde(default)]
    choices: Vec<String>,
    min: Option<i64>,
    max: Option<i64>,
    complete: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOperation {
    exclusive: Spanned<String>,
    time_limit: Spanned<String>,
    #[serde(default)]
    under_lock: bool,
    #[serde(default)]
    schedulable: bool,
    #[serde(default)]
    steps: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    name: Spanned<String>,
    run: Vec<String>,
    time_limit: Spanned<String>,
    repeat: Repeat,
}

/// Where in the file things stand, and the problems so far.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    lines: BTreeMap<String, usize>,
    /// What was found.
    pub(super) problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            lines: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    fn place<T>(&mut self, thing: impl Into<String>, at: &Spanned<T>) {
        let line = self.line(at.span());
        self.lines.insert(thing.into(), line);
    }

    /// Adds a problem with a thing that was placed before, or with the whole file.
    pub(super) fn add(&mut self, thing: &str, text: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: self.lines.get(thing).copied(),
            text: text.into(),
        });
    }
}

/// Reads and checks one file; a command comes back only when there is no problem.
pub(super) fn read(file: &str, text: &str, known_steps: &[&str]) -> Result<Command, Vec<Problem>> {
    let mut report = Report::new(file, text);
    let Some(path) = path_of(file) else {
        report.add(
            "",
            "the name must be `<command>.toml` or `<group>.<command>.toml`, in small letters, digits and dashes",
        );
        return Err(report.problems);
    };
    let raw: RawCommand = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let line = error.span().map(|span| report.line(span));
            let text = error.message().trim().to_owned();
            let file = file.to_owned();
            return Err(vec![Problem { file, line, text }]);
        }
    };
    let command = build(path, raw, &mut report);
    limits::check(&command, known_steps, &mut report);
    if report.problems.is_empty() {
        Ok(command)
    } else {
        Err(report.problems)
    }
}

/// `deploy.toml` is `deploy`, `dns.check.toml` is `dns check`.
fn path_of(file: &str) -> Option<CommandPath> {
    let stem = file.strip_suffix(".toml")?;
    let mut parts = stem.split('.');
    let (first, second, third) = (parts.next()?, parts.next(), parts.next());
    let path = match (second, third) {
        (None, _) => CommandPath {
            group: None,
            name: first.to_owned(),
        },
        (Some(name), None) => CommandPath {
            group: Some(first.to_owned()),
            name: name.to_owned(),
        },
        (Some(_), Some(_)) => return None,
    };
    let good = limits::is_name(&path.name) && path.group.as_deref().is_none_or(limits::is_name);
    good.then_some(path)
}

fn build(path: CommandPath, raw: RawCommand, report: &mut Report<'_>) -> Command {
    report.place("description", &raw.description);
    if let Some(modal) = &raw.modal {
        report.place("modal", modal);
    }
    Command {
        path,
        description: raw.description.into_inner(),
        effect: raw.effect,
        may_run: raw.who.may_run,
        approvals: raw.approvals.map(|raw| approvals(raw, report)),
        options: raw
            .options
            .into_iter()
            .map(|raw| option(raw, report))
            .collect(),
        modal: raw.modal.map(Spanned::into_inner),
        operation: operation(raw.operation, raw.steps, report),
        file: report.file.to_owned(),
    }
}

fn approvals(raw: RawApprovals, report: &mut Report<'_>) -> Approvals {
    report.place("approvals", &raw.needed);
    Approvals {
        needed: raw.needed.into_inner(),
        from: raw.from,
        expire_after: duration(&raw.expire_after, report),
        remind_after: raw.remind_after.map(|text| duration(&text, report)),
        then_ask: raw.then_ask,
        force: raw.force,
    }
}

fn operation(
    raw: Option<RawOperation>,
    remote: Vec<RawStep>,
    report: &mut Report<'_>,
) -> Option<OperationSpec> {
    let Some(raw) = raw else {
        if !remote.is_empty() {
            report.add("description", "`[[steps]]` need `[operation]`");
        }
        return None;
    };
    report.place("exclusive", &raw.exclusive);
    if !remote.is_empty() && !raw.steps.is_empty() {
        let text = "`steps` of `[operation]` and `[[steps]]` exclude each other: a runbook has only steps of its own";
        report.add("exclusive", text);
    }
    for step in raw.steps.iter().chain(remote.iter().map(|one| &one.name)) {
        report.place(format!("step {}", step.get_ref()), step);
    }
    let remote: Vec<RemoteStep> = remote
        .into_iter()
        .map(|raw| RemoteStep {
            name: raw.name.into_inner(),
            run: raw.run,
            time_limit: duration(&raw.time_limit, report),
            repeat: raw.repeat,
        })
        .collect();
    let steps = raw.steps.into_iter().map(Spanned::into_inner);
    Some(OperationSpec {
        time_limit: duration(&raw.time_limit, report),
        exclusive: raw.exclusive.into_inner(),
        under_lock: raw.under_lock,
        schedulable: raw.schedulable,
        steps: steps
            .chain(remote.iter().map(|step| step.name.clone()))
            .collect(),
        remote,
    })
}

fn option(raw: RawOption, report: &mut Report<'_>) -> OptionSpec {
    let thing = format!("option {}", raw.name.get_ref());
    report.place(&thing, &raw.name);
    let complete = raw
        .complete
        .and_then(|text| match text.parse::<Complete>() {
            Ok(complete) => Some(complete),
            Err(error) => {
                report.add(&thing, error);
                None
            }
        });
    let mut spec = OptionSpec {
        name: raw.name.into_inner(),
        kind: raw.kind,
        description: raw.description,
        required: raw.required,
        default: None,
        choices: raw.choices,
        min: raw.min,
        max: raw.max,
        complete,
    };
    if let Some(default) = raw.default {
        match raw_value(&default).map(|raw| parse_value(&spec, &raw)) {
            Some(Ok(value)) => spec.default = Some(value),
            Some(Err(text)) => report.add(&thing, format!("the default does not hold: {text}")),
            None => report.add(
                &thing,
                "the default must be a text, a whole number, true or false",
            ),
        }
    }
    spec
}

fn raw_value(value: &toml::Value) -> Option<RawValue> {
    match value {
        toml::Value::String(text) => Some(RawValue::Text(text.clone())),
        toml::Value::Integer(number) => Some(RawValue::Integer(*number)),
        toml::Value::Boolean(flag) => Some(RawValue::Boolean(*flag)),
        toml::Value::Float(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => None,
    }
}

/// A duration such as `90s`, `30m`, `24h` or `7d`; a wrong one is reported and becomes an hour.
fn duration(text: &Spanned<String>, report: &mut Report<'_>) -> Duration {
    parse_duration(text.get_ref()).unwrap_or_else(|| {
        report.place("duration", text);
        report.add(
            "duration",
            format!(
                "`{}` is not a duration from 1s to 365d; write a number and s, m, h or d, such as `24h`",
                text.get_ref()
            ),
        );
        Duration::from_hours(1)
    })
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let seconds = number.checked_mul(match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _other => return None,
    })?;
    (1..=31_536_000)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
description = "Make a cluster"
effect = "operation"
[who]
may_run = ["operator"]
[approvals]
needed = 1
from = ["approver"]
expire_after = "24h"
[[options]]
name = "name"
kind = "cluster-name"
description = "Its name"
required = true
[operation]
exclusive = "name"
time_limit = "2h"
steps = ["check-hub"]
"#;

    fn problems(file: &str, text: &str) -> String {
        match read(file, text, &["check-hub"]) {
            Ok(_) => String::new(),
            Err(problems) => problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect(),
        }
    }

    #[test]
    fn a_good_file_is_a_command() {
        let command = read("make.toml", GOOD, &["check-hub"]).unwrap();
        assert_eq!(command.name(), "make");
        assert_eq!(
            command.operation.unwrap().time_limit,
            Duration::from_hours(2)
        );
        let command = read("big.make.toml", GOOD, &["check-hub"]).unwrap();
        assert_eq!(command.name(), "big make");
    }

    #[test]
    fn problems_name_file_and_line_and_come_all_at_once() {
        let text = GOOD
            .replace("\"24h\"", "\"soon\"")
            .replace("\"check-hub\"", "\"check-hub\", \"fly\"")
            .replace("exclusive = \"name\"", "exclusive = \"host\"");
        insta::assert_snapshot!(problems("make.toml", &text), @r"
        make.toml:9: `soon` is not a duration from 1s to 365d; write a number and s, m, h or d, such as `24h`
        make.toml:16: `exclusive` names the option `host`, which the command does not have
        make.toml:18: there is no step `fly`; the known steps are: check-hub
        ");
    }

    #[test]
    fn unknown_keys_and_roles_are_problems() {
        let found = problems("make.toml", &GOOD.replace("needed", "neded"));
        assert!(
            found.starts_with("make.toml:7: unknown field `neded`"),
            "{found}"
        );
        let found = problems("make.toml", &GOOD.replace("\"approver\"", "\"boss\""));
        assert!(
            found.starts_with("make.toml:8: unknown variant `boss`"),
            "{found}"
        );
        let found = problems("Make.toml", GOOD);
        assert!(found.contains("the name must be"), "{found}");
        let found = problems("a.b.c.toml", GOOD);
        assert!(found.contains("the name must be"), "{found}");
    }

    #[test]
    fn an_operation_without_approvals_is_a_problem() {
        let text = GOOD.replace(
            "[approvals]\nneeded = 1\nfrom = [\"approver\"]\nexpire_after = \"24h\"\n",
            "",
        );
        let found = problems("make.toml", &text);
        assert!(found.contains("[approvals]"), "{found}");
    }

    #[test]
    fn durations_have_units_and_limits() {
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_hours(168)));
        for bad in [
            "",
            "24",
            "h",
            "0s",
            "-1h",
            "366d",
            "1w",
            "1.5h",
            "99999999999999999999d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad:?} was accepted");
        }
    }
}
