//! What bots asked and what they got, for tests.

use std::collections::VecDeque;

use serde_json::Value;

use super::{Discord, lock};

/// How many requests are remembered.
const REMEMBERED: usize = 5_000;

/// One REST request and its answer.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method in capitals.
    pub method: String,
    /// The path after `/api/v10`, decoded, without its query.
    pub path: String,
    /// The JSON body (`payload_json` of a multipart one); null if there was none.
    pub body: Value,
    /// The names of the files that came with it.
    pub files: Vec<String>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The JSON of the answer; null if there was none.
    pub answer: Value,
}

/// A request or answer that Discord's API description does not allow.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Whether the bot's request is wrong, or else the sandbox's own answer.
    pub by_bot: bool,
    /// Method and path.
    pub call: String,
    /// What is wrong.
    pub message: String,
}

#[derive(Default)]
pub(crate) struct Journal {
    requests: VecDeque<Recorded>,
    unexpected: Vec<String>,
    violations: Vec<Violation>,
}

impl Journal {
    pub(crate) fn record(&mut self, recorded: Recorded) {
        if self.requests.len() >= REMEMBERED {
            self.requests.pop_front();
        }
        self.requests.push_back(recorded);
    }

    pub(crate) fn unexpected(&mut self, call: String) {
        if self.unexpected.len() < REMEMBERED {
            self.unexpected.push(call);
        }
    }

    pub(crate) fn violation(&mut self, violation: Violation) {
        if self.violations.len() < REMEMBERED {
            self.violations.push(violation);
        }
    }
}

impl Discord {
    /// The last 5,000 REST requests with their answers.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.journal).requests.iter().cloned().collect()
    }

    /// Calls to routes that this Discord does not know (`GET /path`); a test ends with none.
    pub fn unexpected_calls(&self) -> Vec<String> {
        lock(&self.journal).unexpected.clone()
    }

    /// What did not conform to Discord's API description, if one was given.
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.journal).violations.clone()
    }
}
