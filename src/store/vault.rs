//! Secrets, opened and sealed on their way to and from their rows.
//!
//! **Invariant:** whatever is opened or kept here is learnt by the [`Redactor`] first, so that no
//! log line, message or page can show it afterwards. Of the whole values of a revision only the
//! secrets in them are learnt: the rest is for people to read.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::secrets::{SealedRow, SecretOwner};
use super::{Store, StoreError};
use crate::domain::redact::Redactor;
use crate::domain::seal::{KeyRing, SealError, Sealed, SealedFor};
use crate::domain::values::NoRandomness;
use crate::domain::values::secrets::secrets_in;

/// The secret that updates a host in Dynamic DNS; of a host.
pub const DNS_SECRET: &str = "dns-secret";
/// The OIDC client's id; of a host.
pub const CLIENT_ID: &str = "client-id";
/// The OIDC client's secret; of a host.
pub const CLIENT_SECRET: &str = "client-secret";
/// The key of the front end; of a cluster.
pub const PRIVATE_KEY: &str = "private-key";
/// `token1` of the howto; of a cluster.
pub const GATEWAY_TOKEN: &str = "gateway-token";
/// `token2` of the howto; of a cluster.
pub const PROXY_TOKEN: &str = "proxy-token";
/// `kube_admin_token` of the template; of a cluster.
pub const KUBE_TOKEN: &str = "kube-admin-token";
/// Grafana's `admin_password`; of a cluster.
pub const GRAFANA_PASSWORD: &str = "grafana-password";

/// The refresh token with which the bot renews by itself; of a cluster.
pub const REFRESH_TOKEN: &str = "refresh-token";
/// The token of a test user of the hub, with whose server cures are proven; of a cluster.
pub const HUB_TOKEN: &str = "hub-token";
/// A login at Check-in that is under way; of a cluster.
pub const LOGIN: &str = "login";
/// The whole values of a revision, as helm got them, are kept under this and the number; of a
/// cluster.
const VALUES: &str = "values/";

/// How many revisions of a cluster keep their whole values; older ones keep the masked text only.
pub const WHOLE_VALUES_KEPT: i32 = 30;

/// The name of the whole values of a revision; of a cluster.
pub fn values_name(revision: i32) -> String {
    format!("{VALUES}{revision}")
}

/// Why a secret could not be kept or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The seal.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The system gave no random numbers for a new secret.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl VaultError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            VaultError::Store(error) => error.is_transient(),
            VaultError::Seal(_) | VaultError::Randomness(_) => false,
        }
    }
}

/// The way to the secrets.
#[derive(Clone, Debug)]
pub struct Vault {
    store: Store,
    keys: Arc<KeyRing>,
    redactor: Redactor,
}

impl Vault {
    /// Over a store, with its keys.
    pub fn new(store: Store, keys: Arc<KeyRing>, redactor: Redactor) -> Self {
        Self {
            store,
            keys,
            redactor,
        }
    }

    /// Keeps a secret, instead of what was there.
    ///
    /// # Errors
    /// When the database fails or the secret is too long.
    pub async fn put(
        &self,
        owner: &SecretOwner,
        name: &str,
        secret: &SecretString,
    ) -> Result<(), VaultError> {
        self.learn(name, secret);
        let row = self.seal(owner, name, secret)?;
        Ok(self.store.put_secret(&row).await?)
    }

    /// A secret, if there is one.
    ///
    /// # Errors
    /// When the database fails, its key is not configured or the row was tampered with.
    pub async fn get(
        &self,
        owner: &SecretOwner,
        name: &str,
    ) -> Result<Option<SecretString>, VaultError> {
        let Some(row) = self.store.secret(owner, name).await? else {
            return Ok(None);
        };
        Ok(Some(self.open(&row)?))
    }

    /// A secret that is made once: what is there, or what `make` gives. Two replicas that make it
    /// at once end with the same one.
    ///
    /// # Errors
    /// As [`Vault::get`] and [`Vault::put`].
    pub async fn get_or_make(
        &self,
        owner: &SecretOwner,
        name: &str,
        make: impl FnOnce() -> Result<SecretString, NoRandomness> + Send,
    ) -> Result<SecretString, VaultError> {
        if let Some(secret) = self.get(owner, name).await? {
            return Ok(secret);
        }
        let made = make()?;
        self.redactor.learn(&made);
        let row = self.seal(owner, name, &made)?;
        if self.store.put_secret_if_absent(&row).await? {
            return Ok(made);
        }
        Ok(self.get(owner, name).await?.unwrap_or(made))
    }

    /// Opens every secret once, so that the redactor knows them all after a start. Of the values
    /// only those of the newest revision are opened.
    ///
    /// # Errors
    /// When the database fails or a key is not configured.
    pub async fn learn_all(&self) -> Result<usize, VaultError> {
        let rows = self.store.all_secrets().await?;
        let mut newest: BTreeMap<&str, (i32, &SealedRow)> = BTreeMap::new();
        let mut count = 0;
        for row in &rows {
            if let Some(number) = row.name.strip_prefix(VALUES) {
                let number = number.parse().unwrap_or_default();
                let known = newest.entry(&row.owner).or_insert((number, row));
                if number > known.0 {
                    *known = (number, row);
                }
                continue;
            }
            self.open(row)?;
            count += 1;
        }
        for (_number, row) in newest.values() {
            self.open(row)?;
            count += 1;
        }
        Ok(count)
    }

    /// What knows every secret that was opened here.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Seals everything again that an older key sealed. Answers how many rows changed.
    ///
    /// # Errors
    /// When the database fails or the older key is not configured.
    pub async fn rotate(&self) -> Result<usize, VaultError> {
        let mut changed = 0;
        for row in self.store.all_secrets().await? {
            if let Some(sealed) = self.keys.reseal(owner_of(&row), &sealed_of(&row))? {
                let row = SealedRow {
                    key_id: sealed.key_id,
                    nonce: sealed.nonce,
                    ciphertext: sealed.ciphertext,
                    ..row
                };
                self.store.put_secret(&row).await?;
                changed += 1;
            }
        }
        Ok(changed)
    }

    fn open(&self, row: &SealedRow) -> Result<SecretString, VaultError> {
        let secret = self.keys.open(owner_of(row), &sealed_of(row))?;
        self.learn(&row.name, &secret);
        Ok(secret)
    }

    fn learn(&self, name: &str, secret: &SecretString) {
        if !name.starts_with(VALUES) {
            return self.redactor.learn(secret);
        }
        match secrets_in(secret.expose_secret()) {
            Ok(found) => found.iter().for_each(|secret| self.redactor.learn(secret)),
            // Not the YAML that it should be: then all of it is a secret.
            Err(_unreadable) => self.redactor.learn(secret),
        }
    }

    fn seal(
        &self,
        owner: &SecretOwner,
        name: &str,
        secret: &SecretString,
    ) -> Result<SealedRow, VaultError> {
        let id = owner.id();
        let place = SealedFor {
            kind: owner.kind(),
            id: &id,
            name,
        };
        let sealed = self.keys.seal(place, secret)?;
        Ok(SealedRow {
            owner_kind: owner.kind().to_owned(),
            owner: id.clone(),
            name: name.to_owned(),
            key_id: sealed.key_id,
            nonce: sealed.nonce,
            ciphertext: sealed.ciphertext,
        })
    }
}

fn owner_of(row: &SealedRow) -> SealedFor<'_> {
    SealedFor {
        kind: &row.owner_kind,
        id: &row.owner,
        name: &row.name,
    }
}

fn sealed_of(row: &SealedRow) -> Sealed {
    Sealed {
        key_id: row.key_id.clone(),
        nonce: row.nonce.clone(),
        ciphertext: row.ciphertext.clone(),
    }
}
