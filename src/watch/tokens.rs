//! The token of a front end: told before it ends, and told once.
//!
//! A token that has ended, or is not refreshed, is also a cause why a cluster does not grow. Who
//! waits is told by `scaling` with that cause; while nobody does, or before, by `token`. Whichever
//! fires first stays the one that tells ([`told_once`]).

use chrono::TimeDelta;

use crate::domain::alert::{Alert, AlertState, Finding, Sighting};
use crate::domain::diagnosis::token::OVERDUE;
use crate::domain::diagnosis::{Cause, Look, Seen, SeenToken, Verdict};

/// The causes that are about the token.
const ABOUT_TOKENS: [Cause; 2] = [Cause::TokenExpired, Cause::RefreshFailing];

/// How many days before its end the refresh token is told of: somebody has to log in.
pub(super) const REFRESH_DAYS: i64 = 14;

/// When a token is told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenRules {
    /// How long before its end.
    pub(super) before: TimeDelta,
    /// How long it may have ended, or be without a refresh token, while nobody waits.
    pub(super) latent_after: TimeDelta,
}

/// The token ends soon, has ended, or is not refreshed.
pub(super) fn token(seen: &Seen, rules: &TokenRules) -> Sighting {
    for cause in ABOUT_TOKENS {
        match cause.judge(seen) {
            Verdict::Found { evidence, remedy } => {
                let is_ending = left(seen).is_some_and(|left| left < OVERDUE);
                let is_ending = is_ending && cause == Cause::RefreshFailing;
                let fires_after = if is_ending {
                    TimeDelta::zero()
                } else {
                    rules.latent_after
                };
                let title = match (cause, is_ending) {
                    (Cause::TokenExpired, _) => "its access token has ended",
                    (_, true) => "its access token ends and is not refreshed",
                    (_, false) => "its access token is not refreshed",
                };
                let finding = Finding {
                    cause: Some(cause.as_str().to_owned()),
                    evidence,
                    remedy: remedy.words.to_owned(),
                    command: remedy.command.map(str::to_owned),
                    ..words(seen, title)
                };
                return found(fires_after, finding);
            }
            Verdict::Unknown(_) => return Sighting::Unseen,
            Verdict::Fine(_) => {}
        }
    }
    match &seen.token {
        Look::At(token) => ending(seen, token, rules),
        Look::Failed(_) => Sighting::Unseen,
    }
}

/// What is refreshed as it should be may come to its end all the same.
fn ending(seen: &Seen, token: &SeenToken, rules: &TokenRules) -> Sighting {
    let renew = |title: &str, cause: &str, evidence: String| Finding {
        cause: Some(cause.to_owned()),
        evidence: vec![evidence],
        remedy: "writes a new one".to_owned(),
        command: Some("token renew".to_owned()),
        ..words(seen, title)
    };
    let in_days = TimeDelta::days(REFRESH_DAYS);
    let refresh = token.refresh_ends_at.filter(|at| *at - seen.now < in_days);
    let access = token.ends_at.filter(|at| *at - seen.now < rules.before);
    let finding = match (refresh, access) {
        (Some(at), _) => {
            let at = at.format("%Y-%m-%d %H:%M UTC");
            renew(
                "its refresh token ends soon",
                "refresh token ends",
                format!("the refresh token in refresh.dat ends {at}"),
            )
        }
        (None, Some(at)) => {
            let at = at.format("%Y-%m-%d %H:%M UTC");
            renew(
                "its access token ends soon",
                "token ends soon",
                format!("the token in auth.dat ends {at}"),
            )
        }
        (None, None) => return Sighting::Gone,
    };
    found(TimeDelta::zero(), finding)
}

/// How long the access token lives; `None` if that is not known.
fn left(seen: &Seen) -> Option<TimeDelta> {
    let ends_at = seen.token.seen()?.ends_at?;
    Some(ends_at - seen.now)
}

/// The title, and what it means for whom.
fn words(seen: &Seen, title: &str) -> Finding {
    let kubernetes = seen.kubernetes.seen();
    let waiting = kubernetes.map_or(0, |seen| seen.demand().count());
    let text = match waiting {
        0 => "nobody waits for a node now; once it has ended the cluster can't add one".to_owned(),
        1 => "1 pod waits for a node; once it has ended the cluster can't add one".to_owned(),
        pods => format!("{pods} pods wait for a node; once it has ended the cluster can't add one"),
    };
    Finding {
        title: title.to_owned(),
        text,
        ..Finding::default()
    }
}

fn found(fires_after: TimeDelta, finding: Finding) -> Sighting {
    Sighting::Found {
        since: None,
        fires_after,
        finding,
    }
}

/// The sightings of `scaling` and `token`, with one of them gone if both tell of the token. `known`
/// are the alerts of the two that are not over.
pub(super) fn told_once(
    (scaling, token): (Sighting, Sighting),
    known: (Option<&Alert>, Option<&Alert>),
) -> (Sighting, Sighting) {
    let fires = |alert: Option<&Alert>| alert.is_some_and(|one| one.state == AlertState::Firing);
    if !is_about_token(&scaling) {
        return (scaling, token);
    }
    match (fires(known.0), fires(known.1)) {
        // One began with another cause.
        (true, true) => (scaling, token),
        (false, true) => (Sighting::Gone, token),
        (_, false) => (scaling, Sighting::Gone),
    }
}

fn is_about_token(scaling: &Sighting) -> bool {
    match scaling {
        Sighting::Found { finding, .. } => {
            let cause = finding.cause.as_deref().and_then(Cause::from_word);
            cause.is_some_and(|cause| ABOUT_TOKENS.contains(&cause))
        }
        Sighting::Gone | Sighting::Unseen => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::AlertKind;
    use crate::domain::diagnosis::tests::{amount, at, kubernetes_of, wants, well};
    use crate::domain::ids::{AlertId, ClusterId};

    const RULES: TokenRules = TokenRules {
        before: TimeDelta::minutes(4),
        latent_after: TimeDelta::minutes(10),
    };

    fn with(ends: Option<i64>, refreshed: Option<i64>, refresh_ends: Option<i64>) -> Seen {
        Seen {
            token: Look::At(SeenToken {
                ends_at: ends.map(at),
                written_at: Some(at(-50)),
                refreshed_at: refreshed.map(at),
                refresh_ends_at: refresh_ends.map(at),
            }),
            ..well()
        }
    }

    /// The cause, and whether it is told at once.
    fn judged(sighting: Sighting) -> Option<(String, bool)> {
        match sighting {
            Sighting::Found {
                fires_after,
                finding,
                ..
            } => Some((finding.cause?, fires_after == TimeDelta::zero())),
            Sighting::Gone | Sighting::Unseen => None,
        }
    }

    #[test]
    fn a_token_is_told_of_before_it_ends() {
        const DAY: i64 = 24 * 60;
        for (ends, refreshed, refresh_ends, expected) in [
            (Some(40), Some(-20), None, None),
            // In time for cron.
            (Some(6), Some(-54), None, None),
            (
                Some(3),
                Some(-57),
                None,
                Some(("token not refreshed", true)),
            ),
            (Some(40), None, None, Some(("token not refreshed", false))),
            (Some(-1), Some(-61), None, Some(("token expired", false))),
            (Some(40), Some(-20), Some(15 * DAY), None),
            (
                Some(40),
                Some(-20),
                Some(13 * DAY),
                Some(("refresh token ends", true)),
            ),
            // What is worse comes first.
            (
                Some(-1),
                Some(-61),
                Some(13 * DAY),
                Some(("token expired", false)),
            ),
            (None, Some(-20), None, None),
        ] {
            let judged = judged(token(&with(ends, refreshed, refresh_ends), &RULES));
            let judged = judged.as_ref().map(|(cause, now)| (cause.as_str(), *now));
            assert_eq!(judged, expected, "{ends:?} {refreshed:?} {refresh_ends:?}");
        }
        let early = TokenRules {
            before: TimeDelta::minutes(30),
            ..RULES
        };
        let cause = judged(token(&with(Some(25), Some(-35), None), &early));
        assert_eq!(cause, Some(("token ends soon".to_owned(), true)));
        let mut blind = well();
        blind.token = Look::Failed("no answer".to_owned());
        assert_eq!(token(&blind, &RULES), Sighting::Unseen);
    }

    #[test]
    fn who_waits_is_counted() {
        let mut seen = with(Some(-1), Some(-61), None);
        kubernetes_of(&mut seen).waiting = vec![wants(amount(2, 4)), wants(amount(2, 4))];
        let Sighting::Found { finding, .. } = token(&seen, &RULES) else {
            panic!("nothing found");
        };
        assert!(finding.text.starts_with("2 pods wait"), "{}", finding.text);
        assert_eq!(finding.command.as_deref(), Some("token renew"));
    }

    fn sighting(cause: &str) -> Sighting {
        found(
            TimeDelta::zero(),
            Finding {
                cause: Some(cause.to_owned()),
                ..Finding::default()
            },
        )
    }

    fn open(kind: AlertKind, state: AlertState) -> Alert {
        Alert {
            id: AlertId::new(),
            cluster: ClusterId::new(),
            kind,
            state,
            since: at(0),
            gone_since: None,
            fired_at: Some(at(0)),
            resolved_at: None,
            called: None,
            acknowledged: None,
            group: None,
            finding: Finding::default(),
        }
    }

    #[test]
    fn whichever_fires_first_tells_of_the_token() {
        use AlertState::{Firing, Pending};
        for (scaling, known_scaling, known_token, stays) in [
            // Nobody waits, or something else keeps them waiting.
            (None, None, None, (false, true)),
            (Some("CLUES dead"), Some(Firing), Some(Firing), (true, true)),
            // They wait for the token.
            (Some("token expired"), None, None, (true, false)),
            (
                Some("token expired"),
                Some(Pending),
                Some(Pending),
                (true, false),
            ),
            (Some("token expired"), Some(Firing), None, (true, false)),
            (
                Some("token expired"),
                Some(Pending),
                Some(Firing),
                (false, true),
            ),
            (
                Some("token not refreshed"),
                None,
                Some(Firing),
                (false, true),
            ),
            (
                Some("token expired"),
                Some(Firing),
                Some(Firing),
                (true, true),
            ),
        ] {
            let seen = scaling.map_or(Sighting::Gone, sighting);
            let known_scaling = known_scaling.map(|state| open(AlertKind::Scaling, state));
            let known_token = known_token.map(|state| open(AlertKind::Token, state));
            let known = (known_scaling.as_ref(), known_token.as_ref());
            let (of_scaling, of_token) = told_once((seen, sighting("token expired")), known);
            let is_found = |one: &Sighting| matches!(one, Sighting::Found { .. });
            assert_eq!(
                (is_found(&of_scaling), is_found(&of_token)),
                stays,
                "{scaling:?} {known:?}"
            );
        }
    }
}
