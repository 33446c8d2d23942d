//! Keeps secrets out of everything that people or machines may read.
//!
//! A [`Redactor`] knows every secret that this process has opened ([`Redactor::learn`]) and what
//! secrets look like in general: `password = …`, `client_secret: …`, `Authorization` headers,
//! `Bearer` and `Basic` credentials, JSON Web Tokens, PEM private keys, passwords in URLs.
//! Whatever it finds becomes [`REDACTED`].
//!
//! Known secrets are found as they are and in the encodings that they commonly travel in: JSON and
//! Rust escapes, URL and form encoding, base64 at each of its three alignments, hexadecimal.
//!
//! How text flows: one Aho-Corasick automaton ([`matcher`]) over the first bytes of all encodings
//! and over the words that announce a secret stops at candidates; the state machine of [`stream`]
//! verifies each and either goes on or drops bytes until the secret ends.
//!
//! **Invariant:** how a text is cut into chunks does not change what comes out.
//! **Invariant:** memory is bounded: a stream holds back at most about twice the longest encoding
//! of a known secret, and drops what an announced secret consists of without keeping it.

mod encodings;
mod matcher;
mod patterns;
mod stream;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use matcher::Matcher;
pub use stream::RedactStream;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// The shortest secret that is looked for, in bytes: shorter ones would shred ordinary text.
pub const MIN_SECRET_BYTES: usize = 6;

/// Finds secrets and replaces them. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Every encoding of every secret.
    needles: HashSet<Vec<u8>>,
    /// The automaton over `needles`; `None` when it has to be built again.
    matcher: Option<Arc<Matcher>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("encodings_known", &self.known().needles.len())
            .finish()
    }
}

impl Redactor {
    /// A redactor that knows no secret yet, only what secrets look like.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a secret as long as the process lives; call it wherever one is opened, made or
    /// received. Learning the same secret again costs next to nothing.
    ///
    /// A secret below [`MIN_SECRET_BYTES`] is not looked for. Of a secret with several lines each
    /// longer line is looked for as well, since logs come line by line.
    pub fn learn(&self, secret: &SecretString) {
        let text = secret.expose_secret().trim();
        let mut known = self.known();
        let mut is_new = false;
        for part in encodings::parts(text) {
            if known.needles.contains(part.as_bytes()) {
                continue;
            }
            is_new = true;
            known.needles.extend(encodings::of(part));
        }
        if is_new {
            known.matcher = None;
        }
    }

    /// The text without its secrets; borrowed when there were none.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.matcher().candidate(text.as_bytes(), 0).is_none() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        let mut stream = self.stream();
        stream.push(text.as_bytes(), &mut out);
        stream.finish(&mut out);
        if out == text.as_bytes() {
            return Cow::Borrowed(text);
        }
        // Matches begin and end between characters, so the conversion loses nothing.
        Cow::Owned(String::from_utf8_lossy(&out).into_owned())
    }

    /// A stream for text that comes in chunks.
    pub fn stream(&self) -> RedactStream {
        RedactStream::new(self.clone())
    }

    fn matcher(&self) -> Arc<Matcher> {
        let mut known = self.known();
        if let Some(matcher) = &known.matcher {
            return Arc::clone(matcher);
        }
        let matcher = Arc::new(Matcher::new(&known.needles));
        known.matcher = Some(Arc::clone(&matcher));
        matcher
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct horse/battery+staple";

    fn redactor(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        for secret in secrets {
            redactor.learn(&SecretString::from(*secret));
        }
        redactor
    }

    /// Redacts text cut at the given places.
    fn in_pieces(redactor: &Redactor, text: &str, cuts: &[usize]) -> String {
        let mut stream = redactor.stream();
        let mut out = Vec::new();
        let mut from = 0;
        for &cut in cuts.iter().chain([&text.len()]) {
            stream.push(&text.as_bytes()[from..cut], &mut out);
            from = cut;
        }
        stream.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(redactor: &Redactor, text: &str, expected: &str) {
        assert_eq!(redactor.redact(text), expected, "for {text:?}");
        assert_eq!(redactor.redact(expected), expected, "again for {text:?}");
        let every_byte: Vec<usize> = (0..text.len()).collect();
        assert_eq!(
            in_pieces(redactor, text, &every_byte),
            expected,
            "bytes of {text:?}"
        );
        for cut in 0..=text.len() {
            assert_eq!(
                in_pieces(redactor, text, &[cut]),
                expected,
                "{text:?} cut at {cut}"
            );
        }
    }

    #[test]
    fn a_known_secret_is_found_in_every_encoding_and_cut_anywhere() {
        let redactor = redactor(&[SECRET, "pä\"ß\nwört"]);
        for text in [
            "correct horse/battery+staple",
            "correct%20horse%2Fbattery%2Bstaple",
            "correct%20horse%2fbattery%2bstaple",
            "correct+horse%2Fbattery%2Bstaple",
            "Y29ycmVjdCBob3JzZS9iYXR0ZXJ5K3N0YXBsZQ==",
            "636f727265637420686f7273652f626174746572792b737461706c65",
            "pä\"ß\nwört",
            r#"pä\"ß\nwört"#,
            r#"pä\\\"ß\\nwört"#,
        ] {
            check(&redactor, text, "[redacted]");
            check(&redactor, &format!("is {text}, yes"), "is [redacted], yes");
            check(&redactor, &format!("{text}{text}"), "[redacted]");
        }
    }

    #[test]
    fn a_secret_inside_base64_of_a_longer_text_is_found() {
        use base64::Engine as _;
        let redactor = redactor(&[SECRET]);
        for before in ["", "a", "ab", "abc", "user:"] {
            let encoded =
                base64::engine::general_purpose::STANDARD.encode(format!("{before}{SECRET}!"));
            let shown = redactor.redact(&encoded).into_owned();
            assert!(shown.contains(REDACTED), "{encoded} gave {shown}");
            assert!(shown.len() < REDACTED.len() + 14, "{encoded} gave {shown}");
        }
    }

    #[test]
    fn announced_secrets_are_found_without_being_known() {
        let redactor = Redactor::new();
        for (text, expected) in [
            ("password = hunter2", "password = [redacted]"),
            ("db_PASSWORD=hunter2;x=1", "db_PASSWORD=[redacted];x=1"),
            (
                "password: hunter2\nuser: geo",
                "password: [redacted]\nuser: geo",
            ),
            (
                r#"{"clientSecret":"a b\"c","n":1}"#,
                r#"{"clientSecret":"[redacted]","n":1}"#,
            ),
            (
                r#"{\"token\":\"a1 b2\",\"n\":1}"#,
                r#"{\"token\":\"[redacted]\",\"n\":1}"#,
            ),
            ("client_secret: 'x y'", "client_secret: '[redacted]'"),
            (
                "id=im; password = a1; token = b2",
                "id=im; password = [redacted]; token = [redacted]",
            ),
            (
                r"username = u; password = p1\ntype = IM",
                r"username = u; password = [redacted]\ntype = IM",
            ),
            ("?access_token=abcdef&x=1", "?access_token=[redacted]&x=1"),
            (
                "Authorization: Bot abc.def\r\nHost: x",
                "Authorization: [redacted]\r\nHost: x",
            ),
            (
                r#"{"authorization": "AppDB x"}"#,
                r#"{"authorization": "[redacted]"}"#,
            ),
            ("sent Bearer abC123.x-y_z~ to", "sent Bearer [redacted] to"),
            ("Basic dXNlcjpwYXNz", "Basic [redacted]"),
            (
                "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln end",
                "jwt [redacted] end",
            ),
            (
                "postgres://bot:pw@db:5432/x",
                "postgres://bot:[redacted]@db:5432/x",
            ),
            (
                "a\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\nbnNz\n-----END OPENSSH PRIVATE KEY-----\nb",
                "a\n[redacted]\nb",
            ),
            (
                r#""-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n""#,
                r#""[redacted]\n""#,
            ),
        ] {
            check(&redactor, text, expected);
        }
    }

    #[test]
    fn ordinary_text_goes_through_unchanged() {
        let redactor = redactor(&[SECRET]);
        for text in [
            "",
            "the token expires in 3 h; tokens: 5",
            "token: expired",
            "password: null",
            "secret: {name: x}",
            "secretName: hub",
            "/pangeo dns set-secret asks for the secret in a form",
            "Basic authentication with a Bearer token.",
            "https://pangeo.vm.fedcloud.eu:443/hub/oauth_callback mail ana@example.org",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "correct horse/battery",
            "keyJ is no web token, heyJoe_this_is_a_long_word_of_text either",
            "ünïcode ✓ ▸ ✗",
        ] {
            check(&redactor, text, text);
            assert!(matches!(redactor.redact(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn a_known_secret_inside_an_announced_one_is_dropped_to_its_end() {
        let redactor = redactor(&["a; b, c and more", "more and d e f"]);
        check(
            &redactor,
            "password = a; b, c and more x",
            "password = [redacted] x",
        );
        check(
            &redactor,
            "password = xa; b, c and more x",
            "password = [redacted] x",
        );
        // Two known secrets that overlap.
        check(&redactor, "<a; b, c and more and d e f>", "<[redacted]>");
    }

    #[test]
    fn the_lines_of_a_private_key_are_known_one_by_one() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nAAAEbm9uZQAAAAAAAAAB\n-----END OPENSSH PRIVATE KEY-----\n";
        let redactor = redactor(&[key]);
        check(
            &redactor,
            "line: b3BlbnNzaC1rZXktdjEAAAAA.",
            "line: [redacted].",
        );
        check(&redactor, key.trim(), "[redacted]");
    }

    #[test]
    fn short_secrets_do_not_shred_text() {
        check(&redactor(&["a", "12345"]), "a 12345", "a 12345");
    }

    #[test]
    fn a_block_without_an_end_does_not_swallow_the_log() {
        let text = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\nnext step",
            "A".repeat(20_000)
        );
        let shown = Redactor::new().redact(&text).into_owned();
        assert!(shown.starts_with(REDACTED) && shown.ends_with("next step"));
        assert_eq!(
            in_pieces(&Redactor::new(), &text, &[5, 16_000, 16_500]),
            shown
        );
    }

    #[test]
    fn learning_is_shared_and_nothing_shows_it() {
        let redactor = Redactor::new();
        let clone = redactor.clone();
        let mut stream = redactor.stream();
        clone.learn(&SecretString::from(SECRET));
        let mut out = Vec::new();
        stream.push(format!("{SECRET}\n").as_bytes(), &mut out);
        stream.finish(&mut out);
        assert_eq!(out, b"[redacted]\n");
        assert!(!format!("{redactor:?}").contains("horse"));
    }

    /// Texts made of pieces that matter, cut at random: the same always comes out.
    #[test]
    fn cuts_never_change_what_comes_out() {
        const PIECES: [&str; 24] = [
            "password",
            " ",
            "=",
            ":",
            "\"",
            "\\",
            "\n",
            "n",
            "eyJ",
            "token",
            "tok",
            "correct ",
            "horse",
            SECRET,
            "correct horse/battery+stap",
            "://",
            "@",
            "-----BEGIN ",
            "PRIVATE KEY-----",
            "-----END X-----",
            "Bearer ",
            "[redacted]",
            "x1",
            "ä",
        ];
        let redactor = redactor(&[SECRET, "xxtokenxx", "horsepassword"]);
        let mut seed: u64 = 42;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(seed >> 33).unwrap() % below
        };
        for _ in 0..3_000 {
            let text: String = (0..next(14)).map(|_| PIECES[next(PIECES.len())]).collect();
            let whole = redactor.redact(&text).into_owned();
            assert!(!whole.contains(SECRET), "{text:?} gave {whole:?}");
            let mut cuts: Vec<usize> = (0..next(5)).map(|_| next(text.len() + 1)).collect();
            cuts.sort_unstable();
            assert_eq!(
                in_pieces(&redactor, &text, &cuts),
                whole,
                "{text:?} cut at {cuts:?}"
            );
        }
    }
}
