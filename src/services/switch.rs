//! A dead man's switch outside, such as healthchecks.io: it is asked while all is well, and tells
//! somebody when it is not asked any more.

use std::fmt;
use std::time::Duration;

use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};

use super::http;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Why the switch could not be told.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// It does not answer.
    #[error("the switch does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// It answers otherwise than with success.
    #[error("the switch answers {0}")]
    Refused(u16),
}

/// The switch.
#[derive(Clone)]
pub struct Switch {
    client: Client,
    /// Whoever knows it can keep the switch from going off.
    address: SecretString,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").finish_non_exhaustive()
    }
}

impl Switch {
    /// The switch at an address.
    ///
    /// # Errors
    /// When there is no HTTP client.
    pub fn new(address: SecretString) -> Result<Self, reqwest::Error> {
        let client = http::client(None)?;
        Ok(Self { client, address })
    }

    /// Tells it that all is well.
    ///
    /// # Errors
    /// When it does not answer with success; the address is in no error.
    pub async fn tell(&self) -> Result<(), SwitchError> {
        let ask = self.client.get(self.address.expose_secret()).timeout(LIMIT);
        let answer = ask.send().await;
        let answer = answer.map_err(|error| SwitchError::Unreachable(error.without_url()))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(SwitchError::Refused(answer.status().as_u16()))
        }
    }
}
