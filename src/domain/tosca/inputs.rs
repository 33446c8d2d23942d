//! One input of a template.

use serde_json::{Map, Number, Value};

use crate::domain::size::Size;

/// An input as the template defines it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    definition: &'a Map<String, Value>,
}

/// A scalar as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl<'a> Input<'a> {
    pub(super) fn new(definition: &'a Map<String, Value>) -> Self {
        Self { definition }
    }

    /// Its TOSCA type, such as `integer` or `scalar-unit.size`.
    pub fn kind(&self) -> &'a str {
        self.definition
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("string")
    }

    /// What it is for.
    pub fn description(&self) -> Option<&'a str> {
        self.definition.get("description")?.as_str()
    }

    /// Its value when it is not set.
    pub fn default_text(&self) -> Option<String> {
        text_of(self.definition.get("default")?)
    }

    fn valid_values(&self) -> Option<&'a Vec<Value>> {
        self.definition
            .get("constraints")?
            .as_array()?
            .iter()
            .find_map(|constraint| constraint.get("valid_values")?.as_array())
    }

    /// The values that the template allows, in its order; empty when it does not say.
    pub fn allowed(&self) -> Vec<String> {
        self.valid_values()
            .map(|values| values.iter().filter_map(text_of).collect())
            .unwrap_or_default()
    }

    /// Whether the template takes the value.
    pub fn accepts(&self, text: &str) -> bool {
        self.value(text).is_some()
    }

    /// The value as the template wants it: of its type, and spelt as among its allowed values.
    pub fn value(&self, text: &str) -> Option<Value> {
        let value = match self.kind() {
            "integer" => Value::Number(text.parse::<i64>().ok()?.into()),
            "float" => Value::Number(Number::from_f64(text.parse().ok()?)?),
            "boolean" => Value::Bool(text.parse().ok()?),
            "scalar-unit.size" => Value::String(Size::parse(text).ok()?.to_string()),
            _text => Value::String(text.to_owned()),
        };
        match self.valid_values() {
            None => Some(value),
            Some(allowed) => allowed.iter().find(|one| self.same(one, &value)).cloned(),
        }
    }

    fn same(&self, allowed: &Value, value: &Value) -> bool {
        if self.kind() == "scalar-unit.size" {
            let size = |value: &Value| Size::parse(value.as_str()?).ok();
            return size(allowed).is_some() && size(allowed) == size(value);
        }
        // `1.30` may stand in a template without quotes, and is a number then.
        allowed == value || text_of(allowed) == text_of(value)
    }
}
