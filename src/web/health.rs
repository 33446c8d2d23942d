//! Whether the bot is well, and its numbers.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{MAX_FOLLOWERS, SharedState};
use crate::domain::health::Gateway;

/// How long the database may take to answer before it counts as away.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

/// `/healthz`: the process is alive and answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// `/readyz`: 200 if people can use the bot now, else 503; says why in either case.
pub(super) async fn ready(State(state): State<SharedState>) -> Response {
    let mut text = String::new();
    let database = match tokio::time::timeout(DATABASE_PATIENCE, state.parts.store.ping()).await {
        Ok(Ok(())) => Ok("answers"),
        Ok(Err(_)) => Err("does not answer"),
        Err(_) => Err("did not answer within 2 s"),
    };
    let gateway = state.parts.health.gateway();
    let words = database.unwrap_or_else(|words| words);
    // Writing to a String does not fail.
    let _written = writeln!(text, "database: {words}\ngateway: {}", gateway.as_str());
    let status = if database.is_ok() && gateway.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, text).into_response()
}

/// `/metrics`: the numbers, with those that only the rows know.
pub(super) async fn metrics(State(state): State<SharedState>) -> Response {
    let metrics = &state.parts.metrics;
    let waiting = tokio::time::timeout(DATABASE_PATIENCE, state.parts.store.messages_due()).await;
    if let Ok(Ok(waiting)) = waiting {
        metrics.set_outbox_waiting(waiting);
    }
    let connected = state.parts.health.gateway() == Gateway::Connected;
    metrics.set_gateway_connected(connected);
    metrics.set_log_followers(MAX_FOLLOWERS - state.followers.available_permits());
    const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.to_text() {
        Ok(text) => ([(header::CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
