//! Why a step did not do it.

use std::error::Error;

use crate::store::StoreError;
use crate::store::vault::VaultError;

/// A cause from below.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a step did not do it: in words for the channel, with the cause for the log.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It may work by itself later.
    #[error("{reason}")]
    Retry {
        /// What we were doing, in words for the channel.
        reason: String,
        /// What to do if it never works.
        hint: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// It never works like this.
    #[error("{reason}")]
    Fatal {
        /// What we were doing.
        reason: String,
        /// What to do next.
        hint: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// A person has to decide or to mend something outside first.
    #[error("{reason}")]
    NeedsHuman {
        /// What we were doing.
        reason: String,
        /// What to do next.
        hint: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// Somebody was quicker: what was approved does not fit any more, and this step changed nothing.
    #[error("changed meanwhile: {0}")]
    Outdated(String),
    /// The rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secrets.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl StepError {
    /// An error of a service: tried again if it may pass, otherwise a person is asked.
    pub fn of_service(
        transient: bool,
        reason: impl Into<String>,
        hint: impl Into<String>,
        source: impl Into<Cause>,
    ) -> Self {
        let (reason, hint, source) = (reason.into(), hint.into(), Some(source.into()));
        if transient {
            Self::Retry {
                reason,
                hint,
                source,
            }
        } else {
            Self::NeedsHuman {
                reason,
                hint,
                source,
            }
        }
    }

    /// Something that a person has to mend first.
    pub fn needs_human(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::NeedsHuman {
            reason: reason.into(),
            hint: hint.into(),
            source: None,
        }
    }

    /// Something that never works like this.
    pub fn fatal(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Fatal {
            reason: reason.into(),
            hint: hint.into(),
            source: None,
        }
    }

    /// The sentence for the channel: what we were doing, and the nearest cause in the service's
    /// own words. The whole chain goes to the log only.
    pub fn for_people(&self) -> String {
        match self {
            Self::Retry { reason, source, .. }
            | Self::Fatal { reason, source, .. }
            | Self::NeedsHuman { reason, source, .. } => source
                .as_ref()
                .map_or_else(|| reason.clone(), |source| format!("{reason}: {source}")),
            Self::Outdated(_) => self.to_string(),
            Self::Store(_) | Self::Vault(_) => "the bot's own database is in the way".to_owned(),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        match self {
            Self::Retry { hint, .. } | Self::Fatal { hint, .. } | Self::NeedsHuman { hint, .. } => {
                hint
            }
            Self::Outdated(_) => "leave this operation and run the command again for a new plan",
            Self::Store(_) | Self::Vault(_) => "retry; if it stays, ask whoever runs the bot",
        }
    }

    /// Whether it may work by itself later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Retry { .. } => true,
            Self::Fatal { .. } | Self::NeedsHuman { .. } | Self::Outdated(_) => false,
            Self::Store(error) => error.is_transient(),
            Self::Vault(error) => error.is_transient(),
        }
    }

    /// Whether another replica has taken the operation over.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Store(StoreError::Fenced))
    }
}
