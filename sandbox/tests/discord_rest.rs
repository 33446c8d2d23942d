#![cfg(test)]
//! The pretend Discord as a careless bot sees it: what it refuses, and with which words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use sandbox::discord::{
    APPLICATION, Discord, DiscordOptions, GUILD, PANGEO_CHANNEL, Permission, RateLimits,
};
use serde_json::{Value, json};

/// A bot that speaks REST by hand.
struct Bot {
    discord: Arc<Discord>,
    client: reqwest::Client,
}

impl Bot {
    async fn start(options: DiscordOptions) -> Self {
        let discord = Discord::start(options).await.unwrap();
        let client = reqwest::Client::new();
        Self { discord, client }
    }

    /// With limits relaxed.
    async fn quick() -> Self {
        Self::start(DiscordOptions {
            rate_limits: RateLimits::Relaxed,
            ..DiscordOptions::default()
        })
        .await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}/api/v10{path}", self.discord.url()))
            .header("authorization", format!("Bot {}", self.discord.token()))
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Posts in `#pangeo`.
    async fn post(&self, body: Value) -> (u16, Value) {
        let path = format!("/channels/{PANGEO_CHANNEL}/messages");
        self.call("POST", &path, body).await
    }

    /// Registers `/pangeo status [name]`.
    async fn register(&self) {
        let path = format!("/applications/{APPLICATION}/guilds/{GUILD}/commands");
        let status = json!({"type": 1, "name": "status", "description": "d", "options": [
            {"type": 3, "name": "name", "description": "d", "max_length": 5}]});
        let commands = json!([{"name": "pangeo", "description": "d", "options": [status]}]);
        assert_eq!(self.call("PUT", &path, commands).await.0, 200);
    }

    /// The path parts of the last interaction: id and token.
    fn last(&self) -> (String, String) {
        let sent = self.discord.dispatched();
        let (_, data) = sent
            .iter()
            .rev()
            .find(|(k, _)| *k == "INTERACTION_CREATE")
            .unwrap();
        let text = |key: &str| data[key].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }

    async fn callback(&self, body: Value) -> (u16, Value) {
        let (id, token) = self.last();
        self.call(
            "POST",
            &format!("/interactions/{id}/{token}/callback"),
            body,
        )
        .await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn code(answer: &(u16, Value)) -> (u16, u64) {
    (answer.0, answer.1["code"].as_u64().unwrap_or_default())
}

#[tokio::test]
async fn unknown_routes_and_tokens_are_refused_and_remembered() {
    let bot = Bot::quick().await;
    let found = bot.call("GET", "/guilds/1/audit-logs", Value::Null).await;
    assert_eq!(
        found,
        (404, json!({"message": "404: Not Found", "code": 0}))
    );
    assert_eq!(bot.discord.unexpected_calls(), ["GET /guilds/1/audit-logs"]);
    let url = format!("{}/api/v10/users/@me", bot.discord.url());
    let wrong = bot.client.get(url).header("authorization", "Bot wrong");
    assert_eq!(answer(wrong).await.0, 401);
    let seen = bot.discord.requests();
    assert_eq!((seen[1].path.as_str(), seen[1].status), ("/users/@me", 401));
}

#[tokio::test]
async fn a_sixth_message_within_five_seconds_has_to_wait() {
    let bot = Bot::start(DiscordOptions::default()).await;
    for n in 0..5 {
        assert_eq!(bot.post(json!({"content": n.to_string()})).await.0, 200);
    }
    let path = format!("/channels/{PANGEO_CHANNEL}/messages");
    let sixth = bot
        .request(Method::POST, &path)
        .json(&json!({"content": "6"}));
    let sixth = sixth.send().await.unwrap();
    assert_eq!(sixth.status(), 429);
    let headers = sixth.headers().clone();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["x-ratelimit-limit"], "5");
    assert_eq!(headers["x-ratelimit-remaining"], "0");
    assert_eq!(headers["x-ratelimit-scope"], "user");
    let body: Value = sixth.json().await.unwrap();
    let wait = body["retry_after"].as_f64().unwrap();
    assert!(wait > 3.0 && wait <= 5.0, "{wait}");
    assert_eq!(body["global"], false);
    assert_eq!(bot.discord.messages(PANGEO_CHANNEL).len(), 5);
    assert_eq!(bot.discord.rate_limited(), 1);
}

#[tokio::test]
async fn who_waits_as_told_gets_through() {
    let bot = Bot::start(DiscordOptions::default()).await;
    let (_, message) = bot.post(json!({"content": "vote"})).await;
    let path = |emoji: &str| {
        let id = message["id"].as_str().unwrap();
        format!("/channels/{PANGEO_CHANNEL}/messages/{id}/reactions/{emoji}/@me")
    };
    assert_eq!(bot.call("PUT", &path("✅"), Value::Null).await.0, 204);
    let (status, body) = bot.call("PUT", &path("❌"), Value::Null).await;
    assert_eq!(status, 429);
    let wait = Duration::from_secs_f64(body["retry_after"].as_f64().unwrap());
    tokio::time::sleep(wait).await;
    assert_eq!(bot.call("PUT", &path("❌"), Value::Null).await.0, 204);
}

#[tokio::test]
async fn an_interaction_is_acknowledged_once_and_in_time() {
    let bot = Bot::start(DiscordOptions {
        acknowledge_within: Duration::from_millis(400),
        ..DiscordOptions::default()
    })
    .await;
    bot.register().await;
    let ana = bot.discord.person("ana");
    let late = ana.runs("/pangeo status").await;
    assert!(late.failed());
    let defer = json!({"type": 5, "data": {"flags": 64}});
    assert_eq!(code(&bot.callback(defer.clone()).await), (404, 10062));
    let (_, token) = bot.last();
    let original = format!("/webhooks/{APPLICATION}/{token}/messages/@original");
    assert_eq!(
        code(&bot.call("GET", &original, Value::Null).await),
        (404, 10015)
    );
    assert!(bot.discord.transcript().contains("did not respond to ana"));

    let good = ana.tries("/pangeo status name:geo").unwrap();
    assert_eq!(code(&bot.callback(json!({"type": 7})).await), (400, 50035));
    assert_eq!(bot.callback(defer.clone()).await.0, 204);
    assert_eq!(code(&bot.callback(defer).await), (400, 40060));
    let (_, token) = bot.last();
    let follow_up = format!("/webhooks/{APPLICATION}/{token}");
    let (status, first) = bot
        .call("POST", &follow_up, json!({"content": "first"}))
        .await;
    assert_eq!((status, first["flags"].as_u64()), (200, Some(64)));
    assert_eq!(
        good.answer().await.id.to_string(),
        first["id"].as_str().unwrap()
    );
    let (_, second) = bot
        .call("POST", &follow_up, json!({"content": "second"}))
        .await;
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test]
async fn the_token_of_an_interaction_runs_out() {
    let bot = Bot::start(DiscordOptions {
        token_valid: Duration::from_millis(200),
        ..DiscordOptions::default()
    })
    .await;
    bot.register().await;
    let started = Instant::now();
    let _status = bot.discord.person("ana").tries("/pangeo status").unwrap();
    assert_eq!(bot.callback(json!({"type": 5})).await.0, 204);
    let (_, token) = bot.last();
    let original = format!("/webhooks/{APPLICATION}/{token}/messages/@original");
    let edit = json!({"content": "done"});
    while started.elapsed() < Duration::from_millis(210) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        code(&bot.call("PATCH", &original, edit).await),
        (401, 50027)
    );
}

#[tokio::test]
async fn the_client_refuses_what_discords_client_refuses() {
    let bot = Bot::quick().await;
    bot.register().await;
    let ana = bot.discord.person("ana");
    for typed in [
        "/pangeo status nam:x",
        "/pangeo status name:toolong",
        "/pangeo",
        "/other",
    ] {
        assert!(ana.tries(typed).is_err(), "{typed}");
    }
    assert!(
        bot.discord
            .dispatched()
            .iter()
            .all(|(k, _)| *k != "INTERACTION_CREATE")
    );
}

#[tokio::test]
async fn a_message_has_one_thread() {
    let bot = Bot::quick().await;
    let (_, message) = bot.post(json!({"content": "plan"})).await;
    let id = message["id"].as_str().unwrap();
    let path = format!("/channels/{PANGEO_CHANNEL}/messages/{id}/threads");
    let (status, thread) = bot.call("POST", &path, json!({"name": "geo"})).await;
    assert_eq!((status, thread["id"].as_str()), (201, Some(id)));
    let again = bot.call("POST", &path, json!({"name": "geo"})).await;
    assert_eq!(code(&again), (400, 160_004));
    let inside = format!("/channels/{id}/messages");
    bot.discord.archive_thread(id.parse().unwrap(), false);
    assert_eq!(
        bot.call("POST", &inside, json!({"content": "1"})).await.0,
        200
    );
    assert!(!bot.discord.thread_of(id.parse().unwrap()).unwrap().archived);
    bot.discord.archive_thread(id.parse().unwrap(), true);
    let locked = bot.call("POST", &inside, json!({"content": "2"})).await;
    assert_eq!(code(&locked), (400, 50083));
}

#[tokio::test]
async fn people_can_close_their_direct_messages() {
    let bot = Bot::quick().await;
    let ana = bot.discord.person("ana");
    let open = json!({"recipient_id": ana.id()});
    let (_, dm) = bot.call("POST", "/users/@me/channels", open.clone()).await;
    assert_eq!(
        bot.call("POST", "/users/@me/channels", open).await.1["id"],
        dm["id"]
    );
    let path = format!("/channels/{}/messages", dm["id"].as_str().unwrap());
    assert_eq!(
        bot.call("POST", &path, json!({"content": "hi"})).await.0,
        200
    );
    ana.closes_direct_messages(true);
    let closed = bot.call("POST", &path, json!({"content": "hi"})).await;
    assert_eq!(code(&closed), (403, 50007));
    assert_eq!(bot.discord.direct_messages(&ana).len(), 1);
}

#[tokio::test]
async fn missing_permissions_are_told_apart_from_missing_access() {
    let bot = Bot::quick().await;
    bot.discord.deny(PANGEO_CHANNEL, Permission::SendMessages);
    assert_eq!(code(&bot.post(json!({"content": "x"})).await), (403, 50013));
    bot.discord.allow(PANGEO_CHANNEL, Permission::SendMessages);
    bot.discord.deny(PANGEO_CHANNEL, Permission::ViewChannel);
    assert_eq!(code(&bot.post(json!({"content": "x"})).await), (403, 50001));
    let found = bot.call("GET", "/channels/42", Value::Null).await;
    assert_eq!(code(&found), (404, 10003));
}

#[tokio::test]
async fn nothing_and_too_much_are_refused() {
    let bot = Bot::quick().await;
    assert_eq!(
        code(&bot.post(json!({"content": "  "})).await),
        (400, 50006)
    );
    let (status, body) = bot.post(json!({"content": "x".repeat(2_001)})).await;
    assert_eq!(status, 400);
    let first = &body["errors"]["content"]["_errors"][0];
    assert_eq!(first["code"], "BASE_TYPE_MAX_LENGTH");
    assert_eq!(code(&bot.post(json!("text")).await), (400, 50109));
}

async fn send_files(bot: &Bot, files: usize, bytes: usize) -> (u16, Value) {
    let mut form = Form::new();
    for n in 0..files {
        let part = Part::bytes(vec![b'x'; bytes]).file_name(format!("log {n}.txt"));
        form = form.part(format!("files[{n}]"), part);
    }
    let described = json!({"attachments": [{"id": "0", "description": "the log"}]});
    let form = form.text("payload_json", described.to_string());
    let path = format!("/channels/{PANGEO_CHANNEL}/messages");
    answer(bot.request(Method::POST, &path).multipart(form)).await
}

#[tokio::test]
async fn files_are_kept_and_served_up_to_their_limits() {
    let bot = Bot::quick().await;
    let (status, message) = send_files(&bot, 2, 5 * 1024 * 1024).await;
    assert_eq!(status, 200);
    let file = &message["attachments"][0];
    assert_eq!(file["filename"], "log_0.txt");
    assert_eq!(file["description"], "the log");
    let served = reqwest::get(file["url"].as_str().unwrap()).await.unwrap();
    assert_eq!(served.bytes().await.unwrap().len(), 5 * 1024 * 1024);
    let id = message["id"].as_str().unwrap();
    let path = format!("/channels/{PANGEO_CHANNEL}/messages/{id}");
    let keep_second = json!({"attachments": [{"id": message["attachments"][1]["id"]}]});
    let (_, edited) = bot.call("PATCH", &path, keep_second).await;
    assert_eq!(edited["attachments"].as_array().unwrap().len(), 1);
    let gone = reqwest::get(file["url"].as_str().unwrap()).await.unwrap();
    assert_eq!(gone.status(), 404);
    assert_eq!(send_files(&bot, 11, 1).await.0, 400);
    assert_eq!(
        code(&send_files(&bot, 1, 10 * 1024 * 1024 + 1).await),
        (413, 40005)
    );
}

#[tokio::test]
async fn lists_of_messages_turn_pages() {
    let bot = Bot::quick().await;
    for n in 0..6 {
        bot.post(json!({"content": n.to_string()})).await;
    }
    let id = |n: usize| bot.discord.messages(PANGEO_CHANNEL)[n].id;
    for (query, wanted) in [
        ("limit=2".to_owned(), vec!["5", "4"]),
        (format!("limit=2&before={}", id(4)), vec!["3", "2"]),
        (format!("limit=2&after={}", id(1)), vec!["3", "2"]),
        (format!("limit=3&around={}", id(3)), vec!["4", "3", "2"]),
    ] {
        let path = format!("/channels/{PANGEO_CHANNEL}/messages?{query}");
        let (_, list) = bot.call("GET", &path, Value::Null).await;
        let found: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|m| &m["content"])
            .collect();
        assert_eq!(found, wanted, "{query}");
    }
    let path = format!("/channels/{PANGEO_CHANNEL}/messages?limit=101");
    assert_eq!(bot.call("GET", &path, Value::Null).await.0, 400);
}

#[tokio::test]
async fn only_those_allowed_are_notified() {
    let bot = Bot::quick().await;
    let ana = bot.discord.person("ana").id();
    let content = format!("<@{ana}> and @everyone");
    let (_, all) = bot.post(json!({"content": content})).await;
    assert_eq!(
        (all["mentions"][0]["id"].as_str(), &all["mention_everyone"]),
        (Some(ana.to_string().as_str()), &json!(true))
    );
    let (_, none) = bot
        .post(json!({"content": content, "allowed_mentions": {"parse": []}}))
        .await;
    assert_eq!(
        (&none["mentions"], &none["mention_everyone"]),
        (&json!([]), &json!(false))
    );
}

#[tokio::test]
async fn the_guild_survives_a_restart() {
    let folder = std::env::temp_dir().join(format!("discord-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let options = DiscordOptions {
        state_file: Some(folder.join("discord.json")),
        rate_limits: RateLimits::Relaxed,
        ..DiscordOptions::default()
    };
    let bot = Bot::start(options.clone()).await;
    bot.register().await;
    send_files(&bot, 1, 3).await;
    bot.discord.set_roles("zed", &["approver"]);
    let before = bot.discord.transcript();
    drop(bot);
    let bot = Bot::start(options).await;
    assert_eq!(bot.discord.transcript(), before);
    assert_eq!(bot.discord.registered_commands(), ["pangeo status"]);
    let message = &bot.discord.messages(PANGEO_CHANNEL)[0];
    assert_eq!(bot.discord.file(message.attachments[0].id).unwrap(), b"xxx");
    drop(bot);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn the_page_runs_a_command_and_only_its_person_sees_the_answer() {
    let bot = Bot::quick().await;
    bot.register().await;
    let api = format!("{}/sandbox/api", bot.discord.url());
    let get = |path: String| {
        let request = bot.client.get(format!("{api}{path}"));
        async move { answer(request).await.1 }
    };
    let state = get("/state".to_owned()).await;
    let id = |name: &str| bot.discord.person(name).id();
    assert_eq!(state["people"].as_array().unwrap().len(), 8);
    assert_eq!(state["bot_online"], false);
    let events = bot.client.get(format!("{api}/events?as={}", id("ana")));
    let mut events = events.send().await.unwrap().bytes_stream();
    let options = json!([{"type": 1, "name": "status", "options": [{"type": 3, "name": "name", "value": "geo"}]}]);
    let command = json!({"as": id("ana"), "channel_id": PANGEO_CHANNEL,
        "command_id": state["commands"][0]["id"], "options": options});
    let run = bot.client.post(format!("{api}/command")).json(&command);
    assert_eq!(answer(run).await.0, 200);
    let reply = json!({"type": 4, "data": {"content": "only you", "flags": 64}});
    assert_eq!(bot.callback(reply).await.0, 204);
    let mut seen = String::new();
    while !seen.contains("event: message\n") || !seen.contains("only you") {
        let next = tokio::time::timeout(Duration::from_secs(5), events.next()).await;
        seen.push_str(&String::from_utf8_lossy(&next.unwrap().unwrap().unwrap()));
    }
    let list = |name| {
        get(format!(
            "/channels/{PANGEO_CHANNEL}/messages?as={}",
            id(name)
        ))
    };
    assert_eq!(list("ana").await.as_array().unwrap().len(), 1);
    assert_eq!(list("ben").await, json!([]));
    let mut wrong = command.clone();
    wrong["options"] = json!([]);
    let refused = answer(bot.client.post(format!("{api}/command")).json(&wrong)).await;
    assert_eq!(refused.0, 400);
    assert!(refused.1["error"].as_str().unwrap().contains("subcommands"));
}
