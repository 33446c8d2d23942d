//! What all services of the sandbox need: a port, a task that serves, a task that saves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::serve::ListenerExt as _;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::saved::Saved;

/// How often a changed state is written to its file.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The background tasks of one service. When it is dropped they end, and the state is saved.
#[derive(Default)]
pub(crate) struct Background {
    ended: CancellationToken,
    saves: Vec<Box<dyn Fn() + Send + Sync>>,
}

impl Background {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled at the end.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Runs a task until it is done or the service ends.
    pub(crate) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Serves HTTP on the listener until the service ends. Idle connections are then closed.
    pub(crate) fn serve(&self, listener: TcpListener, router: Router) {
        let ended = self.ended();
        tokio::spawn(async move {
            // Without this an answer may wait 40 ms for the ACK of the one before (Nagle with
            // delayed ACKs), which no public API does.
            let listener = listener.tap_io(|stream| {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::warn!(%error, "a connection of the sandbox stays slow");
                }
            });
            let stopped = axum::serve(listener, router)
                .with_graceful_shutdown(async move { ended.cancelled().await });
            if let Err(error) = stopped.await {
                tracing::error!(%error, "a sandbox service stopped");
            }
        });
    }

    /// Writes the state every second if it changed, and at the end.
    pub(crate) fn keep<T>(&mut self, state: Arc<Saved<T>>)
    where
        T: Serialize + DeserializeOwned + Default + Send + 'static,
    {
        let save = move || {
            if let Err(error) = state.save() {
                tracing::error!(error = format!("{error:#}"), "can't save the sandbox");
            }
        };
        self.saves.push(Box::new(save.clone()));
        self.run(async move {
            loop {
                tokio::time::sleep(SAVE_EVERY).await;
                save();
            }
        });
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.ended.cancel();
        for save in &self.saves {
            save();
        }
    }
}

/// Opens a port; port 0 takes a free one.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr().context("read the port")?;
    Ok((listener, address))
}
