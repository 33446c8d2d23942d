//! The state machine over chunks of text.

use super::matcher::{Matcher, SecretAt};
use super::patterns::{self, KEYWORDS, Until, Verdict};
use super::{REDACTED, Redactor};

/// How much of a chunk is looked at in one go, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The first bytes of the last line of a PEM block, and its longest length.
const PEM_END: &[u8] = b"-----END ";
const MAX_PEM_END_BYTES: usize = 80;

/// Redacts text that comes in chunks, as if it had come in one.
///
/// What may be the beginning of a secret is held back until the next chunk, or
/// [`RedactStream::finish`], tells.
pub struct RedactStream {
    redactor: Redactor,
    /// What is held back.
    held: Vec<u8>,
    state: State,
    /// The byte before `held`.
    before: u8,
}

#[derive(Clone, Copy)]
enum State {
    /// Text goes through.
    Text,
    /// A secret is being dropped.
    Drop {
        until: Until,
        /// How many of the next bytes a known secret covers.
        covered: usize,
        /// Whether the byte before was a backslash that is not yet decided on.
        escaped: bool,
    },
}

/// The bytes at hand.
struct View<'a> {
    matcher: &'a Matcher,
    text: &'a [u8],
    /// Whether the text ends here, so that waiting for more makes no sense.
    is_end: bool,
}

impl View<'_> {
    /// The known secret at a place, or that it can't be told before there is more text.
    fn secret_at(&self, at: usize) -> Known {
        match self.matcher.secret_at(self.text, at) {
            SecretAt::Begun { .. } if !self.is_end => Known::Unclear,
            SecretAt::Whole(whole) | SecretAt::Begun { whole } => Known::Bytes(whole),
            SecretAt::None => Known::Bytes(0),
        }
    }

    fn slice(&self, from: usize, to: usize) -> &[u8] {
        self.text.get(from..to).unwrap_or_default()
    }
}

/// How many bytes a known secret covers from a place on; 0 if none begins there.
enum Known {
    Bytes(usize),
    Unclear,
}

/// What the machine makes of the bytes at hand: how many it is done with and how it goes on.
enum Progress {
    Continue(usize),
    /// The rest has to wait for more.
    Wait(usize),
}

impl RedactStream {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            held: Vec::new(),
            state: State::Text,
            before: b'\n',
        }
    }

    /// Takes a chunk and appends to `out` what is safe to show.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let matcher = self.redactor.matcher();
        for piece in chunk.chunks(PIECE_BYTES) {
            let mut text = std::mem::take(&mut self.held);
            text.extend_from_slice(piece);
            let view = View {
                matcher: &matcher,
                text: &text,
                is_end: false,
            };
            let done = self.run(&view, out);
            text.drain(..done);
            self.held = text;
        }
    }

    /// Ends the text: what was held back is decided on. The stream may be used again.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let matcher = self.redactor.matcher();
        let text = std::mem::take(&mut self.held);
        let view = View {
            matcher: &matcher,
            text: &text,
            is_end: true,
        };
        self.run(&view, out);
        self.state = State::Text;
        self.before = b'\n';
    }

    /// Works through the text; returns how many bytes are done with.
    fn run(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < view.text.len() {
            let progress = match self.state {
                State::Text => self.pass(view, at, out),
                State::Drop {
                    until: Until::PemEnd { left },
                    ..
                } => self.drop_pem(view, at, left),
                State::Drop {
                    until,
                    covered,
                    escaped,
                } => self.drop_secret(view, at, (until, covered, escaped), out),
            };
            let (next, waits) = match progress {
                Progress::Continue(next) => (next, false),
                Progress::Wait(next) => (next, true),
            };
            if let Some(byte) = next.checked_sub(1).and_then(|last| view.text.get(last)) {
                self.before = *byte;
            }
            at = next;
            if waits {
                break;
            }
        }
        at
    }

    /// Lets text through until a secret begins.
    fn pass(&mut self, view: &View<'_>, from: usize, out: &mut Vec<u8>) -> Progress {
        // A candidate that the end of the text cuts off comes before the whole ones after it.
        let end = if view.is_end {
            view.text.len()
        } else {
            view.matcher.cut_candidate(view.text, from)
        };
        let mut search = from;
        while let Some(at) = view.matcher.candidate(view.text, search) {
            if at >= end {
                break;
            }
            let before = match at.checked_sub(1).and_then(|last| view.text.get(last)) {
                Some(byte) => *byte,
                None => self.before,
            };
            match judge(view, at, before) {
                Verdict::Nothing => search = at + 1,
                Verdict::Unclear => {
                    out.extend_from_slice(view.slice(from, at));
                    return Progress::Wait(at);
                }
                Verdict::Secret { start, until } => {
                    out.extend_from_slice(view.slice(from, start));
                    out.extend_from_slice(REDACTED.as_bytes());
                    self.state = State::Drop {
                        until,
                        covered: 0,
                        escaped: false,
                    };
                    return Progress::Continue(start);
                }
            }
        }
        out.extend_from_slice(view.slice(from, end));
        Progress::Wait(end)
    }

    /// Drops bytes until the secret ends. A known secret that begins within is dropped whole, even
    /// where it goes on beyond the announced end.
    fn drop_secret(
        &mut self,
        view: &View<'_>,
        from: usize,
        (until, mut covered, mut escaped): (Until, usize, bool),
        out: &mut Vec<u8>,
    ) -> Progress {
        let mut progress = Progress::Wait(view.text.len());
        for (at, byte) in view.text.iter().copied().enumerate().skip(from) {
            match view.secret_at(at) {
                Known::Unclear => {
                    progress = Progress::Wait(at);
                    break;
                }
                Known::Bytes(bytes) => covered = covered.max(bytes),
            }
            if covered > 0 {
                covered -= 1;
                escaped = false;
            } else if ends(until, byte, escaped) {
                if escaped && !matches!(until, Until::Quote(_)) {
                    out.push(b'\\');
                }
                self.state = State::Text;
                return Progress::Continue(at);
            } else {
                escaped = !escaped && byte == b'\\';
            }
        }
        self.state = State::Drop {
            until,
            covered,
            escaped,
        };
        progress
    }

    /// Drops a PEM block up to and with its last line.
    fn drop_pem(&mut self, view: &View<'_>, from: usize, left: usize) -> Progress {
        let rest = view.text.get(from..).unwrap_or_default();
        let found = rest.windows(PEM_END.len()).position(|w| w == PEM_END);
        if let Some(found) = found.filter(|found| *found <= left) {
            let line = rest.get(found + PEM_END.len()..).unwrap_or_default();
            let line = line.get(..MAX_PEM_END_BYTES).unwrap_or(line);
            let closing = line.windows(5).position(|w| w == b"-----");
            if closing.is_none() && !view.is_end && line.len() < MAX_PEM_END_BYTES {
                self.keep_dropping(left.saturating_sub(found));
                return Progress::Wait(from + found);
            }
            self.state = State::Text;
            let end = closing.map_or(0, |at| at + 5);
            return Progress::Continue(from + found + PEM_END.len() + end);
        }
        let seen = if view.is_end {
            rest.len()
        } else {
            (rest.len() + 1).saturating_sub(PEM_END.len())
        };
        if seen > left {
            self.state = State::Text;
            return Progress::Continue(from + left);
        }
        self.keep_dropping(left - seen);
        Progress::Wait(from + seen)
    }

    fn keep_dropping(&mut self, left: usize) {
        self.state = State::Drop {
            until: Until::PemEnd { left },
            covered: 0,
            escaped: false,
        };
    }
}

/// What begins at a candidate: a known secret, or an announced one.
fn judge(view: &View<'_>, at: usize, before: u8) -> Verdict {
    match view.secret_at(at) {
        Known::Unclear => return Verdict::Unclear,
        Known::Bytes(0) => {}
        Known::Bytes(_) => {
            return Verdict::Secret {
                start: at,
                until: Until::Covered,
            };
        }
    }
    let rest = view.text.get(at..).unwrap_or_default();
    for (keyword, announces) in KEYWORDS {
        let here = rest.get(..keyword.len());
        if !here.is_some_and(|here| here.eq_ignore_ascii_case(keyword)) {
            continue;
        }
        let mut verdict = patterns::judge(announces, keyword, view.text, at, before);
        if verdict == Verdict::Unclear && view.is_end {
            verdict = at_the_end(announces, keyword, view.text, at, before);
        }
        match verdict {
            Verdict::Nothing => {}
            Verdict::Unclear => return verdict,
            Verdict::Secret { start, .. } => {
                return known_before(view, at, start).unwrap_or(verdict);
            }
        }
    }
    Verdict::Nothing
}

/// A verdict for text that ends here: as if a line end followed.
fn at_the_end(
    announces: patterns::Announces,
    keyword: &[u8],
    text: &[u8],
    at: usize,
    before: u8,
) -> Verdict {
    let mut line = text.get(at..).unwrap_or_default().to_vec();
    line.push(b'\n');
    match patterns::judge(announces, keyword, &line, 0, before) {
        Verdict::Secret { start, until } if at + start < text.len() => Verdict::Secret {
            start: at + start,
            until,
        },
        Verdict::Secret { .. } | Verdict::Nothing | Verdict::Unclear => Verdict::Nothing,
    }
}

/// A known secret that begins between a keyword and the value that it announces comes first.
fn known_before(view: &View<'_>, at: usize, start: usize) -> Option<Verdict> {
    (at + 1..start).find_map(|place| match view.secret_at(place) {
        Known::Unclear => Some(Verdict::Unclear),
        Known::Bytes(0) => None,
        Known::Bytes(_) => Some(Verdict::Secret {
            start: place,
            until: Until::Covered,
        }),
    })
}

/// Whether a secret ends before `byte`.
fn ends(until: Until, byte: u8, escaped: bool) -> bool {
    let is_quote = matches!(byte, b'"' | b'\'');
    let is_line_end = matches!(byte, b'\n' | b'\r');
    // In text that was escaped itself, `\n` is a line end and `\"` a quote.
    let is_escaped_end = escaped && (is_quote || matches!(byte, b'n' | b'r' | b't'));
    match until {
        Until::Covered => true,
        Until::Quote(quote) => is_line_end || (byte == quote && !escaped),
        Until::EscapedQuote => is_line_end || is_quote,
        Until::Separator => patterns::is_separator(byte) || is_escaped_end,
        Until::Line => is_line_end || is_quote || is_escaped_end,
        Until::NotCredential => !patterns::is_credential(byte),
        Until::At => byte == b'@',
        Until::PemEnd { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    #[test]
    fn what_is_held_back_is_bounded() {
        let redactor = Redactor::new();
        redactor.learn(&SecretString::from("correct horse/battery+staple"));
        let mut stream = redactor.stream();
        let mut out = Vec::new();
        for text in ["correct ", "token = ", "x", "://", "Bearer ", "-----BEGIN "] {
            for _ in 0..10_000 {
                stream.push(text.as_bytes(), &mut out);
                assert!(stream.held.len() < 400, "{text}: {}", stream.held.len());
            }
        }
    }

    #[test]
    fn a_finished_line_is_not_held_back() {
        let redactor = Redactor::new();
        redactor.learn(&SecretString::from("correct horse/battery+staple"));
        let mut stream = redactor.stream();
        let mut out = Vec::new();
        stream.push(b"password = hunter2\ncorrect\n", &mut out);
        assert_eq!(out, b"password = [redacted]\ncorrect\n");
    }
}
