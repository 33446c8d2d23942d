//! What Discord refuses when commands are registered.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::error::{ApiResult, Problems};

/// Characters of names, descriptions and string choices of one command in all.
const MAX_TOTAL: usize = 8_000;

/// Discord's pattern, in lower case where there is one.
static NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[-_'\p{L}\p{N}]{1,32}$").ok());

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn kind_of(option: &Value) -> u64 {
    option
        .get("type")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

/// Checks one slash command; `at` is `0.` and so on within a bulk overwrite, or empty.
pub(crate) fn command(command: &Value, at: &str) -> ApiResult<()> {
    let mut problems = Problems::default();
    if !matches!(command.get("type").and_then(Value::as_u64), None | Some(1)) {
        problems.add(
            &format!("{at}type"),
            "BASE_TYPE_CHOICES",
            "The sandbox knows only slash commands.",
        );
    }
    let mut total = named(command, at, &mut problems);
    // A command's own type 1 is "chat input", not "sub-command".
    total += options(command, 0, at, &mut problems);
    let kinds: HashSet<_> = array(command, "options")
        .iter()
        .map(|o| kind_of(o) <= 2)
        .collect();
    if kinds.len() > 1 {
        problems.add(&format!("{at}options"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-command and sub-command group option types are mutually exclusive to all other types");
    }
    if total > MAX_TOTAL {
        let message = format!("Command exceeds maximum size ({MAX_TOTAL})");
        problems.add(
            at.trim_end_matches('.'),
            "APPLICATION_COMMAND_TOO_LARGE",
            &message,
        );
    }
    problems.into_result()
}

/// Checks name and description; gives how many characters count.
fn named(of: &Value, at: &str, problems: &mut Problems) -> usize {
    let name = of.get("name").and_then(Value::as_str).unwrap_or_default();
    let fits = NAME.as_ref().is_some_and(|r| r.is_match(name)) && name.to_lowercase() == name;
    if !fits {
        problems.add(
            &format!("{at}name"),
            "APPLICATION_COMMAND_INVALID_NAME",
            "Command name is invalid",
        );
    }
    let path = format!("{at}description");
    let description = of.get("description").and_then(Value::as_str);
    match description {
        Some(text) => problems.length(&path, text, 1, 100),
        None => problems.required(&path),
    }
    name.chars().count() + description.map_or(0, |d| d.chars().count())
}

fn options(of: &Value, kind_of_parent: u64, at: &str, problems: &mut Problems) -> usize {
    let all = array(of, "options");
    problems.max_items(&format!("{at}options"), all.len(), 25);
    let mut total = 0;
    let mut names = HashSet::new();
    let mut optional_seen = false;
    for (i, option) in all.iter().enumerate() {
        let at = format!("{at}options.{i}.");
        total += named(option, &at, problems);
        if !names.insert(option.get("name")) {
            problems.add(
                &format!("{at}name"),
                "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS",
                "Option name already exists in options",
            );
        }
        match kind_of(option) {
            1 | 2 => {
                if kind_of_parent == 1 || (kind_of_parent == 2 && kind_of(option) == 2) {
                    problems.add(
                        &format!("{at}type"),
                        "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
                        "Sub-commands may only be nested in groups",
                    );
                }
                total += options(option, kind_of(option), &at, problems);
            }
            3..=11 => {
                let required = option.get("required").and_then(Value::as_bool) == Some(true);
                if required && optional_seen {
                    problems.add(
                        &at[..at.len() - 1],
                        "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                        "Required options must be placed before non-required options",
                    );
                }
                optional_seen |= !required;
                total += value_option(option, &at, problems);
            }
            _ => problems.add(
                &format!("{at}type"),
                "BASE_TYPE_CHOICES",
                "Value must be one of (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11).",
            ),
        }
    }
    total
}

fn value_option(option: &Value, at: &str, problems: &mut Problems) -> usize {
    let kind = kind_of(option);
    let choices = array(option, "choices");
    problems.max_items(&format!("{at}choices"), choices.len(), 25);
    let autocomplete = option.get("autocomplete").and_then(Value::as_bool) == Some(true);
    if autocomplete && !choices.is_empty() {
        problems.add(
            &format!("{at}choices"),
            "APPLICATION_COMMAND_OPTIONS_CHOICES_AUTOCOMPLETE",
            "Choices and autocomplete are mutually exclusive",
        );
    }
    if (autocomplete || !choices.is_empty()) && !matches!(kind, 3 | 4 | 10) {
        problems.add(
            &format!("{at}type"),
            "APPLICATION_COMMAND_OPTIONS_CHOICES_TYPE",
            "Only strings and numbers can have choices or autocomplete",
        );
    }
    for (key, kinds) in [
        ("min_value", [4, 10]),
        ("max_value", [4, 10]),
        ("min_length", [3, 3]),
        ("max_length", [3, 3]),
    ] {
        if option.get(key).is_some_and(|v| !v.is_null()) && !kinds.contains(&kind) {
            problems.add(
                &format!("{at}{key}"),
                "APPLICATION_COMMAND_OPTIONS_BOUNDS_TYPE",
                "This bound does not fit the option's type",
            );
        }
    }
    let mut total = 0;
    let mut names = HashSet::new();
    for (i, choice) in choices.iter().enumerate() {
        let name = choice
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        problems.length(&format!("{at}choices.{i}.name"), name, 1, 100);
        total += name.chars().count();
        if !names.insert(name) {
            problems.add(
                &format!("{at}choices.{i}.name"),
                "APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_ALREADY_EXISTS",
                "Option choice name already exists",
            );
        }
        match (kind, choice.get("value")) {
            (3, Some(Value::String(value))) => {
                problems.length(&format!("{at}choices.{i}.value"), value, 1, 100);
                total += value.chars().count();
            }
            (4, Some(Value::Number(value))) if value.is_i64() => {}
            (10, Some(Value::Number(_))) => {}
            _ => problems.add(
                &format!("{at}choices.{i}.value"),
                "UNION_TYPE_CHOICES",
                "The value does not fit the option's type",
            ),
        }
    }
    total
}

/// The command as Discord keeps it: defaults filled in, empty things left out.
pub(crate) fn normalised(command: &Value) -> Map<String, Value> {
    let mut kept = without_defaults(command);
    kept.entry("type").or_insert_with(|| Value::from(1));
    kept.entry("default_member_permissions")
        .or_insert(Value::Null);
    kept.entry("nsfw").or_insert(Value::Bool(false));
    kept
}

/// Leaves out what Discord leaves out: null, false, empty lists; also within options.
fn without_defaults(of: &Value) -> Map<String, Value> {
    let mut kept = Map::new();
    for (key, value) in of.as_object().into_iter().flatten() {
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::Array(list) if list.is_empty() => {}
            Value::Array(list) if key == "options" => {
                let list = list.iter().map(|o| Value::Object(without_defaults(o)));
                kept.insert(key.clone(), list.collect());
            }
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                kept.insert(key.clone(), value.clone());
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with_options(options: &Value) -> ApiResult<()> {
        command(
            &json!({"name": "pangeo", "description": "d", "options": options}),
            "0.",
        )
    }

    #[test]
    fn names_are_lower_case() {
        command(&json!({"name": "pangeo", "description": "d"}), "").unwrap();
        for name in ["Pangeo", "pan geo", "", &"x".repeat(33)] {
            command(&json!({"name": name, "description": "d"}), "").unwrap_err();
        }
    }

    #[test]
    fn required_options_come_first() {
        let option = |name: &str, required: bool| json!({"type": 3, "name": name, "description": "d", "required": required});
        with_options(&json!([option("a", true), option("b", false)])).unwrap();
        let error = with_options(&json!([option("a", false), option("b", true)])).unwrap_err();
        assert!(
            error.body()["errors"]["0"]["options"]["1"]["_errors"][0]["message"]
                .as_str()
                .unwrap()
                .starts_with("Required options")
        );
    }

    #[test]
    fn twenty_five_options_and_eight_thousand_characters() {
        let many = |n: usize| {
            (0..n)
                .map(|i| json!({"type": 3, "name": format!("o{i}"), "description": "d"}))
                .collect::<Vec<_>>()
        };
        with_options(&json!(many(25))).unwrap();
        with_options(&json!(many(26))).unwrap_err();
        let long: Vec<_> = (0..5)
            .map(|g| json!({"type": 1, "name": format!("s{g}"), "description": "d", "options":
                (0..25).map(|i| json!({"type": 3, "name": format!("o{i}"), "description": "d".repeat(90)})).collect::<Vec<_>>()}))
            .collect();
        let error = with_options(&json!(long)).unwrap_err();
        assert!(error.body().to_string().contains("8000"));
    }
}
