//! EGI Dynamic DNS: updating the address of a host name, and resolving it.
//!
//! The service runs the nsupdate.info software: `GET /nic/update?hostname=&myip=` with HTTP basic
//! auth of host name and host secret, answered by one word; `GET /nic/delete` takes the record away.
//! Words and meanings: dyndns2 protocol as in nsupdate.info, `nsupdate/api/views.py`.
//!
//! **Invariant:** an update that was refused (`badauth`, `nohost`, `notfqdn`, `abuse`, `badagent`)
//! is never repeated unchanged, or the service blocks the host.
//! **Invariant:** the host secret reaches no log, no URL and no error.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::text::{ReadError, read_limited, shorten};
use crate::domain::metrics::{Calls, Metrics};
use crate::domain::names::HostName;

/// The longest answer that is read, in bytes; a proxy's error page may be longer than one word.
const MAX_ANSWER: usize = 16 * 1024;

/// How long one DNS query may take, of which [`LOOKUP_ATTEMPTS`] are made.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// How many times a lost DNS packet is sent again.
const LOOKUP_ATTEMPTS: usize = 2;

/// A failed update or lookup.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// No connection, or none in time.
    #[error("could not reach Dynamic DNS")]
    Unreachable(#[source] reqwest::Error),
    /// The answer broke off in the middle.
    #[error("the answer of Dynamic DNS broke off")]
    BrokenOff(#[source] reqwest::Error),
    /// `badauth`: the host secret is wrong.
    #[error("Dynamic DNS refused the secret of `{host}`")]
    BadSecret {
        /// The host name.
        host: HostName,
    },
    /// `nohost`: the host was not added in the web portal, or belongs to somebody else.
    #[error("Dynamic DNS does not know `{host}`")]
    UnknownHost {
        /// The host name.
        host: HostName,
    },
    /// `notfqdn`: the service does not take the name for a full host name.
    #[error("Dynamic DNS does not accept the name `{host}`")]
    NotAFullName {
        /// The host name.
        host: HostName,
    },
    /// `abuse`: the host is blocked.
    #[error("Dynamic DNS has blocked `{host}` for abuse")]
    Blocked {
        /// The host name.
        host: HostName,
    },
    /// `badagent`: the service refuses our program.
    #[error("Dynamic DNS refuses this client")]
    BadAgent,
    /// `dnserr`, `911` or a status of 5xx: trouble at the service.
    #[error("Dynamic DNS has trouble: {text}")]
    Trouble {
        /// What it said.
        text: String,
    },
    /// Something else was answered.
    #[error("the answer of Dynamic DNS is not understood (status {status}): {text}")]
    NotUnderstood {
        /// HTTP status.
        status: u16,
        /// What it said.
        text: String,
    },
    /// The name server did not answer, or failed.
    #[error("could not look up `{host}`")]
    Lookup {
        /// The host name.
        host: HostName,
        /// What happened.
        #[source]
        source: NetError,
    },
    /// The machine's own resolver configuration can't be read.
    #[error("could not set up the resolver")]
    Resolver(#[source] NetError),
}

impl DnsError {
    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::BrokenOff(_)
            | Self::Trouble { .. }
            | Self::NotUnderstood { .. }
            | Self::Lookup { .. } => true,
            Self::BadSecret { .. }
            | Self::UnknownHost { .. }
            | Self::NotAFullName { .. }
            | Self::Blocked { .. }
            | Self::BadAgent
            | Self::Resolver(_) => false,
        }
    }
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsUpdate {
    /// The name points to the address now.
    Updated,
    /// It did so before.
    Unchanged,
}

/// Which name server to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameServer {
    /// Those of the machine.
    System,
    /// This one, by UDP and TCP.
    At(SocketAddr),
}

/// A client of Dynamic DNS and of a name server.
#[derive(Clone)]
pub struct DnsClient {
    http: reqwest::Client,
    base: Url,
    resolver: TokioResolver,
    updates: Calls,
    lookups: Calls,
}

impl std::fmt::Debug for DnsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsClient")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

impl DnsClient {
    /// A client. `http` comes from [`http::client`](super::http::client), `base` is the service's
    /// URL, such as `https://nsupdate.fedcloud.eu`.
    ///
    /// # Errors
    /// [`DnsError::Resolver`] when the machine's resolver configuration can't be read.
    pub fn new(http: reqwest::Client, base: Url, server: NameServer) -> Result<Self, DnsError> {
        Ok(Self {
            http,
            base,
            resolver: resolver(server).map_err(DnsError::Resolver)?,
            updates: Calls::to("dns"),
            lookups: Calls::to("resolver"),
        })
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.updates = self.updates.counted_by(metrics);
        self.lookups = self.lookups.counted_by(metrics);
        self
    }

    /// Points the host name to the address.
    ///
    /// # Errors
    /// [`DnsError`], by the word of the answer.
    pub async fn update(
        &self,
        host: &HostName,
        secret: &SecretString,
        ip: IpAddr,
    ) -> Result<DnsUpdate, DnsError> {
        let answer = self.ask("update", host, secret, ip);
        self.updates
            .count(async { meaning(host, ip, &answer.await?) })
            .await
    }

    /// Takes the record away that points the host name to an address of this kind; the host stays
    /// known to the service. `GET /nic/delete`, an addition of nsupdate.info to the protocol.
    ///
    /// # Errors
    /// [`DnsError`], by the word of the answer.
    pub async fn clear(
        &self,
        host: &HostName,
        secret: &SecretString,
        ip: IpAddr,
    ) -> Result<(), DnsError> {
        let answer = self.ask("delete", host, secret, ip);
        let cleared = async {
            let answer = answer.await?;
            match answer.text.split_whitespace().next() {
                Some("deleted") => Ok(()),
                _ => Err(refusal(host, &answer)),
            }
        };
        self.updates.count(cleared).await
    }

    async fn ask(
        &self,
        what: &str,
        host: &HostName,
        secret: &SecretString,
        ip: IpAddr,
    ) -> Result<Answer, DnsError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/nic/{what}", url.path().trim_end_matches('/')));
        url.query_pairs_mut()
            .append_pair("hostname", host.as_str())
            .append_pair("myip", &ip.to_string());
        let response = self
            .http
            .get(url)
            .basic_auth(host.as_str(), Some(secret.expose_secret()))
            .send()
            .await
            .map_err(|error| DnsError::Unreachable(error.without_url()))?;
        let status = response.status().as_u16();
        let body = match read_limited(response, MAX_ANSWER).await {
            Ok(body) => body,
            Err(ReadError::Broken(error)) => return Err(DnsError::BrokenOff(error)),
            Err(error @ ReadError::TooLong { .. }) => {
                let text = error.to_string();
                return Err(DnsError::NotUnderstood { status, text });
            }
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, text })
    }

    /// The addresses that the name has now, asked afresh; none if the name does not exist.
    ///
    /// # Errors
    /// [`DnsError::Lookup`] when the name server does not answer.
    pub async fn resolve(&self, host: &HostName) -> Result<Vec<IpAddr>, DnsError> {
        self.lookups.count(self.look_up(host)).await
    }

    async fn look_up(&self, host: &HostName) -> Result<Vec<IpAddr>, DnsError> {
        // The dot at the end keeps the machine's search domains out of it.
        match self.resolver.lookup_ip(format!("{host}.")).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Ok(Vec::new()),
            Err(source) => Err(DnsError::Lookup {
                host: host.clone(),
                source,
            }),
        }
    }
}

fn resolver(server: NameServer) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        NameServer::System => TokioResolver::builder_tokio()?,
        NameServer::At(address) => {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            udp.port = address.port();
            tcp.port = address.port();
            let server = NameServerConfig::new(address.ip(), true, vec![udp, tcp]);
            TokioResolver::builder_with_config(
                ResolverConfig::from_name_servers(vec![server]),
                TokioRuntimeProvider::default(),
            )
        }
    };
    let options = builder.options_mut();
    options.timeout = LOOKUP_TIMEOUT;
    options.attempts = LOOKUP_ATTEMPTS;
    // We wait for a change: neither a cache nor the hosts file may hide it.
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

/// What the service answered.
struct Answer {
    status: u16,
    text: String,
}

/// The meaning of an answer to an update.
fn meaning(host: &HostName, ip: IpAddr, answer: &Answer) -> Result<DnsUpdate, DnsError> {
    let mut words = answer.text.split_whitespace();
    let word = words.next().unwrap_or_default();
    let told: Option<IpAddr> = words.next().and_then(|ip| ip.parse().ok());
    match word {
        "good" | "nochg" if told.is_some_and(|told| told != ip) => Err(DnsError::NotUnderstood {
            status: answer.status,
            text: "another address was confirmed".to_owned(),
        }),
        "good" => Ok(DnsUpdate::Updated),
        "nochg" => Ok(DnsUpdate::Unchanged),
        _ => Err(refusal(host, answer)),
    }
}

/// The meaning of an answer that is not the hoped for one.
fn refusal(host: &HostName, answer: &Answer) -> DnsError {
    let (host, status) = (host.clone(), answer.status);
    match answer.text.split_whitespace().next().unwrap_or_default() {
        "badauth" => DnsError::BadSecret { host },
        "nohost" => DnsError::UnknownHost { host },
        "notfqdn" => DnsError::NotAFullName { host },
        "abuse" => DnsError::Blocked { host },
        "badagent" => DnsError::BadAgent,
        word @ ("dnserr" | "911") => DnsError::Trouble {
            text: word.to_owned(),
        },
        _ if status == 401 => DnsError::BadSecret { host },
        _ if status >= 500 || status == 429 => DnsError::Trouble {
            text: format!("status {status}"),
        },
        _ => DnsError::NotUnderstood {
            status,
            text: shorten(&answer.text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_meaning_and_its_retry_class() {
        let host = HostName::parse("pangeo.vm.fedcloud.eu").unwrap();
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        let check = |status, answer: &str| match meaning(
            &host,
            ip,
            &Answer {
                status,
                text: answer.to_owned(),
            },
        ) {
            Ok(DnsUpdate::Updated) => "updated",
            Ok(DnsUpdate::Unchanged) => "unchanged",
            Err(error) if error.is_transient() => "later",
            Err(_) => "never",
        };
        for (status, answer, expected) in [
            (200, "good 192.0.2.7", "updated"),
            (200, "good 192.0.2.7\n", "updated"),
            (200, "nochg 192.0.2.7", "unchanged"),
            (200, "good", "updated"),
            (200, "good 192.0.2.8", "later"),
            (200, "nohost", "never"),
            (200, "notfqdn", "never"),
            (401, "badauth", "never"),
            (401, "<html>", "never"),
            (200, "badagent", "never"),
            (403, "abuse", "never"),
            (200, "dnserr", "later"),
            (200, "911", "later"),
            (502, "<html>Bad Gateway</html>", "later"),
            (200, "", "later"),
            (200, "<html>goodbye", "later"),
        ] {
            assert_eq!(check(status, answer), expected, "{status} {answer:?}");
        }
    }
}
