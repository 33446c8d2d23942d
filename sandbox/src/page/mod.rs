//! The web page of the sandbox's Discord: plain HTML, CSS and JavaScript of ours, embedded in the
//! binary.
//!
//! The page is a client of the page API that `sandbox::discord` serves on the same address
//! (`/sandbox/api/*`); this module only hands out its files.
//!
//! Flow in the browser: `app.js` loads the state into `store.js`, opens the event stream, and draws
//! the side bar (`sidebar.js`), one or two panes of messages (`view.js` with `message.js`,
//! `markdown.js`, `embed.js`, `components.js`) and the world panel (`world.js`). Under each pane
//! stands a composer (`composer.js`), which becomes a slash command form (`slash.js`, with the
//! grammar in `command.js`) once a command is chosen.
//!
//! **Invariant:** text of a message reaches the document only as text nodes; no file here uses
//! `innerHTML`, `eval` or an inline handler, and the Content-Security-Policy would stop it.
//! **Invariant:** nothing is loaded from another host: no fonts, no scripts, no pictures.
//! **Invariant:** wherever it is drawn, the page says that it is a simulation.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// What the page may do: load only what this server hands out, and run no inline code or style.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// One embedded file.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

/// Embeds the named files of this folder.
macro_rules! assets {
    ($($content_type:ident: $($name:literal),+ $(,)?;)+) => {
        &[$($(Asset { name: $name, content_type: $content_type, content: include_str!($name) },)+)+]
    };
}

const INDEX: Asset = Asset {
    name: "index.html",
    content_type: HTML,
    content: include_str!("index.html"),
};

/// The files under `/static/`.
const ASSETS: &[Asset] = assets! {
    SCRIPT: "api.js", "app.js", "command.js", "components.js", "composer.js", "dom.js", "embed.js",
        "highlight.js", "markdown.js", "message.js", "modal.js", "person.js", "popup.js",
        "sidebar.js", "slash.js", "store.js", "view.js", "world.js";
    STYLE: "style.css", "messages.css", "composer.css", "world.css";
    PICTURE: "emoji-check.svg", "emoji-cross.svg", "emoji-eyes.svg", "emoji-warning.svg", "icon.svg";
};

/// Serves the page: `GET /` and `GET /static/{file}`.
///
/// Merge it into the server that also answers `/sandbox/api/*` and `/cdn/*`: the page talks only to
/// the address that it came from.
pub fn router() -> Router {
    Router::new()
        .route("/", get(index))
        .route("/static/{name}", get(file))
}

async fn index(headers: HeaderMap) -> Response {
    answer(&INDEX, &headers)
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => answer(asset, &headers),
        None => (StatusCode::NOT_FOUND, "no such file of the page").into_response(),
    }
}

/// Answers with the file, or with 304 if the browser has it already.
fn answer(asset: &Asset, request: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex::encode(Sha256::digest(asset.content)));
    let known = request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.content.into_response()
    };
    let headers = response.headers_mut();
    // The files change with the binary, so the browser asks each time and mostly hears 304.
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    async fn get_file(path: &str, tag: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        router()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn every_file_that_the_page_names_is_served_with_its_type_and_policy() {
        let named =
            regex::Regex::new(r#"(?:/static/|from "\./)([a-z-]+\.(?:js|css|svg))"#).unwrap();
        let mut seen = 0;
        for asset in ASSETS.iter().chain([&INDEX]) {
            for found in named.captures_iter(asset.content) {
                let response = get_file(&format!("/static/{}", &found[1]), None).await;
                assert_eq!(
                    response.status(),
                    200,
                    "{} named in {}",
                    &found[1],
                    asset.name
                );
                let headers = response.headers();
                let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
                assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"));
                assert!(
                    headers[header::CONTENT_TYPE]
                        .to_str()
                        .unwrap()
                        .contains('/')
                );
                seen += 1;
            }
        }
        assert!(seen > 20, "only {seen} files are named");
        let page = get_file("/", None).await;
        assert_eq!(page.headers()[header::CONTENT_TYPE], HTML);
        assert_eq!(get_file("/static/secrets.js", None).await.status(), 404);
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again() {
        let first = get_file("/static/app.js", None).await;
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = get_file("/static/app.js", Some(&tag)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let body = to_bytes(again.into_body(), 1024).await.unwrap();
        assert!(body.is_empty());
    }

    #[test]
    fn no_file_puts_data_into_markup() {
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ];
        for asset in ASSETS.iter().chain([&INDEX]) {
            for word in forbidden {
                assert!(!asset.content.contains(word), "{} uses {word}", asset.name);
            }
        }
        assert!(!INDEX.content.contains("style=") && !INDEX.content.contains("onclick"));
    }
}
