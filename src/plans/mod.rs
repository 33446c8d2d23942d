//! Plans: what exactly a command would change, found out without changing anything.
//!
//! A plan is made once, kept with its digest and posted; see [`crate::domain::plan`]. Everything
//! that could be in the way is looked for here, *before* anybody is asked to approve: a plan that
//! can't work is refused privately, with all its problems at once.
//!
//! **Invariant:** nothing outside is changed. Services are only asked.

mod adopt;
mod beside;
mod completion;
mod demand;
mod deploy;
mod destroy;
mod dns_update;
mod event;
mod flavor_set;
mod nodes;
mod owners;
mod runbook;
mod scale;
mod schedule_add;
mod set_host;
mod token_renew;
mod undo;
mod values;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::commands::value::Options;
use crate::commands::{Catalogue, Command};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::event::{EVENT_COMMAND, EventTimes, EventWish};
use crate::domain::ids::{DiscordChannelId, EventId, PlanId};
use crate::domain::names::HostName;
use crate::domain::person::Person;
use crate::domain::plan::{Plan, PlanContent, PlanDigest, PlanEssence, PlanFile, PlanState};
use crate::domain::schedule::{SCHEDULE_COMMAND, ScheduleTimes, ScheduleWish};
use crate::operations::Services;
use crate::operations::start::{ADOPT_COMMAND, DEPLOY_COMMAND, UNDO_COMMAND, lock_against};
use crate::store::vault::{Vault, VaultError};
use crate::store::{Store, StoreError};

/// How many plans may wait at once; more would bury those who approve.
const WAITING_MAX: usize = 100;

/// The group of the commands that change what a hub is given.
const VALUES_GROUP: &str = "values";

/// How the making of a plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    /// It is kept and will be posted.
    Posted(PlanId),
    /// It can't work; every problem, for a private answer. Nothing was changed.
    Refused(Vec<String>),
}

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secrets.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The command has no plan.
    #[error("the command `{command}` makes no plan")]
    NoPlan {
        /// The command.
        command: String,
    },
}

/// What the configuration says, as far as plans need it.
#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// The e-mail for Let's Encrypt when none is given.
    pub email: Option<String>,
    /// The chart version when none is given.
    pub chart_version: String,
    /// The chart versions that complete.
    pub known_charts: Vec<String>,
    /// Host names must lie below one of these.
    pub domains: Vec<HostName>,
    /// When people are told of a run of a schedule.
    pub schedules: ScheduleTimes,
    /// When clusters are scaled for events.
    pub events: EventTimes,
}

/// Makes plans.
#[derive(Clone, Debug)]
pub struct Planner {
    store: Store,
    vault: Vault,
    services: Arc<Services>,
    catalogue: Arc<Catalogue>,
    settings: PlanSettings,
    schemas: values::Schemas,
}

/// A plan that only has to be kept.
struct Draft {
    target: String,
    options: serde_json::Value,
    target_revision: i32,
    steps: Vec<String>,
    content: PlanContent,
    files: Vec<PlanFile>,
}

impl Planner {
    /// Over its parts.
    pub fn new(
        store: Store,
        vault: Vault,
        services: Arc<Services>,
        catalogue: Arc<Catalogue>,
        settings: PlanSettings,
    ) -> Self {
        Self {
            store,
            vault,
            services,
            catalogue,
            settings,
            schemas: values::Schemas::default(),
        }
    }

    /// Makes the plan of a command, keeps it and tells it to the channel.
    ///
    /// # Errors
    /// When the database fails; everything else that is in the way is [`Planned::Refused`].
    pub async fn make(
        &self,
        command: &Command,
        options: &Options,
        requester: &Person,
        channel: DiscordChannelId,
    ) -> Result<Planned, PlanError> {
        if self.store.waiting_plans().await?.len() >= WAITING_MAX {
            return Ok(Planned::Refused(vec![format!(
                "{WAITING_MAX} plans wait for approval already; have some of them decided first"
            )]));
        }
        let draft = match self.draft(command, options, requester).await? {
            Ok(draft) => self.unless_locked(command, draft, None).await?,
            Err(problems) => Err(problems),
        };
        match draft {
            Err(problems) => Ok(Planned::Refused(problems)),
            Ok(mut draft) => {
                let beside = self.beside(&command.name(), &draft.target).await?;
                draft.content.warnings.extend(beside);
                let kept = self.keep(command, draft, requester, channel).await?;
                Ok(Planned::Posted(kept))
            }
        }
    }

    /// What a command would do, looked at now.
    async fn draft(
        &self,
        command: &Command,
        options: &Options,
        requester: &Person,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = command.name();
        Ok(match name.as_str() {
            _ if command.is_runbook() => self.draft_runbook(command, options).await?,
            ADOPT_COMMAND => self.draft_adopt(command, options, requester).await?,
            DEPLOY_COMMAND => self.draft_deploy(command, options).await?,
            "checkin set-host" => self.draft_set_host(command, options).await?,
            "destroy" => self.draft_destroy(command, options).await?,
            UNDO_COMMAND => self.draft_undo(options).await?,
            "dns update" => self.draft_dns_update(command, options).await?,
            EVENT_COMMAND => self.draft_event(command, options, requester).await?,
            "flavor set" => self.draft_flavor_set(command, options).await?,
            "nodes disable" | "nodes enable" | "nodes off" | "nodes on" | "nodes replace"
            | "nodes reset" => self.draft_nodes(command, options).await?,
            "owners add" => self.draft_owners_add(command, options).await?,
            "owners remove" => self.draft_owners_remove(command, options).await?,
            "scale" => self.draft_scale(command, options).await?,
            SCHEDULE_COMMAND => self.draft_schedule_add(command, options, requester).await?,
            "token renew" => self.draft_token_renew(command, options).await?,
            _ if command.path.group.as_deref() == Some(VALUES_GROUP) => {
                self.draft_values(command, options).await?
            }
            _ => return Err(PlanError::NoPlan { command: name }),
        })
    }

    /// The plan that undoes an operation, as its button asks for it.
    ///
    /// # Errors
    /// As [`Planner::make`].
    pub async fn undo(
        &self,
        operation: &str,
        requester: &Person,
        channel: DiscordChannelId,
    ) -> Result<Planned, PlanError> {
        let name = UNDO_COMMAND;
        let no_plan = || PlanError::NoPlan {
            command: name.to_owned(),
        };
        let command = self.catalogue.get(name).ok_or_else(no_plan)?;
        let raw = [("operation".to_owned(), operation.into())]
            .into_iter()
            .collect();
        match crate::commands::options::parse_options(command, &raw) {
            Ok(options) => self.make(command, &options, requester, channel).await,
            Err(problems) => Ok(Planned::Refused(
                problems.iter().map(ToString::to_string).collect(),
            )),
        }
    }

    /// The draft, unless its target is locked against it; the lock of the event for which it is
    /// made does not count.
    async fn unless_locked(
        &self,
        command: &Command,
        draft: Draft,
        event: Option<EventId>,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let lock = lock_against(&self.store, Some(command), (&draft.target, event)).await?;
        Ok(match lock {
            Some(lock) => Err(vec![lock.refusal(&draft.target)]),
            None => Ok(draft),
        })
    }

    /// The cluster that a command is about.
    async fn cluster(&self, name: &str) -> Result<Result<Cluster, Vec<String>>, PlanError> {
        let found = self.store.cluster_by_name(name).await?;
        Ok(found.ok_or_else(|| {
            let shown = name.replace('`', "'");
            vec![format!(
                "there is no cluster `{shown}`; `/pangeo list` shows those that exist"
            )]
        }))
    }

    /// The cluster that a command is about, if it runs.
    async fn running_cluster(&self, name: &str) -> Result<Result<Cluster, Vec<String>>, PlanError> {
        Ok(self.cluster(name).await?.and_then(|cluster| {
            if cluster.phase == Phase::Running {
                Ok(cluster)
            } else {
                Err(vec![format!(
                    "`{}` is {}; this works on a running cluster only",
                    cluster.name,
                    cluster.phase.as_str()
                )])
            }
        }))
    }

    async fn keep(
        &self,
        command: &Command,
        draft: Draft,
        requester: &Person,
        channel: DiscordChannelId,
    ) -> Result<PlanId, PlanError> {
        let files = draft.files.clone();
        let (plan, remind_at) = self.plan_of(command, draft, requester, channel)?;
        self.store.insert_plan(&plan, remind_at, &files).await?;
        Ok(plan.id)
    }

    /// The plan that waits for approval, and when it reminds.
    fn plan_of(
        &self,
        command: &Command,
        draft: Draft,
        requester: &Person,
        channel: DiscordChannelId,
    ) -> Result<(Plan, Option<DateTime<Utc>>), PlanError> {
        let no_plan = || PlanError::NoPlan {
            command: command.name(),
        };
        let approvals = command.approvals.as_ref().ok_or_else(no_plan)?;
        let scheduled = runs_of(&draft.options).and_then(|run| self.catalogue.get(&run.command));
        let inner = scheduled.and_then(|inner| inner.approvals.as_ref());
        let rule = schedule_add::rule(approvals, &command.name(), inner);
        let now = self.store.clock().now();
        let essence = PlanEssence {
            command: command.name(),
            target: draft.target,
            options: draft.options,
            target_revision: draft.target_revision,
            steps: draft.steps,
        };
        let delta = |duration| TimeDelta::from_std(duration).unwrap_or(TimeDelta::hours(24));
        let plan = Plan {
            id: PlanId::new(),
            digest: PlanDigest::of(&essence),
            essence,
            content: draft.content,
            rule,
            requester: requester.id,
            channel,
            state: PlanState::Waiting,
            state_reason: None,
            superseded_by: None,
            created_at: now,
            expires_at: now + delta(approvals.expire_after),
            posted_in_full_at: None,
            reminded_at: None,
            forced: None,
            reviewed_by: None,
        };
        let remind_at = approvals.remind_after.map(|after| now + delta(after));
        Ok((plan, remind_at))
    }
}

/// What runs by itself once a plan is approved; the first of it, since an event's runs are alike.
fn runs_of(options: &serde_json::Value) -> Option<ScheduleWish> {
    if let Ok(wish) = serde_json::from_value(options.clone()) {
        return Some(wish);
    }
    let event: EventWish = serde_json::from_value(options.clone()).ok()?;
    event.runs.into_iter().next()
}
