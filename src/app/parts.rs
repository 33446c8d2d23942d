//! From the configuration to the parts of a running bot.

use std::sync::Arc;

use anyhow::Context;
use secrecy::ExposeSecret;

use crate::commands::Catalogue;
use crate::config::{self, CloudKind, Config, HubScheme, SecretSource};
use crate::domain::clock::Clock;
use crate::domain::metrics::Metrics;
use crate::domain::redact::Redactor;
use crate::domain::seal::KeyRing;
use crate::operations::services::{Clients, Cloud, Issuers, RenewalSettings};
use crate::operations::{Services, Settings, start};
use crate::services::attachments::AttachmentsClient;
use crate::services::checkin::CheckinClient;
use crate::services::dns::{DnsClient, NameServer};
use crate::services::frontend::FrontendClient;
use crate::services::helm::HelmSettings;
use crate::services::http;
use crate::services::hub::HubClient;
use crate::services::im::{
    CloudCredential, ImClient, ImCredentials, ImLogin, OpenStackLogin, TokenCell,
};
use crate::services::registry::RegistryClient;
use crate::services::templates::TemplatesClient;
use crate::store::Store;
use crate::store::vault::Vault;

/// A secret outside that may change while the bot runs, and the cell that the clients read.
pub struct WatchedToken {
    /// Where it comes from.
    pub source: SecretSource,
    /// Where it goes.
    pub cell: TokenCell,
}

/// What `serve` and the administration share.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The command files.
    pub catalogue: Arc<Catalogue>,
    /// The sealing keys.
    pub keys: Arc<KeyRing>,
    /// What must never be shown.
    pub redactor: Redactor,
    /// The rows.
    pub store: Store,
    /// The secrets.
    pub vault: Vault,
}

/// Learns every secret of the configuration, so that no log line shows one.
pub fn learn_secrets(config: &Config, redactor: &Redactor) {
    let discord = config.discord.token.iter();
    let passwords = discord
        .chain(config.im.password.iter())
        .chain(config.web.link_key.iter())
        .chain(config.watch.ping_url.iter());
    for secret in passwords.chain(config.database.url.iter()) {
        redactor.learn(secret);
    }
    for key in config
        .sealing
        .keys
        .iter()
        .filter_map(|key| key.key.as_ref())
    {
        redactor.learn(key);
    }
    let clouds = config
        .im
        .credentials
        .iter()
        .filter_map(|cloud| cloud.secret.as_ref());
    for source in clouds.chain(config.im.token.iter()) {
        if let Ok(secret) = source.read() {
            redactor.learn(&secret);
        }
    }
}

/// The sealing keys of the configuration.
///
/// # Errors
/// When there is none or one does not parse.
pub fn key_ring(config: &Config) -> anyhow::Result<KeyRing> {
    let current = config
        .sealing
        .current_key()
        .context("configure a sealing key")?;
    let keys = config
        .sealing
        .keys
        .iter()
        .filter_map(|key| key.key.clone().map(|secret| (key.id.clone(), secret)));
    KeyRing::new(&current.id, keys).context("read the sealing keys")
}

impl Parts {
    /// Opens the database and the keys.
    ///
    /// # Errors
    /// When the configuration lacks something or the database does not answer.
    pub async fn open(
        config: Arc<Config>,
        clock: Clock,
        redactor: Redactor,
    ) -> anyhow::Result<Self> {
        learn_secrets(&config, &redactor);
        let catalogue = Catalogue::load(config.commands.dir.as_deref(), &start::known_steps())
            .context("read the command files")?;
        let keys = Arc::new(key_ring(&config)?);
        let url = config.database_url()?.expose_secret();
        let options = url.parse().context("parse the database's URL")?;
        let store = Store::connect(options, config.database.max_connections, clock)
            .await
            .context("open the database")?;
        let vault = Vault::new(store.clone(), keys.clone(), redactor.clone());
        Ok(Self {
            config,
            catalogue: Arc::new(catalogue),
            keys,
            redactor,
            store,
            vault,
        })
    }
}

/// The clients of the outside systems, counted by `metrics`, and the tokens that have to be kept
/// fresh.
///
/// # Errors
/// When a file of the configuration can't be read or does not parse.
pub fn services(
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<(Services, Vec<WatchedToken>)> {
    let roots = config
        .hub
        .extra_roots_file
        .as_ref()
        .map(|path| std::fs::read(path).with_context(|| format!("read {}", path.display())))
        .transpose()?;
    let client = || http::client(roots.as_deref()).context("make an HTTP client");
    let mut watched = Vec::new();
    let (login, token) = im_login(config, &mut watched)?;
    let clouds = config
        .im
        .credentials
        .iter()
        .map(|cloud| cloud_credential(cloud, config, &mut watched))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let name_server = config
        .dns
        .resolver
        .map_or(NameServer::System, NameServer::At);
    let registries = config.images.by_name();
    let registries = registries
        .map_err(|entry| anyhow::anyhow!("images.registries: `{entry}` is no registry"))?;
    let clients = Clients {
        im: ImClient::new(
            client()?,
            config.im.url.clone(),
            ImCredentials { login, clouds },
        )
        .waiting(config.im.timeout)
        .counted_by(metrics),
        dns: DnsClient::new(client()?, config.dns.url.clone(), name_server)?.counted_by(metrics),
        checkin: CheckinClient::new(client()?).counted_by(metrics),
        frontends: FrontendClient::new(&config.frontend.work_dir)?.counted_by(metrics),
        hubs: HubClient::new(roots.as_deref())?.counted_by(metrics),
        templates: TemplatesClient::new(client()?, &config.templates.source)?.counted_by(metrics),
        attachments: AttachmentsClient::new(client()?, &config.discord.api_base)
            .counted_by(metrics),
        registries: RegistryClient::new(client()?, registries).counted_by(metrics),
    };
    let settings = settings(config, token);
    Ok((Services::new(clients, settings), watched))
}

fn settings(config: &Config, token: TokenCell) -> Settings {
    let issuers = &config.checkin.issuers;
    Settings {
        lease: config.operations.lease,
        poll: config.operations.poll,
        listed_within: config.im.listed_within,
        ssh_port: config.frontend.ssh_port,
        ssh_user: config.frontend.user.clone(),
        hub_scheme: match config.hub.scheme {
            HubScheme::Https => "https",
            HubScheme::Http => "http",
        }
        .to_owned(),
        hub_port: config.hub.port,
        helm_limit: config.helm.timeout,
        helm: HelmSettings {
            repository: config.helm.repository.to_string(),
            chart: config.helm.chart.clone(),
            ..HelmSettings::default()
        },
        vo: config.vo.name.clone(),
        issuers: Issuers {
            production: issuers.production.clone(),
            demo: issuers.demo.clone(),
            development: issuers.development.clone(),
        },
        token,
        clouds: clouds(&config.im),
        renewals: RenewalSettings {
            client_id: config.checkin.client_id.clone(),
            refresh_wait: config.token.refresh_wait,
            quiet: config.token.quiet,
        },
    }
}

/// The clouds by name, the default one first.
fn clouds(im: &config::Im) -> Vec<Cloud> {
    let mut clouds: Vec<Cloud> = im
        .credentials
        .iter()
        .map(|cloud| Cloud {
            name: cloud.name.clone(),
            image: cloud.image.clone(),
        })
        .collect();
    let default = im.default_credential.as_deref();
    clouds.sort_by_key(|cloud| Some(cloud.name.as_str()) != default);
    clouds
}

fn watch(source: &SecretSource, watched: &mut Vec<WatchedToken>) -> anyhow::Result<TokenCell> {
    let cell = TokenCell::new(source.read()?);
    watched.push(WatchedToken {
        source: source.clone(),
        cell: cell.clone(),
    });
    Ok(cell)
}

fn im_login(
    config: &Config,
    watched: &mut Vec<WatchedToken>,
) -> anyhow::Result<(ImLogin, TokenCell)> {
    if let Some(source) = &config.im.token {
        let cell = watch(source, watched).context("read IM's access token")?;
        return Ok((ImLogin::Token(cell.clone()), cell));
    }
    let (Some(username), Some(password)) = (&config.im.username, &config.im.password) else {
        anyhow::bail!("configure `im.token` or `im.username` with `im.password`");
    };
    let login = ImLogin::Password {
        username: username.clone(),
        password: password.clone(),
    };
    Ok((login, TokenCell::empty()))
}

fn cloud_credential(
    cloud: &config::CloudCredential,
    config: &Config,
    watched: &mut Vec<WatchedToken>,
) -> anyhow::Result<CloudCredential> {
    let id = cloud.name.clone();
    if cloud.kind == CloudKind::Dummy {
        return Ok(CloudCredential::Dummy { id });
    }
    let what = || format!("the cloud credential `{}`", cloud.name);
    let source = cloud.secret.as_ref().or(config.im.token.as_ref());
    let source = source.with_context(|| format!("{} has no token", what()))?;
    let token = watch(source, watched).with_context(|| format!("read the token of {}", what()))?;
    let host = cloud
        .host
        .clone()
        .with_context(|| format!("{} has no `host`", what()))?;
    let vo = cloud.vo.clone();
    let vo = vo.unwrap_or_else(|| config.vo.name.clone());
    Ok(match cloud.kind {
        CloudKind::Egi => CloudCredential::Egi {
            id,
            site: host,
            vo,
            token,
        },
        CloudKind::OpenStack | CloudKind::Dummy => CloudCredential::OpenStack {
            id,
            host,
            login: openstack_login(cloud),
            vo,
            token,
        },
    })
}

fn openstack_login(cloud: &config::CloudCredential) -> OpenStackLogin {
    let default = OpenStackLogin::default();
    OpenStackLogin {
        username: cloud.username.clone().unwrap_or(default.username),
        tenant: cloud.tenant.clone().unwrap_or(default.tenant),
        auth_version: cloud.auth_version.clone().unwrap_or(default.auth_version),
        domain: cloud.domain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn an_openstack_is_logged_in_to_as_its_configuration_says() {
        let text = "name = \"o\"\nkind = \"OpenStack\"\nusername = \"u\"\ndomain = \"d\"\n";
        let cloud: config::CloudCredential = toml::from_str(text).unwrap();
        let expected = OpenStackLogin {
            username: "u".to_owned(),
            domain: Some("d".to_owned()),
            ..OpenStackLogin::default()
        };
        assert_eq!(openstack_login(&cloud), expected);
    }

    #[test]
    fn a_cloud_without_a_token_of_its_own_uses_that_of_im() {
        let path = std::env::temp_dir().join(format!("clouds-{}.toml", uuid::Uuid::new_v4()));
        let clouds = "[[im.credentials]]\nname = \"a\"\nkind = \"EGI\"\nhost = \"A\"\n\
                      [[im.credentials]]\nname = \"b\"\nkind = \"EGI\"\nhost = \"B\"\n";
        std::fs::write(&path, clouds).unwrap();
        let load = |token: &str| {
            let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let mut variables = vec![variable("PANGEO_BOT_IM_CREDENTIAL_B", "its own")];
            if !token.is_empty() {
                variables.push(variable("PANGEO_BOT_IM_TOKEN", token));
            }
            Config::load(Some(&path), variables).unwrap()
        };
        let (with, without) = (load("that of IM"), load(""));
        std::fs::remove_file(&path).unwrap();

        let mut watched = Vec::new();
        for (cloud, expected) in with.im.credentials.iter().zip(["that of IM", "its own"]) {
            let found = cloud_credential(cloud, &with, &mut watched).unwrap();
            let CloudCredential::Egi { token, .. } = found else {
                panic!("{} is another kind", cloud.name);
            };
            assert_eq!(token.get().unwrap().expose_secret(), expected);
        }
        let problems = without.require_for_serve().unwrap_err().to_string();
        assert!(
            problems.contains("im.credentials.a: has no secret"),
            "{problems}"
        );
        assert!(!problems.contains("im.credentials.b"), "{problems}");
    }
}
