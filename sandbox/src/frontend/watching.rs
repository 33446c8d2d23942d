//! `watch=1` of the pretend Kubernetes API: a line of JSON for each change, until the client or the
//! time limit ends it.
//!
//! Source: Kubernetes, API concepts, "Efficient detection of changes" and "Watch bookmarks" (read
//! 2026-11). As in the real server, that a version is too old is an event with status 200.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::FrontEnds;
use super::history::{Change, History, Kind, Orders};
use super::kubernetes::status;

/// How long a watch lasts that names no limit; the real server chooses 30 to 60 minutes.
const LIMIT: Duration = Duration::from_secs(1800);

/// How often a bookmark comes.
const BOOKMARK_EVERY: Duration = Duration::from_secs(15);

/// What a list or a watch is asked for, beside its path.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Asked {
    watch: String,
    resource_version: String,
    allow_watch_bookmarks: String,
    send_initial_events: String,
    timeout_seconds: Option<u64>,
    field_selector: String,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    after: Option<usize>,
}

fn yes(text: &str) -> bool {
    matches!(text, "1" | "true")
}

impl Asked {
    fn is_watch(&self) -> bool {
        yes(&self.watch)
    }

    /// Whether an object is meant.
    fn fits(&self, namespace: Option<&str>, object: &Value) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        self.selected()
            .all(|(pointer, value)| pointer.is_some_and(|pointer| text(pointer) == Some(value)))
            && namespace.is_none_or(|namespace| text("/metadata/namespace") == Some(namespace))
    }

    /// The fields that are asked for, as JSON pointers with their values; `None` for one by which the
    /// real server does not select (`pkg/apis/core/v1/conversion.go`), or that is not equality.
    fn selected(&self) -> impl Iterator<Item = (Option<&'static str>, &str)> {
        let parts = self
            .field_selector
            .split(',')
            .filter(|part| !part.is_empty());
        parts.map(|part| {
            let (field, value) = part.split_once('=').unwrap_or((part, ""));
            let pointer = match field {
                "metadata.name" => Some("/metadata/name"),
                "spec.nodeName" => Some("/spec/nodeName"),
                "status.phase" => Some("/status/phase"),
                "type" => Some("/type"),
                "reason" => Some("/reason"),
                "involvedObject.kind" => Some("/involvedObject/kind"),
                "involvedObject.name" => Some("/involvedObject/name"),
                _other => None,
            };
            (pointer, value)
        })
    }

    /// The page that is asked for, as the API parts long lists (Kubernetes, API concepts,
    /// "Retrieving large results sets in chunks").
    fn page(&self, kind: Kind, items: Vec<Value>, version: u64) -> Value {
        let (from, all) = (self.after.unwrap_or(0), items.len());
        let to = self.limit.map_or(all, |limit| (from + limit).min(all));
        let page: Vec<Value> = items.into_iter().take(to).skip(from).collect();
        let version = version.to_string();
        let metadata = if to < all {
            let (next, left) = (to.to_string(), all - to);
            json!({ "resourceVersion": version, "continue": next, "remainingItemCount": left })
        } else {
            json!({ "resourceVersion": version })
        };
        json!({
            "kind": format!("{}List", kind.word()), "apiVersion": "v1", "metadata": metadata,
            "items": page
        })
    }
}

/// The answer to a list or a watch.
pub(super) fn answer(
    history: Arc<History>,
    kind: Kind,
    namespace: Option<&str>,
    asked: Asked,
) -> Response {
    if asked.selected().any(|(pointer, _)| pointer.is_none()) {
        let text = format!("field label not supported: {}", asked.field_selector);
        return status(StatusCode::BAD_REQUEST, &text);
    }
    if asked.is_watch() {
        let watch = Watch::new(history, kind, namespace, asked);
        let lines = futures::stream::unfold(watch, Watch::next);
        let head = [(header::CONTENT_TYPE, "application/json")];
        return (head, Body::from_stream(lines)).into_response();
    }
    let (mut items, version) = history.list(kind);
    items.retain(|item| asked.fits(namespace, item));
    axum::Json(asked.page(kind, items, version)).into_response()
}

/// One watch.
struct Watch {
    history: Arc<History>,
    kind: Kind,
    namespace: Option<String>,
    asked: Asked,
    version: u64,
    lines: VecDeque<Value>,
    versions: watch::Receiver<u64>,
    orders: watch::Receiver<Orders>,
    ends: u32,
    until: Instant,
    bookmark_at: Instant,
    ended: bool,
}

impl Watch {
    fn new(history: Arc<History>, kind: Kind, namespace: Option<&str>, asked: Asked) -> Self {
        let limit = asked.timeout_seconds.map_or(LIMIT, Duration::from_secs);
        let (versions, orders) = (history.versions(), history.orders());
        let ends = orders.borrow().ends;
        let mut watch = Self {
            version: asked.resource_version.parse().unwrap_or_default(),
            namespace: namespace.map(str::to_owned),
            lines: VecDeque::new(),
            until: Instant::now() + limit,
            bookmark_at: Instant::now() + BOOKMARK_EVERY,
            ended: false,
            ends,
            history,
            kind,
            asked,
            versions,
            orders,
        };
        let wants_all = yes(&watch.asked.send_initial_events);
        if watch.version == 0 || wants_all {
            watch.begin(wants_all);
        }
        watch
    }

    /// Tells of everything that there is as if it were new.
    fn begin(&mut self, with_bookmark: bool) {
        let (objects, version) = self.history.list(self.kind);
        for object in objects {
            self.tell("ADDED", object);
        }
        self.version = version;
        if with_bookmark {
            let annotations = json!({ "k8s.io/initial-events-end": "true" });
            self.bookmark(annotations);
        }
    }

    fn tell(&mut self, what: &str, object: Value) {
        if self.asked.fits(self.namespace.as_deref(), &object) {
            let mut object = object;
            if let Some(fields) = object.as_object_mut() {
                fields.insert("kind".to_owned(), json!(self.kind.word()));
                fields.insert("apiVersion".to_owned(), json!("v1"));
            }
            self.lines
                .push_back(json!({ "type": what, "object": object }));
        }
    }

    fn bookmark(&mut self, annotations: Value) {
        let version = self.version.to_string();
        self.lines.push_back(json!({ "type": "BOOKMARK", "object": {
            "kind": self.kind.word(), "apiVersion": "v1",
            "metadata": { "resourceVersion": version, "annotations": annotations }
        } }));
    }

    fn expire(&mut self, oldest: u64) {
        let message = format!("too old resource version: {} ({oldest})", self.version);
        self.lines.push_back(json!({ "type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Expired", "code": 410
        } }));
        self.ended = true;
    }

    /// Takes in what changed.
    fn follow(&mut self) {
        match self.history.after(self.kind, self.version) {
            Err(expired) => self.expire(expired.oldest),
            Ok((changes, version)) => {
                self.version = version;
                for Change { what, object, .. } in changes {
                    self.tell(what, object);
                }
            }
        }
    }

    /// The next lines, and the watch after them; `None` at its end.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            if !self.lines.is_empty() {
                let lines: String = self.lines.drain(..).map(|l| format!("{l}\n")).collect();
                return Some((Ok(Bytes::from(lines)), self));
            }
            if self.ended {
                return None;
            }
            self.versions.mark_unchanged();
            self.follow();
            if self.ended || !self.lines.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.versions.changed() => self.ended |= changed.is_err(),
                _ = self.orders.changed() => {
                    let orders = *self.orders.borrow_and_update();
                    if orders.ends != self.ends {
                        return None;
                    }
                    self.follow();
                }
                () = tokio::time::sleep_until(self.until) => return None,
                () = tokio::time::sleep_until(self.bookmark_at) => {
                    self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
                    if yes(&self.asked.allow_watch_bookmarks) {
                        self.bookmark(json!({}));
                    }
                }
            }
        }
    }
}

impl FrontEnds {
    /// Ends all watches of a cluster's Kubernetes API, as a restart of the API server does.
    pub fn end_watches(&self, infrastructure: &str) {
        self.shared.history(infrastructure).end_watches();
    }

    /// Lets a cluster's Kubernetes API forget what changed: watches are told `410 Expired`, and so
    /// is whoever wants to go on from a version that was seen before.
    pub fn expire_watches(&self, infrastructure: &str) {
        self.shared.history(infrastructure).expire_watches();
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::super::state::{Cluster, PowerState, Server, Trouble, WorkerNode};
    use super::*;

    fn server(user: &str, trouble: Option<Trouble>) -> Server {
        Server::new(user, (1000, 1 << 30), trouble)
    }

    fn asked(query: &str) -> Asked {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let object: serde_json::Map<String, Value> = pairs
            .into_iter()
            .map(|(name, value)| match value.parse::<u64>() {
                Ok(number) if matches!(&*name, "timeoutSeconds" | "limit" | "continue") => {
                    (name, json!(number))
                }
                _text => (name, json!(value)),
            })
            .collect();
        serde_json::from_value(Value::Object(object)).unwrap()
    }

    async fn list(history: &Arc<History>, kind: Kind, query: &str) -> Value {
        let answer = answer(Arc::clone(history), kind, None, asked(query));
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20)
            .await
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// A watch, read line by line.
    struct Lines(axum::body::BodyDataStream, VecDeque<Value>);

    impl Lines {
        fn of(history: &Arc<History>, kind: Kind, query: &str) -> Self {
            let answer = answer(Arc::clone(history), kind, None, asked(query));
            Self(answer.into_body().into_data_stream(), VecDeque::new())
        }

        async fn next(&mut self) -> Option<Value> {
            while self.1.is_empty() {
                let next = tokio::time::timeout(Duration::from_secs(5), self.0.next());
                let bytes = next.await.expect("nothing came in 5 s")?.unwrap();
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                self.1.extend(lines);
            }
            self.1.pop_front()
        }

        /// What happened and to which object.
        async fn told(&mut self) -> String {
            let line = self.next().await.expect("the watch goes on");
            let name = &line["object"]["metadata"]["name"];
            format!(
                "{} {}",
                line["type"].as_str().unwrap(),
                name.as_str().unwrap()
            )
        }
    }

    fn version(list: &Value) -> u64 {
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        version.parse().unwrap()
    }

    #[tokio::test]
    async fn a_watch_goes_on_where_a_list_ended() {
        let (history, mut cluster) = (Arc::new(History::new()), Cluster::for_tests());
        cluster.servers.push(server("ana", None));
        history.observe(&cluster, 1);
        let pods = list(&history, Kind::Pod, "").await;
        assert_eq!(pods["items"].as_array().unwrap().len(), 1);
        let before = version(&pods);
        let query = format!("watch=1&resourceVersion={before}");
        let mut lines = Lines::of(&history, Kind::Pod, &query);
        cluster.servers.push(server("eva", None));
        history.observe(&cluster, 1);
        assert_eq!(lines.told().await, "ADDED jupyter-eva");
        let mut node = WorkerNode::new();
        node.join();
        node.set(PowerState::Used);
        cluster.clues.nodes.insert("wn1".to_owned(), node);
        cluster.servers[0].node = Some("wn1".to_owned());
        history.observe(&cluster, 1);
        assert_eq!(lines.told().await, "MODIFIED jupyter-ana");
        // The scheduler now counts one node more.
        assert_eq!(lines.told().await, "MODIFIED jupyter-eva");
        cluster.servers.remove(0);
        history.observe(&cluster, 1);
        assert_eq!(lines.told().await, "DELETED jupyter-ana");
        let after = list(&history, Kind::Pod, "").await;
        assert!(version(&after) > before + 3, "{before} {after}");
        // Nothing changed, so nothing is told, and the versions stay.
        history.observe(&cluster, 1);
        assert_eq!(
            version(&list(&history, Kind::Pod, "").await),
            version(&after)
        );
        // Another one sees the same, from where it likes.
        let mut again = Lines::of(&history, Kind::Pod, &query);
        for told in ["ADDED jupyter-eva", "MODIFIED jupyter-ana"] {
            assert_eq!(again.told().await, told);
        }
        let mut all = Lines::of(&history, Kind::Node, "watch=true&resourceVersion=0");
        assert_eq!(all.told().await, "ADDED kubeserver.localdomain");
        assert_eq!(all.told().await, "ADDED wn1");
    }

    #[tokio::test]
    async fn versions_that_nobody_remembers_have_expired() {
        let (history, mut cluster) = (Arc::new(History::new()), Cluster::for_tests());
        history.observe(&cluster, 1);
        let before = version(&list(&history, Kind::Pod, "").await);
        let query = format!("watch=1&resourceVersion={before}");
        let mut lines = Lines::of(&history, Kind::Pod, &query);
        history.expire_watches();
        for _ in 0..2 {
            let line = lines.next().await.unwrap();
            assert_eq!(line["type"], "ERROR");
            assert_eq!(
                (&line["object"]["code"], &line["object"]["reason"]),
                (&json!(410), &json!("Expired"))
            );
            assert!(lines.next().await.is_none());
            // It is the same for one that begins there.
            lines = Lines::of(&history, Kind::Pod, &query);
        }
        let now = version(&list(&history, Kind::Pod, "").await);
        let query = format!("watch=1&resourceVersion={now}");
        let mut lines = Lines::of(&history, Kind::Pod, &query);
        cluster.servers.push(server("ana", None));
        history.observe(&cluster, 1);
        assert_eq!(lines.told().await, "ADDED jupyter-ana");
        history.end_watches();
        assert!(lines.next().await.is_none());
    }

    #[tokio::test]
    async fn a_watch_ends_in_time_and_marks_the_end_of_what_was_there() {
        let (history, mut cluster) = (Arc::new(History::new()), Cluster::for_tests());
        cluster.servers.push(server("ana", None));
        history.observe(&cluster, 1);
        let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=1";
        let mut lines = Lines::of(&history, Kind::Pod, query);
        assert_eq!(lines.told().await, "ADDED jupyter-ana");
        let mark = lines.next().await.unwrap();
        assert_eq!(mark["type"], "BOOKMARK");
        assert_eq!(
            mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
            "true"
        );
        assert!(lines.next().await.is_none());
    }

    #[tokio::test]
    async fn pods_in_trouble_have_events_which_fade() {
        let (history, mut cluster) = (Arc::new(History::new()), Cluster::for_tests());
        let mut node = WorkerNode::new();
        node.join();
        cluster.clues.nodes.insert("wn1".to_owned(), node);
        cluster.servers.push(server("ana", Some(Trouble::Volume)));
        cluster.servers.push(server("iris", Some(Trouble::Image)));
        cluster.servers[1].node = Some("wn1".to_owned());
        history.observe(&cluster, 600);
        let events = list(&history, Kind::Event, "").await;
        let mut seen: Vec<(&str, &str)> = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                let name = event["involvedObject"]["name"].as_str().unwrap();
                (name, event["reason"].as_str().unwrap())
            })
            .collect();
        seen.sort_unstable();
        let expected = [
            ("jupyter-ana", "FailedScheduling"),
            ("jupyter-iris", "BackOff"),
            ("jupyter-iris", "Failed"),
        ];
        assert_eq!(seen, expected);
        let version = version(&events);
        cluster.clues.nodes.clear();
        history.observe(&cluster, 600);
        let query = format!("watch=1&resourceVersion={version}");
        let mut lines = Lines::of(&history, Kind::Event, &query);
        let line = lines.next().await.unwrap();
        assert_eq!(
            (&line["type"], &line["object"]["count"]),
            (&json!("MODIFIED"), &json!(2))
        );
        // Events outlive their pods.
        cluster.servers.clear();
        history.observe(&cluster, 3_600_000);
        let events = list(&history, Kind::Event, "").await;
        assert_eq!(events["items"].as_array().unwrap().len(), 3);
        tokio::time::sleep(Duration::from_millis(5)).await;
        history.observe(&cluster, 3_600_000);
        let events = list(&history, Kind::Event, "").await;
        assert_eq!(events["items"].as_array().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn long_lists_come_in_pages() {
        let (history, mut cluster) = (Arc::new(History::new()), Cluster::for_tests());
        for number in 0..5 {
            cluster.servers.push(server(&format!("u{number}"), None));
        }
        history.observe(&cluster, 1);
        let first = list(&history, Kind::Pod, "limit=3").await;
        assert_eq!(
            (
                &first["metadata"]["continue"],
                &first["metadata"]["remainingItemCount"]
            ),
            (&json!("3"), &json!(2))
        );
        let second = list(&history, Kind::Pod, "limit=3&continue=3").await;
        assert_eq!(second["items"].as_array().unwrap().len(), 2);
        assert_eq!(second["metadata"]["continue"], Value::Null);
    }
}
