//! Sealed values. The store never sees one open.

use super::{Store, StoreError, doing};

/// Whose a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOwner {
    /// A cluster, by its id.
    Cluster(crate::domain::ids::ClusterId),
    /// A host name, which may have secrets before it has a cluster.
    Host(crate::domain::names::HostName),
}

impl SecretOwner {
    /// The kind, as the store has it.
    pub fn kind(&self) -> &'static str {
        match self {
            SecretOwner::Cluster(_) => "cluster",
            SecretOwner::Host(_) => "host",
        }
    }

    /// The id, as the store has it.
    pub fn id(&self) -> String {
        match self {
            SecretOwner::Cluster(id) => id.to_string(),
            SecretOwner::Host(host) => host.to_string(),
        }
    }
}

/// A sealed value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRow {
    /// The kind of owner.
    pub owner_kind: String,
    /// The owner.
    pub owner: String,
    /// The secret's name, e.g. `dns-secret`.
    pub name: String,
    /// The key that sealed it.
    pub key_id: String,
    /// The nonce of the seal.
    pub nonce: Vec<u8>,
    /// The sealed bytes.
    pub ciphertext: Vec<u8>,
}

impl Store {
    /// Keeps a sealed value, instead of what was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_secret(&self, row: &SealedRow) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into secrets (owner_kind, owner, name, key_id, nonce, ciphertext, changed_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (owner_kind, owner, name) do update
             set key_id = excluded.key_id, nonce = excluded.nonce,
                 ciphertext = excluded.ciphertext, changed_at = excluded.changed_at",
            row.owner_kind,
            row.owner,
            row.name,
            row.key_id,
            row.nonce,
            row.ciphertext,
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .map_err(doing("kept a secret"))?;
        Ok(())
    }

    /// Keeps a sealed value only if there is none yet; false if there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_secret_if_absent(&self, row: &SealedRow) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "insert into secrets (owner_kind, owner, name, key_id, nonce, ciphertext, changed_at)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
            row.owner_kind,
            row.owner,
            row.name,
            row.key_id,
            row.nonce,
            row.ciphertext,
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .map_err(doing("kept a secret"))?;
        Ok(done.rows_affected() == 1)
    }

    /// A sealed value.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn secret(
        &self,
        owner: &SecretOwner,
        name: &str,
    ) -> Result<Option<SealedRow>, StoreError> {
        sqlx::query_as!(
            SealedRow,
            "select owner_kind, owner, name, key_id, nonce, ciphertext from secrets
             where owner_kind = $1 and owner = $2 and name = $3",
            owner.kind(),
            owner.id(),
            name
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a secret"))
    }

    /// Every sealed value, to learn what must be redacted or to rotate the key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_secrets(&self) -> Result<Vec<SealedRow>, StoreError> {
        sqlx::query_as!(
            SealedRow,
            "select owner_kind, owner, name, key_id, nonce, ciphertext from secrets
             order by owner_kind, owner, name"
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the secrets"))
    }

    /// Removes all secrets of an owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_secrets(&self, owner: &SecretOwner) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "delete from secrets where owner_kind = $1 and owner = $2",
            owner.kind(),
            owner.id()
        )
        .execute(&self.pool)
        .await
        .map_err(doing("removed secrets"))?;
        Ok(done.rows_affected())
    }

    /// Removes one secret; tells whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_secret(&self, owner: &SecretOwner, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "delete from secrets where owner_kind = $1 and owner = $2 and name = $3",
            owner.kind(),
            owner.id(),
            name
        )
        .execute(&self.pool)
        .await
        .map_err(doing("removed a secret"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes the secrets whose names begin so and that were kept before a time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_old_secrets(
        &self,
        prefix: &str,
        before: chrono::DateTime<chrono::Utc>,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "delete from secrets where starts_with(name, $1) and changed_at < $2",
            prefix,
            before
        )
        .execute(&self.pool)
        .await
        .map_err(doing("removed old secrets"))?;
        Ok(done.rows_affected())
    }
}
