//! The `Authorization` header of Infrastructure Manager.
//!
//! One line per credential, `key = value` pairs parted by `;`, lines joined by the two characters
//! `\n`. IM reads it leniently (IM/auth.py, `split_line`): a value with a bare `=` silently loses
//! all fields after it, and a value `file(…)` makes the server read one of its files. So every
//! value is quoted, and what cannot be quoted safely is refused.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};

/// Why a credential can't be sent. The value itself is never named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// No access token is set yet.
    #[error("there is no access token; renew it with `/pangeo token renew`")]
    NoToken,
    /// A value is empty.
    #[error("the credential's `{field}` is empty")]
    Empty {
        /// Name of the field.
        field: &'static str,
    },
    /// A value has a character that the header can't carry.
    #[error("the credential's `{field}` has {what}, which IM's header can't carry")]
    Character {
        /// Name of the field.
        field: &'static str,
        /// The kind of character.
        what: &'static str,
    },
}

/// The current access token, shared by all clients and replaced when it is renewed.
#[derive(Clone, Default)]
pub struct TokenCell(Arc<RwLock<Option<SecretString>>>);

impl TokenCell {
    /// A cell that holds this token.
    pub fn new(token: SecretString) -> Self {
        Self(Arc::new(RwLock::new(Some(token))))
    }

    /// A cell without a token: calls fail with [`CredentialError::NoToken`] until one is set.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Replaces the token for all calls that start from now on.
    pub fn set(&self, token: SecretString) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    /// The token as it is now.
    pub fn get(&self) -> Option<SecretString> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for TokenCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCell")
    }
}

/// How to log in to IM itself.
#[derive(Clone, Debug)]
pub enum ImLogin {
    /// With a Check-in access token.
    Token(TokenCell),
    /// With user name and password, as IM servers without OIDC want it.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: SecretString,
    },
}

/// How to log in to an OpenStack, in IM's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenStackLogin {
    /// The user; with a Check-in token the identity provider's name in Keystone.
    pub username: String,
    /// The project; with a Check-in token the protocol's name in Keystone.
    pub tenant: String,
    /// The kind of login.
    pub auth_version: String,
    /// The domain; with a Check-in token the project id, if the VO has more than one there.
    pub domain: Option<String>,
}

impl Default for OpenStackLogin {
    /// With a Check-in access token, as EGI's sites want it
    /// (<https://docs.egi.eu/users/compute/orchestration/im/>).
    fn default() -> Self {
        Self {
            username: "egi.eu".to_owned(),
            tenant: "openid".to_owned(),
            auth_version: "3.x_oidc_access_token".to_owned(),
            domain: None,
        }
    }
}

/// A credential for one cloud. IM does not keep them: every call that touches the cloud needs it.
#[derive(Clone, Debug)]
pub enum CloudCredential {
    /// An OpenStack site of EGI, named by its Keystone URL.
    OpenStack {
        /// Our name of the credential.
        id: String,
        /// The Keystone URL.
        host: String,
        /// How to log in there.
        login: OpenStackLogin,
        /// The VO.
        vo: String,
        /// The access token.
        token: TokenCell,
    },
    /// A site of EGI, named as in EGI's information system.
    Egi {
        /// Our name of the credential.
        id: String,
        /// The site's name.
        site: String,
        /// The VO.
        vo: String,
        /// The access token.
        token: TokenCell,
    },
    /// IM's test cloud, which starts no machine.
    Dummy {
        /// Our name of the credential.
        id: String,
    },
}

impl CloudCredential {
    /// Our name of the credential; quotas and images are asked by it.
    pub fn id(&self) -> &str {
        match self {
            Self::OpenStack { id, .. } | Self::Egi { id, .. } | Self::Dummy { id } => id,
        }
    }
}

/// Everything that the header carries.
#[derive(Clone, Debug)]
pub struct ImCredentials {
    /// How to log in to IM.
    pub login: ImLogin,
    /// The clouds that IM may use for us.
    pub clouds: Vec<CloudCredential>,
}

impl ImCredentials {
    /// The header, with the tokens as they are now.
    ///
    /// # Errors
    /// [`CredentialError`] names the field that can't be sent, never its value.
    pub fn header(&self) -> Result<SecretString, CredentialError> {
        let mut lines = vec![login_line(&self.login)?];
        for cloud in &self.clouds {
            lines.push(cloud_line(cloud)?);
        }
        Ok(SecretString::from(lines.join("\\n")))
    }
}

fn login_line(login: &ImLogin) -> Result<String, CredentialError> {
    match login {
        ImLogin::Token(token) => line(&[
            ("id", "im"),
            ("type", "InfrastructureManager"),
            ("token", current(token)?.expose_secret()),
        ]),
        ImLogin::Password { username, password } => line(&[
            ("id", "im"),
            ("type", "InfrastructureManager"),
            ("username", username),
            ("password", password.expose_secret()),
        ]),
    }
}

fn cloud_line(cloud: &CloudCredential) -> Result<String, CredentialError> {
    match cloud {
        CloudCredential::OpenStack {
            id,
            host,
            login,
            vo,
            token,
        } => {
            let token = current(token)?;
            let mut fields = vec![
                ("id", id.as_str()),
                ("type", "OpenStack"),
                ("username", &login.username),
                ("tenant", &login.tenant),
                ("auth_version", &login.auth_version),
                ("host", host),
                ("password", token.expose_secret()),
                ("vo", vo),
            ];
            if let Some(domain) = &login.domain {
                fields.push(("domain", domain));
            }
            line(&fields)
        }
        CloudCredential::Egi {
            id,
            site,
            vo,
            token,
        } => line(&[
            ("id", id),
            ("type", "EGI"),
            ("host", site),
            ("vo", vo),
            ("token", current(token)?.expose_secret()),
        ]),
        CloudCredential::Dummy { id } => line(&[("id", id), ("type", "Dummy")]),
    }
}

fn current(token: &TokenCell) -> Result<SecretString, CredentialError> {
    token.get().ok_or(CredentialError::NoToken)
}

fn line(fields: &[(&'static str, &str)]) -> Result<String, CredentialError> {
    let mut pairs = Vec::with_capacity(fields.len());
    for (field, value) in fields {
        pairs.push(format!("{field} = {}", quoted(field, value)?));
    }
    Ok(pairs.join("; "))
}

/// The value in quotes, or bare where it needs none (`id`, `type` and the like stay readable).
fn quoted(field: &'static str, value: &str) -> Result<String, CredentialError> {
    let refuse = |what| Err(CredentialError::Character { field, what });
    if value.is_empty() {
        return Err(CredentialError::Empty { field });
    }
    if value.chars().any(char::is_control) {
        return refuse("a line break or another control character");
    }
    if !value.is_ascii() {
        return refuse("a character that is not ASCII");
    }
    if value.contains("\\n") {
        return refuse("a backslash followed by n");
    }
    if value.trim() != value {
        return refuse("a space at its beginning or end");
    }
    if value.starts_with("file(") {
        return refuse("the form file(…)");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+".contains(c);
    match (value.contains('\''), value.contains('"')) {
        (true, true) => refuse("both kinds of quotes"),
        (false, false) if value.chars().all(plain) => Ok(value.to_owned()),
        (false, _) => Ok(format!("'{value}'")),
        (true, false) => Ok(format!("\"{value}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> ImCredentials {
        ImCredentials {
            login: ImLogin::Password {
                username: "u".to_owned(),
                password: SecretString::from(text),
            },
            clouds: vec![CloudCredential::Dummy {
                id: "dummy".to_owned(),
            }],
        }
    }

    #[test]
    fn one_line_per_credential_joined_by_backslash_n() {
        assert_eq!(
            password("p").header().unwrap().expose_secret(),
            "id = im; type = InfrastructureManager; username = u; password = p\\n\
             id = dummy; type = Dummy"
        );
        let token = TokenCell::new(SecretString::from("aa.bb-_.cc"));
        let credentials = ImCredentials {
            login: ImLogin::Token(token.clone()),
            clouds: vec![
                CloudCredential::OpenStack {
                    id: "egi".to_owned(),
                    host: "https://keystone.example:5000/v3".to_owned(),
                    login: OpenStackLogin {
                        domain: Some("p1".to_owned()),
                        ..OpenStackLogin::default()
                    },
                    vo: "vo.pangeo.eu".to_owned(),
                    token: token.clone(),
                },
                CloudCredential::Egi {
                    id: "site".to_owned(),
                    site: "CESNET-MCC".to_owned(),
                    vo: "vo.pangeo.eu".to_owned(),
                    token: token.clone(),
                },
            ],
        };
        assert_eq!(
            credentials.header().unwrap().expose_secret(),
            "id = im; type = InfrastructureManager; token = aa.bb-_.cc\\n\
             id = egi; type = OpenStack; username = egi.eu; tenant = openid; \
             auth_version = 3.x_oidc_access_token; host = https://keystone.example:5000/v3; \
             password = aa.bb-_.cc; vo = vo.pangeo.eu; domain = p1\\n\
             id = site; type = EGI; host = CESNET-MCC; vo = vo.pangeo.eu; token = aa.bb-_.cc"
        );
        token.set(SecretString::from("new"));
        assert!(
            credentials
                .header()
                .unwrap()
                .expose_secret()
                .contains("token = new")
        );
    }

    #[test]
    fn values_that_would_be_misread_are_quoted() {
        for (value, written) in [
            ("a=b", "'a=b'"),
            ("a;b", "'a;b'"),
            ("a b", "'a b'"),
            ("it's", "\"it's\""),
            ("say \"hi\"", "'say \"hi\"'"),
            ("#x", "'#x'"),
        ] {
            let header = password(value).header().unwrap();
            assert!(
                header
                    .expose_secret()
                    .contains(&format!("password = {written}\\n")),
                "{value}"
            );
        }
    }

    #[test]
    fn values_that_cannot_be_carried_are_refused_without_naming_them() {
        for bad in [
            "",
            "a\nb",
            "a\r",
            "a\0b",
            "a\\nb",
            " a",
            "a ",
            "'\"",
            "file(/etc/passwd)",
            "pä",
        ] {
            let error = password(bad).header().unwrap_err();
            assert!(error.to_string().contains("password"), "{bad:?}");
            assert!(bad.len() < 3 || !error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn without_a_token_nothing_is_sent() {
        let credentials = ImCredentials {
            login: ImLogin::Token(TokenCell::empty()),
            clouds: Vec::new(),
        };
        assert_eq!(credentials.header().unwrap_err(), CredentialError::NoToken);
        assert!(!format!("{:?}", password("hush-hush")).contains("hush-hush"));
    }
}
