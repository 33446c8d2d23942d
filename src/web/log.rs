//! The page of a log that is followed.
//!
//! | path | what |
//! |---|---|
//! | `/logs/<id>` | the page |
//! | `/logs/<id>/lines?after=<line>` | the next lines as JSON, at most [`PAGE_LINES`]; asked for every two seconds. The first time lets a view that waits be followed |

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse};
use serde::{Deserialize, Serialize};

use super::SharedState;
use super::access::{Denied, LinkQuery};
use super::operation::{PAGE_LINES, asset, without_controls};
use crate::domain::ids::LogViewId;
use crate::domain::links::LinkError;
use crate::domain::log_view::{FOLLOWED, LogView};

/// A view whose link was checked.
pub(super) struct AllowedLog(LogView);

impl FromRequestParts<SharedState> for AllowedLog {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, Denied> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_rejection| Denied::Invalid)?;
        let id: LogViewId = id.parse().map_err(|_error| Denied::Invalid)?;
        let Query(query) = Query::<LinkQuery>::from_request_parts(parts, state)
            .await
            .map_err(|_rejection| Denied::Invalid)?;
        let now = state.parts.store.clock().now();
        match state.parts.links.check_log(id, &query.into(), now) {
            Ok(()) => {}
            Err(LinkError::Invalid) => return Err(Denied::Invalid),
            Err(LinkError::Expired) => return Err(Denied::Expired),
        }
        match state.parts.store.log_view(id).await {
            Ok(Some(view)) => Ok(Self(view)),
            Ok(None) => Err(Denied::Unknown),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "a page could not read the log that it shows"
                );
                Err(Denied::Unavailable)
            }
        }
    }
}

/// `/logs/<id>`: a constant page; its script asks for the content.
pub(super) async fn page(AllowedLog(_view): AllowedLog) -> Html<&'static str> {
    Html(include_str!("assets/log.html"))
}

/// The page's script.
pub(super) async fn script() -> impl IntoResponse {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("assets/log.js"),
    )
}

/// Which lines.
#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    after: i64,
}

/// What the page shows.
#[derive(Serialize)]
struct Shown {
    cluster: String,
    source: String,
    ended: bool,
    problem: Option<String>,
    waits: bool,
    follow_until: chrono::DateTime<chrono::Utc>,
    lines: Vec<ShownLine>,
}

#[derive(Serialize)]
struct ShownLine {
    line: i64,
    text: String,
}

/// `/logs/<id>/lines`.
pub(super) async fn lines(
    State(state): State<SharedState>,
    Query(from): Query<From>,
    AllowedLog(view): AllowedLog,
) -> Result<impl IntoResponse, Denied> {
    if view.waits {
        let until = state.parts.store.clock().now() + FOLLOWED;
        let woken = state.parts.store.wake_log_view(view.id, until).await;
        woken.map_err(|_error| Denied::Unavailable)?;
    }
    let permit = state.followers.clone().try_acquire_owned();
    let _permit = permit.map_err(|_error| Denied::Busy)?;
    let read = state
        .parts
        .store
        .log_view_lines_after(view.id, from.after.max(0), PAGE_LINES);
    let lines = read.await.map_err(|_error| Denied::Unavailable)?;
    let redactor = &state.parts.redactor;
    let clean = |text: &str| redactor.redact(&without_controls(text)).into_owned();
    Ok(Json(Shown {
        // A view that has ended may still have lines that the page lacks.
        ended: view.ended_at.is_some() && lines.is_empty(),
        cluster: view.cluster,
        source: view.pod.unwrap_or(view.source),
        problem: view.problem.as_deref().map(clean),
        waits: view.waits,
        follow_until: view.follow_until,
        lines: lines
            .iter()
            .map(|line| ShownLine {
                line: line.line,
                text: clean(&line.text),
            })
            .collect(),
    }))
}
