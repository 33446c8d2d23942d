//! The proof of a cure: once an alert of the growing is over, the bot starts a server for a test
//! user, sees whether it becomes ready, and deletes it.
//!
//! ```text
//! due ──(no server there)──▶ starting ──(ready, or too late)──▶ stopping ──(gone)──▶ done
//!   └──(one is there)──▶ done: not tried      └──(the hub gave up)──▶ done: failed
//! ```
//!
//! [`next`] is the whole machine. What is to be started or deleted stands in a row before that
//! happens, so that a bot that was killed goes on from what it finds.
//!
//! **Invariant:** no I/O; only a server is deleted that was not there when the proof began.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::{AlertId, ClusterId};

/// How long the hub may be silent before nothing was begun, and how long deleting may take.
pub const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// How far a proof is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofState {
    /// Nothing was begun.
    Due,
    /// A server is to be started, or starts.
    Starting,
    /// It is to be deleted, or ends.
    Stopping,
    /// It is over.
    Done,
}

impl ProofState {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Done => "done",
        }
    }

    /// From what is stored.
    pub fn from_stored(text: &str) -> Option<Self> {
        let all = [Self::Due, Self::Starting, Self::Stopping, Self::Done];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// What a proof showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server became ready.
    Proven,
    /// It did not.
    Failed,
    /// None was started.
    NotTried,
}

impl Outcome {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Failed => "failed",
            Self::NotTried => "not tried",
        }
    }

    /// From what is stored.
    pub fn from_stored(text: &str) -> Option<Self> {
        let all = [Self::Proven, Self::Failed, Self::NotTried];
        all.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// A proof of the cure of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The alert.
    pub alert: AlertId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// How far it is.
    pub state: ProofState,
    /// When it became due.
    pub made_at: DateTime<Utc>,
    /// Until when the server must be ready; `None` before it is started.
    pub deadline: Option<DateTime<Utc>>,
    /// When the hub took the request; `None` before it did.
    pub asked_at: Option<DateTime<Utc>>,
    /// Whose server it is; `None` before it is started.
    pub user: Option<String>,
    /// What it showed, and in what way.
    pub outcome: Option<(Outcome, String)>,
}

/// How a user's server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestServer {
    /// There is none.
    Absent,
    /// It starts or ends.
    Pending,
    /// It can be used.
    Ready,
}

/// A user of a hub, as a token of that user shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubUser {
    /// The name.
    pub name: String,
    /// Whether the user may do anything with the hub.
    pub is_admin: bool,
    /// The user's server.
    pub server: TestServer,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again later.
    Wait,
    /// Start a server.
    Start,
    /// Delete it; this is what it showed.
    Stop(Outcome, String),
    /// It is over; this is what it showed.
    End(Outcome, String),
}

/// What follows from how the test user's server is; `Err` is why that was not seen.
pub fn next(proof: &Proof, server: Result<TestServer, &str>, now: DateTime<Utc>) -> Next {
    match proof.state {
        ProofState::Due => due(proof, server, now),
        ProofState::Starting => starting(proof, server, now),
        ProofState::Stopping => stopping(proof, server, now),
        ProofState::Done => Next::Wait,
    }
}

fn due(proof: &Proof, server: Result<TestServer, &str>, now: DateTime<Utc>) -> Next {
    match server {
        Ok(TestServer::Absent) => Next::Start,
        Ok(TestServer::Pending | TestServer::Ready) => {
            let why = "the test user has a server already";
            Next::End(Outcome::NotTried, why.to_owned())
        }
        Err(why) if now - proof.made_at >= PATIENCE => Next::End(Outcome::NotTried, why.to_owned()),
        Err(_) => Next::Wait,
    }
}

fn starting(proof: &Proof, server: Result<TestServer, &str>, now: DateTime<Utc>) -> Next {
    let is_late = proof.deadline.is_none_or(|deadline| now >= deadline);
    match (server, proof.asked_at) {
        (Ok(TestServer::Ready), asked_at) => {
            let took = (now - asked_at.unwrap_or(now)).num_seconds();
            Next::Stop(Outcome::Proven, format!("it was ready within {took} s"))
        }
        (Ok(TestServer::Absent), None) if !is_late => Next::Start,
        (Ok(TestServer::Absent), _) => Next::End(Outcome::Failed, "the hub gave it up".to_owned()),
        (Ok(TestServer::Pending), _) if is_late => {
            Next::Stop(Outcome::Failed, "it did not become ready".to_owned())
        }
        (Err(why), _) if is_late => Next::Stop(Outcome::Failed, why.to_owned()),
        (Ok(TestServer::Pending) | Err(_), _) => Next::Wait,
    }
}

fn stopping(proof: &Proof, server: Result<TestServer, &str>, now: DateTime<Utc>) -> Next {
    let (outcome, said) = proof.outcome.clone().unwrap_or_else(|| {
        let nothing = "nothing is known of it".to_owned();
        (Outcome::Failed, nothing)
    });
    // A hub refuses to delete what still starts, until its own time for that is over.
    let is_late = proof.deadline.is_none_or(|at| now >= at + PATIENCE * 2);
    match server {
        Ok(TestServer::Absent) => Next::End(outcome, said),
        Ok(_) | Err(_) if is_late => {
            let left = format!("{said}; it was not deleted: an administrator of the hub can");
            Next::End(outcome, left)
        }
        Ok(TestServer::Pending | TestServer::Ready) => Next::Stop(outcome, said),
        Err(_) => Next::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    fn proof(state: ProofState, asked: Option<i64>, outcome: Option<Outcome>) -> Proof {
        Proof {
            alert: AlertId::new(),
            cluster: ClusterId::new(),
            state,
            made_at: at(0),
            deadline: (state != ProofState::Due).then(|| at(30)),
            asked_at: asked.map(at),
            user: None,
            outcome: outcome.map(|outcome| (outcome, "so".to_owned())),
        }
    }

    #[derive(Debug, PartialEq)]
    enum Does {
        Waits,
        Starts,
        Stops(Outcome),
        Ends(Outcome),
    }

    fn does(proof: &Proof, server: Result<TestServer, &str>, minutes: i64) -> Does {
        match next(proof, server, at(minutes)) {
            Next::Wait => Does::Waits,
            Next::Start => Does::Starts,
            Next::Stop(outcome, _) => Does::Stops(outcome),
            Next::End(outcome, _) => Does::Ends(outcome),
        }
    }

    #[test]
    fn nothing_is_begun_where_a_server_is_or_the_hub_is_silent() {
        let due = proof(ProofState::Due, None, None);
        for (server, minutes, expected) in [
            (Ok(TestServer::Absent), 0, Does::Starts),
            (Ok(TestServer::Ready), 0, Does::Ends(Outcome::NotTried)),
            (Ok(TestServer::Pending), 0, Does::Ends(Outcome::NotTried)),
            (Err("502"), 9, Does::Waits),
            (Err("502"), 10, Does::Ends(Outcome::NotTried)),
        ] {
            assert_eq!(does(&due, server, minutes), expected, "{server:?}");
        }
    }

    #[test]
    fn a_start_is_asked_for_once_more_only_if_it_may_not_have_been_asked_for() {
        for (asked, server, minutes, expected) in [
            // Killed between the row and the request, or between the request and its row.
            (None, Ok(TestServer::Absent), 1, Does::Starts),
            (None, Ok(TestServer::Pending), 1, Does::Waits),
            (None, Ok(TestServer::Ready), 1, Does::Stops(Outcome::Proven)),
            (Some(0), Ok(TestServer::Pending), 29, Does::Waits),
            (Some(0), Err("502"), 29, Does::Waits),
            (
                Some(0),
                Ok(TestServer::Ready),
                1,
                Does::Stops(Outcome::Proven),
            ),
            (
                Some(0),
                Ok(TestServer::Absent),
                1,
                Does::Ends(Outcome::Failed),
            ),
            (
                Some(0),
                Ok(TestServer::Pending),
                30,
                Does::Stops(Outcome::Failed),
            ),
            (
                None,
                Ok(TestServer::Absent),
                30,
                Does::Ends(Outcome::Failed),
            ),
        ] {
            let starting = proof(ProofState::Starting, asked, None);
            let done = does(&starting, server, minutes);
            assert_eq!(done, expected, "{asked:?} {server:?} {minutes}");
        }
        let ready = proof(ProofState::Starting, Some(1), None);
        let Next::Stop(_, said) = next(&ready, Ok(TestServer::Ready), at(3)) else {
            panic!("it is ready");
        };
        assert_eq!(said, "it was ready within 120 s");
    }

    #[test]
    fn it_is_deleted_until_it_is_gone_or_people_are_asked_to() {
        let stopping = proof(ProofState::Stopping, Some(0), Some(Outcome::Proven));
        for (server, minutes, expected) in [
            (Ok(TestServer::Ready), 31, Does::Stops(Outcome::Proven)),
            (Ok(TestServer::Pending), 49, Does::Stops(Outcome::Proven)),
            (Err("502"), 49, Does::Waits),
            (Ok(TestServer::Absent), 90, Does::Ends(Outcome::Proven)),
            (Ok(TestServer::Ready), 50, Does::Ends(Outcome::Proven)),
        ] {
            assert_eq!(does(&stopping, server, minutes), expected, "{server:?}");
        }
        let Next::End(_, said) = next(&stopping, Err("502"), at(50)) else {
            panic!("it is over");
        };
        assert!(said.contains("was not deleted"), "{said}");
    }

    #[test]
    fn what_is_stored_comes_back() {
        for state in ["due", "starting", "stopping", "done"] {
            assert_eq!(ProofState::from_stored(state).unwrap().as_str(), state);
        }
        for outcome in ["proven", "failed", "not tried"] {
            assert_eq!(Outcome::from_stored(outcome).unwrap().as_str(), outcome);
        }
        assert_eq!(Outcome::from_stored("maybe"), None);
    }
}
