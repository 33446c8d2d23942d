//! Who may see an operation: whoever has a link that was signed and has not expired.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::SharedState;
use crate::domain::ids::OperationId;
use crate::domain::links::{LinkError, LinkSignature};
use crate::domain::operation::Operation;

/// An operation whose link was checked; nothing else gets to the rows.
pub(super) struct Allowed(pub(super) Operation);

/// The query of a link.
#[derive(Deserialize)]
pub(super) struct LinkQuery {
    expires: i64,
    signature: String,
}

impl From<LinkQuery> for LinkSignature {
    fn from(query: LinkQuery) -> Self {
        Self {
            expires: query.expires,
            signature: query.signature,
        }
    }
}

/// Why a page is not shown.
pub(super) enum Denied {
    /// The link is no link of ours, or was changed.
    Invalid,
    /// The link's time is over.
    Expired,
    /// The link is right, the operation is not there (any more).
    Unknown,
    /// Too many look at the moment.
    Busy,
    /// The database does not answer.
    Unavailable,
}

impl FromRequestParts<SharedState> for Allowed {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &SharedState) -> Result<Self, Denied> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_rejection| Denied::Invalid)?;
        let id: OperationId = id.parse().map_err(|_error| Denied::Invalid)?;
        let Query(query) = Query::<LinkQuery>::from_request_parts(parts, state)
            .await
            .map_err(|_rejection| Denied::Invalid)?;
        let link = LinkSignature::from(query);
        let now = state.parts.store.clock().now();
        match state.parts.links.check(id, &link, now) {
            Ok(()) => {}
            Err(LinkError::Invalid) => return Err(Denied::Invalid),
            Err(LinkError::Expired) => return Err(Denied::Expired),
        }
        match state.parts.store.operation(id).await {
            Ok(Some(operation)) => Ok(Self(operation)),
            Ok(None) => Err(Denied::Unknown),
            Err(error) => {
                tracing::warn!(operation.id = %id, error = format!("{error:#}"), "a page could not read its operation");
                Err(Denied::Unavailable)
            }
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Denied::Invalid => (
                StatusCode::FORBIDDEN,
                "This link does not open the page",
                "Part of it may be missing: copy the whole link from the message in Discord. \
                 For a new one type /pangeo logs operation in the channel.",
            ),
            Denied::Expired => (
                StatusCode::FORBIDDEN,
                "This link has expired",
                "Links work for a limited time. \
                 For a new one type /pangeo logs operation in the channel.",
            ),
            Denied::Unknown => (
                StatusCode::NOT_FOUND,
                "There is no such operation",
                "The link is right, but the operation is no longer in the database.",
            ),
            Denied::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many people are looking",
                "Try again in a minute.",
            ),
            Denied::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database does not answer",
                "Try again in a minute. Operations go on by themselves once it answers.",
            ),
        };
        let mut response = (status, plain_page(title, text)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let wait = HeaderValue::from_static("30");
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response
    }
}

/// The answer for a path that does not exist.
pub(super) async fn not_found() -> impl IntoResponse {
    let page = plain_page(
        "There is no such page",
        "Pages of operations are reached by the links in Discord.",
    );
    (StatusCode::NOT_FOUND, page)
}

/// A page of two constant sentences.
fn plain_page(title: &'static str, text: &'static str) -> axum::response::Html<String> {
    axum::response::Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
    ))
}
