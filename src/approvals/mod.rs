//! Rules and grants: who said yes to which exact plan, and what follows.
//!
//! Every way of answering (reaction, button, what was carried over) comes through [`Approvals`],
//! so that the same checks stand before each: the plan waits, the person may, is no bot and did
//! not ask for it themselves. [`rules::decide`] then counts.
//!
//! **Invariant:** a grant is for one digest. Nothing here changes what a plan does.
//! **Invariant:** reactions are only believed after they were read over REST; the gateway's events
//! are a hint to read them ([`Approvals::reconcile`]).

pub mod rules;

use chrono::{DateTime, Utc};

use crate::domain::approval::{Grant, GrantSource, Verdict};
use crate::domain::ids::{DiscordUserId, PlanId};
use crate::domain::message::{Notice, Place};
use crate::domain::person::{Person, Role};
use crate::domain::plan::{Forced, Plan, PlanState};
use crate::store::{Store, StoreError};
pub use rules::Decision;

/// What became of an answer; each case is one sentence for the person who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It counts; `given` of `needed` grants are there now.
    Counted {
        /// Grants that count, this one included.
        given: u32,
        /// Grants that start it.
        needed: u32,
    },
    /// The same person said the same before.
    AlreadyGiven,
    /// An approver said no; the plan has ended.
    Refused,
    /// The grant is gone again.
    TakenBack,
    /// There was no grant to take back.
    NothingToTakeBack,
    /// The person has none of the roles that may answer.
    MissingRole {
        /// Those that may, now.
        allowed: Vec<Role>,
    },
    /// Nobody approves their own request.
    OwnRequest,
    /// Bots never approve.
    IsBot,
    /// The reaction was there before the plan was posted in full.
    TooEarly,
    /// The plan does not wait any more.
    Ended {
        /// Where it stands.
        state: PlanState,
        /// Why.
        reason: Option<String>,
    },
    /// There is no such plan.
    NoSuchPlan,
}

/// The reactions on a plan's message as REST shows them at one moment, the bot's own left out.
#[derive(Clone, Debug, Default)]
pub struct ReactionsSeen {
    /// Everybody whose ✅ or ❌ stands there.
    pub answers: Vec<(Person, Verdict)>,
}

/// How a break-glass went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForceAnswer {
    /// The plan may start now.
    Forced,
    /// The command's file does not allow it.
    NotAllowed,
    /// Only these roles may.
    MissingRole {
        /// Those that may.
        allowed: Vec<Role>,
    },
    /// Somebody forced it before, and only that counts.
    AlreadyForced {
        /// Who did.
        by: DiscordUserId,
    },
    /// The plan does not wait any more.
    Ended {
        /// Where it stands.
        state: PlanState,
        /// Why.
        reason: Option<String>,
    },
    /// There is no such plan.
    NoSuchPlan,
}

/// How a review of a forced start went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReviewAnswer {
    /// It is recorded.
    Reviewed,
    /// Who forced it can't review it.
    OwnForce,
    /// Only these roles may.
    MissingRole {
        /// Those that may.
        allowed: Vec<Role>,
    },
    /// Somebody did already, or it was not forced.
    NothingToReview,
}

/// Answers plans.
#[derive(Clone, Debug)]
pub struct Approvals {
    store: Store,
}

impl Approvals {
    /// Over a store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// A person presses a button.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn press(
        &self,
        id: PlanId,
        person: &Person,
        verdict: Verdict,
    ) -> Result<Answer, StoreError> {
        let Some(plan) = self.store.plan(id).await? else {
            return Ok(Answer::NoSuchPlan);
        };
        self.answer(&plan, person, verdict, GrantSource::Button)
            .await
    }

    /// A person takes back what they said, whichever way they said it; a reaction that still
    /// stands is for `chat` to remove.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_back(&self, id: PlanId, user: DiscordUserId) -> Result<Answer, StoreError> {
        let Some(plan) = self.latest(id).await? else {
            return Ok(Answer::NoSuchPlan);
        };
        if plan.state != PlanState::Waiting {
            return Ok(Answer::Ended {
                state: plan.state,
                reason: plan.state_reason,
            });
        }
        let taken = self
            .store
            .take_grant_back(plan.id, user, None, None)
            .await?;
        Ok(if taken {
            Answer::TakenBack
        } else {
            Answer::NothingToTakeBack
        })
    }

    /// Brings the grants by reaction in line with what REST shows: new ones are recorded, those
    /// that are gone are taken back. Answers each new one, so that `chat` can remove those that do
    /// not count and tell their owners why.
    ///
    /// A reaction that stands there before the plan was posted in full is recorded as ignored; it
    /// counts only after it was removed and given again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reconcile(
        &self,
        id: PlanId,
        seen: &ReactionsSeen,
    ) -> Result<Vec<(Person, Verdict, Answer)>, StoreError> {
        let Some(plan) = self.store.plan(id).await? else {
            return Ok(Vec::new());
        };
        let known = self.store.reaction_grants(plan.id).await?;
        for grant in &known {
            let stands = seen
                .answers
                .iter()
                .any(|(person, verdict)| person.id == grant.user && *verdict == grant.verdict);
            if !stands {
                self.reaction_gone(&plan, grant).await?;
            }
        }
        let mut answers = Vec::new();
        for (person, verdict) in &seen.answers {
            let is_known = known
                .iter()
                .any(|grant| grant.user == person.id && grant.verdict == *verdict);
            if is_known && person.has_any(&rules::who_may_answer(&plan)) {
                continue;
            }
            if is_known {
                // The role was lost meanwhile: the grant goes with it.
                let source = Some(GrantSource::Reaction);
                self.store
                    .take_grant_back(plan.id, person.id, source, Some(*verdict))
                    .await?;
            }
            let answer = self
                .answer(&plan, person, *verdict, GrantSource::Reaction)
                .await?;
            answers.push((person.clone(), *verdict, answer));
        }
        Ok(answers)
    }

    /// Counts the grants of a plan.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decide(&self, id: PlanId) -> Result<Decision, StoreError> {
        let Some(plan) = self.store.plan(id).await? else {
            return Ok(Decision::NotWaiting);
        };
        let grants = self.store.grants(id).await?;
        Ok(rules::decide(&plan, &grants, self.now()))
    }

    /// Breaks the glass: the plan may start without grants. The channel is told, the audit marks
    /// it, and a second person must review it. Only the first force of a plan counts, and only
    /// before it expires.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn force(
        &self,
        id: PlanId,
        person: &Person,
        reason: &str,
    ) -> Result<ForceAnswer, StoreError> {
        let Some(plan) = self.store.plan(id).await? else {
            return Ok(ForceAnswer::NoSuchPlan);
        };
        if !plan.rule.may_force {
            return Ok(ForceAnswer::NotAllowed);
        }
        if person.is_bot || !person.has_any(&plan.rule.from) {
            return Ok(ForceAnswer::MissingRole {
                allowed: plan.rule.from,
            });
        }
        if let Some(answer) = rules::why_not_force(&plan, self.now()) {
            return Ok(answer);
        }
        let forced = Forced {
            by: person.id,
            reason: reason.to_owned(),
        };
        let place = Place::Channel(plan.channel);
        let notice = forced_notice(&plan, &forced);
        if self.store.force_plan(id, &forced, notice, &place).await? {
            return Ok(ForceAnswer::Forced);
        }
        // Somebody else was faster, or it ended just now.
        let Some(plan) = self.store.plan(id).await? else {
            return Ok(ForceAnswer::NoSuchPlan);
        };
        Ok(
            rules::why_not_force(&plan, self.now()).unwrap_or(ForceAnswer::Ended {
                state: plan.state,
                reason: plan.state_reason,
            }),
        )
    }

    /// A second person confirms having reviewed a forced start.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn review(&self, id: PlanId, person: &Person) -> Result<ReviewAnswer, StoreError> {
        let Some(plan) = self.store.plan(id).await? else {
            return Ok(ReviewAnswer::NothingToReview);
        };
        if person.is_bot || !person.has_any(&plan.rule.from) {
            return Ok(ReviewAnswer::MissingRole {
                allowed: plan.rule.from,
            });
        }
        match &plan.forced {
            Some(forced) if forced.by == person.id => return Ok(ReviewAnswer::OwnForce),
            Some(_) => {}
            None => return Ok(ReviewAnswer::NothingToReview),
        }
        let recorded = self.store.review_plan(id, person.id).await?;
        Ok(if recorded {
            ReviewAnswer::Reviewed
        } else {
            ReviewAnswer::NothingToReview
        })
    }

    /// Ends the plans that nobody decided in time and reminds about those that wait; call it every
    /// few seconds. Answers how many of each.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep(&self) -> Result<(usize, usize), StoreError> {
        let now = self.now();
        let mut expired = 0;
        for plan in self.store.waiting_plans().await? {
            if rules::ends_at(&plan) <= now {
                let reason = "nobody decided in time";
                if self
                    .store
                    .end_plan(plan.id, PlanState::Expired, reason, None)
                    .await?
                {
                    expired += 1;
                }
            }
        }
        let mut reminded = 0;
        for id in self.store.due_reminders().await? {
            let Some(plan) = self.store.plan(id).await? else {
                continue;
            };
            let place = Place::ThreadOf(format!("plan/{id}"));
            if self.store.remind_plan(id, reminder(&plan), &place).await? {
                reminded += 1;
            }
        }
        Ok((expired, reminded))
    }

    async fn answer(
        &self,
        plan: &Plan,
        person: &Person,
        verdict: Verdict,
        source: GrantSource,
    ) -> Result<Answer, StoreError> {
        if let Some(answer) = rules::why_not(plan, person, self.now()) {
            return Ok(answer);
        }
        let early = source == GrantSource::Reaction && plan.posted_in_full_at.is_none();
        let grant = Grant {
            user: person.id,
            source,
            verdict,
            given_at: self.now(),
        };
        let ignored = early.then_some("given before the plan was posted in full");
        let is_new = self.store.record_grant(plan.id, &grant, ignored).await?;
        if early {
            return Ok(Answer::TooEarly);
        }
        let grants = self.store.grants(plan.id).await?;
        if !is_new
            && !grants
                .iter()
                .any(|g| g.user == person.id && g.verdict == verdict)
        {
            return Ok(Answer::TooEarly);
        }
        match rules::decide(plan, &grants, self.now()) {
            Decision::Refused { by } => {
                let reason = format!("<@{by}> said no");
                self.store
                    .end_plan(plan.id, PlanState::Refused, &reason, Some(by))
                    .await?;
                Ok(Answer::Refused)
            }
            _ if !is_new => Ok(Answer::AlreadyGiven),
            Decision::Waiting { given, needed } => Ok(Answer::Counted { given, needed }),
            Decision::Approved { by } => Ok(Answer::Counted {
                given: u32::try_from(by.len()).unwrap_or(u32::MAX),
                needed: plan.rule.needed,
            }),
            Decision::NotWaiting => Ok(Answer::Ended {
                state: plan.state,
                reason: plan.state_reason.clone(),
            }),
        }
    }

    /// A reaction is gone: so is its grant, also where an identical plan carried it on.
    async fn reaction_gone(&self, plan: &Plan, grant: &Grant) -> Result<(), StoreError> {
        let source = Some(GrantSource::Reaction);
        self.store
            .take_grant_back(plan.id, grant.user, source, Some(grant.verdict))
            .await?;
        if let Some(latest) = self.latest(plan.id).await?
            && latest.id != plan.id
        {
            let carried = Some(GrantSource::Carried);
            self.store
                .take_grant_back(latest.id, grant.user, carried, Some(grant.verdict))
                .await?;
        }
        Ok(())
    }

    /// The plan that carries the grants of `id` on, or the plan itself.
    async fn latest(&self, id: PlanId) -> Result<Option<Plan>, StoreError> {
        let mut plan = self.store.plan(id).await?;
        // A chain of identical plans is short; the bound only guards against a broken row.
        for _ in 0..100 {
            match plan.as_ref().and_then(|plan| plan.superseded_by) {
                Some(next) => plan = self.store.plan(next).await?,
                None => break,
            }
        }
        Ok(plan)
    }

    fn now(&self) -> DateTime<Utc> {
        self.store.clock().now()
    }
}

fn forced_notice(plan: &Plan, forced: &Forced) -> Notice {
    Notice {
        title: format!(
            "Started without approval: `{}` of `{}`",
            plan.essence.command, plan.essence.target
        ),
        text: format!(
            "<@{}> used `force`: {}\nIt stays open until a second person confirms having reviewed it.",
            forced.by, forced.reason
        ),
        mention_users: Vec::new(),
        mention_roles: plan.rule.from.clone(),
        review_of: Some(plan.id),
        remedies: Vec::new(),
    }
}

/// Asks again, and the next group too.
fn reminder(plan: &Plan) -> Notice {
    Notice {
        title: format!(
            "Still waiting: `{}` of `{}`",
            plan.essence.command, plan.essence.target
        ),
        text: format!(
            "plan `{}` expires <t:{}:R>; react ✅ or ❌ on it or press its button",
            plan.id.short(),
            plan.expires_at.timestamp()
        ),
        mention_users: Vec::new(),
        mention_roles: rules::who_may_answer_once_reminded(plan),
        review_of: None,
        remedies: Vec::new(),
    }
}
