//! The forms in which a known secret travels.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::MIN_SECRET_BYTES;

/// The shortest line of a secret with several lines that is looked for on its own, in bytes.
const MIN_LINE_BYTES: usize = 16;

/// The secret itself and, if it has several lines, its longer lines.
pub(super) fn parts(secret: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    if secret.len() >= MIN_SECRET_BYTES {
        parts.push(secret);
    }
    if secret.contains('\n') {
        let lines = secret.lines().map(str::trim);
        // `-----BEGIN …-----` is no secret.
        parts.extend(lines.filter(|line| line.len() >= MIN_LINE_BYTES && !line.starts_with('-')));
    }
    parts
}

/// Every encoding that is looked for, the text itself among them.
pub(super) fn of(text: &str) -> Vec<Vec<u8>> {
    let mut all = vec![
        text.to_owned(),
        json(text),
        json(&json(text)),
        text.escape_debug().to_string(),
        url(text, false, false),
        url(text, true, false),
        url(text, false, true),
        hex::encode(text),
        hex::encode_upper(text),
        STANDARD.encode(text),
    ];
    for before in 0..3 {
        all.push(base64_core(text, before, false));
        all.push(base64_core(text, before, true));
    }
    all.retain(|encoding| encoding.len() >= MIN_SECRET_BYTES);
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(String::into_bytes).collect()
}

/// The text inside a JSON string.
fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or_default()
        .to_owned()
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986; with `form` a space
/// becomes `+` (HTML form encoding), with `lower` the digits are small letters.
fn url(text: &str, lower: bool, form: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' if form => out.push('+'),
            _ if lower => out.push_str(&format!("%{byte:02x}")),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The base64 digits that the text alone decides when `before` other bytes stand before it in the
/// same group of three: so it is found inside `user:secret` and inside encoded documents.
fn base64_core(text: &str, before: usize, for_urls: bool) -> String {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(text.as_bytes());
    let encoded = if for_urls {
        URL_SAFE_NO_PAD.encode(&bytes)
    } else {
        STANDARD_NO_PAD.encode(&bytes)
    };
    // One byte before decides 8 of the first 12 bits, two bytes decide 16 of the first 18.
    let first = [0, 2, 3].get(before).copied().unwrap_or_default();
    let last = bytes.len() * 8 / 6;
    encoded.get(first..last).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        of(text)
            .into_iter()
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect()
    }

    #[test]
    fn a_secret_is_known_in_its_common_encodings() {
        let all = all("pä\"ß/ 1\n+");
        for expected in [
            "pä\"ß/ 1\n+",
            "pä\\\"ß/ 1\\n+",
            "pä\\\\\\\"ß/ 1\\\\n+",
            "p%C3%A4%22%C3%9F%2F%201%0A%2B",
            "p%c3%a4%22%c3%9f%2f%201%0a%2b",
            "p%C3%A4%22%C3%9F%2F+1%0A%2B",
            "70c3a422c39f2f20310a2b",
            "cMOkIsOfLyAxCis=",
        ] {
            assert!(all.contains(&expected.to_owned()), "{expected} in {all:?}");
        }
    }

    #[test]
    fn base64_is_known_wherever_the_secret_stands_in_the_encoded_text() {
        let secret = "hunter2-hunter3";
        let known = all(secret);
        for before in 0..7 {
            for after in 0..4 {
                let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(after));
                let encoded = STANDARD.encode(text);
                assert!(
                    known.iter().any(|needle| encoded.contains(needle)),
                    "{before} before, {after} after: {encoded}"
                );
            }
        }
    }

    #[test]
    fn short_texts_are_left_alone_and_long_lines_are_parts() {
        assert_eq!(parts("12345"), Vec::<&str>::new());
        let key = "-----BEGIN KEY-----\nabcdefghijklmnopqrstuvwxyz\nshort\n-----END KEY-----";
        assert_eq!(parts(key), vec![key, "abcdefghijklmnopqrstuvwxyz"]);
    }
}
