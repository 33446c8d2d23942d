//! Dynamic DNS: the update address of nsupdate.info and a name server that answers by UDP.
//!
//! `GET /nic/update?hostname=&myip=` with basic auth `<host name>:<host secret>` answers one word;
//! `GET /nic/delete` takes the record away.
//! The name server knows only the names updated here; everything else is `NXDOMAIN`. A new
//! address is seen by queries only after the time of propagation, as with the real one's caches.
//!
//! Source of the words: nsupdate.info, `nsupdate/api/views.py`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;

use crate::faults::Faults;
use crate::saved::Saved;
use crate::serve::{Background, listen};

/// How long others may keep an answer, in seconds.
const TTL: u32 = 60;

/// How many updates without a change in a row block a host.
const ABUSE_AFTER: u32 = 20;

/// How to start [`Dns`].
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// Where updates come in, by HTTP.
    pub listen: SocketAddr,
    /// Where queries come in, by UDP.
    pub name_server: SocketAddr,
    /// Where the state is kept, if anywhere.
    pub state_file: Option<PathBuf>,
    /// How long after an update queries see it.
    pub propagation: Duration,
}

impl DnsOptions {
    /// On free ports of 127.0.0.1, nothing kept, seen at once.
    pub fn for_tests() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 0).into(),
            name_server: ([127, 0, 0, 1], 0).into(),
            state_file: None,
            propagation: Duration::ZERO,
        }
    }
}

/// An update that came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateCall {
    /// The host name.
    pub host: String,
    /// The address.
    pub ip: String,
    /// What was answered, such as `good 127.0.0.1`.
    pub answer: String,
}

#[derive(Default, Serialize, Deserialize)]
struct DnsState {
    hosts: BTreeMap<String, Host>,
    calls: Vec<UpdateCall>,
}

#[derive(Default, Serialize, Deserialize)]
struct Host {
    secret: String,
    address: Option<IpAddr>,
    changed_at: Option<DateTime<Utc>>,
    address_before: Option<IpAddr>,
    unchanged_in_a_row: u32,
    blocked: bool,
}

struct Inner {
    state: Arc<Saved<DnsState>>,
    propagation: std::sync::Mutex<Duration>,
    faults: Faults,
}

/// The running service.
pub struct Dns {
    inner: Arc<Inner>,
    http: SocketAddr,
    udp: SocketAddr,
    _background: Background,
}

impl Dns {
    /// Starts the service.
    ///
    /// # Errors
    /// When a port is taken or the state file does not parse.
    pub async fn start(options: DnsOptions) -> anyhow::Result<Arc<Self>> {
        let inner = Arc::new(Inner {
            state: Arc::new(Saved::open(options.state_file)?),
            propagation: std::sync::Mutex::new(options.propagation),
            faults: Faults::new(),
        });
        let (listener, http) = listen(options.listen).await?;
        let socket = UdpSocket::bind(options.name_server)
            .await
            .with_context(|| format!("listen on {}", options.name_server))?;
        let udp = socket.local_addr().context("read the port")?;
        let mut background = Background::new();
        let router = Router::new()
            .route("/nic/update", get(update))
            .route("/nic/delete", get(delete))
            .with_state(Arc::clone(&inner));
        background.serve(listener, inner.faults.wrap(router));
        background.run(answer_queries(socket, Arc::clone(&inner)));
        background.keep(Arc::clone(&inner.state));
        Ok(Arc::new(Self {
            inner,
            http,
            udp,
            _background: background,
        }))
    }

    /// The base URL for updates.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The address of the name server.
    pub fn name_server(&self) -> SocketAddr {
        self.udp
    }

    /// The faults of the update address.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Adds a host, as its owner does in the web portal, or gives it another secret.
    pub fn add_host(&self, name: &str, secret: &str) {
        let mut state = self.inner.state.change();
        let host = state.hosts.entry(name.to_lowercase()).or_default();
        secret.clone_into(&mut host.secret);
    }

    /// Points a name to an address as if its owner had done it, seen at once.
    pub fn set_record(&self, name: &str, address: Option<IpAddr>) {
        let mut state = self.inner.state.change();
        let host = state.hosts.entry(name.to_lowercase()).or_default();
        host.address = address;
        host.changed_at = None;
    }

    /// Blocks a host for abuse, or lifts the block.
    pub fn set_blocked(&self, name: &str, blocked: bool) {
        let mut state = self.inner.state.change();
        let host = state.hosts.entry(name.to_lowercase()).or_default();
        host.blocked = blocked;
        host.unchanged_in_a_row = 0;
    }

    /// How long after an update queries see it, from now on.
    pub fn set_propagation(&self, time: Duration) {
        *self.inner.propagation() = time;
    }

    /// The addresses of all names, whether seen by queries yet or not.
    pub fn records(&self) -> BTreeMap<String, IpAddr> {
        let state = self.inner.state.read();
        state
            .hosts
            .iter()
            .filter_map(|(name, host)| Some((name.clone(), host.address?)))
            .collect()
    }

    /// The address that a query would see now.
    pub fn lookup(&self, name: &str) -> Option<IpAddr> {
        self.inner.lookup(name)
    }

    /// The names whose updates are accepted.
    pub fn hosts(&self) -> Vec<String> {
        self.inner.state.read().hosts.keys().cloned().collect()
    }

    /// The updates that came in, oldest first.
    pub fn update_calls(&self) -> Vec<UpdateCall> {
        self.inner.state.read().calls.clone()
    }
}

impl Inner {
    fn propagation(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.propagation
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lookup(&self, name: &str) -> Option<IpAddr> {
        let propagation = *self.propagation();
        let state = self.state.read();
        let host = state.hosts.get(&name.to_lowercase())?;
        let fresh = host
            .changed_at
            .and_then(|at| (Utc::now() - at).to_std().ok())
            .is_some_and(|age| age < propagation);
        if fresh {
            host.address_before
        } else {
            host.address
        }
    }

    /// The status and word for an update or a deletion, and its effect.
    fn change(
        &self,
        what: Change,
        name: &str,
        ip: &str,
        login: Option<(String, String)>,
    ) -> (u16, String) {
        let name = name.to_lowercase();
        let word = |status, word: &str| (status, word.to_owned());
        let Some((user, secret)) = login else {
            return word(401, "badauth");
        };
        if !name.contains('.') {
            return word(200, "notfqdn");
        }
        let mut state = self.state.change();
        let known = state.hosts.get(&user.to_lowercase());
        if !known.is_some_and(|host| !host.secret.is_empty() && host.secret == secret) {
            return word(401, "badauth");
        }
        if user.to_lowercase() != name {
            return word(200, "nohost");
        }
        let Some(host) = state.hosts.get_mut(&name) else {
            return word(200, "nohost");
        };
        if host.blocked {
            return word(403, "abuse");
        }
        let Ok(address) = ip.parse::<IpAddr>() else {
            return word(200, "dnserr");
        };
        if what == Change::Delete {
            if host
                .address
                .is_some_and(|now| now.is_ipv4() == address.is_ipv4())
            {
                host.address_before = host.address.take();
                host.changed_at = Some(Utc::now());
                host.unchanged_in_a_row = 0;
            }
            return word(
                200,
                if address.is_ipv4() {
                    "deleted A"
                } else {
                    "deleted AAAA"
                },
            );
        }
        if host.address == Some(address) {
            host.unchanged_in_a_row += 1;
            host.blocked = host.unchanged_in_a_row >= ABUSE_AFTER;
            return (200, format!("nochg {address}"));
        }
        host.unchanged_in_a_row = 0;
        host.address_before = host.address;
        host.address = Some(address);
        host.changed_at = Some(Utc::now());
        (200, format!("good {address}"))
    }
}

/// What a call asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Update,
    Delete,
}

#[derive(Deserialize)]
struct UpdateQuery {
    hostname: Option<String>,
    myip: Option<String>,
}

async fn update(
    State(dns): State<Arc<Inner>>,
    Query(query): Query<UpdateQuery>,
    headers: HeaderMap,
) -> Response {
    take(&dns, Change::Update, query, &headers)
}

/// As the real one has it: the address only says which kind of record goes.
async fn delete(
    State(dns): State<Arc<Inner>>,
    Query(query): Query<UpdateQuery>,
    headers: HeaderMap,
) -> Response {
    take(&dns, Change::Delete, query, &headers)
}

fn take(dns: &Inner, what: Change, query: UpdateQuery, headers: &HeaderMap) -> Response {
    let login = basic_login(headers);
    let host = query
        .hostname
        .or_else(|| login.as_ref().map(|(user, _)| user.clone()))
        .unwrap_or_default();
    // The real one falls back to the client's address; clients of the sandbox are all local.
    let ip = query.myip.unwrap_or_else(|| "127.0.0.1".to_owned());
    let (status, answer) = if headers.contains_key(header::USER_AGENT) {
        dns.change(what, &host, &ip, login)
    } else {
        (200, "badagent".to_owned())
    };
    dns.state.change().calls.push(UpdateCall {
        host,
        ip,
        answer: answer.clone(),
    });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, "text/plain")], answer).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            header::HeaderValue::from_static("Basic realm=\"authenticate to update DNS\""),
        );
    }
    response
}

/// User and password of HTTP basic auth.
pub(crate) fn basic_login(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

async fn answer_queries(socket: UdpSocket, dns: Arc<Inner>) {
    let mut buffer = [0_u8; 1500];
    loop {
        // Linux reports an unreachable client of an earlier answer here; that is no reason to end.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let answer = buffer
            .get(..length)
            .and_then(|bytes| Message::from_vec(bytes).ok())
            .and_then(|query| answer_to(&query, &dns).to_vec().ok());
        if let Some(answer) = answer
            && let Err(error) = socket.send_to(&answer, client).await
        {
            tracing::debug!(%error, "an answer of the name server was not sent");
        }
    }
}

fn answer_to(query: &Message, dns: &Inner) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.authoritative = true;
    answer.add_queries(query.queries.iter().cloned());
    let Some(question) = query.queries.first() else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer;
    };
    if query.metadata.op_code != OpCode::Query {
        answer.metadata.response_code = ResponseCode::NotImp;
        return answer;
    }
    let name = question.name().to_ascii();
    match (
        dns.lookup(name.trim_end_matches('.')),
        question.query_type(),
    ) {
        (Some(IpAddr::V4(ip)), RecordType::A) => {
            let data = RData::A(A(ip));
            answer.add_answer(Record::from_rdata(question.name().clone(), TTL, data));
        }
        (Some(IpAddr::V6(ip)), RecordType::AAAA) => {
            let data = RData::AAAA(AAAA(ip));
            answer.add_answer(Record::from_rdata(question.name().clone(), TTL, data));
        }
        // The name is there, but not with this type of record.
        (Some(_), _) => {}
        (None, _) => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "pangeo.vm.fedcloud.eu";

    async fn ask(dns: &Dns, host: &str, login: (&str, &str), ip: &str) -> (u16, String) {
        let response = reqwest::Client::builder()
            .user_agent("test")
            .build()
            .unwrap()
            .get(format!("{}/nic/update", dns.url()))
            .query(&[("hostname", host), ("myip", ip)])
            .basic_auth(login.0, Some(login.1))
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn the_words_of_nsupdate() {
        let dns = Dns::start(DnsOptions::for_tests()).await.unwrap();
        dns.add_host(HOST, "s3cret");
        dns.add_host("other.vm.fedcloud.eu", "0ther");
        let good = (HOST, "s3cret");
        for (host, login, ip, expected) in [
            (HOST, good, "127.7.1.1", (200, "good 127.7.1.1")),
            (HOST, good, "127.7.1.1", (200, "nochg 127.7.1.1")),
            (HOST, (HOST, "wrong"), "127.7.1.2", (401, "badauth")),
            (HOST, ("nobody.eu", "x"), "127.7.1.2", (401, "badauth")),
            ("other.vm.fedcloud.eu", good, "127.7.1.2", (200, "nohost")),
            ("pangeo", good, "127.7.1.2", (200, "notfqdn")),
        ] {
            let answer = ask(&dns, host, login, ip).await;
            assert_eq!((answer.0, answer.1.as_str()), expected);
        }
        let without_agent = reqwest::get(format!("{}/nic/update", dns.url())).await;
        assert_eq!(without_agent.unwrap().text().await.unwrap(), "badagent");
        assert_eq!(dns.records()[HOST], "127.7.1.1".parse::<IpAddr>().unwrap());
        assert_eq!(dns.update_calls().len(), 7);
    }

    #[tokio::test]
    async fn useless_updates_are_abuse() {
        let dns = Dns::start(DnsOptions::for_tests()).await.unwrap();
        dns.add_host(HOST, "s");
        for _ in 0..=ABUSE_AFTER {
            assert_eq!(ask(&dns, HOST, (HOST, "s"), "127.7.1.1").await.0, 200);
        }
        let answer = ask(&dns, HOST, (HOST, "s"), "127.7.1.9").await;
        assert_eq!(answer, (403, "abuse".to_owned()));
        dns.set_blocked(HOST, false);
        assert_eq!(ask(&dns, HOST, (HOST, "s"), "127.7.1.9").await.0, 200);
    }

    #[tokio::test]
    async fn a_change_is_seen_after_its_time_of_propagation() {
        let mut options = DnsOptions::for_tests();
        options.propagation = Duration::from_secs(3600);
        let dns = Dns::start(options).await.unwrap();
        dns.add_host(HOST, "s");
        assert_eq!(ask(&dns, HOST, (HOST, "s"), "127.7.1.1").await.0, 200);
        assert_eq!(dns.lookup(HOST), None);
        assert_eq!(dns.records().len(), 1);
        dns.set_propagation(Duration::ZERO);
        assert_eq!(dns.lookup(HOST), Some("127.7.1.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn the_state_survives_a_restart() {
        let directory = std::env::temp_dir().join(format!("sandbox-dns-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut options = DnsOptions::for_tests();
        options.state_file = Some(directory.join("dns.json"));
        let dns = Dns::start(options.clone()).await.unwrap();
        dns.add_host(HOST, "s");
        assert_eq!(ask(&dns, HOST, (HOST, "s"), "127.7.1.1").await.0, 200);
        drop(dns);
        let again = Dns::start(options).await.unwrap();
        assert_eq!(again.lookup(HOST), Some("127.7.1.1".parse().unwrap()));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
