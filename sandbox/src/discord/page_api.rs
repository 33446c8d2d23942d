//! The page's own API, under `/sandbox/api/`: JSON, errors as `{"error": "text for the person"}`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Weak;
use std::time::Duration;

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_stream::wrappers::BroadcastStream;

use super::client::{Refused, Use};
use super::events::page_message;
use super::ids::Id;
use super::shapes;
use super::state::{APPLICATION, GUILD, PANGEO_CHANNEL, State};
use super::{Discord, Server};

/// How many messages of a channel the page gets.
const MESSAGES: usize = 200;

pub(crate) fn router() -> Router<Weak<Discord>> {
    Router::new()
        .route("/sandbox/api/state", get(state))
        .route("/sandbox/api/channels/{id}/messages", get(messages))
        .route("/sandbox/api/events", get(events))
        .route("/sandbox/api/command", post(command))
        .route("/sandbox/api/file", post(take_file))
        .route("/sandbox/api/autocomplete", post(autocomplete))
        .route("/sandbox/api/component", post(component))
        .route("/sandbox/api/modal", post(modal))
        .route("/sandbox/api/message", post(say).delete(delete_message))
        .route(
            "/sandbox/api/reaction",
            axum::routing::put(react).delete(unreact),
        )
        .route("/sandbox/api/world", get(world).post(world_act))
}

struct PageError(StatusCode, String);

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<Refused> for PageError {
    fn from(refused: Refused) -> Self {
        Self(StatusCode::BAD_REQUEST, refused.0)
    }
}

type PageResult = Result<Json<Value>, PageError>;

fn started(id: Id) -> PageResult {
    Ok(Json(json!({"interaction_id": id})))
}

async fn state(Server(discord): Server) -> Json<Value> {
    let online = discord.bot_online();
    Json(page_state(&discord.state.read(), online))
}

fn page_state(state: &State, online: bool) -> Value {
    let people: Vec<_> = state
        .people
        .iter()
        .map(|p| {
            json!({
                "id": p.id, "username": p.username, "display_name": p.display_name,
                "bot": p.bot, "roles": p.roles, "color": p.color,
            })
        })
        .collect();
    let roles: Vec<_> = state
        .roles
        .iter()
        .map(|r| json!({"id": r.id, "name": r.name, "color": format!("#{:06x}", r.color)}))
        .collect();
    json!({
        "people": people,
        "bot_user_id": APPLICATION,
        "guild": {"id": GUILD, "name": "Pangeo VO"},
        "roles": roles,
        "channels": state.page_channels(),
        "commands": state.commands,
        "bot_online": online,
        "default_channel_id": PANGEO_CHANNEL,
    })
}

#[derive(Deserialize)]
struct As {
    r#as: Option<Id>,
}

async fn messages(
    Server(discord): Server,
    Path(id): Path<Id>,
    Query(who): Query<As>,
) -> PageResult {
    let state = discord.state.read();
    let viewer = who.r#as;
    if let (Some(viewer), true) = (viewer, state.channels.contains_key(&id)) {
        state.channel_of(viewer, id)?;
    }
    let all = state
        .messages
        .get(&id)
        .into_iter()
        .flat_map(|m| m.values().rev());
    let mut shown: Vec<_> = all
        .filter(|m| m.only_for.is_none_or(|only| Some(only) == viewer))
        .take(MESSAGES)
        .map(|m| page_message(&state, m))
        .collect();
    shown.reverse();
    Ok(Json(Value::Array(shown)))
}

async fn events(
    Server(discord): Server,
    Query(who): Query<As>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let viewer = who.r#as;
    let mut serial = 0_u64;
    // A page that is too slow loses its stream and fetches everything again.
    let seen = BroadcastStream::new(discord.page.subscribe())
        .take_while(|event| std::future::ready(event.is_ok()))
        .filter_map(move |event| {
            let shown = event.ok().filter(|e| {
                let only = e.only.as_ref();
                only.is_none_or(|people| viewer.is_some_and(|v| people.contains(&v)))
            });
            let event = shown.map(|e| {
                serial += 1;
                let event = Event::default().event(e.event).id(serial.to_string());
                Ok(event.data(e.data.to_string()))
            });
            std::future::ready(event)
        });
    Sse::new(seen).keep_alive(
        KeepAlive::new()
            .interval(Duration::from_secs(15))
            .text("ping"),
    )
}

#[derive(Deserialize)]
struct CommandBody {
    r#as: Id,
    channel_id: Id,
    command_id: String,
    #[serde(default)]
    options: Vec<Value>,
}

impl CommandBody {
    fn as_use(&self) -> Use<'_> {
        Use {
            user: self.r#as,
            channel: self.channel_id,
            command: &self.command_id,
            options: &self.options,
        }
    }
}

async fn command(Server(discord): Server, Json(body): Json<CommandBody>) -> PageResult {
    started(discord.use_command(&body.as_use(), false, None)?)
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// A file that a command will name by its id.
async fn take_file(
    Server(discord): Server,
    Query(file): Query<Named>,
    content: axum::body::Bytes,
) -> Json<Value> {
    Json(json!({"id": discord.take_file(&file.name, content)}))
}

async fn autocomplete(Server(discord): Server, Json(body): Json<CommandBody>) -> PageResult {
    let id = discord.use_command(&body.as_use(), true, None)?;
    let choices = discord.choices_of(id).await.map_err(|_why| {
        PageError(
            StatusCode::GATEWAY_TIMEOUT,
            "Loading options failed".to_owned(),
        )
    })?;
    let choices: Vec<_> = choices
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    Ok(Json(json!({"choices": choices})))
}

#[derive(Deserialize)]
struct ComponentBody {
    r#as: Id,
    channel_id: Id,
    message_id: Id,
    custom_id: String,
    values: Option<Vec<String>>,
}

async fn component(Server(discord): Server, Json(body): Json<ComponentBody>) -> PageResult {
    let at = (body.channel_id, body.message_id);
    started(discord.use_component(body.r#as, at, &body.custom_id, body.values)?)
}

#[derive(Deserialize)]
struct ModalBody {
    r#as: Id,
    interaction_id: Id,
    #[serde(default)]
    fields: Map<String, Value>,
}

async fn modal(Server(discord): Server, Json(body): Json<ModalBody>) -> PageResult {
    started(discord.submit_modal(body.r#as, body.interaction_id, &body.fields)?)
}

#[derive(Deserialize)]
struct SayBody {
    r#as: Id,
    channel_id: Id,
    content: String,
}

async fn say(Server(discord): Server, Json(body): Json<SayBody>) -> PageResult {
    let message = discord.say(body.r#as, body.channel_id, &body.content)?;
    Ok(Json(shapes::message(&discord.state.read(), &message)))
}

#[derive(Deserialize)]
struct MessageBody {
    r#as: Id,
    channel_id: Id,
    message_id: Id,
    #[serde(default)]
    emoji: String,
}

async fn delete_message(Server(discord): Server, Json(body): Json<MessageBody>) -> PageResult {
    discord.delete_as(body.r#as, (body.channel_id, body.message_id))?;
    Ok(Json(json!({})))
}

async fn react(Server(discord): Server, Json(body): Json<MessageBody>) -> PageResult {
    let at = (body.channel_id, body.message_id);
    discord.react(body.r#as, at, &body.emoji, true)?;
    Ok(Json(json!({})))
}

async fn unreact(Server(discord): Server, Json(body): Json<MessageBody>) -> PageResult {
    let at = (body.channel_id, body.message_id);
    discord.react(body.r#as, at, &body.emoji, false)?;
    Ok(Json(json!({})))
}

async fn world(Server(discord): Server) -> Json<Value> {
    Json(discord.world_panel())
}

#[derive(Deserialize)]
struct WorldBody {
    action: String,
    #[serde(default)]
    args: HashMap<String, Value>,
}

async fn world_act(Server(discord): Server, Json(body): Json<WorldBody>) -> PageResult {
    let args = body.args.into_iter().collect();
    match discord.world_act(&body.action, args).await {
        Ok(text) => {
            discord.world_changed();
            Ok(Json(json!({"text": text})))
        }
        Err(error) => Err(PageError(StatusCode::BAD_REQUEST, format!("{error:#}"))),
    }
}
