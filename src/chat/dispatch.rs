//! Takes interactions and works on them at the same time.
//!
//! For each: who may (in memory) → the acknowledgement → the work, within its deadline → the
//! private answer. The number in work is bounded; one more is told so at once.
//!
//! **Invariant:** a form's values and an interaction's token are neither logged nor kept.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serenity::all::{
    CommandInteraction, ComponentInteraction, CreateInteractionResponse,
    CreateInteractionResponseMessage, CreateModal, Interaction, InteractionId, Member,
    ModalInteraction, User,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::access::{Caller, Refusal};
use super::gateway::place_of;
use super::messages::answers;
use super::view::View;
use super::{ChatError, Shared, buttons, completion, forms, handlers};
use crate::domain::ids::{DiscordRoleId, DiscordUserId};
use crate::domain::metrics::Outcome;
use crate::store::audit::AuditEntry;

/// How long the work behind an acknowledged interaction may take; its token lives 15 minutes.
const WORK: Duration = Duration::from_mins(12);
/// How many interactions may be dealt with at once, with those that are being told to try again.
const MOST: usize = 1024;
/// How long what is in work may take when the bot ends.
const GRACE: Duration = Duration::from_secs(3);

/// Takes interactions, each in the task that serenity gives it: no other task stands before the
/// acknowledgement.
#[derive(Clone)]
pub(crate) struct Dispatch {
    shared: Arc<Shared>,
    in_work: TaskTracker,
}

impl Dispatch {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            in_work: TaskTracker::new(),
        }
    }

    /// Works on one interaction until it is dealt with.
    pub(crate) async fn take(&self, interaction: Interaction) {
        if self.in_work.is_closed() || self.in_work.len() >= MOST {
            // Discord tells the person that nothing came within 3 s.
            tracing::error!("too many interactions at once, or the bot ends; one stays unanswered");
            return;
        }
        let span = tracing::info_span!("interaction", user.id = tracing::field::Empty);
        let work = take(&self.shared, interaction, Instant::now()).instrument(span);
        self.in_work.track_future(work).await;
    }

    /// Runs until the bot ends; what is in work then may finish within a short time.
    pub(crate) async fn run(self, ended: CancellationToken) -> Result<(), ChatError> {
        ended.cancelled().await;
        self.in_work.close();
        if timeout(GRACE, self.in_work.wait()).await.is_err() {
            let interactions = self.in_work.len();
            tracing::warn!(interactions, "gave up what was in work");
        }
        Ok(())
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "serenity's own enum, which may grow"
)]
async fn take(shared: &Shared, interaction: Interaction, at: Instant) {
    match interaction {
        Interaction::Command(command) => handlers::take(shared, command, at).await,
        Interaction::Autocomplete(command) => completion::take(shared, command, at).await,
        Interaction::Component(component) => buttons::take(shared, component, at).await,
        Interaction::Modal(modal) => forms::take(shared, modal, at).await,
        // A ping comes over HTTP only; serenity may learn of other kinds.
        _other => {}
    }
}

/// What every kind of interaction has.
pub(crate) struct Ticket<'a> {
    pub(crate) id: InteractionId,
    pub(crate) token: &'a str,
    pub(crate) caller: Caller,
    /// What it is counted as; never a text that somebody typed.
    pub(crate) name: String,
    received: Instant,
}

/// What an interaction is counted as that nothing of ours answers.
const UNKNOWN: &str = "unknown";

impl<'a> Ticket<'a> {
    pub(crate) fn of_command(interaction: &'a CommandInteraction, received: Instant) -> Self {
        let place = place_of(interaction.channel_id, interaction.channel.as_ref());
        let guild = interaction.guild_id.map(|guild| guild.get());
        let member = interaction.member.as_deref();
        Self::new(
            interaction.id,
            &interaction.token,
            caller(guild, place, &interaction.user, member),
            received,
        )
    }

    pub(crate) fn of_button(interaction: &'a ComponentInteraction, received: Instant) -> Self {
        let place = place_of(interaction.channel_id, interaction.channel.as_ref());
        let guild = interaction.guild_id.map(|guild| guild.get());
        let member = interaction.member.as_ref();
        Self::new(
            interaction.id,
            &interaction.token,
            caller(guild, place, &interaction.user, member),
            received,
        )
    }

    pub(crate) fn of_form(interaction: &'a ModalInteraction, received: Instant) -> Self {
        let place = place_of(interaction.channel_id, interaction.channel.as_ref());
        let guild = interaction.guild_id.map(|guild| guild.get());
        let member = interaction.member.as_ref();
        Self::new(
            interaction.id,
            &interaction.token,
            caller(guild, place, &interaction.user, member),
            received,
        )
    }

    fn new(id: InteractionId, token: &'a str, caller: Caller, received: Instant) -> Self {
        tracing::Span::current().record("user.id", caller.user.0);
        Self {
            id,
            token,
            caller,
            name: UNKNOWN.to_owned(),
            received,
        }
    }
}

fn caller(
    guild: Option<u64>,
    place: (
        crate::domain::ids::DiscordChannelId,
        Option<crate::domain::ids::DiscordChannelId>,
    ),
    user: &User,
    member: Option<&Member>,
) -> Caller {
    Caller {
        guild,
        channel: place.0,
        parent: place.1,
        user: DiscordUserId(user.id.get()),
        is_bot: user.bot,
        roles: member.map(|member| {
            let roles = member.roles.iter();
            roles.map(|role| DiscordRoleId(role.get())).collect()
        }),
    }
}

impl Shared {
    /// Sends the first answer; an error is logged, since there is nobody left to tell.
    pub(crate) async fn first_answer(
        &self,
        ticket: &Ticket<'_>,
        answer: CreateInteractionResponse,
    ) -> bool {
        match self
            .rest
            .acknowledge(ticket.id, ticket.token, &answer)
            .await
        {
            Ok(()) => {
                self.parts.metrics.acknowledged(ticket.received.elapsed());
                true
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not answer an interaction"
                );
                false
            }
        }
    }

    /// Answers at once and privately why nothing is done.
    pub(crate) async fn say(&self, ticket: &Ticket<'_>, view: View) {
        let view = view.redacted(&self.clean);
        let answer = CreateInteractionResponse::Message(view.into_private_answer());
        self.first_answer(ticket, answer).await;
        self.count(ticket, Outcome::Refused);
    }

    /// Answers at once with a form.
    pub(crate) async fn open(&self, ticket: &Ticket<'_>, form: CreateModal) {
        let form = CreateInteractionResponse::Modal(form);
        let outcome = if self.first_answer(ticket, form).await {
            Outcome::Done
        } else {
            Outcome::Failed
        };
        self.count(ticket, outcome);
    }

    /// Counts an interaction that was dealt with.
    pub(crate) fn count(&self, ticket: &Ticket<'_>, outcome: Outcome) {
        self.parts.metrics.interaction(&ticket.name, outcome);
    }

    /// Says why the caller may not, and keeps it in the audit.
    pub(crate) async fn refuse(&self, ticket: &Ticket<'_>, what: &str, refusal: &Refusal) {
        self.say(ticket, View::text(answers::refusal(refusal)))
            .await;
        let reason = match refusal {
            Refusal::OtherGuild => "other guild",
            Refusal::OtherChannel { .. } => "other channel",
            Refusal::MissingRole { .. } => "missing role",
        };
        tracing::info!(what, reason, "refused an interaction");
        let details = serde_json::json!({"reason": reason});
        let entry = AuditEntry::by(ticket.caller.user, "request.refused", what, details);
        if let Err(error) = self.parts.store.audit(entry).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "could not write a refusal into the audit"
            );
        }
    }

    /// The right to work; `None`, with an answer, when too much is in work.
    pub(crate) async fn admit(&self, ticket: &Ticket<'_>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.in_work).try_acquire_owned() {
            return Some(permit);
        }
        self.say(ticket, View::text(answers::BUSY)).await;
        None
    }

    /// Acknowledges, works, and answers privately with what came of it.
    pub(crate) async fn work<F>(&self, ticket: &Ticket<'_>, work: F)
    where
        F: Future<Output = anyhow::Result<View>>,
    {
        let Some(_permit) = self.admit(ticket).await else {
            return;
        };
        let later = CreateInteractionResponseMessage::new().ephemeral(true);
        if !self
            .first_answer(ticket, CreateInteractionResponse::Defer(later))
            .await
        {
            // Not acknowledged: the person sees a failure, so nothing may happen behind it.
            self.count(ticket, Outcome::Failed);
            return;
        }
        let (view, outcome) = match timeout(WORK, work).await {
            Ok(Ok(view)) => (view, Outcome::Done),
            Ok(Err(error)) => (View::text(went_wrong(&error)), Outcome::Failed),
            Err(_elapsed) => (View::text(answers::TOO_SLOW), Outcome::Failed),
        };
        self.count(ticket, outcome);
        let answer = view.redacted(&self.clean).into_deferred_answer();
        if let Err(error) = self.rest.complete_answer(ticket.token, &answer).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not complete an answer"
            );
        }
    }
}

/// Logs what failed and makes the words for it.
pub(crate) fn went_wrong(error: &anyhow::Error) -> String {
    let reference = uuid::Uuid::new_v4().simple().to_string();
    let reference = reference.get(..8).unwrap_or_default();
    tracing::error!(
        reference,
        error = format!("{error:#}"),
        "an interaction failed"
    );
    answers::went_wrong(reference)
}
