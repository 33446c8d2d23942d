//! The page of an operation, and its log as text.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::SharedState;
use super::access::{Allowed, Denied};
use crate::domain::ids::OperationId;
use crate::domain::operation::LogLine;
use crate::domain::redact::RedactStream;

/// How many lines are read from the database in one go.
pub(super) const PAGE_LINES: i64 = 500;

/// How long a download may take.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(120);

/// `/operations/<id>`: a constant page; its script asks for the content.
pub(super) async fn page(Allowed(_operation): Allowed) -> Html<&'static str> {
    Html(include_str!("assets/operation.html"))
}

/// The page's script.
pub(super) async fn script() -> impl IntoResponse {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("assets/operation.js"),
    )
}

/// The page's style.
pub(super) async fn style() -> impl IntoResponse {
    asset(
        "text/css; charset=utf-8",
        include_str!("assets/operation.css"),
    )
}

pub(super) fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, text)
}

/// `/operations/<id>/log`: all lines so far.
pub(super) async fn log(
    State(state): State<SharedState>,
    Allowed(operation): Allowed,
) -> Result<Response, Denied> {
    let permit = state.downloads.clone().try_acquire_owned();
    let permit = permit.map_err(|_error| Denied::Busy)?;
    let name = format!(
        "inline; filename=\"operation-{}.log\"",
        operation.id.short()
    );
    let download = Download {
        redactor: Some(state.parts.redactor.stream()),
        state,
        operation: operation.id,
        after: 0,
        until: Instant::now() + DOWNLOAD_PATIENCE,
        _permit: permit,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    let body = Body::from_stream(stream::unfold(download, Download::next));
    Ok((headers, body).into_response())
}

/// A download under way.
struct Download {
    state: SharedState,
    operation: OperationId,
    /// The number of the last line that was sent.
    after: i64,
    until: Instant,
    /// `None` after the end.
    redactor: Option<RedactStream>,
    _permit: OwnedSemaphorePermit,
}

impl Download {
    /// The next piece of text; nothing after the last line, an error when time is over.
    async fn next(mut self) -> Option<(std::io::Result<Bytes>, Self)> {
        let mut redactor = self.redactor.take()?;
        let read = self
            .state
            .parts
            .store
            .log_lines_after(self.operation, self.after, PAGE_LINES);
        let lines = match tokio::time::timeout_at(self.until, read).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => return Some((Err(std::io::Error::other(error)), self)),
            Err(elapsed) => return Some((Err(elapsed.into()), self)),
        };
        let mut out = Vec::new();
        for line in &lines {
            redactor.push(as_text(line).as_bytes(), &mut out);
            self.after = line.line;
        }
        if lines.is_empty() {
            redactor.finish(&mut out);
        } else {
            self.redactor = Some(redactor);
        }
        Some((Ok(Bytes::from(out)), self))
    }
}

/// A log line as text, with its time and step.
fn as_text(line: &LogLine) -> String {
    format!(
        "{} {}: {}\n",
        line.at.format("%Y-%m-%dT%H:%M:%SZ"),
        line.step,
        without_controls(&line.text)
    )
}

/// The text without terminal sequences and other control characters: neither a page nor the
/// terminal of whoever downloads the log should obey them. Tabs stay.
pub(super) fn without_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.next_if_eq(&'[').is_some() {
            // A control sequence ends with a character from `@` to `~` (ECMA-48, 5.4).
            for parameter in characters.by_ref() {
                if ('@'..='~').contains(&parameter) {
                    break;
                }
            }
        } else if character == '\t' || !character.is_control() {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_removed_and_text_stays() {
        assert_eq!(
            without_controls("\u{1b}[0;32mok: [geo]\u{1b}[0m\tüber ✓\u{7}\r\u{1b}]0;x"),
            "ok: [geo]\tüber ✓]0;x"
        );
        assert_eq!(without_controls("\u{1b}[31"), "");
    }
}
