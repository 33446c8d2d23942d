//! Private answers to commands, buttons and forms.

use chrono::{DateTime, NaiveDate, Utc};

use super::{bullets, roles};
use crate::approvals::{Answer, ForceAnswer, ReviewAnswer};
use crate::chat::access::Refusal;
use crate::chat::text::Clean;
use crate::commands::options::OptionError;
use crate::domain::event::Event;
use crate::domain::lock::Lock;
use crate::domain::operation::{Direction, Operation, OperationState};
use crate::domain::plan::{Plan, PlanState};
use crate::operations::{Controlled, StartOutcome};
use crate::plans::Planned;

/// The bot does too much already.
pub(crate) const BUSY: &str = "the bot is busy: try again in a few seconds";
/// A button or form that means nothing.
pub(crate) const UNKNOWN_BUTTON: &str = "this button is not known any more: run the command again";
/// A command that is registered but not known.
pub(crate) const UNKNOWN_COMMAND: &str =
    "this command is not known any more: wait a minute until Discord shows the current ones";
/// The work took too long.
pub(crate) const TOO_SLOW: &str =
    "this takes too long: look at the channel and at `/pangeo ops list` for what became of it";

/// Something failed that the person can't mend; the log has the same reference.
pub(crate) fn went_wrong(reference: &str) -> String {
    format!(
        "something went wrong (reference `{reference}`)\n\
         hint: try again; if it stays, give the reference to whoever runs the bot"
    )
}

/// The caller may not.
pub(crate) fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::OtherGuild => "the bot does not answer here".to_owned(),
        Refusal::OtherChannel { channels } => {
            let channels: Vec<String> = channels.iter().map(|c| format!("<#{c}>")).collect();
            format!("the bot answers in {} only", channels.join(", "))
        }
        Refusal::MissingRole { allowed } => {
            let who = roles(allowed);
            format!(
                "only {who} may do this\n\
                 hint: ask one of them, or an administrator of this server for the role; \
                 `/pangeo help` shows what you may do"
            )
        }
    }
}

/// Options that do not hold.
pub(crate) fn option_problems(clean: &Clean, errors: &[OptionError]) -> String {
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("`{}`: {}", error.option, clean.ours(&error.text)))
        .collect();
    format!("nothing was changed\n{}", bullets(&lines))
}

/// What became of a request for a plan.
pub(crate) fn planned(clean: &Clean, planned: &Planned) -> String {
    match planned {
        Planned::Posted(plan) => format!(
            "plan `{}` is made and appears in the channel; nothing is changed before it is approved",
            plan.short()
        ),
        Planned::Refused(problems) => {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| clean.markdown(problem))
                .collect();
            format!("no plan was made, nothing was changed\n{}", bullets(&lines))
        }
    }
}

/// What became of a pressed button; `started` is what followed from it.
pub(crate) fn answer(clean: &Clean, answer: &Answer, started: Option<&StartOutcome>) -> String {
    let text = match answer {
        Answer::Counted { given, needed } => {
            format!("your approval counts: {given} of {needed}")
        }
        Answer::AlreadyGiven => "you said so before; it counts".to_owned(),
        Answer::Refused => "you refused the plan; it has ended".to_owned(),
        Answer::TakenBack => "it is taken back".to_owned(),
        Answer::NothingToTakeBack => "there is nothing of yours to take back".to_owned(),
        Answer::MissingRole { allowed } => {
            format!(
                "only {} may answer this plan\nhint: ask one of them to",
                roles(allowed)
            )
        }
        Answer::OwnRequest => "nobody approves or refuses their own request; use `Take back` \
                               of a colleague's approval or let it expire"
            .to_owned(),
        Answer::IsBot => "bots never approve".to_owned(),
        Answer::TooEarly => {
            "the plan was not posted in full yet: remove it and answer again".to_owned()
        }
        Answer::Ended { state, reason } => ended(clean, *state, reason.as_deref()),
        Answer::NoSuchPlan => NO_SUCH_PLAN.to_owned(),
    };
    with_start(clean, text, started)
}

/// A text with what followed from it.
pub(crate) fn with_start(clean: &Clean, text: String, started: Option<&StartOutcome>) -> String {
    match started {
        Some(StartOutcome::Started(operation)) => {
            format!("{text}\noperation `{}` starts", operation.short())
        }
        Some(StartOutcome::Queued {
            operation,
            behind,
            is_stopped,
        }) => {
            let (operation, behind) = (operation.short(), behind.short());
            let hint = if *is_stopped {
                format!(
                    "\nhint: that stopped and waits for a person: `/pangeo ops show operation:{behind}`"
                )
            } else {
                String::new()
            };
            format!("{text}\noperation `{operation}` waits behind operation `{behind}`{hint}")
        }
        Some(StartOutcome::Void(reason)) => format!(
            "{text}\nthe plan is void: {}\nhint: run the command again for a new plan",
            clean.ours(reason)
        ),
        Some(StartOutcome::Waiting { .. } | StartOutcome::Ended) | None => text,
    }
}

fn ended(clean: &Clean, state: PlanState, reason: Option<&str>) -> String {
    let reason = reason.map_or_else(String::new, |reason| {
        format!(": {}", clean.markdown(reason))
    });
    match state {
        PlanState::Waiting => format!("the plan does not wait for this{reason}"),
        PlanState::Started => "the plan was approved before and its operation started".to_owned(),
        PlanState::Refused => format!("the plan was refused{reason}"),
        PlanState::Expired => {
            format!("the plan has expired{reason}\nhint: run the command again for a new plan")
        }
        PlanState::Void => {
            format!("the plan is void{reason}\nhint: run the command again for a new plan")
        }
        PlanState::Superseded => {
            format!("the plan was replaced{reason}\nhint: answer the newer one")
        }
    }
}

/// What became of a break-glass.
pub(crate) fn force(clean: &Clean, answer: &ForceAnswer) -> String {
    match answer {
        ForceAnswer::Forced => {
            "the plan starts without approval; the channel is told, and a second person must review it"
                .to_owned()
        }
        ForceAnswer::NotAllowed => "this command can't be forced".to_owned(),
        ForceAnswer::MissingRole { allowed } => format!(
            "only {} may force a plan\nhint: ask one of them to, or let the plan be approved",
            roles(allowed)
        ),
        ForceAnswer::AlreadyForced { by } => format!(
            "<@{by}> forced the plan before, and only that counts; yours changed nothing"
        ),
        ForceAnswer::Ended { state, reason } => ended(clean, *state, reason.as_deref()),
        ForceAnswer::NoSuchPlan => NO_SUCH_PLAN.to_owned(),
    }
}

/// What became of a review.
pub(crate) fn review(answer: &ReviewAnswer) -> String {
    match answer {
        ReviewAnswer::Reviewed => "your review is recorded".to_owned(),
        ReviewAnswer::OwnForce => "you forced it: a second person must review it".to_owned(),
        ReviewAnswer::MissingRole { allowed } => {
            format!(
                "only {} may review a forced start\nhint: ask one of them to",
                roles(allowed)
            )
        }
        ReviewAnswer::NothingToReview => "there is nothing left to review".to_owned(),
    }
}

/// What became of a wish about an operation.
pub(crate) fn controlled(clean: &Clean, controlled: &Controlled) -> String {
    match controlled {
        Controlled::Done(text) => clean.markdown(text),
        Controlled::NoSuchOperation => NO_SUCH_OPERATION.to_owned(),
        Controlled::NotPossible { state, hint } => format!(
            "that is not possible, the operation's state is `{}`\nhint: {}",
            state.as_str(),
            clean.markdown(hint)
        ),
    }
}

/// A button of a rest that somebody answered: what happened since.
pub(crate) fn answered_before(operation: &Operation) -> String {
    let id = operation.id.short();
    let undoing = operation.direction == Direction::Undo;
    let since = match operation.state {
        OperationState::Queued | OperationState::Running | OperationState::Waiting if undoing => {
            "is being undone now\nhint: its progress is in this thread"
        }
        OperationState::Queued | OperationState::Running | OperationState::Waiting => {
            "goes on now\nhint: its progress is in this thread"
        }
        OperationState::Stopped => {
            "went on and has stopped anew\nhint: use the buttons of the newest message"
        }
        OperationState::Failed | OperationState::Cancelled => {
            "went on, stopped anew and was left\nhint: use the buttons of the newest message"
        }
        OperationState::Succeeded => "went on and succeeded",
        OperationState::Undone => "was undone",
    };
    format!("nothing was changed: this was answered before; operation `{id}` {since}")
}

/// A plan that is not there.
const NO_SUCH_PLAN: &str = "there is no such plan";

/// An operation that is not there.
pub(crate) const NO_SUCH_OPERATION: &str =
    "there is no such operation\nhint: `/pangeo ops list state:all` shows them";

/// A cluster that is not there.
pub(crate) fn no_such_cluster(clean: &Clean, name: &str) -> String {
    format!(
        "there is no cluster {}\nhint: `/pangeo list` shows them",
        clean.code(name)
    )
}

/// A lock that would never hold.
pub(crate) fn lock_ends_too_early(
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> String {
    let begins = starts_at.max(now);
    format!(
        "nothing is locked: `end` is <t:{}:f>, which is not after <t:{}:f>\n\
         hint: times without a zone are UTC; `2026-12-31 18:00 Europe/Paris` names one",
        ends_at.timestamp(),
        begins.timestamp()
    )
}

/// A lock was set.
pub(crate) fn locked(clean: &Clean, name: &str, lock: &Lock) -> String {
    format!(
        "{} is locked from <t:{}:f> until <t:{}:f>; the channel is told",
        clean.code(name),
        lock.starts_at.timestamp(),
        lock.ends_at.timestamp()
    )
}

/// Locks were lifted, if there were any.
pub(crate) fn unlocked(clean: &Clean, name: &str, lifted: u64) -> String {
    let name = clean.code(name);
    match lifted {
        0 => format!("{name} is not locked, and no lock is to come"),
        1 => format!("the lock on {name} is lifted; the channel is told"),
        lifted => format!("{lifted} locks on {name} are lifted; the channel is told"),
    }
}

/// What becomes of the events whose locks were lifted.
pub(crate) fn goes_on_unlocked(events: &[Event]) -> String {
    let lines = events.iter().map(|event| {
        format!(
            "\nhint: event `{0}` goes on without its lock; `/pangeo event cancel event:{0}` ends what runs for it",
            event.id.short()
        )
    });
    lines.collect()
}

/// A transfer that changes nothing.
pub(crate) const NOTHING_TO_TRANSFER: &str = "nothing would change\n\
    hint: give a new `owner`, `purpose`, `contact` or `end-date`";

/// An end date in the past.
pub(crate) fn end_date_is_over(day: NaiveDate, today: NaiveDate) -> String {
    format!(
        "nothing was changed: `end-date` {day} is over, today is {today} (UTC)\n\
         hint: `/pangeo destroy` deletes a cluster that is not needed any more"
    )
}

/// What the inventory says now.
pub(crate) fn transferred(clean: &Clean, name: &str, differences: &[String]) -> String {
    format!(
        "the inventory of {} is changed; the channel is told\n{}",
        clean.code(name),
        clean.markdown(&differences.join("\n"))
    )
}

/// From when on people are told of a token: as they said, or as of every cluster, which is `usual`
/// minutes before its end; `None` if the configuration says that they are not.
pub(crate) fn token_watched(
    clean: &Clean,
    name: &str,
    own: Option<i64>,
    usual: Option<u64>,
) -> String {
    let name = clean.code(name);
    let Some(usual) = usual else {
        return format!(
            "that is kept for {name}, but nobody is told of tokens\nhint: take `token` out of `watch.off` in the bot's configuration"
        );
    };
    match own {
        Some(minutes) => format!(
            "an alert comes when the access token of {name} has less than {minutes} min left\nhint: a token is refreshed when it has less than 10 min left; `/pangeo token status` shows it now"
        ),
        None => format!(
            "an alert comes when the access token of {name} has less than {usual} min left, as of every cluster\nhint: `/pangeo alerts silence` with `kind:token` keeps it still for a time"
        ),
    }
}

/// Why a reaction was removed; sent to its owner. `None` where there is nothing to say.
pub(crate) fn reaction_hint(clean: &Clean, plan: &Plan, answer: &Answer) -> Option<ReactionHint> {
    let (word, text) = match answer {
        Answer::MissingRole { allowed } => (
            "missing-role",
            format!("only {} may answer it; ask one of them", roles(allowed)),
        ),
        Answer::OwnRequest => (
            "own-request",
            "you asked for it yourself, so somebody else must answer".to_owned(),
        ),
        Answer::TooEarly => (
            "too-early",
            "it was set before the plan was posted in full: look at the plan and react again"
                .to_owned(),
        ),
        Answer::Ended { state, reason } => ("ended", ended(clean, *state, reason.as_deref())),
        Answer::Counted { .. }
        | Answer::AlreadyGiven
        | Answer::Refused
        | Answer::TakenBack
        | Answer::NothingToTakeBack
        | Answer::IsBot
        | Answer::NoSuchPlan => return None,
    };
    let title = format!(
        "Your reaction on `{} {}` does not count",
        plan.essence.command, plan.essence.target
    );
    Some(ReactionHint { word, title, text })
}

/// A private message about a reaction that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReactionHint {
    /// Each reason is told once per plan and person.
    pub(crate) word: &'static str,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// A secret is kept.
pub(crate) fn secret_kept(clean: &Clean, what: &str, host: &str) -> String {
    format!(
        "the {what} of {} is sealed and kept; it is never shown again",
        clean.code(host)
    )
}

/// What was typed into a form does not hold.
pub(crate) fn field_problem(label: &str, problem: &str) -> String {
    format!("nothing was changed\n• {label}: {problem}")
}

/// A form can't remember the options.
pub(crate) const OPTIONS_TOO_LONG: &str =
    "nothing was changed: the options are too long for a form";

/// What follows from a plan that a button of an operation made.
pub(crate) fn undo_planned(clean: &Clean, result: &Planned) -> String {
    match result {
        Planned::Posted(plan) => format!(
            "plan `{}` says what would be undone; it appears in the channel and needs approval",
            plan.short()
        ),
        Planned::Refused(_) => planned(clean, result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::messages::plan::tests::plan;
    use crate::domain::ids::{DiscordChannelId, OperationId};
    use crate::domain::person::Role;
    use crate::domain::redact::Redactor;

    fn clean() -> Clean {
        Clean::new(Redactor::new())
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        let missing = Refusal::MissingRole {
            allowed: vec![Role::Operator],
        };
        let text = refusal(&missing);
        assert!(
            text.starts_with("only `operator` may do this\nhint: ask one of them"),
            "{text}"
        );
        let channel = Refusal::OtherChannel {
            channels: vec![DiscordChannelId(5)],
        };
        assert_eq!(refusal(&channel), "the bot answers in <#5> only");
    }

    #[test]
    fn wrong_options_are_listed_together_and_made_harmless() {
        let errors = [
            OptionError::new("name", "has a space: @everyone"),
            OptionError::new("workers-max", "is 600, allowed is 1 to 500"),
        ];
        let text = option_problems(&clean(), &errors);
        assert!(
            text.starts_with("nothing was changed\n• `name`: has a space"),
            "{text}"
        );
        assert!(
            text.contains("• `workers-max`: is 600") && !text.contains("@everyone"),
            "{text}"
        );
    }

    #[test]
    fn an_answer_says_what_follows() {
        let operation = OperationId::new();
        let counted = Answer::Counted {
            given: 1,
            needed: 1,
        };
        let text = answer(&clean(), &counted, Some(&StartOutcome::Started(operation)));
        assert_eq!(
            text,
            format!(
                "your approval counts: 1 of 1\noperation `{}` starts",
                operation.short()
            )
        );
        let void = StartOutcome::Void("the host name was taken".to_owned());
        let text = answer(&clean(), &counted, Some(&void));
        assert!(
            text.contains("the plan is void: the host name was taken\nhint:"),
            "{text}"
        );
    }

    #[test]
    fn only_answers_that_do_not_count_are_told_in_private() {
        let plan = plan();
        let hint = reaction_hint(&clean(), &plan, &Answer::OwnRequest).unwrap();
        assert_eq!(hint.word, "own-request");
        assert_eq!(hint.title, "Your reaction on `deploy geo` does not count");
        let counted = Answer::Counted {
            given: 1,
            needed: 1,
        };
        assert_eq!(reaction_hint(&clean(), &plan, &counted), None);
        assert_eq!(reaction_hint(&clean(), &plan, &Answer::IsBot), None);
    }

    #[test]
    fn an_old_button_says_what_happened_since() {
        let said = |state, direction| {
            let operation = Operation {
                direction,
                ..crate::chat::messages::progress::tests::operation(state)
            };
            answered_before(&operation)
        };
        let text = said(OperationState::Waiting, Direction::Do);
        assert!(text.contains("goes on now\nhint:"), "{text}");
        let text = said(OperationState::Running, Direction::Undo);
        assert!(text.contains("is being undone now"), "{text}");
        let text = said(OperationState::Stopped, Direction::Do);
        assert!(text.contains("has stopped anew\nhint:"), "{text}");
        let text = said(OperationState::Undone, Direction::Undo);
        assert!(
            text.starts_with("nothing was changed") && text.ends_with("was undone"),
            "{text}"
        );
    }

    #[test]
    fn a_wish_that_is_not_possible_names_the_state() {
        let wish = Controlled::NotPossible {
            state: OperationState::Succeeded,
            hint: "nothing is left to do".to_owned(),
        };
        assert_eq!(
            controlled(&clean(), &wish),
            "that is not possible, the operation's state is `succeeded`\nhint: nothing is left to do"
        );
    }
}
