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
