//! Follows an operation: Server-Sent Events with its state and its log lines.
//!
//! | event | data | when |
//! |---|---|---|
//! | `operation` | [`Shown`] as JSON | at the start and whenever it changed |
//! | `lines` | a list of log lines | when there are new ones; the event's id is the last number |
//! | `end` | `ended` (a browser skips events without data) | the operation has ended and all lines were sent: do not come back |
//!
//! The rows are read again every second: a replica that did not do the work has no other way to
//! know, and a follower costs three small queries a second.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use chrono::{DateTime, Utc};
use futures::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::SharedState;
use super::access::{Allowed, Denied};
use super::operation::{PAGE_LINES, without_controls};
use crate::domain::ids::OperationId;
use crate::domain::operation::{LogLine, Operation, OperationState, StepRow};
use crate::domain::redact::Redactor;
use crate::store::StoreError;

/// The pause between two looks at the rows.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long one connection follows; the page then connects again with a link that is checked anew.
const FOLLOW_FOR: Duration = Duration::from_secs(30 * 60);

/// The query of a request for events, beside its signature.
#[derive(Deserialize)]
pub(super) struct From {
    /// The number of the last line that the page has; 0 for all.
    #[serde(default)]
    after: i64,
}

/// What the page shows of an operation.
#[derive(Serialize, PartialEq)]
struct Shown {
    id: String,
    command: String,
    target: String,
    state: &'static str,
    ended: bool,
    undoing: bool,
    reason: Option<String>,
    hint: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    wake_at: Option<DateTime<Utc>>,
    steps: Vec<ShownStep>,
}

/// What the page shows of a step.
#[derive(Serialize, PartialEq)]
struct ShownStep {
    name: String,
    state: &'static str,
    attempts: i32,
    began_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    note: Option<String>,
    error: Option<String>,
}

/// `/operations/<id>/events`.
pub(super) async fn events(
    State(state): State<SharedState>,
    Query(from): Query<From>,
    headers: HeaderMap,
    Allowed(operation): Allowed,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Denied> {
    let permit = state.followers.clone().try_acquire_owned();
    let permit = permit.map_err(|_error| Denied::Busy)?;
    // A browser that connects again sends the id of the last event.
    let resumed = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse::<i64>().ok());
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follower = Follower {
        state,
        operation: operation.id,
        after: resumed.unwrap_or(from.after).max(0),
        shown: None,
        ready: VecDeque::new(),
        ticks,
        until: Instant::now() + FOLLOW_FOR,
        ended: false,
        _permit: permit,
    };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(stream::unfold(follower, Follower::next)).keep_alive(keep_alive))
}

/// A page that follows an operation.
struct Follower {
    state: SharedState,
    operation: OperationId,
    /// The number of the last line that was sent.
    after: i64,
    shown: Option<Shown>,
    /// Events that are made but not yet sent: three at most.
    ready: VecDeque<Event>,
    ticks: Interval,
    until: Instant,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event; the stream ends with the operation, the deadline or the bot.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.ended {
                return None;
            }
            let stop = self.state.stop.clone();
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                _ = self.ticks.tick() => {}
            }
            if let Err(error) = self.look().await {
                let error = format!("{error:#}");
                tracing::warn!(operation.id = %self.operation, error, "a page could not follow its operation");
                return None;
            }
        }
    }

    /// Reads the rows and makes events of what is new.
    async fn look(&mut self) -> Result<(), StoreError> {
        let store = &self.state.parts.store;
        // The operation is read before its lines: once it has ended, no line comes after these.
        let operation = store.operation(self.operation).await?;
        let steps = store.steps(self.operation).await?;
        let lines = store
            .log_lines_after(self.operation, self.after, PAGE_LINES)
            .await?;
        let Some(operation) = operation else {
            self.ended = true;
            return Ok(());
        };
        let redactor = &self.state.parts.redactor;
        let shown = Shown::new(&operation, steps, redactor);
        let has_ended = shown.ended;
        if self.shown.as_ref() != Some(&shown) {
            let event = Event::default().event("operation").json_data(&shown);
            self.ready.extend(event.ok());
            self.shown = Some(shown);
        }
        if let Some(last) = lines.last() {
            self.after = last.line;
            let lines: Vec<LogLine> = lines.into_iter().map(|line| safe(line, redactor)).collect();
            let event = Event::default().event("lines").id(self.after.to_string());
            self.ready.extend(event.json_data(&lines).ok());
            // There may be more: look again at once.
            self.ticks.reset_immediately();
        } else if has_ended {
            self.ready
                .push_back(Event::default().event("end").data("ended"));
            self.ended = true;
        }
        Ok(())
    }
}

fn safe(line: LogLine, redactor: &Redactor) -> LogLine {
    LogLine {
        text: clean(line.text, redactor),
        ..line
    }
}

fn clean(text: String, redactor: &Redactor) -> String {
    redactor.redact(&without_controls(&text)).into_owned()
}

impl Shown {
    fn new(operation: &Operation, steps: Vec<StepRow>, redactor: &Redactor) -> Self {
        let clean = |text: Option<String>| text.map(|text| clean(text, redactor));
        Self {
            id: operation.id.to_string(),
            command: operation.command.clone(),
            target: operation.target.clone(),
            state: operation.state.as_str(),
            // A stopped operation waits for a person and may go on.
            ended: operation.state.is_final(),
            undoing: operation.direction == crate::domain::operation::Direction::Undo,
            reason: clean(operation.stop_reason.clone()),
            hint: clean(operation.hint.clone()),
            created_at: operation.created_at,
            started_at: operation.started_at,
            ended_at: operation.ended_at,
            wake_at: operation
                .wake_at
                .filter(|_| operation.state == OperationState::Waiting),
            steps: steps
                .into_iter()
                .map(|step| ShownStep {
                    name: step.name,
                    state: step.state.as_str(),
                    attempts: step.attempts,
                    began_at: step.intent_at,
                    ended_at: step.result_at,
                    note: clean(step.note),
                    error: clean(step.error),
                })
                .collect(),
        }
    }
}
