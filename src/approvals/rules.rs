//! The rules, as pure functions.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Answer, ForceAnswer};
use crate::domain::approval::{Grant, Verdict};
use crate::domain::ids::DiscordUserId;
use crate::domain::person::{Person, Role};
use crate::domain::plan::{Plan, PlanState};

/// How long after its expiry a plan may start that was forced before it: the start follows the
/// force within a moment, or when the bot is back.
const FORCED_STARTS_WITHIN: TimeDelta = TimeDelta::hours(1);

/// What the grants of a plan amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// More grants are needed.
    Waiting {
        /// Grants that count.
        given: u32,
        /// Grants that start it.
        needed: u32,
    },
    /// It may start.
    Approved {
        /// Who approved, in the order of their ids; who forced it, if forced.
        by: Vec<DiscordUserId>,
    },
    /// An approver said no.
    Refused {
        /// Who.
        by: DiscordUserId,
    },
    /// It has ended or expired.
    NotWaiting,
}

/// The roles that may answer a plan now: the next group too, once the reminder went out.
pub fn who_may_answer(plan: &Plan) -> Vec<Role> {
    match plan.reminded_at {
        Some(_) => who_may_answer_once_reminded(plan),
        None => plan.rule.from.clone(),
    }
}

/// The roles that may answer a plan once its reminder went out.
pub fn who_may_answer_once_reminded(plan: &Plan) -> Vec<Role> {
    let mut roles = plan.rule.from.clone();
    for role in &plan.rule.then_ask {
        if !roles.contains(role) {
            roles.push(*role);
        }
    }
    roles
}

/// Why a person's answer does not count, if it does not.
pub fn why_not(plan: &Plan, person: &Person, now: DateTime<Utc>) -> Option<Answer> {
    if plan.state != PlanState::Waiting {
        return Some(Answer::Ended {
            state: plan.state,
            reason: plan.state_reason.clone(),
        });
    }
    if plan.expires_at <= now {
        return Some(Answer::Ended {
            state: PlanState::Expired,
            reason: None,
        });
    }
    if person.is_bot {
        return Some(Answer::IsBot);
    }
    let allowed = who_may_answer(plan);
    if !person.has_any(&allowed) {
        return Some(Answer::MissingRole { allowed });
    }
    if person.id == plan.requester {
        return Some(Answer::OwnRequest);
    }
    None
}

/// When a plan ends that did not start.
pub fn ends_at(plan: &Plan) -> DateTime<Utc> {
    match plan.forced {
        Some(_) => plan.expires_at + FORCED_STARTS_WITHIN,
        None => plan.expires_at,
    }
}

/// Why a plan can't be forced, if it can't: it was before, or has ended.
pub fn why_not_force(plan: &Plan, now: DateTime<Utc>) -> Option<ForceAnswer> {
    let ended = |state, reason| Some(ForceAnswer::Ended { state, reason });
    match (plan.state, &plan.forced) {
        (PlanState::Waiting | PlanState::Started, Some(forced)) => {
            Some(ForceAnswer::AlreadyForced { by: forced.by })
        }
        (PlanState::Waiting, None) if plan.expires_at <= now => ended(PlanState::Expired, None),
        (PlanState::Waiting, None) => None,
        (state, _) => ended(state, plan.state_reason.clone()),
    }
}

/// Counts the grants of a plan: each person once, the requester never, one no ends it.
pub fn decide(plan: &Plan, grants: &[Grant], now: DateTime<Utc>) -> Decision {
    if plan.state != PlanState::Waiting || ends_at(plan) <= now {
        return Decision::NotWaiting;
    }
    if let Some(forced) = &plan.forced {
        return Decision::Approved {
            by: vec![forced.by],
        };
    }
    if let Some(no) = grants
        .iter()
        .find(|grant| grant.verdict == Verdict::Refuse && grant.user != plan.requester)
    {
        return Decision::Refused { by: no.user };
    }
    let by: BTreeSet<DiscordUserId> = grants
        .iter()
        .filter(|grant| grant.verdict == Verdict::Approve && grant.user != plan.requester)
        .map(|grant| grant.user)
        .collect();
    let given = u32::try_from(by.len()).unwrap_or(u32::MAX);
    if given >= plan.rule.needed {
        Decision::Approved {
            by: by.into_iter().collect(),
        }
    } else {
        Decision::Waiting {
            given,
            needed: plan.rule.needed,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::approval::GrantSource;
    use crate::domain::ids::{DiscordChannelId, PlanId};
    use crate::domain::plan::{ApprovalRule, Forced, PlanContent, PlanDigest, PlanEssence};

    const ANA: DiscordUserId = DiscordUserId(1);
    const BEN: DiscordUserId = DiscordUserId(2);
    const EVA: DiscordUserId = DiscordUserId(3);

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn plan(needed: u32) -> Plan {
        Plan {
            id: PlanId::new(),
            essence: PlanEssence {
                command: "deploy".to_owned(),
                target: "geo".to_owned(),
                options: serde_json::json!({}),
                target_revision: 0,
                steps: Vec::new(),
            },
            digest: PlanDigest::from_stored(String::new()),
            content: PlanContent::default(),
            rule: ApprovalRule {
                needed,
                from: vec![Role::Approver],
                then_ask: vec![Role::Operator],
                may_force: true,
            },
            requester: ANA,
            channel: DiscordChannelId(9),
            state: PlanState::Waiting,
            state_reason: None,
            superseded_by: None,
            created_at: now(),
            expires_at: now() + TimeDelta::hours(1),
            posted_in_full_at: Some(now()),
            reminded_at: None,
            forced: None,
            reviewed_by: None,
        }
    }

    fn grant(user: DiscordUserId, source: GrantSource, verdict: Verdict) -> Grant {
        Grant {
            user,
            source,
            verdict,
            given_at: now(),
        }
    }

    fn yes(user: DiscordUserId) -> Grant {
        grant(user, GrantSource::Reaction, Verdict::Approve)
    }

    #[test]
    fn one_person_counts_once_however_often_they_say_yes() {
        let twice = [yes(BEN), grant(BEN, GrantSource::Button, Verdict::Approve)];
        assert_eq!(
            decide(&plan(2), &twice, now()),
            Decision::Waiting {
                given: 1,
                needed: 2
            }
        );
        let both = [yes(BEN), yes(EVA)];
        assert_eq!(
            decide(&plan(2), &both, now()),
            Decision::Approved { by: vec![BEN, EVA] }
        );
    }

    #[test]
    fn the_requester_never_counts() {
        assert_eq!(
            decide(&plan(1), &[yes(ANA)], now()),
            Decision::Waiting {
                given: 0,
                needed: 1
            }
        );
    }

    #[test]
    fn one_no_ends_it_even_with_enough_grants() {
        let mixed = [yes(BEN), grant(EVA, GrantSource::Button, Verdict::Refuse)];
        assert_eq!(
            decide(&plan(1), &mixed, now()),
            Decision::Refused { by: EVA }
        );
    }

    #[test]
    fn an_expired_or_ended_plan_never_starts() {
        let late = now() + TimeDelta::hours(1);
        assert_eq!(decide(&plan(1), &[yes(BEN)], late), Decision::NotWaiting);
        let ended = Plan {
            state: PlanState::Refused,
            ..plan(1)
        };
        assert_eq!(decide(&ended, &[yes(BEN)], now()), Decision::NotWaiting);
    }

    #[test]
    fn a_forced_plan_starts_without_grants() {
        let forced = Plan {
            forced: Some(Forced {
                by: EVA,
                reason: "course".to_owned(),
            }),
            ..plan(2)
        };
        let starts = Decision::Approved { by: vec![EVA] };
        assert_eq!(decide(&forced, &[], now()), starts);
        // It was forced in time; its start may come a little later, and not for ever.
        let late = forced.expires_at + TimeDelta::minutes(1);
        assert_eq!(decide(&forced, &[], late), starts);
        let too_late = forced.expires_at + TimeDelta::hours(1);
        assert_eq!(decide(&forced, &[], too_late), Decision::NotWaiting);
    }

    #[test]
    fn each_reason_not_to_count_an_answer_has_its_own_words() {
        let person = |id, roles: &[Role], is_bot| Person {
            id,
            roles: roles.to_vec(),
            is_bot,
        };
        let approver = [Role::Approver];
        let cases = [
            (person(BEN, &approver, false), None),
            (person(BEN, &approver, true), Some(Answer::IsBot)),
            (
                person(BEN, &[Role::Viewer], false),
                Some(Answer::MissingRole {
                    allowed: approver.to_vec(),
                }),
            ),
            (person(ANA, &approver, false), Some(Answer::OwnRequest)),
        ];
        for (person, expected) in cases {
            assert_eq!(why_not(&plan(1), &person, now()), expected, "{person:?}");
        }
        let late = now() + TimeDelta::hours(1);
        let expired = Answer::Ended {
            state: PlanState::Expired,
            reason: None,
        };
        assert_eq!(
            why_not(&plan(1), &person(BEN, &approver, false), late),
            Some(expired)
        );
    }

    #[test]
    fn the_next_group_may_answer_only_after_the_reminder() {
        assert_eq!(who_may_answer(&plan(1)), vec![Role::Approver]);
        let reminded = Plan {
            reminded_at: Some(now()),
            ..plan(1)
        };
        assert_eq!(
            who_may_answer(&reminded),
            vec![Role::Approver, Role::Operator]
        );
    }
}
