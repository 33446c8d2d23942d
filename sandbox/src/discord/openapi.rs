//! Discord's API description as a judge of requests and answers.
//!
//! The file is `openapi.json` of `discord/discord-api-spec`; the project does not contain it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context;
use jsonschema::{Draft, Registry, RegistryBuilder, Validator};
use serde_json::{Value, json};

use super::journal::Violation;
use super::{Discord, lock};

/// Under which address the description's components are known to the validators.
const HOME: &str = "https://discord.invalid/openapi";

/// The description; validators are compiled when they are first needed.
pub(crate) struct OpenApi {
    registry: Registry<'static>,
    templates: Vec<Template>,
}

struct Template {
    method: String,
    segments: Vec<String>,
    request: Option<Lazy>,
    answers: HashMap<u16, Lazy>,
}

/// A schema and, once it was needed, its validator; an error text if it does not compile.
struct Lazy {
    schema: Value,
    validator: OnceLock<Result<Validator, String>>,
}

impl OpenApi {
    /// Reads the description.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read Discord's API description {}", path.display()))?;
        let text = text.replace("\"#/components/", &format!("\"{HOME}#/components/"));
        let document: Value = serde_json::from_str(&text).context("parse the API description")?;
        let mut templates = Vec::new();
        let paths = document.get("paths").and_then(Value::as_object);
        for (path, operations) in paths.into_iter().flatten() {
            for (method, operation) in operations.as_object().into_iter().flatten() {
                if operation.get("operationId").is_some() {
                    templates.push(Template::new(method, path, operation));
                }
            }
        }
        anyhow::ensure!(!templates.is_empty(), "the API description has no paths");
        let components = document.get("components").cloned().unwrap_or_default();
        let registry = Registry::new()
            .draft(Draft::Draft202012)
            .add(HOME, json!({"components": components}))
            .and_then(RegistryBuilder::prepare)
            .context("read the components of the API description")?;
        Ok(Self {
            registry,
            templates,
        })
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
            Some(lazy) if !body.is_null() => self.first_error(lazy, &with_text_ids(body)),
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
        let lazy = self.find(method, path)?.answers.get(&status)?;
        self.first_error(lazy, answer)
    }

    fn first_error(&self, lazy: &Lazy, value: &Value) -> Option<String> {
        let compile = || {
            jsonschema::options()
                .with_draft(Draft::Draft202012)
                .with_registry(&self.registry)
                .build(&lazy.schema)
                .map_err(|error| error.to_string())
        };
        let validator = match lazy.validator.get_or_init(compile) {
            Ok(validator) => validator,
            Err(error) => return Some(format!("the description does not compile: {error}")),
        };
        let error = validator.iter_errors(value).next()?;
        let mut text = error.to_string();
        if let Some((at, _)) = text.char_indices().nth(600) {
            text.truncate(at);
        }
        Some(format!("{}: {text}", error.instance_path()))
    }
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

impl Template {
    fn new(method: &str, path: &str, operation: &Value) -> Self {
        let lazy = |of: &Value| {
            let schema = of.pointer("/content/application~1json/schema")?;
            Some(Lazy {
                schema: schema.clone(),
                validator: OnceLock::new(),
            })
        };
        let answers = operation.get("responses").and_then(Value::as_object);
        let segments = path.split('/').filter(|s| !s.is_empty());
        Self {
            method: method.to_ascii_uppercase(),
            segments: segments.map(str::to_owned).collect(),
            request: operation.get("requestBody").and_then(lazy),
            answers: answers
                .into_iter()
                .flatten()
                .filter_map(|(status, answer)| Some((status.parse().ok()?, lazy(answer)?)))
                .collect(),
        }
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
