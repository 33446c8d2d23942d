//! Registries of container images: which tags an image has.
//!
//! `GET /v2/<name>/tags/list?n=` answers a page of tags, and the next one's place in `Link`
//! (OCI Distribution Specification 1.1, "Listing Tags"). A registry that answers 401 names in
//! `WWW-Authenticate` where it wants a token from, which for a public image anybody gets (the
//! registry project's "Token Authentication Specification").
//!
//! **Invariant:** only registries of the configuration are asked, whatever an image is called, and
//! where such a registry sends us for a token; they learn nothing but the image's name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{LINK, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::text::{ReadError, read_limited};
use crate::domain::metrics::{Calls, Metrics};

/// Where images without a registry in their name are.
const USUAL: &str = "docker.io";

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// How many pages are read.
const PAGES: usize = 10;

/// How many tags a page may have; Docker Hub and quay.io give fewer.
const PAGE: &str = "1000";

/// The longest answer, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// How many tags are kept of an image.
const KEPT: usize = 20_000;

/// Of how many images the tags are remembered.
const REMEMBERED: usize = 16;

/// Why a registry did not tell the tags.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It is not among those that are asked.
    #[error("the registry `{registry}` is not asked (`images.registries`)")]
    NotAsked {
        /// The registry.
        registry: String,
    },
    /// It did not answer.
    #[error("the registry `{registry}` does not answer")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answered with something else.
    #[error("the registry `{registry}` answers with status {status}")]
    Status {
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
    },
    /// It wants a login.
    #[error("the registry `{registry}` wants a login for this image, or has none of that name")]
    LoginWanted {
        /// The registry.
        registry: String,
    },
    /// The answer can't be used.
    #[error("the answer of the registry `{registry}` can't be used: {why}")]
    NotUnderstood {
        /// The registry.
        registry: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Asks registries.
#[derive(Debug)]
pub struct RegistryClient {
    http: reqwest::Client,
    /// By their names in images.
    registries: BTreeMap<String, Url>,
    remembered: Mutex<BTreeMap<String, Arc<Vec<String>>>>,
    calls: Calls,
}

/// A page of tags.
#[derive(Deserialize)]
struct Page {
    /// `null` for an image without tags.
    tags: Option<Vec<String>>,
}

/// What an authorization server hands out: `token`, or `access_token` in `OAuth2` words.
#[derive(Deserialize)]
struct Token {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
}

/// One image at one registry.
struct Place<'a> {
    registry: &'a str,
    base: &'a Url,
    name: String,
}

impl RegistryClient {
    /// A client for these registries, by their names in images, such as `docker.io`.
    pub fn new(http: reqwest::Client, registries: BTreeMap<String, Url>) -> Self {
        Self {
            http,
            registries,
            remembered: Mutex::default(),
            calls: Calls::to("registry"),
        }
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.calls = self.calls.counted_by(metrics);
        self
    }

    /// The tags of an image, in the registry's order.
    ///
    /// # Errors
    /// [`RegistryError`]; in words for a plan.
    pub async fn tags(&self, image: &str) -> Result<Arc<Vec<String>>, RegistryError> {
        let place = self.place(image)?;
        let tags = Arc::new(self.calls.count(self.read(&place)).await?);
        let mut known = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(image.to_owned(), Arc::clone(&tags));
        Ok(tags)
    }

    /// The tags that were read last, so that who types does not wait for a registry.
    pub fn remembered(&self, image: &str) -> Option<Arc<Vec<String>>> {
        let known = self.remembered.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known.get(image).cloned()
    }

    /// Registry and name (<https://github.com/distribution/reference>): the first part is a
    /// registry if it has a dot or a port; names of one part are Docker Hub's own.
    fn place(&self, image: &str) -> Result<Place<'_>, RegistryError> {
        let split = image.split_once('/');
        let (registry, name) = match split {
            Some((first, rest)) if first.contains(['.', ':']) => (first, rest.to_owned()),
            Some(_) => (USUAL, image.to_owned()),
            None => (USUAL, format!("library/{image}")),
        };
        let known = self.registries.get_key_value(registry);
        let (registry, base) = known.ok_or_else(|| RegistryError::NotAsked {
            registry: registry.to_owned(),
        })?;
        Ok(Place {
            registry,
            base,
            name,
        })
    }

    async fn read(&self, place: &Place<'_>) -> Result<Vec<String>, RegistryError> {
        let mut next = Some(place.first_page()?);
        let mut token = None;
        let mut tags = Vec::new();
        for _page in 0..PAGES {
            let Some(url) = next.take() else {
                break;
            };
            let mut answer = self.get(place, url.clone(), token.as_ref()).await?;
            if answer.status() == StatusCode::UNAUTHORIZED && token.is_none() {
                let fresh = self.token(place, &answer).await?;
                answer = self.get(place, url.clone(), Some(&fresh)).await?;
                token = Some(fresh);
            }
            next = place.next_page(&url, &answer)?;
            let page: Page = place.read(answer).await?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > KEPT {
                return Err(place.not_understood("it has too many tags"));
            }
        }
        Ok(tags)
    }

    async fn get(
        &self,
        place: &Place<'_>,
        url: Url,
        token: Option<&SecretString>,
    ) -> Result<Response, RegistryError> {
        let request = self.http.get(url).timeout(REQUEST_LIMIT);
        let request = match token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let answer = request.send().await;
        answer.map_err(|error| RegistryError::Unreachable {
            registry: place.registry.to_owned(),
            source: error.without_url(),
        })
    }

    /// The token that anybody gets, from where the registry says.
    async fn token(
        &self,
        place: &Place<'_>,
        refusal: &Response,
    ) -> Result<SecretString, RegistryError> {
        let challenge = refusal.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|value| value.to_str().ok());
        let url = challenge
            .and_then(|challenge| token_url(challenge, place))
            .ok_or_else(|| place.login_wanted())?;
        let answer = self.get(place, url, None).await?;
        let token: Token = place.read(answer).await?;
        let token = token.token.or(token.access_token);
        token.ok_or_else(|| place.not_understood("it hands out no token"))
    }
}

impl Place<'_> {
    fn first_page(&self) -> Result<Url, RegistryError> {
        let path = format!("/v2/{}/tags/list?n={PAGE}", self.name);
        let url = self.base.join(&path);
        url.map_err(|_error| self.not_understood("the name makes no URL"))
    }

    /// The page that `Link: <…>; rel="next"` names, if it is of the same registry.
    fn next_page(&self, at: &Url, answer: &Response) -> Result<Option<Url>, RegistryError> {
        let link = answer.headers().get(LINK);
        let Some(link) = link.and_then(|value| value.to_str().ok()) else {
            return Ok(None);
        };
        let Some(target) = next_of(link) else {
            return Ok(None);
        };
        let url = at.join(target).ok();
        let url = url.filter(|url| url.origin() == self.base.origin());
        url.map(Some)
            .ok_or_else(|| self.not_understood("its next page is elsewhere"))
    }

    /// The body of an answer that is right.
    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        answer: Response,
    ) -> Result<T, RegistryError> {
        match answer.status().as_u16() {
            200 => {}
            401 | 403 => return Err(self.login_wanted()),
            status => {
                return Err(RegistryError::Status {
                    registry: self.registry.to_owned(),
                    status,
                });
            }
        }
        let body = read_limited(answer, ANSWER_LIMIT).await;
        let body = body.map_err(|error| match error {
            ReadError::TooLong { .. } => self.not_understood("it is too long"),
            ReadError::Broken(source) => RegistryError::Unreachable {
                registry: self.registry.to_owned(),
                source,
            },
        })?;
        serde_json::from_slice(&body).map_err(|_error| self.not_understood("it is not its JSON"))
    }

    fn not_understood(&self, why: &'static str) -> RegistryError {
        RegistryError::NotUnderstood {
            registry: self.registry.to_owned(),
            why,
        }
    }

    fn login_wanted(&self) -> RegistryError {
        RegistryError::LoginWanted {
            registry: self.registry.to_owned(),
        }
    }
}

/// Where `Bearer realm="…",service="…",scope="…"` wants a token to be asked for: over https, or of
/// the registry itself.
fn token_url(challenge: &str, place: &Place<'_>) -> Option<Url> {
    let (scheme, rest) = challenge.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest);
    let mut url = Url::parse(parameters.get("realm")?).ok()?;
    if url.scheme() != "https" && url.origin() != place.base.origin() {
        return None;
    }
    let scope = match parameters.get("scope") {
        Some(scope) => scope.clone(),
        None => format!("repository:{}:pull", place.name),
    };
    let mut query = url.query_pairs_mut();
    if let Some(service) = parameters.get("service") {
        query.append_pair("service", service);
    }
    query.append_pair("scope", &scope);
    drop(query);
    Some(url)
}

/// `name="value"` parameters; commas within quotes belong to the value.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else {
            break;
        };
        let name = name.trim_matches([',', ' ']).to_ascii_lowercase();
        found.insert(name, value.to_owned());
        rest = after;
    }
    found
}

/// The target of `<…>; rel="next"`.
fn next_of(link: &str) -> Option<&str> {
    let (target, relation) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = relation.contains("rel=\"next\"") || relation.contains("rel=next");
    is_next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> RegistryClient {
        let url = |text: &str| Url::parse(text).unwrap();
        let registries = [
            ("docker.io", "https://registry-1.docker.io"),
            ("quay.io", "https://quay.io"),
        ];
        let registries = registries.map(|(name, base)| (name.to_owned(), url(base)));
        let http = crate::services::http::client(None).unwrap();
        RegistryClient::new(http, registries.into_iter().collect())
    }

    #[test]
    fn an_image_is_looked_for_where_it_is_and_nowhere_else() {
        let client = client();
        let page = |image: &str| Some(client.place(image).ok()?.first_page().ok()?.to_string());
        for (image, url) in [
            (
                "pangeo/pangeo-notebook",
                "https://registry-1.docker.io/v2/pangeo/pangeo-notebook/tags/list?n=1000",
            ),
            (
                "ubuntu",
                "https://registry-1.docker.io/v2/library/ubuntu/tags/list?n=1000",
            ),
            (
                "quay.io/pangeo/pangeo-notebook",
                "https://quay.io/v2/pangeo/pangeo-notebook/tags/list?n=1000",
            ),
        ] {
            assert_eq!(page(image).as_deref(), Some(url));
        }
        for elsewhere in ["ghcr.io/a/b", "10.0.0.1:5000/a", "quay.io:8443/a/b"] {
            let error = client.place(elsewhere).err().unwrap();
            assert!(error.to_string().contains("is not asked"), "{error}");
        }
    }

    #[test]
    fn a_token_is_asked_for_where_the_registry_says() {
        let client = client();
        let place = client.place("pangeo/pangeo-notebook").unwrap();
        let challenge = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:pangeo/pangeo-notebook:pull""#;
        assert_eq!(
            token_url(challenge, &place).unwrap().as_str(),
            "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Apangeo%2Fpangeo-notebook%3Apull"
        );
        for bad in [
            "",
            "Basic realm=\"x\"",
            "Bearer realm=\"http://evil.example.org/token\"",
            "Bearer service=\"a\"",
        ] {
            assert!(token_url(bad, &place).is_none(), "{bad}");
        }
        let two = parameters(r#"realm="https://a", scope="repository:a:pull,push""#);
        assert_eq!(two["scope"], "repository:a:pull,push");
    }

    #[test]
    fn the_next_page_is_read_from_its_link() {
        let link = r#"</v2/a/tags/list?n=2&last=b>; rel="next""#;
        assert_eq!(next_of(link), Some("/v2/a/tags/list?n=2&last=b"));
        assert_eq!(next_of("</x>; rel=\"prev\""), None);
        assert_eq!(next_of("nonsense"), None);
    }
}
