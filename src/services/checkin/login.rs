//! Tokens for a person who logs in elsewhere (the device flow), and for who logged in before.
//!
//! The client is public and has no secret; PKCE binds the login to the bot.
//! Source: RFC 8628, RFC 7636, and Keycloak's `…/auth/device`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use super::{CheckinClient, CheckinError, is_safe, read};
use crate::services::text::shorten;

/// What the token is for; `offline_access` gives a refresh token that outlives the session.
const SCOPE: &str = "openid email profile eduperson_entitlement offline_access";

/// The longest pause between two polls that an issuer may ask for.
const LONGEST_INTERVAL_S: u64 = 60;

/// A login that a person has begun to do.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    /// What the bot polls with.
    pub device_code: SecretString,
    /// What the person types.
    pub user_code: String,
    /// Where, with the code in it if the issuer offers that.
    pub link: Url,
    /// How long both live.
    pub lives: Duration,
    /// The pause between two polls.
    pub interval: Duration,
}

/// The tokens of a person.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// For IM and the sites.
    pub access: SecretString,
    /// For the next ones, if the issuer gives one out.
    pub refresh: Option<SecretString>,
}

/// What became of a request for tokens.
#[derive(Clone, Debug)]
pub enum TokensAnswer {
    /// Here they are.
    Tokens(Tokens),
    /// The person has not logged in yet.
    Pending,
    /// The same, and the pause between polls is too short.
    SlowDown,
    /// The code or refresh token has ended.
    Ended,
    /// The person or the issuer said no; in the issuer's word.
    Refused(String),
}

#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: SecretString,
    user_code: String,
    verification_uri: Url,
    verification_uri_complete: Option<Url>,
    expires_in: u64,
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    refresh_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

impl CheckinClient {
    /// Begins a login. `verifier` is a random text that only the bot knows.
    ///
    /// # Errors
    /// [`CheckinError::Discovery`] when the issuer has no device flow.
    pub async fn begin_login(
        &self,
        issuer: &Url,
        client: &str,
        verifier: &SecretString,
    ) -> Result<DeviceLogin, CheckinError> {
        let invalid = |what: String| CheckinError::Discovery {
            issuer: issuer.clone(),
            what,
        };
        let endpoint = self
            .discovery(issuer)
            .await?
            .device_authorization_endpoint
            .filter(is_safe)
            .ok_or_else(|| invalid("it offers no device flow".to_owned()))?;
        let digest = Sha256::digest(verifier.expose_secret().as_bytes());
        let form = [
            ("client_id", client),
            ("scope", SCOPE),
            ("code_challenge", &URL_SAFE_NO_PAD.encode(digest)),
            ("code_challenge_method", "S256"),
        ];
        let post = self.post(issuer, endpoint, &form);
        let (status, body) = self.calls.count(post).await?;
        if !status.is_success() {
            return Err(refused(issuer, status, &body));
        }
        let answer: DeviceAnswer = serde_json::from_slice(&body)
            .map_err(|error| invalid(format!("no device code: {}", shorten(&error.to_string()))))?;
        let link = answer
            .verification_uri_complete
            .unwrap_or(answer.verification_uri);
        if !is_safe(&link) {
            return Err(invalid("it names a login page without TLS".to_owned()));
        }
        Ok(DeviceLogin {
            device_code: answer.device_code,
            user_code: answer.user_code.chars().take(40).collect(),
            link,
            lives: Duration::from_secs(answer.expires_in),
            interval: Duration::from_secs(answer.interval.unwrap_or(5).min(LONGEST_INTERVAL_S)),
        })
    }

    /// Asks whether the person has logged in.
    ///
    /// # Errors
    /// [`CheckinError`] when the issuer does not answer.
    pub async fn poll_login(
        &self,
        issuer: &Url,
        client: &str,
        (device_code, verifier): (&SecretString, &SecretString),
    ) -> Result<TokensAnswer, CheckinError> {
        let form = [
            ("client_id", client),
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device_code.expose_secret()),
            ("code_verifier", verifier.expose_secret()),
        ];
        self.tokens(issuer, &form).await
    }

    /// Asks for new tokens with a refresh token.
    ///
    /// # Errors
    /// [`CheckinError`] when the issuer does not answer.
    pub async fn refresh(
        &self,
        issuer: &Url,
        client: &str,
        refresh_token: &SecretString,
    ) -> Result<TokensAnswer, CheckinError> {
        let form = [
            ("client_id", client),
            ("grant_type", "refresh_token"),
            ("scope", SCOPE),
            ("refresh_token", refresh_token.expose_secret()),
        ];
        self.tokens(issuer, &form).await
    }

    async fn tokens(
        &self,
        issuer: &Url,
        form: &[(&str, &str)],
    ) -> Result<TokensAnswer, CheckinError> {
        let endpoint = self.discovery(issuer).await?.token_endpoint;
        let post = self.post(issuer, endpoint, form);
        let (status, body) = self.calls.count(post).await?;
        if status.is_success() {
            let answer: TokenAnswer =
                serde_json::from_slice(&body).map_err(|error| CheckinError::Unreadable {
                    issuer: issuer.clone(),
                    what: shorten(&error.to_string()),
                })?;
            return Ok(TokensAnswer::Tokens(Tokens {
                access: answer.access_token,
                refresh: answer.refresh_token,
            }));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(refused(issuer, status, &body));
        }
        let error = serde_json::from_slice::<ErrorAnswer>(&body).map(|answer| answer.error);
        Ok(match error.as_deref() {
            Ok("authorization_pending") => TokensAnswer::Pending,
            Ok("slow_down") => TokensAnswer::SlowDown,
            Ok("expired_token" | "invalid_grant") => TokensAnswer::Ended,
            Ok(other) => TokensAnswer::Refused(shorten(other)),
            Err(_no_json) => return Err(refused(issuer, status, &body)),
        })
    }

    async fn post(
        &self,
        issuer: &Url,
        url: Url,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Vec<u8>), CheckinError> {
        let sent = self.http.post(url).form(form).send().await;
        let response = sent.map_err(|source| CheckinError::Unreachable {
            issuer: issuer.clone(),
            source: source.without_url(),
        })?;
        let status = response.status();
        Ok((status, read(issuer, response).await?))
    }
}

/// An answer that is no success, with the issuer's own word for it where it is one.
fn refused(issuer: &Url, status: StatusCode, body: &[u8]) -> CheckinError {
    match serde_json::from_slice::<ErrorAnswer>(body) {
        Ok(answer) if status.is_client_error() => CheckinError::Discovery {
            issuer: issuer.clone(),
            what: format!("it refuses the bot's client: {}", shorten(&answer.error)),
        },
        Ok(_) | Err(_) => CheckinError::Status {
            issuer: issuer.clone(),
            status: status.as_u16(),
        },
    }
}
