//! Logs: a coloured excerpt, and all lines as a file.

use crate::chat::text::{Clean, cut, units};
use crate::chat::view::{Card, FIELD, File, Shade, View};
use crate::domain::logs::{Pick, Severity, severity};
use crate::looks::logs::LogAnswer;

/// The most of the excerpt, in UTF-16 units; Discord takes 4096 and 6000 in all.
const EXCERPT: usize = 3600;
/// The most of a line in the excerpt.
const LINE: usize = 240;

/// The answer to `/pangeo logs …`.
pub(crate) struct Shown<'a> {
    pub(crate) title: String,
    /// The name of the file with all lines.
    pub(crate) file: String,
    pub(crate) pick: &'a Pick,
    pub(crate) answer: &'a LogAnswer,
    /// A page that shows what is new.
    pub(crate) link: Option<String>,
}

/// An excerpt, all lines as a file, and the page.
pub(crate) fn view(clean: &Clean, shown: Shown<'_>) -> View {
    let answer = shown.answer;
    let mut text = if answer.lines.is_empty() {
        nothing(shown.pick)
    } else {
        excerpt(clean, &answer.lines, "in the file")
    };
    let mut shade = Shade::Neutral;
    if let Some((problem, hint)) = &answer.problem {
        shade = Shade::Bad;
        text = format!(
            "{}\nhint: {}\n{text}",
            clean.prose(problem),
            clean.ours(hint)
        );
    }
    let mut fields = Vec::new();
    if !answer.notes.is_empty() {
        let notes: Vec<String> = answer.notes.iter().map(|note| clean.ours(note)).collect();
        fields.push(("From".to_owned(), cut(&notes.join("\n"), FIELD)));
    }
    if let Some(link) = shown.link {
        fields.push(("Live page".to_owned(), link));
    }
    let mut view = View::card(Card {
        title: cut(&clean.redact(&shown.title), 200),
        text,
        shade,
        fields,
        footer: String::new(),
    });
    if !answer.lines.is_empty() {
        let mut content = answer.lines.join("\n");
        content.push('\n');
        view.files.push(File {
            name: shown.file,
            content: clean.redact(&content),
        });
    }
    view
}

fn nothing(pick: &Pick) -> String {
    let mut text = "no lines".to_owned();
    if pick.grep.is_some() || pick.since.is_some() {
        text.push_str(" that match\nhint: give a longer `since`, or another `grep`");
    }
    text
}

/// The last lines that fit, in the colours that Discord shows.
pub(crate) fn excerpt(clean: &Clean, lines: &[String], rest: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut used = 0;
    for line in lines.iter().rev() {
        let line = coloured(clean, line);
        used += units(&line) + 1;
        if used > EXCERPT {
            break;
        }
        kept.push(line);
    }
    let left = lines.len() - kept.len();
    kept.reverse();
    let more = if left > 0 {
        format!("… {left} lines before these, {rest}\n")
    } else {
        String::new()
    };
    format!("{more}```ansi\n{}\n```", kept.join("\n"))
}

fn coloured(clean: &Clean, line: &str) -> String {
    let line = cut(&clean.block_line(line), LINE);
    let colour = match severity(&line) {
        Severity::Error => "31",
        Severity::Warning => "33",
        Severity::Good => "32",
        Severity::Debug => "30",
        Severity::Plain => return line,
    };
    format!("\u{1b}[{colour}m{line}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::view::TEXT;
    use crate::domain::redact::Redactor;

    fn shown<'a>(pick: &'a Pick, answer: &'a LogAnswer) -> Shown<'a> {
        Shown {
            title: "geo: log of hub".to_owned(),
            file: "geo-hub.log".to_owned(),
            pick,
            answer,
            link: None,
        }
    }

    const PICK: Pick = Pick {
        lines: 100,
        since: None,
        grep: None,
    };

    #[test]
    fn the_end_of_the_log_is_shown_in_colours_and_all_of_it_is_a_file() {
        let mut lines: Vec<String> = (0..500)
            .map(|n| format!("[I x JupyterHub] line {n}"))
            .collect();
        lines.push("[E x JupyterHub] it broke ``` @everyone".to_owned());
        let found = LogAnswer {
            lines,
            notes: vec!["pod `hub-1` Running".to_owned()],
            problem: None,
        };
        let view = view(&Clean::new(Redactor::new()), shown(&PICK, &found));
        let card = view.card.clone().unwrap();
        assert!(card.text.starts_with("… "), "{}", card.text);
        assert!(
            card.text
                .ends_with("\u{1b}[31m[E x JupyterHub] it broke ˋˋˋ @everyone\u{1b}[0m\n```"),
            "{}",
            card.text
        );
        assert!(units(&card.text) < TEXT);
        assert_eq!(view.files[0].name, "geo-hub.log");
        assert!(
            view.files[0]
                .content
                .starts_with("[I x JupyterHub] line 0\n")
        );
    }

    #[test]
    fn what_is_in_the_way_is_said_with_what_to_do() {
        let found = LogAnswer {
            problem: Some(("no way".to_owned(), "do `that`".to_owned())),
            ..LogAnswer::default()
        };
        let view = view(&Clean::new(Redactor::new()), shown(&PICK, &found));
        let text = view.card.unwrap().text;
        assert!(text.starts_with("no way\nhint: do `that`\n"), "{text}");
        assert!(view.files.is_empty());
    }
}
