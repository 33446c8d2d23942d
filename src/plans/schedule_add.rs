//! The plan of `schedule add`: a command that runs by itself, approved once.
//!
//! The plan shows what the command would do if it ran now; each run is planned anew.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{Draft, PlanError, Planned, Planner};
use crate::commands::options::parse_options;
use crate::commands::typed::parse_typed;
use crate::commands::value::{Options, RawValue};
use crate::commands::{Approvals, Command};
use crate::domain::event::EVENT_COMMAND;
use crate::domain::person::Person;
use crate::domain::plan::{ApprovalRule, PlanContent, PlanDigest, PlanEssence};
use crate::domain::schedule::{LONGEST, MOST, SCHEDULE_COMMAND, ScheduleWish, When, typed};
use crate::store::schedules::Run;

/// How many runs the plan shows.
const SHOWN: usize = 3;

/// A command that may run by itself, and its options.
pub(super) struct Inner<'a> {
    /// The command.
    pub(super) command: &'a Command,
    /// Its options, checked.
    pub(super) options: Options,
    /// Of command, options and steps.
    pub(super) digest: String,
}

/// What people are asked for who schedule a command.
struct Wished<'a> {
    inner: Inner<'a>,
    given: BTreeMap<String, String>,
    when: When,
    wish: ScheduleWish,
}

impl Planner {
    /// Reads a command that is to run by itself, the same way as when a person types it; what is
    /// wrong with it is for people.
    pub(super) fn schedulable<'a>(
        &'a self,
        command: &'a Command,
        given: &BTreeMap<String, String>,
    ) -> Result<Inner<'a>, Vec<String>> {
        if !command.is_schedulable() {
            let can: Vec<String> = self
                .catalogue
                .commands()
                .filter(|command| command.is_schedulable())
                .map(|command| format!("`{}`", command.name()))
                .collect();
            return Err(vec![format!(
                "`command`: `{}` does not run by a schedule; these do: {}",
                command.name(),
                can.join(", ")
            )]);
        }
        let raw = given.iter();
        let raw = raw.map(|(name, value)| (name.clone(), RawValue::Text(value.clone())));
        let options = parse_options(command, &raw.collect()).map_err(|errors| {
            let errors = errors.iter();
            errors
                .map(|error| format!("`command`: {error}"))
                .collect::<Vec<_>>()
        })?;
        let texts = command.options.iter();
        let texts: BTreeMap<&str, String> = texts
            .filter_map(|spec| Some((spec.name.as_str(), options.text(&spec.name)?)))
            .collect();
        let digest = PlanDigest::of(&PlanEssence {
            command: command.name(),
            target: String::new(),
            options: serde_json::json!(texts),
            target_revision: 0,
            steps: command.steps(),
        });
        Ok(Inner {
            command,
            options,
            digest: digest.as_str().to_owned(),
        })
    }

    pub(super) async fn draft_schedule_add(
        &self,
        command: &Command,
        options: &Options,
        requester: &Person,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let wished = match self.wished(options, requester) {
            Ok(wished) => wished,
            Err(problems) => return Ok(Err(problems)),
        };
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        if self.store.schedules(None).await?.len() >= MOST {
            let problem = format!("there are {MOST} schedules already; remove one first");
            return Ok(Err(vec![problem]));
        }
        let inner = &wished.inner;
        let now = self.store.clock().now();
        // `draft` comes here again for no command that may be scheduled.
        let draft = Box::pin(self.draft(inner.command, &inner.options, requester)).await?;
        let mut content = self.content(&name, &wished);
        match draft {
            Ok(draft) => {
                content.difference.push("if it ran now:".to_owned());
                content.difference.extend(draft.content.difference);
                content.estimate.extend(draft.content.estimate);
                content.warnings.extend(draft.content.warnings);
            }
            Err(problems) => content.warnings.extend(
                problems
                    .iter()
                    .map(|problem| format!("now it would not run: {problem}")),
            ),
        }
        let runs = wished.when.first(now, wished.wish.until, SHOWN);
        for lock in self.store.locks(cluster.id).await? {
            if runs.iter().any(|at| lock.holds_at(*at)) {
                let words = format!("a run is refused while it is {}", lock.in_words(now));
                content.warnings.push(words);
            }
        }
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: serde_json::to_value(&wished.wish).unwrap_or_default(),
            target_revision: cluster.revision,
            steps: command.steps(),
            content,
            files: Vec::new(),
        }))
    }

    fn wished(&self, options: &Options, requester: &Person) -> Result<Wished<'_>, Vec<String>> {
        let now = self.store.clock().now();
        let mut problems = Vec::new();
        let text = options.text("when").unwrap_or_default();
        let when = When::parse(&text);
        let when = when.and_then(|when| when.check_pause(now).map(|()| when));
        let until = options.time("until").unwrap_or(now + LONGEST);
        if until > now + LONGEST + TimeDelta::days(1) {
            problems.push("`until`: a schedule lives for a year at most".to_owned());
        }
        match &when {
            Err(error) => problems.push(format!("`when`: `{}` {error}", text.replace('`', "'"))),
            Ok(when) if when.first(now, until, 1).is_empty() => {
                let bound = if options.is_given("until") {
                    "until then"
                } else {
                    "within a year"
                };
                problems.push(format!("`when`: there is no such time to come {bound}"));
            }
            Ok(_) => {}
        }
        let inner = self.inner(options);
        let (inner, given) = match inner {
            Ok(inner) => inner,
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        if !requester.has_any(&inner.command.may_run) {
            let roles = inner.command.may_run.iter();
            let roles: Vec<String> = roles.map(|role| format!("`{role}`")).collect();
            problems.push(format!(
                "`command`: `{}` is for {} only",
                inner.command.name(),
                roles.join(" or ")
            ));
        }
        let when = when.ok().filter(|_when| problems.is_empty());
        let Some(when) = when else {
            return Err(problems);
        };
        let wish = ScheduleWish {
            command: inner.command.name(),
            options: given.clone(),
            digest: inner.digest.clone(),
            when: text.split_whitespace().collect::<Vec<_>>().join(" "),
            reason: options.text("reason").unwrap_or_default(),
            until,
        };
        Ok(Wished {
            inner,
            given,
            when,
            wish,
        })
    }

    /// The command that is asked for, about the same cluster.
    fn inner(
        &self,
        options: &Options,
    ) -> Result<(Inner<'_>, BTreeMap<String, String>), Vec<String>> {
        let text = options.text("command").unwrap_or_default();
        let read = parse_typed(&self.catalogue, &text);
        let (command, mut given) = read.map_err(|error| vec![format!("`command`: {error}")])?;
        let name = options.text("name").unwrap_or_default();
        if let Some(operation) = command.operation.as_ref().filter(|one| one.schedulable) {
            let other = given.insert(operation.exclusive.clone(), name.clone());
            if other.is_some_and(|other| other != name) {
                return Err(vec![format!(
                    "`command`: it is about another cluster than `name:{name}`"
                )]);
            }
        }
        Ok((self.schedulable(command, &given)?, given))
    }

    fn content(&self, name: &str, wished: &Wished<'_>) -> PlanContent {
        let now = self.store.clock().now();
        let wish = &wished.wish;
        let runs = wished.when.first(now, wish.until, SHOWN);
        let words = runs
            .iter()
            .map(|at| format!("+ {}", wished.when.in_words(*at)));
        let mut difference: Vec<String> = words.collect();
        if wished.when.repeats() {
            let until = wished.when.in_words(wish.until);
            difference.push(format!("+ and so on (`{}`) until {until}", wish.when));
        }
        let minutes = self.settings.schedules.announce_before.as_secs() / 60;
        let late = self.settings.schedules.late_at_most.as_secs() / 60;
        PlanContent {
            summary: format!(
                "Run `{}` by itself: {}",
                typed(&wish.command, &wished.given),
                wish.reason
            ),
            difference,
            estimate: vec![
                format!(
                    "this channel is told {minutes} min before each run, with a button that skips it"
                ),
                format!(
                    "each run is planned anew, with the approvals given here; at most {late} min late, or not at all"
                ),
                format!(
                    "`/pangeo schedule remove` ends it; `/pangeo lock name:{name}` blocks its runs"
                ),
            ],
            warnings: Vec::new(),
        }
    }

    /// Whether a schedule still runs what was approved: the same command with the same options and
    /// steps.
    pub fn is_as_approved(&self, wish: &ScheduleWish) -> bool {
        let inner = self.approved(wish);
        inner.is_ok_and(|inner| inner.digest == wish.digest)
    }

    fn approved(&self, wish: &ScheduleWish) -> Result<Inner<'_>, Vec<String>> {
        let command = self.catalogue.get(&wish.command);
        let command =
            command.ok_or_else(|| vec![format!("there is no command `{}`", wish.command)])?;
        self.schedulable(command, &wish.options)
    }

    /// Makes the plan of a run, with the grants of its schedule, and goes on to the next run.
    ///
    /// # Errors
    /// When the database fails, or somebody else took the run over.
    pub async fn make_for_run(&self, run: &Run, requester: &Person) -> Result<Planned, PlanError> {
        let inner = match self.approved(&run.schedule.wish) {
            Ok(inner) => inner,
            Err(problems) => return Ok(Planned::Refused(problems)),
        };
        let command = inner.command;
        let draft = self.draft(command, &inner.options, requester).await?;
        let draft = match draft {
            Ok(draft) => {
                let event = run.schedule.event;
                self.unless_locked(command, draft, event).await?
            }
            Err(problems) => Err(problems),
        };
        let draft = match draft {
            Ok(draft) => draft,
            Err(problems) => return Ok(Planned::Refused(problems)),
        };
        let files = draft.files.clone();
        let channel = run.schedule.channel;
        let (mut plan, remind_at) = self.plan_of(command, draft, requester, channel)?;
        let by = run.schedule.id.short();
        let summary = &plan.content.summary;
        plan.content.summary = format!(
            "{summary}, by schedule `{by}`: {}",
            run.schedule.wish.reason
        );
        let next = run.schedule.after(self.store.clock().now());
        let kept = (remind_at, files.as_slice());
        self.store
            .insert_plan_of_run(&plan, kept, run, next)
            .await?;
        Ok(Planned::Posted(plan.id))
    }
}

/// Who must agree to a schedule or an event: whoever must agree to its command, and no fewer than
/// its own file says. Nobody forces one, since nobody would review its runs.
pub(super) fn rule(own: &Approvals, name: &str, inner: Option<&Approvals>) -> ApprovalRule {
    let shown = match inner {
        Some(inner)
            if [SCHEDULE_COMMAND, EVENT_COMMAND].contains(&name) && !inner.from.is_empty() =>
        {
            inner
        }
        Some(_) | None => own,
    };
    ApprovalRule {
        needed: own.needed.max(shown.needed),
        from: shown.from.clone(),
        then_ask: shown.then_ask.clone(),
        may_force: own.force,
    }
}
