//! `checkin sheet` and `checkin check`: the registration form's content, and what the issuer
//! thinks of a client.

use secrecy::ExposeSecret;

use super::{LookError, Looks, Report, Tone};
use crate::domain::deploy::CheckinInstance;
use crate::domain::names::HostName;
use crate::domain::values::callback_url;
use crate::services::checkin::ClientCheck;
use crate::store::secrets::SecretOwner;
use crate::store::vault::{CLIENT_ID, CLIENT_SECRET};

/// Where clients are registered (EGI documentation, "Service Providers").
const REGISTRY: &str = "https://aai.egi.eu/federation/";

impl Looks {
    /// What to fill into the registration form for a host.
    pub fn checkin_sheet(&self, host: &HostName, instance: CheckinInstance) -> Report {
        let environment = match instance {
            CheckinInstance::Production => "Production",
            CheckinInstance::Demo => "Demo",
            CheckinInstance::Development => "Development",
        };
        let vo = &self.services.settings.vo;
        let next = match instance {
            CheckinInstance::Development => format!(
                "you may approve your own request here; {vo} exists here only if check-in@egi.eu was asked for it"
            ),
            CheckinInstance::Production | CheckinInstance::Demo => {
                "the request is approved by EGI; that may take days".to_owned()
            }
        };
        Report::new(
            format!("Check-in registration of `{host}`"),
            Tone::Neutral,
            format!("Fill in the form at {REGISTRY}, one field after the other; {next}."),
        )
        .field("Integration environment", environment)
        .field("Select protocol", "OIDC Service")
        .field("Client ID", "leave empty")
        .field("Application type", "Web")
        .field("Redirect URI", format!("`{}`", callback_url(host)))
        .field("Scope", "`openid` `email` `profile` `eduperson_entitlement`")
        .field("Grant types", "authorization code")
        .field("Token endpoint authorization method", "Client Secret over HTTP Basic")
        .field("Client secret", "leave empty")
        .hint(format!(
            "once it is deployed the form shows the client id and its secret; give both with `/pangeo checkin set-client host:{host}`"
        ))
    }

    /// Asks the issuer about the kept client of a host.
    ///
    /// # Errors
    /// When the database fails; an issuer that does not answer is part of the report.
    pub async fn checkin_check(
        &self,
        host: &HostName,
        instance: CheckinInstance,
    ) -> Result<Report, LookError> {
        let owner = SecretOwner::Host(host.clone());
        let title = format!("Check-in client of `{host}`");
        let client_id = self.vault.get(&owner, CLIENT_ID).await?;
        let client_secret = self.vault.get(&owner, CLIENT_SECRET).await?;
        let (Some(client_id), Some(_)) = (client_id, client_secret) else {
            return Ok(Report::new(title, Tone::Warn, "no client is known for this host").hint(
                format!("register one with `/pangeo checkin sheet host:{host}`, then give it with `/pangeo checkin set-client host:{host}`"),
            ));
        };
        let issuer = self.services.issuer(instance);
        let redirect = callback_url(host);
        let report = match self
            .services
            .checkin
            .check_client(issuer, client_id.expose_secret(), &redirect)
            .await
        {
            Err(error) => Report::new(title, Tone::Bad, format!("{error}"))
                .hint("see whether Check-in answers, then try again"),
            Ok(ClientCheck::Known) => {
                Report::new(title, Tone::Good, "Check-in knows the client and its redirect URI")
            }
            Ok(ClientCheck::UnknownClient) => {
                Report::new(title, Tone::Bad, "Check-in does not know this client").hint(
                    "wait until the registration is deployed, or give the right client id; mind the instance",
                )
            }
            Ok(ClientCheck::RedirectRefused) => Report::new(
                title,
                Tone::Bad,
                format!("Check-in knows the client, but not with the redirect URI `{redirect}`"),
            )
            .hint("correct the redirect URI in the Federation Registry"),
            Ok(ClientCheck::Unclear(said)) => {
                Report::new(title, Tone::Warn, format!("Check-in's answer is not clear: {said}"))
            }
        };
        Ok(report
            .field("Instance", instance.as_str())
            .field("Issuer", issuer.as_str()))
    }
}
