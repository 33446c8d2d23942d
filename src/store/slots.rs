//! Which replica this process is.
//!
//! A replica holds one of a few numbered slots by an advisory lock of PostgreSQL, which ends with
//! the connection and so with the process, however it dies. The next process that takes the slot
//! knows that the one before is gone, and may take over its leases at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio_util::sync::CancellationToken;

use super::{Store, StoreError, doing};

/// How many replicas may run beside each other.
const SLOTS: i32 = 64;

/// The class of our advisory locks: `pang` in ASCII.
const LOCK_CLASS: i32 = 0x7061_6e67;

/// How often the connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A slot, held as long as its connection lives.
#[derive(Debug)]
pub struct Slot {
    number: i32,
    connection: PgConnection,
    held: Arc<AtomicBool>,
}

/// Tells whether the slot is still held.
#[derive(Clone, Debug)]
pub struct SlotHeld(Arc<AtomicBool>);

impl SlotHeld {
    /// Whether this process may take leases under its name now.
    pub fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

async fn try_lock(connection: &mut PgConnection, number: i32) -> Result<bool, StoreError> {
    sqlx::query_scalar!(
        r#"select pg_try_advisory_lock($1, $2) as "locked!""#,
        LOCK_CLASS,
        number
    )
    .fetch_one(connection)
    .await
    .map_err(doing("took a slot"))
}

impl Store {
    /// Takes the first free slot; `None` if all are taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_slot(&self) -> Result<Option<Slot>, StoreError> {
        let mut connection = self.own_connection().await?;
        for number in 1..=SLOTS {
            if try_lock(&mut connection, number).await? {
                let held = Arc::new(AtomicBool::new(true));
                return Ok(Some(Slot {
                    number,
                    connection,
                    held,
                }));
            }
        }
        Ok(None)
    }

    async fn own_connection(&self) -> Result<PgConnection, StoreError> {
        let options = self.pool.connect_options();
        PgConnection::connect_with(&options)
            .await
            .map_err(doing("connected"))
    }
}

impl Slot {
    /// The replica's name, such as `bot-1`.
    pub fn name(&self) -> String {
        format!("bot-{}", self.number)
    }

    /// Tells whether the slot is still held.
    pub fn held(&self) -> SlotHeld {
        SlotHeld(self.held.clone())
    }

    /// Keeps the slot until the bot ends: takes it again when PostgreSQL was away.
    ///
    /// # Errors
    /// When another process took the slot meanwhile: this process must end.
    pub async fn keep(mut self, store: Store, ended: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = ended.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            if self.held.load(Ordering::Acquire) && self.connection.ping().await.is_ok() {
                continue;
            }
            self.held.store(false, Ordering::Release);
            let Ok(mut connection) = store.own_connection().await else {
                continue;
            };
            match try_lock(&mut connection, self.number).await {
                Ok(true) => {
                    self.connection = connection;
                    self.held.store(true, Ordering::Release);
                    tracing::info!(
                        replica = self.name(),
                        "took the slot again after PostgreSQL was away"
                    );
                }
                Ok(false) => anyhow::bail!("another process took the slot {}", self.name()),
                Err(_) => {}
            }
        }
    }
}
