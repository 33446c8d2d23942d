//! EGI Check-in: an OpenID Connect issuer that behaves like Keycloak where the bot looks.
//!
//! Discovery, keys, the authorization endpoint with Keycloak's error pages, the token endpoint
//! (client credentials, refresh, device flow), userinfo and introspection. It mints RS256 access
//! tokens of the form that Infrastructure Manager and the front end's EC3 files use.
//!
//! The signing key is part of the program: it signs only for the sandbox, so it is no secret, and
//! making an RSA key at every start would take longer than all the rest.

mod pages;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use crate::faults::Faults;
use crate::saved::Saved;
use crate::serve::{Background, listen};

pub use tokens::Claims;
use tokens::Signer;

/// The path of the realm below the server's URL, as in `https://aai.egi.eu/auth/realms/egi`.
const REALM: &str = "/auth/realms/egi";

/// How to start [`Checkin`].
#[derive(Clone, Debug)]
pub struct CheckinOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the state is kept, if anywhere.
    pub state_file: Option<PathBuf>,
    /// How long an access token lives that was given out by the token endpoint.
    pub token_lifetime: Duration,
}

impl CheckinOptions {
    /// On a free port of 127.0.0.1, nothing kept, tokens of one hour.
    pub fn for_tests() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 0).into(),
            state_file: None,
            token_lifetime: Duration::from_secs(3600),
        }
    }
}

/// A registered client, as the Federation Registry would deploy it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRegistration {
    /// The client secret; public clients have none.
    pub secret: Option<String>,
    /// The redirect URIs, exactly.
    pub redirect_uris: Vec<String>,
    /// Whether it is switched off.
    pub disabled: bool,
}

/// A person who can log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The stable id (`sub`).
    pub sub: String,
    /// The name.
    pub name: String,
    /// What they are a member of.
    pub entitlements: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct CheckinState {
    clients: BTreeMap<String, ClientRegistration>,
    people: BTreeMap<String, Person>,
    /// Refresh token to user name.
    refresh_tokens: BTreeMap<String, String>,
    /// Device code to what became of it.
    devices: BTreeMap<String, Device>,
    /// The ids (`jti`) of tokens that were taken back.
    revoked: Vec<String>,
    minted: u64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Device {
    user_code: String,
    approved_by: Option<String>,
    /// What PKCE binds the code to, if the client sent it.
    #[serde(default)]
    challenge: Option<String>,
}

struct Inner {
    issuer: String,
    state: Arc<Saved<CheckinState>>,
    signer: Signer,
    token_lifetime: Duration,
    faults: Faults,
}

/// The running issuer.
pub struct Checkin {
    inner: Arc<Inner>,
    address: SocketAddr,
    _background: Background,
}

impl Checkin {
    /// Starts the issuer. Without a state file the people are `ana`, `ben`, `eva`, `vic`, all
    /// members of `vo.pangeo.eu`.
    ///
    /// # Errors
    /// When the port is taken or the state file does not parse.
    pub async fn start(options: CheckinOptions) -> anyhow::Result<Arc<Self>> {
        let (listener, address) = listen(options.listen).await?;
        let issuer = format!("http://{address}{REALM}");
        let inner = Arc::new(Inner {
            state: Arc::new(Saved::open(options.state_file)?),
            signer: Signer::new(&issuer)?,
            issuer,
            token_lifetime: options.token_lifetime,
            faults: Faults::new(),
        });
        inner.add_people();
        let mut background = Background::new();
        let connect = format!("{REALM}/protocol/openid-connect");
        let router = Router::new()
            .route(
                &format!("{REALM}/.well-known/openid-configuration"),
                get(pages::discovery),
            )
            .route(&format!("{connect}/certs"), get(pages::keys))
            .route(&format!("{connect}/auth"), get(pages::authorize))
            .route(&format!("{connect}/auth/device"), post(pages::device))
            .route(
                &format!("{REALM}/device"),
                get(pages::device_page).post(pages::log_in_on_device),
            )
            .route(&format!("{connect}/token"), post(pages::token))
            .route(
                &format!("{connect}/token/introspect"),
                post(pages::introspect),
            )
            .route(&format!("{connect}/userinfo"), get(pages::userinfo))
            .with_state(Arc::clone(&inner));
        background.serve(listener, inner.faults.wrap(router));
        background.keep(Arc::clone(&inner.state));
        Ok(Arc::new(Self {
            inner,
            address,
            _background: background,
        }))
    }

    /// The server's base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The issuer, as in its tokens.
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// The faults of all its endpoints.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Registers a client, or changes it.
    pub fn add_client(&self, id: &str, registration: ClientRegistration) {
        let mut state = self.inner.state.change();
        state.clients.insert(id.to_owned(), registration);
    }

    /// Takes a client away; tells whether there was one.
    pub fn remove_client(&self, id: &str) -> bool {
        self.inner.state.change().clients.remove(id).is_some()
    }

    /// The registered clients.
    pub fn clients(&self) -> BTreeMap<String, ClientRegistration> {
        self.inner.state.read().clients.clone()
    }

    /// Adds a person, or changes them.
    pub fn add_person(&self, user: &str, person: Person) {
        let mut state = self.inner.state.change();
        state.people.insert(user.to_owned(), person);
    }

    /// An access token of a person that lives this long from now; with a negative lifetime it is
    /// expired. Unknown people get a `sub` made from the name.
    ///
    /// # Errors
    /// When signing fails.
    pub fn mint_token(&self, user: &str, lifetime: chrono::Duration) -> anyhow::Result<String> {
        self.inner.mint(user, lifetime)
    }

    /// A refresh token of a person.
    pub fn mint_refresh_token(&self, user: &str) -> String {
        self.inner.new_refresh_token(user)
    }

    /// Trades an access token that is valid for a new one and a refresh token.
    ///
    /// # Errors
    /// When signing fails.
    pub fn exchange(&self, access_token: &str) -> anyhow::Result<Option<(String, String)>> {
        let Some(claims) = self.inner.valid(access_token) else {
            return Ok(None);
        };
        let user = &claims.preferred_username;
        let access = self.inner.mint(user, self.inner.lifetime())?;
        Ok(Some((access, self.inner.new_refresh_token(user))))
    }

    /// A new access token for a refresh token that is valid.
    ///
    /// # Errors
    /// When signing fails.
    pub fn refresh(&self, refresh_token: &str) -> anyhow::Result<Option<String>> {
        let user = self
            .inner
            .state
            .read()
            .refresh_tokens
            .get(refresh_token)
            .cloned();
        let lifetime = self.inner.lifetime();
        user.map(|user| self.inner.mint(&user, lifetime))
            .transpose()
    }

    /// Takes back all refresh tokens of a person.
    pub fn revoke_refresh_tokens(&self, user: &str) {
        let mut state = self.inner.state.change();
        state.refresh_tokens.retain(|_, owner| owner != user);
    }

    /// Takes back one access token: userinfo and introspection refuse it from now on.
    pub fn revoke_token(&self, token: &str) {
        if let Some(claims) = self.inner.signer.read(token) {
            self.inner.state.change().revoked.push(claims.jti);
        }
    }

    /// Says yes to a device code in the name of a person; tells whether the code was waiting.
    pub fn approve_device(&self, user_code: &str, user: &str) -> bool {
        self.inner.approve_device(user_code, user)
    }

    /// What a token says, if it is ours, not expired and not taken back.
    pub fn valid_token(&self, token: &str) -> Option<Claims> {
        self.inner.valid(token)
    }

    /// What a token says, if this issuer signed it, whether expired or not.
    pub fn read_token(&self, token: &str) -> Option<Claims> {
        self.inner.signer.read(token)
    }
}

impl Inner {
    fn approve_device(&self, user_code: &str, user: &str) -> bool {
        let mut state = self.state.change();
        let device = state
            .devices
            .values_mut()
            .find(|d| d.user_code == user_code);
        let found = device.is_some();
        if let Some(device) = device {
            device.approved_by = Some(user.to_owned());
        }
        found
    }

    fn add_people(&self) {
        let mut state = self.state.change();
        for user in ["ana", "ben", "eva", "vic"] {
            state
                .people
                .entry(user.to_owned())
                .or_insert_with(|| Person {
                    sub: format!("{user}@egi.eu"),
                    name: user.to_owned(),
                    entitlements: vec![
                        "urn:mace:egi.eu:group:vo.pangeo.eu:role=member#aai.egi.eu".to_owned(),
                    ],
                });
        }
    }

    fn person(&self, user: &str) -> Person {
        let known = self.state.read().people.get(user).cloned();
        known.unwrap_or_else(|| Person {
            sub: format!("{user}@egi.eu"),
            name: user.to_owned(),
            entitlements: Vec::new(),
        })
    }

    fn mint(&self, user: &str, lifetime: chrono::Duration) -> anyhow::Result<String> {
        let person = self.person(user);
        let number = {
            let mut state = self.state.change();
            state.minted += 1;
            state.minted
        };
        self.signer.mint(user, &person, number, lifetime)
    }

    /// How long an access token of the token endpoint lives.
    fn lifetime(&self) -> chrono::Duration {
        chrono::Duration::from_std(self.token_lifetime)
            .unwrap_or_else(|_| chrono::Duration::hours(1))
    }

    fn new_refresh_token(&self, user: &str) -> String {
        let token = format!("refresh-{}", uuid::Uuid::new_v4().simple());
        let mut state = self.state.change();
        state.refresh_tokens.insert(token.clone(), user.to_owned());
        token
    }

    /// The claims of a token that is ours, not expired and not taken back.
    fn valid(&self, token: &str) -> Option<Claims> {
        let claims = self.signer.read(token)?;
        let revoked = self.state.read().revoked.contains(&claims.jti);
        (claims.exp > chrono::Utc::now().timestamp() && !revoked).then_some(claims)
    }
}

#[cfg(test)]
mod tests;
