//! A command as a person types it in the chat: `scale name:geo now:20`.
//!
//! Only read here, for commands that stand within another one; what Discord sends is never text.

use std::collections::BTreeMap;

use super::{Catalogue, Command};

/// The command's root, which may be left out.
const ROOT: &str = "pangeo";

/// Why a text is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypedError {
    /// Its first words name none.
    #[error("`{0}` is no command of `/pangeo`; `/pangeo help` shows them")]
    Unknown(String),
    /// What follows is no option.
    #[error("`{0}` is not an option; write `name:value`, or `name:\"more words\"`")]
    NoOption(String),
    /// An option stands there twice.
    #[error("the option `{0}` is given twice")]
    Twice(String),
    /// A quote is not closed.
    #[error("a quote `\"` is not closed")]
    Open,
}

/// The command and its options as texts; neither its roles nor its options are checked.
///
/// # Errors
/// [`TypedError`], which says what is allowed.
pub fn parse_typed<'a>(
    catalogue: &'a Catalogue,
    text: &str,
) -> Result<(&'a Command, BTreeMap<String, String>), TypedError> {
    let words = words(text)?;
    let mut words = words.iter().map(String::as_str).peekable();
    words.next_if(|word| word.trim_start_matches('/') == ROOT);
    let mut name = String::new();
    while let Some(word) = words.next_if(|word| !word.contains(':')) {
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(word.trim_start_matches('/'));
    }
    let unknown = || TypedError::Unknown(shown(&name));
    let command = catalogue.get(&name).ok_or_else(unknown)?;
    let mut options = BTreeMap::new();
    for word in words {
        let no_option = || TypedError::NoOption(shown(word));
        let (name, value) = word.split_once(':').ok_or_else(no_option)?;
        if options.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(TypedError::Twice(shown(name)));
        }
    }
    Ok((command, options))
}

/// What stands between spaces; within quotes spaces belong to it, and `\"` is a quote.
fn words(text: &str) -> Result<Vec<String>, TypedError> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun) = (false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            '\\' if quoted && letters.peek() == Some(&'"') => {
                word.extend(letters.next());
            }
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            other => {
                word.push(other);
                begun = true;
            }
        }
    }
    if quoted {
        return Err(TypedError::Open);
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

fn shown(text: &str) -> String {
    let text = text.chars().filter(|c| !c.is_control() && *c != '`');
    text.take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::catalogue::for_tests;
    use crate::domain::schedule::typed;

    fn read(text: &str) -> String {
        match parse_typed(&for_tests(), text) {
            Ok((command, options)) => typed(&command.name(), &options),
            Err(error) => format!("✗ {error}"),
        }
    }

    #[test]
    fn what_is_typed_is_read_as_discord_would() {
        for (text, expected) in [
            ("scale name:geo now:20", "scale name:geo now:20"),
            ("/pangeo scale  now:20 name:geo", "scale name:geo now:20"),
            ("nodes on name:geo node:wn1", "nodes on name:geo node:wn1"),
            (
                r#"values set name:geo path:a.b value:"{x: \"y z\"}" reason:"for the course""#,
                r#"values set name:geo path:a.b reason:"for the course" value:"{x: \"y z\"}""#,
            ),
            ("scale at:08:00", "scale at:08:00"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for (text, words) in [
            ("", "no command"),
            ("fly name:geo", "`fly` is no command"),
            ("nodes name:geo", "`nodes` is no command"),
            ("scale name:geo 20", "`20` is not an option"),
            ("scale name:geo name:sea", "`name` is given twice"),
            ("scale name:\"geo", "not closed"),
        ] {
            let text = read(text);
            assert!(text.starts_with('✗') && text.contains(words), "{text}");
        }
    }
}
