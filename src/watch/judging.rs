//! What one look at a cluster says about every kind of alert.
//!
//! **Invariant:** pure functions over what was known and what was seen.

use chrono::TimeDelta;

use super::beside::{self, Beside};
use super::settings::WatchSettings;
use super::sightings::{self, SeenHub};
use super::tokens::{self, TokenRules};
use crate::domain::alert::{Alert, AlertKind, Sighting, Silence};
use crate::domain::diagnosis::stall::{self, Limits, Memory};
use crate::domain::diagnosis::{Cause, Look, Seen};
use crate::domain::operation::{Operation, OperationState};

/// What is known of a cluster beside a look at it.
pub(super) struct Known {
    /// Its alerts that are not over.
    pub(super) open: Vec<Alert>,
    /// What keeps alerts still.
    pub(super) silences: Vec<Silence>,
    /// The operation whose turn it is; others wait behind it.
    pub(super) operation: Option<Operation>,
    /// Whether one was at work at some time during the look.
    pub(super) was_busy: bool,
    /// Whether a lock says that nothing new is told.
    pub(super) is_quiet: bool,
    /// How long before its end people want to know of its token.
    pub(super) token_before: Option<TimeDelta>,
}

impl Known {
    /// The alert of a kind that is not over.
    pub(super) fn of(&self, kind: AlertKind) -> Option<&Alert> {
        self.open.iter().find(|alert| alert.kind == kind)
    }

    /// Whether an operation is at work that may explain what is seen.
    pub(super) fn is_busy(&self) -> bool {
        self.was_busy || self.operation.is_some() && !self.is_stopped()
    }

    /// Whether an operation waits for a person, and all behind it with it.
    pub(super) fn is_stopped(&self) -> bool {
        let state = self.operation.as_ref().map(|operation| operation.state);
        state == Some(OperationState::Stopped)
    }
}

/// What was seen of a cluster.
pub(super) struct Looked<'a> {
    /// What has to do with growing.
    pub(super) seen: &'a Seen,
    /// What is remembered, with that.
    pub(super) memory: &'a Memory,
    /// What the hub said; `None` if the cluster has none.
    pub(super) hub: Option<&'a SeenHub>,
    /// What is watched beside the growing.
    pub(super) beside: &'a Beside,
    /// What somebody changed by hand; `None` if helm was not asked.
    pub(super) drifted: Option<&'a Look<Vec<String>>>,
}

/// What a look says about every kind.
pub(super) fn sightings(
    settings: &WatchSettings,
    (known, limits): (&Known, &Limits),
    looked: &Looked<'_>,
) -> Vec<(AlertKind, Sighting)> {
    let Looked {
        seen, hub, beside, ..
    } = *looked;
    let blind_after = settings.blind_after;
    let answers = (hub, beside.gateway.as_ref());
    let is_disk_told = known.of(AlertKind::Disk).is_some();
    let disk_limit = (settings.beside.disk_percent, is_disk_told);
    let (scaling, token) = growing(settings, (known, limits), looked);
    vec![
        (AlertKind::Scaling, scaling),
        (
            AlertKind::Blind,
            sightings::blind(seen, hub, &beside.failed(), blind_after),
        ),
        (AlertKind::Token, token),
        (AlertKind::Hub, sightings::hub(seen, hub, blind_after)),
        (
            AlertKind::Gateway,
            beside::gateway(seen, answers, blind_after),
        ),
        (
            AlertKind::Certificate,
            sightings::certificate(hub, seen.now),
        ),
        (
            AlertKind::Pods,
            beside::pods(seen, answers, limits.latent_after),
        ),
        (
            AlertKind::Disk,
            beside::disk(beside.disks.as_ref(), disk_limit, limits.latent_after),
        ),
        (AlertKind::Backup, beside::backup(beside.backup.as_ref())),
        (AlertKind::Drift, sightings::drift(looked.drifted)),
        (
            AlertKind::Operation,
            sightings::operation(known.operation.as_ref(), settings.waits_after),
        ),
    ]
}

/// What it says about the growing, and about the token that it needs.
fn growing(
    settings: &WatchSettings,
    (known, limits): (&Known, &Limits),
    looked: &Looked<'_>,
) -> (Sighting, Sighting) {
    let open = (known.of(AlertKind::Scaling), known.of(AlertKind::Token));
    let cause = |alert: &Alert| Cause::from_word(alert.told_cause()?);
    // What is not watched tells nothing of the token, either.
    let scaling = if settings.off.contains(&AlertKind::Scaling) {
        Sighting::Gone
    } else {
        stall::scaling(looked.seen, looked.memory, open.0.and_then(cause), limits)
    };
    let rules = TokenRules {
        before: known.token_before.unwrap_or(settings.token_before),
        latent_after: limits.latent_after,
    };
    tokens::told_once((scaling, tokens::token(looked.seen, &rules)), open)
}
