//! Values against the JSON schema of a chart.

use serde_json::Value;

/// The schema itself does not hold.
#[derive(Debug, thiserror::Error)]
#[error("the chart's schema is not a JSON schema")]
pub struct SchemaError(#[source] Box<jsonschema::ValidationError<'static>>);

/// The most problems that are named.
const MAX_PROBLEMS: usize = 20;

/// What a chart's schema says against the values of that chart, place and words; at most 20.
///
/// Helm merges the chart's own values in before it validates. They are not at hand here, so what a
/// schema wants to be present is not looked at; types, allowed values and unknown keys are.
/// Values are not repeated in the words, since they may be secrets.
///
/// # Errors
/// [`SchemaError`] when the schema does not hold.
pub fn problems(schema: &Value, values: &Value) -> Result<Vec<String>, SchemaError> {
    let mut schema = schema.clone();
    remove_required(&mut schema);
    let validator =
        jsonschema::validator_for(&schema).map_err(|error| SchemaError(Box::new(error)))?;
    Ok(validator
        .iter_errors(values)
        .take(MAX_PROBLEMS)
        .map(|error| format!("{}: {}", error.instance_path(), error.masked()))
        .collect())
}

/// Removes the keyword `required`, but not a property of that name.
fn remove_required(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("required").is_some_and(Value::is_array) {
                map.remove("required");
            }
            map.values_mut().for_each(remove_required);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_required),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrong_types_and_unknown_keys_are_named_without_their_values() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["absent"],
            "properties": { "token": { "type": "integer" }, "required": { "type": "string" } },
        });
        let found = problems(&schema, &json!({ "token": "hidden", "more": 1 })).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        let text = found.join("\n");
        assert!(text.contains("/token: ") && text.contains("more"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
        assert!(
            problems(&schema, &json!({ "required": "x" }))
                .unwrap()
                .is_empty()
        );
        assert!(problems(&json!({ "type": 1 }), &json!({})).is_err());
    }
}
