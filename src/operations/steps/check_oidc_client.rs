//! `check-oidc-client`: Check-in knows the host's OIDC client and its redirect URI.
//!
//! Asks the issuer's discovery document and its authorization endpoint, without logging in.
//! Changes nothing outside, so it needs no undo. Nothing to check without Check-in login.

use async_trait::async_trait;

use secrecy::ExposeSecret;

use crate::domain::deploy::Auth;
use crate::domain::values::callback_url;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::checkin::{CheckinError, ClientCheck};
use crate::store::vault::{CLIENT_ID, CLIENT_SECRET};

/// See the module.
pub(super) struct CheckOidcClient;

#[async_trait]
impl Step for CheckOidcClient {
    fn name(&self) -> &'static str {
        "check-oidc-client"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let options = context.deploy_options()?;
        let Auth::CheckIn(instance) = options.auth else {
            context.log("no Check-in login: nothing to check").await?;
            return Ok(Progress::done());
        };
        let host = &context.cluster.host;
        let owner = context.host_secrets();
        let client_id = context.vault.get(&owner, CLIENT_ID).await?;
        let client_secret = context.vault.get(&owner, CLIENT_SECRET).await?;
        let (Some(client_id), Some(_)) = (client_id, client_secret) else {
            return Err(StepError::needs_human(
                format!("the Check-in client of `{host}` is not known"),
                format!("give it with `/pangeo checkin set-client host:{host}`, then retry"),
            ));
        };
        let issuer = context.services.issuer(instance);
        let redirect = callback_url(host);
        let check = context
            .services
            .checkin
            .check_client(issuer, client_id.expose_secret(), &redirect)
            .await
            .map_err(of_checkin)?;
        match check {
            ClientCheck::Known => {
                context
                    .log(&format!("{issuer} knows the client and its redirect URI"))
                    .await?;
                Ok(Progress::done())
            }
            ClientCheck::Unclear(said) => {
                context
                    .log(&format!(
                        "{issuer} neither knows nor refuses the client: {said}"
                    ))
                    .await?;
                Ok(Progress::done())
            }
            ClientCheck::UnknownClient => Err(StepError::needs_human(
                format!("{issuer} does not know the client of `{host}`"),
                format!(
                    "wait until the registration is deployed, or give the right client with \
                     `/pangeo checkin set-client host:{host}`; then retry"
                ),
            )),
            ClientCheck::RedirectRefused => Err(StepError::needs_human(
                format!("{issuer} knows the client, but not with the redirect URI {redirect}"),
                "correct the redirect URI in the Federation Registry, then retry",
            )),
        }
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}

fn of_checkin(error: CheckinError) -> StepError {
    let hint = "see whether Check-in answers, then retry";
    StepError::of_service(
        error.is_transient(),
        "Check-in could not be asked",
        hint,
        error,
    )
}
