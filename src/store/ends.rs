//! What the watch saw last of a cluster, beside its alerts: what comes to its end, and how many nodes
//! it lacks.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, doing};
use crate::domain::ids::ClusterId;

/// What of a cluster ends by itself, as far as it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The certificate of the hub.
    pub certificate: Option<DateTime<Utc>>,
    /// The refresh token on the front end.
    pub refresh_token: Option<DateTime<Utc>>,
}

impl Store {
    /// Keeps what ends when; what was not seen now stays as it was seen before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_ends(&self, cluster: ClusterId, ends: &Ends) -> Result<(), StoreError> {
        sqlx::query!(
            "update watched set certificate_ends_at = coalesce($2, certificate_ends_at),
                 refresh_ends_at = coalesce($3, refresh_ends_at)
             where cluster_id = $1",
            cluster.as_uuid(),
            ends.certificate,
            ends.refresh_token
        )
        .execute(&self.pool)
        .await
        .map_err(doing("kept what comes to its end"))?;
        Ok(())
    }

    /// What ends when, of each cluster that is watched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ends(&self) -> Result<Vec<(ClusterId, Ends)>, StoreError> {
        let rows = sqlx::query!(
            r#"select cluster_id as "cluster: ClusterId", certificate_ends_at, refresh_ends_at
               from watched order by cluster_id"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read what comes to its end"))?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let ends = Ends {
                    certificate: row.certificate_ends_at,
                    refresh_token: row.refresh_ends_at,
                };
                (row.cluster, ends)
            })
            .collect())
    }

    /// Keeps how many nodes a cluster lacks; its next samples count them as wanted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_nodes_missing(
        &self,
        cluster: ClusterId,
        missing: u32,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update watched set nodes_missing = $2 where cluster_id = $1",
            cluster.as_uuid(),
            i32::try_from(missing).unwrap_or(i32::MAX)
        )
        .execute(&self.pool)
        .await
        .map_err(doing("kept how many nodes a cluster lacks"))?;
        Ok(())
    }
}
