//! Looks: the answers of commands that change nothing.
//!
//! Each asks the store first and the outside systems after, within a short time; what does not
//! answer is said to be unknown instead of holding up the rest.
//!
//! **Invariant:** nothing here changes anything outside; the only rows that are written are the
//! lines of logs that somebody follows ([`follow`]).

pub mod checkin;
mod clues_log;
pub mod diagnose;
pub mod dns;
pub mod flavor;
pub mod follow;
pub mod front_end;
pub mod hub_user;
pub mod logs;
pub mod nodes;
mod overview;
pub mod owners;
pub(crate) mod seen;
pub mod status;
pub mod token;
pub mod values;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clues_log::CluesLogs;

use crate::domain::sample::Sample;
use crate::operations::Services;
use crate::store::vault::{Vault, VaultError};
use crate::store::{Store, StoreError};

/// How good the news is; decides a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Neither nor.
    Neutral,
    /// Somebody should look soon.
    Warn,
    /// Something is broken.
    Bad,
}

/// An answer, without how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub title: String,
    /// How good the news is.
    pub tone: Tone,
    /// The answer in a sentence or a list.
    pub text: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
    /// What to do next.
    pub hint: Option<String>,
    /// Text files, by name.
    pub files: Vec<(String, String)>,
    /// What a picture below it shows.
    pub chart: Option<Chart>,
}

/// The counts of a cluster over its last hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Oldest first.
    pub samples: Vec<Sample>,
    /// How many hours it shows.
    pub hours: u8,
    /// Its right edge.
    pub until: DateTime<Utc>,
    /// The moment that is marked.
    pub mark: Option<DateTime<Utc>>,
}

impl Report {
    /// A short answer.
    pub fn new(title: impl Into<String>, tone: Tone, text: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            tone,
            text: text.into(),
            fields: Vec::new(),
            hint: None,
            files: Vec::new(),
            chart: None,
        }
    }

    /// Adds a name and a value.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a text file.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, content: impl Into<String>) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secrets.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Answers.
#[derive(Clone, Debug)]
pub struct Looks {
    store: Store,
    vault: Vault,
    services: Arc<Services>,
    clues_logs: Arc<CluesLogs>,
}

impl Looks {
    /// Over its parts.
    pub fn new(store: Store, vault: Vault, services: Arc<Services>) -> Self {
        Self {
            store,
            vault,
            services,
            clues_logs: Arc::default(),
        }
    }
}
