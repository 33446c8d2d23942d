//! Which parts of the values are secrets, and the values without them.
//!
//! A place is secret by its key (`apiToken`, `client_secret`, `password` …); what looks like a
//! secret elsewhere, such as a password in a URL or in Python source, is blacked out as in a log.
//! **Invariant:** too much is hidden rather than too little.

use std::sync::LazyLock;

use secrecy::SecretString;
use serde_json::Value;

use super::text::{Edit, Path, TextError, edited};
use crate::domain::redact::Redactor;
use crate::domain::yaml::{self, YamlError};

/// What stands for a secret in masked values.
pub const MASK: &str = "secret";

/// How the key of a secret ends, in small letters without punctuation.
const ENDINGS: [&str; 16] = [
    "token",
    "tokens",
    "secret",
    "secrets",
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "accesskeyid",
    "privatekey",
    "secretkey",
    "clientid",
    "credential",
    "credentials",
];

/// Keys that end so and are names of Kubernetes objects.
const NAMES: [&str; 4] = [
    "existingsecret",
    "imagepullsecrets",
    "pullsecrets",
    "secrets",
];

/// Recognises secrets by their shape; it has learnt none.
static SHAPES: LazyLock<Redactor> = LazyLock::new(Redactor::new);

/// Whether what stands below this key is a secret.
fn is_secret_key(key: &str) -> bool {
    let plain: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    ENDINGS.iter().any(|ending| plain.ends_with(ending)) && !NAMES.contains(&plain.as_str())
}

/// Whether a secret may stand at this place.
pub fn is_secret(path: &Path) -> bool {
    path.keys().iter().any(|key| is_secret_key(key))
}

/// Whether a value or a part of it is, or looks like, a secret.
pub fn holds_secret(path: &Path, value: &Value) -> bool {
    let mut found = Vec::new();
    collect(path, value, is_secret(path), &mut found);
    !found.is_empty()
}

/// The secrets in a text of values, for those who must not show them.
///
/// # Errors
/// When the text is not YAML.
pub fn secrets_in(text: &str) -> Result<Vec<SecretString>, YamlError> {
    let mut found = Vec::new();
    collect(&Path::of(&[]), &yaml::read(text)?, false, &mut found);
    let by_key = found.into_iter().filter(|hidden| hidden.by_key);
    Ok(by_key
        .map(|hidden| SecretString::from(hidden.text))
        .collect())
}

/// The text with every secret replaced; the rest, comments included, is as it was.
///
/// # Errors
/// When the text is not YAML, or a secret can't be replaced: then nothing may be shown.
pub fn masked(text: &str) -> Result<String, TextError> {
    let mut found = Vec::new();
    collect(&Path::of(&[]), &yaml::read(text)?, false, &mut found);
    let edits: Vec<Edit> = found
        .into_iter()
        .map(|hidden| Edit {
            path: hidden.path,
            old: None,
            new: Some(hidden.shown),
        })
        .collect();
    let mut text = text.to_owned();
    for some in edits.chunks(super::text::MAX_EDITS) {
        text = edited(&text, some)?;
    }
    Ok(text)
}

/// A value as it may be shown.
pub fn shown(path: &Path, value: &Value) -> Value {
    hide(value, is_secret(path))
}

struct Hidden {
    path: Path,
    /// The whole value as text; empty for a list.
    text: String,
    by_key: bool,
    shown: Value,
}

fn collect(at: &Path, value: &Value, secret: bool, found: &mut Vec<Hidden>) {
    if let Value::Object(map) = value {
        for (key, below) in map {
            let secret = secret || is_secret_key(key);
            collect(&at.below(key), below, secret, found);
        }
        return;
    }
    let shown = hide(value, secret);
    if shown != *value {
        found.push(Hidden {
            path: at.clone(),
            text: value.as_str().unwrap_or_default().to_owned(),
            by_key: secret && value.is_string(),
            shown,
        });
    }
}

fn hide(value: &Value, secret: bool) -> Value {
    match value {
        Value::String(text) if secret && !text.is_empty() => MASK.into(),
        Value::Number(_) if secret => MASK.into(),
        Value::String(text) => match SHAPES.redact(text) {
            std::borrow::Cow::Borrowed(_) => value.clone(),
            std::borrow::Cow::Owned(text) => text.into(),
        },
        Value::Array(items) => items.iter().map(|item| hide(item, secret)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, below)| (key.clone(), hide(below, secret || is_secret_key(key))))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const HAND: &str = r#"# mine
jupyterhub:
  hub:
    db: {url: "postgres://hub:hunter22secret@db/hub"}   # flow
    config:
      GenericOAuthenticator:
        client_id: abc-123   # registered
        client_secret: s3cret-of-mine
        token_url: https://aai.egi.eu/token
    extraConfig:
      own: |
        c.X.password = "pass-of-mine-1"
        c.Y = 1
  proxy:
    secretToken: "00ff"
  ingress:
    tls: [{secretName: pangeo.vm.fedcloud.eu, hosts: [a.b]}]
  singleuser:
    image: {pullSecrets: [name-of-object]}
    extraEnv:
      AWS_SECRET_ACCESS_KEY: aws-of-mine
"#;

    #[test]
    fn secrets_are_masked_and_all_else_stays() {
        let shown = masked(HAND).unwrap();
        for secret in [
            "hunter22secret",
            "abc-123",
            "s3cret-of-mine",
            "pass-of-mine-1",
            "00ff",
            "aws-of-mine",
        ] {
            assert!(!shown.contains(secret), "{secret} in\n{shown}");
        }
        for kept in [
            "# mine",
            "# registered",
            "# flow",
            "token_url: https://aai.egi.eu/token",
            "secretName: pangeo.vm.fedcloud.eu",
            "name-of-object",
            "c.Y = 1",
        ] {
            assert!(shown.contains(kept), "no {kept} in\n{shown}");
        }
        assert_eq!(masked(&shown).unwrap(), shown);
        let learnt: Vec<String> = secrets_in(HAND)
            .unwrap()
            .iter()
            .map(|secret| secret.expose_secret().to_owned())
            .collect();
        assert!(learnt.contains(&"s3cret-of-mine".to_owned()));
        assert!(!learnt.iter().any(|text| text.contains("c.Y")));
    }

    #[test]
    fn the_reference_files_hide_their_secrets_only() {
        for text in [
            include_str!("expected/check-in.yaml"),
            include_str!("expected/native.yaml"),
        ] {
            let shown = masked(text).unwrap();
            let gone = text.lines().zip(shown.lines()).filter(|(a, b)| a != b);
            for (line, _) in gone {
                let secret = ["token1", "token2", "egi_oauth"]
                    .iter()
                    .any(|s| line.contains(s));
                assert!(secret, "{line}");
            }
            assert!(!shown.contains("token1") && !shown.contains("egi_oauth"));
        }
    }
}
