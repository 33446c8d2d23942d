//! Runbooks: command files that consist of programs to run on a front end.
//!
//! **Invariant:** no shell text is built. An argument stands in the file as it is, or is `{option}`
//! and nothing else; then it is the option's whole value.
//! **Invariant:** no value can become an option of the program: kinds whose values may begin with a
//! dash can't be arguments, and what a plan fills in is looked at once more.

use std::{collections::BTreeSet, time::Duration};

use super::{
    file::Report,
    limits::is_name,
    spec::{Command, OptionKind, OptionSpec},
    value::Options,
};
use crate::domain::runbook::{RemoteRun, Repeat, Runbook};

/// The most steps of a runbook.
const MAX_STEPS: usize = 10;

/// The most arguments of a step, the program included.
const MAX_ARGUMENTS: usize = 50;

/// The longest argument, in characters.
const MAX_ARGUMENT: usize = 300;

/// The longest that a step may take; a step that waits longer is given up.
const MAX_TIME: Duration = Duration::from_hours(2);

/// The kinds whose values may be arguments, for people.
const ARGUMENT_KINDS: &str = "cluster-name, host-name, public-address, node-name, pod-name, integer, \
    boolean, choice, word, image, tag, site-image, version, size, duration, date, time, operation, \
    repository-url, chart-name, chart-folder";

/// A step of a runbook, as its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStep {
    /// Its name.
    pub name: String,
    /// The program and its arguments; `{option}` stands for the value of an option.
    pub run: Vec<String>,
    /// How long it may take.
    pub time_limit: Duration,
    /// Whether it may be repeated.
    pub repeat: Repeat,
}

/// The option that an argument stands for: it is `{name}` and nothing else.
fn placeholder(argument: &str) -> Option<&str> {
    let name = argument.strip_prefix('{')?.strip_suffix('}')?;
    is_name(name).then_some(name)
}

/// What a runbook runs with these options.
///
/// # Errors
/// Why a value can't be an argument, each in words.
pub fn fill_in(command: &Command, options: &Options) -> Result<Runbook, Vec<String>> {
    let mut problems = Vec::new();
    let steps = command.operation.iter().flat_map(|one| &one.remote);
    let runs = steps.map(|step| RemoteRun {
        name: step.name.clone(),
        run: step
            .run
            .iter()
            .map(|argument| match placeholder(argument) {
                None => argument.clone(),
                Some(option) => match value(options, option) {
                    Ok(value) => value,
                    Err(problem) => {
                        problems.push(problem);
                        String::new()
                    }
                },
            })
            .collect(),
        time_limit_s: step.time_limit.as_secs(),
        repeat: step.repeat,
    });
    let runs = runs.collect();
    let limit = command.operation.as_ref().map(|one| one.time_limit);
    if problems.is_empty() {
        let time_limit_s = limit.unwrap_or_default().as_secs();
        Ok(Runbook { time_limit_s, runs })
    } else {
        Err(problems)
    }
}

/// The value of an option as a whole argument.
fn value(options: &Options, option: &str) -> Result<String, String> {
    let value = options
        .text(option)
        .ok_or_else(|| format!("`{option}`: is needed"))?;
    if value.is_empty() || value.starts_with('-') || value.chars().any(char::is_control) {
        return Err(format!(
            "`{option}`: can't be handed to a program, since it is empty, begins with a dash or has control characters"
        ));
    }
    Ok(value)
}

/// Checks a runbook's steps against its options.
pub(super) fn check(command: &Command, known_steps: &[&str], report: &mut Report<'_>) {
    let Some(operation) = command
        .operation
        .as_ref()
        .filter(|one| !one.remote.is_empty())
    else {
        return;
    };
    let steps = &operation.remote;
    if steps.len() > MAX_STEPS {
        let text = format!("it has {} steps; {MAX_STEPS} are allowed", steps.len());
        report.add("exclusive", text);
    }
    if command.modal.is_some() {
        report.add(
            "modal",
            "a runbook opens no modal: what is typed there could not be used",
        );
    }
    let target = command.option(&operation.exclusive);
    if target.is_some_and(|option| option.kind != OptionKind::ClusterName || !option.required) {
        report.add(
            "exclusive",
            "a runbook runs on a front end: `exclusive` names a required option of the kind `cluster-name`",
        );
    }
    let mut used = BTreeSet::new();
    for step in steps {
        let thing = format!("step {}", step.name);
        for text in step_problems(step, known_steps) {
            report.add(&thing, format!("`{}`: {text}", step.name));
        }
        for text in arguments(command, step, &mut used) {
            report.add(&thing, format!("`{}`: {text}", step.name));
        }
    }
    let together = steps.iter().map(|step| step.time_limit).sum::<Duration>();
    if together > operation.time_limit {
        let text = format!(
            "the steps may take {} s together, the operation only {} s; raise its `time_limit`",
            together.as_secs(),
            operation.time_limit.as_secs()
        );
        report.add("exclusive", text);
    }
    for option in &command.options {
        if option.name != operation.exclusive && !used.contains(option.name.as_str()) {
            let text = format!(
                "`{0}` is used by no step; write `{{{0}}}` as an argument, or leave the option out",
                option.name
            );
            report.add(&format!("option {}", option.name), text);
        }
    }
}

fn step_problems(step: &RemoteStep, known_steps: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_name(&step.name) {
        problems.push("a name has 1 to 32 small letters, digits and dashes".to_owned());
    }
    if known_steps.contains(&step.name.as_str()) {
        problems.push("the bot has a step of this name; choose another".to_owned());
    }
    if step.time_limit > MAX_TIME {
        let hours = MAX_TIME.as_secs() / 3600;
        problems.push(format!("`time_limit` is {hours}h at most"));
    }
    let count = step.run.len();
    if !(1..=MAX_ARGUMENTS).contains(&count) {
        problems.push(format!(
            "`run` has {count} arguments; 1 to {MAX_ARGUMENTS} are allowed, the program first"
        ));
    }
    for argument in &step.run {
        let length = argument.chars().count();
        if length > MAX_ARGUMENT || argument.chars().any(char::is_control) {
            problems.push(format!(
                "an argument is one line of {MAX_ARGUMENT} characters at most, without control characters"
            ));
        }
    }
    problems
}

/// What is wrong with the arguments; adds the options that they use.
fn arguments<'a>(
    command: &'a Command,
    step: &'a RemoteStep,
    used: &mut BTreeSet<&'a str>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let program = step.run.iter().find(|word| *word != "sudo");
    match program.map(String::as_str) {
        None => problems.push("no program is named".to_owned()),
        Some(word) if word.is_empty() || placeholder(word).is_some() => {
            problems.push("the program itself is no option".to_owned());
        }
        Some(_) => {}
    }
    for argument in &step.run {
        if let Some(name) = placeholder(argument) {
            match command.option(name) {
                Some(option) => {
                    used.insert(name);
                    problems.extend(option_problem(option));
                }
                None => problems.push(format!("there is no option `{name}` for `{argument}`")),
            }
            continue;
        }
        let parts = command
            .options
            .iter()
            .find(|option| argument.contains(&format!("{{{}}}", option.name)));
        if let Some(option) = parts {
            problems.push(format!(
                "`{argument}`: `{{{}}}` must be the whole argument, nothing before or after it",
                option.name
            ));
        }
    }
    problems
}

/// Why an option's value can't be an argument.
fn option_problem(option: &OptionSpec) -> Option<String> {
    let name = &option.name;
    if !option.required && option.default.is_none() {
        return Some(format!(
            "the option `{name}` must be required or have a default, since its argument can't be left out"
        ));
    }
    let may_begin_with_a_dash = match option.kind {
        OptionKind::Integer => option.min.is_none_or(|min| min < 0),
        OptionKind::Choice => option.choices.iter().any(|choice| choice.starts_with('-')),
        OptionKind::Text
        | OptionKind::Email
        | OptionKind::Pattern
        | OptionKind::File
        | OptionKind::Person => {
            return Some(format!(
                "the option `{name}` can't be an argument: its kind takes what a program could read as an option of its own; use one of: {ARGUMENT_KINDS}"
            ));
        }
        OptionKind::ClusterName
        | OptionKind::HostName
        | OptionKind::PublicAddress
        | OptionKind::Boolean
        | OptionKind::Date
        | OptionKind::Time
        | OptionKind::Image
        | OptionKind::Tag
        | OptionKind::Version
        | OptionKind::Size
        | OptionKind::SiteImage
        | OptionKind::Word
        | OptionKind::Operation
        | OptionKind::Duration
        | OptionKind::NodeName
        | OptionKind::PodName
        | OptionKind::RepositoryUrl
        | OptionKind::ChartName
        | OptionKind::ChartFolder => false,
    };
    may_begin_with_a_dash.then(|| {
        format!("the option `{name}` can't be an argument: its value may begin with a dash, which a program reads as an option of its own; let `min` be 0 or more, and no choice begin with a dash")
    })
}

#[cfg(test)]
mod tests {
    use super::super::file::read;
    use super::super::options::parse_options;
    use super::*;

    const GOOD: &str = r#"
description = "Show the end of a log"
effect = "operation"
[who]
may_run = ["operator"]
[approvals]
needed = 0
from = []
expire_after = "1h"
[[options]]
name = "name"
kind = "cluster-name"
description = "The cluster"
required = true
[[options]]
name = "lines"
kind = "integer"
description = "How many lines"
min = 1
max = 500
default = 20
[operation]
exclusive = "name"
time_limit = "5m"
[[steps]]
name = "show-log"
run = ["sudo", "tail", "-n", "{lines}", "/var/log/a;b $(x) {y}"]
time_limit = "1m"
repeat = "safe"
"#;

    fn problems(text: &str) -> String {
        let read = read("run.tail.toml", text, &["check-hub"]);
        let problems = read.err().unwrap_or_default();
        problems
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect()
    }

    #[test]
    fn values_are_whole_arguments_and_the_rest_stands_as_written() {
        let command = read("run.tail.toml", GOOD, &["check-hub"]).unwrap();
        assert_eq!(command.steps(), ["show-log"]);
        let raw = [("name".to_owned(), "geo".into())].into_iter().collect();
        let options = parse_options(&command, &raw).unwrap();
        let runbook = fill_in(&command, &options).unwrap();
        let words = ["sudo", "tail", "-n", "20", "/var/log/a;b $(x) {y}"];
        assert_eq!(runbook.runs[0].run, words);
        assert_eq!(
            (runbook.time_limit_s, runbook.runs[0].time_limit_s),
            (300, 60)
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn a_file_that_could_not_work_is_refused_with_its_line_and_what_is_allowed() {
        for (from, to, problem) in [
            (
                "\"{lines}\"",
                "\"--lines={lines}\"",
                "run.tail.toml:26: `show-log`: `--lines={lines}`: `{lines}` must be the whole argument",
            ),
            (
                "\"{lines}\"",
                "\"{rows}\"",
                "run.tail.toml:26: `show-log`: there is no option `rows` for `{rows}`",
            ),
            (
                "\"{lines}\"",
                "\"20\"",
                "run.tail.toml:16: `lines` is used by no step",
            ),
            (
                "\"tail\"",
                "\"{lines}\"",
                "run.tail.toml:26: `show-log`: the program itself is no option",
            ),
            (
                "min = 1",
                "min = -1",
                "run.tail.toml:26: `show-log`: the option `lines` can't be an argument: its value may begin with a dash",
            ),
            (
                "kind = \"integer\"\ndescription = \"How many lines\"\nmin = 1\nmax = 500\ndefault = 20",
                "kind = \"text\"\ndescription = \"X\"\nrequired = true\nmin = 1\nmax = 500",
                "its kind takes what a program could read as an option",
            ),
            ("default = 20", "", "must be required or have a default"),
            (
                "\"show-log\"",
                "\"check-hub\"",
                "run.tail.toml:26: `check-hub`: the bot has a step of this name",
            ),
            (
                "\"show-log\"",
                "\"Show\"",
                "a name has 1 to 32 small letters",
            ),
            (
                "time_limit = \"1m\"",
                "time_limit = \"3h\"",
                "`time_limit` is 2h at most",
            ),
            (
                "time_limit = \"1m\"",
                "time_limit = \"6m\"",
                "the steps may take 360 s together, the operation only 300 s",
            ),
            (
                "repeat = \"safe\"",
                "repeat = \"yes\"",
                "run.tail.toml:29: unknown variant `yes`, expected `safe` or `ask`",
            ),
            ("repeat = \"safe\"", "", "missing field `repeat`"),
            (
                "repeat = \"safe\"",
                "repeat = \"safe\"\nshell = true",
                "unknown field `shell`",
            ),
            (
                "run = [\"sudo\",",
                "run = [\"a\\nb\",",
                "without control characters",
            ),
            (
                "time_limit = \"5m\"",
                "time_limit = \"5m\"\nsteps = [\"check-hub\"]",
                "`steps` of `[operation]` and `[[steps]]` exclude each other",
            ),
            (
                "[who]",
                "[modal]\ntitle = \"x\"\ninputs = []\n[who]",
                "a runbook opens no modal",
            ),
            (
                "effect = \"operation\"",
                "effect = \"reads\"",
                "need `effect = \"operation\"`",
            ),
            (
                "exclusive = \"name\"",
                "exclusive = \"lines\"",
                "names a required option of the kind `cluster-name`",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let found = problems(&text);
            assert!(found.contains(problem), "{to}: {problem}\n{found}");
        }
        let twice = format!(
            "{GOOD}{}",
            GOOD.get(GOOD.find("[[steps]]").unwrap()..).unwrap()
        );
        assert!(problems(&twice).contains("the step `show-log` is named twice"));
        let both = GOOD.replace(
            "kind = \"integer\"",
            "kind = \"choice\"\nchoices = [\"5\", \"-x\"]",
        );
        let both = both.replace("min = 1\nmax = 500\ndefault = 20", "default = \"5\"");
        assert!(problems(&both).contains("its value may begin with a dash"));
    }

    #[test]
    fn no_value_of_an_allowed_kind_begins_with_a_dash() {
        for kind in ARGUMENT_KINDS.split(", ") {
            let limits = match kind {
                "integer" => "min = 0\nmax = 9\n",
                "choice" => "choices = [\"a\"]\n",
                _ => "",
            };
            let text = GOOD
                .replace("kind = \"integer\"", &format!("kind = \"{kind}\""))
                .replace(
                    "min = 1\nmax = 500\ndefault = 20",
                    &format!("required = true\n{limits}"),
                );
            let command =
                read("run.tail.toml", &text, &[]).unwrap_or_else(|p| panic!("{kind}: {p:?}"));
            for value in ["-1", "--help", "-", "-a@b.eu", "-2026-01-01", "\u{2d}x"] {
                let raw = [
                    ("name".to_owned(), "geo".into()),
                    ("lines".to_owned(), value.into()),
                ];
                let parsed = parse_options(&command, &raw.into_iter().collect());
                assert!(parsed.is_err(), "{kind} took {value:?}");
            }
        }
    }
}
