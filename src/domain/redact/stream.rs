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
            let done = self.run(&matcher, &text, false, out);
            text.drain(..done);
            self.held = text;
        }
    }

    /// Ends the text: what was held back is decided on. The stream may be used again.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let matcher = self.redactor.matcher();
        let text = std::mem::take(&mut self.held);
        self.run(&matcher, &text, true, out);
        self.state = State::Text;
        self.before = b'\n';
    }

    /// Works through the text; returns how many bytes are done with.
    fn run(&mut self, matcher: &Matcher, text: &[u8], is_end: bool, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < text.len() {
            let progress = match self.state {
                State::Text => self.pass(matcher, text, at, is_end, out),
                State::Drop {
                    until: Until::PemEnd { left },
                    ..
                } => self.drop_pem(text, at, left, is_end),
                State::Drop { .. } => self.drop_secret(matcher, text, at, is_end, out),
            };
            let next = match progress {
                Progress::Continue(next) | Progress::Wait(next) => next,
            };
            if let Some(byte) = next.checked_sub(1).and_then(|last| text.get(last)) {
                self.before = *byte;
            }
            at = next;
            if matches!(progress, Progress::Wait(_)) {
                break;
            }
        }
        at
    }

    /// Lets text through until a secret begins.
    fn pass(
        &mut self,
        matcher: &Matcher,
        text: &[u8],
        from: usize,
        is_end: bool,
        out: &mut Vec<u8>,
    ) -> Progress {
        // A candidate that the end of the text cuts off comes before the whole ones after it.
        let end = if is_end {
            text.len()
        } else {
            matcher.cut_candidate(text, from)
        };
        let mut search = from;
        while let Some(at) = matcher.candidate(text, search) {
            if at >= end {
                break;
            }
            let before = match at.checked_sub(1).and_then(|last| text.get(last)) {
                Some(byte) => *byte,
                None => self.before,
            };
            match judge(matcher, text, at, before, is_end) {
                Verdict::Nothing => search = at + 1,
                Verdict::Unclear => {
                    out.extend_from_slice(text.get(from..at).unwrap_or_default());
                    return Progress::Wait(at);
                }
                Verdict::Secret { start, until } => {
                    out.extend_from_slice(text.get(from..start).unwrap_or_default());
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
        out.extend_from_slice(text.get(from..end).unwrap_or_default());
        Progress::Wait(end)
    }

    /// Drops bytes until the secret ends. A known secret that begins within is dropped whole, even
    /// where it goes on beyond the announced end.
    fn drop_secret(
        &mut self,
        matcher: &Matcher,
        text: &[u8],
        from: usize,
        is_end: bool,
        out: &mut Vec<u8>,
    ) -> Progress {
        let State::Drop {
            until,
            mut covered,
            mut escaped,
        } = self.state
        else {
            return Progress::Continue(from);
        };
        for (at, byte) in text.iter().copied().enumerate().skip(from) {
            match matcher.secret_at(text, at) {
                SecretAt::Begun { .. } if !is_end => {
                    self.state = State::Drop {
                        until,
                        covered,
                        escaped,
                    };
                    return Progress::Wait(at);
                }
                SecretAt::Whole(whole) | SecretAt::Begun { whole } => covered = covered.max(whole),
                SecretAt::None => {}
            }
            if covered > 0 {
                covered -= 1;
                escaped = false;
                continue;
            }
            match ends(until, byte, escaped) {
                End::Here => {
                    if escaped
                        && matches!(until, Until::Separator | Until::Line | Until::EscapedQuote)
                    {
                        out.push(b'\\');
                    }
                    self.state = State::Text;
                    return Progress::Continue(at);
                }
                End::NotYet => escaped = !escaped && byte == b'\\',
            }
        }
        self.state = State::Drop {
            until,
            covered,
            escaped,
        };
        Progress::Wait(text.len())
    }

    /// Drops a PEM block up to and with its last line.
    fn drop_pem(&mut self, text: &[u8], from: usize, left: usize, is_end: bool) -> Progress {
        let rest = text.get(from..).unwrap_or_default();
        let found = rest.windows(PEM_END.len()).position(|w| w == PEM_END);
        if let Some(found) = found.filter(|found| *found <= left) {
            let line = rest.get(found + PEM_END.len()..).unwrap_or_default();
            let line = line.get(..MAX_PEM_END_BYTES).unwrap_or(line);
            let closing = line.windows(5).position(|w| w == b"-----");
            if closing.is_none() && !is_end && line.len() < MAX_PEM_END_BYTES {
                self.keep_dropping(left.saturating_sub(found));
                return Progress::Wait(from + found);
            }
            self.state = State::Text;
            let end = closing.map_or(0, |at| at + 5);
            return Progress::Continue(from + found + PEM_END.len() + end);
        }
        let seen = if is_end {
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
fn judge(matcher: &Matcher, text: &[u8], at: usize, before: u8, is_end: bool) -> Verdict {
    match matcher.secret_at(text, at) {
        SecretAt::Begun { .. } if !is_end => return Verdict::Unclear,
        SecretAt::Whole(whole) | SecretAt::Begun { whole } if whole > 0 => {
            return Verdict::Secret {
                start: at,
                until: Until::Covered,
            };
        }
        SecretAt::Whole(_) | SecretAt::Begun { .. } | SecretAt::None => {}
    }
    let rest = text.get(at..).unwrap_or_default();
    for (keyword, announces) in KEYWORDS {
        let here = rest.get(..keyword.len());
        if !here.is_some_and(|here| here.eq_ignore_ascii_case(keyword)) {
            continue;
        }
        let mut verdict = patterns::judge(announces, keyword, text, at, before);
        if verdict == Verdict::Unclear && is_end {
            verdict = at_the_end(announces, keyword, text, at, before);
        }
        match verdict {
            Verdict::Nothing => {}
            Verdict::Unclear => return verdict,
            Verdict::Secret { start, .. } => {
                return known_before(matcher, text, at, start, verdict, is_end);
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
fn known_before(
    matcher: &Matcher,
    text: &[u8],
    at: usize,
    start: usize,
    announced: Verdict,
    is_end: bool,
) -> Verdict {
    for place in at + 1..start {
        match matcher.secret_at(text, place) {
            SecretAt::Begun { .. } if !is_end => return Verdict::Unclear,
            SecretAt::Whole(whole) | SecretAt::Begun { whole } if whole > 0 => {
                return Verdict::Secret {
                    start: place,
                    until: Until::Covered,
                };
            }
            SecretAt::Whole(_) | SecretAt::Begun { .. } | SecretAt::None => {}
        }
    }
    announced
}

enum End {
    Here,
    NotYet,
}

/// Whether a secret ends before `byte`.
fn ends(until: Until, byte: u8, escaped: bool) -> End {
    let is_quote = matches!(byte, b'"' | b'\'');
    let is_line_end = matches!(byte, b'\n' | b'\r');
    // In text that was escaped itself, `\n` is a line end and `\"` a quote.
    let is_escaped_end = escaped && (is_quote || matches!(byte, b'n' | b'r' | b't'));
    let here = match until {
        Until::Covered => true,
        Until::Quote(quote) => is_line_end || (byte == quote && !escaped),
        Until::EscapedQuote => is_line_end || is_quote,
        Until::Separator => patterns::is_separator(byte) || is_escaped_end,
        Until::Line => is_line_end || is_quote || is_escaped_end,
        Until::NotCredential => !patterns::is_credential(byte),
        Until::At => byte == b'@',
        Until::PemEnd { .. } => false,
    };
    if here { End::Here } else { End::NotYet }
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
