//! The door: what a request passes before its effect and after it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Fault, Faults, HoldRule, Place, SeenRequest, Verdict};

/// The longest answer that [`Fault::HalfBody`] can cut, in bytes.
const MAX_CUT_BODY: usize = 64 * 1024 * 1024;

/// Waits at the holds of this place; `false` means that the request is to be forgotten.
async fn wait_at(holds: &[Arc<HoldRule>], place: Place) -> bool {
    for hold in holds.iter().filter(|hold| hold.place == place) {
        let mut verdict = hold.verdict.subscribe();
        hold.waiting.send_modify(|n| *n += 1);
        let goes = match verdict.wait_for(|v| *v != Verdict::Wait).await {
            Ok(verdict) => *verdict == Verdict::Go,
            Err(_) => true,
        };
        if !goes {
            return false;
        }
    }
    true
}

pub(super) async fn pass(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let (faults, holds) = faults.arrive(SeenRequest {
        method: request.method().as_str().to_owned(),
        path: path.to_owned(),
    });
    if faults.is_empty() && holds.is_empty() {
        return next.run(request).await;
    }
    // A task of its own, so that the effect happens even if the client hangs up meanwhile.
    match tokio::spawn(act(faults, holds, request, next)).await {
        Ok(response) => response,
        Err(_) => broken_connection(),
    }
}

async fn act(
    faults: Vec<Fault>,
    holds: Vec<Arc<HoldRule>>,
    request: Request,
    next: Next,
) -> Response {
    // The body is read first: a client that is killed would otherwise take it along.
    let (parts, body) = request.into_parts();
    let upgrade = parts.headers.contains_key(header::UPGRADE);
    let body = if upgrade {
        body
    } else {
        match axum::body::to_bytes(body, MAX_CUT_BODY).await {
            Ok(bytes) => Body::from(bytes),
            Err(_) => return broken_connection(),
        }
    };
    let request = Request::from_parts(parts, body);
    for fault in &faults {
        match fault {
            Fault::Answer {
                status,
                content_type,
                body,
            } => return answer(*status, content_type.as_deref(), body),
            Fault::Slow { delay_ms } => {
                tokio::time::sleep(Duration::from_millis(*delay_ms)).await;
            }
            Fault::DropRequest => return broken_connection(),
            Fault::Hang { for_ms } => {
                tokio::time::sleep(Duration::from_millis(*for_ms)).await;
                return broken_connection();
            }
            Fault::DropAnswer | Fault::HalfBody | Fault::Content { .. } => {}
        }
    }
    if !wait_at(&holds, Place::Before).await {
        return broken_connection();
    }
    let mut response = next.run(request).await;
    if !wait_at(&holds, Place::After).await {
        return broken_connection();
    }
    for fault in faults {
        response = spoil(fault, response).await;
    }
    response
}

/// What a fault does to the true answer.
async fn spoil(fault: Fault, response: Response) -> Response {
    match fault {
        Fault::DropAnswer => broken_connection(),
        Fault::HalfBody => half(response).await,
        Fault::Content { content_type, body } => {
            let (mut parts, _) = response.into_parts();
            parts.headers.remove(header::CONTENT_LENGTH);
            if let Some(value) = content_type.and_then(|t| HeaderValue::from_str(&t).ok()) {
                parts.headers.insert(header::CONTENT_TYPE, value);
            }
            Response::from_parts(parts, Body::from(body))
        }
        Fault::Answer { .. } | Fault::Slow { .. } | Fault::DropRequest | Fault::Hang { .. } => {
            response
        }
    }
}

fn answer(status: u16, content_type: Option<&str>, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = content_type
        .unwrap_or("text/plain; charset=utf-8")
        .to_owned();
    (
        status,
        [(header::CONTENT_TYPE, content_type)],
        body.to_owned(),
    )
        .into_response()
}

/// A response whose body fails before its first byte: hyper then closes the connection without
/// having sent even the head.
fn broken_connection() -> Response {
    let broken = futures::stream::once(async {
        Err::<Bytes, _>(std::io::Error::other("the sandbox drops this connection"))
    });
    Response::new(Body::from_stream(broken))
}

async fn half(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, MAX_CUT_BODY).await else {
        return broken_connection();
    };
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let first = bytes.slice(..bytes.len() / 2);
    let stream = futures::stream::unfold(Some(first), |state| async {
        match state {
            Some(first) => Some((Ok(first), None)),
            None => {
                // The pause lets the first half go out before the connection breaks.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let error = std::io::Error::other("the sandbox breaks this answer off");
                Some((Err::<Bytes, _>(error), None))
            }
        }
    });
    Response::from_parts(parts, Body::from_stream(stream))
}
