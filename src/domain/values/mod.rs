//! The values of the DaskHub chart, as types.
//!
//! [`DaskhubValues::howto`] gives the howto's two files with a person's options in them; rendering
//! it gives the same YAML document (comments and order aside).
//! The two Python sources inside, `dasklimits` and `optionHandler`, are made from typed fields and
//! read back by [`python`].
//!
//! **Invariant:** secrets are not part of [`DaskhubValues`]. They enter when it is rendered, and
//! only [`DaskhubValues::render`] shows them.

pub mod change;
pub mod host;
pub mod need;
pub mod python;
pub mod schema;
pub mod secrets;
pub mod text;

use std::time::Duration;

use chacha20poly1305::aead::Generate;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use self::python::{DaskLimits, WorkerOptions};
use crate::domain::{
    deploy::{Auth, DeployOptions, NotebookImage},
    names::HostName,
    size::Size,
    yaml::{self, YamlError},
};

/// How people log in, with what the hub needs to know for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    /// With EGI Check-in.
    CheckIn {
        /// The issuer, such as `https://aai.egi.eu/auth/realms/egi`.
        issuer: Url,
        /// The VO whose members may log in.
        vo: String,
    },
    /// With names and passwords of the hub's own.
    Native {
        /// Who administers the hub once signed up.
        admins: Vec<String>,
    },
}

/// What one notebook gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notebook {
    /// Cores that are kept for it.
    pub cpu_guarantee: u32,
    /// Cores that it may use.
    pub cpu_limit: u32,
    /// Memory that is kept for it.
    pub memory_guarantee: Size,
    /// Memory that it may use.
    pub memory_limit: Size,
    /// How long its start may take.
    pub start_timeout: Duration,
    /// The size of a home folder.
    pub storage: Size,
}

impl Notebook {
    /// What the howto gives a notebook, by kind of login.
    pub fn howto(auth: Auth) -> Self {
        let (cpu_guarantee, cpu_limit, memory_guarantee, memory_limit) = match auth {
            Auth::CheckIn(_) => (1, 2, 2, 4),
            Auth::Native => (2, 4, 4, 8),
        };
        Self {
            cpu_guarantee,
            cpu_limit,
            memory_guarantee: Size::gb(memory_guarantee),
            memory_limit: Size::gb(memory_limit),
            start_timeout: Duration::from_mins(10),
            storage: Size::gib(2),
        }
    }
}

/// Everything that stands in the values and is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaskhubValues {
    /// The hub's DNS name.
    pub host: HostName,
    /// How people log in.
    pub login: Login,
    /// The image of notebooks, and the default of Dask workers.
    pub image: NotebookImage,
    /// What one notebook gets.
    pub notebook: Notebook,
    /// What one Dask cluster may take; no limit when `None`.
    pub dask_limits: Option<DaskLimits>,
    /// What people may choose for Dask workers.
    pub worker_options: WorkerOptions,
}

/// The secrets of the values.
#[derive(Clone, Debug)]
pub struct ValuesSecrets {
    /// Shared by hub and Dask gateway: `token1` of the howto.
    pub gateway_token: SecretString,
    /// Shared by hub and proxy: `token2` of the howto.
    pub proxy_token: SecretString,
    /// The client id at Check-in; not used with native login.
    pub client_id: SecretString,
    /// The client secret at Check-in; not used with native login.
    pub client_secret: SecretString,
}

impl ValuesSecrets {
    fn all(text: impl Fn(&str) -> String) -> Self {
        let secret = |name: &str| SecretString::from(text(name));
        Self {
            gateway_token: secret("token1"),
            proxy_token: secret("token2"),
            client_id: secret("egi_oauth_client"),
            client_secret: secret("egi_oauth_secret"),
        }
    }

    /// The howto's placeholders.
    pub fn placeholders() -> Self {
        Self::all(str::to_owned)
    }
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes for a token")]
pub struct NoRandomness;

/// A token of 32 random bytes as 64 hexadecimal digits, as `openssl rand -hex 32` makes it.
///
/// # Errors
/// [`NoRandomness`]; the step may try again.
pub fn generate_token() -> Result<SecretString, NoRandomness> {
    let bytes = chacha20poly1305::Key::try_generate().map_err(|_error| NoRandomness)?;
    Ok(SecretString::from(hex::encode(bytes)))
}

impl DaskhubValues {
    /// The howto's values with a person's options in them.
    ///
    /// `issuer` is the issuer of the Check-in instance that `options` name, `vo` the VO.
    pub fn howto(options: &DeployOptions, issuer: &Url, vo: &str) -> Self {
        let (login, dask_limits) = match options.auth {
            Auth::CheckIn(_) => (
                Login::CheckIn {
                    issuer: issuer.clone(),
                    vo: vo.to_owned(),
                },
                Some(DaskLimits::howto()),
            ),
            Auth::Native => (
                Login::Native {
                    admins: vec!["admin".to_owned()],
                },
                None,
            ),
        };
        Self {
            host: options.host.clone(),
            login,
            image: options.image.clone(),
            notebook: Notebook::howto(options.auth),
            dask_limits,
            worker_options: WorkerOptions::howto(options.auth, &options.image),
        }
    }

    /// The values as they are given to helm: **with secrets**.
    ///
    /// # Errors
    /// [`YamlError`]; not expected.
    pub fn render(&self, secrets: &ValuesSecrets) -> Result<SecretString, YamlError> {
        yaml::write(&self.document(secrets)).map(SecretString::from)
    }

    /// The values for people: every secret is replaced by `secret`.
    ///
    /// # Errors
    /// [`YamlError`]; not expected.
    pub fn masked(&self) -> Result<String, YamlError> {
        let hidden = ValuesSecrets::all(|_name| "secret".to_owned());
        yaml::write(&self.document(&hidden))
    }

    /// The values with the howto's placeholders.
    ///
    /// # Errors
    /// [`YamlError`]; not expected.
    pub fn with_placeholders(&self) -> Result<String, YamlError> {
        yaml::write(&self.document(&ValuesSecrets::placeholders()))
    }

    /// The document as a tree: **with secrets**. For rendering and for validation by a schema.
    pub fn document(&self, secrets: &ValuesSecrets) -> Value {
        let gateway_token = secrets.gateway_token.expose_secret();
        let mut extra_config = serde_json::Map::new();
        if let Some(limits) = &self.dask_limits {
            extra_config.insert("dasklimits".to_owned(), limits.to_python().into());
        }
        extra_config.insert(
            "optionHandler".to_owned(),
            self.worker_options.to_python().into(),
        );
        json!({
            "dask-gateway": {
                "enabled": true,
                "gateway": {
                    "auth": {
                        "jupyterhub": { "apiToken": gateway_token },
                        "type": "jupyterhub",
                    },
                    "extraConfig": extra_config,
                },
            },
            "dask-kubernetes": { "enabled": false },
            "jupyterhub": {
                "hub": self.hub(secrets),
                "ingress": self.ingress(),
                "proxy": {
                    "secretToken": secrets.proxy_token.expose_secret(),
                    "service": { "type": "ClusterIP" },
                },
                "singleuser": self.singleuser(),
            },
            "rbac": { "enabled": true },
        })
    }

    fn hub(&self, secrets: &ValuesSecrets) -> Value {
        let services = json!({
            "dask-gateway": { "apiToken": secrets.gateway_token.expose_secret() },
        });
        match &self.login {
            Login::CheckIn { issuer, vo } => json!({
                "config": {
                    "GenericOAuthenticator": self.authenticator(issuer, vo, secrets),
                    "JupyterHub": { "authenticator_class": "generic-oauth" },
                },
                "services": services,
            }),
            Login::Native { admins } => json!({
                "config": {
                    "Authenticator": { "admin_users": admins },
                    "JupyterHub": {
                        "admin_access": true,
                        "authenticator_class": "nativeauthenticator.NativeAuthenticator",
                    },
                },
                "extraConfig": { "10-auth-config": python::NATIVE_LOGIN_TEMPLATES },
                "services": services,
            }),
        }
    }

    fn authenticator(&self, issuer: &Url, vo: &str, secrets: &ValuesSecrets) -> Value {
        let issuer = issuer.as_str().trim_end_matches('/');
        let endpoint = |name: &str| format!("{issuer}/protocol/openid-connect/{name}");
        json!({
            "client_id": secrets.client_id.expose_secret(),
            "client_secret": secrets.client_secret.expose_secret(),
            "oauth_callback_url": callback_url(&self.host),
            "authorize_url": endpoint("auth"),
            "token_url": endpoint("token"),
            "userdata_url": endpoint("userinfo"),
            "login_service": "EGI Check-In",
            "scope": ["openid", "email", "profile", "eduperson_entitlement"],
            "username_key": "preferred_username",
            "userdata_params": { "state": "state" },
            "allowed_groups": [member_entitlement(vo)],
            "claim_groups_key": "eduperson_entitlement",
        })
    }

    fn ingress(&self) -> Value {
        let host = self.host.as_str();
        json!({
            "annotations": {
                "kubernetes.io/ingress.class": "nginx",
                "cert-manager.io/cluster-issuer": "letsencrypt-prod",
            },
            "enabled": true,
            "hosts": [host],
            "tls": [{ "hosts": [host], "secretName": host }],
        })
    }

    fn singleuser(&self) -> Value {
        let notebook = &self.notebook;
        json!({
            "cpu": { "guarantee": notebook.cpu_guarantee, "limit": notebook.cpu_limit },
            "defaultUrl": "/lab",
            "extraEnv": { "DASK_GATEWAY__CLUSTER__OPTIONS__IMAGE": "{JUPYTER_IMAGE_SPEC}" },
            "image": { "name": self.image.name, "tag": self.image.tag },
            "memory": {
                "guarantee": notebook.memory_guarantee.quantity(),
                "limit": notebook.memory_limit.quantity(),
            },
            "startTimeout": notebook.start_timeout.as_secs(),
            "storage": { "capacity": notebook.storage.quantity(), "type": "dynamic" },
        })
    }
}

/// Where Check-in sends people back to after the login; part of the registration.
pub fn callback_url(host: &HostName) -> String {
    format!("https://{host}/hub/oauth_callback")
}

/// What Check-in says of a member of the VO.
///
/// EGI Check-in, "Entitlements": `urn:mace:egi.eu:group:<vo>:role=member#aai.egi.eu`.
pub fn member_entitlement(vo: &str) -> String {
    format!("urn:mace:egi.eu:group:{vo}:role=member#aai.egi.eu")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deploy::{CheckinInstance, tests::options};

    fn values(auth: Auth) -> DaskhubValues {
        let mut options = options();
        options.auth = auth;
        let issuer = Url::parse("https://aai-dev.egi.eu/auth/realms/egi/").unwrap();
        DaskhubValues::howto(&options, &issuer, "vo.pangeo.eu")
    }

    #[test]
    fn secrets_are_shown_by_render_only() {
        let secrets = ValuesSecrets::all(|name| format!("hidden-{name}"));
        for auth in [Auth::Native, Auth::CheckIn(CheckinInstance::Demo)] {
            let values = values(auth);
            let rendered = values.render(&secrets).unwrap();
            assert_eq!(rendered.expose_secret().matches("hidden-token1").count(), 2);
            assert_eq!(rendered.expose_secret().matches("hidden-token2").count(), 1);
            let masked = values.masked().unwrap();
            assert!(!masked.contains("hidden") && masked.contains("secret"));
            assert!(!format!("{values:?} {secrets:?}").contains("hidden"));
        }
    }

    #[test]
    fn tokens_differ_and_have_64_digits() {
        let (one, two) = (generate_token().unwrap(), generate_token().unwrap());
        assert_eq!(one.expose_secret().len(), 64);
        assert!(one.expose_secret().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(one.expose_secret(), two.expose_secret());
    }

    #[test]
    fn the_document_with_check_in() {
        let auth = Auth::CheckIn(CheckinInstance::Development);
        assert_eq!(
            values(auth).with_placeholders().unwrap(),
            include_str!("expected/check-in.yaml")
        );
    }

    #[test]
    fn the_document_with_native_login() {
        assert_eq!(
            values(Auth::Native).with_placeholders().unwrap(),
            include_str!("expected/native.yaml")
        );
    }
}
