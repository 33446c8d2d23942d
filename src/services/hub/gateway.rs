//! The Dask gateway as a notebook meets it: behind the hub's proxy, at `/services/dask-gateway/`.
//!
//! Asked is `/api/health`, which needs no login and answers 503 when the gateway can't work
//! (dask-gateway-server 2024.1, `routes.py`). The prefix is what the daskhub chart sets
//! (`dask-gateway.gateway.prefix`).

use reqwest::StatusCode;

use super::{HubClient, HubTarget, get};
use crate::domain::names::HostName;

/// Where its health is told.
const HEALTH: &str = "services/dask-gateway/api/health";

/// The hub itself writes this on every answer of its own (jupyterhub 1.2 to 5, `handlers/base.py`,
/// `set_default_headers`); without it, somebody between says that there is nothing.
const FROM_THE_HUB: &str = "x-jupyterhub-version";

/// What answers at the gateway's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// The gateway.
    Answers,
    /// The hub has no such service: the cluster was made without a gateway.
    Absent,
}

/// Why a gateway does not count as running.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Nothing answers.
    #[error("the gateway of {host} does not answer")]
    Unreachable {
        /// The host.
        host: HostName,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// Something answers that is not a gateway that works.
    #[error("the gateway of {host} answers {status}")]
    Unwell {
        /// The host.
        host: HostName,
        /// The HTTP status.
        status: u16,
    },
    /// The bot's own settings do not fit.
    #[error(transparent)]
    Setup(#[from] super::HubError),
}

impl HubClient {
    /// Asks the gateway of a hub for its health.
    ///
    /// # Errors
    /// See [`GatewayError`]; a hub that is down takes its gateway with it.
    pub async fn check_gateway(&self, target: &HubTarget) -> Result<Gateway, GatewayError> {
        self.calls.count(self.ask_gateway(target)).await
    }

    async fn ask_gateway(&self, target: &HubTarget) -> Result<Gateway, GatewayError> {
        let client = self.client(target, false)?;
        let host = || target.host.clone();
        let answer = get(&client, target, HEALTH).await;
        let answer = answer.map_err(|source| GatewayError::Unreachable {
            host: host(),
            source: source.without_url(),
        })?;
        let is_the_hub = answer.headers().contains_key(FROM_THE_HUB);
        match answer.status() {
            StatusCode::OK => Ok(Gateway::Answers),
            StatusCode::NOT_FOUND if is_the_hub => Ok(Gateway::Absent),
            status => Err(GatewayError::Unwell {
                host: host(),
                status: status.as_u16(),
            }),
        }
    }
}
