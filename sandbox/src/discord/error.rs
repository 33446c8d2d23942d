//! Errors in the shape that Discord gives them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// A refusal with one of Discord's JSON error codes
/// (<https://discord.com/developers/docs/topics/opcodes-and-status-codes>, 2026-08).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: u32,
    pub(crate) message: String,
    pub(crate) errors: Option<Value>,
}

/// The answer of one REST handler.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: u16, code: u32, message: &str) -> Self {
        Self {
            status,
            code,
            message: message.to_owned(),
            errors: None,
        }
    }

    pub(crate) fn unknown_channel() -> Self {
        Self::new(404, 10003, "Unknown Channel")
    }

    pub(crate) fn unknown_message() -> Self {
        Self::new(404, 10008, "Unknown Message")
    }

    pub(crate) fn unknown_webhook() -> Self {
        Self::new(404, 10015, "Unknown Webhook")
    }

    pub(crate) fn unknown_interaction() -> Self {
        Self::new(404, 10062, "Unknown interaction")
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, 0, "401: Unauthorized")
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, 0, "404: Not Found")
    }

    pub(crate) fn missing_access() -> Self {
        Self::new(403, 50001, "Missing Access")
    }

    pub(crate) fn missing_permissions() -> Self {
        Self::new(403, 50013, "Missing Permissions")
    }

    pub(crate) fn bad_json() -> Self {
        Self::new(400, 50109, "The request body contains invalid JSON.")
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = json!({"message": self.message, "code": self.code});
        if let (Some(errors), Some(map)) = (&self.errors, body.as_object_mut()) {
            map.insert("errors".to_owned(), errors.clone());
        }
        body
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        json_response(status, &self.body())
    }
}

/// A JSON answer; serenity and discord.js check for this `Content-Type` without a charset.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// Collects what is wrong with a form and becomes error 50035.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    errors: Map<String, Value>,
}

impl Problems {
    /// Notes a problem with the field at a dotted path such as `embeds.0.title`.
    pub(crate) fn add(&mut self, path: &str, code: &str, message: &str) {
        let mut at = &mut self.errors;
        for part in path.split('.') {
            let entry = at
                .entry(part.to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            let Some(map) = entry.as_object_mut() else {
                return;
            };
            at = map;
        }
        let list = at
            .entry("_errors".to_owned())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"code": code, "message": message}));
        }
    }

    /// Notes that a text is too long, as Discord words it.
    pub(crate) fn max_length(&mut self, path: &str, text: &str, max: usize) {
        if text.chars().count() > max {
            let message = format!("Must be {max} or fewer in length.");
            self.add(path, "BASE_TYPE_MAX_LENGTH", &message);
        }
    }

    /// Notes that a text is not within these lengths, as Discord words it.
    pub(crate) fn length(&mut self, path: &str, text: &str, min: usize, max: usize) {
        if !(min..=max).contains(&text.chars().count()) {
            let message = format!("Must be between {min} and {max} in length.");
            self.add(path, "BASE_TYPE_BAD_LENGTH", &message);
        }
    }

    /// Notes that a required field is absent.
    pub(crate) fn required(&mut self, path: &str) {
        self.add(path, "BASE_TYPE_REQUIRED", "This field is required");
    }

    /// Notes that a list has more than `max` entries.
    pub(crate) fn max_items(&mut self, path: &str, len: usize, max: usize) {
        if len > max {
            let message = format!("Must be {max} or fewer in length.");
            self.add(path, "BASE_TYPE_BAD_LENGTH", &message);
        }
    }

    /// Error 50035 if there was any problem.
    pub(crate) fn into_result(self) -> ApiResult<()> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(ApiError {
            errors: Some(Value::Object(self.errors)),
            ..ApiError::new(400, 50035, "Invalid Form Body")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_nest_like_discords() {
        let mut problems = Problems::default();
        problems.max_length("embeds.0.title", &"x".repeat(257), 256);
        let error = problems.into_result().unwrap_err();
        assert_eq!(
            error.body(),
            json!({
                "message": "Invalid Form Body", "code": 50035,
                "errors": {"embeds": {"0": {"title": {"_errors": [{
                    "code": "BASE_TYPE_MAX_LENGTH",
                    "message": "Must be 256 or fewer in length."}]}}}}
            })
        );
    }
}
