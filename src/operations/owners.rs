//! Who may act on an infrastructure in IM: asked by plans, looks and steps.

use secrecy::SecretString;

use super::error::StepError;
use super::services::Services;
use crate::domain::names::InfrastructureId;
use crate::domain::owners::check_in_account;
use crate::services::checkin::read_facts;
use crate::services::im::{ImError, ImLogin};

/// What to do when IM does not tell or take accounts.
const LOOK: &str = "see whether IM answers and takes the bot's login, then try again";

impl Services {
    /// The accounts that may act, the creator's first, as IM names them.
    ///
    /// # Errors
    /// In words for the channel; transient if IM does not answer.
    pub async fn owners(&self, id: &InfrastructureId) -> Result<Vec<String>, StepError> {
        self.im.owners(id).await.map_err(of_owners)
    }

    /// The account that the bot itself has in IM.
    ///
    /// # Errors
    /// When the bot has no token, or its issuer does not tell whose it is.
    pub async fn own_account(&self) -> Result<String, StepError> {
        match self.im.login() {
            ImLogin::Password { username, .. } => Ok(username.clone()),
            ImLogin::Token(cell) => {
                let token = cell.get().ok_or_else(|| {
                    StepError::needs_human(
                        "the bot has no access token for IM",
                        "renew the access token in the bot's configuration",
                    )
                })?;
                self.account_of(&token).await
            }
        }
    }

    /// The account that IM gives to the holder of a token.
    ///
    /// # Errors
    /// When the issuer does not tell whose it is.
    pub async fn account_of(&self, token: &SecretString) -> Result<String, StepError> {
        let holder = read_facts(token).map(|facts| facts.holder);
        let issuer = holder.as_ref().and_then(|holder| self.issuer_of(holder));
        let issuer = issuer.unwrap_or(&self.settings.issuers.production);
        let name = self.checkin.user_name(issuer, token).await;
        let name = name.map_err(|error| {
            let doing = "Check-in did not tell whose the access token is";
            let hint = "see whether Check-in answers, then try again";
            StepError::of_service(error.is_transient(), doing, hint, error)
        })?;
        Ok(check_in_account(&name))
    }

    /// Whether the holder of a token may act on an infrastructure.
    ///
    /// # Errors
    /// When IM does not answer or does not take the token at all.
    pub async fn may_act(
        &self,
        token: &SecretString,
        id: &InfrastructureId,
    ) -> Result<bool, StepError> {
        match self.im.asked_by(token.clone()).state(id).await {
            Ok(_state) => Ok(true),
            Err(ImError::NotOurs { .. }) => Ok(false),
            Err(error) => {
                let doing = "IM does not take the colleague's token";
                let hint = "let them log in at https://im.egi.eu once and copy a new token";
                Err(StepError::of_service(
                    error.is_transient(),
                    doing,
                    hint,
                    error,
                ))
            }
        }
    }
}

/// An error of IM about accounts as a step's.
pub fn of_owners(error: ImError) -> StepError {
    let doing = "IM could not be asked who may act on the infrastructure";
    let hint = if matches!(error, ImError::NotOurs { .. }) {
        "the bot's own account may not act on it: whoever may has to let it"
    } else if error.needs_token() {
        "renew the access token in the bot's configuration"
    } else {
        LOOK
    };
    StepError::of_service(error.is_transient(), doing, hint, error)
}
