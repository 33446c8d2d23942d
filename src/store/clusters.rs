//! The inventory.

use sqlx::PgConnection;

use super::audit::{self, AuditEntry};
use super::secrets::SecretOwner;
use super::{Store, StoreError, doing, messages};
use crate::domain::clues::change::Counts;
use crate::domain::cluster::{Cluster, InventoryChange, NewCluster, NewRevision, Phase};
use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, OperationId};
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::names::{ClusterName, HostName, InfrastructureId};

struct Row {
    id: ClusterId,
    name: String,
    host: String,
    phase: String,
    owner_id: i64,
    purpose: Option<String>,
    contact: Option<String>,
    ends_on: Option<chrono::NaiveDate>,
    options: serde_json::Value,
    infrastructure_id: Option<String>,
    address: Option<String>,
    ssh_user: Option<String>,
    host_key: Option<String>,
    revision: i32,
    chart_version: Option<String>,
    kubernetes_version: Option<String>,
    created_at: chrono::DateTime<chrono::Utc>,
}

impl TryFrom<Row> for Cluster {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = |problem: String| StoreError::Unreadable {
            what: "a cluster",
            problem,
        };
        Ok(Self {
            id: row.id,
            name: ClusterName::parse(&row.name).map_err(|e| unreadable(e.to_string()))?,
            host: HostName::parse(&row.host).map_err(|e| unreadable(e.to_string()))?,
            phase: Phase::from_stored(&row.phase)
                .ok_or_else(|| unreadable(format!("phase {}", row.phase)))?,
            owner: DiscordUserId::from_db(row.owner_id),
            purpose: row.purpose,
            contact: row.contact,
            ends_on: row.ends_on,
            options: row.options,
            infrastructure: row
                .infrastructure_id
                .map(|id| InfrastructureId::parse(&id))
                .transpose()
                .map_err(|e| unreadable(e.to_string()))?,
            address: row.address,
            ssh_user: row.ssh_user,
            host_key: row.host_key,
            revision: row.revision,
            chart_version: row.chart_version,
            kubernetes_version: row.kubernetes_version,
            created_at: row.created_at,
        })
    }
}

/// What an operation learns about its cluster; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ClusterFacts {
    /// IM's id.
    pub infrastructure: Option<InfrastructureId>,
    /// The front end's address.
    pub address: Option<String>,
    /// The user to log in as.
    pub ssh_user: Option<String>,
    /// The pinned host key.
    pub host_key: Option<String>,
}

/// Creates the row of a cluster within the caller's transaction.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    now: chrono::DateTime<chrono::Utc>,
    new: &NewCluster,
) -> Result<ClusterId, StoreError> {
    let id = ClusterId::new();
    sqlx::query!(
        "insert into clusters (id, name, host, phase, owner_id, purpose, contact, ends_on, options,
                               kubernetes_version, created_at, changed_at)
         values ($1, $2, $3, 'deploying', $4, $5, $6, $7, $8, $9, $10, $10)",
        id.as_uuid(),
        new.name.as_str(),
        new.host.as_str(),
        new.owner.to_db(),
        new.purpose,
        new.contact,
        new.ends_on,
        new.options,
        new.kubernetes_version,
        now
    )
    .execute(connection)
    .await
    .map_err(taken_or("created a cluster"))?;
    Ok(id)
}

/// An error with a cluster, which may have the name or host of another.
fn taken_or(doing_what: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| {
        let constraint = source
            .as_database_error()
            .and_then(|error| error.constraint());
        match constraint {
            Some("clusters_name_in_use") => StoreError::Taken { what: "name" },
            Some("clusters_host_in_use") => StoreError::Taken { what: "host" },
            Some(_) | None => doing(doing_what)(source),
        }
    }
}

impl Store {
    /// The cluster of this name that exists.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cluster_by_name(&self, name: &str) -> Result<Option<Cluster>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: ClusterId", name, host, phase, owner_id, purpose, contact, ends_on,
                      options, infrastructure_id, address, ssh_user, host_key, revision,
                      chart_version, kubernetes_version, created_at
               from clusters where name = $1 and phase <> 'removed'"#,
            name
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a cluster"))?
        .map(Cluster::try_from)
        .transpose()
    }

    /// The cluster at this host that exists.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cluster_by_host(&self, host: &HostName) -> Result<Option<Cluster>, StoreError> {
        let clusters = self.clusters().await?;
        Ok(clusters.into_iter().find(|cluster| cluster.host == *host))
    }

    /// The cluster with this infrastructure that exists.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cluster_by_infrastructure(
        &self,
        id: &InfrastructureId,
    ) -> Result<Option<Cluster>, StoreError> {
        let mut clusters = self.clusters().await?.into_iter();
        Ok(clusters.find(|cluster| cluster.infrastructure.as_ref() == Some(id)))
    }

    /// The cluster with this id, also if it was removed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cluster(&self, id: ClusterId) -> Result<Option<Cluster>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: ClusterId", name, host, phase, owner_id, purpose, contact, ends_on,
                      options, infrastructure_id, address, ssh_user, host_key, revision,
                      chart_version, kubernetes_version, created_at
               from clusters where id = $1"#,
            id.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a cluster"))?
        .map(Cluster::try_from)
        .transpose()
    }

    /// Every cluster that exists, by name; at most 1,000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clusters(&self) -> Result<Vec<Cluster>, StoreError> {
        sqlx::query_as!(
            Row,
            r#"select id as "id: ClusterId", name, host, phase, owner_id, purpose, contact, ends_on,
                      options, infrastructure_id, address, ssh_user, host_key, revision,
                      chart_version, kubernetes_version, created_at
               from clusters where phase <> 'removed' order by name limit 1000"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the clusters"))?
        .into_iter()
        .map(Cluster::try_from)
        .collect()
    }

    /// Writes what was learnt about a cluster.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if another cluster that exists has the infrastructure.
    pub async fn learn_about_cluster(
        &self,
        id: ClusterId,
        facts: &ClusterFacts,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update clusters set infrastructure_id = coalesce($2, infrastructure_id),
                 address = coalesce($3, address), ssh_user = coalesce($4, ssh_user),
                 host_key = coalesce($5, host_key), changed_at = $6
             where id = $1",
            id.as_uuid(),
            facts.infrastructure.as_ref().map(InfrastructureId::as_str),
            facts.address,
            facts.ssh_user,
            facts.host_key,
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .map_err(|source| {
            let constraint = source
                .as_database_error()
                .and_then(|error| error.constraint());
            match constraint {
                Some("clusters_infrastructure_in_use") => StoreError::Taken {
                    what: "infrastructure",
                },
                Some(_) | None => doing("wrote a cluster")(source),
            }
        })?;
        Ok(())
    }

    /// Gives a cluster another host name.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another cluster is there.
    pub async fn set_host(&self, id: ClusterId, host: &HostName) -> Result<(), StoreError> {
        let done = sqlx::query!(
            "update clusters set host = $2, changed_at = $3,
                 options = jsonb_set(options, '{host}', to_jsonb($2::text))
             where id = $1",
            id.as_uuid(),
            host.as_str(),
            self.clock.now()
        )
        .execute(&self.pool)
        .await;
        done.map(drop).map_err(taken_or("wrote a cluster"))
    }

    /// Forgets the pinned host key, so that the next `keep-access` pins a new one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_infrastructure(&self, id: ClusterId) -> Result<(), StoreError> {
        sqlx::query!(
            "update clusters set infrastructure_id = null, address = null, ssh_user = null,
                 host_key = null, changed_at = $2 where id = $1",
            id.as_uuid(),
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .map_err(doing("wrote a cluster"))?;
        Ok(())
    }

    /// Changes what the inventory says about a cluster, and tells a channel, with its audit row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_inventory(
        &self,
        cluster: &Cluster,
        change: &InventoryChange,
        by: DiscordUserId,
        (notice, channel): (Notice, DiscordChannelId),
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        sqlx::query!(
            "update clusters set owner_id = coalesce($2, owner_id), purpose = coalesce($3, purpose),
                 contact = coalesce($4, contact), ends_on = coalesce($5, ends_on), changed_at = $6
             where id = $1",
            cluster.id.as_uuid(),
            change.owner.map(DiscordUserId::to_db),
            change.purpose,
            change.contact,
            change.ends_on,
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("wrote a cluster"))?;
        let details = serde_json::json!({
            "old": InventoryChange {
                owner: Some(cluster.owner),
                purpose: cluster.purpose.clone(),
                contact: cluster.contact.clone(),
                ends_on: cluster.ends_on,
            },
            "new": change,
        });
        let entry = AuditEntry::by(by, "cluster.transferred", cluster.id.to_string(), details);
        let sequence = audit::append(&mut tx, now, entry).await?;
        let key = format!("transfer/{}/{sequence}", cluster.id);
        let place = Place::Channel(channel);
        messages::tell(&mut tx, now, &key, &MessageKind::Notice(notice), &place).await?;
        tx.commit().await.map_err(doing("committed"))
    }

    /// Takes a cluster out of the inventory and deletes the secrets of these owners, in one
    /// transaction with its audit row. Answers how many secrets there were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_cluster(
        &self,
        id: ClusterId,
        by: OperationId,
        owners: &[SecretOwner],
    ) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let mut forgotten = 0;
        for owner in owners {
            let done = sqlx::query!(
                "delete from secrets where owner_kind = $1 and owner = $2",
                owner.kind(),
                owner.id()
            )
            .execute(&mut *tx)
            .await
            .map_err(doing("removed secrets"))?;
            forgotten += done.rows_affected();
        }
        set_phase(&mut tx, now, id, Phase::Removed).await?;
        let details = serde_json::json!({"operation": by, "secrets": forgotten});
        let entry = AuditEntry::by_bot("cluster.removed", id.to_string(), details);
        audit::append(&mut tx, now, entry).await?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(forgotten)
    }

    /// Keeps how many workers a cluster may have and keeps free, where its options say so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_worker_counts(&self, id: ClusterId, counts: Counts) -> Result<(), StoreError> {
        sqlx::query!(
            "update clusters set changed_at = $4, options = options ||
                 jsonb_build_object('workers_max', $2::bigint, 'workers_min_free', $3::bigint)
             where id = $1",
            id.as_uuid(),
            i64::from(counts.max),
            i64::from(counts.min_free),
            self.clock.now()
        )
        .execute(&self.pool)
        .await
        .map_err(doing("kept numbers of workers"))?;
        Ok(())
    }

    /// Records a revision and raises the cluster's own; the same operation records only once.
    /// Answers the number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_revision(
        &self,
        cluster: ClusterId,
        new: &NewRevision,
    ) -> Result<i32, StoreError> {
        let mut tx = self.begin().await?;
        let known = sqlx::query_scalar!(
            "select number from revisions where cluster_id = $1 and operation_id = $2",
            cluster.as_uuid(),
            new.operation.as_uuid()
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing("read the revisions"))?;
        if let Some(number) = known {
            return Ok(number);
        }
        let source = &new.chart.source;
        let source = (!source.is_configured()).then(|| serde_json::json!(source));
        let now = self.clock.now();
        let number = sqlx::query_scalar!(
            "update clusters set revision = revision + 1, phase = 'running', chart_version = $2,
                 changed_at = $3
             where id = $1 returning revision",
            cluster.as_uuid(),
            new.chart.version,
            now
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(doing("raised a revision"))?;
        sqlx::query!(
            "insert into revisions (cluster_id, number, operation_id, helm_revision, chart_version,
                                    chart_source, values_masked, made_by, reason, made_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            cluster.as_uuid(),
            number,
            new.operation.as_uuid(),
            new.helm_revision,
            new.chart.version,
            source,
            new.values_masked,
            new.made_by.to_db(),
            new.reason,
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("recorded a revision"))?;
        tx.commit().await.map_err(doing("committed"))?;
        Ok(number)
    }
}

/// Sets the phase of a cluster that was never deployed, within the caller's transaction; one that
/// was runs on, whatever becomes of a later operation on it.
pub(crate) async fn set_first_phase(
    connection: &mut PgConnection,
    now: chrono::DateTime<chrono::Utc>,
    id: ClusterId,
    phase: Phase,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update clusters set phase = $2, changed_at = $3 where id = $1 and revision = 0",
        id.as_uuid(),
        phase.as_str(),
        now
    )
    .execute(connection)
    .await
    .map_err(doing("set a phase"))?;
    Ok(())
}

/// Sets the phase within the caller's transaction.
pub(crate) async fn set_phase(
    connection: &mut PgConnection,
    now: chrono::DateTime<chrono::Utc>,
    id: ClusterId,
    phase: Phase,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update clusters set phase = $2, changed_at = $3 where id = $1",
        id.as_uuid(),
        phase.as_str(),
        now
    )
    .execute(connection)
    .await
    .map_err(doing("set a phase"))?;
    Ok(())
}
