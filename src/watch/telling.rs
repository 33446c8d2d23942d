//! What people are told of an alert: its message, the calls below it, its end, the group.

use chrono::{DateTime, Utc};

use crate::domain::alert::{
    self, Alert, AlertState, Call, CallRule, GROUP_FROM, GROUP_WITHIN, Silence, Step,
};
use crate::domain::cluster::Cluster;
use crate::domain::ids::{AlertId, DiscordChannelId};
use crate::domain::message::{MessageKind, Notice, Place, Prepared};
use crate::domain::person::Role;
use crate::store::alerts::{Change, alert_end_key, alert_group_key, alert_key};
use crate::store::{Store, StoreError};

/// How many of the alerts that began while the bot was away are named.
const NAMED: usize = 10;

/// Makes rows and messages of the steps of one cluster's alerts.
pub(super) struct Teller<'a> {
    pub(super) store: &'a Store,
    pub(super) channel: DiscordChannelId,
    pub(super) calls: &'a CallRule,
    pub(super) cluster: &'a Cluster,
    pub(super) silences: &'a [Silence],
    pub(super) now: DateTime<Utc>,
}

impl Teller<'_> {
    /// The row of an alert and what people are told of it, if anything is new.
    pub(super) async fn change(
        &self,
        open: Option<&Alert>,
        step: Step,
    ) -> Result<Option<Change>, StoreError> {
        let (mut alert, is_new) = match (step, open) {
            (Step::Forget, Some(open)) => {
                return Ok(Some(Change {
                    alert: open.clone(),
                    is_forgotten: true,
                    entered: None,
                    tells: Vec::new(),
                }));
            }
            (Step::Become(alert), _) => (*alert, true),
            (Step::Stay, Some(open)) => (open.clone(), false),
            (Step::Stay | Step::Forget, None) => return Ok(None),
        };
        let mut silences = self.silences.iter();
        let is_silenced = silences.any(|silence| silence.holds(alert.kind, self.now));
        let call = alert::call(&alert, is_silenced, self.calls, self.now);
        if !is_new && call.is_none() {
            return Ok(None);
        }
        match call {
            Some(Call::First) => {
                alert.group = self.group(&alert).await?;
                alert.called = Some((self.now, 0));
            }
            Some(Call::Again(times)) => alert.called = Some((self.now, times)),
            None => {}
        }
        let before = open.map(|open| open.state);
        let entered = Some(alert.state).filter(|state| before != Some(*state));
        Ok(Some(Change {
            tells: self.tells(&alert, entered, call),
            is_forgotten: false,
            entered,
            alert,
        }))
    }

    /// The group of an alert that is told for the first time; none if it comes alone.
    async fn group(&self, alert: &Alert) -> Result<Option<AlertId>, StoreError> {
        let since = self.now - GROUP_WITHIN;
        let cause = alert.finding.cause.as_deref();
        let told = self.store.told_at_once(alert.kind, cause, since).await?;
        Ok(told
            .filter(|(_, count)| count + 1 >= GROUP_FROM)
            .map(|(first, _)| first))
    }

    fn tells(
        &self,
        alert: &Alert,
        entered: Option<AlertState>,
        call: Option<Call>,
    ) -> Vec<(String, MessageKind, Place)> {
        // Nobody was told of it yet: nobody is told of its end.
        if alert.called.is_none() {
            return Vec::new();
        }
        let mut tells = Vec::new();
        let channel = Place::Channel(self.channel);
        let key = alert_key(alert.id);
        let place = match alert.group {
            None => channel,
            Some(first) => {
                let group = alert_group_key(first);
                if entered.is_some() || call.is_some() {
                    tells.push((group.clone(), MessageKind::AlertGroup(first), channel));
                }
                Place::ThreadOf(group)
            }
        };
        tells.push((key.clone(), MessageKind::Alert(alert.id), place));
        if entered == Some(AlertState::Resolved) {
            let end = MessageKind::AlertEnd(alert.id);
            tells.push((alert_end_key(alert.id), end, Place::ReplyTo(key.clone())));
        }
        if let Some(Call::Again(times)) = call {
            let notice = MessageKind::Notice(again(self.cluster, alert, times));
            tells.push((format!("{key}/again/{times}"), notice, Place::ReplyTo(key)));
        }
        tells
    }
}

/// The call when nobody has taken an alert on.
fn again(cluster: &Cluster, alert: &Alert, times: u32) -> Notice {
    let ack = Prepared {
        command: "alerts ack".to_owned(),
        options: vec![("alert".to_owned(), alert.id.short())],
    };
    Notice {
        title: format!("{}: {}, still", cluster.name, alert.finding.title),
        text: format!(
            "since <t:{}:R>, and nobody has taken it on\nhint: the message above says why and what to do; call {}",
            alert.since.timestamp(),
            times.saturating_add(1)
        ),
        mention_users: vec![cluster.owner],
        mention_roles: vec![Role::Operator, Role::Approver],
        remedies: vec![ack],
        ..Notice::default()
    }
}

/// The message after the bot was away.
pub(super) fn absence(from: DateTime<Utc>, to: DateTime<Utc>, began: &[Alert]) -> Notice {
    let mut lines: Vec<String> = began
        .iter()
        .take(NAMED)
        .map(|alert| {
            let since = alert.since.timestamp();
            format!("• {} since <t:{since}:f>", alert.finding.title)
        })
        .collect();
    if began.len() > NAMED {
        lines.push(format!("• and {} more", began.len() - NAMED));
    }
    let seen = if lines.is_empty() {
        "nothing that is there now began in this time".to_owned()
    } else {
        format!("this began in it and is there still:\n{}", lines.join("\n"))
    };
    Notice {
        title: "I was away".to_owned(),
        text: format!(
            "nobody watched the clusters from <t:{}:f> to <t:{}:f>; {seen}\nhint: what came and went in between was not seen; `/pangeo alerts list` shows what is open",
            from.timestamp(),
            to.timestamp()
        ),
        ..Notice::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_says_from_when_to_when_and_what_began() {
        let at = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        let nothing = absence(at(0), at(3600), &[]);
        assert!(
            nothing.text.starts_with(
                "nobody watched the clusters from <t:1800000000:f> to <t:1800003600:f>; nothing"
            ),
            "{}",
            nothing.text
        );
    }
}
