//! EGI Check-in, an OpenID Connect issuer (Keycloak).
//!
//! It reads the discovery document, asks the authorization endpoint whether a client and its
//! redirect URI are registered, and reads and verifies tokens.
//!
//! **Invariant:** a claim is trusted only after [`CheckinClient::verify`]: [`read_expiry`] and
//! [`read_facts`] do not verify the signature and are for display.

mod login;
mod token;

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use reqwest::header::LOCATION;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

pub use login::{DeviceLogin, Tokens, TokensAnswer};
pub use token::{TokenError, read_facts, same_issuer};

use super::text::{ReadError, read_limited, shorten};
use crate::domain::metrics::{Calls, Metrics};

/// The longest page or document that is read, in bytes.
const MAX_ANSWER: usize = 512 * 1024;

/// The longest token that is looked into, in bytes.
const MAX_TOKEN: usize = 32 * 1024;

/// A failed call of the issuer.
#[derive(Debug, thiserror::Error)]
pub enum CheckinError {
    /// No connection, or none in time.
    #[error("could not reach `{issuer}`")]
    Unreachable {
        /// The issuer.
        issuer: Url,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The answer broke off or is too long.
    #[error("could not read the answer of `{issuer}`: {what}")]
    Unreadable {
        /// The issuer.
        issuer: Url,
        /// What happened.
        what: String,
    },
    /// The issuer answered with an error.
    #[error("`{issuer}` answered with status {status}")]
    Status {
        /// The issuer.
        issuer: Url,
        /// HTTP status.
        status: u16,
    },
    /// The discovery document is not one, or that of another issuer.
    #[error("the discovery document of `{issuer}` is not valid: {what}")]
    Discovery {
        /// The issuer.
        issuer: Url,
        /// What is wrong.
        what: String,
    },
}

impl CheckinError {
    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unreadable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Discovery { .. } => false,
        }
    }
}

/// The parts of an issuer's discovery document that the bot uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// The issuer, exactly as in its tokens.
    pub issuer: String,
    /// Where people log in.
    pub authorization_endpoint: Url,
    /// Where tokens are given out.
    pub token_endpoint: Url,
    /// Where a token's owner is told.
    pub userinfo_endpoint: Url,
    /// Where the keys are.
    pub jwks_uri: Url,
    /// Where a login begins that is done on another device, if the issuer offers that.
    #[serde(default)]
    pub device_authorization_endpoint: Option<Url>,
}

/// What the issuer thinks of a client and its redirect URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCheck {
    /// Both are registered.
    Known,
    /// There is no such client.
    UnknownClient,
    /// The client exists, but not with this redirect URI.
    RedirectRefused,
    /// The answer says neither; the text says what it was.
    Unclear(String),
}

/// A client of OpenID Connect issuers.
#[derive(Clone, Debug)]
pub struct CheckinClient {
    http: reqwest::Client,
    calls: Calls,
}

impl CheckinClient {
    /// A client. `http` comes from [`http::client`](super::http::client) and follows no redirects.
    pub fn new(http: reqwest::Client) -> Self {
        Self {
            http,
            calls: Calls::to("check-in"),
        }
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.calls = self.calls.counted_by(metrics);
        self
    }

    /// The issuer's discovery document.
    ///
    /// # Errors
    /// [`CheckinError::Discovery`] when it names another issuer or endpoints without TLS.
    pub async fn discovery(&self, issuer: &Url) -> Result<Discovery, CheckinError> {
        self.calls.count(self.discover(issuer)).await
    }

    async fn discover(&self, issuer: &Url) -> Result<Discovery, CheckinError> {
        let mut url = issuer.clone();
        url.set_path(&format!(
            "{}/.well-known/openid-configuration",
            issuer.path().trim_end_matches('/')
        ));
        let response = self.get(issuer, url).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(CheckinError::Status {
                issuer: issuer.clone(),
                status: status.as_u16(),
            });
        }
        let body = read(issuer, response).await?;
        let invalid = |what: String| CheckinError::Discovery {
            issuer: issuer.clone(),
            what,
        };
        let found: Discovery =
            serde_json::from_slice(&body).map_err(|error| invalid(shorten(&error.to_string())))?;
        if found.issuer.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
            return Err(invalid("it names another issuer".to_owned()));
        }
        let endpoints = [
            &found.authorization_endpoint,
            &found.token_endpoint,
            &found.userinfo_endpoint,
            &found.jwks_uri,
        ];
        if !endpoints.into_iter().all(is_safe) {
            return Err(invalid("it names an endpoint without TLS".to_owned()));
        }
        Ok(found)
    }

    /// Asks the authorization endpoint, without logging in, whether a client is registered with a
    /// redirect URI.
    ///
    /// Keycloak answers an error page with status 400 at once, which says `Client not found.` or
    /// `Invalid parameter: redirect_uri`; for a registered client it shows the login page or
    /// redirects to it.
    ///
    /// # Errors
    /// [`CheckinError`] when the issuer does not answer.
    pub async fn check_client(
        &self,
        issuer: &Url,
        client_id: &str,
        redirect_uri: &str,
    ) -> Result<ClientCheck, CheckinError> {
        let discovery = self.discovery(issuer).await?;
        let mut url = discovery.authorization_endpoint;
        url.query_pairs_mut()
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("response_type", "code")
            .append_pair("scope", "openid")
            .append_pair("state", "check");
        self.calls.count(self.try_login(issuer, url)).await
    }

    async fn try_login(&self, issuer: &Url, url: Url) -> Result<ClientCheck, CheckinError> {
        let response = self.get(issuer, url).await?;
        let status = response.status().as_u16();
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .map(str::to_owned);
        let body = read(issuer, response).await?;
        match judge(status, location.as_deref(), &String::from_utf8_lossy(&body)) {
            Some(check) => Ok(check),
            None => Err(CheckinError::Status {
                issuer: issuer.clone(),
                status,
            }),
        }
    }

    async fn get(&self, issuer: &Url, url: Url) -> Result<reqwest::Response, CheckinError> {
        let unreachable = |source: reqwest::Error| CheckinError::Unreachable {
            issuer: issuer.clone(),
            source: source.without_url(),
        };
        self.http.get(url).send().await.map_err(unreachable)
    }
}

async fn read(issuer: &Url, response: reqwest::Response) -> Result<Vec<u8>, CheckinError> {
    read_limited(response, MAX_ANSWER)
        .await
        .map_err(|error: ReadError| CheckinError::Unreadable {
            issuer: issuer.clone(),
            what: error.to_string(),
        })
}

/// TLS, or plain HTTP to this machine (the sandbox).
fn is_safe(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

/// What an answer of the authorization endpoint means; `None` for a failure of the server.
fn judge(status: u16, location: Option<&str>, body: &str) -> Option<ClientCheck> {
    let low = body.to_lowercase();
    Some(match status {
        500..=599 | 429 => return None,
        _ if low.contains("client not found") => ClientCheck::UnknownClient,
        _ if low.contains("invalid parameter: redirect_uri")
            || low.contains("invalid redirect uri") =>
        {
            ClientCheck::RedirectRefused
        }
        300..=399 => match location.and_then(error_in) {
            Some(error) => ClientCheck::Unclear(error),
            None if location.is_some() => ClientCheck::Known,
            None => ClientCheck::Unclear("a redirect to nowhere".to_owned()),
        },
        // A page that is neither an error nor asks for anything is not a login page.
        200 if low.contains("<form") || low.contains("<a ") => ClientCheck::Known,
        _ => ClientCheck::Unclear(format!("status {status}")),
    })
}

/// The `error` that a redirect carries, as in `…?error=invalid_scope`.
fn error_in(location: &str) -> Option<String> {
    let query = location.split_once('?')?.1;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "error")
        .map(|(_, error)| shorten(&error))
}

/// When a JWT ends, without verifying it: for display only. `None` if it is not a JWT.
pub fn read_expiry(token: &SecretString) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let token = token.expose_secret();
    if token.len() > MAX_TOKEN {
        return None;
    }
    let mut parts = token.trim().split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    DateTime::from_timestamp(claims.exp, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_authorization_endpoint_are_told_apart() {
        use ClientCheck::{Known, RedirectRefused, UnknownClient};
        let page = |text: &str| format!("<html><p class=\"instruction\">{text}</p></html>");
        let login = "<html><form action=\"/login\"></form></html>";
        assert_eq!(judge(200, None, login), Some(Known));
        assert_eq!(judge(303, Some("https://proxy/sso"), ""), Some(Known));
        assert_eq!(
            judge(400, None, &page("Client not found.")),
            Some(UnknownClient)
        );
        assert_eq!(
            judge(400, None, &page("Invalid parameter: redirect_uri")),
            Some(RedirectRefused)
        );
        assert_eq!(
            judge(
                302,
                Some("https://h/hub/oauth_callback?error=invalid_scope&state=check"),
                ""
            ),
            Some(ClientCheck::Unclear("invalid_scope".to_owned()))
        );
        assert!(matches!(
            judge(400, None, &page("Client disabled.")),
            Some(ClientCheck::Unclear(_))
        ));
        assert!(matches!(
            judge(200, None, ""),
            Some(ClientCheck::Unclear(_))
        ));
        assert_eq!(judge(502, None, "Client not found"), None);
    }

    #[test]
    fn the_expiry_of_a_token_is_read() {
        let jwt = |claims: &str| {
            SecretString::from(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
        };
        let expiry = read_expiry(&jwt(r#"{"exp":1795514492,"sub":"a"}"#)).unwrap();
        assert_eq!(expiry.to_rfc3339(), "2026-11-24T10:01:32+00:00");
        for bad in [
            r#"{"sub":"a"}"#,
            "[]",
            "",
            r#"{"exp":"soon"}"#,
            r#"{"exp":9e99}"#,
        ] {
            assert_eq!(read_expiry(&jwt(bad)), None, "{bad}");
        }
        for bad in ["", "a", "a.b", "a.b.c", "a.b.c.d"] {
            assert_eq!(read_expiry(&SecretString::from(bad)), None, "{bad}");
        }
    }

    #[test]
    fn endpoints_need_tls_except_on_this_machine() {
        let safe = |url: &str| is_safe(&Url::parse(url).unwrap());
        assert!(safe("https://aai.egi.eu/auth"));
        assert!(safe("http://127.0.0.1:9000/auth") && safe("http://[::1]/"));
        assert!(!safe("http://aai.egi.eu/auth"));
        assert!(!safe("http://127.0.0.1.evil.example/"));
    }
}
