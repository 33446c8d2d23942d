//! The one place that makes HTTP clients: time limits, user agent, extra certificates.

use std::time::Duration;

/// How long a whole request may take unless its caller sets another limit.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may take to open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The `User-Agent` of every request; Dynamic DNS refuses requests without one.
pub const USER_AGENT: &str = concat!("pangeo-bot/", env!("CARGO_PKG_VERSION"));

/// A client with the bot's limits.
///
/// `extra_roots_pem` holds further root certificates, as PEM, that are trusted beside the
/// built-in ones (a site's own authority, or the sandbox's).
/// Redirects are not followed: no API that the bot calls answers with one, and a redirect could
/// carry a secret elsewhere.
///
/// # Errors
/// When the PEM does not parse.
pub fn client(extra_roots_pem: Option<&[u8]>) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(pem) = extra_roots_pem {
        for certificate in reqwest::Certificate::from_pem_bundle(pem)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build()
}
