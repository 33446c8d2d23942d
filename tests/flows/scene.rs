//! One bot in one world, for one test.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sandbox::discord::{DiscordOptions, Message, Person, RateLimits};
use sandbox::world::bot::{BotProcess, find_binary};
use sandbox::world::{World, WorldOptions};
use sqlx::PgPool;

use crate::kill::HOST;

/// How long a flow may take; a deploy in the sandbox takes a few seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A world with a bot in it.
pub(crate) struct Scene {
    pub(crate) world: Arc<World>,
    pub(crate) bot: BotProcess,
    pub(crate) pool: PgPool,
    dir: PathBuf,
}

#[expect(
    clippy::print_stderr,
    reason = "a failed flow shows the chat and the bot's log"
)]
impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let transcript = self.world.discord.transcript();
            let log = std::fs::read_to_string(self.dir.join("bot.log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(40).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            eprintln!(
                "--- transcript\n{transcript}\n--- end of the bot's log\n{}",
                end.join("\n")
            );
        } else {
            let removed = std::fs::remove_dir_all(&self.dir);
            drop(removed);
        }
    }
}

impl Scene {
    /// A world with a bot that is ready.
    pub(crate) async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, "").await
    }

    /// The same with lines added to the bot's configuration.
    pub(crate) async fn start_with(pool: PgPool, more: &str) -> Self {
        Self::start_told(pool, more, &[]).await
    }

    /// The same with keys of the configuration set by their variables, such as
    /// `("IM_TIMEOUT_S", "1")`.
    pub(crate) async fn start_set(pool: PgPool, keys: &[(&str, &str)]) -> Self {
        let variables: Vec<(String, &str)> = keys
            .iter()
            .map(|(key, value)| (format!("PANGEO_BOT_{key}"), *value))
            .collect();
        let told: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        Self::start_told(pool, "", &told).await
    }

    /// The same with variables that override keys of the configuration.
    pub(crate) async fn start_told(pool: PgPool, more: &str, told: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("flow-{}", uuid::Uuid::new_v4().simple()));
        let options = WorldOptions {
            discord: DiscordOptions {
                rate_limits: RateLimits::Relaxed,
                openapi: std::env::var_os("CONFORMANCE_DATA")
                    .map(|data| PathBuf::from(data).join("discord-openapi.json")),
                ..DiscordOptions::default()
            },
            ..WorldOptions::for_tests(&dir)
        };
        let world = World::start(options).await.unwrap();
        let any = ([127, 0, 0, 1], 0).into();
        let mut settings = world
            .bot_settings("bot", &database_url(&pool), any, more)
            .unwrap();
        let told = told.iter().map(|(name, value)| (name, value));
        let variables = told.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings.variables.extend(variables);
        let log = Some(dir.join("bot.log"));
        let mut bot = BotProcess::new(find_binary().unwrap(), settings, log);
        bot.start().await.unwrap();
        world.discord.wait_for_command("pangeo").await.unwrap();
        Self {
            world,
            bot,
            pool,
            dir,
        }
    }

    /// A second bot on the same database and in the same world.
    pub(crate) async fn second_bot(&self) -> BotProcess {
        let any = ([127, 0, 0, 1], 0).into();
        let url = database_url(&self.pool);
        let settings = self.world.bot_settings("bot-2", &url, any, "").unwrap();
        let log = Some(self.dir.join("bot-2.log"));
        let mut bot = BotProcess::new(find_binary().unwrap(), settings, log);
        bot.start().await.unwrap();
        bot
    }

    pub(crate) fn person(&self, name: &str) -> Person {
        self.world.discord.person(name)
    }

    /// Waits for a message that contains a text.
    pub(crate) async fn sees(&self, text: &str) -> Message {
        self.world
            .discord
            .wait_for_message(|message| message.says(text), PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("nobody saw {text:?}: {error}"))
    }

    /// Waits for a message with such a button.
    pub(crate) async fn sees_button(&self, label: &str) -> Message {
        let has = |message: &Message| message.buttons().iter().any(|b| b.label == label);
        self.world
            .discord
            .wait_for_message(has, PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("nobody saw the button {label:?}: {error}"))
    }

    /// Waits until an operation came to rest this many times, as the audit tells.
    pub(crate) async fn sees_rests(&self, times: i64) {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let began = std::time::Instant::now();
        loop {
            look.tick().await;
            let sql = "select count(*) from audit where action = 'operation.rested'";
            let rests: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap();
            if rests >= times {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "it rested {rests} times");
        }
    }

    /// Waits until an operation stopped with this cause, a hint with this next step, and every way
    /// on: retry, undo, leave.
    pub(crate) async fn stops(&self, cause: &str, next: &str) -> Message {
        self.stops_after(None, cause, next).await
    }

    /// The same in a message that is newer than another.
    pub(crate) async fn stops_after(
        &self,
        older: Option<&Message>,
        cause: &str,
        next: &str,
    ) -> Message {
        assert!(!next.is_empty(), "a stop names the next step");
        let hints = |text: &str| {
            let mut lines = text.lines().map(|line| line.trim_start_matches("| "));
            lines.any(|line| line.starts_with("hint: ") && line.contains(next))
        };
        let offers = |message: &Message| {
            let buttons = message.buttons();
            ["Retry", "Undo…", "Leave"]
                .iter()
                .all(|label| buttons.iter().any(|button| button.label == *label))
        };
        // Every message is looked at after every change: first what costs little.
        let stopped = |message: &Message| {
            let is_newer = older.is_none_or(|older| message.id > older.id);
            is_newer && offers(message) && {
                let text = message.text();
                text.contains("stopped") && text.contains(cause) && hints(&text)
            }
        };
        self.world
            .discord
            .wait_for_message(stopped, PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("no stop by {cause:?} with {next:?}: {error}"))
    }

    /// Waits for the summary of an operation that ended by itself before it had done anything, since
    /// what was approved does not fit any more.
    pub(crate) async fn ends_outdated(&self, cause: &str) -> Message {
        let is_it = |message: &Message| {
            ["· cancelled", cause, "nothing was done; run the command"]
                .iter()
                .all(|words| message.says(words))
        };
        self.world
            .discord
            .wait_for_message(is_it, PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("nothing ended by {cause:?}: {error}"))
    }

    /// Asks by the button of a stopped operation to undo it, and has that approved.
    pub(crate) async fn undoes(&self, stopped: &Message, what: &str) {
        let ana = self.person("ana");
        ana.presses_on(stopped, "Undo…").await.answer().await;
        let plan = self
            .plan_after(Some(stopped), &format!("Undo {what}"))
            .await;
        assert!(
            plan.says("what happened so far is in <#"),
            "{}",
            plan.text()
        );
        self.person("ben").reacts(&plan, "✅");
    }

    /// Kills a helm that hangs, as an administrator of the front end would.
    pub(crate) async fn ends_hanging_helm(&self, infrastructure: &str) {
        let front_ends = &self.world.front_ends;
        let killed = front_ends.kill_helm(infrastructure, "KILL").await.unwrap();
        assert_eq!(killed, 1);
    }

    /// Waits until a query answers this number.
    pub(crate) async fn counts(&self, sql: &'static str, wanted: i64) {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let began = std::time::Instant::now();
        loop {
            look.tick().await;
            let count: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap();
            if count == wanted {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{sql}: {count}, not {wanted}");
        }
    }

    /// What is there although nothing was made or all was undone: in the world, and secrets.
    pub(crate) async fn left_over(&self) -> Vec<String> {
        let world = &self.world;
        let infrastructures = world.im.infrastructures().into_iter();
        let mut left: Vec<String> = infrastructures
            .map(|view| format!("infrastructure {} {:?}", view.id, view.name))
            .collect();
        let machines = world.front_ends.infrastructures().into_iter();
        left.extend(machines.map(|id| format!("front end of {id}")));
        let records = world.dns.records().into_iter();
        left.extend(records.map(|(name, ip)| format!("DNS record {name} {ip}")));
        let secrets: Vec<String> =
            sqlx::query_scalar("select name from secrets where owner_kind = 'cluster'")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        left.extend(secrets.into_iter().map(|name| format!("secret {name}")));
        left
    }

    /// Waits for a plan that is posted in full: the bot adds its own reactions last.
    pub(crate) async fn plan(&self, text: &str) -> Message {
        self.plan_after(None, text).await
    }

    /// The same for a plan that is newer than another.
    pub(crate) async fn plan_after(&self, older: Option<&Message>, text: &str) -> Message {
        let complete = |message: &Message| {
            message.reactions.len() == 2
                && message.says(text)
                && older.is_none_or(|older| message.id > older.id)
        };
        self.world
            .discord
            .wait_for_message(complete, PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("nobody saw the plan {text:?}: {error}"))
    }

    /// Gives the update secret of a host, as ana would.
    pub(crate) async fn keeps_dns_secret(&self, host: &str) {
        self.world.prepare_host(host);
        let ana = self.person("ana");
        let modal = ana
            .runs(&format!("/pangeo dns set-secret host:{host}"))
            .await
            .modal()
            .await;
        let fields: Vec<(&str, &str)> = vec![("secret", sandbox::world::DNS_SECRET)];
        let answer = ana.fills(&modal, &fields).await.answer().await;
        assert!(
            !answer.says(sandbox::world::DNS_SECRET),
            "{}",
            answer.text()
        );
    }

    /// Deploys the cluster `geo` with these options beside the usual ones, from the secret to the
    /// summary; answers the id of its infrastructure.
    pub(crate) async fn deploys(&self, options: &str) -> String {
        self.keeps_dns_secret(HOST).await;
        let deploy = format!("/pangeo deploy name:geo host:{HOST} auth:native {options}");
        let ana = self.person("ana");
        ana.runs(deploy.trim_end()).await.answer().await;
        let plan = self.plan("Create cluster `geo`").await;
        self.person("ben").reacts(&plan, "✅");
        self.sees("geo is ready").await;
        self.world.im.infrastructure("pangeo-geo").unwrap().id
    }

    /// Puts so many more clusters like `geo` into the inventory, at an address that never answers
    /// (TEST-NET-1 of RFC 5737).
    pub(crate) async fn has_silent_clusters(&self, count: i32) {
        sqlx::query(
            "insert into clusters (id, name, host, phase, owner_id, options, infrastructure_id, address, revision, created_at, changed_at)
             select gen_random_uuid(), name || '-' || n, name || n || '.vm.fedcloud.eu', phase, owner_id,
                    options, infrastructure_id || '-' || n, '192.0.2.1', revision, created_at, changed_at
             from clusters, generate_series(1, $1) n",
        )
        .bind(count)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Waits until everything that was told is shown.
    pub(crate) async fn settles(&self) {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let began = std::time::Instant::now();
        loop {
            look.tick().await;
            let sql = "select count(*) from messages
                       where posted_version < version and failed_because is null";
            let due: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap();
            if due == 0 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{due} messages are not shown");
        }
    }

    /// What the bot wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("bot.log")).unwrap_or_default()
    }

    /// What the bot counts about itself.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.bot.settings().web);
        let answer = reqwest::get(url).await.unwrap();
        answer.text().await.unwrap()
    }

    /// Checks that nothing unexpected happened to the services.
    pub(crate) fn nothing_unexpected(&self) {
        assert_eq!(self.world.discord.unexpected_calls(), Vec::<String>::new());
        assert!(
            self.world.discord.violations().is_empty(),
            "{:#?}",
            self.world.discord.violations()
        );
        let log = self.log();
        assert!(!log.contains("panicked"), "the bot panicked:\n{log}");
        for secret in [
            sandbox::world::DNS_SECRET,
            sandbox::world::CLIENT_SECRET,
            self.world.discord.token(),
        ] {
            assert!(!log.contains(secret), "a secret stands in the log");
            assert!(
                !self.world.discord.transcript().contains(secret),
                "a secret stands in the chat"
            );
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "sqlx::test itself takes the server from this variable"
)]
/// The URL of the database that `sqlx::test` made for this test.
fn database_url(pool: &PgPool) -> String {
    let options = pool.connect_options();
    let base = std::env::var("DATABASE_URL").unwrap();
    let mut url = url::Url::parse(&base).unwrap();
    url.set_path(options.get_database().unwrap());
    url.to_string()
}
