//! Infrastructure Manager (IM), by its REST API.
//!
//! One [`ImClient`] per IM server. Every call is one try with a time limit; repeating is for the
//! caller, who knows whether a repeat is harmless ([`ImError::is_transient`],
//! [`ImError::outcome_unknown`]).
//!
//! **Invariant:** the header, templates, outputs and keys are secrets: they reach no log, no
//! `Debug` and no error.
//! **Invariant:** `/infrastructures/<id>/data` is never asked for, since it holds the owner's
//! password.
//!
//! Adoption: IM cannot make a create idempotent. So every template that we send has
//! `metadata.infra_name`, and a create whose answer was lost is looked up by
//! [`ImClient::find_by_name`] before it is repeated.
//!
//! Facts about the API were read in the source of IM 2.0.0 (package `im` of `PyPI`, `IM/rest/routers`)
//! and seen by running it; `tests/contract_im.rs` keeps them true.

mod answers;
mod credentials;
mod error;
mod read;
mod transport;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

pub use answers::{
    CloudEstimate, ContMsg, Estimate, Image, InfrastructureState, Outputs, Quota, Quotas, Template,
    Totals, VmAddress, VmEstimate, VmInfo, VmState, VolumeEstimate,
};
pub use credentials::{
    CloudCredential, CredentialError, ImCredentials, ImLogin, OpenStackLogin, TokenCell,
};
pub use error::ImError;

use read::{id_from_uri, name_in_radl, vm_numbers};

use crate::domain::metrics::{Calls, Metrics};
use crate::domain::names::InfrastructureId;

/// The time limit of a call, unless the configuration says otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How many times longer a call may take in which IM itself asks a cloud or fetches imports of a
/// template.
const SLOW_CALLS: u32 = 4;

/// How many infrastructures are looked at together in [`ImClient::find_by_name`].
const LOOKUPS_AT_ONCE: usize = 8;

/// A client of one IM server with one set of credentials.
#[derive(Clone, Debug)]
pub struct ImClient {
    http: reqwest::Client,
    base: Url,
    credentials: ImCredentials,
    timeout: Duration,
    calls: Calls,
}

/// Whether to configure the machines after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contextualize {
    /// Configure at once.
    Now,
    /// Leave them as they are (`context=0`).
    Skip,
}

/// Whether a delete goes on when the cloud refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// Stop when the cloud refuses, so that nothing is left behind unseen.
    Careful,
    /// Forget the infrastructure in any case (`force=1`).
    Force,
}

/// What to do with a machine or with all machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Start a stopped one.
    Start,
    /// Stop (suspend).
    Stop,
    /// Reboot; only for one VM.
    Reboot,
}

impl Power {
    fn path(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reboot => "reboot",
        }
    }
}

impl ImClient {
    /// A client. `http` comes from [`http::client`](super::http::client), `base` is the URL above
    /// `/infrastructures`, such as `https://im.egi.eu/im`.
    pub fn new(http: reqwest::Client, base: Url, credentials: ImCredentials) -> Self {
        Self {
            http,
            base,
            credentials,
            timeout: CALL_TIMEOUT,
            calls: Calls::to("im"),
        }
    }

    /// Waits this long for an answer, and four times as long where IM has to ask others.
    #[must_use]
    pub fn waiting(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The time limit of calls in which IM asks others.
    fn slow(&self) -> Duration {
        self.timeout.saturating_mul(SLOW_CALLS)
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.calls = self.calls.counted_by(metrics);
        self
    }

    /// The `Authorization` header as it is now. **Secret**: it goes into the template of an elastic
    /// cluster, whose CLUES asks IM for nodes with it.
    ///
    /// # Errors
    /// [`CredentialError`] names the field that can't be written.
    pub fn authorization(&self) -> Result<SecretString, CredentialError> {
        self.credentials.header()
    }

    /// How this client logs in to IM.
    pub fn login(&self) -> &ImLogin {
        &self.credentials.login
    }

    /// The same server and login with other clouds.
    #[must_use]
    pub fn with_clouds(&self, clouds: Vec<CloudCredential>) -> Self {
        let mut client = self.clone();
        client.credentials.clouds = clouds;
        client
    }

    /// The same server, asked by the holder of this access token, who has no clouds.
    #[must_use]
    pub fn asked_by(&self, token: SecretString) -> Self {
        let mut client = self.with_clouds(Vec::new());
        client.credentials.login = ImLogin::Token(TokenCell::new(token));
        client
    }

    /// The version of the server. Needs no credentials.
    ///
    /// # Errors
    /// [`ImError`]; never about credentials.
    pub async fn version(&self) -> Result<String, ImError> {
        const CALL: &str = "GET version";
        let request = self.http.get(self.url(&["version"])?);
        let text = self.text(CALL, request).await?;
        let text = text.trim();
        if text.is_empty() || text.len() > 40 || text.contains(['<', '\n']) {
            return Err(not_understood(CALL, "not a version"));
        }
        Ok(text.to_owned())
    }

    /// Creates an infrastructure and returns at once; follow it with [`ImClient::state`].
    ///
    /// # Errors
    /// [`ImError::Refused`] for a bad template. After an error with
    /// [`ImError::outcome_unknown`], look with [`ImClient::find_by_name`] before repeating.
    pub async fn create(&self, template: &Template) -> Result<InfrastructureId, ImError> {
        const CALL: &str = "POST infrastructures";
        let request = self
            .call(Method::POST, &["infrastructures"])?
            .query(&[("async", "1")])
            .header("content-type", template.content_type())
            .timeout(self.slow())
            .body(template.text().to_owned());
        id_from_uri(CALL, self.text(CALL, request).await?.trim())
    }

    /// What the template would take of each cloud; creates nothing.
    ///
    /// # Errors
    /// As [`ImClient::create`].
    pub async fn estimate(&self, template: &Template) -> Result<Estimate, ImError> {
        const CALL: &str = "POST infrastructures?dry_run";
        let request = self
            .call(Method::POST, &["infrastructures"])?
            .query(&[("dry_run", "1")])
            .header("content-type", template.content_type())
            .timeout(self.slow())
            .body(template.text().to_owned());
        self.json(CALL, request).await
    }

    /// The infrastructures of the login.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn list(&self) -> Result<Vec<InfrastructureId>, ImError> {
        const CALL: &str = "GET infrastructures";
        let request = self.call(Method::GET, &["infrastructures"])?;
        self.text(CALL, request)
            .await?
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| id_from_uri(CALL, line))
            .collect()
    }

    /// The infrastructures whose template has this `metadata.infra_name`: none, one, or several if
    /// someone used the name twice.
    ///
    /// IM 2.0.0 has no filter, so that each infrastructure's template is looked at. One that IM is
    /// still taking in (its create has not answered yet) may be missed.
    ///
    /// # Errors
    /// [`ImError`]; infrastructures that vanish meanwhile are none.
    pub async fn find_by_name(&self, name: &str) -> Result<Vec<InfrastructureId>, ImError> {
        let ids = self.list().await?;
        let names: Vec<(InfrastructureId, Option<String>)> = futures::stream::iter(ids)
            .map(|id| async move {
                match self.infra_name(&id).await {
                    Ok(name) => Ok((id, name)),
                    Err(ImError::NotFound { .. } | ImError::NotOurs { .. }) => Ok((id, None)),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(names
            .into_iter()
            .filter(|(_, found)| found.as_deref() == Some(name))
            .map(|(id, _)| id)
            .collect())
    }

    /// The `metadata.infra_name` of an infrastructure, or the `name` of its RADL description.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn infra_name(&self, id: &InfrastructureId) -> Result<Option<String>, ImError> {
        if let Some(template) = self.tosca(id).await? {
            let name = serde_saphyr::from_str::<Value>(template.expose_secret())
                .ok()
                .and_then(|tosca| {
                    Some(tosca.pointer("/metadata/infra_name")?.as_str()?.to_owned())
                });
            if name.is_some() {
                return Ok(name);
            }
        }
        const CALL: &str = "GET radl";
        let request = self.call(Method::GET, &["infrastructures", id.as_str(), "radl"])?;
        let radl = self.text(CALL, request).await?;
        Ok(name_in_radl(&radl))
    }

    /// The state of an infrastructure and of its VMs.
    ///
    /// # Errors
    /// [`ImError::NotFound`] after it was deleted.
    pub async fn state(&self, id: &InfrastructureId) -> Result<InfrastructureState, ImError> {
        const CALL: &str = "GET state";
        let request = self.call(Method::GET, &["infrastructures", id.as_str(), "state"])?;
        self.field(CALL, request, "state").await
    }

    /// The contextualisation log from byte `from` on, at most its last 256 KiB.
    ///
    /// IM has no ranges: it sends the whole log each time, so that this is asked for every few
    /// seconds at most. A reconfigure begins the log anew; a log shorter than `from` is returned
    /// from its beginning.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn contmsg(&self, id: &InfrastructureId, from: u64) -> Result<ContMsg, ImError> {
        const CALL: &str = "GET contmsg";
        let request = self.call(Method::GET, &["infrastructures", id.as_str(), "contmsg"])?;
        self.log(CALL, request, from).await
    }

    /// The contextualisation log of one VM, as [`ImClient::contmsg`].
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn vm_contmsg(
        &self,
        id: &InfrastructureId,
        vm: u32,
        from: u64,
    ) -> Result<ContMsg, ImError> {
        const CALL: &str = "GET vm contmsg";
        let vm = vm.to_string();
        let path = ["infrastructures", id.as_str(), "vms", &vm, "contmsg"];
        self.log(CALL, self.call(Method::GET, &path)?, from).await
    }

    /// The outputs of the template; none if it was RADL.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn outputs(&self, id: &InfrastructureId) -> Result<Outputs, ImError> {
        const CALL: &str = "GET outputs";
        let request = self.call(Method::GET, &["infrastructures", id.as_str(), "outputs"])?;
        let outputs = self.field(CALL, request, "outputs").await;
        Ok(Outputs(if_provided(outputs)?.unwrap_or_default()))
    }

    /// The stored TOSCA template; `None` if it was RADL.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn tosca(&self, id: &InfrastructureId) -> Result<Option<SecretString>, ImError> {
        const CALL: &str = "GET tosca";
        let request = self.call(Method::GET, &["infrastructures", id.as_str(), "tosca"])?;
        let text = self.text(CALL, request).await;
        Ok(if_provided(text)?.map(SecretString::from))
    }

    /// The numbers of the VMs, in order.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn vms(&self, id: &InfrastructureId) -> Result<Vec<u32>, ImError> {
        const CALL: &str = "GET infrastructure";
        let request = self.call(Method::GET, &["infrastructures", id.as_str()])?;
        vm_numbers(CALL, &self.text(CALL, request).await?)
    }

    /// What IM knows of one VM; VM 0 is the front end.
    ///
    /// # Errors
    /// [`ImError::NotFound`] if there is no such VM.
    pub async fn vm(&self, id: &InfrastructureId, vm: u32) -> Result<VmInfo, ImError> {
        const CALL: &str = "GET vm";
        let vm = vm.to_string();
        let request = self
            .call(Method::GET, &["infrastructures", id.as_str(), "vms", &vm])?
            .header("accept", "application/json");
        let radl: Value = self.field(CALL, request, "radl").await?;
        VmInfo::from_radl(&radl).ok_or_else(|| not_understood(CALL, "it has no system"))
    }

    /// Merges a template into an infrastructure: adds and *removes* VMs so that the numbers fit,
    /// and reconfigures. Returns the numbers of the VMs added.
    ///
    /// # Errors
    /// As [`ImClient::create`].
    pub async fn update(
        &self,
        id: &InfrastructureId,
        template: &Template,
        contextualize: Contextualize,
    ) -> Result<Vec<u32>, ImError> {
        const CALL: &str = "POST infrastructure";
        let mut request = self
            .call(Method::POST, &["infrastructures", id.as_str()])?
            .header("content-type", template.content_type())
            .timeout(self.slow())
            .body(template.text().to_owned());
        if contextualize == Contextualize::Skip {
            request = request.query(&[("context", "0")]);
        }
        vm_numbers(CALL, &self.text(CALL, request).await?)
    }

    /// Configures all VMs again.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn reconfigure(&self, id: &InfrastructureId) -> Result<(), ImError> {
        let path = ["infrastructures", id.as_str(), "reconfigure"];
        self.done("PUT reconfigure", self.call(Method::PUT, &path)?)
            .await
    }

    /// Deletes an infrastructure and returns at once: it is gone when [`ImClient::state`] says
    /// [`ImError::NotFound`]. IM accepts it even if the cloud then refuses, and may lose it when
    /// someone asks for the state meanwhile: repeat it while the state is not `deleting`.
    ///
    /// # Errors
    /// [`ImError::NotFound`] if it is already gone, [`ImError::Conflict`] during its launch.
    pub async fn delete(&self, id: &InfrastructureId, mode: DeleteMode) -> Result<(), ImError> {
        let mut request = self
            .call(Method::DELETE, &["infrastructures", id.as_str()])?
            .query(&[("async", "1")]);
        if mode == DeleteMode::Force {
            request = request.query(&[("force", "1")]);
        }
        self.done("DELETE infrastructure", request).await
    }

    /// Removes VMs; the cluster is configured again.
    ///
    /// # Errors
    /// [`ImError::NotFound`] if one of them is not there.
    pub async fn delete_vms(&self, id: &InfrastructureId, vms: &[u32]) -> Result<(), ImError> {
        let list: Vec<String> = vms.iter().map(u32::to_string).collect();
        let list = list.join(",");
        let path = ["infrastructures", id.as_str(), "vms", &list];
        let request = self.call(Method::DELETE, &path)?.timeout(self.slow());
        self.done("DELETE vm", request).await
    }

    /// Starts, stops or reboots one VM.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn power_vm(
        &self,
        id: &InfrastructureId,
        vm: u32,
        power: Power,
    ) -> Result<(), ImError> {
        let vm = vm.to_string();
        let path = ["infrastructures", id.as_str(), "vms", &vm, power.path()];
        let request = self.call(Method::PUT, &path)?.timeout(self.slow());
        self.done("PUT vm power", request).await
    }

    /// Starts or stops all VMs; IM knows no reboot of all.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn power_all(&self, id: &InfrastructureId, power: Power) -> Result<(), ImError> {
        let path = ["infrastructures", id.as_str(), power.path()];
        let request = self.call(Method::PUT, &path)?.timeout(self.slow());
        self.done("PUT power", request).await
    }

    /// The owners of an infrastructure, as IM names them.
    ///
    /// # Errors
    /// [`ImError`].
    pub async fn owners(&self, id: &InfrastructureId) -> Result<Vec<String>, ImError> {
        let path = ["infrastructures", id.as_str(), "authorization"];
        let request = self.call(Method::GET, &path)?;
        let text = self.text("GET authorization", request).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Lets the holder of this login use the infrastructure too; nothing changes if they may
    /// already.
    ///
    /// # Errors
    /// [`ImError::TokenRefused`] if one of the two tokens is refused.
    pub async fn add_owner(&self, id: &InfrastructureId, new: &ImLogin) -> Result<(), ImError> {
        self.change_owners(id, new, "0").await
    }

    /// Lets the holder of this login alone use the infrastructure: everybody else loses it. IM can
    /// take nobody away without taking all others away as well (`change_auth` of
    /// IM/InfrastructureInfo.py).
    ///
    /// # Errors
    /// As [`ImClient::add_owner`].
    pub async fn replace_owners(
        &self,
        id: &InfrastructureId,
        only: &ImLogin,
    ) -> Result<(), ImError> {
        self.change_owners(id, only, "1").await
    }

    async fn change_owners(
        &self,
        id: &InfrastructureId,
        login: &ImLogin,
        overwrite: &str,
    ) -> Result<(), ImError> {
        let body = match login {
            ImLogin::Token(cell) => {
                let token = cell.get().ok_or(CredentialError::NoToken)?;
                serde_json::json!({ "token": token.expose_secret() })
            }
            ImLogin::Password { username, password } => {
                serde_json::json!({ "username": username, "password": password.expose_secret() })
            }
        };
        let path = ["infrastructures", id.as_str(), "authorization"];
        let request = self
            .call(Method::POST, &path)?
            .query(&[("overwrite", overwrite)])
            .json(&body);
        self.done("POST authorization", request).await
    }

    /// The quotas at the site of a cloud credential.
    ///
    /// # Errors
    /// [`ImError::Refused`] if the site can't tell.
    pub async fn quotas(&self, credential: &str) -> Result<Quotas, ImError> {
        let path = ["clouds", credential, "quotas"];
        let request = self.call(Method::GET, &path)?.timeout(self.slow());
        self.field("GET quotas", request, "quotas").await
    }

    /// The images at the site of a cloud credential.
    ///
    /// # Errors
    /// [`ImError::Refused`] if the site can't tell.
    pub async fn images(&self, credential: &str) -> Result<Vec<Image>, ImError> {
        let path = ["clouds", credential, "images"];
        let request = self.call(Method::GET, &path)?.timeout(self.slow());
        self.field("GET images", request, "images").await
    }
}

/// `None` for IM's 403 `'…' infrastructure property is not valid in this infrastructure`.
fn if_provided<T>(answer: Result<T, ImError>) -> Result<Option<T>, ImError> {
    match answer {
        Err(ImError::Refused { status, text, .. })
            if status == StatusCode::FORBIDDEN.as_u16()
                && text.contains("property is not valid") =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

fn not_understood(call: &'static str, what: &str) -> ImError {
    ImError::NotUnderstood {
        call,
        what: what.to_owned(),
    }
}
