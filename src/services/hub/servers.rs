//! Users' own servers, through the hub's API and a token of the user.
//!
//! A token that a user made at `/hub/token` may see that user, and start and stop the user's own
//! server, in every JupyterHub from 1.5 to 5 (`apihandlers/users.py`); it needs no rights of an
//! administrator. Starting answers 201 when the server is ready at once, 202 while it starts;
//! stopping 204 when it is gone, 202 while it ends.
//!
//! **Invariant:** the token is in no error and no log.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{BODY_LIMIT, HubClient, HubError, HubTarget};
use crate::domain::names::HostName;
use crate::domain::proof::{HubUser, TestServer};

/// Why a hub did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum HubApiError {
    /// Nothing answers.
    #[error("the API of {host} does not answer")]
    Unreachable {
        /// The host.
        host: HostName,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// It does not take the token for this.
    #[error("{host} does not take the token ({status})")]
    Refused {
        /// The host.
        host: HostName,
        /// The HTTP status.
        status: u16,
    },
    /// It answers otherwise than with success.
    #[error("the API of {host} answers {status}")]
    Unwell {
        /// The host.
        host: HostName,
        /// The HTTP status.
        status: u16,
    },
    /// Its answer does not read.
    #[error("the API of {host} answers what no hub does")]
    NotUnderstood {
        /// The host.
        host: HostName,
    },
    /// The bot's own settings do not fit.
    #[error(transparent)]
    Setup(#[from] HubError),
}

/// A user as the API shows it.
#[derive(Deserialize)]
struct User {
    name: String,
    #[serde(default)]
    admin: bool,
    /// Those that are there; the user's only one has an empty name. Missing if the token may not see
    /// them.
    servers: Option<std::collections::BTreeMap<String, Server>>,
}

#[derive(Deserialize)]
struct Server {
    #[serde(default)]
    ready: bool,
    /// Newer hubs show servers that have ended, too.
    #[serde(default)]
    stopped: bool,
}

impl HubClient {
    /// Whose a token is, and how that user's server is.
    ///
    /// # Errors
    /// See [`HubApiError`].
    pub async fn user_of(
        &self,
        target: &HubTarget,
        token: &SecretString,
    ) -> Result<HubUser, HubApiError> {
        #[derive(Deserialize)]
        struct Own {
            name: String,
        }
        let own = self.call(target, (Method::GET, &["user"]), token).await?;
        let own: Own = read(target, own).await?;
        let path = ["users", own.name.as_str()];
        let user = self.call(target, (Method::GET, &path), token).await?;
        let user: User = read(target, user).await?;
        let servers = user.servers.ok_or_else(|| not_understood(target))?;
        let server = match servers.get("") {
            None => TestServer::Absent,
            Some(server) if server.stopped => TestServer::Absent,
            Some(server) if server.ready => TestServer::Ready,
            Some(_) => TestServer::Pending,
        };
        Ok(HubUser {
            name: user.name,
            is_admin: user.admin,
            server,
        })
    }

    /// Asks for a server of a user.
    ///
    /// # Errors
    /// See [`HubApiError`]; one that is there already is an error, too.
    pub async fn start_server(
        &self,
        target: &HubTarget,
        token: &SecretString,
        user: &str,
    ) -> Result<(), HubApiError> {
        let path = ["users", user, "server"];
        self.call(target, (Method::POST, &path), token)
            .await
            .map(drop)
    }

    /// Deletes the server of a user; what is gone is no error.
    ///
    /// # Errors
    /// See [`HubApiError`]; a hub refuses it while the server starts.
    pub async fn stop_server(
        &self,
        target: &HubTarget,
        token: &SecretString,
        user: &str,
    ) -> Result<(), HubApiError> {
        let path = ["users", user, "server"];
        match self.call(target, (Method::DELETE, &path), token).await {
            Err(HubApiError::Unwell { status: 404, .. }) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn call(
        &self,
        target: &HubTarget,
        (method, path): (Method, &[&str]),
        token: &SecretString,
    ) -> Result<Response, HubApiError> {
        let client = self.client(target, false)?;
        let mut url = url::Url::parse(&target.url()).map_err(|_error| not_understood(target))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["hub", "api"]).extend(path);
        }
        let request = client.request(method, url);
        self.calls.count(send(target, request, token)).await
    }
}

async fn send(
    target: &HubTarget,
    request: RequestBuilder,
    token: &SecretString,
) -> Result<Response, HubApiError> {
    let host = || target.host.clone();
    // The word of every version; `Bearer` came later.
    let value = format!("token {}", token.expose_secret());
    let answer = request.header("Authorization", value).send().await;
    let answer = answer.map_err(|source| HubApiError::Unreachable {
        host: host(),
        source: source.without_url(),
    })?;
    let status = answer.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(HubApiError::Refused {
            host: host(),
            status: status.as_u16(),
        }),
        status if status.is_success() => Ok(answer),
        status => Err(HubApiError::Unwell {
            host: host(),
            status: status.as_u16(),
        }),
    }
}

fn not_understood(target: &HubTarget) -> HubApiError {
    HubApiError::NotUnderstood {
        host: target.host.clone(),
    }
}

async fn read<T: serde::de::DeserializeOwned>(
    target: &HubTarget,
    mut answer: Response,
) -> Result<T, HubApiError> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > BODY_LIMIT {
            return Err(not_understood(target));
        }
    }
    serde_json::from_slice(&body).map_err(|_error| not_understood(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_old_and_new_hubs_are_read() {
        let old = r#"{"kind":"user","name":"probe","admin":false,"groups":[],"server":null,
                      "pending":null,"servers":{}}"#;
        let user: User = serde_json::from_str(old).unwrap();
        assert!(user.servers.unwrap().is_empty());
        let new = r#"{"name":"probe","roles":["user"],"servers":{"":{"name":"","ready":false,
                      "pending":"spawn","stopped":false,"url":"/user/probe/"}}}"#;
        let user: User = serde_json::from_str(new).unwrap();
        assert!(!user.admin && !user.servers.unwrap()[""].ready);
        let narrow: User = serde_json::from_str(r#"{"name":"probe"}"#).unwrap();
        assert!(narrow.servers.is_none(), "the token may not see them");
    }
}
