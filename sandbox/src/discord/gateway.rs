//! The gateway: `ws://…/gateway/?v=10&encoding=json`.
//!
//! HELLO → IDENTIFY → READY and `GUILD_CREATE`, heartbeats, RESUME with what was missed.
//! A session outlives its socket for [`RESUME_WINDOW`]; its last [`REPLAY`] events are kept.
//! While no session exists nothing is kept for a later IDENTIFY, as with Discord.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State as Shared;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::state::{APPLICATION, GUILD};
use super::{Discord, Server, TOKEN, lock, shapes};

/// How long a session can be resumed after its socket closed.
const RESUME_WINDOW: Duration = Duration::from_secs(120);
/// How many events are kept for a RESUME.
const REPLAY: usize = 2_000;
/// How many events may wait for a slow socket before it is closed.
const BACKLOG: usize = 4_096;
/// How many payloads a bot may send a minute.
const SENDS_PER_MINUTE: usize = 120;
/// The largest payload that a bot may send, in bytes.
const MAX_PAYLOAD: usize = 15 * 1024;
/// How many dispatched payloads are remembered for conformance tests.
const REMEMBERED: usize = 5_000;

/// Discord's intents (<https://discord.com/developers/docs/topics/gateway>, 2026-08).
pub(crate) mod intents {
    pub(crate) const GUILDS: u64 = 1;
    pub(crate) const GUILD_MEMBERS: u64 = 1 << 1;
    pub(crate) const GUILD_PRESENCES: u64 = 1 << 8;
    pub(crate) const GUILD_MESSAGES: u64 = 1 << 9;
    pub(crate) const GUILD_MESSAGE_REACTIONS: u64 = 1 << 10;
    pub(crate) const DIRECT_MESSAGES: u64 = 1 << 12;
    pub(crate) const DIRECT_MESSAGE_REACTIONS: u64 = 1 << 13;
    pub(crate) const MESSAGE_CONTENT: u64 = 1 << 15;
    /// Those that an application must be granted.
    pub(crate) const PRIVILEGED: u64 = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT;
    /// All bits that exist.
    pub(crate) const ALL: u64 = (1 << 26) - 1;
    /// Needs no intent.
    pub(crate) const NONE: u64 = 0;
}

/// How [`Discord::disconnect_bots`] ends connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// Opcode 7: the bot should connect again and resume.
    Reconnect,
    /// Opcode 9: the session is over; `true` claims that it can still be resumed.
    InvalidSession(bool),
    /// Closes with this code; 4004, 4010 to 4014 are final, the session of others can be resumed.
    Close(u16),
    /// The connection breaks without a word.
    Cut,
    /// The connection stays open but silent: no events, no answers to heartbeats.
    Silence,
}

/// What a session's socket is to do.
#[derive(Clone, Debug)]
enum Order {
    Send(Arc<str>),
    End(Disconnect),
}

/// One identified connection of a bot.
struct Session {
    intents: u64,
    seq: u64,
    sent: VecDeque<(u64, Arc<str>)>,
    socket: Option<mpsc::Sender<Order>>,
    closed_at: Option<Instant>,
}

/// All sessions, and what was dispatched last.
#[derive(Default)]
pub(crate) struct Sessions {
    by_id: HashMap<String, Session>,
    dispatched: VecDeque<(&'static str, Value)>,
    serial: u64,
}

impl Sessions {
    /// Sends an event to every session with the intent; `hide` takes the content out for those
    /// without the intent for it. Tells how many connected sockets it went to.
    pub(crate) fn dispatch(
        &mut self,
        kind: &'static str,
        intent: u64,
        data: &Value,
        hide: bool,
    ) -> usize {
        let full = data.to_string();
        let hidden = hide.then(|| {
            let mut shape = data.clone();
            shapes::without_content(&mut shape);
            shape.to_string()
        });
        let mut reached = 0;
        for session in self.by_id.values_mut() {
            if intent != intents::NONE && session.intents & intent == 0 {
                continue;
            }
            let sees = session.intents & intents::MESSAGE_CONTENT != 0;
            let data = hidden.as_ref().filter(|_| !sees).unwrap_or(&full);
            reached += usize::from(session.dispatch(kind, data));
        }
        if self.dispatched.len() >= REMEMBERED {
            self.dispatched.pop_front();
        }
        self.dispatched.push_back((kind, data.clone()));
        reached
    }

    fn online(&self) -> bool {
        self.by_id.values().any(|s| s.socket.is_some())
    }

    fn remove(&mut self, id: &str) {
        drop(self.by_id.remove(id));
    }
}

impl Session {
    /// Numbers, keeps and sends one event; `true` if a socket took it.
    fn dispatch(&mut self, kind: &str, data: &str) -> bool {
        self.seq += 1;
        let text: Arc<str> =
            format!(r#"{{"t":"{kind}","s":{},"op":0,"d":{data}}}"#, self.seq).into();
        if self.sent.len() >= REPLAY {
            self.sent.pop_front();
        }
        self.sent.push_back((self.seq, Arc::clone(&text)));
        let taken = self
            .socket
            .as_ref()
            .is_some_and(|socket| socket.try_send(Order::Send(text)).is_ok());
        if !taken && self.socket.take().is_some() {
            self.closed_at = Some(Instant::now());
        }
        taken
    }
}

impl Discord {
    /// Whether a bot is connected now.
    pub fn bot_online(&self) -> bool {
        lock(&self.gateway).online()
    }

    /// Waits until a bot is connected.
    ///
    /// # Errors
    /// When none came within 15 s.
    pub async fn wait_for_bot(&self) -> anyhow::Result<()> {
        let online = |d: &Self| d.bot_online().then_some(());
        self.wait_until(super::PATIENCE, online).await
    }

    /// Ends every bot's connection in the given way; tells how many there were.
    pub fn disconnect_bots(&self, how: Disconnect) -> usize {
        let mut gateway = lock(&self.gateway);
        let mut ended = 0;
        for session in gateway.by_id.values_mut() {
            let socket = session.socket.take();
            ended += usize::from(socket.is_some());
            session.closed_at = Some(Instant::now());
            if let Some(socket) = socket {
                // A full queue means that the bot does not read; dropping it closes the socket.
                drop(socket.try_send(Order::End(how)));
            }
        }
        let over = matches!(how, Disconnect::InvalidSession(false))
            || matches!(how, Disconnect::Close(4004 | 4007 | 4009..=4014));
        if over {
            gateway.by_id.clear();
        }
        drop(gateway);
        self.tell_online();
        ended
    }

    /// What was dispatched last, with its event name; at most 5,000.
    pub fn dispatched(&self) -> Vec<(&'static str, Value)> {
        lock(&self.gateway).dispatched.iter().cloned().collect()
    }

    pub(crate) fn tell_online(&self) {
        self.tell_page("bot", json!({"online": self.bot_online()}), None);
    }

    pub(crate) fn expire_sessions(&self) {
        let keep = |s: &mut Session| s.closed_at.is_none_or(|at| at.elapsed() < RESUME_WINDOW);
        lock(&self.gateway).by_id.retain(|_, s| keep(s));
    }

    /// Opens a session and gives it READY and the guild, with nothing in between.
    fn identify(&self, data: &Value, socket: &mpsc::Sender<Order>) -> Result<String, u16> {
        if data.get("token").and_then(Value::as_str).map(bare_token) != Some(TOKEN) {
            return Err(4004);
        }
        let Some(asked) = data.get("intents").and_then(Value::as_u64) else {
            return Err(4013);
        };
        if asked & !intents::ALL != 0 {
            return Err(4013);
        }
        if asked & intents::PRIVILEGED != 0 && !self.options.privileged_intents {
            return Err(4014);
        }
        let state = self.state.read();
        let mut gateway = lock(&self.gateway);
        gateway.serial += 1;
        let id = format!("{:032x}", rand::random::<u128>());
        let mut session = Session {
            intents: asked,
            seq: 0,
            sent: VecDeque::new(),
            socket: Some(socket.clone()),
            closed_at: None,
        };
        let shard = data.get("shard").cloned().unwrap_or_else(|| json!([0, 1]));
        let ready = json!({
            "v": 10,
            "user_settings": {},
            "user": shapes::me(&state),
            "session_type": "normal",
            "session_id": id,
            "resume_gateway_url": self.gateway_url(),
            "relationships": [],
            "private_channels": [],
            "presences": [],
            "guilds": [{"id": GUILD, "unavailable": true}],
            "guild_join_requests": [],
            "geo_ordered_rtc_regions": [],
            "game_relationships": [],
            "auth": {},
            "application": {"id": APPLICATION, "flags": 1 << 23},
            "_trace": ["sandbox"],
            "shard": shard,
        });
        session.dispatch("READY", &ready.to_string());
        if asked & intents::GUILDS != 0 {
            session.dispatch("GUILD_CREATE", &shapes::guild_create(&state).to_string());
        }
        gateway.by_id.insert(id.clone(), session);
        Ok(id)
    }

    /// Goes on with a session and sends what it missed; `false` if that is not possible.
    fn resume(&self, data: &Value, socket: &mpsc::Sender<Order>) -> Option<String> {
        let text = |key: &str| data.get(key).and_then(Value::as_str);
        if text("token").map(bare_token) != Some(TOKEN) {
            return None;
        }
        let id = text("session_id")?;
        let seq = data.get("seq").and_then(Value::as_u64)?;
        let mut gateway = lock(&self.gateway);
        let session = gateway.by_id.get_mut(id)?;
        let oldest = session.sent.front().map_or(session.seq + 1, |(n, _)| *n);
        if seq > session.seq || seq + 1 < oldest {
            gateway.remove(id);
            return None;
        }
        for (_, text) in session.sent.iter().filter(|(n, _)| *n > seq) {
            socket.try_send(Order::Send(Arc::clone(text))).ok()?;
        }
        session.socket = Some(socket.clone());
        session.closed_at = None;
        session.dispatch("RESUMED", r#"{"_trace":["sandbox"]}"#);
        Some(id.to_owned())
    }

    pub(crate) fn gateway_url(&self) -> String {
        format!("{}/gateway/", self.url.replacen("http", "ws", 1))
    }

    /// The socket of a session is gone; `over` if the session is too.
    fn socket_closed(&self, id: &str, socket: &mpsc::Sender<Order>, over: bool) {
        let mut gateway = lock(&self.gateway);
        if let Some(session) = gateway.by_id.get_mut(id)
            && session
                .socket
                .as_ref()
                .is_none_or(|s| s.same_channel(socket))
        {
            session.socket = None;
            session.closed_at = Some(Instant::now());
            if over {
                gateway.remove(id);
            }
        }
        drop(gateway);
        self.tell_online();
    }
}

fn bare_token(token: &str) -> &str {
    token.trim_start_matches("Bot ")
}

pub(crate) fn router() -> Router<Weak<Discord>> {
    Router::new()
        .route("/gateway", get(upgrade))
        .route("/gateway/", get(upgrade))
}

async fn upgrade(
    Server(discord): Server,
    Shared(server): Shared<Weak<Discord>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let heartbeat = discord.options.heartbeat;
    upgrade
        .max_message_size(MAX_PAYLOAD)
        .on_upgrade(move |socket| Connection::serve(server, socket, heartbeat))
}

/// Why a connection ends.
enum End {
    /// Close with this code; the session can be resumed.
    Code(u16),
    /// The bot closed; `true` if it is done with the session.
    ByBot(bool),
    /// Break off.
    Cut,
}

/// One socket.
struct Connection {
    server: Weak<Discord>,
    socket: WebSocket,
    orders: mpsc::Sender<Order>,
    session: Option<String>,
    heartbeat: Duration,
    sends: VecDeque<Instant>,
    silent: bool,
}

impl Connection {
    async fn serve(server: Weak<Discord>, socket: WebSocket, heartbeat: Duration) {
        let (orders, queue) = mpsc::channel(BACKLOG);
        let mut connection = Self {
            server,
            socket,
            orders,
            session: None,
            heartbeat,
            sends: VecDeque::new(),
            silent: false,
        };
        let end = connection.run(queue).await;
        let over = matches!(end, End::ByBot(true) | End::Code(4004 | 4007 | 4009..=4014));
        if let (Some(id), Some(server)) = (&connection.session, connection.server.upgrade()) {
            server.socket_closed(id, &connection.orders, over);
        }
        if let End::Code(code) = end {
            let reason = close_reason(code).into();
            let frame = Frame::Close(Some(CloseFrame { code, reason }));
            // The bot may be gone already.
            drop(connection.socket.send(frame).await);
        }
    }

    async fn run(&mut self, mut queue: mpsc::Receiver<Order>) -> End {
        let ms = u64::try_from(self.heartbeat.as_millis()).unwrap_or(41_250);
        let hello = json!({"t": null, "s": null, "op": 10, "d": {"heartbeat_interval": ms, "_trace": ["sandbox"]}});
        if self.send(hello.to_string()).await.is_err() {
            return End::Cut;
        }
        let mut last_beat = Instant::now();
        let mut look = tokio::time::interval(Duration::from_millis(250));
        loop {
            tokio::select! {
                biased;
                order = queue.recv() => match order {
                    Some(Order::Send(text)) if !self.silent => {
                        if self.send(text.as_ref().to_owned()).await.is_err() {
                            return End::ByBot(false);
                        }
                    }
                    Some(Order::Send(_)) => {}
                    Some(Order::End(how)) => {
                        if let Some(end) = self.end(how).await {
                            return end;
                        }
                    }
                    None => return End::Cut,
                },
                frame = self.socket.recv() => {
                    let Some(Ok(frame)) = frame else {
                        return End::ByBot(false);
                    };
                    match self.receive(frame, &mut last_beat).await {
                        Ok(()) => {}
                        Err(end) => return end,
                    }
                }
                _ = look.tick() => {
                    if self.server.strong_count() == 0 {
                        return End::Code(1001);
                    }
                    if !self.silent && last_beat.elapsed() > self.heartbeat * 3 / 2 {
                        return End::Code(4000);
                    }
                }
            }
        }
    }

    async fn send(&mut self, text: String) -> Result<(), axum::Error> {
        self.socket.send(Frame::Text(text.into())).await
    }

    async fn end(&mut self, how: Disconnect) -> Option<End> {
        match how {
            Disconnect::Reconnect => {
                let op = json!({"t": null, "s": null, "op": 7, "d": null});
                // Discord closes soon after; the bot usually closes first.
                drop(self.send(op.to_string()).await);
                None
            }
            Disconnect::InvalidSession(resumable) => {
                let op = json!({"t": null, "s": null, "op": 9, "d": resumable});
                if !resumable {
                    self.session = None;
                }
                drop(self.send(op.to_string()).await);
                None
            }
            Disconnect::Close(code) => Some(End::Code(code)),
            Disconnect::Cut => Some(End::Cut),
            Disconnect::Silence => {
                self.silent = true;
                None
            }
        }
    }

    async fn receive(&mut self, frame: Frame, last_beat: &mut Instant) -> Result<(), End> {
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Close(close) => {
                let over = close.is_none_or(|c| matches!(c.code, 1000 | 1001));
                return Err(End::ByBot(over));
            }
            Frame::Ping(_) | Frame::Pong(_) => return Ok(()),
            Frame::Binary(_) => return Err(End::Code(4002)),
        };
        if self.silent {
            return Ok(());
        }
        self.count_send()?;
        let payload: Value = serde_json::from_str(&text).map_err(|_why| End::Code(4002))?;
        let data = payload.get("d").cloned().unwrap_or(Value::Null);
        match payload.get("op").and_then(Value::as_u64) {
            Some(1) => {
                *last_beat = Instant::now();
                let ack = json!({"t": null, "s": null, "op": 11, "d": null});
                self.send(ack.to_string())
                    .await
                    .map_err(|_why| End::ByBot(false))
            }
            Some(2) => self.on_identify(&data),
            Some(6) => self.on_resume(&data).await,
            Some(3 | 4 | 8) if self.session.is_some() => Ok(()),
            Some(3 | 4 | 8) => Err(End::Code(4003)),
            Some(_) | None => Err(End::Code(4001)),
        }
    }

    fn count_send(&mut self) -> Result<(), End> {
        let now = Instant::now();
        self.sends.push_back(now);
        while self
            .sends
            .front()
            .is_some_and(|t| now.duration_since(*t) > Duration::from_secs(60))
        {
            self.sends.pop_front();
        }
        if self.sends.len() > SENDS_PER_MINUTE {
            return Err(End::Code(4008));
        }
        Ok(())
    }

    fn on_identify(&mut self, data: &Value) -> Result<(), End> {
        if self.session.is_some() {
            return Err(End::Code(4005));
        }
        let server = self.server.upgrade().ok_or(End::Code(1001))?;
        let id = server.identify(data, &self.orders).map_err(End::Code)?;
        self.session = Some(id);
        server.tell_online();
        Ok(())
    }

    async fn on_resume(&mut self, data: &Value) -> Result<(), End> {
        if self.session.is_some() {
            return Err(End::Code(4005));
        }
        let server = self.server.upgrade().ok_or(End::Code(1001))?;
        self.session = server.resume(data, &self.orders);
        if self.session.is_some() {
            server.tell_online();
            return Ok(());
        }
        let invalid = json!({"t": null, "s": null, "op": 9, "d": false});
        self.send(invalid.to_string())
            .await
            .map_err(|_why| End::ByBot(false))
    }
}

fn close_reason(code: u16) -> &'static str {
    match code {
        4001 => "Unknown opcode.",
        4002 => "Error while decoding payload.",
        4003 => "Not authenticated.",
        4004 => "Authentication failed.",
        4005 => "Already authenticated.",
        4007 => "Invalid `seq`.",
        4008 => "You are being rate limited.",
        4009 => "Session timed out.",
        4013 => "Invalid intent(s).",
        4014 => "Disallowed intent(s).",
        _ => "Unknown error.",
    }
}
