//! Faults that a test, or a person at the world's panel, sets on a service.
//!
//! Every service owns one [`Faults`] and wraps its router with [`Faults::wrap`].
//! A request then passes the door twice: *before* its effect and *after* it. At either place a
//! [`Fault`] may change what the client sees, and a [`Hold`] may make the request wait, so that a
//! test can kill the bot exactly there.
//!
//! **Invariant:** a request that reached the service is carried out even if its client is gone,
//! as with a real server; only [`Hold::discard`] and the faults that say so prevent the effect.
//!
//! ```
//! # use sandbox::faults::{Fault, Faults, On, Place};
//! # let faults = Faults::new();
//! // The next create happens, but the bot gets no answer.
//! let lost = faults.inject(On::post("/infrastructures"), Fault::DropAnswer, 1);
//! // Requests for the state wait until the hold is released or dropped.
//! let hold = faults.hold(On::get("/state"), Place::Before);
//! # assert_eq!(lost.hits(), 0);
//! # hold.release();
//! ```

mod door;
mod fault;
mod on;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::middleware;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use fault::Fault;
pub use on::On;

/// How many requests are remembered.
const REMEMBERED_REQUESTS: usize = 20_000;

/// Where a held request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Before its effect.
    Before,
    /// After its effect, before its answer.
    After,
}

/// A request that came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenRequest {
    /// The method in capitals.
    pub method: String,
    /// Path and query.
    pub path: String,
}

/// The faults of one service; clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Rules>>);

#[derive(Default)]
struct Rules {
    faults: Vec<Arc<FaultRule>>,
    holds: Vec<Arc<HoldRule>>,
    seen: VecDeque<SeenRequest>,
}

struct FaultRule {
    on: On,
    fault: Fault,
    skip: AtomicU32,
    left: AtomicU32,
    hits: AtomicUsize,
}

struct HoldRule {
    on: On,
    place: Place,
    skip: AtomicU32,
    waiting: watch::Sender<usize>,
    verdict: watch::Sender<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Go,
    Discard,
}

/// Takes one from the counter unless it is 0; tells whether it was taken.
fn take(counter: &AtomicU32) -> bool {
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
        .is_ok()
}

impl Faults {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The router behind these faults.
    pub fn wrap(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), door::pass))
    }

    /// Sets a fault for the next `times` requests that fit. Several faults on one request all
    /// count; the one set first acts first.
    pub fn inject(&self, on: On, fault: Fault, times: u32) -> Injected {
        let rule = Arc::new(FaultRule {
            skip: AtomicU32::new(on.skip),
            on,
            fault,
            left: AtomicU32::new(times),
            hits: AtomicUsize::new(0),
        });
        self.rules().faults.push(Arc::clone(&rule));
        Injected(rule)
    }

    /// Makes requests that fit wait at `place` until the hold is released, discarded or dropped.
    pub fn hold(&self, on: On, place: Place) -> Hold {
        let rule = Arc::new(HoldRule {
            skip: AtomicU32::new(on.skip),
            on,
            place,
            waiting: watch::Sender::new(0),
            verdict: watch::Sender::new(Verdict::Wait),
        });
        self.rules().holds.push(Arc::clone(&rule));
        Hold {
            rule,
            faults: self.clone(),
        }
    }

    /// Takes away all faults; holds stay.
    pub fn clear(&self) {
        self.rules().faults.clear();
    }

    /// The faults that still wait for requests: which requests, what happens, how often still.
    pub fn active(&self) -> Vec<(On, Fault, u32)> {
        self.rules()
            .faults
            .iter()
            .map(|rule| {
                let left = rule.left.load(Ordering::Acquire);
                (rule.on.clone(), rule.fault.clone(), left)
            })
            .filter(|(_, _, left)| *left > 0)
            .collect()
    }

    /// The requests that came in, oldest first; the last 20,000.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.rules().seen.iter().cloned().collect()
    }

    /// How many requests that fit came in (of those remembered).
    pub fn count(&self, on: &On) -> usize {
        self.rules().seen.iter().filter(|r| on.fits(r)).count()
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the request and finds what was set for it.
    fn arrive(&self, seen: SeenRequest) -> (Vec<Fault>, Vec<Arc<HoldRule>>) {
        let mut rules = self.rules();
        let mut faults = Vec::new();
        for rule in rules.faults.iter().filter(|rule| rule.on.fits(&seen)) {
            if !take(&rule.skip) && take(&rule.left) {
                rule.hits.fetch_add(1, Ordering::AcqRel);
                faults.push(rule.fault.clone());
            }
        }
        rules
            .faults
            .retain(|rule| rule.left.load(Ordering::Acquire) > 0);
        let holds = rules
            .holds
            .iter()
            .filter(|rule| rule.on.fits(&seen) && !take(&rule.skip))
            .cloned()
            .collect();
        if rules.seen.len() >= REMEMBERED_REQUESTS {
            rules.seen.pop_front();
        }
        rules.seen.push_back(seen);
        (faults, holds)
    }
}

/// A fault that was set.
pub struct Injected(Arc<FaultRule>);

impl Injected {
    /// How many requests it hit so far.
    pub fn hits(&self) -> usize {
        self.0.hits.load(Ordering::Acquire)
    }

    /// Takes the fault away before its number of requests came.
    pub fn cancel(&self) {
        self.0.left.store(0, Ordering::Release);
    }
}

/// Requests that wait at the door. Dropping it lets them go.
pub struct Hold {
    rule: Arc<HoldRule>,
    faults: Faults,
}

impl Hold {
    /// Waits until a request stands at the door. The caller sets the deadline.
    pub async fn reached(&self) {
        let mut waiting = self.rule.waiting.subscribe();
        // The sender lives in `self.rule`, so that this can't fail.
        drop(waiting.wait_for(|n| *n > 0).await);
    }

    /// How many requests have come to the door so far.
    pub fn waiting(&self) -> usize {
        *self.rule.waiting.borrow()
    }

    /// Lets the requests go on and ends the hold.
    pub fn release(self) {
        self.end(Verdict::Go);
    }

    /// Forgets the requests as if they had never arrived (their connections close without an
    /// answer; a request held [`Place::After`] has had its effect) and ends the hold.
    pub fn discard(self) {
        self.end(Verdict::Discard);
    }

    fn end(&self, verdict: Verdict) {
        self.faults
            .rules()
            .holds
            .retain(|rule| !Arc::ptr_eq(rule, &self.rule));
        self.rule.verdict.send_if_modified(|current| {
            let first = *current == Verdict::Wait;
            if first {
                *current = verdict;
            }
            first
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end(Verdict::Go);
    }
}
