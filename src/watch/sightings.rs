//! What a look says about each kind of alert but the growing.
//!
//! **Invariant:** pure functions; what was not seen is [`Sighting::Unseen`].

use chrono::{DateTime, TimeDelta, Utc};

use super::beside::{Part, crashes_of};
use crate::domain::alert::{Finding, Sighting};
use crate::domain::diagnosis::{Look, Seen};
use crate::domain::operation::{Operation, OperationState};

/// A certificate that ends in fewer days was not renewed: cert-manager renews 30 days before.
const CERTIFICATE_DAYS: i64 = 14;

/// How many places of changed values are named.
const PLACES: usize = 8;

/// What the hub said to a browser.
pub type SeenHub = Result<Option<DateTime<Utc>>, String>;

/// Nothing of the machine answers, its hub included: that is one matter, not two.
fn is_gone(seen: &Seen, hub: Option<&SeenHub>) -> bool {
    let inside = [
        seen.kubernetes.seen().is_some(),
        seen.clues.seen().is_some(),
        seen.token.seen().is_some(),
    ];
    matches!(hub, Some(Err(_))) && !inside.contains(&true)
}

/// A source does not answer; `beside` are those that have nothing to do with growing, with why.
pub fn blind(
    seen: &Seen,
    hub: Option<&SeenHub>,
    beside: &[(&'static str, Option<&str>)],
    fires_after: TimeDelta,
) -> Sighting {
    fn why<T>(look: &Look<T>) -> Option<&str> {
        match look {
            Look::At(_) => None,
            Look::Failed(why) => Some(why),
        }
    }
    let sources = [
        ("Kubernetes", why(&seen.kubernetes)),
        ("CLUES", why(&seen.clues)),
        ("the token files", why(&seen.token)),
        ("Infrastructure Manager", why(&seen.vms)),
    ];
    let sources = [&sources, beside].concat();
    let evidence: Vec<String> = sources
        .iter()
        .filter_map(|(source, why)| why.map(|why| format!("{source}: {why}")))
        .collect();
    if evidence.is_empty() {
        return Sighting::Gone;
    }
    let found = |source: &&(&'static str, Option<&str>)| source.1.is_some();
    let names: Vec<&str> = sources
        .iter()
        .filter(found)
        .map(|(name, _)| *name)
        .collect();
    let (title, text, evidence) = match hub {
        Some(Err(why)) if is_gone(seen, hub) => (
            "neither the front end nor the hub answers".to_owned(),
            "the machine is off, or cut off from the bot",
            [vec![format!("the hub: {why}")], evidence].concat(),
        ),
        _answers => (
            format!("the bot can't see {}", names.join(", ")),
            "what happens there is not watched until it answers",
            evidence,
        ),
    };
    Sighting::Found {
        since: None,
        fires_after,
        finding: Finding {
            title,
            cause: Some("not seen".to_owned()),
            text: text.to_owned(),
            evidence,
            remedy: "says more about the cluster as a whole".to_owned(),
            command: Some("diagnose".to_owned()),
            others: Vec::new(),
        },
    }
}

/// The hub does not answer as one; `None` if it was not asked. A machine of which nothing answers
/// is told by [`blind`].
pub fn hub(seen: &Seen, hub: Option<&SeenHub>, fires_after: TimeDelta) -> Sighting {
    match hub {
        None => Sighting::Unseen,
        Some(Err(_)) if is_gone(seen, hub) => Sighting::Unseen,
        Some(Ok(_)) => Sighting::Gone,
        Some(Err(why)) => Sighting::Found {
            since: None,
            fires_after,
            finding: Finding {
                title: "the hub does not answer as it should".to_owned(),
                cause: Some("hub down".to_owned()),
                text: "nobody can log in or reach a running server".to_owned(),
                evidence: vec![why.clone()],
                remedy: "shows what the hub says".to_owned(),
                command: Some("logs hub".to_owned()),
                others: crashes_of(seen, Part::Hub),
            },
        },
    }
}

/// The hub's certificate ends soon.
pub fn certificate(hub: Option<&SeenHub>, now: DateTime<Utc>) -> Sighting {
    let Some(Ok(ends_at)) = hub else {
        return Sighting::Unseen;
    };
    let Some(ends_at) = ends_at else {
        return Sighting::Gone;
    };
    if *ends_at - now >= TimeDelta::days(CERTIFICATE_DAYS) {
        return Sighting::Gone;
    }
    Sighting::Found {
        since: None,
        fires_after: TimeDelta::zero(),
        finding: Finding {
            title: "the certificate of the hub ends soon".to_owned(),
            cause: Some("certificate ends".to_owned()),
            text: "browsers will refuse the hub once it has ended".to_owned(),
            evidence: vec![format!(
                "it ends {}",
                ends_at.format("%Y-%m-%d %H:%M UTC")
            )],
            remedy: "look at cert-manager's pods and at the DNS name: Let's Encrypt must reach the front end".to_owned(),
            command: None,
            others: Vec::new(),
        },
    }
}

/// Somebody changed the release by hand; `None` if it was not looked at.
pub fn drift(drifted: Option<&Look<Vec<String>>>) -> Sighting {
    let Some(Look::At(places)) = drifted else {
        return Sighting::Unseen;
    };
    if places.is_empty() {
        return Sighting::Gone;
    }
    let more = places.len().saturating_sub(PLACES);
    let shown = places.iter().take(PLACES).cloned();
    let more = (more > 0).then(|| format!("and {more} more"));
    Sighting::Found {
        since: None,
        fires_after: TimeDelta::zero(),
        finding: Finding {
            title: "the hub is not set as it was approved".to_owned(),
            cause: Some("changed by hand".to_owned()),
            text: "helm has other values than the newest revision; the next change would put them back".to_owned(),
            evidence: shown.chain(more).collect(),
            remedy: "shows the difference, and how to take it over or put it back".to_owned(),
            command: Some("values drift".to_owned()),
            others: Vec::new(),
        },
    }
}

/// The operation whose turn it is waits for a person.
pub fn operation(current: Option<&Operation>, fires_after: TimeDelta) -> Sighting {
    let stopped = current.filter(|operation| operation.state == OperationState::Stopped);
    let Some(operation) = stopped else {
        return Sighting::Gone;
    };
    Sighting::Found {
        since: None,
        fires_after,
        finding: Finding {
            title: format!("`{}` waits for a person", operation.command),
            cause: Some("operation stopped".to_owned()),
            text: format!(
                "operation {} stopped and holds every other change up: its buttons are retry, undo and leave",
                operation.id.short()
            ),
            evidence: operation.stop_reason.iter().cloned().collect(),
            remedy: format!(
                "`/pangeo ops show operation:{}` shows it with its buttons",
                operation.id.short()
            ),
            command: None,
            others: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::diagnosis::tests::well;

    #[track_caller]
    fn finding(sighting: Sighting) -> Finding {
        match sighting {
            Sighting::Found { finding, .. } => finding,
            Sighting::Gone | Sighting::Unseen => panic!("nothing found: {sighting:?}"),
        }
    }

    const NOW: TimeDelta = TimeDelta::zero();

    #[test]
    fn every_source_that_fails_is_named_with_why() {
        assert_eq!(blind(&well(), None, &[], NOW), Sighting::Gone);
        let mut seen = well();
        seen.clues = Look::Failed("no answer within 20 s".to_owned());
        seen.vms = Look::Failed("IM answers 503".to_owned());
        seen.quotas = Look::Failed("nobody needs them".to_owned());
        let finding = finding(blind(&seen, None, &[("the disks", None)], NOW));
        assert_eq!(
            finding.title,
            "the bot can't see CLUES, Infrastructure Manager"
        );
        assert_eq!(
            finding.evidence,
            [
                "CLUES: no answer within 20 s",
                "Infrastructure Manager: IM answers 503"
            ]
        );
    }

    #[test]
    fn changed_places_are_named_and_counted() {
        assert_eq!(drift(None), Sighting::Unseen);
        assert_eq!(drift(Some(&Look::At(Vec::new()))), Sighting::Gone);
        let unseen = Look::Failed("no answer".to_owned());
        assert_eq!(drift(Some(&unseen)), Sighting::Unseen);
        let places = (1..=10).map(|number| format!("a.b{number}")).collect();
        let finding = finding(drift(Some(&Look::At(places))));
        assert_eq!(finding.evidence.first().unwrap(), "a.b1");
        assert_eq!(finding.evidence.last().unwrap(), "and 2 more");
    }

    #[test]
    fn a_machine_that_is_gone_is_one_matter() {
        let down: SeenHub = Err("no answer".to_owned());
        let mut seen = well();
        seen.kubernetes = Look::Failed("no route".to_owned());
        seen.clues = Look::Failed("no route".to_owned());
        seen.token = Look::Failed("no route".to_owned());
        assert_eq!(hub(&seen, Some(&down), NOW), Sighting::Unseen);
        let told = finding(blind(
            &seen,
            Some(&down),
            &[("the disks", Some("no route"))],
            NOW,
        ));
        assert_eq!(told.title, "neither the front end nor the hub answers");
        assert_eq!(told.evidence.len(), 5);
    }

    #[test]
    fn a_hub_is_down_or_not_and_its_certificate_is_looked_at_while_it_answers() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let answers = |days| Ok(Some(now + TimeDelta::days(days)));
        let down: SeenHub = Err("geo answers 502".to_owned());
        assert_eq!(hub(&well(), Some(&answers(90)), NOW), Sighting::Gone);
        assert_eq!(hub(&well(), None, NOW), Sighting::Unseen);
        let told = finding(hub(&well(), Some(&down), NOW));
        assert_eq!(told.evidence, ["geo answers 502"]);
        assert_eq!(certificate(Some(&down), now), Sighting::Unseen);
        assert_eq!(certificate(Some(&answers(14)), now), Sighting::Gone);
        let ends = finding(certificate(Some(&answers(13)), now));
        assert!(ends.evidence[0].starts_with("it ends 20"), "{ends:?}");
    }
}
