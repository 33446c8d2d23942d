//! Buttons on plans, notices and operations.

use std::time::Instant;

use serenity::all::{ComponentInteraction, ComponentInteractionDataKind};

use super::Shared;
use super::access::Admitted;
use super::custom_id::{ButtonId, RunId, raw_options};
use super::dispatch::Ticket;
use super::messages::{answers, summary};
use super::view::View;
use super::{forms, handlers};
use crate::approvals::Answer;
use crate::commands::Command;
use crate::domain::approval::Verdict;
use crate::domain::ids::{DiscordMessageId, OperationId, PlanId};
use crate::domain::person::Role;
use crate::operations::start::UNDO_COMMAND;

/// A button was pressed.
pub(crate) async fn take(shared: &Shared, interaction: ComponentInteraction, received: Instant) {
    let mut ticket = Ticket::of_button(&interaction, received);
    let is_button = matches!(interaction.data.kind, ComponentInteractionDataKind::Button);
    if let Some(run) = RunId::parse(&interaction.data.custom_id).filter(|_run| is_button) {
        let raw = |command: &Command| raw_options(command, &run.options);
        return handlers::take_named(shared, ticket, &run.name, raw).await;
    }
    let button = ButtonId::parse(&interaction.data.custom_id).filter(|_button| is_button);
    let Some(button) = button else {
        shared
            .say(&ticket, View::text(answers::UNKNOWN_BUTTON))
            .await;
        return;
    };
    let (word, needed) = word_and_roles(shared, button);
    word.clone_into(&mut ticket.name);
    let caller = match shared.access.check(&ticket.caller, &needed) {
        Ok(caller) => caller,
        Err(refusal) => return shared.refuse(&ticket, word, &refusal).await,
    };
    if let ButtonId::Force(plan) = button {
        return forms::open_force(shared, &ticket, plan).await;
    }
    let at = DiscordMessageId(interaction.message.id.get());
    shared
        .work(&ticket, Box::pin(press(shared, button, caller, at)))
        .await;
}

/// Who may press at all, known without asking the database; whose answer to a plan counts is
/// decided in `approvals`, from the plan's own rule.
fn word_and_roles(shared: &Shared, button: ButtonId) -> (&'static str, Vec<Role>) {
    let like = |command: &str| {
        let command = shared.parts.catalogue.get(command);
        command.map_or_else(
            || vec![Role::Operator, Role::Approver],
            |command| command.may_run.clone(),
        )
    };
    let anyone = || Role::ALL.to_vec();
    match button {
        ButtonId::Approve(_) => ("button approve", anyone()),
        ButtonId::Refuse(_) => ("button refuse", anyone()),
        ButtonId::TakeBack(_) => ("button take-back", anyone()),
        ButtonId::Review(_) => ("button review", anyone()),
        ButtonId::Force(_) => ("button force", forms::who_may_force(shared)),
        ButtonId::Cancel(_) => ("button cancel", like("ops cancel")),
        ButtonId::Retry(_) => ("button retry", like("ops retry")),
        ButtonId::Undo(_) => ("button undo", like(UNDO_COMMAND)),
        ButtonId::Leave(_) => ("button leave", like("ops cancel")),
    }
}

async fn press(
    shared: &Shared,
    button: ButtonId,
    caller: Admitted,
    at: DiscordMessageId,
) -> anyhow::Result<View> {
    let parts = &shared.parts;
    if let Some(text) = answered_before(shared, button, at).await? {
        return Ok(View::text(text));
    }
    let id = |operation: OperationId| operation.to_string();
    let controlled = match button {
        ButtonId::Approve(plan) => return answer(shared, plan, &caller, Verdict::Approve).await,
        ButtonId::Refuse(plan) => return answer(shared, plan, &caller, Verdict::Refuse).await,
        ButtonId::TakeBack(plan) => return take_back(shared, plan, &caller).await,
        ButtonId::Review(plan) => {
            let answer = parts.approvals.review(plan, &caller.person).await?;
            parts.store.touch_message(&format!("plan/{plan}")).await?;
            return Ok(View::text(answers::review(&answer)));
        }
        ButtonId::Undo(operation) => {
            let planned = parts
                .plans
                .undo(&id(operation), &caller.person, caller.channel)
                .await?;
            return Ok(View::text(answers::undo_planned(&shared.clean, &planned)));
        }
        ButtonId::Cancel(operation) => {
            parts
                .control
                .cancel(&id(operation), &caller.person, None)
                .await?
        }
        ButtonId::Retry(operation) => parts.control.retry(&id(operation), &caller.person).await?,
        ButtonId::Leave(operation) => parts.control.leave(&id(operation), &caller.person).await?,
        // Opens a form, see above.
        ButtonId::Force(_) => return Ok(View::text(answers::UNKNOWN_BUTTON)),
    };
    Ok(View::text(answers::controlled(&shared.clean, &controlled)))
}

/// What happened since, if the button is of a rest that was answered: it must not act on a later
/// one.
async fn answered_before(
    shared: &Shared,
    button: ButtonId,
    at: DiscordMessageId,
) -> anyhow::Result<Option<String>> {
    let operation = match button {
        ButtonId::Cancel(id) | ButtonId::Retry(id) | ButtonId::Undo(id) | ButtonId::Leave(id) => id,
        ButtonId::Approve(_)
        | ButtonId::Refuse(_)
        | ButtonId::TakeBack(_)
        | ButtonId::Review(_)
        | ButtonId::Force(_) => return Ok(None),
    };
    let store = &shared.parts.store;
    let key = store.key_of_message(at).await?;
    let Some(key) = key.filter(|key| key.starts_with("summary/")) else {
        return Ok(None);
    };
    let operation = store.operation(operation).await?;
    Ok(operation
        .filter(|operation| summary::is_answered(&key, operation))
        .map(|operation| answers::answered_before(&operation)))
}

async fn answer(
    shared: &Shared,
    plan: PlanId,
    caller: &Admitted,
    verdict: Verdict,
) -> anyhow::Result<View> {
    let answer = shared
        .parts
        .approvals
        .press(plan, &caller.person, verdict)
        .await?;
    let started = match answer {
        Answer::Counted { .. } | Answer::AlreadyGiven => {
            shared.reactions.start_if_approved(plan).await?
        }
        Answer::Refused
        | Answer::TakenBack
        | Answer::NothingToTakeBack
        | Answer::MissingRole { .. }
        | Answer::OwnRequest
        | Answer::IsBot
        | Answer::TooEarly
        | Answer::Ended { .. }
        | Answer::NoSuchPlan => None,
    };
    Ok(View::text(answers::answer(
        &shared.clean,
        &answer,
        started.as_ref(),
    )))
}

/// The reaction goes first: while it stands, the next reading would count it again.
async fn take_back(shared: &Shared, plan: PlanId, caller: &Admitted) -> anyhow::Result<View> {
    let person = caller.person.id;
    let removed = shared.reactions.remove_reactions_of(plan, person).await?;
    let answer = shared.parts.approvals.take_back(plan, person).await?;
    let mut text = answers::answer(&shared.clean, &answer, None);
    if !removed {
        text.push_str("\nhint: remove your reaction too; the bot may not do that here");
    }
    Ok(View::text(text))
}
