//! What happens to a request.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// This answer instead of the effect.
    Answer {
        /// HTTP status.
        status: u16,
        /// `Content-Type`; `text/plain` if absent.
        #[serde(default)]
        content_type: Option<String>,
        /// The body.
        body: String,
    },
    /// Everything happens, but only after this time.
    Slow {
        /// How long, in milliseconds.
        delay_ms: u64,
    },
    /// The connection is closed before the effect.
    DropRequest,
    /// The effect happens, then the connection is closed without an answer.
    DropAnswer,
    /// The effect happens, but only the first half of the body arrives.
    HalfBody,
    /// The effect happens, but the answer says something else, with the same status.
    Content {
        /// `Content-Type`; unchanged if absent.
        #[serde(default)]
        content_type: Option<String>,
        /// The body.
        body: String,
    },
    /// Nothing happens for this time, then the connection is closed, without an effect.
    Hang {
        /// How long, in milliseconds.
        for_ms: u64,
    },
}

impl Fault {
    /// A plain-text answer instead of the effect.
    pub fn answer(status: u16, body: &str) -> Self {
        Self::Answer {
            status,
            content_type: None,
            body: body.to_owned(),
        }
    }

    /// Everything happens, but only after `delay`.
    pub fn slow(delay: Duration) -> Self {
        Self::Slow {
            delay_ms: millis(delay),
        }
    }

    /// Nothing happens for `time`, then the connection is closed.
    pub fn hang(time: Duration) -> Self {
        Self::Hang {
            for_ms: millis(time),
        }
    }

    /// The true effect, but this body instead of the true one.
    pub fn content(body: &str) -> Self {
        Self::Content {
            content_type: None,
            body: body.to_owned(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
