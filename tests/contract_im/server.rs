//! The two servers: the sandbox's, one for each check, and the real one, which all share.

use std::sync::Arc;

use futures::future::BoxFuture;
use pangeo_bot::services::http;
use pangeo_bot::services::im::{CloudCredential, ImClient, ImCredentials, ImLogin, TokenCell};
use sandbox::im::{Im, ImOptions, SpeedOptions};
use sandbox::machines::{Machine, MachineRequest, Machines};
use secrecy::SecretString;
use url::Url;

use super::real_server;

/// The cloud `Dummy` has no machines.
struct NoMachines;

impl Machines for NoMachines {
    fn start(&self, request: MachineRequest) -> BoxFuture<'_, anyhow::Result<Machine>> {
        Box::pin(async move { anyhow::bail!("no machine for {}", request.infrastructure) })
    }

    fn configured<'a>(
        &'a self,
        infrastructure: &'a str,
        _host: Option<&'a str>,
        _points_here: bool,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move { anyhow::bail!("no machine for {infrastructure}") })
    }

    fn stop<'a>(&'a self, _infrastructure: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

/// A sandbox server of its own for each check.
async fn sandbox_server() -> Arc<Im> {
    Im::start(ImOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        state_file: None,
        speed: SpeedOptions::for_tests(),
        machines: Arc::new(NoMachines),
        dns: None,
        checkin: None,
    })
    .await
    .unwrap()
}

/// One of the two servers.
pub(crate) struct Server {
    pub(crate) url: String,
    _sandbox: Option<Arc<Im>>,
}

impl Server {
    pub(crate) async fn sandbox() -> Self {
        let im = sandbox_server().await;
        Self {
            url: im.url(),
            _sandbox: Some(im),
        }
    }

    pub(crate) async fn real() -> Self {
        Self {
            url: real_server::url().await,
            _sandbox: None,
        }
    }

    pub(crate) fn with_login(&self, login: ImLogin) -> ImClient {
        let credentials = ImCredentials {
            login,
            clouds: vec![CloudCredential::Dummy {
                id: "dummy".to_owned(),
            }],
        };
        let url = Url::parse(&self.url).unwrap();
        ImClient::new(http::client(None).unwrap(), url, credentials)
    }

    /// A user of its own, so that checks don't see each other's infrastructures.
    pub(crate) fn new_user(&self) -> ImClient {
        self.with_login(ImLogin::Password {
            username: format!("user-{}", uuid::Uuid::new_v4()),
            password: SecretString::from("p=a;s's"),
        })
    }

    pub(crate) fn with_token(&self, token: &str) -> ImClient {
        let cell = TokenCell::new(SecretString::from(token));
        self.with_login(ImLogin::Token(cell))
    }
}
