//! Slash commands as text: `/pangeo deploy name:geo purpose:"a course"`.

use serde_json::{Value, json};

use super::client::{Refused, refuse};
use super::state::State;

/// A command that was typed.
#[derive(Debug)]
pub(crate) struct Typed {
    pub(crate) command: String,
    pub(crate) options: Vec<Value>,
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn kind_of(option: &Value) -> u64 {
    option
        .get("type")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

/// Reads a typed command; with `focus` the last option is the one that is being completed.
pub(crate) fn parse(state: &State, typed: &str, focus: bool) -> Result<Typed, Refused> {
    let words = split(typed)?;
    let Some((first, mut rest)) = words.split_first() else {
        return refuse("nothing was typed");
    };
    let Some(name) = first.strip_prefix('/') else {
        return refuse(format!("`{typed}` does not start with a slash"));
    };
    let Some(command) = state.commands.iter().find(|c| text(c, "name") == name) else {
        return refuse(format!("there is no command `/{name}`"));
    };
    let mut level = command;
    let mut path = Vec::new();
    while let Some((word, after)) = rest.split_first() {
        let sub = array(level, "options")
            .iter()
            .find(|o| kind_of(o) <= 2 && text(o, "name") == word);
        let Some(sub) = sub else {
            break;
        };
        path.push(sub);
        level = sub;
        rest = after;
    }
    let mut options = Vec::new();
    for (i, word) in rest.iter().enumerate() {
        let last = focus && i + 1 == rest.len();
        options.push(option(state, level, word, last)?);
    }
    for sub in path.into_iter().rev() {
        options =
            vec![json!({"name": sub.get("name"), "type": sub.get("type"), "options": options})];
    }
    Ok(Typed {
        command: text(command, "id").to_owned(),
        options,
    })
}

/// Reads `name:value` by the option's type.
fn option(state: &State, level: &Value, word: &str, focused: bool) -> Result<Value, Refused> {
    let Some((name, raw)) = word.split_once(':') else {
        return refuse(format!(
            "`{word}` is neither a subcommand of `{}` nor `option:value`",
            text(level, "name")
        ));
    };
    let Some(definition) = array(level, "options")
        .iter()
        .find(|o| text(o, "name") == name)
    else {
        return refuse(format!("`{}` has no option `{name}`", text(level, "name")));
    };
    if focused {
        return Ok(json!({"name": name, "value": raw, "focused": true}));
    }
    let choice = array(definition, "choices")
        .iter()
        .find(|c| text(c, "name") == raw);
    if let Some(value) = choice.and_then(|c| c.get("value")) {
        return Ok(json!({"name": name, "value": value}));
    }
    let wrong = || Refused(format!("`{name}` can't be `{raw}`"));
    let value = match kind_of(definition) {
        4 => json!(raw.parse::<i64>().map_err(|_why| wrong())?),
        10 => json!(raw.parse::<f64>().map_err(|_why| wrong())?),
        5 => json!(raw.to_lowercase().parse::<bool>().map_err(|_why| wrong())?),
        6..=9 => json!(id_of(state, raw).ok_or_else(wrong)?),
        _ => json!(raw),
    };
    Ok(json!({"name": name, "value": value}))
}

/// The id behind `@ana`, `#pangeo`, `operator`, or a mention.
fn id_of(state: &State, raw: &str) -> Option<String> {
    let bare = raw
        .trim_start_matches(['<', '@', '#', '&', '!'])
        .trim_end_matches('>');
    if bare.parse::<u64>().is_ok() {
        return Some(bare.to_owned());
    }
    let people = state.people.iter().map(|p| (p.id, &p.username));
    let channels = state.channels.values().map(|c| (c.id, &c.name));
    let roles = state.roles.iter().map(|r| (r.id, &r.name));
    let mut all = people.chain(channels).chain(roles);
    all.find(|(_, name)| *name == bare)
        .map(|(id, _)| id.to_string())
}

/// Splits at spaces outside of double quotes; `\"` is a quote within them.
fn split(typed: &str) -> Result<Vec<String>, Refused> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    let mut chars = typed.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            '\\' if quoted && chars.peek() == Some(&'"') => {
                word.push('"');
                chars.next();
            }
            c if c.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                    any = false;
                }
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if quoted {
        return refuse("a quote is not closed");
    }
    if any {
        words.push(word);
    }
    Ok(words)
}

/// A command as text again, for the transcript.
pub(crate) fn shown(path: &str, options: &[Value]) -> String {
    let mut line = format!("/{path}");
    let mut level = options;
    while let Some(inner) = level
        .first()
        .filter(|o| kind_of(o) <= 2 && o.get("options").is_some())
    {
        level = array(inner, "options");
    }
    for option in level {
        let value = option.get("value").cloned().unwrap_or_default();
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let quote = if value.contains(char::is_whitespace) {
            "\""
        } else {
            ""
        };
        line.push_str(&format!(" {}:{quote}{value}{quote}", text(option, "name")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            commands: vec![json!({"id": "1", "name": "pangeo", "options": [
                {"type": 1, "name": "deploy", "options": [
                    {"type": 3, "name": "name", "required": true},
                    {"type": 4, "name": "workers"},
                    {"type": 6, "name": "contact"},
                    {"type": 3, "name": "purpose"}]},
                {"type": 2, "name": "ops", "options": [{"type": 1, "name": "list"}]}]})],
            ..State::default()
        }
    }

    #[test]
    fn text_becomes_nested_options() {
        let typed =
            "/pangeo deploy name:geo workers:3 contact:@ana purpose:\"a \\\"good\\\" course\"";
        let parsed = parse(&state(), typed, false).unwrap();
        let inner = &parsed.options[0]["options"];
        assert_eq!(parsed.options[0]["name"], "deploy");
        assert_eq!(inner[1], json!({"name": "workers", "value": 3}));
        assert_eq!(inner[2]["value"], "1100000000000000301");
        assert_eq!(inner[3]["value"], "a \"good\" course");
        let group = parse(&state(), "/pangeo ops list", false).unwrap();
        assert_eq!(group.options[0]["options"][0]["name"], "list");
    }

    #[test]
    fn what_the_client_does_not_know_is_refused() {
        for typed in [
            "pangeo",
            "/other",
            "/pangeo destroy",
            "/pangeo deploy nam:x",
            "/pangeo deploy name:\"x",
            "/pangeo deploy workers:many",
        ] {
            parse(&state(), typed, false).unwrap_err();
        }
    }
}
