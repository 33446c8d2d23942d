//! Discord's API description as a judge of requests and answers.
//!
//! The file is `openapi.json` of `discord/discord-api-spec`; the project does not contain it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::journal::Violation;
use super::{Discord, lock};

/// Compiled validators.
pub(crate) struct OpenApi {
    templates: Vec<Template>,
}

struct Template {
    method: String,
    segments: Vec<String>,
    request: Option<Validator>,
    answers: HashMap<u16, Validator>,
}

impl OpenApi {
    /// Reads and compiles the description; takes some seconds in a debug build.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read Discord's API description {}", path.display()))?;
        let document: Value = serde_json::from_str(&text).context("parse the API description")?;
        let components = document.get("components").cloned().unwrap_or_default();
        let mut templates = Vec::new();
        let paths = document.get("paths").and_then(Value::as_object);
        for (path, operations) in paths.into_iter().flatten() {
            if !simulated(path) {
                continue;
            }
            for (method, operation) in operations.as_object().into_iter().flatten() {
                if operation.get("operationId").is_some() {
                    let template = Template::compile(method, path, operation, &components)
                        .with_context(|| format!("compile {method} {path}"))?;
                    templates.push(template);
                }
            }
        }
        anyhow::ensure!(!templates.is_empty(), "the API description has no paths");
        Ok(Self { templates })
    }

    fn find(&self, method: &str, path: &str) -> Option<&Template> {
        let segments: Vec<_> = path.split('/').filter(|s| !s.is_empty()).collect();
        let fits = |t: &&Template| {
            t.method == method
                && t.segments.len() == segments.len()
                && t.segments
                    .iter()
                    .zip(&segments)
                    .all(|(t, s)| t.starts_with('{') || t == s)
        };
        let literal = |t: &&Template| t.segments.iter().filter(|s| !s.starts_with('{')).count();
        self.templates.iter().filter(fits).max_by_key(literal)
    }

    /// What is wrong with a request's JSON body.
    pub(crate) fn check_request(&self, method: &str, path: &str, body: &Value) -> Option<String> {
        let Some(template) = self.find(method, path) else {
            return Some("the API description has no such operation".to_owned());
        };
        match &template.request {
            Some(validator) if !body.is_null() => first_error(validator, &with_text_ids(body)),
            Some(_) => None,
            None if body.is_null() => None,
            None => Some("the API description has no body here".to_owned()),
        }
    }

    /// What is wrong with an answer's JSON.
    pub(crate) fn check_answer(
        &self,
        (method, path): (&str, &str),
        status: u16,
        answer: &Value,
    ) -> Option<String> {
        let validator = self.find(method, path)?.answers.get(&status)?;
        first_error(validator, answer)
    }
}

/// The paths that this Discord has, so that the others need not be compiled.
fn simulated(path: &str) -> bool {
    [
        "/channels/",
        "/applications/",
        "/interactions/",
        "/webhooks/",
        "/gateway",
        "/users/",
        "/guilds/{guild_id}",
        "/oauth2/",
    ]
    .iter()
    .any(|start| path.starts_with(start))
        && ![
            "/automod",
            "/auto-moderation",
            "/scheduled-events",
            "/soundboard",
            "/stickers",
            "/onboarding",
            "/lobbies",
        ]
        .iter()
        .any(|part| path.contains(part))
}

/// Discord takes the ids of attachments as numbers too, and serenity sends them so; the
/// description knows only strings.
fn with_text_ids(body: &Value) -> Value {
    let mut body = body.clone();
    for pointer in ["/attachments", "/data/attachments"] {
        let list = body.pointer_mut(pointer).and_then(Value::as_array_mut);
        for id in list.into_iter().flatten().filter_map(|a| a.get_mut("id")) {
            if let Some(number) = id.as_u64() {
                *id = Value::String(number.to_string());
            }
        }
    }
    body
}

fn first_error(validator: &Validator, value: &Value) -> Option<String> {
    let error = validator.iter_errors(value).next()?;
    let mut text = error.to_string();
    if let Some((at, _)) = text.char_indices().nth(600) {
        text.truncate(at);
    }
    Some(format!("{}: {text}", error.instance_path()))
}

impl Template {
    fn compile(
        method: &str,
        path: &str,
        operation: &Value,
        components: &Value,
    ) -> anyhow::Result<Self> {
        let json_schema = |of: &Value| of.pointer("/content/application~1json/schema").cloned();
        let build = |schema: Option<Value>| {
            schema
                .map(|schema| {
                    let whole = json!({"allOf": [schema], "components": components});
                    jsonschema::draft202012::new(&whole).map_err(|e| anyhow::anyhow!("{e}"))
                })
                .transpose()
        };
        let request = build(operation.get("requestBody").and_then(json_schema))?;
        let mut answers = HashMap::new();
        let all = operation.get("responses").and_then(Value::as_object);
        for (status, response) in all.into_iter().flatten() {
            if let (Ok(status), Some(validator)) = (status.parse(), build(json_schema(response))?) {
                answers.insert(status, validator);
            }
        }
        Ok(Self {
            method: method.to_ascii_uppercase(),
            segments: path
                .split('/')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
            request,
            answers,
        })
    }
}

impl Discord {
    /// Checks a request against the description, if there is one, and notes what is wrong.
    pub(crate) fn judge_request(&self, method: &str, path: &str, body: &Value) -> Option<String> {
        let message = self.openapi.as_ref()?.check_request(method, path, body)?;
        lock(&self.journal).violation(Violation {
            by_bot: true,
            call: format!("{method} {path}"),
            message: message.clone(),
        });
        Some(message)
    }

    /// Checks our own answer against the description and notes what is wrong.
    pub(crate) fn judge_answer(&self, call: (&str, &str), status: u16, answer: &Value) {
        let Some(openapi) = &self.openapi else {
            return;
        };
        if let Some(message) = openapi.check_answer(call, status, answer) {
            lock(&self.journal).violation(Violation {
                by_bot: false,
                call: format!("{} {}", call.0, call.1),
                message,
            });
        }
    }
}
