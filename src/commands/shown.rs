//! How much of the descriptions Discord shows.
//!
//! It takes 8000 characters for `/pangeo` with all that is below it. The more commands there are,
//! the less of each description is shown: first of options, and of commands only half as much is
//! cut. Whole ones stand in the files, in `/pangeo help command:…` and in the manual.

use std::borrow::Cow;

use super::limits::MAX_DESCRIPTION;

/// The longest that descriptions are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    option: usize,
}

impl Shown {
    /// All of every description.
    pub const WHOLE: Self = Self {
        option: MAX_DESCRIPTION,
    };

    /// Less than this tells nothing.
    pub(super) const LEAST: Self = Self { option: 12 };

    /// From all to the least.
    pub(super) fn choices() -> impl Iterator<Item = Self> {
        let lengths = Self::LEAST.option..=Self::WHOLE.option;
        lengths.rev().map(|option| Self { option })
    }

    /// Characters of an option's description.
    pub(super) fn of_options(self) -> usize {
        self.option
    }

    /// Characters of the description of a command or group.
    pub(super) fn of_commands(self) -> usize {
        (2 * self.option).min(MAX_DESCRIPTION)
    }

    /// The description of an option.
    pub fn option(self, description: &str) -> Cow<'_, str> {
        cut(description, self.of_options())
    }

    /// The description of a command or group.
    pub fn command(self, description: &str) -> Cow<'_, str> {
        cut(description, self.of_commands())
    }
}

/// The first whole words, with a sign that there are more.
fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    if text.chars().count() <= longest {
        return Cow::Borrowed(text);
    }
    let first: String = text.chars().take(longest.saturating_sub(1)).collect();
    let is_word_end = text.chars().nth(first.chars().count()) == Some(' ');
    let words = match first.rsplit_once(' ') {
        Some((words, _part)) if !is_word_end => words,
        Some(_) | None => &first,
    };
    let words = words.trim_end_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '`' | ')'));
    Cow::Owned(format!("{words}…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_shown() {
        for (text, longest, shown) in [
            ("The cluster", 11, "The cluster"),
            ("The cluster, by name", 14, "The cluster…"),
            ("Only lines that match this pattern", 16, "Only lines that…"),
            ("Averylongwordwithoutanyend", 10, "Averylong…"),
            ("Größe der Müllverbrennung", 6, "Größe…"),
        ] {
            assert_eq!(cut(text, longest), shown);
            assert!(shown.chars().count() <= longest, "{shown}");
        }
    }

    #[test]
    fn options_are_cut_before_commands() {
        let least = Shown::LEAST;
        assert_eq!(least.of_commands(), 2 * least.of_options());
        assert_eq!(Shown::WHOLE.of_commands(), MAX_DESCRIPTION);
        assert_eq!(Shown::choices().next(), Some(Shown::WHOLE));
        assert_eq!(Shown::choices().last(), Some(Shown::LEAST));
    }
}
