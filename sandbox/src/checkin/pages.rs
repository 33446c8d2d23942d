//! The endpoints, with Keycloak's answers.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Device, Inner};
use crate::dns::basic_login;

type Shared = State<Arc<Inner>>;
type Fields = HashMap<String, String>;

pub(super) async fn discovery(State(checkin): Shared) -> Json<Value> {
    let connect = format!("{}/protocol/openid-connect", checkin.issuer);
    Json(json!({
        "issuer": checkin.issuer,
        "authorization_endpoint": format!("{connect}/auth"),
        "token_endpoint": format!("{connect}/token"),
        "introspection_endpoint": format!("{connect}/token/introspect"),
        "userinfo_endpoint": format!("{connect}/userinfo"),
        "jwks_uri": format!("{connect}/certs"),
        "device_authorization_endpoint": format!("{connect}/auth/device"),
        "grant_types_supported": [
            "authorization_code", "refresh_token", "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code"
        ],
        "response_types_supported": ["code"],
        "scopes_supported": [
            "openid", "email", "profile", "eduperson_entitlement", "offline_access"
        ],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }))
}

pub(super) async fn keys(State(checkin): Shared) -> Response {
    Json(checkin.signer.keys()).into_response()
}

/// Keycloak's page; its texts are in `messages_en.properties` and in `OIDCLoginProtocolService`.
fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html><head><title>Sign in to EGI Check-in (simulation)</title></head>\
         <body><h1 id=\"kc-page-title\">{title}</h1>\
         <div id=\"kc-error-message\"><p class=\"instruction\">{text}</p></div></body></html>"
    );
    (status, Html(html)).into_response()
}

fn error_page(text: &str) -> Response {
    page(StatusCode::BAD_REQUEST, "We are sorry...", text)
}

pub(super) async fn authorize(State(checkin): Shared, Query(query): Query<Fields>) -> Response {
    let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    if field("client_id").is_empty() {
        return error_page("Missing parameter: client_id");
    }
    let client = checkin
        .state
        .read()
        .clients
        .get(field("client_id"))
        .cloned();
    let Some(client) = client else {
        return error_page("Client not found.");
    };
    if client.disabled {
        return error_page("Client disabled.");
    }
    let redirect = field("redirect_uri");
    if !client.redirect_uris.iter().any(|uri| uri == redirect) {
        return error_page("Invalid parameter: redirect_uri");
    }
    if field("response_type") != "code" {
        let state = field("state");
        let location =
            format!("{redirect}?error=invalid_request&state={state}&error_description=Missing");
        return (StatusCode::FOUND, [(header::LOCATION, location)]).into_response();
    }
    Html(
        "<!DOCTYPE html>\n<html><head><title>Sign in to EGI Check-in (simulation)</title></head>\
         <body><h1 id=\"kc-page-title\">Sign in to your account</h1>\
         <form id=\"kc-form-login\" method=\"post\"><input name=\"username\">\
         <input name=\"password\" type=\"password\"></form></body></html>",
    )
    .into_response()
}

fn oauth_error(status: StatusCode, error: &str, description: &str) -> Response {
    let body = Json(json!({ "error": error, "error_description": description }));
    (status, body).into_response()
}

/// The client of a request, by HTTP basic or by form fields.
fn client_of(checkin: &Inner, headers: &HeaderMap, form: &Fields) -> Option<String> {
    let (id, secret) = match basic_login(headers) {
        Some((id, secret)) => (id, Some(secret)),
        None => (
            form.get("client_id").cloned().unwrap_or_default(),
            form.get("client_secret").cloned(),
        ),
    };
    let state = checkin.state.read();
    let client = state.clients.get(&id).filter(|client| !client.disabled)?;
    (client.secret.is_none() || client.secret == secret).then_some(id)
}

fn invalid_client() -> Response {
    oauth_error(
        StatusCode::UNAUTHORIZED,
        "invalid_client",
        "Invalid client or Invalid client credentials",
    )
}

/// Both tokens of a person, as the token endpoint gives them out.
fn tokens(checkin: &Inner, user: &str) -> Response {
    let lifetime = checkin.lifetime();
    match checkin.mint(user, lifetime) {
        Ok(access) => Json(json!({
            "access_token": access,
            "expires_in": lifetime.num_seconds(),
            "refresh_token": checkin.new_refresh_token(user),
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "scope": "openid email profile eduperson_entitlement offline_access",
        }))
        .into_response(),
        Err(error) => oauth_error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            &error.to_string(),
        ),
    }
}

pub(super) async fn token(
    State(checkin): Shared,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    let Some(client) = client_of(&checkin, &headers, &form) else {
        return invalid_client();
    };
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let bad = |error, text| oauth_error(StatusCode::BAD_REQUEST, error, text);
    match field("grant_type") {
        "client_credentials" => tokens(&checkin, &format!("service-account-{client}")),
        "refresh_token" => {
            let known = checkin
                .state
                .read()
                .refresh_tokens
                .get(field("refresh_token"))
                .cloned();
            match known {
                Some(user) => tokens(&checkin, &user),
                None => bad("invalid_grant", "Invalid refresh token"),
            }
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            let mut state = checkin.state.change();
            let code = field("device_code");
            match state.devices.get(code).cloned() {
                None => bad("invalid_grant", "Device code not valid"),
                Some(Device {
                    approved_by: None, ..
                }) => bad(
                    "authorization_pending",
                    "The authorization request is still pending",
                ),
                Some(Device { challenge, .. })
                    if !proves(challenge.as_deref(), field("code_verifier")) =>
                {
                    bad("invalid_grant", "PKCE verification failed")
                }
                Some(Device {
                    approved_by: Some(user),
                    ..
                }) => {
                    state.devices.remove(code);
                    drop(state);
                    tokens(&checkin, &user)
                }
            }
        }
        // What RFC 8693 calls an exchange is how EC3's `refresh_token.py` gets a refresh token.
        "urn:ietf:params:oauth:grant-type:token-exchange" => {
            match checkin.valid(field("subject_token")) {
                Some(claims) => tokens(&checkin, &claims.preferred_username),
                None => bad("invalid_token", "Invalid token"),
            }
        }
        _ => bad("unsupported_grant_type", "Unsupported grant_type"),
    }
}

pub(super) async fn device(
    State(checkin): Shared,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    if client_of(&checkin, &headers, &form).is_none() {
        return invalid_client();
    }
    let code = uuid::Uuid::new_v4().simple().to_string();
    let (first, second) = (code.get(..4), code.get(4..8));
    let user_code = format!(
        "{}-{}",
        first.unwrap_or_default(),
        second.unwrap_or_default()
    )
    .to_uppercase();
    checkin.state.change().devices.insert(
        code.clone(),
        Device {
            user_code: user_code.clone(),
            approved_by: None,
            challenge: form.get("code_challenge").cloned(),
        },
    );
    let verification = format!("{}/device", checkin.issuer);
    Json(json!({
        "device_code": code,
        "user_code": user_code,
        "verification_uri": verification,
        "verification_uri_complete": format!("{verification}?user_code={user_code}"),
        "expires_in": 600,
        "interval": 1,
    }))
    .into_response()
}

/// Whether a verifier is the one whose digest came with the code.
fn proves(challenge: Option<&str>, verifier: &str) -> bool {
    let digest = Sha256::digest(verifier.as_bytes());
    challenge.is_none_or(|challenge| URL_SAFE_NO_PAD.encode(digest) == challenge)
}

/// Where a person logs in for a device; the sandbox has no passwords.
pub(super) async fn device_page(Query(query): Query<Fields>) -> Response {
    let code = query.get("user_code").map(String::as_str);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let code: String = code
        .unwrap_or_default()
        .chars()
        .filter(|c| plain(*c))
        .collect();
    Html(format!(
        "<!DOCTYPE html>\n<html><head><title>Sign in to EGI Check-in (simulation)</title></head>\
         <body><h1>Device Login (simulation)</h1><form method=\"post\">\
         <p><label>Code <input name=\"user_code\" value=\"{code}\"></label></p>\
         <p><label>Log in as <input name=\"user\" value=\"{user}\"></label></p>\
         <p>{user} owns the infrastructures; anybody else, such as ana, does not.</p>\
         <button>Log in</button></form></body></html>",
        user = crate::world::BOT_USER,
    ))
    .into_response()
}

pub(super) async fn log_in_on_device(State(checkin): Shared, Form(form): Form<Fields>) -> Response {
    let field = |name: &str| form.get(name).map(|text| text.trim()).unwrap_or_default();
    if checkin.approve_device(field("user_code"), field("user")) {
        page(
            StatusCode::OK,
            "Device Login Successful",
            "You may close this window.",
        )
    } else {
        error_page("Invalid code, please try again.")
    }
}

pub(super) async fn userinfo(State(checkin): Shared, headers: HeaderMap) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let Some(claims) = token.and_then(|token| checkin.valid(token)) else {
        return oauth_error(
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            "Token verification failed",
        );
    };
    Json(json!({
        "sub": claims.sub,
        "name": checkin.person(&claims.preferred_username).name,
        "preferred_username": claims.preferred_username,
        "eduperson_entitlement": claims.eduperson_entitlement,
    }))
    .into_response()
}

pub(super) async fn introspect(
    State(checkin): Shared,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    if client_of(&checkin, &headers, &form).is_none() {
        return invalid_client();
    }
    let token = form.get("token").map(String::as_str).unwrap_or_default();
    let answer = match checkin.valid(token).map(serde_json::to_value) {
        Some(Ok(Value::Object(mut claims))) => {
            claims.insert("active".to_owned(), true.into());
            Value::Object(claims)
        }
        Some(_) | None => json!({ "active": false }),
    };
    Json(answer).into_response()
}
