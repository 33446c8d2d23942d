//! The rows: everything that survives a restart.
//!
//! One file per kind of row. A method is one transaction; what belongs together (a grant and its
//! audit row, an operation and its first message) is written together.
//!
//! **Invariant:** the store decides nothing. It writes what it is told and refuses what the schema
//! forbids; who may and what next is decided in `approvals` and `operations`.
//! **Invariant:** no transaction is held across a call to an outside system.
//! **Invariant:** a write of a running operation names its attempt; a write with an older attempt
//! changes nothing and answers [`StoreError::Fenced`].

pub mod alerts;
pub mod audit;
pub mod clusters;
pub mod ends;
pub mod events;
pub mod facts;
pub mod grants;
pub mod locks;
pub mod log_views;
pub mod messages;
pub mod operations;
pub mod plans;
pub mod proofs;
pub mod revisions;
pub mod samples;
pub mod schedules;
pub mod secrets;
pub mod shares;
pub mod slots;
pub mod vault;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{PgPool, Postgres, Transaction};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;

/// The migrations, compiled in.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The channel on which a replica says that there is something to do.
pub const WAKE_CHANNEL: &str = "pangeo_bot_wake";

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// PostgreSQL refused or is away.
    #[error("the database failed while we {doing}")]
    Database {
        /// What we were doing.
        doing: &'static str,
        /// PostgreSQL's answer.
        #[source]
        source: sqlx::Error,
    },
    /// A row holds something that this version does not know.
    #[error("the row of {what} does not read: {problem}")]
    Unreadable {
        /// The kind of row.
        what: &'static str,
        /// What does not read.
        problem: String,
    },
    /// Another replica has taken the operation over; stop working on it.
    #[error("the operation was taken over by another attempt")]
    Fenced,
    /// A cluster of this name, host or infrastructure exists.
    #[error("a cluster with the same {what} exists")]
    Taken {
        /// `name`, `host` or `infrastructure`.
        what: &'static str,
    },
    /// The migrations do not apply.
    #[error("the migrations do not apply")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Database { source, .. } => {
                // 08: connection, 40: serialisation, 53: resources, 57: operator intervention
                let code = source.as_database_error().and_then(|error| error.code());
                let may_pass = code.is_some_and(|code| {
                    ["08", "40", "53", "57"]
                        .iter()
                        .any(|class| code.starts_with(class))
                });
                let is_away = matches!(
                    source,
                    sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_)
                );
                may_pass || is_away
            }
            StoreError::Unreadable { .. }
            | StoreError::Fenced
            | StoreError::Taken { .. }
            | StoreError::Migrate(_) => false,
        }
    }
}

/// Turns a failed query into what we were doing.
pub(crate) fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { doing, source }
}

/// The way to the rows.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
}

impl Store {
    /// A store over an open pool.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Opens a small pool; ten connections serve one replica well.
    ///
    /// # Errors
    /// When PostgreSQL does not answer within 10 s.
    pub async fn connect(
        options: PgConnectOptions,
        max_connections: u32,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(std::time::Duration::from_secs(10))
            .connect_with(options)
            .await
            .map_err(doing("connected"))?;
        Ok(Self { pool, clock })
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Migrate`] when the database is newer than this binary or a statement fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        MIGRATOR.run(&self.pool).await.map_err(StoreError::Migrate)
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let began = self.pool.begin().await;
        began.map_err(doing("began a transaction"))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query!("select 1 as one")
            .fetch_one(&self.pool)
            .await
            .map_err(doing("pinged"))?;
        Ok(())
    }

    /// The clock that stamps the rows.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Calls `woken` once at the start and whenever a transaction made something to do, until
    /// `ended`.
    ///
    /// # Errors
    /// When the connection breaks; call it again after a pause.
    pub async fn listen(
        &self,
        woken: impl Fn() + Send,
        ended: &CancellationToken,
    ) -> Result<(), StoreError> {
        let connecting = PgListener::connect_with(&self.pool).await;
        let mut listener = connecting.map_err(doing("connected to listen"))?;
        listener
            .listen(WAKE_CHANNEL)
            .await
            .map_err(doing("listened"))?;
        woken();
        loop {
            tokio::select! {
                () = ended.cancelled() => return Ok(()),
                notification = listener.recv() => {
                    notification.map_err(doing("listened"))?;
                    woken();
                }
            }
        }
    }
}

/// Tells every replica that there is something to do, when the transaction commits.
pub(crate) async fn wake(connection: &mut sqlx::PgConnection) -> Result<(), StoreError> {
    sqlx::query!("select pg_notify($1, '') as done", WAKE_CHANNEL)
        .fetch_one(connection)
        .await
        .map_err(doing("woke the replicas"))?;
    Ok(())
}
