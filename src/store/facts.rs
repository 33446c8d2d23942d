//! Small facts and named leases.

use std::time::Duration;

use super::{Store, StoreError, doing};

impl Store {
    /// A fact, if it was ever told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fact(&self, key: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar!("select value from facts where key = $1", key)
            .fetch_optional(&self.pool)
            .await
            .map_err(doing("read a fact"))
    }

    /// Tells a fact, instead of what was told before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_fact(&self, key: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into facts (key, value) values ($1, $2)
             on conflict (key) do update set value = excluded.value",
            key,
            value
        )
        .execute(&self.pool)
        .await
        .map_err(doing("wrote a fact"))?;
        Ok(())
    }

    /// Forgets a fact; nothing if it was never told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_fact(&self, key: &str) -> Result<(), StoreError> {
        sqlx::query!("delete from facts where key = $1", key)
            .execute(&self.pool)
            .await
            .map_err(doing("forgot a fact"))?;
        Ok(())
    }

    /// Takes or renews the lease `name` for `holder`; false if another holds it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let taken = sqlx::query!(
            "insert into leases (name, holder, expires_at) values ($1, $2, $3)
             on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
             where leases.holder = excluded.holder or leases.expires_at < $4",
            name,
            holder,
            now + ttl,
            now
        )
        .execute(&self.pool)
        .await
        .map_err(doing("took a lease"))?;
        Ok(taken.rows_affected() == 1)
    }

    /// Who holds the lease `name` now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease_holder(&self, name: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar!(
            "select holder from leases where name = $1 and expires_at >= $2",
            name,
            self.clock.now()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a lease"))
    }

    /// Gives the lease back, if `holder` has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_lease_back(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "delete from leases where name = $1 and holder = $2",
            name,
            holder
        )
        .execute(&self.pool)
        .await
        .map_err(doing("gave a lease back"))?;
        Ok(())
    }
}
