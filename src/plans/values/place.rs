//! `values set`: one value at one place, typed by the chart's schema.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Before, Wanted, Wish};
use crate::commands::value::Options;
use crate::domain::values::change::Make;
use crate::domain::values::secrets::{holds_secret, is_secret, shown};
use crate::domain::values::text::{Edit, Path};
use crate::domain::yaml;
use crate::services::helm::ChartSchema;

/// How deep places of the schema are offered.
const DEPTH_OFFERED: usize = 5;

/// How many places are offered in all.
const OFFERED: usize = 2_000;

/// What a schema says about a place.
enum Said<'a> {
    /// Its schema.
    Schema(&'a Value),
    /// Nothing: anything may stand there.
    Nothing,
    /// It may not be there; these may.
    Forbidden(Vec<String>),
}

pub(super) fn set(before: &Before, options: &Options) -> Wish {
    let text = options.text("path").unwrap_or_default();
    let path = Path::parse(&text).map_err(|error| vec![format!("`path`: {error}")])?;
    if is_secret(&path) {
        return Err(vec![format!(
            "`path`: `{path}` is a secret; those do not go through the chat"
        )]);
    }
    let current = path.find(&before.tree);
    let removes = options.text("remove").as_deref() == Some("true");
    let new = match (options.text("value"), removes) {
        (None, true) if current.is_none() => {
            return Err(vec![format!("`path`: nothing stands at `{path}`")]);
        }
        (None, true) => None,
        (Some(text), false) => {
            let value = match said(&before.schemas, &path) {
                Said::Schema(schema) => typed(schema, &text)?,
                Said::Nothing => untyped(current, &text)?,
                Said::Forbidden(allowed) => {
                    return Err(vec![format!(
                        "`path`: the chart does not know `{path}`; it knows {}",
                        allowed.join(", ")
                    )]);
                }
            };
            Some(value)
        }
        (Some(_), true) | (None, false) => {
            return Err(vec!["give either `value` or `remove:True`".to_owned()]);
        }
    };
    if let Some(value) = &new
        && holds_secret(&path, value)
    {
        return Err(vec![
            "`value`: it looks like a secret; those do not go through the chat".to_owned(),
        ]);
    }
    let edit = Edit {
        old: current.map(|value| shown(&path, value)),
        new,
        path: path.clone(),
    };
    let verb = if removes { "Remove" } else { "Set" };
    Ok(Wanted {
        make: Make::Edits { edits: vec![edit] },
        chart: None,
        summary: format!("{verb} `{path}` in `{}`", before.cluster.name),
        warnings: Vec::new(),
    })
}

/// What the schemas say about a place.
fn said<'a>(schemas: &'a [ChartSchema], path: &Path) -> Said<'a> {
    let Some((chart, below)) = path.keys().split_first() else {
        return Said::Nothing;
    };
    let of = |chart: Option<&str>| {
        let mut schemas = schemas.iter();
        schemas.find(|schema| schema.chart.as_deref() == chart)
    };
    let (root, keys) = match (of(Some(chart)), of(None)) {
        (Some(root), _) => (root, below),
        (None, Some(root)) => (root, path.keys()),
        (None, None) => return Said::Nothing,
    };
    let mut place = &root.schema;
    for key in keys {
        place = deref(&root.schema, place);
        let properties = place.get("properties").and_then(Value::as_object);
        let more = place.get("additionalProperties");
        match (properties.and_then(|known| known.get(key)), more) {
            (Some(below), _) => place = below,
            (None, Some(Value::Bool(false))) if place.get("patternProperties").is_none() => {
                let known = properties.into_iter().flat_map(Map::keys);
                return Said::Forbidden(known.map(|key| format!("`{key}`")).take(30).collect());
            }
            (None, Some(below @ Value::Object(_))) => place = below,
            (None, _) => return Said::Nothing,
        }
    }
    Said::Schema(deref(&root.schema, place))
}

/// Follows a reference within the schema.
fn deref<'a>(root: &'a Value, place: &'a Value) -> &'a Value {
    let pointer = place.get("$ref").and_then(Value::as_str);
    pointer
        .and_then(|text| text.strip_prefix('#'))
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(place)
}

/// The types that a schema allows; empty for any.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(some)) => some.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    }
}

/// A text as the type that the schema wants, the narrowest first.
fn typed(schema: &Value, text: &str) -> Result<Value, Vec<String>> {
    let types = types(schema);
    let allows = |name: &str| types.is_empty() || types.contains(&name);
    let read = yaml::read_plain(text).ok();
    let narrow = read.filter(|value| match value {
        Value::Null => allows("null") && matches!(text, "null" | "~"),
        Value::Bool(_) => allows("boolean"),
        Value::Number(number) => allows("number") || (allows("integer") && !number.is_f64()),
        Value::Array(_) => allows("array"),
        Value::Object(_) => allows("object"),
        Value::String(_) => allows("string"),
    });
    let value = match narrow {
        Some(value) => value,
        None if allows("string") => Value::from(text),
        None => {
            return Err(vec![format!(
                "`value`: it must be of type {}",
                types.join(" or ")
            )]);
        }
    };
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(&value)
    {
        let allowed: Vec<String> = allowed.iter().map(|one| format!("`{one}`")).collect();
        return Err(vec![format!("`value`: use one of {}", allowed.join(", "))]);
    }
    Ok(value)
}

/// A text as what stands there, or as YAML would read it.
fn untyped(current: Option<&Value>, text: &str) -> Result<Value, Vec<String>> {
    if current.is_some_and(Value::is_string) {
        return Ok(text.into());
    }
    yaml::read_plain(text).map_err(|_error| vec!["`value`: it is not YAML".to_owned()])
}

/// The places that are there or that a schema knows, for completion; no secrets.
pub(in crate::plans) fn known_places(tree: &Value, schemas: &[ChartSchema]) -> Vec<String> {
    let mut found = BTreeSet::new();
    leaves(&Path::of(&[]), tree, &mut found);
    for chart in schemas {
        let keys: Vec<&str> = chart.chart.as_deref().into_iter().collect();
        let path = Path::of(&keys);
        offered(&chart.schema, &chart.schema, &path, &mut found);
    }
    found.into_iter().collect()
}

fn leaves(at: &Path, tree: &Value, found: &mut BTreeSet<String>) {
    match tree {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(&at.below(key), value, found);
            }
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::String(_)
        | Value::Number(_)
        | Value::Bool(_)
        | Value::Null => {
            if !at.keys().is_empty() && !is_secret(at) {
                found.insert(at.to_string());
            }
        }
    }
}

fn offered(root: &Value, schema: &Value, at: &Path, found: &mut BTreeSet<String>) {
    let schema = deref(root, schema);
    let properties = schema.get("properties").and_then(Value::as_object);
    match properties {
        Some(known) if at.keys().len() < DEPTH_OFFERED => {
            for (key, below) in known {
                offered(root, below, &at.below(key), found);
            }
        }
        Some(_) | None => {
            if !is_secret(at) && found.len() < OFFERED {
                found.insert(at.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schemas() -> Vec<ChartSchema> {
        vec![ChartSchema {
            chart: Some("jupyterhub".to_owned()),
            schema: json!({
                "type": "object", "additionalProperties": false,
                "definitions": {"amount": {"type": ["number", "string", "null"]}},
                "properties": {
                    "singleuser": {"type": "object", "properties": {
                        "startTimeout": {"type": ["integer", "null"]},
                        "memory": {"type": "object", "additionalProperties": false,
                                   "properties": {"limit": {"$ref": "#/definitions/amount"}}},
                        "extraEnv": {"type": "object", "additionalProperties": {"type": "string"}}
                    }},
                    "proxy": {"type": "object", "properties": {"secretToken": {"type": "string"}}},
                    "debug": {"type": "object", "properties": {"enabled": {"type": "boolean"}}}
                }
            }),
        }]
    }

    fn value_at(path: &str, text: &str) -> Result<Value, String> {
        match said(&schemas(), &Path::parse(path).unwrap()) {
            Said::Schema(schema) => typed(schema, text).map_err(|problems| problems.join(";")),
            Said::Nothing => untyped(None, text).map_err(|problems| problems.join(";")),
            Said::Forbidden(allowed) => Err(format!("forbidden: {}", allowed.join(","))),
        }
    }

    #[test]
    fn a_value_gets_the_type_that_the_schema_wants() {
        for (path, text, value) in [
            ("jupyterhub.singleuser.startTimeout", "900", json!(900)),
            ("jupyterhub.singleuser.startTimeout", "null", json!(null)),
            ("jupyterhub.singleuser.memory.limit", "4G", json!("4G")),
            ("jupyterhub.singleuser.memory.limit", "4.5", json!(4.5)),
            ("jupyterhub.singleuser.extraEnv.A", "900", json!("900")),
            ("jupyterhub.debug.enabled", "true", json!(true)),
            ("jupyterhub.singleuser.unknown", "[1, a]", json!([1, "a"])),
        ] {
            assert_eq!(value_at(path, text), Ok(value), "{path} {text}");
        }
        for (path, text, why) in [
            ("jupyterhub.singleuser.startTimeout", "soon", "integer"),
            ("jupyterhub.debug.enabled", "maybe", "boolean"),
            ("jupyterhub.singleuser.memory.most", "1", "`limit`"),
            ("jupyterhub.hubb", "1", "forbidden"),
        ] {
            let error = value_at(path, text).unwrap_err();
            assert!(error.contains(why), "{path} {text}: {error}");
        }
    }

    #[test]
    fn places_are_offered_without_secrets() {
        let tree = json!({"jupyterhub": {"hub": {"services": {"a.b": {"apiToken": "x"}}, "n": 1}}});
        let places = known_places(&tree, &schemas());
        assert_eq!(
            places,
            [
                "jupyterhub.debug.enabled",
                "jupyterhub.hub.n",
                "jupyterhub.singleuser.extraEnv",
                "jupyterhub.singleuser.memory.limit",
                "jupyterhub.singleuser.startTimeout",
            ]
        );
    }
}
