//! Answers in the form that the client asked for, errors in IM's words.
//!
//! Source: `format_output`, `return_error` in `IM/rest/routers/__init__.py` of IM 2.0.0.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::auth::Refusal;

/// What a call is about: the beginning of its error texts, and the status of a bad login.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) prefix: &'static str,
    /// Only some paths answer 401; the others 400.
    pub(super) bad_login: u16,
}

pub(super) const LIST: Call = Call {
    prefix: "Error Getting Inf. List",
    bad_login: 401,
};
pub(super) const CREATE: Call = Call {
    prefix: "Error Creating Inf.",
    bad_login: 401,
};
pub(super) const CLOUD: Call = Call {
    prefix: "Error getting cloud info",
    bad_login: 401,
};
pub(super) const INFO: Call = call("Error Getting Inf. info");
pub(super) const PROPERTY: Call = call("Error Getting Inf. prop");
pub(super) const ADD: Call = call("Error Adding resources");
pub(super) const DESTROY: Call = call("Error Destroying Inf");
pub(super) const RECONFIGURE: Call = call("Error reconfiguring infrastructure");
pub(super) const OWNERS: Call = call("Error modifying infrastructure owner");
pub(super) const NO_OWNERS: Call = call("Error modifying infrastructure owners");
pub(super) const VM: Call = call("Error Getting VM. info");
pub(super) const VM_PROPERTY: Call = call("Error Getting VM. property");
pub(super) const REMOVE: Call = call("Error Removing resources");
pub(super) const START: Call = call("Error in start operation");
pub(super) const STOP: Call = call("Error in stop operation");
pub(super) const START_VM: Call = call("Error in start op in VM");
pub(super) const STOP_VM: Call = call("Error in stop op in VM");
pub(super) const REBOOT_VM: Call = call("Error in reboot op in VM");

const fn call(prefix: &'static str) -> Call {
    Call {
        prefix,
        bad_login: 400,
    }
}

/// Why a call fails.
#[derive(Debug)]
pub(super) enum Failure {
    Login(Refusal),
    /// 403, somebody else's.
    NotOurs,
    /// 404 with this text.
    Missing(&'static str),
    /// 409.
    Conflict,
    /// 400 with this text.
    Bad(String),
    /// This status and text as they are.
    Plain(u16, String),
    /// `FastAPI`'s answer to a path that does not fit.
    Unprocessable(Value),
}

pub(super) const NO_SUCH_INFRASTRUCTURE: Failure =
    Failure::Missing("Invalid infrastructure ID or access not granted.");
pub(super) const NO_SUCH_VM: Failure = Failure::Missing("Invalid VM ID");

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Login(refusal)
    }
}

/// What a call gives.
pub(super) enum Output {
    Empty,
    /// Plain text, under this name in JSON.
    Text(String, &'static str),
    /// One URI.
    Uri(String),
    /// URIs, one a line.
    Uris(Vec<String>),
    /// Names, one a line, under this name in JSON.
    Lines(Vec<String>, &'static str),
    /// Both forms.
    Radl {
        text: String,
        json: Value,
    },
    /// JSON only.
    Json(Value),
}

/// The media types that a header names; IM's spellings of YAML are one.
pub(super) fn media_types(headers: &HeaderMap, name: header::HeaderName) -> Vec<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(|value| {
            value
                .split(',')
                .map(|item| item.split(';').next().unwrap_or_default().trim())
                .map(|item| match item {
                    "text/x-yaml" | "application/yaml" => "text/yaml".to_owned(),
                    other => other.to_owned(),
                })
                .collect()
        })
        .unwrap_or_default()
}

/// The whole answer to a call. `id` goes into the header `InfID`.
pub(super) fn respond(
    headers: &HeaderMap,
    call: Call,
    id: Option<&str>,
    result: Result<Output, Failure>,
) -> Response {
    let result =
        result.and_then(|output| negotiate(headers, &output).map(|json| form(output, json)));
    match result {
        Ok(mut response) => {
            if let Some(value) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
                response.headers_mut().insert("infid", value);
            }
            response
        }
        Err(failure) => fail(headers, call, failure),
    }
}

/// Whether to answer JSON.
fn negotiate(headers: &HeaderMap, output: &Output) -> Result<bool, Failure> {
    let plain = match output {
        Output::Empty => return Ok(false),
        Output::Json(_) => "application/json",
        Output::Uri(_) | Output::Uris(_) => "text/uri-list",
        Output::Text(..) | Output::Lines(..) | Output::Radl { .. } => "text/plain",
    };
    let mut accepted = media_types(headers, header::ACCEPT);
    if accepted.is_empty() {
        accepted.push(plain.to_owned());
    }
    for media_type in &accepted {
        if matches!(media_type.as_str(), "application/json" | "application/*") {
            return Ok(true);
        }
        let fits = media_type == "*/*"
            || (plain.starts_with("text/") && media_type == "text/*")
            || media_type == plain;
        if fits {
            return Ok(plain == "application/json");
        }
    }
    let shown = if plain == "application/json" {
        format!("['{}']", accepted.join("', '"))
    } else {
        accepted.join(",")
    };
    let text = format!("Unsupported Accept Media Types: {shown}");
    Err(Failure::Plain(415, text))
}

fn form(output: Output, as_json: bool) -> Response {
    let text = |content_type: &'static str, text: String| {
        ([(header::CONTENT_TYPE, content_type)], text).into_response()
    };
    const PLAIN: &str = "text/plain; charset=utf-8";
    const URI_LIST: &str = "text/uri-list; charset=utf-8";
    match (output, as_json) {
        (Output::Empty, _) => text(PLAIN, String::new()),
        (Output::Json(value), _) => Json(value).into_response(),
        (Output::Text(value, name), true) => Json(json!({ name: value })).into_response(),
        (Output::Text(value, _), false) => text(PLAIN, value),
        (Output::Lines(lines, name), true) => Json(json!({ name: lines })).into_response(),
        (Output::Lines(lines, _), false) => text(PLAIN, lines.join("\n")),
        (Output::Uri(uri), true) => Json(json!({ "uri": uri })).into_response(),
        (Output::Uri(uri), false) => text(URI_LIST, uri),
        (Output::Uris(uris), true) => {
            let list: Vec<Value> = uris.iter().map(|uri| json!({ "uri": uri })).collect();
            Json(json!({ "uri-list": list })).into_response()
        }
        (Output::Uris(uris), false) => text(URI_LIST, uris.join("\n")),
        (Output::Radl { json, .. }, true) => Json(json!({ "radl": json })).into_response(),
        (Output::Radl { text: radl, .. }, false) => text(PLAIN, radl),
    }
}

fn fail(headers: &HeaderMap, call: Call, failure: Failure) -> Response {
    let prefixed = |text: &str| format!("{}: {text}", call.prefix);
    let (status, text) = match failure {
        Failure::Login(Refusal::NoHeader) => (401, "No authentication data provided".to_owned()),
        Failure::Login(Refusal::Invalid(text)) => (call.bad_login, prefixed(&text)),
        Failure::Login(Refusal::Other(text)) | Failure::Bad(text) => (400, prefixed(&text)),
        Failure::NotOurs => (403, prefixed("Access to this infrastructure not granted.")),
        Failure::Missing(text) => (404, prefixed(text)),
        Failure::Conflict => (409, prefixed("Invalid State to perform this operation.")),
        Failure::Plain(status, text) => (status, text),
        Failure::Unprocessable(detail) => {
            let body = Json(json!({ "detail": [detail] }));
            return (StatusCode::UNPROCESSABLE_ENTITY, body).into_response();
        }
    };
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let accepted = media_types(headers, header::ACCEPT);
    if accepted.iter().any(|a| a == "application/json") {
        let body = Json(json!({ "message": text, "code": status }));
        return (code, body).into_response();
    }
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (code, plain, text).into_response()
}

/// `FastAPI`'s complaint about a word in the path that is not one of the known ones.
pub(super) fn not_one_of(name: &str, input: &str, known: &[&str]) -> Failure {
    let quoted: Vec<String> = known.iter().map(|word| format!("'{word}'")).collect();
    let expected = match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    };
    Failure::Unprocessable(json!({
        "type": "literal_error",
        "loc": ["path", name],
        "msg": format!("Input should be {expected}"),
        "input": input,
        "ctx": { "expected": expected },
    }))
}
