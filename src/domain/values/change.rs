//! A change of the values of a hub, as its plan keeps it and its steps do it.
//!
//! **Invariant:** a change holds no secret: it names places and values that may be shown, and
//! digests of the texts that may not.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use similar::TextDiff;

use super::text::Edit;
use crate::domain::chart::{Chart, ChartSource};
use crate::domain::names::HostName;

/// The longest reason, in characters.
pub const MAX_REASON: usize = 200;

/// Lines around a difference.
const CONTEXT: usize = 2;

/// What the new values are made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Make {
    /// The newest revision with these changes.
    Edits {
        /// The changes.
        edits: Vec<Edit>,
    },
    /// The values of an earlier revision.
    Revision {
        /// Its number.
        number: i32,
    },
    /// The newest revision with another host name and its client.
    Host {
        /// The name that stands there.
        from: HostName,
        /// The name that shall.
        to: HostName,
    },
    /// What helm has is taken over as a revision; nothing is installed.
    Adopt,
    /// The newest revision again, over what somebody changed by hand.
    Overwrite,
}

/// A change, complete and checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValuesChange {
    /// The newest revision when the plan was made; 0 if none was recorded whole.
    pub from: i32,
    /// Digest of what helm had when the plan was made.
    pub live: String,
    /// What is made.
    pub make: Make,
    /// Digest of the text that will be installed.
    pub to: String,
    /// The chart version that is installed.
    pub chart_version: String,
    /// Where the chart comes from.
    #[serde(default, skip_serializing_if = "ChartSource::is_configured")]
    pub chart_source: ChartSource,
    /// Why, for the history.
    pub reason: String,
}

impl ValuesChange {
    /// The chart that is installed.
    pub fn chart(&self) -> Chart {
        Chart {
            source: self.chart_source.clone(),
            version: self.chart_version.clone(),
        }
    }
}

/// The digest of a text of values: 64 hexadecimal digits of SHA-256.
pub fn digest_of_text(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// The digest of values as a tree, whatever their order and however numbers are written.
pub fn digest_of_tree(tree: &Value) -> String {
    digest_of_text(&plain(tree).to_string())
}

/// The same tree with sorted keys and one kind of number.
fn plain(tree: &Value) -> Value {
    match tree {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let entries = keys
                .into_iter()
                .filter_map(|key| map.get(key).map(|value| (key.clone(), plain(value))));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Number(number) => number.as_f64().map_or_else(|| tree.clone(), Value::from),
        Value::Null | Value::Bool(_) | Value::String(_) => tree.clone(),
    }
}

/// Two masked texts side by side: the lines that differ, with a few around them.
pub fn unified(from: (&str, &str), to: (&str, &str)) -> String {
    TextDiff::from_lines(from.1, to.1)
        .unified_diff()
        .context_radius(CONTEXT)
        .header(from.0, to.0)
        .to_string()
}

/// The changed lines of a unified difference, for a message: no headers, no lines around.
pub fn changed_lines(unified: &str) -> Vec<String> {
    let body = unified.lines().filter(|line| {
        !line.starts_with("---") && !line.starts_with("+++") && line.starts_with(['+', '-'])
    });
    body.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_has_one_digest_however_it_is_written() {
        let one = json!({"a": {"x": 1, "y": "z"}, "b": [1.0, 33_567_285_248_i64]});
        let other = json!({"b": [1, 33_567_285_248.0], "a": {"y": "z", "x": 1.0}});
        assert_eq!(digest_of_tree(&one), digest_of_tree(&other));
        assert_ne!(
            digest_of_tree(&one),
            digest_of_tree(&json!({"a": {"x": "1"}}))
        );
    }

    #[test]
    fn a_difference_is_short() {
        let before: String = (0..20).map(|n| format!("line{n}: 1\n")).collect();
        let after = before.replace("line9: 1", "line9: 2");
        let unified = unified(("revision 1", &before), ("plan", &after));
        assert_eq!(
            unified,
            "--- revision 1\n+++ plan\n@@ -8,5 +8,5 @@\n line7: 1\n line8: 1\n-line9: 1\n+line9: 2\n line10: 1\n line11: 1\n"
        );
        assert_eq!(changed_lines(&unified), ["-line9: 1", "+line9: 2"]);
    }

    #[test]
    fn a_stored_change_is_read_again() {
        let change = ValuesChange {
            from: 3,
            live: "l".to_owned(),
            make: Make::Revision { number: 1 },
            to: "t".to_owned(),
            chart_version: "2024.1.1".to_owned(),
            chart_source: ChartSource::Configured,
            reason: "course".to_owned(),
        };
        let stored = serde_json::to_value(&change).unwrap();
        assert_eq!(
            serde_json::from_value::<ValuesChange>(stored).unwrap(),
            change
        );
    }
}
