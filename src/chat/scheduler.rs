//! Schedules: tells of runs that come soon, and makes their plans when they are due.
//!
//! ```text
//! next_at − 10 min ──▶ told in the channel, with a button that skips it
//! next_at ──▶ claimed ──▶ skipped? late? still the approved command? may who asked still? ──▶ planned
//!                 └──▶ plan with the schedule's grants and the next time, in one transaction ──▶ started
//! ```
//!
//! Every replica does this; a run belongs to the one that claimed it. A plan that was kept and not
//! started, since its process died, is started as any other that has its grants ([`super::reactions`]).
//!
//! **Invariant:** nothing starts here that a person with the same roles could not start by hand.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::messages::schedules as words;
use super::{ChatError, Shared};
use crate::domain::approval::Verdict;
use crate::domain::cluster::Phase;
use crate::domain::person::{Person, Role};
use crate::domain::schedule::Schedule;
use crate::plans::{PlanError, Planned};
use crate::store::StoreError;
use crate::store::schedules::{NotRun, Run};

/// How often schedules are looked at without being woken.
const POLL: Duration = Duration::from_secs(5);
/// How long the plan of a run may take, and how long others leave it alone.
const PLANNED_WITHIN: Duration = Duration::from_mins(4);
const LEASE: Duration = Duration::from_mins(5);
/// The pause before a run is tried again that could not be made now.
const AGAIN_AFTER: Duration = Duration::from_secs(20);

/// See the module.
pub(crate) struct Scheduler(Arc<Shared>);

impl Scheduler {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Runs until the bot ends.
    pub(crate) async fn run(self, ended: CancellationToken) -> Result<(), ChatError> {
        let mut wake = self.0.parts.wake.clone();
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "could not look after schedules; the next look follows"
                );
            }
            let pause = self.pause().await;
            tokio::select! {
                () = ended.cancelled() => return Ok(()),
                () = self.0.rest.pause(pause) => {}
                // Without the sender only time tells.
                Ok(()) = wake.changed() => {}
            }
        }
    }

    /// Until something is to be done, as far as is known.
    async fn pause(&self) -> Duration {
        let parts = &self.0.parts;
        let before = parts.settings.schedules.announce_before;
        let next = parts.store.next_of_schedules(before).await.ok().flatten();
        let until = next.and_then(|next| (next - parts.store.clock().now()).to_std().ok());
        until
            .map_or(POLL, |until| until.min(POLL))
            .max(Duration::from_millis(200))
    }

    async fn look(&self) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let store = &parts.store;
        let times = parts.settings.schedules;
        while store.announce_run(times, words::comes_soon).await? {}
        let runs = store.claim_runs(&parts.settings.replica, LEASE).await?;
        join_all(runs.iter().map(|run| self.make(run))).await;
        Ok(())
    }

    async fn make(&self, run: &Run) {
        let id = run.schedule.id;
        let made = timeout(PLANNED_WITHIN, self.try_to_make(run)).await;
        let error = match made {
            Ok(Ok(())) => return,
            Ok(Err(error)) if is_fenced(&error) => {
                return tracing::info!(schedule.id = %id, "a run was taken over or skipped");
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_elapsed) => "it took too long".to_owned(),
        };
        tracing::warn!(error, schedule.id = %id, "could not make a run; it is tried again");
        if let Err(error) = self.0.parts.store.put_run_off(run, AGAIN_AFTER).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not put a run off; its lease ends by itself"
            );
        }
    }

    async fn try_to_make(&self, run: &Run) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let now = parts.store.clock().now();
        let person = match self.why_not(run, now).await? {
            Ok(person) => person,
            Err(not_run) => return Ok(parts.store.run_not_started(run, not_run).await?),
        };
        match parts.plans.make_for_run(run, &person).await? {
            Planned::Posted(plan) => {
                self.0.reactions.start_if_approved(plan).await?;
            }
            Planned::Refused(problems) => {
                let not_run = NotRun {
                    result: "refused".to_owned(),
                    notice: Some(words::refused(&run.schedule, run.at, &problems)),
                    next_at: run.schedule.after(now),
                };
                parts.store.run_not_started(run, not_run).await?;
            }
        }
        Ok(())
    }

    /// Who the run is for, or why it does not start.
    async fn why_not(
        &self,
        run: &Run,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Result<Person, NotRun>> {
        let shared = &self.0;
        let (schedule, at) = (&run.schedule, run.at);
        let next_at = schedule.after(now);
        let not_run = |result: &str, notice| NotRun {
            result: result.to_owned(),
            notice,
            next_at,
        };
        if run.cluster == Phase::Removed {
            let notice = words::cluster_is_gone(schedule);
            let mut not_run = not_run("the cluster is gone", Some(notice));
            not_run.next_at = None;
            return Ok(Err(not_run));
        }
        if let Some((_at, by)) = schedule.skip.filter(|_skip| schedule.is_skipped()) {
            return Ok(Err(not_run(&format!("skipped by <@{by}>"), None)));
        }
        let late = shared.parts.settings.schedules.late_at_most;
        if now - at > TimeDelta::from_std(late).unwrap_or_default() {
            let notice = words::missed(schedule, at, now);
            return Ok(Err(not_run("missed: the bot was away", Some(notice))));
        }
        let command = shared.parts.catalogue.get(&schedule.wish.command);
        let Some(command) = command else {
            let notice = words::differs(schedule, at);
            return Ok(Err(not_run(
                "the command is not there any more",
                Some(notice),
            )));
        };
        if !shared.parts.plans.is_as_approved(&schedule.wish) {
            let notice = words::differs(schedule, at);
            return Ok(Err(not_run("it is not what was approved", Some(notice))));
        }
        let roles = shared.rest.member_roles(schedule.made_by).await?;
        let person = shared.access.person(schedule.made_by, false, &roles);
        if !person.has_any(&command.may_run) {
            let notice = words::lost_role(schedule, at, &command.may_run);
            return Ok(Err(not_run(
                "who asked for it may not any more",
                Some(notice),
            )));
        }
        if let Some(needed) = self.lost_grants(schedule).await? {
            let notice = words::lost_grants(schedule, at, &needed);
            return Ok(Err(not_run(
                "who approved it may not any more",
                Some(notice),
            )));
        }
        Ok(Ok(person))
    }

    /// The roles that must approve, if too few of those who approved the schedule still have one.
    /// One that was started by force had its review.
    async fn lost_grants(&self, schedule: &Schedule) -> anyhow::Result<Option<Vec<Role>>> {
        let (shared, store) = (&self.0, &self.0.parts.store);
        let plan = store.plan(schedule.plan).await?;
        let Some(plan) = plan.filter(|plan| plan.forced.is_none()) else {
            return Ok(None);
        };
        let command = shared.parts.catalogue.get(&plan.essence.command);
        let Some(rule) = command.and_then(|command| command.approvals.as_ref()) else {
            return Ok(None);
        };
        let may: Vec<Role> = rule.from.iter().chain(&rule.then_ask).copied().collect();
        let mut still = 0;
        let grants = store.grants(plan.id).await?;
        let yes = grants.iter().filter(|one| one.verdict == Verdict::Approve);
        for grant in yes.filter(|grant| grant.user != plan.requester) {
            let roles = shared.rest.member_roles(grant.user).await?;
            if shared
                .access
                .person(grant.user, false, &roles)
                .has_any(&may)
            {
                still += 1;
            }
        }
        Ok((still < rule.needed).then_some(may))
    }
}

fn is_fenced(error: &anyhow::Error) -> bool {
    let of_store = error.downcast_ref::<StoreError>();
    let of_plan = error.downcast_ref::<PlanError>();
    matches!(of_store, Some(StoreError::Fenced))
        || matches!(of_plan, Some(PlanError::Store(StoreError::Fenced)))
}
