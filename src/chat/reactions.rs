//! Reactions on plans: read over REST, reconciled with the grants, and followed by the start.
//!
//! Discord neither replays what happened while the bot was away, nor tells who reacted when
//! reactions are removed in bulk. So an event is only a hint ([`Hints`]) that a plan must be read
//! again; many hints about one plan are read once.
//!
//! A reaction that does not count is removed, where the bot may do that, and its owner is told
//! privately why, once per plan and reason.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::ChatError;
use super::access::Access;
use super::messages::{NO, YES, answers};
use super::parts::Parts;
use super::rest::{ErrorClass, Rest, RestError};
use super::text::Clean;
use crate::approvals::{Answer, Decision, ReactionsSeen};
use crate::domain::approval::{GrantSource, Verdict};
use crate::domain::ids::{DiscordChannelId, DiscordMessageId, DiscordUserId, PlanId};
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::person::Person;
use crate::domain::plan::{Plan, PlanState};
use crate::operations::{StartError, StartOutcome};
use crate::store::StoreError;

/// How many hints are kept apart; with more, every waiting plan is read again.
const MAX_HINTS: usize = 4000;
/// How many people of one reaction are read; whoever comes after does not count.
const MAX_PEOPLE: usize = 200;
/// The pause before a plan that could not be read is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often plans are looked at that expire, want a reminder or were left approved.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Where a message is.
type At = (DiscordChannelId, DiscordMessageId);

/// What must be read again.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    set: Mutex<BTreeSet<Hint>>,
    added: Notify,
}

/// One thing that must be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    /// Every waiting plan.
    Everything,
    /// The plan whose message was deleted.
    Gone(u64),
    /// The plan whose message this is.
    Message(u64),
    /// A plan.
    Plan(PlanId),
}

impl Hints {
    pub(crate) fn everything_changed(&self) {
        self.add(Hint::Everything);
    }

    pub(crate) fn reactions_changed(&self, message: DiscordMessageId) {
        self.add(Hint::Message(message.0));
    }

    pub(crate) fn message_gone(&self, message: DiscordMessageId) {
        self.add(Hint::Gone(message.0));
    }

    pub(crate) fn plan_changed(&self, plan: PlanId) {
        self.add(Hint::Plan(plan));
    }

    fn add(&self, hint: Hint) {
        let mut set = self.lock();
        if set.len() >= MAX_HINTS {
            // A deleted message is noticed as well when its plan is read again.
            set.clear();
            set.insert(Hint::Everything);
        } else {
            set.insert(hint);
        }
        drop(set);
        self.added.notify_one();
    }

    async fn next(&self) -> Hint {
        loop {
            if let Some(hint) = self.lock().pop_first() {
                return hint;
            }
            self.added.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Hint>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and reconciles reactions. Clones share one turn, so that an older reading never
/// overtakes a newer one.
#[derive(Clone)]
pub(crate) struct Reactions {
    parts: Parts,
    rest: Rest,
    access: Access,
    clean: Clean,
    me: DiscordUserId,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Reactions {
    pub(crate) fn new(parts: &Parts, rest: Rest, access: Access, me: DiscordUserId) -> Self {
        Self {
            clean: Clean::new(parts.redactor.clone()),
            parts: parts.clone(),
            rest,
            access,
            me,
            turn: Arc::default(),
        }
    }

    /// Follows the hints until the bot ends.
    pub(crate) async fn run(
        self,
        hints: Arc<Hints>,
        ended: CancellationToken,
    ) -> Result<(), ChatError> {
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let hint = tokio::select! {
                () = ended.cancelled() => return Ok(()),
                hint = hints.next() => hint,
                _ = sweeps.tick() => {
                    if let Err(error) = self.sweep(&hints).await {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "could not look for plans that are due");
                    }
                    continue;
                }
            };
            if let Err(error) = self.follow(hint, &hints).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "could not read the reactions of a plan"
                );
                if is_transient(&error) {
                    self.rest.pause(AGAIN_AFTER).await;
                    hints.add(hint);
                }
            }
        }
    }

    /// Ends and reminds about plans that are due, and takes up those that have their grants but
    /// were not started, since the process was killed or the database was away in between.
    async fn sweep(&self, hints: &Hints) -> Result<(), StoreError> {
        self.parts.approvals.sweep().await?;
        for plan in self.parts.store.waiting_plans().await? {
            let decision = self.parts.approvals.decide(plan.id).await?;
            if matches!(decision, Decision::Approved { .. }) {
                hints.plan_changed(plan.id);
            }
        }
        Ok(())
    }

    async fn follow(&self, hint: Hint, hints: &Hints) -> anyhow::Result<()> {
        let plan_of = |message| self.parts.store.plan_of_message(DiscordMessageId(message));
        match hint {
            Hint::Everything => {
                for plan in self.parts.store.waiting_plans().await? {
                    hints.plan_changed(plan.id);
                }
            }
            Hint::Gone(message) => {
                if let Some(plan) = plan_of(message).await? {
                    let _turn = self.turn.lock().await;
                    self.message_gone(plan).await?;
                }
            }
            Hint::Message(message) => {
                if let Some(plan) = plan_of(message).await? {
                    self.start_if_approved(plan).await?;
                }
            }
            Hint::Plan(plan) => {
                self.start_if_approved(plan).await?;
            }
        }
        Ok(())
    }

    /// Reads the reactions once more and starts the plan if its grants suffice then.
    pub(crate) async fn start_if_approved(
        &self,
        id: PlanId,
    ) -> anyhow::Result<Option<StartOutcome>> {
        let _turn = self.turn.lock().await;
        let Some(plan) = self.parts.store.plan(id).await? else {
            return Ok(None);
        };
        self.refresh(&plan).await?;
        if plan.state == PlanState::Superseded {
            return Ok(None);
        }
        for earlier in self.carried_from(&plan).await? {
            self.refresh(&earlier).await?;
        }
        Ok(Some(self.parts.starter.start_if_approved(id).await?))
    }

    /// The identical plans whose grants were carried over: their reactions still stand for them.
    async fn carried_from(&self, plan: &Plan) -> anyhow::Result<Vec<Plan>> {
        let grants = self.parts.store.grants(plan.id).await?;
        if !grants
            .iter()
            .any(|grant| grant.source == GrantSource::Carried)
        {
            return Ok(Vec::new());
        }
        Ok(self.parts.store.plans_before(plan.id).await?)
    }

    /// Reads the reactions of one plan, if it has a message.
    async fn refresh(&self, plan: &Plan) -> anyhow::Result<()> {
        let message = self
            .parts
            .store
            .message(&format!("plan/{}", plan.id))
            .await?;
        let at = message.and_then(|message| Some((message.channel?, message.message?)));
        let Some(at) = at else { return Ok(()) };
        match self.seen(at).await {
            Ok(seen) => self.reconcile(plan, at, seen).await,
            Err(error) if error.class() == ErrorClass::UnknownMessage => {
                self.message_gone(plan.id).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Everybody who reacted, with the roles they hold now.
    async fn seen(&self, at: At) -> Result<ReactionsSeen, RestError> {
        let mut seen = ReactionsSeen::default();
        let mut known: Vec<Person> = Vec::new();
        for (emoji, verdict) in [(YES, Verdict::Approve), (NO, Verdict::Refuse)] {
            for (user, is_bot) in self.people(at, emoji).await? {
                let person = match known.iter().find(|person| person.id == user) {
                    Some(person) => person.clone(),
                    None => {
                        let roles = if is_bot {
                            Vec::new()
                        } else {
                            self.rest.member_roles(user).await?
                        };
                        let person = self.access.person(user, is_bot, &roles);
                        known.push(person.clone());
                        person
                    }
                };
                seen.answers.push((person, verdict));
            }
        }
        Ok(seen)
    }

    /// Those who reacted with an emoji, the bot itself left out.
    async fn people(&self, at: At, emoji: &str) -> Result<Vec<(DiscordUserId, bool)>, RestError> {
        let mut people = Vec::new();
        let mut after = None;
        while people.len() < MAX_PEOPLE {
            let page = self.rest.reactions(at, emoji, after).await?;
            let is_last = page.len() < 100;
            after = page.iter().map(|(user, _is_bot)| user.0).max();
            people.extend(page.into_iter().filter(|(user, _is_bot)| *user != self.me));
            if is_last {
                break;
            }
        }
        people.truncate(MAX_PEOPLE);
        Ok(people)
    }

    async fn reconcile(&self, plan: &Plan, at: At, mut seen: ReactionsSeen) -> anyhow::Result<()> {
        match plan.state {
            PlanState::Waiting | PlanState::Superseded => {}
            PlanState::Started | PlanState::Refused | PlanState::Expired | PlanState::Void => {
                // What counted when the plan ended stays as it was.
                let known = self.parts.store.reaction_grants(plan.id).await?;
                seen.answers.retain(|(person, verdict)| {
                    !known
                        .iter()
                        .any(|g| g.user == person.id && g.verdict == *verdict)
                });
                for grant in known {
                    let person = Person {
                        id: grant.user,
                        roles: plan.rule.from.clone(),
                        is_bot: false,
                    };
                    seen.answers.push((person, grant.verdict));
                }
            }
        }
        for (person, verdict, answer) in self.parts.approvals.reconcile(plan.id, &seen).await? {
            self.reject(plan, at, &person, (verdict, &answer)).await?;
        }
        Ok(())
    }

    /// Removes a reaction that does not count and tells its owner why.
    async fn reject(
        &self,
        plan: &Plan,
        at: At,
        person: &Person,
        (verdict, answer): (Verdict, &Answer),
    ) -> anyhow::Result<()> {
        let hint = answers::reaction_hint(&self.clean, plan, answer);
        if hint.is_none() && *answer != Answer::IsBot {
            return Ok(());
        }
        let removed = self.remove(at, person.id, verdict).await?;
        if removed && *answer == Answer::TooEarly {
            // It is gone by our own hand: the next one is another one, even if it comes at once.
            let source = Some(GrantSource::Reaction);
            self.parts
                .store
                .take_grant_back(plan.id, person.id, source, Some(verdict))
                .await?;
        }
        let Some(hint) = hint else { return Ok(()) };
        let key = format!("hint/{}/{}/{}", plan.id, person.id, hint.word);
        let store = &self.parts.store;
        if store.message(&key).await?.is_some() {
            return Ok(());
        }
        let link = self.parts.settings.link_to(at.0, at.1);
        let notice = Notice {
            title: hint.title,
            text: format!("{}\n[the plan]({link})", hint.text),
            mention_users: Vec::new(),
            mention_roles: Vec::new(),
            review_of: None,
            remedies: Vec::new(),
        };
        let place = Place::Direct(person.id);
        store
            .tell(&key, &MessageKind::Notice(notice), &place)
            .await?;
        Ok(())
    }

    /// Removes a reaction; false where the bot may not.
    async fn remove(&self, at: At, user: DiscordUserId, verdict: Verdict) -> anyhow::Result<bool> {
        match self.rest.remove_reaction(at, user, emoji(verdict)).await {
            Ok(()) => Ok(true),
            Err(error) => match error.class() {
                ErrorClass::Forbidden => {
                    tracing::debug!("may not remove reactions; grant Manage Messages to allow it");
                    Ok(false)
                }
                ErrorClass::Transient | ErrorClass::TokenRefused => Err(error.into()),
                // The reaction or its message is gone already.
                ErrorClass::UnknownMessage
                | ErrorClass::UnknownChannel
                | ErrorClass::ThreadExists
                | ErrorClass::Archived
                | ErrorClass::NoDirectMessages
                | ErrorClass::Permanent => Ok(true),
            },
        }
    }

    /// Removes a person's reactions from a plan; false where one stands that the bot may not remove.
    pub(crate) async fn remove_reactions_of(
        &self,
        plan: PlanId,
        user: DiscordUserId,
    ) -> anyhow::Result<bool> {
        let _turn = self.turn.lock().await;
        let grants = self.parts.store.reaction_grants(plan).await?;
        let message = self.parts.store.message(&format!("plan/{plan}")).await?;
        let at = message.and_then(|message| Some((message.channel?, message.message?)));
        let Some(at) = at else { return Ok(true) };
        let mut all = true;
        for grant in grants.iter().filter(|grant| grant.user == user) {
            all &= self.remove(at, user, grant.verdict).await?;
        }
        Ok(all)
    }

    /// A plan's message is complete: what stands there already does not count, what comes does.
    pub(crate) async fn complete_post(&self, id: PlanId, at: At) -> anyhow::Result<()> {
        let _turn = self.turn.lock().await;
        let plan = self
            .parts
            .store
            .plan(id)
            .await?
            .context("the plan is gone")?;
        if plan.posted_in_full_at.is_none() {
            let seen = self.seen(at).await?;
            self.reconcile(&plan, at, seen).await?;
            self.parts.store.plan_posted_in_full(id).await?;
        }
        if plan.state != PlanState::Waiting {
            return Ok(());
        }
        for emoji in [YES, NO] {
            match self.rest.react(at.0, at.1, emoji).await {
                Ok(()) => {}
                Err(error) if error.class() == ErrorClass::Forbidden => {
                    tracing::warn!(
                        channel.id = at.0.0,
                        "may not add reactions; grant Add Reactions, until then people use the buttons"
                    );
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The message of a plan was deleted: its reactions are gone, and a plan that is still of use
    /// is posted anew.
    pub(crate) async fn message_gone(&self, id: PlanId) -> anyhow::Result<()> {
        let Some(plan) = self.parts.store.plan(id).await? else {
            return Ok(());
        };
        let store = &self.parts.store;
        let nothing = ReactionsSeen::default();
        let key = format!("plan/{id}");
        match plan.state {
            PlanState::Waiting => {
                self.parts.approvals.reconcile(id, &nothing).await?;
                store.message_gone(&key).await?;
                store.touch_message(&key).await?;
            }
            PlanState::Superseded => {
                self.parts.approvals.reconcile(id, &nothing).await?;
            }
            // Its grants did their work; the thread of its operation stays.
            PlanState::Started | PlanState::Refused | PlanState::Expired | PlanState::Void => {}
        }
        Ok(())
    }
}

/// Whether the same plan may be read and started later.
fn is_transient(error: &anyhow::Error) -> bool {
    let store = |error: &StoreError| error.is_transient();
    let rest = |error: &RestError| error.class() == ErrorClass::Transient;
    error.downcast_ref::<RestError>().is_some_and(rest)
        || error.downcast_ref::<StoreError>().is_some_and(store)
        || matches!(error.downcast_ref(), Some(StartError::Store(error)) if store(error))
}

fn emoji(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => YES,
        Verdict::Refuse => NO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_hints_about_one_message_are_one() {
        let hints = Hints::default();
        for _ in 0..50 {
            hints.reactions_changed(DiscordMessageId(7));
        }
        hints.message_gone(DiscordMessageId(8));
        assert_eq!(hints.next().await, Hint::Gone(8));
        assert_eq!(hints.next().await, Hint::Message(7));
        assert!(hints.lock().is_empty());
    }

    #[tokio::test]
    async fn a_flood_of_hints_becomes_one_reading_of_everything() {
        let hints = Hints::default();
        for message in 0..=u64::try_from(MAX_HINTS).unwrap() {
            hints.reactions_changed(DiscordMessageId(message));
        }
        assert_eq!(hints.next().await, Hint::Everything);
        assert!(hints.lock().is_empty());
    }
}
