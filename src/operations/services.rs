//! Everything outside that a step may touch, in one value.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use url::Url;

use super::error::StepError;
use crate::domain::cluster::Cluster;
use crate::domain::deploy::{Auth, CheckinInstance, DeployOptions};
use crate::domain::ids::ClusterId;
use crate::services::attachments::AttachmentsClient;
use crate::services::checkin::CheckinClient;
use crate::services::dns::DnsClient;
use crate::services::ec3::Ec3Error;
use crate::services::frontend::{Frontend, FrontendAccess, FrontendClient, FrontendError, HostKey};
use crate::services::helm::HelmSettings;
use crate::services::hub::{HubClient, HubTarget};
use crate::services::im::{ImClient, TokenCell};
use crate::services::registry::RegistryClient;
use crate::services::templates::TemplatesClient;
use crate::store::secrets::SecretOwner;
use crate::store::vault::{PRIVATE_KEY, Vault};

/// How many connections to front ends are kept open for the next look: one for each of 200 clusters
/// that a replica watches, and some.
const CONNECTIONS_KEPT: usize = 256;

/// What the configuration says, as far as steps need it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a replica owns an operation without a sign of life.
    pub lease: Duration,
    /// The pause between two looks at an outside system.
    pub poll: Duration,
    /// How long IM may take until it lists a new infrastructure.
    pub listed_within: Duration,
    /// SSH port of front ends.
    pub ssh_port: u16,
    /// The user if IM does not tell one.
    pub ssh_user: String,
    /// Scheme of hubs.
    pub hub_scheme: String,
    /// Port of hubs.
    pub hub_port: u16,
    /// The longest time that helm may take.
    pub helm_limit: Duration,
    /// Which chart and release.
    pub helm: HelmSettings,
    /// The Virtual Organisation, `vo.pangeo.eu`.
    pub vo: String,
    /// Issuer of each Check-in instance.
    pub issuers: Issuers,
    /// The access token that the bot shows to IM; empty if it logs in with a password.
    pub token: TokenCell,
    /// The clouds that IM may use for us; the first is used where none is named.
    pub clouds: Vec<Cloud>,
    /// How renewals of front ends' tokens are watched.
    pub renewals: RenewalSettings,
}

/// How renewals of front ends' tokens are watched.
#[derive(Clone, Debug)]
pub struct RenewalSettings {
    /// The bot's own client at Check-in, if it has one.
    pub client_id: Option<String>,
    /// How long cron may take to make a new refresh token.
    pub refresh_wait: Duration,
    /// How long the log of CLUES must be quiet.
    pub quiet: Duration,
}

/// A cloud that IM may use for us, without its secret.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// Our name of it.
    pub name: String,
    /// The image of VMs where none is named, such as `ost://site/ubuntu-jammy`.
    pub image: Option<String>,
}

impl Settings {
    /// The cloud of this name; the first where none is named.
    pub fn credential_named(&self, name: Option<&str>) -> Option<&Cloud> {
        match name {
            Some(name) => self.clouds.iter().find(|cloud| cloud.name == name),
            None => self.clouds.first(),
        }
    }

    /// Whether there is such a cloud.
    pub fn knows_credential(&self, name: Option<&str>) -> bool {
        self.credential_named(name).is_some()
    }

    /// The name of the cloud that a deployment uses.
    pub fn credential_for(&self, options: &DeployOptions) -> Option<String> {
        self.credential_named(options.credential.as_deref())
            .map(|cloud| cloud.name.clone())
    }

    /// The names of all clouds.
    pub fn credential_names(&self) -> Vec<String> {
        self.clouds.iter().map(|cloud| cloud.name.clone()).collect()
    }

    /// What the VMs of a deployment start from.
    pub fn image_for(&self, options: &DeployOptions) -> Option<String> {
        options.site_image.clone().or_else(|| {
            self.credential_named(options.credential.as_deref())
                .and_then(|cloud| cloud.image.clone())
        })
    }
}

/// The issuers of EGI Check-in.
#[derive(Clone, Debug)]
pub struct Issuers {
    /// Of the production instance.
    pub production: Url,
    /// Of the demonstration instance.
    pub demo: Url,
    /// Of the development instance.
    pub development: Url,
}

impl Issuers {
    /// The issuer of an instance.
    pub fn of(&self, instance: CheckinInstance) -> &Url {
        match instance {
            CheckinInstance::Production => &self.production,
            CheckinInstance::Demo => &self.demo,
            CheckinInstance::Development => &self.development,
        }
    }

    /// The issuer that a login needs; the production one where none is needed.
    pub fn for_login(&self, auth: Auth) -> &Url {
        match auth {
            Auth::CheckIn(instance) => self.of(instance),
            Auth::Native => &self.production,
        }
    }
}

/// The outside systems.
#[derive(Debug)]
pub struct Services {
    /// Infrastructure Manager.
    pub im: ImClient,
    /// Dynamic DNS and the resolver.
    pub dns: DnsClient,
    /// OIDC issuers.
    pub checkin: CheckinClient,
    /// Front ends over SSH.
    pub frontends: FrontendClient,
    /// Hubs over https.
    pub hubs: HubClient,
    /// Where the TOSCA templates come from.
    pub templates: TemplatesClient,
    /// Files that people attach.
    pub attachments: AttachmentsClient,
    /// Registries of container images.
    pub registries: RegistryClient,
    /// What the configuration says.
    pub settings: Settings,
    connections: Mutex<HashMap<ClusterId, Arc<Frontend>>>,
}

/// The clients that [`Services`] is made of.
#[derive(Debug)]
pub struct Clients {
    /// Infrastructure Manager.
    pub im: ImClient,
    /// Dynamic DNS and the resolver.
    pub dns: DnsClient,
    /// OIDC issuers.
    pub checkin: CheckinClient,
    /// Front ends over SSH.
    pub frontends: FrontendClient,
    /// Hubs over https.
    pub hubs: HubClient,
    /// Where the TOSCA templates come from.
    pub templates: TemplatesClient,
    /// Files that people attach.
    pub attachments: AttachmentsClient,
    /// Registries of container images.
    pub registries: RegistryClient,
}

impl Services {
    /// Over its clients.
    pub fn new(clients: Clients, settings: Settings) -> Self {
        let Clients {
            im,
            dns,
            checkin,
            frontends,
            hubs,
            templates,
            attachments,
            registries,
        } = clients;
        let connections = Mutex::default();
        Self {
            im,
            dns,
            checkin,
            frontends,
            hubs,
            templates,
            attachments,
            registries,
            settings,
            connections,
        }
    }

    /// A connection to the front end of a cluster, an open one if there is one that answers.
    ///
    /// # Errors
    /// Transient ones are tried again; a changed host key or a refused key asks a person.
    pub async fn frontend(
        &self,
        cluster: &Cluster,
        vault: &Vault,
    ) -> Result<Arc<Frontend>, StepError> {
        let open = self.connections.lock().await.get(&cluster.id).cloned();
        if let Some(open) = open {
            if open.is_alive().await {
                return Ok(open);
            }
            self.connections.lock().await.remove(&cluster.id);
        }
        let access = self.access(cluster, vault).await?;
        let opened = self.frontends.connect(&access).await.map_err(of_frontend)?;
        let opened = Arc::new(opened);
        let mut connections = self.connections.lock().await;
        if connections.len() >= CONNECTIONS_KEPT {
            connections.clear();
        }
        connections.insert(cluster.id, opened.clone());
        Ok(opened)
    }

    /// Closes the connection to a cluster that is going away.
    pub async fn forget_connection(&self, cluster: ClusterId) {
        self.connections.lock().await.remove(&cluster);
    }

    /// Where the hub of a cluster is expected.
    pub fn hub_target(&self, cluster: &Cluster, address: IpAddr) -> HubTarget {
        HubTarget {
            scheme: self.settings.hub_scheme.clone(),
            host: cluster.host.clone(),
            port: self.settings.hub_port,
            address,
        }
    }

    /// The issuer of a Check-in instance.
    pub fn issuer(&self, instance: CheckinInstance) -> &Url {
        self.settings.issuers.of(instance)
    }

    /// The user of the front end of a cluster.
    pub fn user_of(&self, cluster: &Cluster) -> String {
        let own = cluster.ssh_user.clone();
        own.unwrap_or_else(|| self.settings.ssh_user.clone())
    }

    async fn access(&self, cluster: &Cluster, vault: &Vault) -> Result<FrontendAccess, StepError> {
        let missing = |what: &str| {
            StepError::needs_human(
                format!("the {what} of the front end is not known"),
                "retry after `keep-access` has run",
            )
        };
        let address = address_of(cluster)?;
        let owner = SecretOwner::Cluster(cluster.id);
        let private_key = vault
            .get(&owner, PRIVATE_KEY)
            .await?
            .ok_or_else(|| missing("key"))?;
        let host_key = cluster
            .host_key
            .as_deref()
            .ok_or_else(|| missing("host key"))?;
        let host_key = HostKey::parse(host_key).map_err(|_error| missing("host key"))?;
        let user = self.user_of(cluster);
        Ok(FrontendAccess {
            address,
            port: self.settings.ssh_port,
            user,
            private_key,
            host_key,
        })
    }
}

/// The public address of a cluster's front end.
///
/// # Errors
/// When it is not known yet.
pub fn address_of(cluster: &Cluster) -> Result<IpAddr, StepError> {
    cluster
        .address
        .as_deref()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            StepError::needs_human(
                "the address of the front end is not known",
                "retry after `keep-access` has run",
            )
        })
}

/// An error of the front end as a step's.
pub fn of_frontend(error: FrontendError) -> StepError {
    let (transient, hint) = (error.is_transient(), error.hint());
    StepError::of_service(transient, "the front end could not be used", hint, error)
}

/// An error of the token files as a step's.
pub fn of_ec3(error: Ec3Error) -> StepError {
    let (transient, hint) = (error.is_transient(), error.hint());
    let doing = "the front end's token files could not be used";
    StepError::of_service(transient, doing, hint, error)
}
