//! A bot's chat, the sandbox's Discord and a database, with planning and looking played.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pangeo_bot::approvals::Approvals;
use pangeo_bot::chat::{AnswersLooks, Chat, ChatError, MakesPlans, Parts, Settings};
use pangeo_bot::commands::Catalogue;
use pangeo_bot::commands::deploy::{DeployDefaults, deploy_options};
use pangeo_bot::commands::options::parse_options;
use pangeo_bot::commands::value::RawValue;
use pangeo_bot::config::DiscordLogin;
use pangeo_bot::domain::clock::Clock;
use pangeo_bot::domain::cluster::Phase;
use pangeo_bot::domain::health::{Gateway, Health};
use pangeo_bot::domain::ids::{DiscordChannelId, DiscordRoleId, DiscordUserId, PlanId};
use pangeo_bot::domain::links::{LinkSigner, OperationLinks};
use pangeo_bot::domain::metrics::Metrics;
use pangeo_bot::domain::names::HostName;
use pangeo_bot::domain::operation::{Operation, OperationState, StepState};
use pangeo_bot::domain::person::Role;
use pangeo_bot::domain::plan::{
    ApprovalRule, Plan, PlanContent, PlanDigest, PlanEssence, PlanFile, PlanState,
};
use pangeo_bot::domain::redact::Redactor;
use pangeo_bot::domain::schedule::ScheduleTimes;
use pangeo_bot::domain::seal::KeyRing;
use pangeo_bot::operations::start::known_steps;
use pangeo_bot::operations::{Control, Starter, Waker};
use pangeo_bot::store::Store;
use pangeo_bot::store::operations::{Rest, StepEnd};
use pangeo_bot::store::secrets::SecretOwner;
use pangeo_bot::store::vault::Vault;
use sandbox::discord::{Discord, DiscordOptions, Message, RateLimits};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::played::Played;

/// How long a test waits for something that should happen.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(45)
}

/// Discord's own description of its API, if it is there; then every request is held against it.
fn description() -> Option<PathBuf> {
    let folder = std::env::var("CONFORMANCE_DATA").ok()?;
    Some(PathBuf::from(folder).join("discord-openapi.json"))
}

/// A running chat.
pub(crate) struct Bot {
    chat: Arc<Chat>,
    ended: CancellationToken,
    task: JoinHandle<Result<(), ChatError>>,
    waker: JoinHandle<()>,
}

impl Bot {
    fn start(mut parts: Parts) -> Self {
        let ended = CancellationToken::new();
        let waker = Waker::new();
        parts.wake = waker.subscribe();
        let waker = tokio::spawn(waker.listen(parts.store.clone(), ended.clone()));
        let chat = Arc::new(Chat::new(parts));
        let task = tokio::spawn({
            let (chat, ended) = (Arc::clone(&chat), ended.clone());
            async move { chat.run(ended).await }
        });
        Self {
            chat,
            ended,
            task,
            waker,
        }
    }

    async fn until(&self, gateway: Gateway) {
        let mut state = self.chat.state();
        let reached = state.wait_for(|now| *now == gateway);
        tokio::time::timeout(patience(), reached)
            .await
            .unwrap_or_else(|_| panic!("{gateway:?} was not reached"))
            .unwrap();
    }

    pub(crate) async fn until_connected(&mut self) {
        self.until(Gateway::Connected).await;
    }

    pub(crate) async fn until_stands_by(&mut self) {
        self.until(Gateway::HeldByAnother).await;
    }

    pub(crate) async fn stop(self) {
        self.ended.cancel();
        tokio::time::timeout(patience(), self.task)
            .await
            .expect("the bot ends when told")
            .expect("the bot does not panic")
            .expect("the bot ends well");
        self.waker.await.unwrap();
    }
}

/// Everything.
pub(crate) struct World {
    pub(crate) discord: Arc<Discord>,
    store: Store,
    vault: Vault,
    played: Arc<Played>,
    parts: Parts,
    bot: Option<Bot>,
}

impl World {
    /// A Discord, and a bot that is connected and registered.
    pub(crate) async fn start(pool: PgPool) -> Self {
        let mut world = Self::without_bot(pool).await;
        world.start_bot().await;
        world.discord.wait_for_command("pangeo").await.unwrap();
        world
    }

    /// How a bot with this token ends.
    pub(crate) async fn run_with_token(pool: PgPool, token: &str) -> Result<(), ChatError> {
        let mut world = Self::without_bot(pool).await;
        world.parts.settings.login.token = SecretString::from(token);
        let chat = Chat::new(world.parts.clone());
        tokio::time::timeout(patience(), chat.run(CancellationToken::new()))
            .await
            .expect("a refused token ends the bot")
    }

    async fn without_bot(pool: PgPool) -> Self {
        // Shown with a test that fails.
        let _again = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_test_writer()
            .try_init();
        let options = DiscordOptions {
            rate_limits: RateLimits::Relaxed,
            openapi: description(),
            ..DiscordOptions::default()
        };
        let discord = Discord::start(options).await.unwrap();
        let store = Store::new(pool, Clock::system());
        let redactor = Redactor::new();
        let key = SecretString::from("07".repeat(32));
        let ring = Arc::new(KeyRing::new("k", [("k".to_owned(), key)]).unwrap());
        let vault = Vault::new(store.clone(), Arc::clone(&ring), redactor.clone());
        let catalogue = Arc::new(Catalogue::built_in(&known_steps()).unwrap());
        let played = Arc::new(Played::default());
        let role = |name: &str| {
            let id = discord.role_id(name).unwrap();
            (name.to_owned(), vec![DiscordRoleId(id.get())])
        };
        let parts = Parts {
            settings: Settings {
                login: DiscordLogin {
                    token: SecretString::from(discord.token()),
                    application_id: discord.application_id().get(),
                    guild: discord.guild_id().get(),
                },
                api_base: format!("{}/api/v10", discord.url()).parse().unwrap(),
                channels: vec![DiscordChannelId(discord.channel_id().get())],
                roles: ["operator", "approver", "viewer"].map(role).into(),
                domains: vec![HostName::parse("vm.fedcloud.eu").unwrap()],
                replica: "replica-1".to_owned(),
                schedules: ScheduleTimes::default(),
                token_told: None,
            },
            store: store.clone(),
            vault: vault.clone(),
            catalogue: Arc::clone(&catalogue),
            approvals: Approvals::new(store.clone()),
            redactor,
            plans: Arc::clone(&played) as Arc<dyn MakesPlans>,
            starter: Starter::new(store.clone(), Arc::clone(&catalogue)),
            control: Control::new(
                store.clone(),
                Arc::clone(&catalogue),
                Duration::from_secs(3600),
            ),
            looks: Arc::clone(&played) as Arc<dyn AnswersLooks>,
            links: OperationLinks::new(
                LinkSigner::new(&ring),
                "http://127.0.0.1:8080".parse().unwrap(),
                Duration::from_secs(3600),
            ),
            health: Health::new(),
            metrics: Metrics::new(),
            wake: Waker::new().subscribe(),
        };
        Self {
            discord,
            store,
            vault,
            played,
            parts,
            bot: None,
        }
    }

    pub(crate) async fn start_bot(&mut self) {
        let mut bot = Bot::start(self.parts.clone());
        bot.until_connected().await;
        self.bot = Some(bot);
    }

    /// Ends the bot as a signal does.
    pub(crate) async fn stop_bot(&mut self) {
        self.bot.take().unwrap().stop().await;
    }

    /// Ends the bot in the middle of whatever it does.
    pub(crate) async fn kill_bot(&mut self) {
        let bot = self.bot.take().unwrap();
        bot.task.abort();
        bot.waker.abort();
        assert!(bot.task.await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn restart_bot(&mut self) {
        self.stop_bot().await;
        self.start_bot().await;
    }

    /// A second bot on the same database.
    pub(crate) async fn other_bot(&self, replica: &str) -> Bot {
        let mut parts = self.parts.clone();
        parts.settings.replica = replica.to_owned();
        parts.health = Health::new();
        Bot::start(parts)
    }

    /// Nothing was asked of Discord that it does not know, and the bot ends when told.
    pub(crate) async fn ends_well(mut self) {
        if let Some(bot) = self.bot.take() {
            self.settles().await;
            bot.stop().await;
        }
        let unexpected = self.discord.unexpected_calls();
        assert!(unexpected.is_empty(), "{unexpected:?}");
        let violations = self.discord.violations();
        let ours: Vec<_> = violations.iter().filter(|one| one.by_bot).collect();
        assert!(ours.is_empty(), "{ours:?}");
    }

    /// Whether requests are held against Discord's description.
    pub(crate) fn checks_requests(&self) -> bool {
        description().is_some()
    }

    /// Waits until everything that was told is shown.
    pub(crate) async fn settles(&self) {
        let settled = async {
            while self.store.messages_due().await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(patience(), settled).await.is_err() {
            let due = self.store.messages_due().await.unwrap();
            panic!(
                "{due} messages stay in the outbox:\n{}",
                self.discord.transcript()
            );
        }
    }

    /// Waits until everything is shown and Discord was asked nothing for a moment: whatever comes
    /// next has a new cause.
    pub(crate) async fn rests(&self) {
        self.settles().await;
        let mut asked = self.discord.requests().len();
        let mut since = std::time::Instant::now();
        while since.elapsed() < Duration::from_millis(1500) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.discord.requests().len();
            if now != asked {
                (asked, since) = (now, std::time::Instant::now());
            }
        }
    }

    /// How many grants of a plan count.
    pub(crate) async fn grants(&self, plan: PlanId) -> usize {
        self.store.grants(plan).await.unwrap().len()
    }

    /// Takes the operation of a started plan on to its end, as the runner would.
    pub(crate) async fn runs_operation(&self, log: &[&str], rest: &Rest) -> Operation {
        let claimed = self
            .store
            .claim_operation("runner", &[], Duration::from_secs(60))
            .await
            .unwrap();
        let (operation, claim) = claimed.expect("an operation may run");
        let steps = self.store.steps(operation.id).await.unwrap();
        let lines: Vec<String> = log.iter().map(|line| (*line).to_owned()).collect();
        for step in &steps {
            self.store.step_intent(claim, &step.name).await.unwrap();
            self.store
                .append_log(operation.id, &step.name, &lines)
                .await
                .unwrap();
            let (state, error) = match rest {
                Rest::Stopped { reason, .. } | Rest::Outdated { reason, .. } => {
                    (StepState::Failed, Some(reason.as_str()))
                }
                Rest::Until(_) | Rest::Ended(_) => (StepState::Done, None),
            };
            let end = StepEnd::without_output(state, error.map(str::to_owned));
            self.store
                .step_result(claim, &step.name, &end)
                .await
                .unwrap();
        }
        let ended_well = *rest == Rest::Ended(OperationState::Succeeded);
        let phase = ended_well.then_some(Phase::Running);
        self.store.rest(claim, rest, phase).await.unwrap();
        operation
    }

    pub(crate) fn person(&self, name: &str) -> sandbox::discord::Person {
        self.discord.person(name)
    }

    pub(crate) fn plans_asked_for(&self) -> usize {
        self.played.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn slow_looks(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap();
        self.played.slow_ms.store(ms, Ordering::SeqCst);
    }

    /// Keeps a plan to deploy a cluster, asked for by mia, who may approve others' plans.
    pub(crate) async fn plan(&self, name: &str, needed: u32) -> PlanId {
        let now = self.store.clock().now();
        let essence = PlanEssence {
            command: "deploy".to_owned(),
            target: name.to_owned(),
            options: self.deploy_options(name),
            target_revision: 0,
            steps: vec!["check-dns-name".to_owned(), "check-oidc-client".to_owned()],
        };
        let plan = Plan {
            id: PlanId::new(),
            digest: PlanDigest::of(&essence),
            essence,
            content: PlanContent {
                summary: format!("Create the cluster {name}"),
                difference: vec![format!("+ cluster {name}")],
                estimate: vec!["cores: 20 of 64 free".to_owned()],
                warnings: vec!["the tag is latest".to_owned()],
            },
            rule: ApprovalRule {
                needed,
                from: vec![Role::Approver],
                then_ask: Vec::new(),
                may_force: true,
            },
            requester: DiscordUserId(self.person("mia").id().get()),
            channel: DiscordChannelId(self.discord.channel_id().get()),
            state: PlanState::Waiting,
            state_reason: None,
            superseded_by: None,
            created_at: now,
            expires_at: now + chrono::Duration::hours(24),
            posted_in_full_at: None,
            reminded_at: None,
            forced: None,
            reviewed_by: None,
        };
        let files = ["values.yaml", "inputs.yaml"].map(|file| PlanFile {
            name: file.to_owned(),
            content: format!("# {file} of {name}\n"),
        });
        self.store.insert_plan(&plan, None, &files).await.unwrap();
        plan.id
    }

    fn deploy_options(&self, name: &str) -> serde_json::Value {
        let given: BTreeMap<String, RawValue> = [
            ("name", name.to_owned()),
            ("host", format!("{name}.vm.fedcloud.eu")),
            ("auth", "native".to_owned()),
            ("email", "ana@example.org".to_owned()),
        ]
        .into_iter()
        .map(|(option, value)| (option.to_owned(), RawValue::Text(value)))
        .collect();
        let command = self.parts.catalogue.get("deploy").unwrap();
        let options = parse_options(command, &given).unwrap();
        let defaults = DeployDefaults {
            email: None,
            email_needed: true,
            chart_version: "2022.8.2".to_owned(),
            domains: vec![HostName::parse("vm.fedcloud.eu").unwrap()],
            today: self.store.clock().now().date_naive(),
        };
        serde_json::to_value(deploy_options(&options, &defaults).unwrap()).unwrap()
    }

    /// The message of a plan, once it is complete.
    pub(crate) async fn plan_message(&self, plan: PlanId) -> Message {
        let footer = format!("plan {}", plan.short());
        self.until("the plan's message", |discord| {
            let messages = discord.messages(discord.channel_id());
            messages
                .into_iter()
                .find(|message| message.says(&footer) && message.reaction_count("❌") >= 1)
        })
        .await
    }

    pub(crate) fn messages_that_say(&self, text: &str) -> usize {
        let messages = self.discord.messages(self.discord.channel_id());
        messages.iter().filter(|message| message.says(text)).count()
    }

    /// Waits until Discord shows something.
    pub(crate) async fn until<T>(&self, what: &str, look: impl FnMut(&Discord) -> Option<T>) -> T
    where
        T: Send,
    {
        let mut look = look;
        self.discord
            .wait_until(patience(), |discord| look(discord))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Waits until the bot told a person something privately.
    pub(crate) async fn until_told(&self, name: &str, text: &str) {
        let person = self.person(name);
        self.until(&format!("{name} is told"), |discord| {
            let messages = discord.direct_messages(&person);
            messages
                .iter()
                .any(|message| message.says(text))
                .then_some(())
        })
        .await;
    }

    pub(crate) async fn state_of(&self, plan: PlanId) -> PlanState {
        self.store.plan(plan).await.unwrap().unwrap().state
    }

    pub(crate) async fn until_state(&self, plan: PlanId, wanted: PlanState) {
        let reached = async {
            while self.state_of(plan).await != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(patience(), reached).await.is_err() {
            let now = self.state_of(plan).await;
            panic!(
                "the plan is {now:?}, not {wanted:?}:\n{}",
                self.discord.transcript()
            );
        }
    }

    /// The bot knows this secret, as if it had opened it.
    pub(crate) fn knows_secret(&self, secret: &str) {
        self.parts.redactor.learn(&SecretString::from(secret));
    }

    pub(crate) async fn secret(&self, host: &str, name: &str) -> Option<String> {
        let owner = SecretOwner::Host(HostName::parse(host).unwrap());
        let secret = self.vault.get(&owner, name).await.unwrap()?;
        Some(secret.expose_secret().to_owned())
    }

    /// How many rows of the audit have this action.
    pub(crate) async fn audited(&self, action: &str) -> usize {
        let rows = self.store.audit_rows_after(0).await.unwrap();
        rows.iter().filter(|row| row.action == action).count()
    }
}
