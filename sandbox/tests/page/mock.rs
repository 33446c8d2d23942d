//! A stand-in for the page API of `sandbox::discord`, with fixed content and a record of the calls.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::fixture;

/// The pretend server; the content can be changed while a page looks at it.
#[derive(Clone)]
pub(crate) struct Mock {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    messages: Mutex<Vec<Value>>,
    calls: Mutex<Vec<(String, Value)>>,
    events: broadcast::Sender<(&'static str, Value)>,
    cut: tokio::sync::Notify,
}

type Query1 = Query<std::collections::BTreeMap<String, String>>;

impl Mock {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mock = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::new(Inner {
                messages: Mutex::new(fixture::messages()),
                calls: Mutex::default(),
                events: broadcast::channel(64).0,
                cut: tokio::sync::Notify::new(),
            }),
        };
        let api = Router::new()
            .route(
                "/sandbox/api/state",
                get(|| async { Json(fixture::state()) }),
            )
            .route("/sandbox/api/channels/{id}/messages", get(messages))
            .route("/sandbox/api/events", get(events))
            .route("/sandbox/api/command", post(command))
            .route("/sandbox/api/file", post(take_file))
            .route("/sandbox/api/autocomplete", post(autocomplete))
            .route("/sandbox/api/component", post(component))
            .route("/sandbox/api/modal", post(modal))
            .route("/sandbox/api/message", post(message))
            .route("/sandbox/api/reaction", put(react).delete(unreact))
            .route("/sandbox/api/world", get(world).post(act))
            .route("/cdn/{name}", get(file))
            .with_state(mock.clone());
        let app = api.merge(sandbox::page::router());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        mock
    }

    /// The page for a person.
    pub(crate) fn page(&self, person: &str) -> String {
        format!("{}/#as={person}", self.url)
    }

    pub(crate) fn send(&self, kind: &'static str, data: Value) {
        // Nobody may be listening yet; then the page loads the state anyway.
        drop(self.inner.events.send((kind, data)));
    }

    /// Adds or replaces a message and tells the pages.
    pub(crate) fn post(&self, message: Value) {
        self.keep(message.clone());
        self.send("message", message);
    }

    /// Adds or replaces a message and tells nobody.
    pub(crate) fn keep(&self, message: Value) {
        let mut all = self.inner.messages.lock().unwrap();
        all.retain(|one| one["id"] != message["id"]);
        all.push(message);
    }

    /// Ends every stream of events; the pages connect again.
    pub(crate) fn cut(&self) {
        self.inner.cut.notify_waiters();
    }

    /// The calls of one kind so far, oldest first.
    pub(crate) fn calls(&self, kind: &str) -> Vec<Value> {
        let calls = self.inner.calls.lock().unwrap();
        let same = calls.iter().filter(|(one, _)| one == kind);
        same.map(|(_, body)| body.clone()).collect()
    }

    /// Waits for the next call of a kind after `seen` of them.
    pub(crate) async fn call(&self, kind: &str, seen: usize) -> Value {
        for _ in 0..400 {
            if let Some(call) = self.calls(kind).get(seen) {
                return call.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("no call of {kind} after {seen} of them")
    }

    fn record(&self, kind: &str, body: &Value) {
        let mut calls = self.inner.calls.lock().unwrap();
        calls.push((kind.to_owned(), body.clone()));
    }

    fn toggle(&self, body: &Value, add: bool) {
        let all = self.inner.messages.lock().unwrap();
        let mut message = all
            .iter()
            .find(|one| one["id"] == body["message_id"])
            .unwrap()
            .clone();
        drop(all);
        let reactions = message["reactions"].as_array_mut().unwrap();
        let same = reactions
            .iter_mut()
            .find(|one| one["emoji"]["name"] == body["emoji"]);
        let one = same.unwrap();
        one["count"] = json!(one["count"].as_u64().unwrap() + u64::from(add) - u64::from(!add));
        // As the real one: the ids of all who gave it, beside the bot's own view.
        one["users"] = if add { json!([body["as"]]) } else { json!([]) };
        self.post(message);
    }
}

async fn messages(
    State(mock): State<Mock>,
    Path(id): Path<String>,
    Query(query): Query1,
) -> Json<Value> {
    let all = mock.inner.messages.lock().unwrap();
    let shown = all.iter().filter(|one| {
        one["channel_id"] == id.as_str()
            && (one["for"].is_null() || one["for"] == query["as"].as_str())
    });
    Json(shown.cloned().collect())
}

async fn events(
    State(mock): State<Mock>,
    Query(query): Query1,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    mock.record("events", &json!(query));
    let inner = Arc::clone(&mock.inner);
    let cut = async move { inner.cut.notified().await };
    let soon = std::time::Duration::from_millis(100);
    let hello = futures::stream::iter([Ok(Event::default().retry(soon))]);
    let events = BroadcastStream::new(mock.inner.events.subscribe()).filter_map(|event| async {
        let (kind, data) = event.ok()?;
        Some(Ok(Event::default().event(kind).data(data.to_string())))
    });
    Sse::new(hello.chain(events).take_until(Box::pin(cut))).keep_alive(KeepAlive::default())
}

async fn command(State(mock): State<Mock>, Json(body): Json<Value>) -> Response {
    mock.record("command", &body);
    let sub = &body["options"][0]["name"];
    if sub == "list" {
        let text = json!({ "error": "The bot is not connected" });
        return (StatusCode::CONFLICT, Json(text)).into_response();
    }
    let id = "900";
    if sub == "dns" {
        mock.send("modal", fixture::modal());
    } else {
        mock.post(fixture::thinking(&body["as"]));
    }
    Json(json!({ "interaction_id": id })).into_response()
}

async fn take_file(State(mock): State<Mock>, Query(query): Query1, content: String) -> Json<Value> {
    mock.record("file", &json!([query["name"], content]));
    Json(json!({ "id": "8001" }))
}

async fn autocomplete(State(mock): State<Mock>, Json(body): Json<Value>) -> Json<Value> {
    mock.record("autocomplete", &body);
    let options = body["options"][0]["options"].as_array().unwrap();
    let focused = options.iter().find(|one| one["focused"] == true).unwrap();
    let typed = focused["value"].as_str().unwrap();
    let names = [
        "geo.vm.fedcloud.eu",
        "geo-two.vm.fedcloud.eu",
        "ocean.vm.fedcloud.eu",
    ];
    let found = names.iter().filter(|name| name.contains(typed));
    Json(
        json!({ "choices": found.map(|name| json!({ "name": name, "value": name })).collect::<Vec<_>>() }),
    )
}

async fn component(State(mock): State<Mock>, Json(body): Json<Value>) -> Json<Value> {
    mock.record("component", &body);
    let text = "The application did not respond";
    mock.send(
        "interaction_failed",
        json!({ "interaction_id": "901", "text": text }),
    );
    Json(json!({ "interaction_id": "901" }))
}

async fn modal(State(mock): State<Mock>, Json(body): Json<Value>) -> Json<Value> {
    mock.record("modal", &body);
    Json(json!({ "interaction_id": "902" }))
}

async fn message(State(mock): State<Mock>, Json(body): Json<Value>) -> Json<Value> {
    mock.record("message", &body);
    mock.post(fixture::said(
        "8000",
        "ana",
        body["content"].as_str().unwrap(),
    ));
    Json(json!({}))
}

async fn react(State(mock): State<Mock>, Json(body): Json<Value>) -> Json<Value> {
    mock.record("react", &body);
    mock.toggle(&body, true);
    Json(json!({}))
}

async fn unreact(State(mock): State<Mock>, Json(body): Json<Value>) -> Json<Value> {
    mock.record("unreact", &body);
    mock.toggle(&body, false);
    Json(json!({}))
}

async fn world() -> Json<Value> {
    Json(fixture::world())
}

async fn act(State(mock): State<Mock>, Json(body): Json<Value>) -> Json<Value> {
    mock.record("act", &body);
    Json(json!({ "text": "Done in the simulation" }))
}

async fn file() -> impl IntoResponse {
    let text: String = (1..=40)
        .map(|n| format!("line {n}: <b>not markup</b>\n"))
        .collect();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
}
