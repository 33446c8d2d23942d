//! Secrets at rest: authenticated encryption of single columns.
//!
//! A [`KeyRing`] holds every key that may still be needed, by id, and names the current one.
//! A secret is sealed with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): its 24-byte nonce is
//! long enough to be drawn at random for every column without keeping count.
//!
//! **Invariant:** the ciphertext is bound to its [`SealedFor`], so a row copied over another row
//! does not open.
//! **Invariant:** an error names the key id and the owner, never a key or a secret.
//!
//! Rotation: add a key, make it current, [`KeyRing::reseal`] every row, then remove the old key.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

/// The length of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The longest secret that is sealed, in bytes; a private key has about 3 KiB.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;

/// Why a secret could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key ring has no keys, or lacks the one that is named as current.
    #[error("the current sealing key {id:?} is not among the keys; add it or name another")]
    NoCurrentKey {
        /// Its id.
        id: String,
    },
    /// A key is not 32 bytes in hexadecimal or base64.
    #[error(
        "the key {id:?} is not 32 bytes in hexadecimal (64 digits) or base64; \
         make one with `openssl rand -hex 32`"
    )]
    BadKey {
        /// Its id.
        id: String,
    },
    /// A key id that a database column or a log line could not show.
    #[error("the key id {id:?} is not allowed; use 1 to 32 letters, digits, dashes, underscores")]
    BadKeyId {
        /// The id.
        id: String,
    },
    /// The secret was sealed with a key that is no longer in the ring.
    #[error("{owner} was sealed with the key {id:?}, which is not among the keys")]
    UnknownKey {
        /// The key's id.
        id: String,
        /// What the secret belongs to.
        owner: String,
    },
    /// The ciphertext, its nonce or its owner was changed.
    #[error("{owner} does not open with the key {id:?}: the row was changed or belongs elsewhere")]
    Tampered {
        /// The key's id.
        id: String,
        /// What the secret belongs to.
        owner: String,
    },
    /// The secret is longer than [`MAX_SECRET_BYTES`].
    #[error("{owner} has {length} bytes; at most {MAX_SECRET_BYTES} are sealed")]
    TooLong {
        /// What the secret belongs to.
        owner: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The operating system gave no random bytes.
    #[error("the system gave no random numbers")]
    NoRandomness,
}

/// What a secret belongs to; part of the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedFor<'a> {
    /// The kind of owner, such as `cluster`.
    pub kind: &'a str,
    /// The owner's id.
    pub id: &'a str,
    /// The secret's name, such as `oidc-client-secret`.
    pub name: &'a str,
}

impl SealedFor<'_> {
    /// The associated data. Lengths stand before the parts, so that no two owners read the same.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = b"pangeo-bot sealed column v1".to_vec();
        for part in [self.kind, self.id, self.name] {
            data.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

impl fmt::Display for SealedFor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret {} of {} {}", self.name, self.kind, self.id)
    }
}

/// A sealed secret, as three columns keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The id of the key.
    pub key_id: String,
    /// The nonce, 24 bytes.
    pub nonce: Vec<u8>,
    /// The encrypted secret with its 16-byte tag.
    pub ciphertext: Vec<u8>,
}

/// The sealing keys by id.
pub struct KeyRing {
    keys: BTreeMap<String, SecretBox<[u8; KEY_BYTES]>>,
    current: String,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("current", &self.current)
            .field("keys", &self.keys.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl KeyRing {
    /// A ring of keys given as text: 64 hexadecimal digits, or base64 of 32 bytes.
    ///
    /// # Errors
    /// [`SealError::BadKey`], [`SealError::BadKeyId`] or [`SealError::NoCurrentKey`]: the
    /// configuration has to be mended.
    pub fn new<I>(current: &str, keys: I) -> Result<Self, SealError>
    where
        I: IntoIterator<Item = (String, SecretString)>,
    {
        let mut ring = BTreeMap::new();
        for (id, text) in keys {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if id.is_empty() || id.len() > 32 || !id.chars().all(allowed) {
                return Err(SealError::BadKeyId { id });
            }
            let Some(key) = parse_key(&text) else {
                return Err(SealError::BadKey { id });
            };
            ring.insert(id, key);
        }
        if !ring.contains_key(current) {
            return Err(SealError::NoCurrentKey {
                id: current.to_owned(),
            });
        }
        Ok(Self {
            keys: ring,
            current: current.to_owned(),
        })
    }

    /// The id of the key that seals.
    pub fn current(&self) -> &str {
        &self.current
    }

    /// Seals a secret with the current key.
    ///
    /// # Errors
    /// [`SealError::TooLong`] or [`SealError::NoRandomness`].
    pub fn seal(&self, owner: SealedFor<'_>, secret: &SecretString) -> Result<Sealed, SealError> {
        let plain = secret.expose_secret().as_bytes();
        if plain.len() > MAX_SECRET_BYTES {
            return Err(SealError::TooLong {
                owner: owner.to_string(),
                length: plain.len(),
            });
        }
        let cipher = self.cipher(&self.current, owner)?;
        let nonce = XNonce::try_generate().map_err(|_error| SealError::NoRandomness)?;
        let aad = owner.associated_data();
        let payload = Payload {
            msg: plain,
            aad: &aad,
        };
        // The cipher refuses only texts longer than the limit above.
        let ciphertext = cipher
            .encrypt(&nonce, payload)
            .map_err(|_error| SealError::TooLong {
                owner: owner.to_string(),
                length: plain.len(),
            })?;
        Ok(Sealed {
            key_id: self.current.clone(),
            nonce: nonce.to_vec(),
            ciphertext,
        })
    }

    /// Opens a sealed secret.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`]: the key has to be configured again.
    /// [`SealError::Tampered`]: the row is not what was written.
    pub fn open(&self, owner: SealedFor<'_>, sealed: &Sealed) -> Result<SecretString, SealError> {
        let cipher = self.cipher(&sealed.key_id, owner)?;
        let tampered = || SealError::Tampered {
            id: sealed.key_id.clone(),
            owner: owner.to_string(),
        };
        let nonce = XNonce::try_from(sealed.nonce.as_slice()).map_err(|_error| tampered())?;
        let aad = owner.associated_data();
        let payload = Payload {
            msg: &sealed.ciphertext,
            aad: &aad,
        };
        let plain = Zeroizing::new(
            cipher
                .decrypt(&nonce, payload)
                .map_err(|_error| tampered())?,
        );
        let text = std::str::from_utf8(&plain).map_err(|_error| tampered())?;
        Ok(SecretString::from(text))
    }

    /// Seals a secret again with the current key; `None` if that key already seals it.
    ///
    /// # Errors
    /// As [`KeyRing::open`] and [`KeyRing::seal`].
    pub fn reseal(
        &self,
        owner: SealedFor<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, SealError> {
        let secret = self.open(owner, sealed)?;
        if sealed.key_id == self.current {
            return Ok(None);
        }
        self.seal(owner, &secret).map(Some)
    }

    /// Keys for another purpose, derived from every key of the ring, the current one first.
    ///
    /// The same purpose gives the same keys in every replica and after every restart.
    pub fn derive(&self, purpose: &str) -> Vec<SecretBox<[u8; KEY_BYTES]>> {
        let current = self.keys.get(&self.current);
        let others = self
            .keys
            .iter()
            .filter(|(id, _)| **id != self.current)
            .map(|(_, key)| key);
        current
            .into_iter()
            .chain(others)
            .filter_map(|key| {
                let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
                mac.update(b"pangeo-bot derived key v1:");
                mac.update(purpose.as_bytes());
                let bytes: [u8; KEY_BYTES] = mac.finalize().into_bytes().into();
                Some(SecretBox::new(Box::new(bytes)))
            })
            .collect()
    }

    fn cipher(&self, id: &str, owner: SealedFor<'_>) -> Result<XChaCha20Poly1305, SealError> {
        self.keys
            .get(id)
            .and_then(|key| XChaCha20Poly1305::new_from_slice(key.expose_secret()).ok())
            .ok_or_else(|| SealError::UnknownKey {
                id: id.to_owned(),
                owner: owner.to_string(),
            })
    }
}

/// A key out of its text form.
pub(crate) fn parse_key(text: &SecretString) -> Option<SecretBox<[u8; KEY_BYTES]>> {
    let text = text.expose_secret().trim();
    let bytes = if text.len() == 2 * KEY_BYTES {
        hex::decode(text).ok()?
    } else {
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .ok()?
    };
    let bytes = Zeroizing::new(bytes);
    let key: [u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
    Some(SecretBox::new(Box::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: SealedFor<'_> = SealedFor {
        kind: "cluster",
        id: "geo",
        name: "dns-secret",
    };

    fn key(byte: u8) -> SecretString {
        SecretString::from(hex::encode([byte; KEY_BYTES]))
    }

    fn ring(current: &str, ids: &[(&str, u8)]) -> KeyRing {
        let keys = ids.iter().map(|(id, byte)| ((*id).to_owned(), key(*byte)));
        KeyRing::new(current, keys).unwrap()
    }

    #[test]
    fn a_secret_opens_for_its_owner_only() {
        let ring = ring("a", &[("a", 1)]);
        let sealed = ring.seal(OWNER, &SecretString::from("hunter2")).unwrap();
        assert!(!sealed.ciphertext.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(
            ring.open(OWNER, &sealed).unwrap().expose_secret(),
            "hunter2"
        );

        for other in [
            SealedFor {
                kind: "user",
                ..OWNER
            },
            SealedFor {
                id: "geo2",
                ..OWNER
            },
            SealedFor {
                name: "client-secret",
                ..OWNER
            },
            // The same letters, cut elsewhere.
            SealedFor {
                kind: "clusterg",
                id: "eo",
                name: "dns-secret",
            },
        ] {
            let error = ring.open(other, &sealed).unwrap_err();
            assert!(matches!(error, SealError::Tampered { .. }), "{error}");
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let ring = ring("a", &[("a", 1)]);
        let sealed = ring.seal(OWNER, &SecretString::from("hunter2")).unwrap();
        for at in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[at] ^= 1;
            assert!(ring.open(OWNER, &changed).is_err(), "byte {at}");
        }
        for at in 0..sealed.nonce.len() {
            let mut changed = sealed.clone();
            changed.nonce[at] ^= 0x80;
            assert!(ring.open(OWNER, &changed).is_err(), "nonce byte {at}");
        }
        let mut short = sealed.clone();
        short.nonce.truncate(12);
        assert!(ring.open(OWNER, &short).is_err());
        short = sealed;
        short.ciphertext.clear();
        assert!(ring.open(OWNER, &short).is_err());
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let ring = ring("a", &[("a", 1)]);
        let secret = SecretString::from("hunter2");
        let one = ring.seal(OWNER, &secret).unwrap();
        let two = ring.seal(OWNER, &secret).unwrap();
        assert_ne!(one.nonce, two.nonce);
        assert_ne!(one.ciphertext, two.ciphertext);
    }

    #[test]
    fn rotation_moves_a_secret_to_the_current_key() {
        let old = ring("2025", &[("2025", 1)]);
        let both = ring("2026", &[("2025", 1), ("2026", 2)]);
        let new = ring("2026", &[("2026", 2)]);
        let sealed = old.seal(OWNER, &SecretString::from("hunter2")).unwrap();

        let again = both.reseal(OWNER, &sealed).unwrap().unwrap();
        assert_eq!(again.key_id, "2026");
        assert_eq!(new.open(OWNER, &again).unwrap().expose_secret(), "hunter2");
        assert_eq!(both.reseal(OWNER, &again).unwrap(), None);
        let error = new.open(OWNER, &sealed).unwrap_err();
        assert!(matches!(error, SealError::UnknownKey { .. }), "{error}");
    }

    #[test]
    fn keys_are_hexadecimal_or_base64_of_32_bytes() {
        let base64 = base64::engine::general_purpose::STANDARD.encode([7; KEY_BYTES]);
        assert!(KeyRing::new("k", [("k".to_owned(), SecretString::from(base64))]).is_ok());
        for bad in [
            "",
            "abc",
            &"z".repeat(64),
            &"00".repeat(31),
            &"00".repeat(33),
        ] {
            let keys = [("k".to_owned(), SecretString::from(bad))];
            let error = KeyRing::new("k", keys).unwrap_err();
            assert!(
                matches!(error, SealError::BadKey { .. }),
                "{bad:?}: {error}"
            );
        }
        let error = KeyRing::new("other", [("k".to_owned(), key(1))]).unwrap_err();
        assert!(matches!(error, SealError::NoCurrentKey { .. }));
        let error = KeyRing::new("a b", [("a b".to_owned(), key(1))]).unwrap_err();
        assert!(matches!(error, SealError::BadKeyId { .. }));
    }

    #[test]
    fn nothing_shows_a_key() {
        let ring = ring("a", &[("a", 0xab)]);
        assert_eq!(
            format!("{ring:?}"),
            r#"KeyRing { current: "a", keys: ["a"] }"#
        );
    }

    #[test]
    fn derived_keys_differ_by_purpose_and_start_with_the_current_key() {
        let old = ring("2025", &[("2025", 1)]);
        let both = ring("2026", &[("2025", 1), ("2026", 2)]);
        let bytes = |key: &SecretBox<[u8; KEY_BYTES]>| *key.expose_secret();
        let links: Vec<_> = both.derive("links").iter().map(bytes).collect();
        assert_eq!(links.len(), 2);
        assert_eq!(links[1], bytes(&old.derive("links")[0]));
        assert_ne!(links[0], bytes(&both.derive("other")[0]));
    }
}
