//! What Discord refuses in messages, embeds, components and modals.
//!
//! Sources: Discord's reference (message, embed, component resources; 2026-08). The API
//! description does not say several of these: total of embeds, rows, unique `custom_id`s.

use std::collections::HashSet;

use serde_json::Value;

use super::error::{ApiError, ApiResult, Problems};
use super::rest::Upload;
use super::shapes::MAX_FILE_BYTES;

/// Characters of a message.
const MAX_CONTENT: usize = 2_000;
/// Embeds on a message, and characters in all of them.
const MAX_EMBEDS: usize = 10;
const MAX_EMBED_TOTAL: usize = 6_000;
/// Files on a message.
const MAX_FILES: usize = 10;
/// Options of a select, choices of a completion.
const MAX_OPTIONS: usize = 25;

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn len(text: &str) -> usize {
    text.chars().count()
}

/// Checks the body of a message that is sent or edited.
pub(crate) fn message(body: &Value, files: &[Upload]) -> ApiResult<()> {
    if !body.is_object() && !body.is_null() {
        return Err(ApiError::bad_json());
    }
    let mut problems = Problems::default();
    match body.get("content") {
        None | Some(Value::Null) => {}
        Some(Value::String(content)) => problems.max_length("content", content, MAX_CONTENT),
        Some(_) => problems.add(
            "content",
            "STRING_TYPE_CONVERT",
            "Could not interpret \"content\" as string.",
        ),
    }
    if let Some(nonce) = body.get("nonce").filter(|n| !n.is_null()) {
        match nonce {
            Value::String(nonce) => problems.max_length("nonce", nonce, 25),
            Value::Number(_) => {}
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                problems.add("nonce", "UNION_TYPE_CHOICES", "Value of field is invalid.");
            }
        }
    }
    embeds(array(body, "embeds"), &mut problems);
    components(array(body, "components"), "components", &mut problems);
    allowed_mentions(body, &mut problems);
    problems.max_items("files", files.len(), MAX_FILES);
    problems.max_items("attachments", array(body, "attachments").len(), MAX_FILES);
    problems.into_result()?;
    if files.iter().any(|f| f.bytes.len() > MAX_FILE_BYTES) {
        return Err(ApiError::new(413, 40005, "Request entity too large"));
    }
    Ok(())
}

fn allowed_mentions(body: &Value, problems: &mut Problems) {
    let Some(allowed) = body.get("allowed_mentions").filter(|a| !a.is_null()) else {
        return;
    };
    let parse: Vec<_> = array(allowed, "parse")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for kind in ["users", "roles"] {
        let list = array(allowed, kind);
        problems.max_items(&format!("allowed_mentions.{kind}"), list.len(), 100);
        if parse.contains(&kind) && !list.is_empty() {
            let message =
                format!("parse:[\"{kind}\"] and {kind}: [ids...] are mutually exclusive.");
            problems.add(
                "allowed_mentions",
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                &message,
            );
        }
    }
    for (i, kind) in parse.iter().enumerate() {
        if !["users", "roles", "everyone"].contains(kind) {
            let path = format!("allowed_mentions.parse.{i}");
            problems.add(
                &path,
                "BASE_TYPE_CHOICES",
                "Value must be one of {'everyone', 'users', 'roles'}.",
            );
        }
    }
}

fn embeds(embeds: &[Value], problems: &mut Problems) {
    problems.max_items("embeds", embeds.len(), MAX_EMBEDS);
    let mut total = 0;
    for (i, embed) in embeds.iter().enumerate() {
        let at = format!("embeds.{i}");
        total += embed_texts(embed, &at, problems);
    }
    if total > MAX_EMBED_TOTAL {
        let message = format!("Embed size exceeds maximum size of {MAX_EMBED_TOTAL}");
        problems.add("embeds", "MAX_EMBED_SIZE_EXCEEDED", &message);
    }
}

/// Checks one embed; gives how many characters count.
fn embed_texts(embed: &Value, at: &str, problems: &mut Problems) -> usize {
    let mut total = 0;
    let limits = [
        ("title", "/title", 256),
        ("description", "/description", 4_096),
        ("footer.text", "/footer/text", 2_048),
        ("author.name", "/author/name", 256),
    ];
    for (path, pointer, max) in limits {
        if let Some(text) = embed.pointer(pointer).and_then(Value::as_str) {
            problems.max_length(&format!("{at}.{path}"), text, max);
            total += len(text);
        }
    }
    let fields = array(embed, "fields");
    problems.max_items(&format!("{at}.fields"), fields.len(), 25);
    for (i, field) in fields.iter().enumerate() {
        for (key, max) in [("name", 256), ("value", 1_024)] {
            let path = format!("{at}.fields.{i}.{key}");
            match text(field, key).map(str::trim) {
                None | Some("") => problems.required(&path),
                Some(text) => {
                    problems.max_length(&path, text, max);
                    total += len(text);
                }
            }
        }
    }
    if let Some(color) = embed.get("color").and_then(Value::as_u64)
        && color > 0x00FF_FFFF
    {
        let path = format!("{at}.color");
        problems.add(
            &path,
            "NUMBER_TYPE_MAX",
            "int value should be less than or equal to 16777215.",
        );
    }
    for pointer in [
        "/url",
        "/image/url",
        "/thumbnail/url",
        "/footer/icon_url",
        "/author/url",
    ] {
        if let Some(url) = embed.pointer(pointer).and_then(Value::as_str)
            && !["http://", "https://", "attachment://"]
                .iter()
                .any(|s| url.starts_with(s))
        {
            let path = format!("{at}{}", pointer.replace('/', "."));
            problems.add(
                &path,
                "URL_TYPE_INVALID_SCHEME",
                "Scheme must be one of ('http', 'https').",
            );
        }
    }
    total
}

/// Checks the rows of a message.
fn components(rows: &[Value], at: &str, problems: &mut Problems) {
    problems.max_items(at, rows.len(), 5);
    let mut seen = HashSet::new();
    for (r, row) in rows.iter().enumerate() {
        let row_at = format!("{at}.{r}");
        if row.get("type").and_then(Value::as_u64) != Some(1) {
            problems.add(
                &format!("{row_at}.type"),
                "UNION_TYPE_CHOICES",
                "Value of field \"type\" must be one of (1,).",
            );
            continue;
        }
        let children = array(row, "components");
        let has_select = children
            .iter()
            .any(|c| matches!(c.get("type").and_then(Value::as_u64), Some(3 | 5..=8)));
        let max = if has_select { 1 } else { 5 };
        if children.is_empty() || children.len() > max {
            let message = format!("Must be between 1 and {max} in length.");
            problems.add(
                &format!("{row_at}.components"),
                "BASE_TYPE_BAD_LENGTH",
                &message,
            );
        }
        for (c, component) in children.iter().enumerate() {
            let at = format!("{row_at}.components.{c}");
            match component.get("type").and_then(Value::as_u64) {
                Some(2) => button(component, &at, problems),
                Some(3) => select(component, &at, problems),
                Some(5..=8) => custom_id(component, &at, problems),
                _ => problems.add(
                    &format!("{at}.type"),
                    "UNION_TYPE_CHOICES",
                    "Value of field \"type\" must be one of (2, 3, 5, 6, 7, 8).",
                ),
            }
            if let Some(id) = text(component, "custom_id")
                && !seen.insert(id.to_owned())
            {
                problems.add(
                    &format!("{at}.custom_id"),
                    "COMPONENT_CUSTOM_ID_DUPLICATED",
                    "Component custom id cannot be duplicated",
                );
            }
        }
    }
}

fn custom_id(component: &Value, at: &str, problems: &mut Problems) {
    let path = format!("{at}.custom_id");
    match text(component, "custom_id") {
        Some(id) => problems.length(&path, id, 1, 100),
        None => problems.required(&path),
    }
}

fn button(button: &Value, at: &str, problems: &mut Problems) {
    let label = text(button, "label");
    if let Some(label) = label {
        problems.max_length(&format!("{at}.label"), label, 80);
    }
    if label.is_none_or(str::is_empty) && button.get("emoji").is_none() {
        problems.add(
            at,
            "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED",
            "A button must have a label or an emoji",
        );
    }
    match button.get("style").and_then(Value::as_u64) {
        Some(1..=4) => {
            custom_id(button, at, problems);
            if button.get("url").is_some() {
                problems.add(
                    at,
                    "BUTTON_COMPONENT_CUSTOM_ID_URL_EXCLUSIVE",
                    "A custom id and url cannot both be specified",
                );
            }
        }
        Some(5) => match text(button, "url") {
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
                problems.max_length(&format!("{at}.url"), url, 512);
                if button.get("custom_id").is_some() {
                    problems.add(
                        at,
                        "BUTTON_COMPONENT_CUSTOM_ID_URL_EXCLUSIVE",
                        "A custom id and url cannot both be specified",
                    );
                }
            }
            Some(_) => problems.add(
                &format!("{at}.url"),
                "URL_TYPE_INVALID_SCHEME",
                "Scheme must be one of ('http', 'https').",
            ),
            None => problems.required(&format!("{at}.url")),
        },
        _ => problems.add(
            &format!("{at}.style"),
            "BASE_TYPE_CHOICES",
            "Value must be one of (1, 2, 3, 4, 5, 6).",
        ),
    }
}

fn select(select: &Value, at: &str, problems: &mut Problems) {
    custom_id(select, at, problems);
    if let Some(placeholder) = text(select, "placeholder") {
        problems.max_length(&format!("{at}.placeholder"), placeholder, 150);
    }
    let options = array(select, "options");
    if options.is_empty() || options.len() > MAX_OPTIONS {
        problems.add(
            &format!("{at}.options"),
            "BASE_TYPE_BAD_LENGTH",
            "Must be between 1 and 25 in length.",
        );
    }
    let mut values = HashSet::new();
    for (i, option) in options.iter().enumerate() {
        for key in ["label", "value"] {
            let path = format!("{at}.options.{i}.{key}");
            match text(option, key) {
                Some(text) => problems.length(&path, text, 1, 100),
                None => problems.required(&path),
            }
        }
        if !values.insert(text(option, "value")) {
            let path = format!("{at}.options.{i}.value");
            problems.add(
                &path,
                "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
                "The specified option value is already used",
            );
        }
    }
}

/// Checks the choices that answer a completion.
pub(crate) fn choices(data: &Value) -> ApiResult<()> {
    let mut problems = Problems::default();
    let choices = array(data, "choices");
    if data.get("choices").is_none() {
        problems.required("data.choices");
    }
    problems.max_items("data.choices", choices.len(), MAX_OPTIONS);
    for (i, choice) in choices.iter().enumerate() {
        let at = format!("data.choices.{i}");
        match text(choice, "name") {
            Some(name) => problems.length(&format!("{at}.name"), name, 1, 100),
            None => problems.required(&format!("{at}.name")),
        }
        match choice.get("value") {
            Some(Value::String(value)) => problems.length(&format!("{at}.value"), value, 1, 100),
            Some(Value::Number(_)) => {}
            _ => problems.required(&format!("{at}.value")),
        }
    }
    problems.into_result()
}

/// The text inputs of a modal, whether in rows or in labels, with the label's text.
pub(crate) fn modal_inputs(components: &[Value]) -> Vec<(Value, String)> {
    let mut inputs = Vec::new();
    for row in components {
        let label = text(row, "label").unwrap_or_default();
        let inner = row.get("component").into_iter();
        for input in array(row, "components").iter().chain(inner) {
            let label = text(input, "label").unwrap_or(label).to_owned();
            inputs.push((input.clone(), label));
        }
    }
    inputs
}

/// Checks a modal.
pub(crate) fn modal(data: &Value) -> ApiResult<()> {
    let mut problems = Problems::default();
    match text(data, "title") {
        Some(title) => problems.length("data.title", title, 1, 45),
        None => problems.required("data.title"),
    }
    custom_id(data, "data", &mut problems);
    let rows = array(data, "components");
    if rows.is_empty() || rows.len() > 5 {
        problems.add(
            "data.components",
            "BASE_TYPE_BAD_LENGTH",
            "Must be between 1 and 5 in length.",
        );
    }
    let mut seen = HashSet::new();
    for (r, row) in rows.iter().enumerate() {
        let at = format!("data.components.{r}");
        let kind = row.get("type").and_then(Value::as_u64);
        let inputs = modal_inputs(std::slice::from_ref(row));
        if !matches!(kind, Some(1 | 18)) || inputs.len() != 1 {
            problems.add(
                &at,
                "BASE_TYPE_BAD_LENGTH",
                "Must contain exactly one input.",
            );
        }
        for (input, label) in inputs {
            let at = format!("{at}.components.0");
            modal_input(&input, &label, &at, &mut problems);
            if let Some(id) = text(&input, "custom_id")
                && !seen.insert(id.to_owned())
            {
                problems.add(
                    &format!("{at}.custom_id"),
                    "COMPONENT_CUSTOM_ID_DUPLICATED",
                    "Component custom id cannot be duplicated",
                );
            }
        }
    }
    problems.into_result()
}

fn modal_input(input: &Value, label: &str, at: &str, problems: &mut Problems) {
    custom_id(input, at, problems);
    if input.get("type").and_then(Value::as_u64) != Some(4) {
        problems.add(
            &format!("{at}.type"),
            "UNION_TYPE_CHOICES",
            "Value of field \"type\" must be one of (4,).",
        );
    }
    if !matches!(input.get("style").and_then(Value::as_u64), Some(1 | 2)) {
        problems.add(
            &format!("{at}.style"),
            "BASE_TYPE_CHOICES",
            "Value must be one of (1, 2).",
        );
    }
    problems.length(&format!("{at}.label"), label, 1, 45);
    for (key, max) in [("value", 4_000), ("placeholder", 100)] {
        if let Some(text) = text(input, key) {
            problems.max_length(&format!("{at}.{key}"), text, max);
        }
    }
    let number = |key: &str| input.get(key).and_then(Value::as_u64);
    for (key, range) in [("min_length", 0..=4_000), ("max_length", 1..=4_000)] {
        if number(key).is_some_and(|n| !range.contains(&n)) {
            problems.add(
                &format!("{at}.{key}"),
                "NUMBER_TYPE_MAX",
                "int value should be less than or equal to 4000.",
            );
        }
    }
    if let (Some(min), Some(max)) = (number("min_length"), number("max_length"))
        && min > max
    {
        problems.add(
            &format!("{at}.min_length"),
            "TEXT_INPUT_MIN_LENGTH_EXCEEDS_MAX_LENGTH",
            "Min length must not exceed max length.",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(body: &Value) -> String {
        message(body, &[]).unwrap_err().body()["errors"].to_string()
    }

    #[test]
    fn limits_of_messages_hold_at_their_edges() {
        message(&json!({"content": "x".repeat(2_000)}), &[]).unwrap();
        assert!(refused(&json!({"content": "x".repeat(2_001)})).contains("2000 or fewer"));
        let embed = |n| json!({"description": "x".repeat(n)});
        message(&json!({"embeds": [embed(3_000), embed(3_000)]}), &[]).unwrap();
        assert!(
            refused(&json!({"embeds": [embed(3_000), embed(3_001)]})).contains("MAX_EMBED_SIZE")
        );
        let many = vec![json!({"title": "x"}); 11];
        assert!(refused(&json!({"embeds": many})).contains("10 or fewer"));
    }

    #[test]
    fn buttons_need_unique_ids_and_labels() {
        let row = |ids: &[&str]| {
            let buttons: Vec<_> = ids
                .iter()
                .map(|id| json!({"type": 2, "style": 1, "label": "L", "custom_id": id}))
                .collect();
            json!({"type": 1, "components": buttons})
        };
        message(&json!({"components": [row(&["a", "b"])]}), &[]).unwrap();
        assert!(refused(&json!({"components": [row(&["a"]), row(&["a"])]})).contains("DUPLICATED"));
        assert!(
            refused(&json!({"components": [row(&["a", "b", "c", "d", "e", "f"])]}))
                .contains("between 1 and 5")
        );
        let link = json!({"type": 2, "style": 5, "label": "L", "custom_id": "a"});
        assert!(
            refused(&json!({"components": [{"type": 1, "components": [link]}]})).contains("url")
        );
    }

    #[test]
    fn modals_take_five_inputs() {
        let input = |n: usize| json!({"type": 1, "components": [{"type": 4, "custom_id": format!("i{n}"), "style": 1, "label": "L"}]});
        let rows = |n| (0..n).map(input).collect::<Vec<_>>();
        modal(&json!({"title": "T", "custom_id": "m", "components": rows(5)})).unwrap();
        modal(&json!({"title": "T", "custom_id": "m", "components": rows(6)})).unwrap_err();
        modal(&json!({"title": "T".repeat(46), "custom_id": "m", "components": rows(1)}))
            .unwrap_err();
    }
}
