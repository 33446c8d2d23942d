//! Alerts: something that the watch found, from its first sign to its end.
//!
//! ```text
//! found ──▶ pending ──(long enough)──▶ firing ──(gone long enough)──▶ resolved
//!              └──(gone)──▶ forgotten, nobody was told
//! ```
//!
//! A cluster has at most one alert of a kind that is not over. [`next`] is the whole machine.
//!
//! **Invariant:** what was not seen changes nothing: [`Sighting::Unseen`] neither fires nor resolves.
//! **Invariant:** no I/O; the time comes from outside.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{AlertId, ClusterId, DiscordUserId, SilenceId};

/// What is watched. The words are kept in rows and stand in `[watch] off`: renaming one is a
/// migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertKind {
    /// The cluster does not grow though pods wait for a node, or could not if they did.
    Scaling,
    /// A source of what is watched does not answer.
    Blind,
    /// The token with which the cluster adds nodes ends soon, or has ended while nobody waits.
    Token,
    /// The hub does not answer as it should.
    Hub,
    /// The Dask gateway does not answer as it should.
    Gateway,
    /// The certificate of the hub ends soon.
    Certificate,
    /// Pods start again and again.
    Pods,
    /// A file system of the front end is nearly full.
    Disk,
    /// There is no new backup of the hub's database.
    Backup,
    /// The helm release is not what was approved.
    Drift,
    /// An operation waits for a person.
    Operation,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Scaling,
        Self::Blind,
        Self::Token,
        Self::Hub,
        Self::Gateway,
        Self::Certificate,
        Self::Pods,
        Self::Disk,
        Self::Backup,
        Self::Drift,
        Self::Operation,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scaling => "scaling",
            Self::Blind => "blind",
            Self::Token => "token",
            Self::Hub => "hub",
            Self::Gateway => "gateway",
            Self::Certificate => "certificate",
            Self::Pods => "pods",
            Self::Disk => "disk",
            Self::Backup => "backup",
            Self::Drift => "drift",
            Self::Operation => "operation",
        }
    }

    /// The kind of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What was found, in words; the text of an alert is made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong, without the cluster's name: `scaling stalls: token expired`.
    pub title: String,
    /// The cause by its word, if there is one: it tells whether the same cause is still there.
    pub cause: Option<String>,
    /// Who waits, since when, what that means.
    pub text: String,
    /// The very lines or values that show it.
    pub evidence: Vec<String>,
    /// What to do, in words.
    pub remedy: String,
    /// The command that does it, below `/pangeo`; it takes the cluster as `name`.
    pub command: Option<String>,
    /// What else was found, or what was ruled out.
    pub others: Vec<String>,
}

/// What one look says about one kind of alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It is there.
    Found {
        /// Since when, as far as the systems tell; `None` is since this look.
        since: Option<DateTime<Utc>>,
        /// How long it must last before anybody is told.
        fires_after: TimeDelta,
        /// The words.
        finding: Finding,
    },
    /// It is not there.
    Gone,
    /// It could not be seen.
    Unseen,
}

/// How far an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// Found, but not for long enough that anybody is told.
    Pending,
    /// People are told.
    Firing,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    /// From what is stored.
    pub fn from_stored(text: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Firing, Self::Resolved];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// The cluster that it is about.
    pub cluster: ClusterId,
    /// Its kind.
    pub kind: AlertKind,
    /// How far it is.
    pub state: AlertState,
    /// Since when what it tells of is there.
    pub since: DateTime<Utc>,
    /// Since when it is not found any more; it resolves once that lasts.
    pub gone_since: Option<DateTime<Utc>>,
    /// When people were told.
    pub fired_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When people were last called for it, and how often beyond the first time; `None` while
    /// nobody was told, as under a silence.
    pub called: Option<(DateTime<Utc>, u32)>,
    /// Who has taken it on, and when.
    pub acknowledged: Option<(DiscordUserId, DateTime<Utc>)>,
    /// The first of the alerts with which it is told, if many came at once.
    pub group: Option<AlertId>,
    /// What was last found.
    pub finding: Finding,
}

impl Alert {
    /// The cause that people were told of. One that nobody was told of need not be gone for the alert to
    /// be: whoever waited may have got a node in spite of it.
    pub fn told_cause(&self) -> Option<&str> {
        let is_told = self.state == AlertState::Firing;
        self.finding.cause.as_deref().filter(|_cause| is_told)
    }

    /// Since how long it is there.
    pub fn lasts(&self, now: DateTime<Utc>) -> TimeDelta {
        self.resolved_at.unwrap_or(now) - self.since
    }

    /// When it fires if it stays.
    fn fires_at(&self, after: TimeDelta) -> DateTime<Utc> {
        self.since + after
    }
}

/// What a look makes of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// It is this now.
    Become(Box<Alert>),
    /// It was pending and is gone; nobody was told.
    Forget,
}

/// What a look means for the alert of a kind that is not over.
#[derive(Clone, Debug)]
pub struct Look {
    /// The cluster.
    pub cluster: ClusterId,
    /// The kind.
    pub kind: AlertKind,
    /// What was seen.
    pub sighting: Sighting,
    /// Whether nobody is to be told now: an operation runs that explains it.
    pub held: bool,
    /// How long it must be gone before it counts as over.
    pub resolves_after: TimeDelta,
    /// When the bot's clock was set, if it was: nothing is counted from before.
    pub counted_from: Option<DateTime<Utc>>,
    /// When.
    pub now: DateTime<Utc>,
}

impl Look {
    /// From when on something counts: never before the clock was set, nor after now.
    fn counted(&self, since: DateTime<Utc>) -> DateTime<Utc> {
        let since = self.counted_from.map_or(since, |from| from.max(since));
        since.min(self.now)
    }
}

/// The next state of an alert.
pub fn next(open: Option<&Alert>, look: &Look) -> Step {
    match (&look.sighting, open) {
        (Sighting::Unseen, _) | (Sighting::Gone, None) => Step::Stay,
        (Sighting::Gone, Some(alert)) => gone(alert, look),
        (
            Sighting::Found {
                since,
                fires_after,
                finding,
            },
            open,
        ) => found(open, (*since, *fires_after, finding), look),
    }
}

fn gone(alert: &Alert, look: &Look) -> Step {
    if alert.state == AlertState::Pending {
        return Step::Forget;
    }
    let since = look.counted(alert.gone_since.unwrap_or(look.now));
    let mut after = alert.clone();
    after.gone_since = Some(since);
    if look.now - since >= look.resolves_after {
        after.state = AlertState::Resolved;
        after.resolved_at = Some(since);
    }
    changed(alert, after)
}

fn found(
    open: Option<&Alert>,
    (since, fires_after, finding): (Option<DateTime<Utc>>, TimeDelta, &Finding),
    look: &Look,
) -> Step {
    // What is still to come is a clock that goes wrong: it counts since it was seen first.
    let since = since.filter(|since| *since <= look.now);
    let mut after = open.cloned().unwrap_or_else(|| Alert {
        id: AlertId::new(),
        cluster: look.cluster,
        kind: look.kind,
        state: AlertState::Pending,
        since: since.unwrap_or(look.now),
        gone_since: None,
        fired_at: None,
        resolved_at: None,
        called: None,
        acknowledged: None,
        group: None,
        finding: Finding::default(),
    });
    after.gone_since = None;
    after.finding = finding.clone();
    if after.state == AlertState::Pending {
        after.since = look.counted(since.unwrap_or(after.since));
        if look.now >= after.fires_at(fires_after) && !look.held {
            after.state = AlertState::Firing;
            after.fired_at = Some(look.now);
        }
    }
    match open {
        Some(open) => changed(open, after),
        None => Step::Become(Box::new(after)),
    }
}

fn changed(before: &Alert, after: Alert) -> Step {
    if *before == after {
        Step::Stay
    } else {
        Step::Become(Box::new(after))
    }
}

/// A time in which nobody is told of a cluster's alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its id.
    pub id: SilenceId,
    /// Of which kind; `None` is all.
    pub kind: Option<AlertKind>,
    /// Why.
    pub reason: String,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
    /// Who set it.
    pub set_by: DiscordUserId,
}

impl Silence {
    /// Whether it holds for a kind.
    pub fn holds(&self, kind: AlertKind, now: DateTime<Utc>) -> bool {
        self.ends_at > now && self.kind.is_none_or(|of| of == kind)
    }
}

/// How people are called once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRule {
    /// After so long without an acknowledgement others are called too.
    pub escalates_after: TimeDelta,
    /// After so long everybody is called once more, again and again.
    pub again_after: TimeDelta,
}

/// Who is to be called for a firing alert now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Those who run clusters, for the first time.
    First,
    /// Those who approve too, since nobody took it on; the how manieth call beyond the first.
    Again(u32),
}

/// From how many alerts of one cause on they are told as one.
pub const GROUP_FROM: usize = 5;

/// Within which time they come at once.
pub const GROUP_WITHIN: TimeDelta = TimeDelta::minutes(5);

/// Whether people are to be called for an alert.
pub fn call(alert: &Alert, silenced: bool, rule: &CallRule, now: DateTime<Utc>) -> Option<Call> {
    if alert.state != AlertState::Firing || alert.gone_since.is_some() || silenced {
        return None;
    }
    let Some((at, times)) = alert.called else {
        return Some(Call::First);
    };
    // Those that came first call for their group.
    if alert.acknowledged.is_some() || alert.group.is_some() {
        return None;
    }
    let after = if times == 0 {
        rule.escalates_after
    } else {
        rule.again_after
    };
    (now - at >= after).then(|| Call::Again(times.saturating_add(1)))
}

/// When to look again so that an alert fires in time; `None` if it does not wait to fire.
pub fn due(open: Option<&Alert>, sighting: &Sighting) -> Option<DateTime<Utc>> {
    let Sighting::Found { fires_after, .. } = sighting else {
        return None;
    };
    open.filter(|alert| alert.state == AlertState::Pending)
        .map(|alert| alert.fires_at(*fires_after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn found_since(since: Option<i64>) -> Sighting {
        Sighting::Found {
            since: since.map(at),
            fires_after: TimeDelta::seconds(300),
            finding: Finding {
                title: "scaling stalls".to_owned(),
                ..Finding::default()
            },
        }
    }

    struct Machine {
        cluster: ClusterId,
        open: Option<Alert>,
        held: bool,
        counted_from: Option<DateTime<Utc>>,
    }

    impl Machine {
        fn new() -> Self {
            Self {
                cluster: ClusterId::new(),
                open: None,
                held: false,
                counted_from: None,
            }
        }

        /// The state after a look; `None` when there is no alert that is not over.
        fn look(&mut self, seconds: i64, sighting: Sighting) -> Option<AlertState> {
            let look = Look {
                cluster: self.cluster,
                kind: AlertKind::Scaling,
                sighting,
                held: self.held,
                resolves_after: TimeDelta::seconds(60),
                counted_from: self.counted_from,
                now: at(seconds),
            };
            match next(self.open.as_ref(), &look) {
                Step::Stay => {}
                Step::Forget => self.open = None,
                Step::Become(alert) => self.open = Some(*alert),
            }
            self.open.as_ref().map(|alert| alert.state)
        }
    }

    const PENDING: Option<AlertState> = Some(AlertState::Pending);
    const FIRING: Option<AlertState> = Some(AlertState::Firing);
    const RESOLVED: Option<AlertState> = Some(AlertState::Resolved);

    #[test]
    fn it_fires_when_it_has_lasted_and_resolves_when_it_is_gone_for_a_while() {
        let mut machine = Machine::new();
        assert_eq!(machine.look(0, Sighting::Gone), None);
        assert_eq!(machine.look(10, found_since(None)), PENDING);
        assert_eq!(machine.look(309, found_since(None)), PENDING);
        assert_eq!(machine.look(310, found_since(None)), FIRING);
        let fired = machine.open.clone().unwrap();
        assert_eq!((fired.since, fired.fired_at), (at(10), Some(at(310))));
        assert_eq!(machine.look(400, Sighting::Gone), FIRING);
        assert_eq!(machine.look(459, Sighting::Gone), FIRING);
        assert_eq!(machine.look(460, Sighting::Gone), RESOLVED);
        let over = machine.open.unwrap();
        assert_eq!(over.resolved_at, Some(at(400)), "since it is gone");
        assert_eq!(over.lasts(at(9999)), TimeDelta::seconds(390));
    }

    #[test]
    fn only_a_cause_that_people_were_told_of_has_to_go() {
        let mut machine = Machine::new();
        let disabled = Sighting::Found {
            since: None,
            fires_after: TimeDelta::seconds(300),
            finding: Finding {
                cause: Some("nodes disabled".to_owned()),
                ..Finding::default()
            },
        };
        assert_eq!(machine.look(0, disabled.clone()), PENDING);
        assert_eq!(machine.open.as_ref().unwrap().told_cause(), None);
        assert_eq!(machine.look(300, disabled), FIRING);
        let told = machine.open.as_ref().and_then(Alert::told_cause);
        assert_eq!(told, Some("nodes disabled"));
    }

    #[test]
    fn what_the_systems_tell_counts_from_its_beginning() {
        let mut machine = Machine::new();
        assert_eq!(machine.look(1000, found_since(Some(650))), FIRING);
        let mut ahead = Machine::new();
        assert_eq!(ahead.look(1000, found_since(Some(5000))), PENDING);
        assert_eq!(ahead.open.as_ref().unwrap().since, at(1000));
        assert_eq!(ahead.look(1299, found_since(Some(5000))), PENDING);
        // A clock that is ahead delays nothing for hours.
        assert_eq!(ahead.look(1300, found_since(Some(5000))), FIRING);
    }

    #[test]
    fn what_is_counted_from_the_moment_when_the_clock_was_set_fires_and_ends_later_only() {
        let mut machine = Machine::new();
        assert_eq!(machine.look(10, found_since(Some(0))), PENDING);
        machine.counted_from = Some(at(3600));
        assert_eq!(machine.look(3600, found_since(Some(0))), PENDING);
        assert_eq!(machine.look(3899, found_since(None)), PENDING);
        assert_eq!(machine.look(3900, found_since(Some(0))), FIRING);
        assert_eq!(machine.look(3910, Sighting::Gone), FIRING);
        machine.counted_from = Some(at(9000));
        assert_eq!(machine.look(9059, Sighting::Gone), FIRING);
        assert_eq!(machine.look(9060, Sighting::Gone), RESOLVED);
    }

    #[test]
    fn clocks_that_jump_neither_hold_back_nor_repeat() {
        let mut machine = Machine::new();
        // Set back by an hour while it waits: it waits as long as it should, not an hour more.
        machine.look(3600, found_since(None));
        assert_eq!(machine.look(10, found_since(None)), PENDING);
        assert_eq!(machine.look(310, found_since(None)), FIRING);
        let id = machine.open.as_ref().map(|alert| alert.id);
        // Set forward while it fires: nothing new.
        assert_eq!(machine.look(9000, found_since(None)), FIRING);
        assert_eq!(machine.look(9010, Sighting::Gone), FIRING);
        // And back while it ends.
        assert_eq!(machine.look(400, Sighting::Gone), FIRING);
        assert_eq!(machine.look(460, Sighting::Gone), RESOLVED);
        let over = machine.open.unwrap();
        assert_eq!(Some(over.id), id, "one alert");
        assert_eq!(over.lasts(at(460)), TimeDelta::seconds(390));
    }

    #[test]
    fn a_blink_resolves_nothing() {
        let mut machine = Machine::new();
        machine.look(0, found_since(Some(-400)));
        assert_eq!(machine.look(10, Sighting::Gone), FIRING);
        assert_eq!(machine.look(40, found_since(None)), FIRING);
        assert_eq!(
            machine.look(80, Sighting::Gone),
            FIRING,
            "the count starts anew"
        );
        assert_eq!(machine.look(140, Sighting::Gone), RESOLVED);
    }

    #[test]
    fn what_is_not_seen_changes_nothing() {
        let mut machine = Machine::new();
        assert_eq!(machine.look(0, Sighting::Unseen), None);
        machine.look(1, found_since(None));
        assert_eq!(machine.look(5000, Sighting::Unseen), PENDING);
        machine.look(5001, found_since(None));
        assert_eq!(machine.look(6000, Sighting::Unseen), FIRING);
    }

    #[test]
    fn what_is_gone_before_it_fires_is_forgotten() {
        let mut machine = Machine::new();
        machine.look(0, found_since(None));
        assert_eq!(machine.look(299, Sighting::Gone), None);
        machine.look(300, found_since(None));
        assert_eq!(machine.look(599, found_since(None)), PENDING);
    }

    #[test]
    fn it_waits_while_an_operation_explains_it() {
        let mut machine = Machine::new();
        machine.held = true;
        assert_eq!(machine.look(0, found_since(Some(-9000))), PENDING);
        machine.held = false;
        assert_eq!(machine.look(1, found_since(Some(-9000))), FIRING);
        machine.held = true;
        assert_eq!(machine.look(2, found_since(None)), FIRING, "it stays told");
    }

    #[test]
    fn the_same_again_changes_no_row() {
        let mut machine = Machine::new();
        machine.look(0, found_since(Some(-400)));
        let look = Look {
            cluster: machine.cluster,
            kind: AlertKind::Scaling,
            sighting: found_since(Some(-400)),
            held: false,
            resolves_after: TimeDelta::seconds(60),
            counted_from: None,
            now: at(30),
        };
        assert_eq!(next(machine.open.as_ref(), &look), Step::Stay);
        assert_eq!(due(machine.open.as_ref(), &look.sighting), None);
        let pending = Alert {
            state: AlertState::Pending,
            ..machine.open.unwrap()
        };
        assert_eq!(due(Some(&pending), &look.sighting), Some(at(-100)));
    }

    #[test]
    fn people_are_called_once_then_others_then_now_and_then() {
        let mut machine = Machine::new();
        machine.look(0, found_since(Some(-400)));
        let mut alert = machine.open.unwrap();
        let rule = CallRule {
            escalates_after: TimeDelta::minutes(30),
            again_after: TimeDelta::hours(4),
        };
        let calls = |alert: &Alert, seconds| call(alert, false, &rule, at(seconds));
        assert_eq!(calls(&alert, 0), Some(Call::First));
        assert_eq!(call(&alert, true, &rule, at(0)), None, "silenced");
        alert.called = Some((at(0), 0));
        assert_eq!(calls(&alert, 1799), None);
        assert_eq!(calls(&alert, 1800), Some(Call::Again(1)));
        alert.called = Some((at(1800), 1));
        assert_eq!(calls(&alert, 1800 + 14_399), None);
        assert_eq!(calls(&alert, 1800 + 14_400), Some(Call::Again(2)));
        let taken_on = Alert {
            acknowledged: Some((DiscordUserId(7), at(1))),
            ..alert.clone()
        };
        assert_eq!(calls(&taken_on, 999_999), None);
        let going = Alert {
            gone_since: Some(at(1)),
            ..alert
        };
        assert_eq!(calls(&going, 999_999), None, "it is about to resolve");
    }

    #[test]
    fn a_silence_holds_for_its_kind_and_time() {
        let silence = |kind| Silence {
            id: SilenceId::new(),
            kind,
            reason: "exam".to_owned(),
            ends_at: at(100),
            set_by: DiscordUserId(7),
        };
        assert!(silence(None).holds(AlertKind::Hub, at(99)));
        assert!(!silence(None).holds(AlertKind::Hub, at(100)));
        assert!(!silence(Some(AlertKind::Drift)).holds(AlertKind::Hub, at(0)));
    }

    #[test]
    fn every_kind_comes_back_from_its_word() {
        for kind in AlertKind::ALL {
            assert_eq!(AlertKind::from_word(kind.as_str()), Some(kind));
        }
        assert_eq!(AlertKind::from_word("weather"), None);
    }
}
