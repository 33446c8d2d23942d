//! The bot's own pages, over real HTTP and a real database.
#![cfg(test)]

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use futures::StreamExt;
use pangeo_bot::domain::clock::Clock;
use pangeo_bot::domain::health::{Gateway, Health};
use pangeo_bot::domain::ids::OperationId;
use pangeo_bot::domain::links::{LinkSigner, OperationLinks};
use pangeo_bot::domain::metrics::Metrics;
use pangeo_bot::domain::redact::Redactor;
use pangeo_bot::domain::seal::KeyRing;
use pangeo_bot::store::{MIGRATOR, Store};
use pangeo_bot::web::{self, WebParts};
use sandbox::browser::{Browser, BrowserOptions};
use secrecy::SecretString;
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
const LIFETIME: Duration = Duration::from_secs(3600);

/// The bot's pages, served.
struct Pages {
    pool: PgPool,
    clock: Clock,
    links: OperationLinks,
    health: Health,
    address: SocketAddr,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn start_of_time() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 8, 21, 10, 0, 0).unwrap()
}

impl Pages {
    async fn serve(pool: PgPool) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Clock::manual(start_of_time());
        let key = SecretString::from("07".repeat(32));
        let ring = KeyRing::new("k", [("k".to_owned(), key)]).unwrap();
        let url = format!("http://{address}").parse().unwrap();
        let links = OperationLinks::new(LinkSigner::new(&ring), url, LIFETIME);
        let redactor = Redactor::new();
        redactor.learn(&SecretString::from("horse-battery"));
        let health = Health::new();
        let stop = CancellationToken::new();
        let parts = WebParts {
            store: Store::new(pool.clone(), clock.clone()),
            links: links.clone(),
            redactor,
            metrics: Metrics::new(),
            health: health.clone(),
        };
        #[expect(clippy::disallowed_methods, reason = "ends with the token")]
        let _server = tokio::spawn(web::serve(listener, parts, stop.clone()));
        Self {
            pool,
            clock,
            links,
            health,
            address,
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .unwrap(),
            stop,
        }
    }

    /// An operation of two steps that runs.
    async fn operation(&self) -> OperationId {
        let (id, cluster) = (OperationId::new(), uuid::Uuid::new_v4());
        let now = self.clock.now();
        sqlx::query(
            "insert into clusters (id, name, host, phase, owner_id, options, created_at, changed_at)
             values ($1, $2, $2, 'deploying', 1, '{}', $3, $3)",
        )
        .bind(cluster)
        .bind(cluster.to_string())
        .bind(now)
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query(
            "insert into operations (id, command, target, cluster_id, options, requester_id,
                 channel_id, state, deadline, created_at, started_at)
             values ($1, 'deploy', 'geo', $2, '{}', 1, 1, 'running', $3, $3, $3)",
        )
        .bind(id.as_uuid())
        .bind(cluster)
        .bind(now)
        .execute(&self.pool)
        .await
        .unwrap();
        for (position, name) in ["check-dns-name", "check-hub"].iter().enumerate() {
            sqlx::query(
                "insert into steps (operation_id, name, position, note) values ($1, $2, $3, $4)",
            )
            .bind(id.as_uuid())
            .bind(*name)
            .bind(i32::try_from(position).unwrap())
            .bind("with token = abc123")
            .execute(&self.pool)
            .await
            .unwrap();
        }
        id
    }

    async fn writes(&self, id: OperationId, text: &str) {
        sqlx::query("insert into operation_log (operation_id, at, step, text) values ($1, $2, 'check-hub', $3)")
            .bind(id.as_uuid())
            .bind(self.clock.now())
            .bind(text)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn ends(&self, id: OperationId) {
        sqlx::query(
            "update operations set state = 'succeeded', ended_at = created_at where id = $1",
        )
        .bind(id.as_uuid())
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// The link to one of an operation's addresses; `what` is empty, `/log` or `/events`.
    fn link(&self, id: OperationId, what: &str) -> reqwest::Url {
        let mut url = self.links.page(id, self.clock.now());
        url.set_path(&format!("/operations/{id}{what}"));
        url
    }

    async fn get(&self, url: impl reqwest::IntoUrl) -> (u16, String) {
        let answer = self.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn get_path(&self, path: &str) -> (u16, String) {
        self.get(format!("http://{}{path}", self.address)).await
    }
}

/// Events as they come.
struct Events {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: String,
}

impl Events {
    async fn open(pages: &Pages, url: reqwest::Url, last_event: Option<i64>) -> Self {
        let mut request = pages.http.get(url);
        if let Some(last) = last_event {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            bytes: answer
                .bytes_stream()
                .map(|bytes| bytes.map(|b| b.to_vec()))
                .boxed(),
            text: String::new(),
        }
    }

    /// Waits for an event and returns its data.
    async fn next(&mut self, kind: &str) -> String {
        let wait = async {
            loop {
                while let Some((event, rest)) = self.text.split_once("\n\n") {
                    let field = |name: &str| {
                        let start = format!("{name}: ");
                        let line = event.lines().find_map(|line| line.strip_prefix(&start));
                        line.map(ToOwned::to_owned)
                    };
                    let (found, data) = (field("event"), field("data").unwrap_or_default());
                    self.text = rest.to_owned();
                    if found.as_deref() == Some(kind) {
                        return data;
                    }
                }
                let bytes = self.bytes.next().await.expect("the stream ended").unwrap();
                self.text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("no event {kind}"))
    }

    async fn is_over(&mut self) -> bool {
        tokio::time::timeout(PATIENCE, self.bytes.next())
            .await
            .unwrap()
            .is_none()
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_page_opens_by_its_link_only(pool: PgPool) {
    let pages = Pages::serve(pool).await;
    let (id, other) = (pages.operation().await, pages.operation().await);
    for what in ["", "/log", "/events"] {
        let link = pages.link(id, what);
        assert_eq!(
            pages.http.get(link.clone()).send().await.unwrap().status(),
            200,
            "{what}"
        );

        let mut without = link.clone();
        without.set_query(None);
        let mut elsewhere = link.clone();
        elsewhere.set_path(&format!("/operations/{other}{what}"));
        let mut longer = link.clone();
        let query = link.query().unwrap().replace("expires=1", "expires=2");
        longer.set_query(Some(&query));
        let mut nonsense = link.clone();
        nonsense.set_path(&format!("/operations/%22%3E%3Cscript%3E{what}"));
        for url in [without, elsewhere, longer, nonsense] {
            let (status, text) = pages.get(url.clone()).await;
            assert_eq!(status, 403, "{url}");
            assert!(text.contains("This link does not open the page"), "{text}");
            assert!(!text.contains("script"), "{text}");
        }
    }
    let link = pages.link(id, "");
    pages
        .clock
        .advance(chrono::Duration::from_std(LIFETIME).unwrap());
    let (status, text) = pages.get(link).await;
    assert_eq!(status, 403);
    assert!(
        text.contains("This link has expired") && text.contains("/pangeo logs operation"),
        "{text}"
    );

    let (status, text) = pages.get(pages.link(OperationId::new(), "")).await;
    assert_eq!(status, 404);
    assert!(text.contains("no such operation"), "{text}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn answers_do_not_leak_the_link_and_allow_no_foreign_script(pool: PgPool) {
    let pages = Pages::serve(pool).await;
    let id = pages.operation().await;
    let answer = pages.http.get(pages.link(id, "")).send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let policy = header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let page = answer.text().await.unwrap();
    assert!(
        !page.contains("onclick") && !page.contains("<script>"),
        "{page}"
    );
    for asset in ["operation.js", "operation.css"] {
        assert_eq!(pages.get_path(&format!("/assets/{asset}")).await.0, 200);
    }
    let (_, script) = pages.get_path("/assets/operation.js").await;
    assert!(!script.contains("innerHTML"));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_log_comes_whole_and_without_secrets(pool: PgPool) {
    let pages = Pages::serve(pool).await;
    let id = pages.operation().await;
    pages
        .writes(id, "\u{1b}[32mok\u{1b}[0m with horse-battery")
        .await;
    sqlx::query(
        "insert into operation_log (operation_id, at, step, text)
         select $1, $2, 'check-hub', 'line ' || n from generate_series(1, 1200) n",
    )
    .bind(id.as_uuid())
    .bind(pages.clock.now())
    .execute(&pages.pool)
    .await
    .unwrap();
    let (status, text) = pages.get(pages.link(id, "/log")).await;
    assert_eq!(status, 200);
    assert_eq!(text.lines().count(), 1201);
    assert!(
        text.starts_with("2026-08-21T10:00:00Z check-hub: ok with [redacted]\n"),
        "{text}"
    );
    assert!(text.ends_with("check-hub: line 1200\n"));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn events_follow_the_operation_to_its_end(pool: PgPool) {
    let pages = Pages::serve(pool).await;
    let id = pages.operation().await;
    pages.writes(id, "one").await;
    let mut events = Events::open(&pages, pages.link(id, "/events"), None).await;
    let state: serde_json::Value = serde_json::from_str(&events.next("operation").await).unwrap();
    assert_eq!(state["state"], "running");
    assert_eq!(state["steps"][0]["name"], "check-dns-name");
    assert_eq!(state["steps"][0]["note"], "with token = [redacted]");
    let lines: serde_json::Value = serde_json::from_str(&events.next("lines").await).unwrap();
    assert_eq!(lines[0]["text"], "one");
    let last = lines[0]["line"].as_i64().unwrap();

    pages.writes(id, "two horse-battery").await;
    let lines: serde_json::Value = serde_json::from_str(&events.next("lines").await).unwrap();
    assert_eq!(lines[0]["text"], "two [redacted]");

    // Who comes back gets only what is new, whichever way the number is told.
    let mut url = pages.link(id, "/events");
    let mut resumed = Events::open(&pages, url.clone(), Some(last)).await;
    assert!(resumed.next("lines").await.contains("two"));
    url.query_pairs_mut()
        .append_pair("after", &last.to_string());
    let mut asked = Events::open(&pages, url, None).await;
    let lines: serde_json::Value = serde_json::from_str(&asked.next("lines").await).unwrap();
    assert_eq!(lines.as_array().unwrap().len(), 1);

    pages.writes(id, "three").await;
    pages.ends(id).await;
    assert!(events.next("lines").await.contains("three"));
    events.next("end").await;
    assert!(events.is_over().await);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_bot_stops_although_pages_follow(pool: PgPool) {
    let pages = Pages::serve(pool).await;
    let id = pages.operation().await;
    let mut events = Events::open(&pages, pages.link(id, "/events"), None).await;
    events.next("operation").await;
    pages.stop.cancel();
    assert!(events.is_over().await);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn only_so_many_may_follow(pool: PgPool) {
    let pages = Pages::serve(pool).await;
    let id = pages.operation().await;
    let mut open = Vec::new();
    for _ in 0..web::MAX_FOLLOWERS {
        open.push(Events::open(&pages, pages.link(id, "/events"), None).await);
    }
    let (status, text) = pages.get(pages.link(id, "/events")).await;
    assert_eq!(status, 503);
    assert!(text.contains("Too many"), "{text}");
    drop(open);
    let again = async {
        while pages
            .http
            .get(pages.link(id, "/events"))
            .send()
            .await
            .unwrap()
            .status()
            != 200
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("places become free again");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn health_says_what_is_wrong(pool: PgPool) {
    let pages = Pages::serve(pool).await;
    assert_eq!(pages.get_path("/healthz").await.0, 200);
    web::probe(pages.address).await.unwrap();

    let (status, text) = pages.get_path("/readyz").await;
    assert_eq!(
        (status, text.as_str()),
        (503, "database: answers\ngateway: not connected yet\n")
    );
    for ready in [Gateway::Connected, Gateway::HeldByAnother] {
        pages.health.set_gateway(ready);
        assert_eq!(pages.get_path("/readyz").await.0, 200, "{ready:?}");
    }
    let (_, text) = pages.get_path("/metrics").await;
    assert!(
        text.contains("pangeo_bot_outbox_waiting 0") && text.ends_with("# EOF\n"),
        "{text}"
    );

    pages.pool.close().await;
    let (status, text) = pages.get_path("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.starts_with("database: does not answer"), "{text}");
    assert_eq!(pages.get_path("/healthz").await.0, 200);
    assert_eq!(pages.get(pages.link(OperationId::new(), "")).await.0, 503);
}

#[tokio::test]
async fn a_bot_that_is_not_there_is_not_alive() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = web::probe(address).await.unwrap_err();
    assert!(error.to_string().contains("no bot answers"), "{error}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_page_follows_in_a_browser_and_shows_hostile_text_as_text(pool: PgPool) {
    let pages = Pages::serve(pool).await;
    let id = pages.operation().await;
    let hostile = "<img src=x onerror=\"document.title='owned'\"> & </pre><b>bold</b>";
    pages.writes(id, hostile).await;
    sqlx::query("update steps set state = 'running', attempts = 1, intent_at = $2, note = $3 where operation_id = $1 and position = 0")
        .bind(id.as_uuid())
        .bind(pages.clock.now())
        .bind(hostile)
        .execute(&pages.pool)
        .await
        .unwrap();
    let browser = Browser::start(BrowserOptions::default()).await.unwrap();
    browser.open(pages.link(id, "").as_str()).await.unwrap();
    browser.wait_for_text("#log", hostile).await.unwrap();
    browser
        .wait_for_text("#steps .note", hostile)
        .await
        .unwrap();
    assert_eq!(browser.text("#title").await.unwrap(), "deploy geo");
    assert_eq!(
        browser.count("#log img, #log b, #steps img").await.unwrap(),
        0
    );

    // The page stays at the end of the log until somebody scrolls up.
    for number in 0..300 {
        pages
            .writes(id, &format!("line {number} horse-battery"))
            .await;
    }
    browser
        .wait_for_text("#log", "line 299 [redacted]")
        .await
        .unwrap();
    let at_end = "const l = document.querySelector('#log'); return l.scrollHeight - l.scrollTop - l.clientHeight < 8";
    assert_eq!(
        browser.script(at_end, json!([])).await.unwrap(),
        json!(true)
    );
    browser.click("#follow").await.unwrap();
    let up = "document.querySelector('#log').scrollTop = 0; return true";
    browser.script(up, json!([])).await.unwrap();
    pages.writes(id, "the last line").await;
    pages.ends(id).await;
    browser.wait_for_text("#state", "succeeded").await.unwrap();
    browser
        .wait_for_text("#log", "the last line")
        .await
        .unwrap();
    assert_eq!(
        browser.script(at_end, json!([])).await.unwrap(),
        json!(false)
    );
    if let Some(path) = std::env::var_os("SCREENSHOT") {
        browser
            .screenshot(std::path::Path::new(&path))
            .await
            .unwrap();
    }
    assert_eq!(
        browser.console_errors().await.unwrap(),
        Vec::<String>::new()
    );
    browser.close().await.unwrap();
}
