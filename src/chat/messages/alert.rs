//! Alerts: what stalls, since when, why, what to do; and how it ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reference;
use crate::chat::text::{Clean, cut};
use crate::chat::view::{Button, Card, Shade, TEXT, View};
use crate::commands::Catalogue;
use crate::domain::alert::{Alert, AlertKind, AlertState, Silence};
use crate::domain::ids::{ClusterId, DiscordRoleId};
use crate::domain::message::Prepared;
use crate::domain::operation::{Operation, OperationState};
use crate::domain::proof::{HubUser, Outcome, Proof, ProofState};

/// The command behind the button with which somebody takes an alert on.
pub(crate) const ACK_COMMAND: &str = "alerts ack";

/// How many of a cluster's operations are looked at for what was done since.
pub(crate) const OPERATIONS: i64 = 20;
/// How many hours before it the picture shows.
pub(crate) const PICTURE_HOURS: u8 = 1;

/// The most of a line of evidence, and of what else was found.
const EVIDENCE: usize = 300;
const OTHER: usize = 160;
/// How many lines of what else was found.
const OTHERS: usize = 12;

/// What is told of an alert.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// The name of its cluster.
    pub(crate) cluster: String,
    /// It.
    pub(crate) alert: Alert,
    /// What was done with the cluster since it is there, oldest first.
    pub(crate) operations: Vec<Operation>,
    /// The silence that holds now.
    pub(crate) silence: Option<Silence>,
    /// The proof of its cure.
    pub(crate) proof: Option<Proof>,
}

impl Shown {
    /// Whether nodes and pods say something about it.
    pub(crate) fn has_picture(&self) -> bool {
        self.alert.kind == AlertKind::Scaling
    }

    fn title(&self) -> String {
        let over = match self.alert.state {
            AlertState::Resolved => " (over)",
            AlertState::Pending | AlertState::Firing => "",
        };
        format!("{}: {}{over}", self.cluster, self.alert.finding.title)
    }
}

/// The alert; `roles` are called when it is posted.
pub(crate) fn view(
    clean: &Clean,
    catalogue: &Catalogue,
    (key, shown): (&str, &Shown),
    roles: Vec<DiscordRoleId>,
) -> View {
    let alert = &shown.alert;
    let is_over = alert.state == AlertState::Resolved;
    let prepared = [
        alert
            .finding
            .command
            .as_deref()
            .map(|command| Prepared::about(command, &shown.cluster)),
        alert.acknowledged.is_none().then(|| Prepared {
            command: ACK_COMMAND.to_owned(),
            options: vec![("alert".to_owned(), alert.id.short())],
        }),
    ];
    let buttons = prepared
        .iter()
        .flatten()
        .filter(|_prepared| !is_over)
        .filter_map(|prepared| Button::runs(catalogue, prepared));
    let called: Vec<String> = roles.iter().map(|role| format!("<@&{role}>")).collect();
    View {
        content: called.join(" "),
        card: Some(Card {
            title: cut(&clean.redact(&shown.title()), 200),
            text: cut(&text(clean, catalogue, shown), TEXT),
            shade: if is_over { Shade::Good } else { Shade::Bad },
            fields: Vec::new(),
            footer: reference(key),
        }),
        buttons: buttons.collect(),
        mention_roles: roles,
        ..View::default()
    }
}

fn text(clean: &Clean, catalogue: &Catalogue, shown: &Shown) -> String {
    let alert = &shown.alert;
    let finding = &alert.finding;
    let mut text = clean.prose(&finding.text);
    let _written = writeln!(text, "\nsince <t:{}:R>", alert.since.timestamp());
    for line in &finding.evidence {
        let _written = writeln!(text, "{}", clean.code(&cut(line, EVIDENCE)));
    }
    if alert.state != AlertState::Resolved {
        let _written = writeln!(text, "hint: {}", remedy(catalogue, shown));
    }
    for other in finding.others.iter().take(OTHERS) {
        let _written = writeln!(text, "• {}", clean.prose(&cut(other, OTHER)));
    }
    for line in done(shown) {
        let _written = writeln!(text, "{line}");
    }
    if let Some((by, at)) = alert.acknowledged {
        let _written = writeln!(text, "<@{by}> sees to it since <t:{}:t>", at.timestamp());
    }
    if let Some(silence) = &shown.silence {
        let _written = writeln!(
            text,
            "silenced until <t:{}:f> by <@{}>: {}",
            silence.ends_at.timestamp(),
            silence.set_by,
            clean.prose(&silence.reason)
        );
    }
    if alert.state != AlertState::Resolved {
        let anchor = finding.cause.as_deref().unwrap_or(alert.kind.as_str());
        let anchor = anchor.to_lowercase().replace(' ', "-");
        let _written = writeln!(text, "more: `docs/alerts.md#{anchor}`");
    }
    text.trim_end().to_owned()
}

/// The command where there is one, else what to do by hand.
fn remedy(catalogue: &Catalogue, shown: &Shown) -> String {
    let finding = &shown.alert.finding;
    let command = finding.command.as_deref();
    match command.filter(|name| catalogue.get(name).is_some()) {
        Some(command) => format!(
            "`/pangeo {command} name:{}`: {}",
            shown.cluster, finding.remedy
        ),
        None => finding.remedy.clone(),
    }
}

/// What was done since the alert is there, and whether it helped.
fn done(shown: &Shown) -> Vec<String> {
    let is_over = shown.alert.state == AlertState::Resolved;
    let line = |operation: &Operation| {
        let name = format!("`{}` ({})", operation.command, operation.id.short());
        let by = format!("by <@{}>", operation.requester);
        match operation.state {
            OperationState::Succeeded if is_over => format!("✅ {name} {by} was done"),
            OperationState::Succeeded => format!("▫️ {name} {by} was done, and it is still there"),
            OperationState::Queued | OperationState::Running | OperationState::Waiting => {
                format!("⏳ {name} {by} runs")
            }
            OperationState::Stopped
            | OperationState::Failed
            | OperationState::Cancelled
            | OperationState::Undone => {
                format!("❌ {name} {by} is {}", operation.state.as_str())
            }
        }
    };
    shown.operations.iter().map(line).collect()
}

/// The reply once it is over.
pub(crate) fn end(clean: &Clean, (key, shown): (&str, &Shown)) -> View {
    let alert = &shown.alert;
    let until = alert.resolved_at.unwrap_or(alert.since);
    let mut text = format!(
        "it lasted {}, from <t:{}:t> to <t:{}:t>\n",
        lasted((until - alert.since).num_seconds()),
        alert.since.timestamp(),
        until.timestamp()
    );
    let done = done(shown);
    if done.is_empty() {
        text.push_str("nothing was run by the bot in this time");
    } else {
        text.push_str(&done.join("\n"));
    }
    if let Some(proof) = &shown.proof {
        let _written = write!(text, "\n{}", proven(clean, proof));
    }
    View::card(Card {
        title: cut(&clean.redact(&shown.title()), 200),
        text: cut(&text, TEXT),
        shade: Shade::Good,
        fields: Vec::new(),
        footer: reference(key),
    })
}

/// How far the proof of a cure is, and what it showed.
fn proven(clean: &Clean, proof: &Proof) -> String {
    let user = proof.user.as_deref().unwrap_or("the test user");
    let server = format!("a server of {}", clean.code(user));
    match &proof.outcome {
        None => format!("⏳ {server} shows whether it is cured"),
        Some((_, said)) if proof.state == ProofState::Stopping => {
            format!("⏳ {server} is deleted again: {}", clean.prose(said))
        }
        Some((outcome, said)) => {
            let said = clean.prose(said);
            match outcome {
                Outcome::Proven => format!("✅ {server} was started and deleted; proven: {said}"),
                Outcome::Failed => format!("❌ {server} was started; it is not cured: {said}"),
                Outcome::NotTried => format!("▫️ it is not proven: {said}"),
            }
        }
    }
}

/// `off:false` opens no form.
pub(crate) const TEST_USER_HOW: &str =
    "nothing is changed\nhint: leave `off` out to give a token, or say `off:true` to forget it";

/// The token of a test user is kept.
pub(crate) fn test_user_kept(clean: &Clean, name: &str, user: &HubUser) -> String {
    format!(
        "a server of {} is started and deleted again each time an alert `scaling` of {} is over; its end says what that showed\n\
         hint: `off:true` forgets the token",
        clean.code(&user.name),
        clean.code(name)
    )
}

/// Nothing is proven any more.
pub(crate) fn test_user_gone(clean: &Clean, name: &str) -> String {
    format!(
        "the token is forgotten: cures of {} are not proven any more",
        clean.code(name)
    )
}

/// There is no token to forget.
pub(crate) fn test_user_none(clean: &Clean, name: &str) -> String {
    format!(
        "nothing is changed: no token of a test user is kept for {}",
        clean.code(name)
    )
}

/// The token can do too much.
pub(crate) fn test_user_is_admin(clean: &Clean, user: &HubUser) -> String {
    format!(
        "{} is an administrator of the hub, so the token is not kept\n\
         hint: make one for a user who may do nothing but start a server, at `/hub/token` of the hub",
        clean.code(&user.name)
    )
}

/// The hub does not say whose the token is.
pub(crate) fn test_user_unknown(clean: &Clean, why: &str) -> String {
    format!(
        "the token is not kept: {}\n\
         hint: log in to the hub as the test user, and request a new token at `/hub/token`",
        clean.prose(why)
    )
}

/// Many alerts at once, a line each; each has its own message in the thread below.
pub(crate) fn group(
    clean: &Clean,
    (key, alerts): (&str, &[(String, Alert)]),
    roles: Vec<DiscordRoleId>,
) -> View {
    let open = alerts
        .iter()
        .filter(|(_, alert)| alert.state == AlertState::Firing);
    let open = open.count();
    let what = alerts.first().map_or("", |(_, alert)| &alert.finding.title);
    let mut text = "so many came at once that they stand in the thread below\n".to_owned();
    for (cluster, alert) in alerts {
        let sign = if alert.state == AlertState::Firing {
            "❌"
        } else {
            "✅"
        };
        let _written = writeln!(
            text,
            "{sign} `{cluster}` since <t:{}:R>",
            alert.since.timestamp()
        );
    }
    let called: Vec<String> = roles.iter().map(|role| format!("<@&{role}>")).collect();
    View {
        content: called.join(" "),
        mention_roles: roles,
        ..View::card(Card {
            title: cut(
                &clean.redact(&format!("{open} more of {}: {what}", alerts.len())),
                200,
            ),
            text: cut(text.trim_end(), TEXT),
            shade: if open == 0 { Shade::Good } else { Shade::Bad },
            fields: Vec::new(),
            footer: reference(key),
        })
    }
}

/// The answer to `/pangeo alerts list`; `names` are those of the clusters.
pub(crate) fn list(
    clean: &Clean,
    alerts: &[Alert],
    names: &BTreeMap<ClusterId, &str>,
    silences: &[(&str, Silence)],
) -> View {
    let firing: Vec<&Alert> = alerts
        .iter()
        .filter(|alert| alert.state == AlertState::Firing)
        .collect();
    let mut text = String::new();
    for alert in &firing {
        let cluster = names.get(&alert.cluster).copied().unwrap_or_default();
        let who = alert.acknowledged.map_or_else(
            || "nobody sees to it yet".to_owned(),
            |(by, _at)| format!("<@{by}> sees to it"),
        );
        let _written = writeln!(
            text,
            "❌ `{cluster}` {} · since <t:{}:R> · {who} · `{}`",
            clean.prose(&alert.finding.title),
            alert.since.timestamp(),
            alert.id.short()
        );
    }
    let pending = alerts.len() - firing.len();
    if pending > 0 {
        let _written = writeln!(
            text,
            "{pending} more {} not lasted for long enough to be told",
            if pending == 1 { "has" } else { "have" }
        );
    }
    for (cluster, silence) in silences {
        let kind = silence.kind.map_or("all", AlertKind::as_str);
        let _written = writeln!(
            text,
            "🔇 `{cluster}` {kind} until <t:{}:f> by <@{}>: {}",
            silence.ends_at.timestamp(),
            silence.set_by,
            clean.prose(&silence.reason)
        );
    }
    if text.is_empty() {
        return View::text("no alerts: nothing stalls as far as the bot can see");
    }
    let title = match firing.len() {
        0 => "No alert fires".to_owned(),
        1 => "1 alert fires".to_owned(),
        count => format!("{count} alerts fire"),
    };
    View::card(Card {
        title,
        text: cut(text.trim_end(), TEXT),
        shade: if firing.is_empty() {
            Shade::Good
        } else {
            Shade::Bad
        },
        fields: Vec::new(),
        footer: String::new(),
    })
}

/// A duration for people: `40 s`, `12 min`, `3 h 5 min`, `2 days 4 h`.
fn lasted(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} days {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::domain::alert::Finding;
    use crate::domain::ids::{AlertId, DiscordUserId};
    use crate::domain::redact::Redactor;
    use crate::operations::start::known_steps;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::minutes(minutes)
    }

    fn stall() -> Shown {
        Shown {
            cluster: "geo".to_owned(),
            alert: Alert {
                id: AlertId::new(),
                cluster: ClusterId::new(),
                kind: AlertKind::Scaling,
                state: AlertState::Firing,
                since: at(0),
                gone_since: None,
                fired_at: Some(at(5)),
                resolved_at: None,
                called: Some((at(5), 0)),
                acknowledged: None,
                group: None,
                finding: Finding {
                    title: "scaling stalls: token expired".to_owned(),
                    cause: Some("token expired".to_owned()),
                    text: "2 pods wait for a node: jupyter-*ana*".to_owned(),
                    evidence: vec!["the token in auth.dat ended `x`".to_owned()],
                    remedy: "write a new token".to_owned(),
                    command: Some("token renew".to_owned()),
                    others: vec!["power-on given up: wn2 off (err)".to_owned()],
                },
            },
            operations: Vec::new(),
            silence: None,
            proof: None,
        }
    }

    fn shown(shown: &Shown) -> View {
        let catalogue = Catalogue::built_in(&known_steps()).unwrap();
        let clean = Clean::new(Redactor::new());
        view(
            &clean,
            &catalogue,
            ("alert/1", shown),
            vec![DiscordRoleId(20)],
        )
    }

    #[test]
    fn an_alert_says_who_waits_why_and_what_to_do() {
        let view = shown(&stall());
        let card = view.card.unwrap();
        assert_eq!(card.title, "geo: scaling stalls: token expired");
        assert_eq!(
            card.text,
            "2 pods wait for a node: jupyter-\\*ana\\*\nsince <t:1800000000:R>\n\
             `the token in auth.dat ended ˋxˋ`\n\
             hint: `/pangeo token renew name:geo`: write a new token\n\
             • power-on given up: wn2 off (err)\n\
             more: `docs/alerts.md#token-expired`"
        );
        assert_eq!(view.content, "<@&20>");
        let labels: Vec<&str> = view.buttons.iter().map(|one| one.label.as_ref()).collect();
        assert_eq!(labels, ["/pangeo token renew", "I see to it"]);
    }

    #[test]
    fn who_has_taken_it_on_and_who_silenced_it_stand_there() {
        let mut taken = stall();
        taken.alert.acknowledged = Some((DiscordUserId(7), at(6)));
        taken.silence = Some(Silence {
            id: crate::domain::ids::SilenceId::new(),
            kind: None,
            reason: "exam".to_owned(),
            ends_at: at(60),
            set_by: DiscordUserId(8),
        });
        let view = shown(&taken);
        let text = view.card.unwrap().text;
        assert!(text.contains("<@7> sees to it since <t:"), "{text}");
        assert!(text.contains("by <@8>: exam"), "{text}");
        assert_eq!(view.buttons.len(), 1, "nobody else needs to");
    }

    #[test]
    fn a_proof_says_how_far_it_is_and_what_it_showed() {
        let clean = Clean::new(Redactor::new());
        let said = |outcome| Some((outcome, "it was ready within 40 s".to_owned()));
        for (state, outcome, words) in [
            (
                ProofState::Due,
                None,
                "⏳ a server of `probe` shows whether",
            ),
            (
                ProofState::Stopping,
                said(Outcome::Proven),
                "⏳ a server of `probe` is deleted again: it was ready",
            ),
            (
                ProofState::Done,
                said(Outcome::Proven),
                "✅ a server of `probe` was started and deleted; proven: it was",
            ),
            (
                ProofState::Done,
                said(Outcome::Failed),
                "it is not cured: it",
            ),
            (ProofState::Done, said(Outcome::NotTried), "not proven: it"),
        ] {
            let mut over = stall();
            over.alert.state = AlertState::Resolved;
            over.proof = Some(Proof {
                alert: over.alert.id,
                cluster: over.alert.cluster,
                state,
                made_at: at(0),
                deadline: None,
                asked_at: None,
                user: Some("probe".to_owned()),
                outcome,
            });
            let text = end(&clean, ("alert-end/1", &over)).card.unwrap().text;
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn a_group_counts_those_that_are_open() {
        let first = stall().alert;
        let over = Alert {
            state: AlertState::Resolved,
            ..first.clone()
        };
        let alerts = [("geo".to_owned(), first), ("sea".to_owned(), over)];
        let clean = Clean::new(Redactor::new());
        let view = group(&clean, ("alert-group/1", &alerts), vec![DiscordRoleId(20)]);
        assert_eq!(view.content, "<@&20>");
        let card = view.card.unwrap();
        assert_eq!(card.title, "1 more of 2: scaling stalls: token expired");
        assert!(card.text.contains("✅ `sea` since"), "{}", card.text);
    }

    #[test]
    fn its_end_says_how_long_it_was_there() {
        let mut over = stall();
        over.alert.state = AlertState::Resolved;
        over.alert.resolved_at = Some(at(200));
        assert!(shown(&over).buttons.is_empty());
        let clean = Clean::new(Redactor::new());
        let card = end(&clean, ("alert-end/1", &over)).card.unwrap();
        assert_eq!(card.title, "geo: scaling stalls: token expired (over)");
        assert!(
            card.text.starts_with("it lasted 3 h 20 min, from <t:"),
            "{}",
            card.text
        );
        assert!(
            card.text
                .ends_with("nothing was run by the bot in this time")
        );
        assert_eq!(
            [119, 120, 200_000].map(lasted),
            ["119 s", "2 min", "2 days 7 h"]
        );
    }
}
