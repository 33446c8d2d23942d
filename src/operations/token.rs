//! Whether a new access token may be written to front ends: asked by plans, and again by steps.

use chrono::TimeDelta;
use secrecy::SecretString;
use url::Url;

use super::error::StepError;
use super::services::Services;
use crate::domain::clock::Clock;
use crate::domain::names::InfrastructureId;
use crate::domain::token::{Holder, TokenFacts};
use crate::services::checkin::{TokenError, read_facts, same_issuer};
use crate::services::im::ImError;

/// What to do about a token that nobody may use.
const NEW_ONE: &str = "log in at https://im.egi.eu, copy the access token (Advanced → Settings) and run the command again";

/// What to do about a token of the wrong person.
const ANOTHER: &str = "log in at https://im.egi.eu as the owner of the infrastructure, copy the access token (Advanced → Settings) and run the command again; or let this person act, too, with `/pangeo owners add`";

impl Services {
    /// What a token says, verified: a configured issuer signed it, and it lives this long.
    ///
    /// # Errors
    /// In words for the channel; transient if the issuer does not answer.
    pub async fn verified_token(
        &self,
        token: &SecretString,
        clock: &Clock,
        needed: TimeDelta,
    ) -> Result<TokenFacts, StepError> {
        let refused = |error: TokenError| {
            let doing = "the token is not taken";
            StepError::of_service(error.is_transient(), doing, NEW_ONE, error)
        };
        let said = read_facts(token).ok_or_else(|| refused(TokenError::NotAToken))?;
        let issuer = self
            .issuer_of(&said.holder)
            .unwrap_or(&self.settings.issuers.production);
        let facts = self.checkin.verify(issuer, token).await.map_err(refused)?;
        let left = facts.ends_at - clock.now();
        if left <= TimeDelta::zero() {
            let at = facts.ends_at.format("%Y-%m-%d %H:%M");
            let reason = format!("the token is not taken: it expired at {at} UTC");
            return Err(StepError::needs_human(reason, NEW_ONE));
        }
        if left < needed {
            let reason = format!(
                "the token is not taken: it ends in {} min, and must live at least {} min",
                left.num_minutes(),
                needed.num_minutes()
            );
            return Err(StepError::needs_human(reason, NEW_ONE));
        }
        Ok(facts)
    }

    /// The configured issuer of a person's tokens.
    pub fn issuer_of(&self, holder: &Holder) -> Option<&Url> {
        let issuers = &self.settings.issuers;
        [&issuers.production, &issuers.demo, &issuers.development]
            .into_iter()
            .find(|issuer| same_issuer(&holder.issuer, issuer))
    }

    /// Asks IM whether the holder of a token may use an infrastructure.
    ///
    /// # Errors
    /// In words for the channel; transient if IM does not answer.
    pub async fn token_owns(
        &self,
        token: &SecretString,
        infrastructure: &InfrastructureId,
    ) -> Result<(), StepError> {
        let asked = self.im.asked_by(token.clone()).state(infrastructure).await;
        match asked {
            Ok(_state) => Ok(()),
            Err(error @ ImError::NotOurs { .. }) => Err(StepError::NeedsHuman {
                reason: "the token is not taken: its holder does not own the infrastructure"
                    .to_owned(),
                hint: ANOTHER.to_owned(),
                source: Some(error.into()),
            }),
            Err(error) => {
                let doing = "the token is not taken";
                let transient = error.is_transient();
                Err(StepError::of_service(transient, doing, ANOTHER, error))
            }
        }
    }
}
