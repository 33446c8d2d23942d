//! Files that people attach to a command, read from where Discord keeps them.
//!
//! **Invariant:** only Discord's own hosts are asked, whatever URL an interaction names, and never
//! more than the caller's limit is read.

use std::time::Duration;

use secrecy::SecretString;
use url::{Origin, Url};

use super::text::{ReadError, read_limited};
use crate::domain::metrics::{Calls, Metrics};

/// Where Discord keeps files.
const HOSTS: [&str; 2] = ["cdn.discordapp.com", "media.discordapp.net"];

/// How long reading a file may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Why a file could not be read. The URL is in none of them, since it lets anybody read the file.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// The URL is not Discord's.
    #[error("the file is not where Discord keeps files")]
    Elsewhere,
    /// Discord did not answer.
    #[error("Discord did not hand over the file")]
    Unreachable(#[source] reqwest::Error),
    /// Discord answered with something else.
    #[error("Discord did not hand over the file (status {status})")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// It broke off.
    #[error("the file broke off")]
    BrokenOff(#[source] reqwest::Error),
    /// It is longer than the limit.
    #[error("the file has more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// It is not text.
    #[error("the file is not text in UTF-8, or has control characters such as NUL")]
    NotText,
}

/// Reads attached files.
#[derive(Debug)]
pub struct AttachmentsClient {
    http: reqwest::Client,
    /// Where the sandbox keeps files.
    also: Option<Origin>,
    calls: Calls,
}

impl AttachmentsClient {
    /// A client for Discord; one whose interface is not on Discord's host keeps its files beside it.
    pub fn new(http: reqwest::Client, api_base: &Url) -> Self {
        let is_discord = api_base.host_str() == Some("discord.com");
        Self {
            http,
            also: (!is_discord).then(|| api_base.origin()),
            calls: Calls::to("attachments"),
        }
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.calls = self.calls.counted_by(metrics);
        self
    }

    /// The text of a file.
    ///
    /// # Errors
    /// [`AttachmentError`]; in words for who attached it.
    pub async fn text(&self, url: &str, limit: usize) -> Result<SecretString, AttachmentError> {
        let url = self.allowed(url).ok_or(AttachmentError::Elsewhere)?;
        self.calls.count(self.read(url, limit)).await
    }

    fn allowed(&self, url: &str) -> Option<Url> {
        let url = Url::parse(url).ok()?;
        let is_discord = url.scheme() == "https"
            && url.port().is_none()
            && url.host_str().is_some_and(|host| HOSTS.contains(&host));
        let is_ours = self.also.as_ref() == Some(&url.origin());
        (is_discord || is_ours).then_some(url)
    }

    async fn read(&self, url: Url, limit: usize) -> Result<SecretString, AttachmentError> {
        let unreachable = |error: reqwest::Error| AttachmentError::Unreachable(error.without_url());
        let request = self.http.get(url).timeout(LIMIT);
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(AttachmentError::Status { status });
        }
        let body = read_limited(answer, limit)
            .await
            .map_err(|error| match error {
                ReadError::TooLong { limit } => AttachmentError::TooLong { limit },
                ReadError::Broken(source) => AttachmentError::BrokenOff(source),
            })?;
        let text = String::from_utf8(body).map_err(|_not_text| AttachmentError::NotText)?;
        let text = text.trim_start_matches('\u{feff}');
        let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        if text.contains(odd) {
            return Err(AttachmentError::NotText);
        }
        Ok(SecretString::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_discords_own_files_are_read() {
        let client = |base: &str| {
            AttachmentsClient::new(
                crate::services::http::client(None).unwrap(),
                &Url::parse(base).unwrap(),
            )
        };
        let real = client("https://discord.com/api/v10");
        let sandbox = client("http://127.0.0.1:4000/api/v10");
        let file = "https://cdn.discordapp.com/ephemeral-attachments/1/2/values.yaml?ex=1&hm=2";
        assert!(real.allowed(file).is_some());
        assert!(
            sandbox
                .allowed("http://127.0.0.1:4000/cdn/attachments/1/2/v")
                .is_some()
        );
        for bad in [
            "http://cdn.discordapp.com/a",
            "https://cdn.discordapp.com:8443/a",
            "https://cdn.discordapp.com.evil.org/a",
            "https://evil.org/cdn.discordapp.com",
            "https://cdn.discordapp.com@evil.org/a",
            "http://127.0.0.1:4000/cdn/attachments/1/2/v",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "",
        ] {
            assert!(real.allowed(bad).is_none(), "{bad}");
        }
        assert!(sandbox.allowed("http://127.0.0.1:4001/x").is_none());
    }
}
