//! The `Authorization` header of Infrastructure Manager, read as leniently as the real one does.
//!
//! Source: `IM/auth.py`, `IM/rest/routers/__init__.py` and `check_auth_data` of IM 2.0.0.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::checkin::Checkin;

/// One line of the header.
pub(super) type Credential = BTreeMap<String, String>;

/// Why a login is refused, in IM's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Answered with 401, whatever was asked for.
    NoHeader,
    /// `InvaliddUserException`: 401 on some paths, 400 on others.
    Invalid(String),
    /// Any other exception: 400.
    Other(String),
}

/// Who asks, as IM compares it with the owners of an infrastructure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) username: String,
    pub(super) password: String,
}

/// The header of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Authorization(Vec<Credential>);

impl Authorization {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .filter(|value| !value.is_empty())
            .ok_or(Refusal::NoHeader)?;
        // `Bearer` and `Basic` are understood only by servers with a Vault.
        let lines = value.split("\\n").map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(Self(lines.map(read_line).collect()))
    }

    /// A login made from the JSON body of `POST …/authorization`.
    pub(super) fn of_json(body: &serde_json::Value) -> Self {
        let text = |name: &str| body.get(name)?.as_str();
        let names = ["type", "token", "username", "password"];
        let pairs: Vec<(&str, &str)> = names
            .into_iter()
            .filter_map(|name| Some((name, text(name)?)))
            .collect();
        Self(vec![login(&pairs)])
    }

    /// The first cloud of the header.
    pub(super) fn cloud(&self) -> Option<Cloud> {
        self.clouds().next()
    }

    /// The cloud with this id.
    pub(super) fn cloud_with_id(&self, id: &str) -> Option<Cloud> {
        self.clouds().find(|cloud| cloud.id == id)
    }

    fn clouds(&self) -> impl Iterator<Item = Cloud> {
        self.0.iter().filter_map(|credential| {
            let text = |name: &str| credential.get(name).cloned().unwrap_or_default();
            let kind = match text("type").as_str() {
                "Dummy" => CloudKind::Dummy,
                "OpenStack" | "EGI" => CloudKind::Site,
                _ => return None,
            };
            let token = credential
                .get("token")
                .or_else(|| credential.get("password"));
            Some(Cloud {
                id: text("id"),
                kind,
                host: text("host"),
                token: Some(token.cloned().unwrap_or_default()),
            })
        })
    }

    /// Checks the login and tells who it is.
    pub(super) fn owner(&self, checkin: Option<&Checkin>) -> Result<Owner, Refusal> {
        let invalid = |text: &str| Err(Refusal::Invalid(text.to_owned()));
        let is_im =
            |c: &&Credential| c.get("type").map(String::as_str) == Some("InfrastructureManager");
        let Some(im) = self.0.iter().find(is_im) else {
            return invalid("No credentials provided for the InfrastructureManager.");
        };
        if let Some(token) = im.get("token") {
            return token_owner(token, checkin);
        }
        match (im.get("username"), im.get("password")) {
            (Some(user), _) if user.starts_with("__OPENID__") => {
                invalid("Invalid username used for the InfrastructureManager.")
            }
            (Some(user), password) => Ok(Owner {
                username: user.clone(),
                password: password.cloned().unwrap_or_default(),
            }),
            (None, _) => invalid("No username nor token for the InfrastructureManager."),
        }
    }
}

/// What kind of cloud a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CloudKind {
    /// IM's test cloud: no machine is started.
    Dummy,
    /// A site with (pretend) machines.
    Site,
}

/// A cloud that may be used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cloud {
    pub(super) id: String,
    pub(super) kind: CloudKind,
    pub(super) host: String,
    /// The access token for the site. Not kept, since IM stores no cloud credentials: `None` only
    /// after a restart of the sandbox.
    #[serde(skip)]
    pub(super) token: Option<String>,
}

impl Cloud {
    /// The server's name in image URIs: that of the Keystone URL, or the site's name.
    pub(super) fn server(&self) -> String {
        url::Url::parse(&self.host)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_else(|| self.host.to_lowercase())
    }
}

fn login(fields: &[(&str, &str)]) -> Credential {
    let mut credential = Credential::new();
    credential.insert("type".to_owned(), "InfrastructureManager".to_owned());
    for (name, value) in fields {
        credential.insert((*name).to_owned(), (*value).to_owned());
    }
    credential
}

/// Splits at the separator outside of quotes; a quote character inside other quotes is kept.
fn split(line: &str, separator: char, keep_quotes: bool) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    let (mut single, mut double) = (false, false);
    for c in line.chars() {
        let toggles = match c {
            '"' if !single => Some(&mut double),
            '\'' if !double => Some(&mut single),
            _ => None,
        };
        if let Some(open) = toggles {
            *open = !*open;
            if keep_quotes {
                token.push(c);
            }
        } else if c == separator && !single && !double {
            tokens.push(std::mem::take(&mut token));
        } else {
            token.push(c);
        }
    }
    if !token.trim().is_empty() {
        tokens.push(token);
    }
    tokens
}

/// One credential; a pair that is not a pair ends the line, as in the real one.
fn read_line(line: &str) -> Credential {
    let mut credential = Credential::new();
    for token in split(line, ';', true) {
        let pair = split(&token, '=', false);
        let [name, value] = pair.as_slice() else {
            break;
        };
        credential.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    credential
}

/// Who a token belongs to.
pub(super) fn token_owner(token: &str, checkin: Option<&Checkin>) -> Result<Owner, Refusal> {
    let invalid = |text: &str| {
        Err(Refusal::Invalid(format!(
            "Invalid InfrastructureManager credentials. {text}"
        )))
    };
    let claims = match claims(token) {
        Ok(claims) => claims,
        Err(text) => {
            let text = format!("Error trying to decode OIDC auth token: {text}");
            return Err(Refusal::Other(text));
        }
    };
    let number = |name: &str| claims.get(name).and_then(serde_json::Value::as_i64);
    match number("exp") {
        None => return invalid("OIDC auth Error getting token info."),
        Some(exp) if exp < chrono::Utc::now().timestamp() => {
            return invalid("OIDC auth Token expired.");
        }
        Some(_) => {}
    }
    let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str);
    let Some(checkin) = checkin.filter(|c| text("iss") == Some(c.issuer())) else {
        return invalid("Issuer not accepted.");
    };
    let Some(valid) = checkin.valid_token(token) else {
        return invalid(
            "Code: 401. Message: {\"error\":\"invalid_token\",\
             \"error_description\":\"Token verification failed\"}.",
        );
    };
    Ok(Owner {
        username: format!("__OPENID__{}", valid.preferred_username),
        password: format!("{}/{}", valid.iss, valid.sub),
    })
}

/// The claims, unverified, or what Python would say about it (`IM/openid/JWT.py`).
fn claims(token: &str) -> Result<serde_json::Value, String> {
    let mut decoded = Vec::new();
    for part in token.split('.') {
        let text = part.trim_end_matches('=');
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !text.bytes().all(allowed) {
            return Err(format!(
                "(b'{text}', 'base64-encoded data contains illegal characters')"
            ));
        }
        let bytes = URL_SAFE_NO_PAD.decode(text);
        if text.len() % 4 == 1 {
            return Err(format!("(b'{text}', 'incorrect padding')"));
        }
        decoded.push(bytes.unwrap_or_default());
    }
    let Some(second) = decoded.get(1) else {
        return Err("list index out of range".to_owned());
    };
    serde_json::from_slice(second)
        .map_err(|_not_json| "Expecting value: line 1 column 1 (char 0)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_equals_sign_loses_the_rest_of_the_line() {
        let line = read_line("type = InfrastructureManager; username = u; password = a=b; x = y");
        assert_eq!(line.get("username").unwrap(), "u");
        assert!(!line.contains_key("password") && !line.contains_key("x"));
        let line = read_line("password = 'a=b;c'; x = \"it's\"");
        assert_eq!(line["password"], "a=b;c");
        assert_eq!(line["x"], "it's");
    }

    #[test]
    fn texts_for_bad_tokens_are_those_of_im() {
        let refused = |token: &str| token_owner(token, None).unwrap_err();
        assert_eq!(
            refused("notajwt"),
            Refusal::Other(
                "Error trying to decode OIDC auth token: list index out of range".to_owned()
            )
        );
        assert_eq!(
            refused("x"),
            Refusal::Other(
                "Error trying to decode OIDC auth token: (b'x', 'incorrect padding')".to_owned()
            )
        );
        let jwt = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(
            refused(&jwt(r#"{"iss":"x","exp":1}"#)),
            Refusal::Invalid(
                "Invalid InfrastructureManager credentials. OIDC auth Token expired.".to_owned()
            )
        );
        assert_eq!(
            refused(&jwt(r#"{"iss":"x","exp":99999999999}"#)),
            Refusal::Invalid(
                "Invalid InfrastructureManager credentials. Issuer not accepted.".to_owned()
            )
        );
    }
}
