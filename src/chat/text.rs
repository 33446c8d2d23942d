//! Text made safe for Discord: without secrets, without commands to Discord, within its limits.
//!
//! Lengths are counted in UTF-16 units. Discord's page counts so; its API counts characters, which
//! are never more.

use crate::domain::redact::Redactor;

/// What stands where a text was cut.
const CUT: &str = " …";

/// Cuts a text to `max` UTF-16 units, on a character's edge, and ends it with `tail`.
pub(crate) fn cut_with(text: &str, max: usize, tail: &str) -> String {
    if units(text) <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(units(tail));
    let mut kept = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += character.len_utf16();
        if used > room {
            break;
        }
        kept.push(character);
    }
    kept.push_str(tail);
    kept
}

/// Cuts a text to `max` UTF-16 units.
pub(crate) fn cut(text: &str, max: usize) -> String {
    cut_with(text, max, CUT)
}

/// The length as Discord counts it.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Lines that fit into a code block of `max` units with its fence; what does not fit is counted.
pub(crate) fn code_block(language: &str, lines: &[String], max: usize) -> String {
    let fence = units("```\n```") + units(language) + 1;
    let more = |left: usize| format!("… {left} more lines (whole text in the file)");
    let room = max.saturating_sub(fence + units(&more(lines.len())) + 1);
    let mut kept = String::new();
    let mut used = 0;
    for (index, line) in lines.iter().enumerate() {
        let line = cut(line, 200);
        used += units(&line) + 1;
        if used > room {
            kept.push_str(&more(lines.len() - index));
            kept.push('\n');
            break;
        }
        kept.push_str(&line);
        kept.push('\n');
    }
    format!("```{language}\n{kept}```")
}

/// A character that changes how others are read or shown, without being seen itself.
fn is_trick(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How Discord shows a time, its reference "Message Formatting", "Timestamp Styles".
const STYLES: [&str; 7] = ["t", "T", "d", "D", "f", "F", "R"];

/// Whether what follows a `<` is a time (`t:1800000000:R>`) or a person (`@42>`).
fn is_time_or_person(after: &str) -> bool {
    let Some(inner) = after.split_once('>').map(|(inner, _)| inner) else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match (inner.strip_prefix("t:"), inner.strip_prefix('@')) {
        (Some(time), _) => match time.split_once(':') {
            Some((time, style)) => digits(time) && STYLES.contains(&style),
            None => digits(time),
        },
        (None, Some(person)) => digits(person),
        (None, None) => false,
    }
}

/// Makes text of others safe to show.
#[derive(Clone, Debug)]
pub(crate) struct Clean(Redactor);

impl Clean {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self(redactor)
    }

    /// Text without its secrets; nothing else is changed.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.0.redact(text).into_owned()
    }

    /// For running text: no markdown, no mentions, no secrets.
    pub(crate) fn prose(&self, text: &str) -> String {
        let mut out = String::new();
        for character in self.0.redact(text).chars() {
            match character {
                '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '[' | ']' | '#' => {
                    out.push('\\');
                    out.push(character);
                }
                // A zero-width space after it: no mention of everyone, here or anybody.
                '@' => out.push_str("@\u{200b}"),
                trick if is_trick(trick) => {}
                plain => out.push(plain),
            }
        }
        out
    }

    /// For text of our own that may quote others: code between backticks, times (`<t:…>`) and
    /// people (`<@…>`) stay as they are meant; links and emphasis that a quoted text may bring do
    /// not.
    pub(crate) fn ours(&self, text: &str) -> String {
        let text = self.0.redact(text);
        let mut out = String::new();
        let mut in_code = false;
        for (at, character) in text.char_indices() {
            let before = text.get(..at).unwrap_or_default();
            let after = text.get(at + character.len_utf8()..).unwrap_or_default();
            match character {
                '`' => {
                    in_code = !in_code;
                    out.push('`');
                }
                _ if in_code && !is_trick(character) => out.push(character),
                '<' if is_time_or_person(after) => out.push('<'),
                '@' if before.ends_with('<') && is_time_or_person(&format!("@{after}")) => {
                    out.push('@');
                }
                '@' => out.push_str("@\u{200b}"),
                '\\' | '*' | '~' | '|' | '<' | '[' | ']' | '#' => {
                    out.push('\\');
                    out.push(character);
                }
                trick if is_trick(trick) => {}
                plain => out.push(plain),
            }
        }
        if in_code {
            out.push('`');
        }
        out
    }

    /// For one line between backticks; the backticks come with it.
    pub(crate) fn code(&self, text: &str) -> String {
        let line: String = self
            .0
            .redact(text)
            .chars()
            .map(|character| match character {
                '`' => 'ˋ',
                '\n' | '\r' | '\t' => ' ',
                other => other,
            })
            .filter(|character| !is_trick(*character))
            .collect();
        let line = line.trim();
        format!("`{}`", if line.is_empty() { " " } else { line })
    }

    /// For a line within a code block.
    pub(crate) fn block_line(&self, text: &str) -> String {
        self.0
            .redact(text)
            .replace("```", "ˋˋˋ")
            .chars()
            .filter(|character| !is_trick(*character) && *character != '\n')
            .collect()
    }

    /// For text that a file of ours wrote as markdown: only secrets and tricks are taken out.
    pub(crate) fn markdown(&self, text: &str) -> String {
        self.0
            .redact(text)
            .chars()
            .filter(|character| !is_trick(*character))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn clean() -> Clean {
        Clean::new(Redactor::new())
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("0123456789ab", 10), "01234567 …");
        // Four emoji are eight units; a cut never leaves half of one.
        assert_eq!(cut("🙂🙂🙂🙂", 7), "🙂🙂 …");
        assert_eq!(units(&cut(&"é".repeat(5000), 2000)), 2000);
    }

    #[test]
    fn a_code_block_counts_what_it_leaves_out() {
        let lines: Vec<String> = (0..100).map(|n| format!("+ line {n}")).collect();
        let block = code_block("diff", &lines, 300);
        assert!(units(&block) <= 300, "{block}");
        assert!(block.starts_with("```diff\n+ line 0\n"), "{block}");
        assert!(
            block.contains("more lines (whole text in the file)\n```"),
            "{block}"
        );
        assert_eq!(code_block("", &["one".to_owned()], 300), "```\none\n```");
    }

    #[test]
    fn hostile_text_commands_nothing() {
        let prose = clean().prose("@everyone <@&1> **bold** `x` [a](https://b) \u{202e}evil\0");
        assert!(
            !prose.contains("@everyone") && !prose.contains("<@&1>"),
            "{prose}"
        );
        assert!(
            prose.contains("\\*\\*bold\\*\\*") && prose.contains("\\[a\\]"),
            "{prose}"
        );
        assert!(
            !prose.contains('\u{202e}') && !prose.contains('\0'),
            "{prose}"
        );
        assert_eq!(clean().code("a`b\nc"), "`aˋb c`");
        assert_eq!(clean().code(""), "` `");
        assert_eq!(clean().block_line("```\nx"), "ˋˋˋx");
    }

    #[test]
    fn our_own_words_keep_code_times_and_people_and_nothing_else() {
        let kept = "`a_b*c` ends <t:1800000000:R>, asked by <@42>, see https://a_b.eu/";
        assert_eq!(clean().ours(kept), kept);
        for style in STYLES {
            let kept = format!("until <t:1800000000:{style}>");
            assert_eq!(clean().ours(&kept), kept);
        }
        assert_eq!(clean().ours("<t:1:X>"), "\\<t:1:X>");
        let quoted = clean().ours("IM said [click](https://evil) <@&1> @everyone **x** `open");
        for bad in ["[click](", "<@&1>", "@everyone", "**x**"] {
            assert!(!quoted.contains(bad), "{quoted}");
        }
        assert!(quoted.ends_with("`open`"), "{quoted}");
    }

    #[test]
    fn secrets_are_gone_before_anything_is_escaped() {
        let redactor = Redactor::new();
        redactor.learn(&SecretString::from("very_secret*value"));
        let clean = Clean::new(redactor);
        for text in [
            clean.prose("it is very_secret*value"),
            clean.code("it is very_secret*value"),
            clean.block_line("it is very_secret*value"),
            clean.markdown("it is very_secret*value"),
        ] {
            assert!(
                !text.contains("secret*") && !text.contains("very"),
                "{text}"
            );
        }
    }
}
