//! Signed links to pages, that expire.
//!
//! Whoever has the link may read the page: the signature is its only lock, so it covers the path
//! and the end of the link's life, and is compared in constant time.
//! The keys are derived from the sealing keys, so that every replica makes and accepts the same
//! links; a link outlives the rotation of a key as long as the old key is in the ring.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;
use url::Url;

use crate::domain::ids::{LogViewId, OperationId};
use crate::domain::seal::{KEY_BYTES, KeyRing, SealError, parse_key};

/// Why a link does not open its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Its time is over.
    #[error("the link has expired")]
    Expired,
    /// It was not made by this bot, or was changed.
    #[error("the link is not valid")]
    Invalid,
}

/// The two query parameters that open a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSignature {
    /// When the link ends, in seconds since 1970, UTC.
    pub expires: i64,
    /// The signature, base64 for URLs.
    pub signature: String,
}

impl LinkSignature {
    /// The parameters as a query string without `?`.
    pub fn to_query(&self) -> String {
        format!("expires={}&signature={}", self.expires, self.signature)
    }
}

/// Makes and checks links.
pub struct LinkSigner {
    keys: Vec<SecretBox<[u8; KEY_BYTES]>>,
}

impl LinkSigner {
    /// A signer with keys derived from the sealing keys.
    pub fn new(ring: &KeyRing) -> Self {
        Self {
            keys: ring.derive("links"),
        }
    }

    /// A signer with a key of its own: 64 hexadecimal digits, or base64 of 32 bytes.
    ///
    /// # Errors
    /// [`SealError::BadKey`]: the configuration has to be mended.
    pub fn with_key(key: &SecretString) -> Result<Self, SealError> {
        let key = parse_key(key).ok_or_else(|| SealError::BadKey {
            id: "web.link_key".to_owned(),
        })?;
        Ok(Self { keys: vec![key] })
    }

    /// Signs a path such as `/operations/<id>` until `expires`.
    pub fn sign(&self, path: &str, expires: DateTime<Utc>) -> LinkSignature {
        let expires = expires.timestamp();
        let signature = self
            .keys
            .first()
            .and_then(|key| mac(key, path, expires))
            .map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
            .unwrap_or_default();
        LinkSignature { expires, signature }
    }

    /// Checks a link that was asked for at `now`.
    ///
    /// # Errors
    /// [`LinkError::Invalid`] comes before [`LinkError::Expired`]: only a true link is told that
    /// it expired.
    pub fn check(
        &self,
        path: &str,
        link: &LinkSignature,
        now: DateTime<Utc>,
    ) -> Result<(), LinkError> {
        let given = URL_SAFE_NO_PAD
            .decode(&link.signature)
            .map_err(|_error| LinkError::Invalid)?;
        let valid = self.keys.iter().any(|key| {
            mac(key, path, link.expires).is_some_and(|mac| mac.verify_slice(&given).is_ok())
        });
        if !valid {
            return Err(LinkError::Invalid);
        }
        if link.expires <= now.timestamp() {
            return Err(LinkError::Expired);
        }
        Ok(())
    }
}

/// Links to the pages of operations, as people get them.
#[derive(Clone)]
pub struct OperationLinks {
    signer: Arc<LinkSigner>,
    public_url: Url,
    lifetime: Duration,
}

impl OperationLinks {
    /// Links below `public_url`, the address at which people reach the bot's pages, that work for
    /// `lifetime`.
    pub fn new(signer: LinkSigner, public_url: Url, lifetime: Duration) -> Self {
        Self {
            signer: Arc::new(signer),
            public_url,
            lifetime,
        }
    }

    /// A link to an operation's page.
    pub fn page(&self, id: OperationId, now: DateTime<Utc>) -> Url {
        self.link(id, "", now)
    }

    /// A link to an operation's log as text.
    pub fn log(&self, id: OperationId, now: DateTime<Utc>) -> Url {
        self.link(id, "/log", now)
    }

    /// A link to the page of a followed log.
    pub fn log_page(&self, id: LogViewId, now: DateTime<Utc>) -> Url {
        self.signed(&log_path(id), "", now)
    }

    /// Checks the signature of a request for the page of a followed log, or its lines.
    ///
    /// # Errors
    /// As [`LinkSigner::check`].
    pub fn check_log(
        &self,
        id: LogViewId,
        link: &LinkSignature,
        now: DateTime<Utc>,
    ) -> Result<(), LinkError> {
        self.signer.check(&log_path(id), link, now)
    }

    /// Checks the signature of a request for an operation's page, log or events.
    ///
    /// # Errors
    /// As [`LinkSigner::check`].
    pub fn check(
        &self,
        id: OperationId,
        link: &LinkSignature,
        now: DateTime<Utc>,
    ) -> Result<(), LinkError> {
        self.signer.check(&signed_path(id), link, now)
    }

    fn link(&self, id: OperationId, what: &str, now: DateTime<Utc>) -> Url {
        self.signed(&signed_path(id), what, now)
    }

    fn signed(&self, path: &str, what: &str, now: DateTime<Utc>) -> Url {
        let signature = self.signer.sign(path, now + self.lifetime);
        let mut url = self.public_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}{what}"));
        url.set_query(Some(&signature.to_query()));
        url
    }
}

/// What is signed: one signature opens an operation's page, its log and its events, also where a
/// proxy serves them below another path.
fn signed_path(id: OperationId) -> String {
    format!("/operations/{id}")
}

/// What is signed for a followed log.
fn log_path(id: LogViewId) -> String {
    format!("/logs/{id}")
}

fn mac(key: &SecretBox<[u8; KEY_BYTES]>, path: &str, expires: i64) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
    mac.update(&expires.to_be_bytes());
    mac.update(path.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/operations/0192f0c1";

    fn signer(current: &str, keys: &[(&str, u8)]) -> LinkSigner {
        let keys = keys.iter().map(|(id, byte)| {
            let key = SecretString::from(hex::encode([*byte; KEY_BYTES]));
            ((*id).to_owned(), key)
        });
        LinkSigner::new(&KeyRing::new(current, keys).unwrap())
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_link_opens_its_page_until_it_expires() {
        let signer = signer("a", &[("a", 1)]);
        let link = signer.sign(PATH, at(1000));
        assert_eq!(signer.check(PATH, &link, at(999)), Ok(()));
        assert_eq!(signer.check(PATH, &link, at(1000)), Err(LinkError::Expired));
    }

    #[test]
    fn a_link_that_was_changed_is_not_valid() {
        let signer = signer("a", &[("a", 1)]);
        let link = signer.sign(PATH, at(1000));
        let invalid = Err(LinkError::Invalid);
        assert_eq!(signer.check("/operations/0192f0c2", &link, at(1)), invalid);
        let longer = LinkSignature {
            expires: 9_999_999_999,
            ..link.clone()
        };
        assert_eq!(signer.check(PATH, &longer, at(1)), invalid);
        for signature in ["", "AAAA", "not base64!", &link.signature[..42]] {
            let changed = LinkSignature {
                signature: signature.to_owned(),
                ..link.clone()
            };
            assert_eq!(signer.check(PATH, &changed, at(1)), invalid, "{signature}");
        }
        let other = self::signer("a", &[("a", 2)]);
        assert_eq!(other.check(PATH, &link, at(1)), invalid);
    }

    #[test]
    fn an_operation_has_links_below_the_public_address() {
        let links = OperationLinks::new(
            signer("a", &[("a", 1)]),
            Url::parse("https://bot.example.org/pangeo/").unwrap(),
            Duration::from_secs(60),
        );
        let id = OperationId::new();
        let log = links.log(id, at(0));
        assert_eq!(log.path(), format!("/pangeo/operations/{id}/log"));
        let query: std::collections::HashMap<_, _> = log.query_pairs().into_owned().collect();
        let link = LinkSignature {
            expires: query["expires"].parse().unwrap(),
            signature: query["signature"].clone(),
        };
        assert_eq!(links.check(id, &link, at(59)), Ok(()));
        assert_eq!(links.check(id, &link, at(60)), Err(LinkError::Expired));
        let other = OperationId::new();
        assert_eq!(links.check(other, &link, at(1)), Err(LinkError::Invalid));
    }

    #[test]
    fn a_configured_key_signs_alone() {
        let key = SecretString::from("07".repeat(KEY_BYTES));
        let link = LinkSigner::with_key(&key).unwrap().sign(PATH, at(1000));
        assert_eq!(
            LinkSigner::with_key(&key)
                .unwrap()
                .check(PATH, &link, at(1)),
            Ok(())
        );
        assert!(LinkSigner::with_key(&SecretString::from("07")).is_err());
    }

    #[test]
    fn a_link_outlives_the_rotation_of_the_key() {
        let link = signer("old", &[("old", 1)]).sign(PATH, at(1000));
        let rotated = signer("new", &[("old", 1), ("new", 2)]);
        assert_eq!(rotated.check(PATH, &link, at(1)), Ok(()));
        let gone = signer("new", &[("new", 2)]);
        assert_eq!(gone.check(PATH, &link, at(1)), Err(LinkError::Invalid));
    }
}
