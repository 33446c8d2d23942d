//! A pretend dead man's switch, such as healthchecks.io: it is asked while all is well, and knows
//! when nobody asks any more.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::faults::Faults;
use crate::serve::Background;

/// The secret part of its address: whoever knows it can keep the switch from going off.
pub const SWITCH_KEY: &str = "5e0c7f0a-dead-man-switch";

/// A switch that was started.
pub struct DeadMansSwitch {
    address: SocketAddr,
    faults: Faults,
    asked: Arc<watch::Sender<Vec<Instant>>>,
    _background: Background,
}

impl DeadMansSwitch {
    /// Starts one on a free port of this machine.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("listen as a dead man's switch")?;
        let (background, faults) = (Background::new(), Faults::new());
        let asked = Arc::new(watch::Sender::new(Vec::new()));
        let router = Router::new()
            .route("/ping/{key}", get(ask))
            .with_state(Arc::clone(&asked));
        let address = listener.local_addr()?;
        background.serve(listener, faults.wrap(router));
        Ok(Self {
            address,
            faults,
            asked,
            _background: background,
        })
    }

    /// What the bot is to ask, with the secret in it.
    pub fn url(&self) -> String {
        format!("http://{}/ping/{SWITCH_KEY}", self.address)
    }

    /// Its faults; an answer that a fault takes the place of does not count as asked.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How often it was asked.
    pub fn times(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Whether nobody asked for so long that it would call people; one that was never asked waits.
    pub fn is_off(&self, after: Duration) -> bool {
        let asked = self.asked.borrow();
        asked.last().is_some_and(|last| last.elapsed() > after)
    }

    /// Waits until it was asked so often.
    ///
    /// # Errors
    /// When it was not within this time.
    pub async fn wait_for(&self, times: usize, patience: Duration) -> anyhow::Result<()> {
        let mut asked = self.asked.subscribe();
        let often = asked.wait_for(|asked| asked.len() >= times);
        let waited = tokio::time::timeout(patience, often).await;
        drop(waited.with_context(|| format!("the switch was not asked {times} times"))?);
        Ok(())
    }
}

async fn ask(
    State(asked): State<Arc<watch::Sender<Vec<Instant>>>>,
    Path(key): Path<String>,
) -> (StatusCode, &'static str) {
    if key != SWITCH_KEY {
        return (StatusCode::NOT_FOUND, "not found");
    }
    asked.send_modify(|asked| asked.push(Instant::now()));
    (StatusCode::OK, "OK")
}
