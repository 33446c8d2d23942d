//! Variables above the file.

use std::{collections::BTreeMap, path::PathBuf};

use secrecy::SecretString;
use toml::{Table, Value};

use super::{
    ConfigProblem, SecretError, SecretSource,
    keys::{ENTRY_SECRETS, Form, KEYS, Key},
    secrets,
};

const PREFIX: &str = "PANGEO_BOT_";

/// Names that begin like ours and are read elsewhere.
const OTHERS: &[&str] = &["PANGEO_BOT_CONFIG"];

/// The variables of this process; those that are not Unicode are left out.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The secrets that were found in variables, by the path of their key.
#[derive(Default)]
pub(super) struct Secrets(BTreeMap<String, SecretString>);

impl Secrets {
    fn get(&self, path: &str) -> Option<&SecretString> {
        self.0.get(&path.replace('-', "_").to_lowercase())
    }

    /// The secret of a key: its variable, else its file.
    pub(super) fn read(
        &self,
        path: &str,
        file: Option<&PathBuf>,
    ) -> Result<Option<SecretString>, SecretError> {
        match (self.get(path), file) {
            (Some(value), _) => Ok(Some(value.clone())),
            (None, Some(file)) => secrets::read_file(file.clone()).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The same, read at each use.
    pub(super) fn source(&self, path: &str, file: Option<&PathBuf>) -> Option<SecretSource> {
        match self.get(path) {
            Some(value) => Some(SecretSource::value(value.clone())),
            None => file.map(|file| SecretSource::file(file.clone())),
        }
    }
}

/// Removes secrets that stand in the file, and says so.
pub(super) fn refuse_secrets(table: &mut Table, problems: &mut Vec<ConfigProblem>) {
    for key in KEYS.iter().filter(|key| key.form == Form::Secret) {
        let Some((section, name)) = key.path.split_once('.') else {
            continue;
        };
        let Some(Value::Table(section)) = table.get_mut(section) else {
            continue;
        };
        if section.remove(name).is_some() {
            let variable = key.variable();
            problems.push(ConfigProblem::new(
                key.path,
                format!(
                    "a secret must not stand in this file; set `{variable}`, or name a file in `{name}_file`"
                ),
            ));
        }
    }
}

/// Puts the variables into the table, and returns the secrets among them.
pub(super) fn overlay(
    table: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<ConfigProblem>,
) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, value) in variables {
        if !name.starts_with(PREFIX) || OTHERS.contains(&name.as_str()) {
            continue;
        }
        if let Err(text) = apply(table, &mut secrets, &name, value) {
            problems.push(ConfigProblem::new(name, text));
        }
    }
    secrets
}

fn apply(
    table: &mut Table,
    secrets: &mut Secrets,
    name: &str,
    value: String,
) -> Result<(), String> {
    if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
        if key.form == Form::Secret {
            if value.trim().is_empty() {
                return Err("is empty; set it, or remove it".to_owned());
            }
            let value = SecretString::from(value.trim().to_owned());
            secrets.0.insert(key.path.to_owned(), value);
            return Ok(());
        }
        return set(table, key.path, parse(key, &value)?);
    }
    let of_a_file = name.strip_suffix("_FILE").and_then(|name| {
        KEYS.iter()
            .find(|key| key.form == Form::Secret && key.variable() == name)
    });
    if let Some(key) = of_a_file {
        return set(table, &format!("{}_file", key.path), Value::String(value));
    }
    for (path, prefix, _) in ENTRY_SECRETS {
        if let Some(entry) = name.strip_prefix(prefix) {
            let path = format!("{path}.{}", entry.to_lowercase());
            secrets
                .0
                .insert(path, SecretString::from(value.trim().to_owned()));
            return Ok(());
        }
    }
    Err("there is no such variable; `.env.example` has them all".to_owned())
}

fn parse(key: &Key, text: &str) -> Result<Value, String> {
    let text = text.trim();
    let number = |text: &str| {
        text.trim()
            .parse::<i64>()
            .map(Value::Integer)
            .map_err(|_not_a_number| format!("must be a whole number ({})", key.unit))
    };
    let parts = || {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
    };
    Ok(match key.form {
        Form::Number => number(text)?,
        Form::Numbers => Value::Array(parts().map(number).collect::<Result<_, _>>()?),
        Form::Texts => Value::Array(parts().map(|part| Value::String(part.to_owned())).collect()),
        Form::Text | Form::Secret => Value::String(text.to_owned()),
    })
}

fn set(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => set(inner, rest, value),
                Value::String(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Array(_) => Err(format!("`{section}` in the file is not a section")),
            }
        }
    }
}
