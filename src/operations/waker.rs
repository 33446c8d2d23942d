//! Tells this replica's loops that there is something to do.
//!
//! PostgreSQL's `NOTIFY` comes from the transaction that made the work, so that it is seen within
//! milliseconds on every replica; each loop polls beside it, so that a lost connection only makes
//! things slower.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How long to wait before the connection is tried again.
const RECONNECT_AFTER: Duration = Duration::from_secs(2);

/// Wakes loops.
#[derive(Clone, Debug)]
pub struct Waker(Arc<watch::Sender<u64>>);

impl Waker {
    /// A waker that nobody has woken yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Wakes every loop.
    pub fn wake(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A loop's side: `changed()` returns once there is something to do.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// Listens to PostgreSQL until the bot ends, and wakes the loops.
    pub async fn listen(self, store: Store, ended: CancellationToken) {
        while !ended.is_cancelled() {
            if let Err(error) = store.listen(|| self.wake(), &ended).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "lost the wake-up calls of PostgreSQL; polling meanwhile"
                );
                // A pause that ends with the bot.
                let pause = tokio::time::timeout(RECONNECT_AFTER, ended.cancelled()).await;
                drop(pause);
            }
        }
    }
}

impl Default for Waker {
    fn default() -> Self {
        Self::new()
    }
}
