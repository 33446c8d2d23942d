//! The hub as a user's browser meets it: https, the host's name, a valid certificate.
//!
//! The check goes to the cluster's address whatever DNS says, so that a name that points elsewhere
//! does not answer for it. Nothing is sent but `GET /hub/api` and `GET /hub/login`.

pub mod gateway;
pub mod servers;

use std::error::Error as _;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::tls::TlsInfo;
use reqwest::{Client, StatusCode, redirect};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::domain::metrics::{Calls, Metrics};
use crate::domain::names::HostName;

/// How long an answer may take.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

/// How much of an answer is read.
const BODY_LIMIT: usize = 64 * 1024;

/// Where a hub is expected.
#[derive(Clone, Debug)]
pub struct HubTarget {
    /// `https`, or `http` in a test.
    pub scheme: String,
    /// The host name that people use.
    pub host: HostName,
    /// The port, 443 unless in the sandbox.
    pub port: u16,
    /// The cluster's public address.
    pub address: IpAddr,
}

impl HubTarget {
    /// What people open in their browser.
    pub fn url(&self) -> String {
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => format!("{}://{}/", self.scheme, self.host),
            (scheme, port) => format!("{scheme}://{}:{port}/", self.host),
        }
    }
}

/// A hub that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubCheck {
    /// Status of its login page: 200, or 302 to Check-in.
    pub login_status: u16,
    /// Version of JupyterHub.
    pub version: Option<String>,
    /// When its certificate ends; `None` over plain http.
    pub certificate_expires_at: Option<DateTime<Utc>>,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// Nobody whom the bot trusts signed it; the ingress' own placeholder is of this kind.
    NotTrusted,
    /// Its time is over.
    Expired,
    /// It is for another host name.
    WrongName,
    /// Anything else.
    Invalid,
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTrusted => "signed by nobody whom browsers trust",
            Self::Expired => "expired",
            Self::WrongName => "for another host name",
            Self::Invalid => "not valid",
        })
    }
}

/// Why a hub does not count as running.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nothing answers at the address.
    #[error("{host} does not answer at {address}")]
    Unreachable {
        /// The host.
        host: HostName,
        /// Where it was asked.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// It answers, but not yet with a hub.
    #[error("{host} answers {status}: the hub is not ready")]
    NotReady {
        /// The host.
        host: HostName,
        /// The HTTP status.
        status: u16,
    },
    /// Its certificate would frighten a browser.
    #[error("the certificate of {host} is {problem} (issued to {subject} by {issuer})")]
    Certificate {
        /// The host.
        host: HostName,
        /// What is wrong.
        problem: CertificateProblem,
        /// Whom it is for, as it says.
        subject: String,
        /// Who signed it, as it says.
        issuer: String,
    },
    /// It answers as no hub does.
    #[error("{host} answers {status} to `/hub/login`, which is no hub")]
    Unexpected {
        /// The host.
        host: HostName,
        /// The HTTP status.
        status: u16,
    },
    /// The bot's own settings do not fit.
    #[error("the hub check can't be set up")]
    Setup(#[source] reqwest::Error),
}

impl HubError {
    /// Whether waiting may help: certificates come some minutes after the name resolves.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotReady { .. } | Self::Certificate { .. } => true,
            Self::Unexpected { .. } | Self::Setup(_) => false,
        }
    }

    /// What a person can do about it, one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "check that the site lets port 443 through, then retry",
            Self::NotReady { .. } => {
                "look at the pods of the namespace `daskhub`, above all hub and proxy, then retry"
            }
            Self::Certificate { .. } => {
                "the host name must point to the cluster before it is reconfigured; check both, then retry"
            }
            Self::Unexpected { .. } => {
                "check the host name in the values and the ingress class, then retry"
            }
            Self::Setup(_) => "check the root certificates in the bot's configuration, then retry",
        }
    }
}

/// Asks hubs whether they run.
#[derive(Clone, Debug)]
pub struct HubClient {
    extra_roots: Vec<reqwest::Certificate>,
    calls: Calls,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

impl HubClient {
    /// A client that trusts browsers' authorities and those of `extra_roots_pem`.
    ///
    /// # Errors
    /// [`HubError::Setup`] when the PEM does not parse.
    pub fn new(extra_roots_pem: Option<&[u8]>) -> Result<Self, HubError> {
        let extra_roots = extra_roots_pem
            .map(reqwest::Certificate::from_pem_bundle)
            .transpose()
            .map_err(HubError::Setup)?
            .unwrap_or_default();
        Ok(Self {
            extra_roots,
            calls: Calls::to("hub"),
        })
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.calls = self.calls.counted_by(metrics);
        self
    }

    /// Asks a hub for its login page and version.
    ///
    /// # Errors
    /// See [`HubError`]; while a deploy settles most of them pass.
    pub async fn check(&self, target: &HubTarget) -> Result<HubCheck, HubError> {
        self.calls.count(self.ask(target)).await
    }

    async fn ask(&self, target: &HubTarget) -> Result<HubCheck, HubError> {
        let client = self.client(target, false)?;
        let login = match get(&client, target, "hub/login").await {
            Ok(answer) => answer,
            Err(error) => return Err(self.explain(target, error).await),
        };
        let status = login.status();
        let certificate_expires_at = login
            .extensions()
            .get::<TlsInfo>()
            .and_then(TlsInfo::peer_certificate)
            .and_then(expiry);
        if matches!(status.as_u16(), 404 | 500..=599) {
            return Err(HubError::NotReady {
                host: target.host.clone(),
                status: status.as_u16(),
            });
        }
        if status != StatusCode::OK && !status.is_redirection() {
            return Err(HubError::Unexpected {
                host: target.host.clone(),
                status: status.as_u16(),
            });
        }
        let version = match get(&client, target, "hub/api").await {
            Ok(answer) => read_version(answer).await,
            Err(_) => None,
        };
        Ok(HubCheck {
            login_status: status.as_u16(),
            version,
            certificate_expires_at,
        })
    }

    fn client(&self, target: &HubTarget, any_certificate: bool) -> Result<Client, HubError> {
        let mut builder = Client::builder()
            .timeout(CHECK_LIMIT)
            .connect_timeout(super::http::CONNECT_TIMEOUT)
            .user_agent(super::http::USER_AGENT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .resolve(
                target.host.as_str(),
                SocketAddr::new(target.address, target.port),
            )
            .tls_info(true)
            .danger_accept_invalid_certs(any_certificate);
        for root in &self.extra_roots {
            builder = builder.add_root_certificate(root.clone());
        }
        builder.build().map_err(HubError::Setup)
    }

    /// Tells a bad certificate from a silent host. For a bad one it is fetched once more without
    /// judging it, only to read whose it is.
    async fn explain(&self, target: &HubTarget, error: reqwest::Error) -> HubError {
        let host = target.host.clone();
        let Some(problem) = certificate_problem(&error) else {
            return HubError::Unreachable {
                host,
                address: SocketAddr::new(target.address, target.port),
                source: error,
            };
        };
        let (subject, issuer) = match self.client(target, true) {
            Ok(client) => match get(&client, target, "hub/login").await {
                Ok(answer) => answer
                    .extensions()
                    .get::<TlsInfo>()
                    .and_then(TlsInfo::peer_certificate)
                    .and_then(names)
                    .unwrap_or_default(),
                Err(_) => Default::default(),
            },
            Err(_) => Default::default(),
        };
        HubError::Certificate {
            host,
            problem,
            subject: or_unknown(subject),
            issuer: or_unknown(issuer),
        }
    }
}

fn or_unknown(text: String) -> String {
    if text.is_empty() {
        return "somebody who gives no name".to_owned();
    }
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

async fn get(
    client: &Client,
    target: &HubTarget,
    path: &str,
) -> Result<reqwest::Response, reqwest::Error> {
    client.get(format!("{}{path}", target.url())).send().await
}

async fn read_version(mut answer: reqwest::Response) -> Option<String> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > BODY_LIMIT {
            return None;
        }
    }
    let version: Version = serde_json::from_slice(&body).ok()?;
    Some(version.version.chars().take(40).collect())
}

/// Reads out of the chain of causes what rustls did not like about a certificate.
///
/// Its words are `invalid peer certificate: UnknownIssuer` and so on (rustls 0.23, error.rs).
fn certificate_problem(error: &reqwest::Error) -> Option<CertificateProblem> {
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some((_, what)) = text.split_once("invalid peer certificate: ") {
            let what = what.to_ascii_lowercase();
            let says = |word: &str| what.contains(word);
            return Some(if says("expired") {
                CertificateProblem::Expired
            } else if says("name") {
                CertificateProblem::WrongName
            } else if says("unknownissuer") || says("causedasendentity") || says("signature") {
                CertificateProblem::NotTrusted
            } else {
                CertificateProblem::Invalid
            });
        }
        cause = error.source();
    }
    None
}

fn expiry(der: &[u8]) -> Option<DateTime<Utc>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}

/// Subject and issuer as the certificate says.
fn names(der: &[u8]) -> Option<(String, String)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some((
        certificate.subject().to_string(),
        certificate.issuer().to_string(),
    ))
}
