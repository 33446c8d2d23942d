//! Faults that a test, or a person at the world's panel, sets on a service.
//!
//! Every service owns one [`Faults`] and wraps its router with [`Faults::wrap`].
//! A request then passes the door twice: *before* its effect and *after* it. At either place a
//! [`Fault`] may change what the client sees, and a [`Hold`] may make the request wait, so that a
//! test can kill the bot exactly there.
//!
//! **Invariant:** a request that reached the service is carried out even if its client is gone,
//! as with a real server; only [`Hold::discard`] and the faults that say so prevent the effect.
//!
//! ```
//! # use sandbox::faults::{Fault, Faults, On, Place};
//! # let faults = Faults::new();
//! // The next create happens, but the bot gets no answer.
//! let lost = faults.inject(On::post("/infrastructures"), Fault::DropAnswer, 1);
//! // Requests for the state wait until the hold is released or dropped.
//! let hold = faults.hold(On::get("/state"), Place::Before);
//! # assert_eq!(lost.hits(), 0);
//! # hold.release();
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How many requests are remembered.
const REMEMBERED_REQUESTS: usize = 20_000;

/// The longest answer that [`Fault::HalfBody`] can cut, in bytes.
const MAX_CUT_BODY: usize = 64 * 1024 * 1024;

/// Which requests are meant. Every part that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct On {
    /// The method in capitals; any if absent.
    pub method: Option<String>,
    /// Part of the path with its query; empty fits all.
    pub path: String,
    /// Whether `path` is the whole path (without the query) instead of a part of it.
    pub exact: bool,
    /// How many requests that fit are let through first.
    pub skip: u32,
}

impl On {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests with this method whose path and query contain `path`.
    pub fn method(method: &str, path: &str) -> Self {
        Self {
            method: Some(method.to_ascii_uppercase()),
            path: path.to_owned(),
            ..Self::default()
        }
    }

    /// `GET` requests whose path and query contain `path`.
    pub fn get(path: &str) -> Self {
        Self::method("GET", path)
    }

    /// `POST` requests whose path and query contain `path`.
    pub fn post(path: &str) -> Self {
        Self::method("POST", path)
    }

    /// `PUT` requests whose path and query contain `path`.
    pub fn put(path: &str) -> Self {
        Self::method("PUT", path)
    }

    /// `PATCH` requests whose path and query contain `path`.
    pub fn patch(path: &str) -> Self {
        Self::method("PATCH", path)
    }

    /// `DELETE` requests whose path and query contain `path`.
    pub fn delete(path: &str) -> Self {
        Self::method("DELETE", path)
    }

    /// Takes `path` as the whole path, the query left aside.
    #[must_use]
    pub fn exactly(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Lets the first `skip` requests that fit through.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    fn fits(&self, seen: &SeenRequest) -> bool {
        let method = self.method.as_ref().is_none_or(|m| *m == seen.method);
        let path = if self.exact {
            seen.path.split('?').next() == Some(self.path.as_str())
        } else {
            seen.path.contains(&self.path)
        };
        method && path
    }
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// This answer instead of the effect.
    Answer {
        /// HTTP status.
        status: u16,
        /// `Content-Type`; `text/plain` if absent.
        #[serde(default)]
        content_type: Option<String>,
        /// The body.
        body: String,
    },
    /// Everything happens, but only after this time.
    Slow {
        /// How long, in milliseconds.
        delay_ms: u64,
    },
    /// The connection is closed before the effect.
    DropRequest,
    /// The effect happens, then the connection is closed without an answer.
    DropAnswer,
    /// The effect happens, but only the first half of the body arrives.
    HalfBody,
    /// The effect happens, but the answer says something else, with the same status.
    Content {
        /// `Content-Type`; unchanged if absent.
        #[serde(default)]
        content_type: Option<String>,
        /// The body.
        body: String,
    },
    /// Nothing happens for this time, then the connection is closed, without an effect.
    Hang {
        /// How long, in milliseconds.
        for_ms: u64,
    },
}

impl Fault {
    /// A plain-text answer instead of the effect.
    pub fn answer(status: u16, body: &str) -> Self {
        Self::Answer {
            status,
            content_type: None,
            body: body.to_owned(),
        }
    }

    /// Everything happens, but only after `delay`.
    pub fn slow(delay: Duration) -> Self {
        Self::Slow {
            delay_ms: millis(delay),
        }
    }

    /// Nothing happens for `time`, then the connection is closed.
    pub fn hang(time: Duration) -> Self {
        Self::Hang {
            for_ms: millis(time),
        }
    }

    /// The true effect, but this body instead of the true one.
    pub fn content(body: &str) -> Self {
        Self::Content {
            content_type: None,
            body: body.to_owned(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Where a held request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Before its effect.
    Before,
    /// After its effect, before its answer.
    After,
}

/// A request that came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenRequest {
    /// The method in capitals.
    pub method: String,
    /// Path and query.
    pub path: String,
}

/// The faults of one service; clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Rules>>);

#[derive(Default)]
struct Rules {
    faults: Vec<Arc<FaultRule>>,
    holds: Vec<Arc<HoldRule>>,
    seen: VecDeque<SeenRequest>,
}

struct FaultRule {
    on: On,
    fault: Fault,
    skip: AtomicU32,
    left: AtomicU32,
    hits: AtomicUsize,
}

struct HoldRule {
    on: On,
    place: Place,
    skip: AtomicU32,
    waiting: watch::Sender<usize>,
    verdict: watch::Sender<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Go,
    Discard,
}

/// Takes one from the counter unless it is 0; tells whether it was taken.
fn take(counter: &AtomicU32) -> bool {
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
        .is_ok()
}

impl Faults {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The router behind these faults.
    pub fn wrap(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), pass))
    }

    /// Sets a fault for the next `times` requests that fit. Several faults on one request all
    /// count; the one set first acts first.
    pub fn inject(&self, on: On, fault: Fault, times: u32) -> Injected {
        let rule = Arc::new(FaultRule {
            skip: AtomicU32::new(on.skip),
            on,
            fault,
            left: AtomicU32::new(times),
            hits: AtomicUsize::new(0),
        });
        self.rules().faults.push(Arc::clone(&rule));
        Injected(rule)
    }

    /// Makes requests that fit wait at `place` until the hold is released, discarded or dropped.
    pub fn hold(&self, on: On, place: Place) -> Hold {
        let rule = Arc::new(HoldRule {
            skip: AtomicU32::new(on.skip),
            on,
            place,
            waiting: watch::Sender::new(0),
            verdict: watch::Sender::new(Verdict::Wait),
        });
        self.rules().holds.push(Arc::clone(&rule));
        Hold {
            rule,
            faults: self.clone(),
        }
    }

    /// Takes away all faults; holds stay.
    pub fn clear(&self) {
        self.rules().faults.clear();
    }

    /// The faults that still wait for requests: which requests, what happens, how often still.
    pub fn active(&self) -> Vec<(On, Fault, u32)> {
        self.rules()
            .faults
            .iter()
            .map(|rule| {
                let left = rule.left.load(Ordering::Acquire);
                (rule.on.clone(), rule.fault.clone(), left)
            })
            .filter(|(_, _, left)| *left > 0)
            .collect()
    }

    /// The requests that came in, oldest first; the last 20,000.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.rules().seen.iter().cloned().collect()
    }

    /// How many requests that fit came in (of those remembered).
    pub fn count(&self, on: &On) -> usize {
        self.rules().seen.iter().filter(|r| on.fits(r)).count()
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the request and finds what was set for it.
    fn arrive(&self, seen: SeenRequest) -> (Vec<Fault>, Vec<Arc<HoldRule>>) {
        let mut rules = self.rules();
        let mut faults = Vec::new();
        for rule in rules.faults.iter().filter(|rule| rule.on.fits(&seen)) {
            if !take(&rule.skip) && take(&rule.left) {
                rule.hits.fetch_add(1, Ordering::AcqRel);
                faults.push(rule.fault.clone());
            }
        }
        rules
            .faults
            .retain(|rule| rule.left.load(Ordering::Acquire) > 0);
        let holds = rules
            .holds
            .iter()
            .filter(|rule| rule.on.fits(&seen) && !take(&rule.skip))
            .cloned()
            .collect();
        if rules.seen.len() >= REMEMBERED_REQUESTS {
            rules.seen.pop_front();
        }
        rules.seen.push_back(seen);
        (faults, holds)
    }
}

/// A fault that was set.
pub struct Injected(Arc<FaultRule>);

impl Injected {
    /// How many requests it hit so far.
    pub fn hits(&self) -> usize {
        self.0.hits.load(Ordering::Acquire)
    }

    /// Takes the fault away before its number of requests came.
    pub fn cancel(&self) {
        self.0.left.store(0, Ordering::Release);
    }
}

/// Requests that wait at the door. Dropping it lets them go.
pub struct Hold {
    rule: Arc<HoldRule>,
    faults: Faults,
}

impl Hold {
    /// Waits until a request stands at the door. The caller sets the deadline.
    pub async fn reached(&self) {
        let mut waiting = self.rule.waiting.subscribe();
        // The sender lives in `self.rule`, so that this can't fail.
        drop(waiting.wait_for(|n| *n > 0).await);
    }

    /// How many requests have come to the door so far.
    pub fn waiting(&self) -> usize {
        *self.rule.waiting.borrow()
    }

    /// Lets the requests go on and ends the hold.
    pub fn release(self) {
        self.end(Verdict::Go);
    }

    /// Forgets the requests as if they had never arrived (their connections close without an
    /// answer; a request held [`Place::After`] has had its effect) and ends the hold.
    pub fn discard(self) {
        self.end(Verdict::Discard);
    }

    fn end(&self, verdict: Verdict) {
        self.faults
            .rules()
            .holds
            .retain(|rule| !Arc::ptr_eq(rule, &self.rule));
        self.rule.verdict.send_if_modified(|current| {
            let first = *current == Verdict::Wait;
            if first {
                *current = verdict;
            }
            first
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end(Verdict::Go);
    }
}

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

async fn pass(State(faults): State<Faults>, request: Request, next: Next) -> Response {
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};

    async fn serve(faults: &Faults) -> (String, Arc<AtomicUsize>) {
        let effects = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&effects);
        let router = Router::new()
            .route("/read", get(|| async { "0123456789" }))
            .route(
                "/do",
                post(move |_: String| async move {
                    counted.fetch_add(1, Ordering::SeqCst);
                    "done"
                }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = faults.wrap(router);
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, effects)
    }

    async fn post_do(url: &str) -> reqwest::Result<reqwest::Response> {
        reqwest::Client::new()
            .post(format!("{url}/do"))
            .body("x")
            .send()
            .await
    }

    #[tokio::test]
    async fn an_answer_is_given_n_times_without_the_effect() {
        let faults = Faults::new();
        let (url, effects) = serve(&faults).await;
        let injected = faults.inject(On::post("/do").after(1), Fault::answer(503, "busy"), 2);
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(post_do(&url).await.unwrap().status().as_u16());
        }
        assert_eq!(statuses, [200, 503, 503, 200]);
        assert_eq!(effects.load(Ordering::SeqCst), 2);
        assert_eq!(injected.hits(), 2);
        assert!(faults.active().is_empty());
        assert_eq!(faults.count(&On::post("/do").exactly()), 4);
        assert_eq!(faults.count(&On::get("/do")), 0);
    }

    #[tokio::test]
    async fn a_dropped_answer_has_its_effect_and_a_dropped_request_has_none() {
        let faults = Faults::new();
        let (url, effects) = serve(&faults).await;
        let _answer = faults.inject(On::any(), Fault::DropAnswer, 1);
        let error = post_do(&url).await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
        assert_eq!(effects.load(Ordering::SeqCst), 1);
        let _request = faults.inject(On::any(), Fault::DropRequest, 1);
        assert!(post_do(&url).await.is_err());
        assert_eq!(effects.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn half_a_body_arrives() {
        let faults = Faults::new();
        let (url, _) = serve(&faults).await;
        let _half = faults.inject(On::get("/read"), Fault::HalfBody, 1);
        let mut response = reqwest::get(format!("{url}/read")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.chunk().await.unwrap().unwrap(), "01234");
        assert!(response.chunk().await.is_err());
    }

    #[tokio::test]
    async fn a_held_request_is_carried_out_even_if_its_client_is_gone() {
        let faults = Faults::new();
        let (url, effects) = serve(&faults).await;
        let hold = faults.hold(On::post("/do"), Place::Before);
        let client = tokio::spawn({
            let url = url.clone();
            async move { post_do(&url).await }
        });
        hold.reached().await;
        client.abort();
        assert!(client.await.is_err());
        assert_eq!(effects.load(Ordering::SeqCst), 0);
        hold.release();
        tokio::time::timeout(Duration::from_secs(5), async {
            while effects.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        // The next one passes, since the hold is over.
        assert_eq!(post_do(&url).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn a_discarded_request_never_happened() {
        let faults = Faults::new();
        let (url, effects) = serve(&faults).await;
        let hold = faults.hold(On::post("/do"), Place::Before);
        let (answer, ()) = tokio::join!(post_do(&url), async {
            hold.reached().await;
            hold.discard();
        });
        assert!(answer.is_err());
        assert_eq!(effects.load(Ordering::SeqCst), 0);
    }
}
