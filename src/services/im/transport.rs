//! Sending one request to Infrastructure Manager and reading its answer.

use reqwest::{Method, RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::{ContMsg, CredentialError, ImClient, ImError, not_understood};
use crate::services::text::{read_limited, read_tail};

/// The longest answer that is read, in bytes; the list of a site's images can be long.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The longest error text that is read, in bytes: tracebacks.
const MAX_ERROR: usize = 256 * 1024;

/// The longest contextualisation log that is read over, in bytes.
const MAX_CONTMSG: usize = 64 * 1024 * 1024;

/// The longest piece of the contextualisation log that is returned, in bytes.
const MAX_CONTMSG_PIECE: usize = 256 * 1024;

impl ImClient {
    pub(super) fn url(&self, path: &[&str]) -> Result<Url, ImError> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => return Err(ImError::BaseUrl),
        };
        Ok(url)
    }

    pub(super) fn call(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, ImError> {
        let header = self.credentials.header()?;
        let mut value = reqwest::header::HeaderValue::from_str(header.expose_secret()).map_err(
            |_not_told| CredentialError::Character {
                field: "header",
                what: "a character that no header can carry",
            },
        )?;
        value.set_sensitive(true);
        Ok(self
            .http
            .request(method, self.url(path)?)
            .timeout(self.timeout)
            .header("authorization", value))
    }

    async fn send(&self, call: &'static str, request: RequestBuilder) -> Result<Response, ImError> {
        let response = request.send().await.map_err(|error| ImError::Unreachable {
            call,
            source: error.without_url(),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = read_limited(response, MAX_ERROR).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Err(ImError::from_answer(call, status.as_u16(), &text))
    }

    pub(super) async fn done(
        &self,
        call: &'static str,
        request: RequestBuilder,
    ) -> Result<(), ImError> {
        self.text(call, request).await.map(drop)
    }

    pub(super) async fn text(
        &self,
        call: &'static str,
        request: RequestBuilder,
    ) -> Result<String, ImError> {
        let answer = async {
            let response = self.send(call, request).await?;
            read_limited(response, MAX_ANSWER)
                .await
                .map_err(|error| ImError::from_read(call, error))
        };
        let bytes = self.calls.count(answer).await?;
        String::from_utf8(bytes).map_err(|_quotes_it| not_understood(call, "it is not UTF-8"))
    }

    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        call: &'static str,
        request: RequestBuilder,
    ) -> Result<T, ImError> {
        let text = self.text(call, request).await?;
        // The error of serde_json would quote the answer, which may hold a secret.
        serde_json::from_str(&text).map_err(|error| {
            not_understood(
                call,
                &format!(
                    "bad JSON at line {} column {}",
                    error.line(),
                    error.column()
                ),
            )
        })
    }

    /// The one field of an answer of the form `{"<name>": …}`.
    pub(super) async fn field<T: DeserializeOwned>(
        &self,
        call: &'static str,
        request: RequestBuilder,
        name: &str,
    ) -> Result<T, ImError> {
        let mut answer: Value = self.json(call, request).await?;
        let value = answer
            .get_mut(name)
            .map(Value::take)
            .ok_or_else(|| not_understood(call, &format!("it has no `{name}`")))?;
        serde_json::from_value(value)
            .map_err(|_quotes_it| not_understood(call, &format!("its `{name}` has another form")))
    }

    pub(super) async fn log(
        &self,
        call: &'static str,
        request: RequestBuilder,
        from: u64,
    ) -> Result<ContMsg, ImError> {
        let answer = async {
            let response = self.send(call, request.timeout(self.slow())).await?;
            read_tail(response, MAX_CONTMSG_PIECE, MAX_CONTMSG)
                .await
                .map_err(|error| ImError::from_read(call, error))
        };
        let tail = self.calls.count(answer).await?;
        Ok(piece(&tail.bytes, tail.total, from))
    }
}

/// The part of a log from byte `from` on, given its last bytes and its whole length.
fn piece(last: &[u8], total: u64, from: u64) -> ContMsg {
    let from = if from > total { 0 } else { from };
    let kept_from = total.saturating_sub(u64::try_from(last.len()).unwrap_or(u64::MAX));
    let mut start = from.max(kept_from);
    let skip = usize::try_from(start - kept_from).unwrap_or(usize::MAX);
    let mut bytes = last.get(skip..).unwrap_or_default();
    // A cut may fall into the middle of a character: leave out its rest.
    while let Some((first, rest)) = bytes.split_first()
        && first & 0b1100_0000 == 0b1000_0000
    {
        bytes = rest;
        start += 1;
    }
    ContMsg {
        text: String::from_utf8_lossy(bytes).into_owned(),
        start,
        end: total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::im::{ImCredentials, ImLogin, TokenCell};

    #[test]
    fn logs_are_cut_to_what_is_new() {
        let all = "line 1\nline 2\n".as_bytes();
        let whole = piece(all, 14, 0);
        assert_eq!(
            (whole.text.as_str(), whole.start, whole.end),
            ("line 1\nline 2\n", 0, 14)
        );
        let new = piece(all, 14, 7);
        assert_eq!((new.text.as_str(), new.start, new.end), ("line 2\n", 7, 14));
        assert_eq!(piece(all, 14, 14).text, "");
        // Begun anew by a reconfigure.
        assert_eq!(piece(all, 14, 900).start, 0);
        // Too long: the beginning is missing.
        let cut = piece(&all[4..], 14, 0);
        assert_eq!((cut.text.as_str(), cut.start), (" 1\nline 2\n", 4));
        // Cut within `é`.
        let cut = piece(&"é!".as_bytes()[1..], 3, 0);
        assert_eq!((cut.text.as_str(), cut.start), ("!", 2));
    }

    #[test]
    fn paths_extend_the_base_url() {
        let client = |base: &str| {
            let credentials = ImCredentials {
                login: ImLogin::Token(TokenCell::empty()),
                clouds: Vec::new(),
            };
            let http = crate::services::http::client(None).unwrap();
            ImClient::new(http, Url::parse(base).unwrap(), credentials)
        };
        for base in ["https://im.egi.eu/im", "https://im.egi.eu/im/"] {
            let url = client(base).url(&["clouds", "a/../b", "images"]).unwrap();
            assert_eq!(
                url.as_str(),
                "https://im.egi.eu/im/clouds/a%2F..%2Fb/images"
            );
        }
    }
}
