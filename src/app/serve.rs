//! `serve`: the bot.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::parts::{self, Parts, WatchedToken};
use super::watching::{proven_within, token_told, watch_settings};
use crate::approvals::Approvals;
use crate::chat::{self, Chat};
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::health::Health;
use crate::domain::links::{LinkSigner, OperationLinks};
use crate::domain::metrics::Metrics;
use crate::domain::redact::Redactor;
use crate::domain::time::TimeOfDay;
use crate::looks::Looks;
use crate::looks::follow::Follower;
use crate::operations::{
    Control, EndDates, Prover, Runner, RunnerOptions, Services, Starter, Waker,
};
use crate::plans::{PlanSettings, Planner};
use crate::store::slots::{Slot, SlotHeld};
use crate::watch::{Digest, DigestSettings, Mirrors, Sampler, Watcher};
use crate::web::{self, WebParts};

/// How often tokens that something else renews are read again.
const READ_TOKENS_EVERY: Duration = Duration::from_secs(5);

/// How long an operation that is taken up again may take.
const TAKEN_UP_TIME_LIMIT: Duration = Duration::from_hours(4);

/// How long the parts may take to end; with what comes before and after it stays below 5 s.
const ENDS_WITHIN: Duration = Duration::from_secs(4);

/// The parts of the bot, by name.
#[derive(Default)]
struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    names: Vec<(&'static str, AbortHandle)>,
}

impl Tasks {
    fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let handle = self.running.spawn(part);
        self.names.push((name, handle));
    }

    /// Waits until all have ended, but not longer than `limit`: a part may wait for a database
    /// that is gone. Answers which did not end; they are dropped where they stand, as by a kill.
    async fn end(mut self, limit: Duration) -> Vec<&'static str> {
        let all = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_ok() {
            return Vec::new();
        }
        let left = self.names.iter().filter(|(_, part)| !part.is_finished());
        left.map(|(name, _)| *name).collect()
    }
}

/// Opens the database and what lies in it, and takes a name for this replica.
async fn open(
    config: &Arc<Config>,
    clock: Clock,
    redactor: Redactor,
) -> anyhow::Result<(Parts, Slot)> {
    let parts = Parts::open(config.clone(), clock, redactor).await?;
    parts
        .store
        .migrate()
        .await
        .context("migrate the database")?;
    parts
        .vault
        .learn_all()
        .await
        .context("open the sealed secrets")?;
    let slot = parts
        .store
        .take_slot()
        .await?
        .context("64 replicas run already")?;
    Ok((parts, slot))
}

/// Runs the bot until `ended`, or until a part of it fails; then ends within 5 s, also without a
/// database.
///
/// # Errors
/// When the configuration lacks something, the database does not answer at the start, Discord
/// refuses the token, or a part fails for good; the process should then be started again.
pub async fn serve(
    config: Arc<Config>,
    clock: Clock,
    redactor: Redactor,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    config.require_for_serve()?;
    let (parts, slot) = tokio::select! {
        () = ended.cancelled() => return Ok(()),
        opened = open(&config, clock, redactor) => opened?,
    };
    let (health, metrics) = (Health::new(), Metrics::new());
    let (services, tokens) = parts::services(&config, &metrics)?;
    let services = Arc::new(services);
    let (replica, held) = (slot.name(), slot.held());
    tracing::info!(replica, version = env!("CARGO_PKG_VERSION"), "starts");

    let waker = Waker::new();
    let links = links(&parts)?;
    let own = (&health, &metrics, &links);
    let chat = chat_parts(&parts, &services, &replica, &waker, own)?;
    let web = WebParts {
        store: parts.store.clone(),
        links,
        redactor: parts.redactor.clone(),
        metrics: metrics.clone(),
        health,
    };
    let listener = TcpListener::bind(config.web.listen)
        .await
        .with_context(|| format!("listen on {}", config.web.listen))?;
    let looks = Looks::new(parts.store.clone(), parts.vault.clone(), services.clone());
    let follower = Follower::new(looks, &replica);
    let watch = watch(&parts, &services, &replica, &metrics);
    let runner = runner(&parts, services, (replica, held))
        .woken_by(waker.clone())
        .counted_by(metrics);

    let ends = ended.child_token();
    let mut tasks = Tasks::default();
    tasks.spawn("slot", slot.keep(parts.store.clone(), ends.clone()));
    tasks.spawn(
        "wake-up calls",
        listen(waker, parts.store.clone(), ends.clone()),
    );
    let reads = read_tokens(tokens, parts.redactor.clone(), ends.clone());
    tasks.spawn("tokens", reads);
    tasks.spawn("operations", runner.run(ends.clone()));
    watch.spawn(&mut tasks, &ends);
    tasks.spawn("followed logs", follow(follower, ends.clone()));
    tasks.spawn("chat", talk(Chat::new(chat), ends.clone()));
    tasks.spawn("pages", show(listener, web, ends.clone()));
    let first = tasks.running.join_next().await;
    ends.cancel();
    let outcome = match first {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(error.into()),
        None => Ok(()),
    };
    if !ended.is_cancelled() && outcome.is_ok() {
        anyhow::bail!("a part of the bot ended although nobody asked for it");
    }
    end(tasks).await;
    outcome
}

/// Ends the parts, and names those that do not end in time.
async fn end(tasks: Tasks) {
    let left = tasks.end(ENDS_WITHIN).await;
    if !left.is_empty() {
        tracing::warn!(
            parts = left.join(", "),
            "did not end within {} s, as without a database, and are dropped; what they did goes \
             on after the next start",
            ENDS_WITHIN.as_secs()
        );
    }
}

fn links(parts: &Parts) -> anyhow::Result<OperationLinks> {
    let web = &parts.config.web;
    let signer = match &web.link_key {
        Some(key) => LinkSigner::with_key(key).context("read the key that signs links")?,
        None => LinkSigner::new(&parts.keys),
    };
    Ok(OperationLinks::new(
        signer,
        web.public_url.clone(),
        web.link_lifetime,
    ))
}

fn chat_parts(
    parts: &Parts,
    services: &Arc<Services>,
    replica: &str,
    waker: &Waker,
    (health, metrics, links): (&Health, &Metrics, &OperationLinks),
) -> anyhow::Result<chat::Parts> {
    let config = &parts.config;
    let (store, vault) = (&parts.store, &parts.vault);
    let settings = PlanSettings {
        email: config.vo.email.clone(),
        chart_version: config.helm.default_version.clone(),
        known_charts: config.helm.known_versions.clone(),
        domains: config.dns.domains.clone(),
        schedules: config.schedules.times(),
        events: config.events.times(),
    };
    let planner = Planner::new(
        store.clone(),
        vault.clone(),
        services.clone(),
        parts.catalogue.clone(),
        settings,
    );
    Ok(chat::Parts {
        settings: chat::Settings {
            login: config.discord_login()?,
            api_base: config.discord.api_base.clone(),
            channels: config.discord.channels.clone(),
            roles: config
                .discord
                .roles
                .iter()
                .map(|(role, ids)| (role.as_str().to_owned(), ids.clone()))
                .collect(),
            domains: config.dns.domains.clone(),
            replica: replica.to_owned(),
            schedules: config.schedules.times(),
            token_told: token_told(&config.watch),
        },
        store: store.clone(),
        vault: vault.clone(),
        catalogue: parts.catalogue.clone(),
        approvals: Approvals::new(store.clone()),
        redactor: parts.redactor.clone(),
        plans: Arc::new(planner),
        starter: Starter::new(store.clone(), parts.catalogue.clone()),
        control: Control::new(store.clone(), parts.catalogue.clone(), TAKEN_UP_TIME_LIMIT),
        looks: Arc::new(Looks::new(store.clone(), vault.clone(), services.clone())),
        links: links.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        wake: waker.subscribe(),
    })
}

async fn follow(follower: Follower, ended: CancellationToken) -> anyhow::Result<()> {
    follower.run(ended).await;
    Ok(())
}

async fn talk(chat: Chat, ended: CancellationToken) -> anyhow::Result<()> {
    chat.run(ended).await.context("talk to Discord")
}

async fn show(
    listener: TcpListener,
    parts: WebParts,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    web::serve(listener, parts, ended)
        .await
        .context("serve the bot's pages")
}

fn runner(parts: &Parts, services: Arc<Services>, slot: (String, SlotHeld)) -> Runner {
    let (replica, held) = slot;
    let options = RunnerOptions {
        replica,
        held,
        parallel: parts.config.operations.parallel,
    };
    let (store, vault) = (parts.store.clone(), parts.vault.clone());
    Runner::new(options, store, vault, parts.redactor.clone(), services)
}

/// What looks all the time, and proves what it found to be cured.
struct Watch {
    mirrors: Arc<Mirrors>,
    sampler: Sampler,
    watcher: Option<Watcher>,
    digest: Option<Digest>,
    end_dates: Option<EndDates>,
    prover: Prover,
}

fn watch(parts: &Parts, services: &Arc<Services>, replica: &str, metrics: &Metrics) -> Watch {
    let (store, vault) = (&parts.store, &parts.vault);
    let channel = parts.config.discord.channels.first();
    let replica = || replica.to_owned();
    let mirrors = Mirrors::new(store.clone(), vault.clone(), services.clone(), replica());
    let mirrors = Arc::new(mirrors);
    Watch {
        sampler: Sampler::new(
            store.clone(),
            Arc::clone(&mirrors),
            parts.config.watch.sample,
        ),
        watcher: channel.and_then(|channel| {
            let settings = watch_settings(&parts.config.watch, *channel)?;
            let looks = Looks::new(store.clone(), vault.clone(), services.clone());
            let watcher = Watcher::new(settings, looks, Arc::clone(&mirrors));
            Some(watcher.counted_by(metrics.clone()))
        }),
        digest: channel.and_then(|channel| {
            let at = TimeOfDay::parse(&parts.config.watch.digest_at).ok()?;
            let looks = Looks::new(store.clone(), vault.clone(), services.clone());
            let idle_days = parts.config.watch.idle_days;
            let settings = DigestSettings {
                replica: replica(),
                channel: *channel,
                at,
                idle_after: (idle_days > 0).then(|| TimeDelta::days(idle_days.into())),
            };
            Some(Digest::new(settings, store.clone(), looks))
        }),
        end_dates: channel.map(|channel| EndDates::new(store.clone(), replica(), *channel)),
        prover: Prover::new(
            store.clone(),
            vault.clone(),
            services.clone(),
            replica(),
            proven_within(&parts.config.watch),
        ),
        mirrors,
    }
}

impl Watch {
    /// Each runs until the bot ends.
    fn spawn(self, tasks: &mut Tasks, ends: &CancellationToken) {
        tasks.spawn("clusters", self.mirrors.run(ends.clone()).map(Ok));
        tasks.spawn("proofs", self.prover.run(ends.clone()).map(Ok));
        tasks.spawn("samples", self.sampler.run(ends.clone()).map(Ok));
        if let Some(watcher) = self.watcher {
            tasks.spawn("watch", watcher.run(ends.clone()).map(Ok));
        }
        if let Some(digest) = self.digest {
            tasks.spawn("digest", digest.run(ends.clone()).map(Ok));
        }
        if let Some(end_dates) = self.end_dates {
            tasks.spawn("end dates", end_dates.run(ends.clone()).map(Ok));
        }
    }
}

async fn listen(
    waker: Waker,
    store: crate::store::Store,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    waker.listen(store, ended).await;
    Ok(())
}

/// Reads the tokens again that something else renews.
async fn read_tokens(
    tokens: Vec<WatchedToken>,
    redactor: Redactor,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(READ_TOKENS_EVERY);
    loop {
        tokio::select! {
            () = ended.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        for token in &tokens {
            match token.source.read() {
                Ok(secret) => {
                    redactor.learn(&secret);
                    token.cell.set(secret);
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not read a token again; the one before stays"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_does_not_end_is_named_and_dropped() {
        let mut tasks = Tasks::default();
        let guard = Arc::new(());
        let held = guard.clone();
        tasks.spawn("chat", async { Ok(()) });
        tasks.spawn("operations", async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        });
        let began = std::time::Instant::now();
        let left = tasks.end(Duration::from_millis(50)).await;
        assert_eq!(left, ["operations"]);
        assert!(began.elapsed() < Duration::from_secs(5));
        // Dropped with all that it held, not left to run on.
        while Arc::strong_count(&guard) > 1 {
            tokio::task::yield_now().await;
        }
        let mut tasks = Tasks::default();
        tasks.spawn("chat", async { Ok(()) });
        assert!(tasks.end(ENDS_WITHIN).await.is_empty());
    }
}
