//! A registry of container images: Docker Hub as far as somebody looks for tags there.
//!
//! `GET /v2/<name>/tags/list?n=&last=` answers tags in order of their letters, at most
//! [`PAGE`] of them, and the next page in `Link`. Without a token it answers 401 and says in
//! `WWW-Authenticate` that `GET /token?service=&scope=` hands one out, to anybody, for one image.
//! A name that it does not have is refused like one that needs a login, as Docker Hub does.
//!
//! Source: OCI Distribution Specification 1.1; the registry project's "Token Authentication
//! Specification".

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::json;

use crate::faults::Faults;
use crate::serve::{Background, listen};

/// The most tags of one page.
pub const PAGE: usize = 50;

/// The image that is there from the beginning.
const NOTEBOOK: &str = "pangeo/pangeo-notebook";

/// The name of the service, as Docker Hub's.
const SERVICE: &str = "registry.docker.io";

/// A pretend registry.
pub struct Registry {
    inner: Arc<Inner>,
    address: SocketAddr,
    _background: Background,
}

struct Inner {
    address: SocketAddr,
    images: Mutex<BTreeMap<String, BTreeSet<String>>>,
    faults: Faults,
}

impl Registry {
    /// Starts it, with the tags of the howto's image.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Arc<Self>> {
        let (listener, address) = listen(address).await?;
        let images = BTreeMap::from([(NOTEBOOK.to_owned(), notebook_tags())]);
        let inner = Arc::new(Inner {
            address,
            images: Mutex::new(images),
            faults: Faults::new(),
        });
        let router = Router::new()
            .route("/v2/{owner}/{name}/tags/list", get(tags))
            .route("/token", get(token))
            .with_state(Arc::clone(&inner));
        let background = Background::new();
        background.serve(listener, inner.faults.wrap(router));
        Ok(Arc::new(Self {
            inner,
            address,
            _background: background,
        }))
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its faults.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Somebody pushes a tag of an image.
    pub fn push(&self, image: &str, tag: &str) {
        let mut images = self.inner.images();
        let tags = images.entry(image.to_owned()).or_default();
        tags.insert(tag.to_owned());
    }
}

impl Inner {
    fn images(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The days of releases until 2024, some commits, and `latest`.
fn notebook_tags() -> BTreeSet<String> {
    let mut tags: BTreeSet<String> = ["2022.09.21", "2024.01.15", "2024.04.08", "latest", "master"]
        .map(str::to_owned)
        .into();
    for year in 2021..2024 {
        tags.extend((1..=12).map(|month| format!("{year}.{month:02}.05")));
    }
    // As commits are called; enough that there is a second page.
    tags.extend((0..40_u32).map(|number| format!("{:08x}", number.wrapping_mul(0x9e37_79b9))));
    tags
}

#[derive(Deserialize)]
struct PageQuery {
    n: Option<usize>,
    last: Option<String>,
}

async fn tags(
    State(inner): State<Arc<Inner>>,
    Path((owner, name)): Path<(String, String)>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    let image = format!("{owner}/{name}");
    let shown = headers.get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.to_str().ok());
    if shown != Some(&format!("Bearer {}", token_for(&image))) {
        return unauthorized(inner.address, &image);
    }
    let Some(all) = inner.images().get(&image).cloned() else {
        return unauthorized(inner.address, &image);
    };
    let most = query.n.unwrap_or(PAGE).clamp(1, PAGE);
    let after = query.last.unwrap_or_default();
    let rest: Vec<String> = all.into_iter().filter(|tag| *tag > after).collect();
    let page = rest.get(..most.min(rest.len())).unwrap_or_default();
    let body = json!({ "name": image, "tags": page }).to_string();
    let mut answer = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let (true, Some(last)) = (rest.len() > page.len(), page.last()) {
        let link = format!("</v2/{image}/tags/list?n={most}&last={last}>; rel=\"next\"");
        if let Ok(link) = link.parse() {
            answer.headers_mut().insert(header::LINK, link);
        }
    }
    answer
}

fn unauthorized(address: SocketAddr, image: &str) -> Response {
    let scope = format!("repository:{image}:pull");
    let challenge =
        format!("Bearer realm=\"http://{address}/token\",service=\"{SERVICE}\",scope=\"{scope}\"");
    let errors = json!({ "errors": [{
        "code": "UNAUTHORIZED", "message": "authentication required",
        "detail": [{ "Type": "repository", "Name": image, "Action": "pull" }]
    }] });
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::WWW_AUTHENTICATE, challenge),
    ];
    (StatusCode::UNAUTHORIZED, headers, errors.to_string()).into_response()
}

#[derive(Deserialize)]
struct TokenQuery {
    service: String,
    scope: String,
}

async fn token(Query(query): Query<TokenQuery>) -> Response {
    let image = query.scope.strip_prefix("repository:");
    let image = image.and_then(|rest| rest.strip_suffix(":pull"));
    match image {
        Some(image) if query.service == SERVICE => {
            let body = json!({
                "token": token_for(image), "access_token": token_for(image),
                "expires_in": 300, "issued_at": "2026-11-28T10:00:00Z"
            });
            let body = body.to_string();
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        _ => (
            StatusCode::BAD_REQUEST,
            "{\"details\":\"service or scope\"}",
        )
            .into_response(),
    }
}

/// A token for one image.
fn token_for(image: &str) -> String {
    format!("anybody-may-pull-{}", hex::encode(image))
}
