//! Access tokens: RS256 JWTs.

use anyhow::Context;
use chrono::{Duration, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::Person;

/// The name of the only key.
const KEY_ID: &str = "sandbox";

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The person's stable id.
    pub sub: String,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it was given out, in seconds since 1970.
    pub iat: i64,
    /// The id of the token.
    pub jti: String,
    /// The kind of token: `Bearer`.
    pub typ: String,
    /// What it may be used for.
    pub scope: String,
    /// The user name.
    pub preferred_username: String,
    /// What the person is a member of.
    #[serde(default)]
    pub eduperson_entitlement: Vec<String>,
}

pub(super) struct Signer {
    issuer: String,
    sign: EncodingKey,
    check: DecodingKey,
    public: Jwk,
}

impl Signer {
    pub(super) fn new(issuer: &str) -> anyhow::Result<Self> {
        let sign = EncodingKey::from_rsa_pem(include_bytes!("signing_key.pem"))
            .context("read the signing key")?;
        let mut public = Jwk::from_encoding_key(&sign, Algorithm::RS256)
            .context("derive the public signing key")?;
        public.common.key_id = Some(KEY_ID.to_owned());
        let check = DecodingKey::from_jwk(&public).context("read the public signing key")?;
        Ok(Self {
            issuer: issuer.to_owned(),
            sign,
            check,
            public,
        })
    }

    /// The public key, for the issuer's JWKS.
    pub(super) fn keys(&self) -> JwkSet {
        JwkSet {
            keys: vec![self.public.clone()],
        }
    }

    pub(super) fn mint(
        &self,
        user: &str,
        person: &Person,
        number: u64,
        lifetime: Duration,
    ) -> anyhow::Result<String> {
        let now = Utc::now();
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: person.sub.clone(),
            exp: (now + lifetime).timestamp(),
            iat: now.timestamp(),
            jti: format!("{number}"),
            typ: "Bearer".to_owned(),
            scope: "openid email profile eduperson_entitlement offline_access".to_owned(),
            preferred_username: user.to_owned(),
            eduperson_entitlement: person.entitlements.clone(),
        };
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(KEY_ID.to_owned());
        jsonwebtoken::encode(&header, &claims, &self.sign).context("sign a token")
    }

    /// What a token says, if it was signed here; the expiry is for the caller to judge.
    pub(super) fn read(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<Claims>(token, &self.check, &validation)
            .ok()
            .map(|data| data.claims)
    }
}
