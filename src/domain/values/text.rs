//! Changes in the text of the values that leave everything else as it is: comments, order, quotes.
//!
//! **Invariant:** a changed text means the old document with exactly the wanted changes. It is read
//! again before it leaves here; a document in which the editor would change anything else is
//! refused, never guessed at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use yaml_edit::path::{PathError, YamlPath as _};
use yaml_edit::{Document, ScalarValue, YamlValue};

use crate::domain::yaml::{self, YamlError};

/// The most changes that are made at once.
pub const MAX_EDITS: usize = 200;

/// The deepest path.
pub const MAX_DEPTH: usize = 16;

/// The longest text of values, in bytes; what the seal takes.
pub const MAX_TEXT_BYTES: usize = crate::domain::seal::MAX_SECRET_BYTES;

/// Where a value stands: keys from the top. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path(Vec<String>);

/// The text names no place in the values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown:?} is not a path; write keys with dots between, such as `jupyterhub.singleuser.startTimeout`, and `\\.` for a dot in a key"
)]
pub struct PathSyntax {
    /// The text, cut to 60 characters.
    shown: String,
}

impl Path {
    /// The place below these keys.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    /// Reads `a.b.c`; `\.` is a dot and `\\` a backslash in a key.
    ///
    /// # Errors
    /// [`PathSyntax`] says how to write one.
    pub fn parse(text: &str) -> Result<Self, PathSyntax> {
        let bad = || PathSyntax {
            shown: text.chars().take(60).collect(),
        };
        let mut keys = vec![String::new()];
        let mut letters = text.trim().chars();
        while let Some(letter) = letters.next() {
            match (letter, keys.last_mut()) {
                ('.', _) => keys.push(String::new()),
                ('\\', Some(key)) => key.push(letters.next().ok_or_else(bad)?),
                (letter, Some(key)) if !letter.is_control() => key.push(letter),
                (_, _) => return Err(bad()),
            }
        }
        let good = keys.len() <= MAX_DEPTH && keys.iter().all(|key| !key.is_empty());
        if good { Ok(Self(keys)) } else { Err(bad()) }
    }

    /// The place one key further down.
    #[must_use]
    pub fn below(&self, key: &str) -> Self {
        let mut keys = self.0.clone();
        keys.push(key.to_owned());
        Self(keys)
    }

    /// The keys.
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// What stands there.
    pub fn find<'a>(&self, tree: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(tree, |place, key| place.get(key))
    }

    /// The path in the editor's language, where a bare number would be an index.
    fn for_editor(&self) -> String {
        let keys = self.0.iter().map(|key| {
            let escaped: String = key
                .chars()
                .enumerate()
                .flat_map(|(at, c)| {
                    let escape =
                        matches!(c, '.' | '[' | ']' | '\\') || (at == 0 && c.is_ascii_digit());
                    escape.then_some('\\').into_iter().chain(Some(c))
                })
                .collect();
            escaped
        });
        keys.collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter();
        let keys: Vec<String> = keys
            .map(|key| key.replace('\\', "\\\\").replace('.', "\\."))
            .collect();
        f.write_str(&keys.join("."))
    }
}

/// One change: what shall stand at a place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// The place; mappings on the way are made.
    pub path: Path,
    /// What stands there now, so that the plan's digest covers it.
    #[serde(default)]
    pub old: Option<Value>,
    /// What shall stand there; `None` takes it away.
    pub new: Option<Value>,
}

/// Why a text could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It is not YAML that the bot reads.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A place lies below something that is no mapping.
    #[error("`{path}` can't be set: what stands above it is no mapping")]
    NoMapping {
        /// The place.
        path: Path,
    },
    /// The editor can't do it, or would change something else.
    #[error("`{path}` can't be changed without touching other parts of the text")]
    NotFaithful {
        /// The place.
        path: Path,
    },
    /// More than [`MAX_EDITS`] changes or [`MAX_TEXT_BYTES`] bytes.
    #[error(
        "the change is too large: at most {MAX_EDITS} places and {MAX_TEXT_BYTES} bytes in all"
    )]
    TooLarge,
}

/// The text with these changes, and nothing else changed.
///
/// # Errors
/// [`TextError`]; the text stays as it was.
pub fn edited(text: &str, edits: &[Edit]) -> Result<String, TextError> {
    if edits.len() > MAX_EDITS {
        return Err(TextError::TooLarge);
    }
    let mut text = text.to_owned();
    let mut tree = yaml::read(&text)?;
    for edit in edits {
        let mut wanted = tree.clone();
        set(&mut wanted, edit)?;
        if wanted == tree {
            continue;
        }
        text = one_edit(&text, edit, &wanted)?;
        tree = wanted;
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(TextError::TooLarge);
    }
    Ok(text)
}

fn one_edit(text: &str, edit: &Edit, wanted: &Value) -> Result<String, TextError> {
    let not_faithful = || TextError::NotFaithful {
        path: edit.path.clone(),
    };
    let document = Document::from_str(text).map_err(|_error| not_faithful())?;
    let path = edit.path.for_editor();
    let done: Result<(), PathError> = match &edit.new {
        Some(value) => document.try_set_path(&path, node(value)),
        None => document.try_remove_path(&path).map(drop),
    };
    done.map_err(|_error| not_faithful())?;
    let changed = document.to_string();
    match yaml::read(&changed) {
        Ok(tree) if tree == *wanted && keeps_comments(text, &changed, edit) => Ok(changed),
        Ok(_) | Err(_) => Err(not_faithful()),
    }
}

/// Whether every line with a comment of its own is still there, or stood in what was changed.
fn keeps_comments(before: &str, after: &str, edit: &Edit) -> bool {
    let comments = |text: &str| {
        text.lines()
            .filter(|l| l.trim_start().starts_with('#'))
            .count()
    };
    let in_block = |value: &Option<Value>| {
        value.as_ref().map_or(0, |value| match value {
            Value::String(text) => comments(text),
            Value::Object(_) | Value::Array(_) => usize::MAX / 2,
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        })
    };
    comments(before) <= comments(after).saturating_add(in_block(&edit.old))
}

/// Makes the change in the tree, as the text shall mean it.
fn set(tree: &mut Value, edit: &Edit) -> Result<(), TextError> {
    let no_mapping = || TextError::NoMapping {
        path: edit.path.clone(),
    };
    let Some((last, above)) = edit.path.0.split_last() else {
        return Err(no_mapping());
    };
    let mut place = tree;
    for key in above {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let map = place.as_object_mut().ok_or_else(no_mapping)?;
        if edit.new.is_none() && !map.contains_key(key) {
            return Ok(());
        }
        place = map.entry(key.clone()).or_insert(Value::Null);
    }
    if place.is_null() && edit.new.is_some() {
        *place = Value::Object(Map::new());
    }
    match (place.as_object_mut(), &edit.new) {
        (Some(map), Some(value)) => {
            map.insert(last.clone(), value.clone());
        }
        (Some(map), None) => {
            map.shift_remove(last);
        }
        (None, None) => {}
        (None, Some(_)) => return Err(no_mapping()),
    }
    Ok(())
}

/// A value for the editor; texts that YAML could take for something else are quoted.
fn node(value: &Value) -> YamlValue {
    match value {
        Value::Null => YamlValue::Scalar(ScalarValue::null()),
        Value::Bool(yes) => YamlValue::Scalar(ScalarValue::parse(yes.to_string())),
        Value::Number(number) => YamlValue::Scalar(ScalarValue::parse(number.to_string())),
        Value::String(text) => YamlValue::Scalar(scalar(text)),
        Value::Array(items) => YamlValue::Sequence(items.iter().map(node).collect()),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), node(value)));
            YamlValue::Mapping(entries.collect())
        }
    }
}

fn scalar(text: &str) -> ScalarValue {
    if text.contains('\n') {
        return ScalarValue::literal(text);
    }
    let written = yaml::write(&Value::from(text)).unwrap_or_default();
    let is_plain = !written.starts_with(['"', '\'', '|', '>']) && !text.is_empty();
    if is_plain {
        ScalarValue::plain(text)
    } else {
        ScalarValue::double_quoted(text)
    }
}

/// The changes that make one tree the other, by place; lists and scalars count as one value.
pub fn differences(from: &Value, to: &Value) -> Vec<Edit> {
    let mut edits = Vec::new();
    differ(&Path(Vec::new()), from, to, &mut edits);
    edits
}

fn differ(at: &Path, from: &Value, to: &Value, edits: &mut Vec<Edit>) {
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        if !same(from, to) && !at.0.is_empty() {
            edits.push(Edit {
                path: at.clone(),
                old: Some(from.clone()),
                new: Some(to.clone()),
            });
        }
        return;
    };
    for (key, value) in old {
        match new.get(key) {
            Some(other) => differ(&at.below(key), value, other, edits),
            None => edits.push(Edit {
                path: at.below(key),
                old: Some(value.clone()),
                new: None,
            }),
        }
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        edits.push(Edit {
            path: at.below(key),
            old: None,
            new: Some(value.clone()),
        });
    }
}

/// Whether two trees mean the same to helm, which knows only one kind of number.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// The changes that an overlay makes in a tree: its leaves win, as in helm's own merging.
pub fn overlay(tree: &Value, over: &Value) -> Vec<Edit> {
    let mut edits = Vec::new();
    lay(&Path(Vec::new()), Some(tree), over, &mut edits);
    edits
}

fn lay(at: &Path, tree: Option<&Value>, over: &Value, edits: &mut Vec<Edit>) {
    if let Value::Object(map) = over
        && (tree.is_none_or(|tree| tree.is_object() || tree.is_null()))
        && (!map.is_empty() || at.0.is_empty())
    {
        for (key, value) in map {
            let below = tree.and_then(|tree| tree.get(key));
            lay(&at.below(key), below, value, edits);
        }
        return;
    }
    if tree.is_none_or(|tree| !same(tree, over)) {
        edits.push(Edit {
            path: at.clone(),
            old: tree.cloned(),
            new: Some(over.clone()),
        });
    }
}

#[cfg(test)]
mod tests;
