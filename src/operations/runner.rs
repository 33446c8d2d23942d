//! The loop that claims operations and takes them from step to step.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::error::StepError;
use super::start::brings_cluster;
use super::steps::Registry;
use super::{Progress, Services, Step, StepContext, Undo, Waker};
use crate::domain::cluster::Phase;
use crate::domain::ids::OperationId;
use crate::domain::metrics::{Metrics, Outcome};
use crate::domain::operation::{Direction, Operation, OperationState, StepRow, StepState};
use crate::domain::redact::Redactor;
use crate::store::operations::{Claim, Rest, StepEnd};
use crate::store::slots::SlotHeld;
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};

/// How often the loop looks although nobody woke it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many times in a row a step may fail in a way that may pass.
const TRIES: i32 = 8;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// The longest one run of a step; a step waits by coming back, not by staying.
const STEP_LIMIT: Duration = Duration::from_mins(10);

/// The longest time in which a step answers that it waits; longer than helm may take. Something
/// outside then stands still, such as a request that the cloud never serves.
const WAIT_LIMIT: Duration = Duration::from_hours(3);

/// How a replica works.
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// This replica's name; two that run at once have two names.
    pub replica: String,
    /// Whether the name is still this process's.
    pub held: SlotHeld,
    /// How many operations it runs at once.
    pub parallel: usize,
}

/// Runs operations until the bot ends.
#[derive(Clone)]
pub struct Runner {
    options: RunnerOptions,
    store: Store,
    vault: Vault,
    redactor: Redactor,
    services: Arc<Services>,
    steps: Arc<Registry>,
    waker: Waker,
    metrics: Metrics,
}

/// What to do after a step.
enum Next {
    /// The following step at once.
    Go,
    /// Give the lease back.
    Rest(Rest, Option<Phase>),
}

impl Runner {
    /// A runner over its parts.
    pub fn new(
        options: RunnerOptions,
        store: Store,
        vault: Vault,
        redactor: Redactor,
        services: Arc<Services>,
    ) -> Self {
        let steps = Arc::new(Registry::all());
        Self {
            options,
            store,
            vault,
            redactor,
            services,
            steps,
            waker: Waker::new(),
            metrics: Metrics::new(),
        }
    }

    /// Listens to this waker, too.
    #[must_use]
    pub fn woken_by(self, waker: Waker) -> Self {
        Self { waker, ..self }
    }

    /// Counts attempts there.
    #[must_use]
    pub fn counted_by(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Claims and runs until the bot ends; what is in hand is dropped then and continued by the
    /// next process.
    ///
    /// # Errors
    /// Only when a task of an operation panicked, which is a fault of the bot.
    pub async fn run(self, ended: CancellationToken) -> anyhow::Result<()> {
        let mut woken = self.waker.subscribe();
        let mut hands: JoinSet<OperationId> = JoinSet::new();
        let mut in_hand: Vec<OperationId> = Vec::new();
        loop {
            woken.mark_unchanged();
            while hands.len() < self.options.parallel && self.options.held.is_held() {
                match self.claim(&in_hand).await {
                    Some((operation, claim)) => {
                        in_hand.push(operation.id);
                        let runner = self.clone();
                        hands.spawn(async move {
                            let id = operation.id;
                            runner.work(operation, claim).await;
                            id
                        });
                    }
                    None => break,
                }
            }
            let pause = self.pause().await;
            tokio::select! {
                () = ended.cancelled() => return Ok(()),
                Some(finished) = hands.join_next() => {
                    let id = finished?;
                    in_hand.retain(|other| *other != id);
                }
                _ = tokio::time::timeout(pause, woken.changed()) => {}
            }
        }
    }

    async fn claim(&self, in_hand: &[OperationId]) -> Option<(Operation, Claim)> {
        let lease = self.services.settings.lease;
        match self
            .store
            .claim_operation(&self.options.replica, in_hand, lease)
            .await
        {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "could not look for operations"
                );
                None
            }
        }
    }

    /// Until the next wake-up, or the next look.
    async fn pause(&self) -> Duration {
        let next = self.store.next_wake_up().await.ok().flatten();
        next.and_then(|at| (at - self.store.clock().now()).to_std().ok())
            .map_or(LOOK_EVERY, |until| {
                until.clamp(Duration::from_millis(5), LOOK_EVERY)
            })
    }

    async fn work(&self, operation: Operation, claim: Claim) {
        let span = tracing::info_span!(
            "operation",
            operation.id = %operation.id,
            operation.command = operation.command,
            operation.attempt = claim.attempt,
            cluster.name = operation.target,
        );
        let id = operation.id;
        async {
            match self.step_by_step(operation, claim).await {
                Ok(()) => {}
                Err(StoreError::Fenced) => {
                    tracing::info!("another replica took operation {id} over");
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn Error,
                    "operation {id} could not go on; its lease ends and it is tried again"
                ),
            }
        }
        .instrument(span)
        .await;
    }

    async fn step_by_step(&self, operation: Operation, claim: Claim) -> Result<(), StoreError> {
        let mut operation = operation;
        loop {
            let next = match operation.direction {
                Direction::Do => self.one_step(&operation, claim).await?,
                Direction::Undo => self.one_undo(&operation, claim).await?,
            };
            if let Next::Rest(rest, phase) = next {
                return self.store.rest(claim, &rest, phase).await;
            }
            match self.store.operation(operation.id).await? {
                Some(fresh) if fresh.attempt == claim.attempt => operation = fresh,
                _ => return Err(StoreError::Fenced),
            }
        }
    }

    async fn one_step(&self, operation: &Operation, claim: Claim) -> Result<Next, StoreError> {
        let began = Instant::now();
        let steps = self.store.steps(operation.id).await?;
        let Some(row) = steps.iter().find(|row| row.state != StepState::Done) else {
            return Ok(Next::Rest(Rest::Ended(OperationState::Succeeded), None));
        };
        if let Some(stop) = self.must_stop(operation, row) {
            return Ok(stop);
        }
        let Some(step) = self.steps.find(&operation.options, &row.name) else {
            return Ok(stopped(
                format!("this bot does not know the step `{}`", row.name),
                "another version of the bot started this operation; run that one, or leave it",
            ));
        };
        // Whether nothing was ever tried.
        let is_first = steps.first().is_some_and(|first| first.name == row.name)
            && row.state == StepState::Pending;
        let row = self.store.step_intent(claim, &row.name).await?;
        let prepared = self.context(operation, claim, &steps, &row).await?;
        let outcome = self.attempt(step, &prepared).await;
        let next = match outcome {
            Ok(Progress::Done(output)) => {
                let state = StepState::Done;
                let end = StepEnd {
                    state,
                    output,
                    error: None,
                };
                self.store.step_result(claim, &row.name, &end).await?;
                Next::Go
            }
            Ok(Progress::Wait { after, note }) => {
                self.wait(claim, step, &row, (after, &note)).await?
            }
            // One that is left keeps the name of the cluster that it brought.
            Err(error @ StepError::Outdated(_)) if brings_cluster(&operation.command) => {
                let hint = "undo this operation and run the command again for a new plan";
                let error = StepError::needs_human(error.to_string(), hint);
                self.step_failed(claim, &row, error).await?
            }
            Err(error @ StepError::Outdated(_)) if is_first => {
                self.outdated(claim, &row, &error).await?
            }
            Err(error) => self.step_failed(claim, &row, error).await?,
        };
        Ok(self.counted(step.name(), began, next))
    }

    /// Nothing was done, and what was approved can't be: nobody need decide what becomes of it.
    async fn outdated(
        &self,
        claim: Claim,
        row: &StepRow,
        error: &StepError,
    ) -> Result<Next, StoreError> {
        let words = self.logged(claim, row, error).await?;
        let reason = self.gives_up(claim, row, (error, words)).await?;
        let hint = "nothing was done; run the command again for a new plan".to_owned();
        Ok(Next::Rest(Rest::Outdated { reason, hint }, None))
    }

    async fn one_undo(&self, operation: &Operation, claim: Claim) -> Result<Next, StoreError> {
        let began = Instant::now();
        let steps = self.store.steps(operation.id).await?;
        let row = steps.iter().rev().find(|row| match row.state {
            StepState::Running | StepState::Done | StepState::Failed => true,
            StepState::Pending | StepState::Undone | StepState::Left => false,
        });
        let Some(row) = row else {
            // Only what brought the cluster takes it away.
            let phase = brings_cluster(&operation.command).then_some(Phase::Removed);
            return Ok(Next::Rest(Rest::Ended(OperationState::Undone), phase));
        };
        if let Some(stop) = self.must_stop(operation, row) {
            return Ok(stop);
        }
        let Some(step) = self.steps.find(&operation.options, &row.name) else {
            return Ok(stopped(
                format!("this bot does not know the step `{}`", row.name),
                "another version of the bot started this operation; run that one, or leave it",
            ));
        };
        let row = self.store.step_intent(claim, &row.name).await?;
        let context = self.context(operation, claim, &steps, &row).await?;
        let outcome = self.guarded(claim, step.undo(&context.borrow(self))).await;
        let next = match outcome {
            Ok(Undo::Undone) => {
                let end = StepEnd::without_output(StepState::Undone, None);
                self.store.step_result(claim, &row.name, &end).await?;
                Next::Go
            }
            Ok(Undo::Left(what)) => {
                let what = self.redactor.redact(&what).into_owned();
                let end = StepEnd::without_output(StepState::Left, Some(what));
                self.store.step_result(claim, &row.name, &end).await?;
                Next::Go
            }
            Ok(Undo::Wait { after, note }) => self.wait(claim, step, &row, (after, &note)).await?,
            Err(error) => self.step_failed(claim, &row, error).await?,
        };
        Ok(self.counted(&format!("undo {}", step.name()), began, next))
    }

    /// Counts an attempt, with what was read and written for it.
    fn counted(&self, step: &str, began: Instant, next: Next) -> Next {
        let outcome = match &next {
            Next::Go | Next::Rest(Rest::Ended(_), _) => Outcome::Done,
            Next::Rest(Rest::Until(_), _) => Outcome::Retry,
            Next::Rest(Rest::Stopped { .. } | Rest::Outdated { .. }, _) => Outcome::Failed,
        };
        self.metrics.step(step, outcome, began.elapsed());
        next
    }

    /// Whether somebody cancelled it or its time is over, before a step is done or undone.
    fn must_stop(&self, operation: &Operation, row: &StepRow) -> Option<Next> {
        let step = &row.name;
        let done = match operation.direction {
            Direction::Do => "done",
            Direction::Undo => "undone",
        };
        if let Some(by) = operation.cancel_requested_by {
            return Some(stopped(
                format!("<@{by}> cancelled it before `{step}` was {done}"),
                "undo what was done, leave it for inspection, or retry",
            ));
        }
        if self.store.clock().now() >= operation.deadline {
            let at = row.note.as_deref().map_or_else(String::new, |note| {
                format!("; the last that was seen: {note}")
            });
            return Some(stopped(
                format!("its time limit ended before `{step}` was {done}{at}"),
                "see what holds that step up, then retry, which gives it new time, or undo",
            ));
        }
        None
    }

    async fn attempt(&self, step: &dyn Step, prepared: &Prepared) -> Result<Progress, StepError> {
        let span = tracing::info_span!(
            "step",
            step.name = prepared.step.name,
            step.attempt = prepared.step.attempts
        );
        let context = prepared.borrow(self);
        self.guarded(prepared.claim, step.run(&context))
            .instrument(span)
            .await
    }

    /// Runs a step's future within its limit, while the lease is kept alive beside it.
    async fn guarded<T>(
        &self,
        claim: Claim,
        future: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let lease = self.services.settings.lease;
        let limited = async {
            let ended = tokio::time::timeout(STEP_LIMIT, future).await;
            ended.unwrap_or_else(|elapsed| {
                Err(StepError::Retry {
                    reason: format!(
                        "the step did not answer within {} minutes",
                        STEP_LIMIT.as_secs() / 60
                    ),
                    hint: "look at the log; an outside system hangs".to_owned(),
                    source: Some(elapsed.into()),
                })
            })
        };
        let lost = async {
            let mut beat = tokio::time::interval(lease / 3);
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            beat.tick().await;
            loop {
                beat.tick().await;
                // A database that is away for a moment must not end a step; its result will tell.
                let prolonged = self.store.prolong_lease(claim, lease).await;
                if let Err(error @ StoreError::Fenced) = prolonged {
                    return StepError::Store(error);
                }
            }
        };
        unless(lost, limited).await
    }

    /// Lets a step look again after a pause, unless it has waited for too long.
    async fn wait(
        &self,
        claim: Claim,
        step: &dyn Step,
        row: &StepRow,
        (after, note): (Duration, &str),
    ) -> Result<Next, StoreError> {
        let now = self.store.clock().now();
        let waited = row.intent_at.and_then(|from| (now - from).to_std().ok());
        if waited.is_some_and(|waited| waited >= WAIT_LIMIT) {
            let hours = WAIT_LIMIT.as_secs() / 3600;
            let reason = format!("it has waited for {hours} hours: {note}");
            let error = StepError::needs_human(reason, step.when_stuck());
            return self.step_failed(claim, row, error).await;
        }
        let note = self.redactor.redact(note);
        self.store.step_waits(claim, &row.name, &note).await?;
        Ok(self.until(after))
    }

    async fn step_failed(
        &self,
        claim: Claim,
        row: &StepRow,
        error: StepError,
    ) -> Result<Next, StoreError> {
        if error.is_fenced() {
            return Err(StoreError::Fenced);
        }
        let words = self.logged(claim, row, &error).await?;
        if error.is_transient() && row.attempts < TRIES {
            let pause = back_off(self.services.settings.poll, row.attempts);
            tracing::info!(
                error = &error as &dyn Error,
                step.name = row.name,
                step.attempt = row.attempts,
                "a step failed and is tried again"
            );
            let note = format!("{words}; try {} of {TRIES} follows", row.attempts + 1);
            self.store.step_note(claim, &row.name, &note).await?;
            return Ok(self.until(pause));
        }
        let reason = self.gives_up(claim, row, (&error, words)).await?;
        let hint = self.redactor.redact(error.hint()).into_owned();
        Ok(Next::Rest(Rest::Stopped { reason, hint }, None))
    }

    /// What failed, in words for the channel; the operation's log has them now.
    async fn logged(
        &self,
        claim: Claim,
        row: &StepRow,
        error: &StepError,
    ) -> Result<String, StoreError> {
        let words = self.redactor.redact(&error.for_people()).into_owned();
        self.store
            .append_log(claim.operation, &row.name, &[format!("✗ {words}")])
            .await?;
        Ok(words)
    }

    /// Marks a step as failed; why the operation goes no further, in words for the channel.
    async fn gives_up(
        &self,
        claim: Claim,
        row: &StepRow,
        (error, words): (&StepError, String),
    ) -> Result<String, StoreError> {
        tracing::warn!(
            error = error as &dyn Error,
            step.name = row.name,
            step.attempt = row.attempts,
            "a step gave up"
        );
        let reason = format!("`{}`: {words}", row.name);
        let end = StepEnd::without_output(StepState::Failed, Some(words));
        self.store.step_result(claim, &row.name, &end).await?;
        Ok(reason)
    }

    fn until(&self, after: Duration) -> Next {
        let after = TimeDelta::from_std(after).unwrap_or(TimeDelta::minutes(1));
        Next::Rest(Rest::Until(self.store.clock().now() + after), None)
    }

    async fn context(
        &self,
        operation: &Operation,
        claim: Claim,
        steps: &[StepRow],
        row: &StepRow,
    ) -> Result<Prepared, StoreError> {
        let cluster = self
            .store
            .cluster(operation.cluster)
            .await?
            .ok_or_else(|| StoreError::Unreadable {
                what: "a cluster",
                problem: format!("{} is not there", operation.cluster),
            })?;
        Ok(Prepared {
            operation: operation.clone(),
            cluster,
            steps: steps.to_vec(),
            step: row.clone(),
            claim,
        })
    }
}

/// Everything a context borrows.
struct Prepared {
    operation: Operation,
    cluster: crate::domain::cluster::Cluster,
    steps: Vec<StepRow>,
    step: StepRow,
    claim: Claim,
}

impl Prepared {
    fn borrow<'a>(&'a self, runner: &'a Runner) -> StepContext<'a> {
        StepContext {
            services: &runner.services,
            store: &runner.store,
            vault: &runner.vault,
            operation: &self.operation,
            cluster: &self.cluster,
            steps: &self.steps,
            step: &self.step,
            claim: self.claim,
            redactor: &runner.redactor,
        }
    }
}

/// What `work` ends with, or the error of `lost` if that comes first.
///
/// Both go on at the same time: were `work` put aside while the other waits for the database, it
/// could hold, in an open transaction, the very row that the other waits for, and neither would
/// ever end.
async fn unless<T, E>(
    lost: impl Future<Output = E>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        ended = work => ended,
        error = lost => Err(error),
    }
}

fn stopped(reason: String, hint: &str) -> Next {
    Next::Rest(
        Rest::Stopped {
            reason,
            hint: hint.to_owned(),
        },
        None,
    )
}

/// The pause after the n-th failure in a row: `poll`, twice that, four times that, up to a limit.
fn back_off(poll: Duration, failures: i32) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1))
        .unwrap_or(0)
        .min(16);
    poll.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_beat_that_waits_for_a_row_of_the_step_does_not_stop_the_step() {
        let row = tokio::sync::Mutex::new(());
        let pause = tokio::task::yield_now;
        let beats = async {
            loop {
                pause().await;
                drop(row.lock().await);
            }
        };
        let step = async {
            for _transaction in 0..5 {
                let held = row.lock().await;
                pause().await;
                pause().await;
                drop(held);
            }
            Ok::<_, ()>(())
        };
        let ended = tokio::time::timeout(Duration::from_secs(5), unless(beats, step));
        assert_eq!(ended.await, Ok(Ok(())), "each waits for the other");
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let poll = Duration::from_secs(5);
        let pauses: Vec<u64> = (1..=8).map(|n| back_off(poll, n).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 120, 120, 120]);
        assert_eq!(back_off(poll, i32::MAX), LONGEST_PAUSE);
    }
}
