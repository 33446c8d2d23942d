//! `/api/v10`: one pipeline for every request.
//!
//! Route → token → rate limit → body → API description → handler → journal. A path without a
//! route is an *unexpected call*: 404, and remembered for tests.

mod access;
mod channels;
mod commands;
mod guild;
mod messages;
mod reactions;
mod routes;
mod webhooks;

use std::collections::HashMap;
use std::sync::Weak;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::Value;

pub(crate) use routes::Route;

use super::error::{ApiError, ApiResult, json_response};
use super::journal::Recorded;
use super::limits::{Verdict, rule_of};
use super::{Discord, Server, TOKEN, lock};

/// The largest request, in bytes: ten files and the rest.
const MAX_REQUEST: usize = 105 * 1024 * 1024;

/// A file that came with a request.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// N of `files[N]`.
    pub(crate) index: String,
    pub(crate) filename: String,
    pub(crate) bytes: Bytes,
}

/// A request that passed the pipeline.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) query: HashMap<String, String>,
    pub(crate) body: Value,
    pub(crate) files: Vec<Upload>,
}

/// What a handler answers.
pub(crate) enum Reply {
    /// 200 with JSON.
    Json(Value),
    /// 201 with JSON.
    Created(Value),
    /// 204.
    Empty,
    /// 429 by a limit of its own.
    Limited(Verdict),
}

pub(crate) fn router() -> Router<Weak<Discord>> {
    Router::new()
        .route("/api/{*path}", any(handle))
        .layer(DefaultBodyLimit::disable())
}

/// A request on its way through the pipeline, for the journal.
struct Seen {
    method: String,
    path: String,
    body: Value,
    files: Vec<String>,
}

async fn handle(Server(discord): Server, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let raw = parts.uri.path().trim_start_matches("/api");
    let path = routes::decode(raw.strip_prefix("/v10").unwrap_or(raw));
    let mut seen = Seen {
        method: parts.method.as_str().to_owned(),
        path,
        body: Value::Null,
        files: Vec::new(),
    };
    let Ok(bytes) = axum::body::to_bytes(body, MAX_REQUEST).await else {
        let error = ApiError::new(413, 40005, "Request entity too large");
        return discord.refuse(seen, &error);
    };
    let route = raw
        .starts_with("/v10/")
        .then(|| Route::parse(&seen.method, &seen.path))
        .flatten();
    let Some(route) = route else {
        lock(&discord.journal).unexpected(format!("{} {}", seen.method, seen.path));
        return discord.refuse(seen, &ApiError::not_found());
    };
    if route.needs_token() && !authorized(&parts.headers) {
        return discord.refuse(seen, &ApiError::unauthorized());
    }
    let major = route.major();
    let verdict = lock(&discord.limits).count(rule_of(&route), &major, !route.needs_token());
    if let Some(refusal) = verdict.refusal() {
        discord.record(seen, 429, Value::Null);
        return refusal;
    }
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let query = url::form_urlencoded::parse(query).into_owned().collect();
    let mut response = match read_body(parts, bytes).await {
        Err(error) => discord.refuse(seen, &error),
        Ok((body, files)) => {
            seen.body.clone_from(&body);
            seen.files = files.iter().map(|f| f.filename.clone()).collect();
            discord.act(seen, &route, &Call { query, body, files })
        }
    };
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        verdict.put_headers(response.headers_mut());
    }
    response
}

fn authorized(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION);
    let token = value
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bot "));
    token == Some(TOKEN)
}

/// Reads a JSON body, or a multipart one whose `payload_json` may come after the files.
async fn read_body(parts: Parts, bytes: Bytes) -> ApiResult<(Value, Vec<Upload>)> {
    let kind = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    if kind.starts_with("multipart/form-data") {
        return read_multipart(Request::from_parts(parts, Body::from(bytes))).await;
    }
    if bytes.is_empty() {
        return Ok((Value::Null, Vec::new()));
    }
    if !kind.starts_with("application/json") {
        let message = "Expected \"Content-Type\" header to be one of {'application/json', 'multipart/form-data'}.";
        return Err(ApiError::new(400, 50035, message));
    }
    let body = serde_json::from_slice(&bytes).map_err(|_why| ApiError::bad_json())?;
    Ok((body, Vec::new()))
}

async fn read_multipart(request: Request) -> ApiResult<(Value, Vec<Upload>)> {
    let bad = || ApiError::new(400, 50035, "Invalid Form Body");
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_why| bad())?;
    let mut body = Value::Null;
    let mut files = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|_why| bad())? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "payload_json" {
            let text = field.text().await.map_err(|_why| bad())?;
            body = serde_json::from_str(&text).map_err(|_why| ApiError::bad_json())?;
        } else if let Some(index) = name
            .strip_prefix("files[")
            .and_then(|n| n.strip_suffix(']'))
        {
            let index = index.to_owned();
            let filename = field.file_name().unwrap_or("unknown").to_owned();
            let bytes = field.bytes().await.map_err(|_why| bad())?;
            files.push(Upload {
                index,
                filename,
                bytes,
            });
        }
    }
    Ok((body, files))
}

impl Discord {
    /// Checks the request, carries it out and notes both.
    fn act(&self, seen: Seen, route: &Route, call: &Call) -> Response {
        if let Some(message) = self.judge_request(&seen.method, &seen.path, &call.body) {
            let error = ApiError::new(
                400,
                50035,
                &format!("Not in the API description: {message}"),
            );
            return self.refuse(seen, &error);
        }
        match self.dispatch_route(route, call) {
            Ok(Reply::Json(value)) => self.answer(seen, StatusCode::OK, value),
            Ok(Reply::Created(value)) => self.answer(seen, StatusCode::CREATED, value),
            Ok(Reply::Empty) => {
                self.record(seen, 204, Value::Null);
                StatusCode::NO_CONTENT.into_response()
            }
            Ok(Reply::Limited(verdict)) => {
                self.record(seen, 429, Value::Null);
                verdict
                    .refusal()
                    .unwrap_or_else(|| StatusCode::TOO_MANY_REQUESTS.into_response())
            }
            Err(error) => self.refuse(seen, &error),
        }
    }

    fn answer(&self, seen: Seen, status: StatusCode, value: Value) -> Response {
        self.judge_answer((&seen.method, &seen.path), status.as_u16(), &value);
        let response = json_response(status, &value);
        self.record(seen, status.as_u16(), value);
        response
    }

    fn refuse(&self, seen: Seen, error: &ApiError) -> Response {
        self.record(seen, error.status, error.body());
        error.clone().into_response()
    }

    fn record(&self, seen: Seen, status: u16, answer: Value) {
        lock(&self.journal).record(Recorded {
            method: seen.method,
            path: seen.path,
            body: seen.body,
            files: seen.files,
            status,
            answer,
        });
        self.changed();
    }

    fn dispatch_route(&self, route: &Route, call: &Call) -> ApiResult<Reply> {
        match *route {
            Route::Gateway | Route::GatewayBot => Ok(self.get_gateway(route)),
            Route::Me => Ok(self.get_me()),
            Route::MyApplication => Ok(self.get_application()),
            Route::GetUser(id) => self.get_user(id),
            Route::CreateDm => self.create_dm(call),
            Route::GetGuild(id) => self.get_guild(id),
            Route::GuildChannels(id) => self.get_guild_channels(id),
            Route::GuildRoles(id) => self.get_guild_roles(id),
            Route::GetMember(guild, user) => self.get_member(guild, user),
            Route::ListCommands(app) => self.list_commands(app),
            Route::PutCommands(app) => self.put_commands(app, call),
            Route::CreateCommand(app) => self.create_command(app, call),
            Route::GetCommand(app, id) => self.get_command(app, id),
            Route::EditCommand(app, id) => self.edit_command(app, id, call),
            Route::DeleteCommand(app, id) => self.delete_command(app, id),
            Route::GetChannel(id) => self.get_channel(id),
            Route::EditChannel(id) => self.edit_channel(id, call),
            Route::DeleteChannel(id) => self.delete_channel(id),
            Route::Typing(id) => self.typing(id),
            Route::ThreadFromMessage(channel, message) => {
                self.thread_from_message(channel, message, call)
            }
            Route::CreateThread(channel) => self.create_thread(channel, call),
            Route::JoinThread(id) | Route::ThreadMember(id, _) => self.join_thread(id),
            Route::ListMessages(channel) => self.list_messages(channel, call),
            Route::CreateMessage(channel) => self.create_message(channel, call),
            Route::GetMessage(channel, id) => self.get_message(channel, id),
            Route::EditMessage(channel, id) => self.edit_message(channel, id, call),
            Route::DeleteMessage(channel, id) => self.delete_message(channel, id),
            Route::BulkDelete(channel) => self.bulk_delete(channel, call),
            Route::ListReactions(channel, id, ref emoji) => {
                self.list_reactions((channel, id), emoji, call)
            }
            Route::AddReaction(channel, id, ref emoji) => self.add_reaction((channel, id), emoji),
            Route::RemoveOwnReaction(channel, id, ref emoji) => {
                self.remove_reaction((channel, id), emoji, None)
            }
            Route::RemoveReaction(channel, id, ref emoji, user) => {
                self.remove_reaction((channel, id), emoji, Some(user))
            }
            Route::RemoveEmoji(channel, id, ref emoji) => {
                self.clear_reactions((channel, id), Some(emoji))
            }
            Route::RemoveReactions(channel, id) => self.clear_reactions((channel, id), None),
            Route::Callback(id, ref token) => self.callback(id, token, call),
            Route::FollowUp(app, ref token) => self.follow_up((app, token), call),
            Route::GetResponse(app, ref token, message) => self.get_response((app, token), message),
            Route::EditResponse(app, ref token, message) => {
                self.edit_response((app, token), message, call)
            }
            Route::DeleteResponse(app, ref token, message) => {
                self.delete_response((app, token), message)
            }
        }
    }
}
