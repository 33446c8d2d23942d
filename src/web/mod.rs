//! The bot's own pages: health, metrics, and one page for each operation that follows it live.
//!
//! | path | who | what |
//! |---|---|---|
//! | `/healthz` | anyone | the process is alive |
//! | `/readyz` | anyone | the database answers and the gateway is connected, or what is wrong |
//! | `/metrics` | anyone | numbers for Prometheus |
//! | `/operations/<id>` | whoever has a link | the page |
//! | `/operations/<id>/log` | whoever has a link | the whole log as text |
//! | `/operations/<id>/events` | whoever has a link | Server-Sent Events: state and log lines |
//! | `/logs/<id>` | whoever has a link | the page of a log that is followed |
//! | `/logs/<id>/lines` | whoever has a link | its next lines, as JSON |
//! | `/assets/*` | anyone | the page's script and style |
//!
//! How a page flows: [`access`] checks the signature and its end, [`operation`] answers with a
//! fixed HTML file, whose script opens the events; [`follow`] reads the rows again every second
//! and sends what is new. A connection that breaks goes on after the last line that it got.
//!
//! Behind a proxy only `/operations`, `/logs` and `/assets` need to be reachable from outside.
//!
//! **Invariant:** no text from a row reaches a page as HTML: the page is constant, its script sets
//! `textContent`, and the Content-Security-Policy allows no other script.
//! **Invariant:** every text goes through the [`Redactor`].
//! **Invariant:** followers and downloads are counted, each has a deadline, reads go in pages.

mod access;
mod follow;
mod health;
mod log;
mod operation;
mod probe;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::domain::health::Health;
use crate::domain::links::OperationLinks;
use crate::domain::metrics::Metrics;
use crate::domain::redact::Redactor;
use crate::store::Store;

pub use probe::{ProbeError, probe};

/// How many pages may follow operations at the same time.
pub const MAX_FOLLOWERS: usize = 100;

/// How many logs may be downloaded at the same time.
pub const MAX_DOWNLOADS: usize = 8;

/// What the pages show and check.
pub struct WebParts {
    /// The rows.
    pub store: Store,
    /// Signs and checks links.
    pub links: OperationLinks,
    /// Removes secrets.
    pub redactor: Redactor,
    /// The numbers.
    pub metrics: Metrics,
    /// How this replica stands to the gateway.
    pub health: Health,
}

/// What every handler shares.
struct Shared {
    parts: WebParts,
    followers: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    /// Ends followers when the bot stops.
    stop: CancellationToken,
}

type SharedState = Arc<Shared>;

/// All pages. `stop` ends what would otherwise go on for long.
pub fn router(parts: WebParts, stop: CancellationToken) -> Router {
    let shared = Arc::new(Shared {
        parts,
        followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
        downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        stop,
    });
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/operations/{id}", get(operation::page))
        .route("/operations/{id}/log", get(operation::log))
        .route("/operations/{id}/events", get(follow::events))
        .route("/logs/{id}", get(log::page))
        .route("/logs/{id}/lines", get(log::lines))
        .route("/assets/log.js", get(log::script))
        .route("/assets/operation.js", get(operation::script))
        .route("/assets/operation.css", get(operation::style))
        .fallback(access::not_found)
        .layer(axum::middleware::map_response(with_safe_headers))
        .with_state(shared)
}

/// Answers on `listener` until `stop` is cancelled and open requests have ended.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    parts: WebParts,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = router(parts, stop.clone());
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Headers that hold for every answer. The link is the key to the page, so it must not leak
/// through a referrer, a cache, a frame or a search engine.
async fn with_safe_headers(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
        connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
