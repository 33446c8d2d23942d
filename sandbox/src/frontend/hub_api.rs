//! The pretend hub's API for a user's own server, with a token that the user made.

use axum::Json;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared;
use super::state::{Cluster, Server};

/// What the test user's server asks for, as the profile of a small notebook does.
const SIZE: (u64, u64) = (1000, 2_000_000_000);

/// What the API answers below `/hub/api`; `None` if it is none of these.
pub(super) fn answer(
    shared: &Shared,
    infrastructure: &str,
    (method, path, headers): (&Method, &str, &HeaderMap),
) -> Option<Response> {
    let path = path.strip_prefix("/hub/api/")?;
    let parts: Vec<&str> = path.split('/').collect();
    let is_mine = matches!(parts.as_slice(), ["user"] | ["users", ..]);
    if !is_mine {
        return None;
    }
    let token = headers.get(header::AUTHORIZATION);
    let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("token "));
    let whose = shared.look(infrastructure, |cluster| {
        token.and_then(|token| cluster.hub_tokens.get(token).cloned())
    });
    let Some(user) = whose.flatten() else {
        return Some(refusal(StatusCode::FORBIDDEN));
    };
    let own = |name: &&str| *name == user;
    let answer = match (method.as_str(), parts.as_slice()) {
        ("GET", ["user"]) => shown(shared, infrastructure, &user),
        // A user sees nobody else.
        (_, ["users", name, ..]) if !own(name) => refusal(StatusCode::NOT_FOUND),
        ("GET", ["users", _]) => shown(shared, infrastructure, &user),
        ("POST", ["users", _, "server"]) => {
            let status = shared.change(infrastructure, |cluster| start(cluster, &user));
            status.unwrap_or(StatusCode::BAD_GATEWAY).into_response()
        }
        ("DELETE", ["users", _, "server"]) => {
            let status = shared.change(infrastructure, |cluster| stop(cluster, &user));
            status.unwrap_or(StatusCode::BAD_GATEWAY).into_response()
        }
        _ => refusal(StatusCode::NOT_FOUND),
    };
    Some(answer)
}

fn refusal(status: StatusCode) -> Response {
    let text = status.canonical_reason().unwrap_or_default();
    (
        status,
        Json(json!({ "status": status.as_u16(), "message": text })),
    )
        .into_response()
}

fn shown(shared: &Shared, infrastructure: &str, user: &str) -> Response {
    let servers = shared.look(infrastructure, |cluster| {
        let server = cluster.servers.iter().find(|server| server.user == user);
        server.map_or_else(|| json!({}), |server| json!({ "": of(server) }))
    });
    Json(json!({
        "kind": "user", "name": user, "admin": user == "admin", "groups": [],
        "servers": servers
    }))
    .into_response()
}

fn of(server: &Server) -> Value {
    let ready = server.node.is_some() && server.trouble.is_none();
    json!({
        "name": "", "ready": ready, "pending": if ready { Value::Null } else { json!("spawn") },
        "started": server.since, "url": format!("/user/{}/", server.user)
    })
}

fn start(cluster: &mut Cluster, user: &str) -> StatusCode {
    if cluster.servers.iter().any(|server| server.user == user) {
        return StatusCode::BAD_REQUEST;
    }
    cluster.servers.push(Server::new(user, SIZE, None));
    StatusCode::ACCEPTED
}

/// A server that still starts can't be stopped.
fn stop(cluster: &mut Cluster, user: &str) -> StatusCode {
    let server = cluster.servers.iter().find(|server| server.user == user);
    match server {
        None => StatusCode::NOT_FOUND,
        Some(server) if server.node.is_none() => StatusCode::BAD_REQUEST,
        Some(_) => {
            cluster.servers.retain(|server| server.user != user);
            StatusCode::NO_CONTENT
        }
    }
}
