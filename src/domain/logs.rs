//! Logs of a cluster: which there are, what somebody wants of one, and how its lines are picked.
//!
//! A log is read from its end, in chunks, newest first ([`Picker`]); its size does not matter.
//!
//! **Invariant:** lines are compared with a pattern only after their secrets were taken out, so
//! that nobody learns a secret by asking for lines that contain it.

use std::fmt;
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::redact::{RedactStream, Redactor};

/// The most lines that are picked.
pub const MAX_LINES: usize = 5000;

/// The longest pattern, in characters.
const MAX_PATTERN: usize = 200;

/// The largest compiled pattern, and the largest cache of its automaton, in bytes. `regex` takes
/// time that is linear in the text, so that size is the only way to make a pattern slow.
const MAX_COMPILED: usize = 256 * 1024;

/// The longest line that is kept, in bytes; what is longer is cut.
const MAX_LINE: usize = 4096;

/// The most bytes of picked lines.
const MAX_PICKED: usize = 4 * 1024 * 1024;

/// A log of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSource {
    /// `/var/log/clues2/clues2.log` on the front end.
    Clues,
    /// What helm did: its history and the logs of our operations.
    Helm,
    /// IM's contextualisation log.
    Im,
    /// The pod of JupyterHub.
    Hub,
    /// The pod of the proxy before the hub.
    Proxy,
    /// The pods of Dask Gateway.
    Gateway,
    /// A pod by its name.
    Pod,
}

impl LogSource {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Clues,
        Self::Helm,
        Self::Im,
        Self::Hub,
        Self::Proxy,
        Self::Gateway,
        Self::Pod,
    ];

    /// Its word, in `/pangeo logs <word>`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clues => "clues",
            Self::Helm => "helm",
            Self::Im => "im",
            Self::Hub => "hub",
            Self::Proxy => "proxy",
            Self::Gateway => "gateway",
            Self::Pod => "pod",
        }
    }

    /// The source of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is empty or too long.
    #[error("has {0} characters; 1 to {MAX_PATTERN} are allowed")]
    Length(usize),
    /// It would take too much memory.
    #[error("is too large; write fewer or smaller repetitions")]
    TooLarge,
    /// It is not a regular expression.
    #[error("is not a regular expression ({0}); write one such as `error|failed`")]
    Syntax(String),
}

/// A regular expression of a person.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Parses a regular expression (syntax of the crate `regex`: no look-around, no references).
    ///
    /// # Errors
    /// [`PatternError`], in words for who typed it.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "regex's own enum, which may grow"
    )]
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let length = text.chars().count();
        if !(1..=MAX_PATTERN).contains(&length) {
            return Err(PatternError::Length(length));
        }
        RegexBuilder::new(text)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED)
            .nest_limit(20)
            .build()
            .map(Self)
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
                other => PatternError::Syntax(last_line(&other.to_string())),
            })
    }

    /// As it was typed.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it stands in a line.
    pub fn is_in(&self, line: &str) -> bool {
        self.0.is_match(line)
    }
}

/// The last line of an error of `regex`, which says what is wrong.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ")
        .chars()
        .take(120)
        .collect()
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// What somebody wants of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogWish {
    /// Which log.
    pub source: LogSource,
    /// The pod, for [`LogSource::Pod`].
    pub pod: Option<super::names::PodName>,
    /// Which of its lines.
    pub pick: Pick,
}

/// Which lines of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// How many lines at most, from its end.
    pub lines: usize,
    /// Only what was written within this time.
    pub since: Option<Duration>,
    /// Only lines with this in them.
    pub grep: Option<Pattern>,
}

/// Lines of a log as they are written, without secrets.
pub struct Forward<'a> {
    pick: &'a Pick,
    stream: RedactStream,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl<'a> Forward<'a> {
    /// At the beginning of a line.
    pub fn new(pick: &'a Pick, redactor: &Redactor) -> Self {
        Self {
            pick,
            stream: redactor.stream(),
            begun: Vec::new(),
        }
    }

    /// Takes what was written since and answers the whole lines that are wanted.
    pub fn push(&mut self, text: &str) -> Vec<String> {
        self.stream.push(text.as_bytes(), &mut self.begun);
        let Some(last) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            if self.begun.len() > 16 * MAX_LINE {
                self.begun.clear();
            }
            return Vec::new();
        };
        let rest = self.begun.split_off(last + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        let is_wanted = |line: &&str| self.pick.grep.as_ref().is_none_or(|grep| grep.is_in(line));
        let whole = String::from_utf8_lossy(&whole);
        whole.lines().filter(is_wanted).map(cut_line).collect()
    }
}

/// How bad a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something failed.
    Error,
    /// Something is odd.
    Warning,
    /// Something went well.
    Good,
    /// Nothing is said about it.
    Plain,
    /// For developers.
    Debug,
}

/// How bad a line is, as far as the formats of our logs tell.
///
/// CLUES: `[NAME];ERROR;…` (`clueslib/helpers.py`). JupyterHub and Dask Gateway (traitlets):
/// `[E 2026-11-23 …]`. configurable-http-proxy: `[ConfigProxy] error:`. Traefik: `level=error`.
/// klog: `E1123 20:14:05…`. Ansible, in IM's log: `fatal:`, `failed:`, `changed:`, `ok:`.
pub fn severity(line: &str) -> Severity {
    let head: String = line.chars().take(160).collect();
    let has = |words: &[&str]| words.iter().any(|word| head.contains(word));
    if has(&[
        ";ERROR;",
        "[E ",
        "error:",
        "level=error",
        "level=fatal",
        "fatal:",
        "failed:",
        "Traceback",
        "[C ",
    ]) || is_klog(&head, &['E', 'F'])
        || head.starts_with("ERROR")
        || head.starts_with("Error:")
    {
        return Severity::Error;
    }
    if has(&[
        ";WARNING;",
        ";WARN;",
        "[W ",
        "warn:",
        "level=warn",
        "WARNING",
    ]) || is_klog(&head, &['W'])
    {
        return Severity::Warning;
    }
    if has(&[";DEBUG;", "[D ", "debug:", "level=debug"]) {
        return Severity::Debug;
    }
    if head.starts_with("ok:") || head.starts_with("changed:") {
        return Severity::Good;
    }
    Severity::Plain
}

fn is_klog(head: &str, levels: &[char]) -> bool {
    let mut characters = head.chars();
    characters
        .next()
        .is_some_and(|first| levels.contains(&first))
        && characters
            .by_ref()
            .take(4)
            .filter(char::is_ascii_digit)
            .count()
            == 4
        && characters.next() == Some(' ')
}

/// Picks the last lines of a log that is given in chunks, newest first.
#[derive(Debug)]
pub struct Picker<'a> {
    pick: &'a Pick,
    redactor: &'a Redactor,
    /// Lines before this are too old; they begin with a time that sorts as text.
    oldest: Option<String>,
    /// Newest first.
    picked: Vec<String>,
    bytes: usize,
    seen: usize,
    reached_oldest: bool,
}

impl<'a> Picker<'a> {
    /// A picker that has seen nothing. `oldest` is compared with the time in the lines of CLUES.
    pub fn new(pick: &'a Pick, redactor: &'a Redactor, oldest: Option<String>) -> Self {
        Self {
            pick,
            redactor,
            oldest,
            picked: Vec::new(),
            bytes: 0,
            seen: 0,
            reached_oldest: false,
        }
    }

    /// Whether an older chunk would add nothing.
    pub fn is_full(&self) -> bool {
        self.reached_oldest
            || self.picked.len() >= self.pick.lines.min(MAX_LINES)
            || self.bytes >= MAX_PICKED
    }

    /// How many lines were looked at.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Takes whole lines that stand before all that was given so far.
    pub fn older(&mut self, chunk: &str) {
        let text = self.redactor.redact(without_cut_key(chunk));
        for line in text.lines().rev() {
            if self.is_full() {
                return;
            }
            self.seen += 1;
            if self.is_too_old(line) {
                self.reached_oldest = true;
                return;
            }
            if self
                .pick
                .grep
                .as_ref()
                .is_some_and(|grep| !grep.is_in(line))
            {
                continue;
            }
            let line = cut_line(line);
            self.bytes += line.len();
            self.picked.push(line);
        }
    }

    fn is_too_old(&self, line: &str) -> bool {
        let Some(oldest) = &self.oldest else {
            return false;
        };
        clues_time(line).is_some_and(|time| time < oldest.as_str())
    }

    /// What was picked, oldest first.
    pub fn finish(mut self) -> Vec<String> {
        self.picked.reverse();
        self.picked
    }
}

/// The lines of a text without secrets and control characters, each within [`MAX_LINE`].
pub fn clean_lines(text: &str, redactor: &Redactor) -> Vec<String> {
    redactor
        .redact(without_cut_key(text))
        .lines()
        .map(cut_line)
        .collect()
}

/// The time in a line of CLUES, `2026-11-23 20:14:05`, local to the front end.
pub fn clues_time(line: &str) -> Option<&str> {
    let time = line.split(';').nth(2)?.get(..19)?;
    let is_time = time.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b' ',
        13 | 16 => byte == b':',
        _digit => byte.is_ascii_digit(),
    });
    is_time.then_some(time)
}

/// The chunk without the end of a private key whose beginning stands in an older chunk.
fn without_cut_key(chunk: &str) -> &str {
    const END: &str = "PRIVATE KEY-----";
    let Some(end) = chunk.find("-----END ").filter(|end| {
        chunk
            .get(*end..)
            .is_some_and(|rest| rest.lines().next().is_some_and(|line| line.contains(END)))
    }) else {
        return chunk;
    };
    let before = chunk.get(..end).unwrap_or_default();
    if before.contains("-----BEGIN ") {
        return chunk;
    }
    let rest = chunk.get(end..).unwrap_or_default();
    rest.split_once('\n').map_or("", |(_, after)| after)
}

/// A line without control characters and within [`MAX_LINE`].
fn cut_line(line: &str) -> String {
    let mut kept = String::with_capacity(line.len().min(MAX_LINE));
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if kept.len() >= MAX_LINE {
            kept.push('…');
            break;
        }
        if character == '\u{1b}' && characters.next_if_eq(&'[').is_some() {
            // A control sequence ends with a character from `@` to `~` (ECMA-48, 5.4).
            for parameter in characters.by_ref() {
                if ('@'..='~').contains(&parameter) {
                    break;
                }
            }
        } else if character == '\t' || !character.is_control() {
            kept.push(character);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(lines: usize, grep: Option<&str>) -> Pick {
        Pick {
            lines,
            since: None,
            grep: grep.map(|text| Pattern::parse(text).unwrap()),
        }
    }

    fn pick(wish: &Pick, oldest: Option<&str>, chunks: &[&str]) -> Vec<String> {
        let redactor = Redactor::new();
        let mut picker = Picker::new(wish, &redactor, oldest.map(str::to_owned));
        for chunk in chunks {
            if picker.is_full() {
                break;
            }
            picker.older(chunk);
        }
        picker.finish()
    }

    #[test]
    fn the_last_lines_are_picked_over_chunks() {
        let chunks = ["c\nd\n", "a\nb\n"];
        assert_eq!(pick(&wish(3, None), None, &chunks), ["b", "c", "d"]);
        assert_eq!(pick(&wish(9, None), None, &chunks), ["a", "b", "c", "d"]);
        assert_eq!(pick(&wish(1, Some("^[ab]$")), None, &chunks), ["b"]);
    }

    #[test]
    fn what_is_older_than_wanted_ends_the_search() {
        let old = " [CLUES];DEBUG;2026-11-23 20:14:05,123;old";
        let new = " [CLUES];DEBUG;2026-11-23 20:20:00,000;new\n  of two lines";
        let text = format!("{old}\n{new}\n");
        let picked = pick(
            &wish(9, None),
            Some("2026-11-23 20:15:00"),
            &[&text, "never"],
        );
        assert_eq!(picked, new.lines().collect::<Vec<_>>());
    }

    #[test]
    fn a_pattern_finds_no_secret() {
        let text = "token = abcdef123456\npassword: hunter22\nplain\n";
        assert_eq!(
            pick(&wish(9, Some("abcdef|hunter")), None, &[text]),
            Vec::<String>::new()
        );
        let found = pick(&wish(9, Some("redacted")), None, &[text]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_rest_of_a_private_key_is_dropped() {
        let text = "b3BlbnNzaC1rZXkt\nAAAA\n-----END OPENSSH PRIVATE KEY-----\nnext\n";
        assert_eq!(pick(&wish(9, None), None, &[text]), ["next"]);
        let whole = "a\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nb\n";
        assert_eq!(
            pick(&wish(9, None), None, &[whole]),
            ["a", "[redacted]", "b"]
        );
        let certificate = "a\n-----END CERTIFICATE-----\nb\n";
        assert_eq!(pick(&wish(9, None), None, &[certificate]).len(), 3);
    }

    #[test]
    fn long_lines_are_cut_and_terminals_obey_nothing() {
        let text = format!("\u{1b}[31mred\u{1b}[0m\u{7}\n{}\n", "é".repeat(5000));
        let picked = pick(&wish(9, None), None, &[&text]);
        assert_eq!(picked[0], "red");
        assert!(picked[1].len() < MAX_LINE + 8 && picked[1].ends_with('…'));
    }

    #[test]
    fn lines_come_whole_and_without_secrets_however_they_are_cut() {
        let (redactor, wanted) = (Redactor::new(), wish(9, Some("token|b")));
        let mut lines = Forward::new(&wanted, &redactor);
        let mut all = Vec::new();
        for piece in ["a\nb", "b\ntok", "en = abcdef", "0123\nc\n", "b\n"] {
            all.extend(lines.push(piece));
        }
        assert_eq!(all, ["bb", "token = [redacted]", "b"]);
    }

    #[test]
    fn patterns_have_limits() {
        assert!(Pattern::parse("error|failed").is_ok());
        for (bad, words) in [
            ("", "0 characters"),
            ("(", "unclosed group"),
            ("(?=x)", "look-around"),
            (r"\w{900}{90}", "too large"),
            (&"a".repeat(201), "201 characters"),
        ] {
            let error = Pattern::parse(bad).unwrap_err().to_string();
            assert!(error.contains(words), "{bad:?}: {error}");
        }
    }

    #[test]
    fn severities_of_each_format() {
        for (line, expected) in [
            (
                "[PLUGIN-IM];ERROR;2026-11-23 20:14:05,123;Error adding resources",
                Severity::Error,
            ),
            (
                "[MONITOR];WARNING;2026-11-23 20:14:05,123;could not power on",
                Severity::Warning,
            ),
            (
                "   [CLUES];DEBUG;2026-11-23 20:14:05,123;LOGGING MARK",
                Severity::Debug,
            ),
            (
                "[E 2026-11-23 20:14:05.123 JupyterHub web:1]",
                Severity::Error,
            ),
            (
                "[I 2026-11-23 20:14:05.123 JupyterHub app:2]",
                Severity::Plain,
            ),
            ("20:14:05.123 [ConfigProxy] error: 503 GET", Severity::Error),
            ("time=\"…\" level=warning msg=x", Severity::Warning),
            ("E1123 20:14:05.1 1 reflector.go", Severity::Error),
            ("W1123 20:14:05.1 1 reflector.go", Severity::Warning),
            ("changed: [front]", Severity::Good),
        ] {
            assert_eq!(severity(line), expected, "{line}");
        }
    }

    #[test]
    fn every_source_has_a_word() {
        for source in LogSource::ALL {
            assert_eq!(LogSource::from_word(source.as_str()), Some(source));
        }
    }
}
