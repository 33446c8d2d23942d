//! What secrets look like: the words that announce one, and where it ends.
//!
//! Everything here looks at a bounded number of bytes and may answer that the text is too short
//! to tell, so that the same comes out however the text is cut.

use super::REDACTED;

/// What a keyword announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announces {
    /// A value after `:` or `=`.
    Value,
    /// As `Value`, but `token: expired` is prose.
    Token,
    /// The rest of a header line after `:` or `=`.
    Header,
    /// Credentials after a scheme's name and a space.
    Credentials,
    /// A JSON Web Token, which begins with the keyword itself: `eyJ` is base64 of `{"`.
    Jwt,
    /// A PEM block, if it holds a private key.
    Pem,
    /// A password in a URL: `scheme://user:password@host`.
    UrlPassword,
}

/// The keywords, in lower case; the automaton finds them in any case.
pub(super) const KEYWORDS: [(&[u8], Announces); 14] = [
    (b"password", Announces::Value),
    (b"passwd", Announces::Value),
    (b"passphrase", Announces::Value),
    (b"secret", Announces::Value),
    (b"apikey", Announces::Value),
    (b"api_key", Announces::Value),
    (b"api-key", Announces::Value),
    (b"token", Announces::Token),
    (b"authorization", Announces::Header),
    (b"bearer ", Announces::Credentials),
    (b"basic ", Announces::Credentials),
    (b"eyj", Announces::Jwt),
    (b"-----begin ", Announces::Pem),
    (b"://", Announces::UrlPassword),
];

/// Where an announced secret ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Where the known secrets end.
    Covered,
    /// The closing quote, or the end of the line.
    Quote(u8),
    /// The closing quote of text that is itself quoted, such as `\"`.
    EscapedQuote,
    /// White space, a quote or punctuation that separates values.
    Separator,
    /// The end of the line.
    Line,
    /// Something that credentials do not consist of.
    NotCredential,
    /// The `@` of a URL.
    At,
    /// The end line of a PEM block, or so many more bytes.
    PemEnd {
        /// How many bytes may still be dropped.
        left: usize,
    },
}

/// What a keyword turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It announces nothing.
    Nothing,
    /// The text ends too early to tell.
    Unclear,
    /// It announces a secret.
    Secret {
        /// Where the secret begins.
        start: usize,
        /// Where it ends.
        until: Until,
    },
}

/// The most spaces on either side of `:` or `=`.
const MAX_SPACES: usize = 16;
/// How many bytes of a value decide whether it is prose.
const PROSE_BYTES: usize = 16;
/// How many bytes of credentials decide whether they are prose.
const CREDENTIAL_BYTES: usize = 32;
/// The shortest run of characters that is taken for a JSON Web Token.
const MIN_JWT_BYTES: usize = 20;
/// The longest type in the first line of a PEM block.
const MAX_PEM_TYPE_BYTES: usize = 48;
/// The most bytes of a PEM block that are dropped when its end does not come.
const MAX_PEM_BYTES: usize = 16 * 1024;
/// The longest user name and password in a URL.
const MAX_USER_INFO_BYTES: usize = 320;

/// Reads text byte by byte and remembers whether it came to the end.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Skips at most `most` bytes that `matches`.
    fn skip(&mut self, most: usize, matches: impl Fn(u8) -> bool) {
        let end = self.at + most;
        while self.at < end && self.peek().is_some_and(&matches) {
            self.at += 1;
        }
    }
}

/// Judges a keyword that begins at `at` after the byte `before`.
pub(super) fn judge(
    announces: Announces,
    keyword: &[u8],
    text: &[u8],
    at: usize,
    before: u8,
) -> Verdict {
    let after = at + keyword.len();
    match announces {
        Announces::Value | Announces::Token | Announces::Header => value(announces, text, after),
        Announces::Credentials => credentials(text, after),
        Announces::Jwt => jwt(text, at, before),
        Announces::Pem => pem(text, at, after),
        Announces::UrlPassword => url_password(text, after),
    }
}

fn value(announces: Announces, text: &[u8], after: usize) -> Verdict {
    let mut cursor = Cursor { text, at: after };
    cursor.skip(4, |b| matches!(b, b'"' | b'\'' | b'\\' | b'`'));
    cursor.skip(MAX_SPACES, is_space);
    let mut colon = false;
    match cursor.peek() {
        None => return Verdict::Unclear,
        Some(b'=') => cursor.at += 1,
        Some(b':') => {
            colon = true;
            cursor.at += 1;
        }
        Some(_) => return Verdict::Nothing,
    }
    cursor.skip(1, |b| matches!(b, b'=' | b'>'));
    cursor.skip(MAX_SPACES, is_space);
    if announces == Announces::Header {
        cursor.skip(1, |b| matches!(b, b'"' | b'\''));
        return match cursor.peek() {
            None => Verdict::Unclear,
            Some(b'\r' | b'\n' | b'"' | b'\'') => Verdict::Nothing,
            Some(_) => secret_unless_redacted(text, cursor.at, Until::Line),
        };
    }
    match cursor.peek() {
        None => Verdict::Unclear,
        Some(quote @ (b'"' | b'\'')) => quoted(text, cursor.at + 1, Until::Quote(quote)),
        Some(b'\\') => {
            cursor.skip(3, |b| b == b'\\');
            match cursor.peek() {
                None => Verdict::Unclear,
                Some(b'"' | b'\'') => quoted(text, cursor.at + 1, Until::EscapedQuote),
                Some(_) => Verdict::Nothing,
            }
        }
        Some(_) => unquoted(text, cursor.at, announces == Announces::Token && colon),
    }
}

fn quoted(text: &[u8], start: usize, until: Until) -> Verdict {
    match text.get(start) {
        None => Verdict::Unclear,
        Some(b'"' | b'\'' | b'\\' | b'\n') => Verdict::Nothing,
        Some(_) => secret_unless_redacted(text, start, until),
    }
}

fn unquoted(text: &[u8], start: usize, prose_is_likely: bool) -> Verdict {
    let mut cursor = Cursor { text, at: start };
    // Nested values are looked at one by one; a template or block marker is no value.
    if matches!(cursor.peek(), Some(b'{' | b'|')) {
        return Verdict::Nothing;
    }
    if cursor.peek() == Some(b'[') {
        let known = text.get(start..).unwrap_or_default();
        let is_list = !known.starts_with(REDACTED.as_bytes());
        return if is_list && REDACTED.as_bytes().starts_with(known) {
            Verdict::Unclear
        } else {
            Verdict::Nothing
        };
    }
    cursor.skip(PROSE_BYTES, |b| !is_separator(b) && b != b'\\');
    let word = text.get(start..cursor.at).unwrap_or_default();
    if cursor.peek().is_none() && word.len() < PROSE_BYTES {
        return Verdict::Unclear;
    }
    let is_prose = word.len() < PROSE_BYTES
        && (word.is_empty()
            || [&b"null"[..], b"None", b"true", b"false", b"nil"].contains(&word)
            || (prose_is_likely && word.iter().all(u8::is_ascii_lowercase)));
    if is_prose {
        return Verdict::Nothing;
    }
    Verdict::Secret {
        start,
        until: Until::Separator,
    }
}

/// What is redacted already stays as it is, so that redacting twice changes nothing.
fn secret_unless_redacted(text: &[u8], start: usize, until: Until) -> Verdict {
    let rest = text.get(start..).unwrap_or_default();
    if rest.starts_with(REDACTED.as_bytes()) {
        Verdict::Nothing
    } else if REDACTED.as_bytes().starts_with(rest) {
        Verdict::Unclear
    } else {
        Verdict::Secret { start, until }
    }
}

fn credentials(text: &[u8], start: usize) -> Verdict {
    let mut cursor = Cursor { text, at: start };
    cursor.skip(CREDENTIAL_BYTES, is_credential);
    let run = text.get(start..cursor.at).unwrap_or_default();
    if cursor.peek().is_none() && run.len() < CREDENTIAL_BYTES {
        return Verdict::Unclear;
    }
    let is_word = run
        .iter()
        .skip(1)
        .all(|b| b.is_ascii_lowercase() || *b == b'.');
    if run.len() < 6 || (run.len() < CREDENTIAL_BYTES && is_word) {
        return Verdict::Nothing;
    }
    Verdict::Secret {
        start,
        until: Until::NotCredential,
    }
}

fn jwt(text: &[u8], at: usize, before: u8) -> Verdict {
    let starts_right = text.get(at..).is_some_and(|rest| rest.starts_with(b"eyJ"));
    if !starts_right || before.is_ascii_alphanumeric() || matches!(before, b'-' | b'_' | b'+') {
        return Verdict::Nothing;
    }
    let mut cursor = Cursor { text, at };
    cursor.skip(MIN_JWT_BYTES, is_credential);
    match (cursor.at - at < MIN_JWT_BYTES, cursor.peek()) {
        (true, None) => Verdict::Unclear,
        (true, Some(_)) => Verdict::Nothing,
        (false, _) => Verdict::Secret {
            start: at,
            until: Until::NotCredential,
        },
    }
}

fn pem(text: &[u8], at: usize, after: usize) -> Verdict {
    let mut cursor = Cursor { text, at: after };
    let is_type = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ';
    cursor.skip(MAX_PEM_TYPE_BYTES, is_type);
    let kind = text.get(after..cursor.at).unwrap_or_default();
    match cursor.peek() {
        None => Verdict::Unclear,
        Some(b'-') if kind.windows(11).any(|w| w == b"PRIVATE KEY") => Verdict::Secret {
            start: at,
            until: Until::PemEnd {
                left: MAX_PEM_BYTES,
            },
        },
        Some(_) => Verdict::Nothing,
    }
}

fn url_password(text: &[u8], after: usize) -> Verdict {
    let mut cursor = Cursor { text, at: after };
    let is_user_info =
        |b: u8| !b.is_ascii_whitespace() && !matches!(b, b'/' | b'@' | b'"' | b'\'' | b'<' | b'>');
    cursor.skip(MAX_USER_INFO_BYTES, is_user_info);
    let info = text.get(after..cursor.at).unwrap_or_default();
    match cursor.peek() {
        None if info.len() < MAX_USER_INFO_BYTES => Verdict::Unclear,
        Some(b'@') => match info.iter().position(|b| *b == b':') {
            Some(colon) if colon + 1 < info.len() => {
                secret_unless_redacted(text, after + colon + 1, Until::At)
            }
            _ => Verdict::Nothing,
        },
        None | Some(_) => Verdict::Nothing,
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

/// Whether an unquoted value ends here.
pub(super) fn is_separator(b: u8) -> bool {
    b.is_ascii_whitespace()
        || matches!(
            b,
            b';' | b',' | b'&' | b'"' | b'\'' | b'`' | b')' | b'}' | b']' | b'<' | b'>'
        )
}

/// Whether tokens and base64 may contain the byte.
pub(super) fn is_credential(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-')
}
