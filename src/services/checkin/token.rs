//! Access tokens: what they say, and whether the issuer signed them.

use chrono::DateTime;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::{CheckinClient, CheckinError, MAX_TOKEN, read};
use crate::domain::token::{Holder, TokenFacts};

/// What Keycloak signs access tokens with; never a shared secret, never `none`.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
];

/// Why a token is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT, or one that says too little.
    #[error("it is not an access token (a JWT of three parts with `iss`, `sub` and `exp`)")]
    NotAToken,
    /// It says that another issuer made it.
    #[error("it is of the issuer `{issuer}`, not of `{wanted}`")]
    OtherIssuer {
        /// The token's.
        issuer: String,
        /// The one that was asked.
        wanted: String,
    },
    /// The issuer's keys did not sign it.
    #[error("its signature is not one of its issuer's")]
    NotSigned,
    /// The issuer did not answer.
    #[error(transparent)]
    Checkin(#[from] CheckinError),
}

impl TokenError {
    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Checkin(error) => error.is_transient(),
            Self::NotAToken | Self::OtherIssuer { .. } | Self::NotSigned => false,
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: i64,
    iat: Option<i64>,
}

/// What the issuer says about the holder of a token.
#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    name: Option<String>,
    preferred_username: Option<String>,
}

impl Claims {
    fn facts(self) -> Option<TokenFacts> {
        Some(TokenFacts {
            holder: Holder {
                issuer: self.iss,
                subject: self.sub,
            },
            ends_at: DateTime::from_timestamp(self.exp, 0)?,
            issued_at: self.iat.and_then(|at| DateTime::from_timestamp(at, 0)),
        })
    }
}

/// What a token says, without verifying it: to show it, or to compare it with what stands there.
pub fn read_facts(token: &SecretString) -> Option<TokenFacts> {
    let token = token.expose_secret().trim();
    if token.len() > MAX_TOKEN {
        return None;
    }
    let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
    claims.facts()
}

impl CheckinClient {
    /// Verifies the signature of a token with the keys that its issuer publishes. Whether it is
    /// still valid is for the caller to judge.
    ///
    /// # Errors
    /// [`TokenError`] says why the token is not believed.
    pub async fn verify(
        &self,
        issuer: &Url,
        token: &SecretString,
    ) -> Result<TokenFacts, TokenError> {
        let said = read_facts(token).ok_or(TokenError::NotAToken)?;
        if !same_issuer(&said.holder.issuer, issuer) {
            return Err(TokenError::OtherIssuer {
                issuer: said.holder.issuer.chars().take(200).collect(),
                wanted: issuer.to_string(),
            });
        }
        let token = token.expose_secret().trim();
        let header = jsonwebtoken::decode_header(token).map_err(|_error| TokenError::NotAToken)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenError::NotSigned);
        }
        let keys = self.calls.count(self.keys(issuer)).await?;
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let candidates = keys
            .keys
            .iter()
            .filter(|key| header.kid.is_none() || key.common.key_id == header.kid)
            .filter_map(|key| DecodingKey::from_jwk(key).ok());
        for key in candidates {
            if let Ok(data) = jsonwebtoken::decode::<Claims>(token, &key, &validation) {
                return data.claims.facts().ok_or(TokenError::NotAToken);
            }
        }
        Err(TokenError::NotSigned)
    }

    /// The name that IM gives to the holder of a token: it asks the issuer for it, since a name is
    /// no part of every token (`check_oidc_token` of IM/InfrastructureManager.py).
    ///
    /// # Errors
    /// [`TokenError`] when the issuer does not answer or does not take the token.
    pub async fn user_name(
        &self,
        issuer: &Url,
        token: &SecretString,
    ) -> Result<String, TokenError> {
        Ok(self.calls.count(self.ask_user_name(issuer, token)).await?)
    }

    async fn ask_user_name(
        &self,
        issuer: &Url,
        token: &SecretString,
    ) -> Result<String, CheckinError> {
        let discovery = self.discover(issuer).await?;
        let request = self
            .http
            .get(discovery.userinfo_endpoint)
            .bearer_auth(token.expose_secret().trim());
        let response = request
            .send()
            .await
            .map_err(|error| CheckinError::Unreachable {
                issuer: issuer.clone(),
                source: error.without_url(),
            })?;
        let status = response.status();
        if !status.is_success() {
            return Err(CheckinError::Status {
                issuer: issuer.clone(),
                status: status.as_u16(),
            });
        }
        let body = read(issuer, response).await?;
        let said: UserInfo =
            serde_json::from_slice(&body).map_err(|_quotes_it| CheckinError::Discovery {
                issuer: issuer.clone(),
                what: "what it says about a person does not read".to_owned(),
            })?;
        Ok(said.preferred_username.or(said.name).unwrap_or(said.sub))
    }

    async fn keys(&self, issuer: &Url) -> Result<JwkSet, CheckinError> {
        let discovery = self.discover(issuer).await?;
        let response = self.get(issuer, discovery.jwks_uri).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(CheckinError::Status {
                issuer: issuer.clone(),
                status: status.as_u16(),
            });
        }
        let body = read(issuer, response).await?;
        serde_json::from_slice(&body).map_err(|error| CheckinError::Discovery {
            issuer: issuer.clone(),
            what: format!("its keys do not read: {error}"),
        })
    }
}

/// Whether a claim `iss` names this issuer.
pub fn same_issuer(claim: &str, issuer: &Url) -> bool {
    claim.trim_end_matches('/') == issuer.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn what_a_token_says_is_read() {
        let jwt = |claims: &str| {
            let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
            SecretString::from(format!("{head}.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
        };
        let facts =
            read_facts(&jwt(r#"{"iss":"https://a/b","sub":"x","exp":1795514492}"#)).unwrap();
        assert_eq!(facts.holder.subject, "x");
        assert_eq!(facts.ends_at.to_rfc3339(), "2026-11-24T10:01:32+00:00");
        assert_eq!(facts.issued_at, None);
        for bad in [
            r#"{"sub":"a","exp":1}"#,
            "[]",
            "",
            r#"{"iss":"a","sub":"b","exp":9e99}"#,
        ] {
            assert_eq!(read_facts(&jwt(bad)), None, "{bad}");
        }
        for bad in ["", "a", "a.b", "a.b.c", "a.b.c.d"] {
            assert_eq!(read_facts(&SecretString::from(bad)), None, "{bad}");
        }
    }

    #[test]
    fn issuers_are_the_same_with_or_without_a_final_slash() {
        let issuer = Url::parse("https://aai.egi.eu/auth/realms/egi").unwrap();
        assert!(same_issuer("https://aai.egi.eu/auth/realms/egi/", &issuer));
        assert!(!same_issuer("https://aai.egi.eu/auth/realms/egi2", &issuer));
    }
}
