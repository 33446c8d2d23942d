//! YAML in and out.
//!
//! IM reads YAML 1.1 (`PyYAML`) and helm 1.2, so what is written means the same to both: texts
//! that either could take for something else (`yes`, `2022.09`, `012`) are quoted, and texts of
//! several lines are block literals. What is read follows 1.1 for `yes` and `no`, since grycap's
//! templates use them.
//! Aliases, depth and size are limited by `serde-saphyr`'s budget, so a "bomb" is an error.

use serde_json::Value;

/// The longest document, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// How deep [`read_plain`] reads.
const PLAIN_DEPTH: usize = 24;

/// Why YAML could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// Longer than [`MAX_BYTES`].
    #[error("the YAML document has {length} bytes; at most {MAX_BYTES} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It is not YAML, or exceeds the limits.
    #[error("read the YAML document")]
    Read(#[source] Box<serde_saphyr::Error>),
    /// It could not be written.
    #[error("write the YAML document")]
    Write(#[source] Box<serde_saphyr::ser_error::Error>),
}

/// Reads a document as a tree.
///
/// # Errors
/// [`YamlError`] when it is too long, not YAML, or exceeds the limits.
pub fn read(text: &str) -> Result<Value, YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError::TooLong { length: text.len() });
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| YamlError::Read(Box::new(error)))
}

/// Reads one document of somebody who only has to write keys and values: no anchors, no aliases,
/// not deep.
///
/// # Errors
/// [`YamlError`] as [`read`].
pub fn read_plain(text: &str) -> Result<Value, YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError::TooLong { length: text.len() });
    }
    let budget = serde_saphyr::budget! { max_anchors: 0, max_aliases: 0, max_depth: PLAIN_DEPTH };
    let options = serde_saphyr::options! { with_snippet: false, budget: budget };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| YamlError::Read(Box::new(error)))
}

/// Writes a tree as a document.
///
/// # Errors
/// [`YamlError`]; not expected for a tree.
pub fn write(tree: &Value) -> Result<String, YamlError> {
    // Folding would break long single lines apart for readers.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: 100_000 };
    serde_saphyr::to_string_with_options(tree, options)
        .map_err(|error| YamlError::Write(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_ambiguous_texts_are_quoted() {
        let tree = json!({
            "texts": ["yes", "no", "on", "2022.09", "2022.09.21", "012", "1:20", "null", "~", "", "0x1f",
                      "2026-12-31", "1e3", "- x", "a: b", "a #b", "'q'", "x\ty", " lead", "trail ", "ümlaut", "*a", "&a", "!t", "%p", "@at", "`b`"],
            "lines": "one\n  two\n\nthree\n",
            "no end": "one\ntwo",
            "long": "word ".repeat(60),
            "numbers": [1, -2, 1.5, true, null],
        });
        let text = write(&tree).unwrap();
        assert_eq!(read(&text).unwrap(), tree, "{text}");
        assert!(
            text.contains("lines: |\n  one\n    two\n\n  three\n"),
            "{text}"
        );
        for quoted in ["yes", "2022.09", "012", "1:20", "2026-12-31"] {
            assert!(
                text.contains(&format!("'{quoted}'")) || text.contains(&format!("\"{quoted}\"")),
                "{quoted} is not quoted in\n{text}"
            );
        }
    }

    #[test]
    fn yes_and_no_are_booleans_as_in_yaml_1_1() {
        assert_eq!(
            read("a: yes\nb: no\nc: 'yes'").unwrap(),
            json!({"a": true, "b": false, "c": "yes"})
        );
    }

    #[test]
    fn bombs_are_errors() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let before = vec![format!("*a{}", i - 1); 10].join(",");
            bomb += &format!("a{i}: &a{i} [{before}]\n");
        }
        assert!(read(&bomb).is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"x".repeat(MAX_BYTES + 1)).is_err());
        assert!(read("a: 1\na: 2").is_err());
    }
}
