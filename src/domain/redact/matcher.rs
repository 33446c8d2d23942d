//! Finds the places where a secret may begin, in one pass.

use std::collections::{HashMap, HashSet};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

use super::patterns::KEYWORDS;

/// How many first bytes of a needle the automaton looks at; the rest is compared at a candidate.
/// This keeps the automaton small however long and many the secrets are.
const PREFIX_BYTES: usize = 8;

/// Above so many patterns the automaton takes a slower form that needs far less memory.
const MAX_DFA_PATTERNS: usize = 4_000;

/// What known secret begins at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretAt {
    /// None.
    None,
    /// One of this length, in bytes; the longest of them.
    Whole(usize),
    /// The text ends before one, longer than any that is whole, is complete.
    Begun {
        /// The length of the longest that is whole, or 0.
        whole: usize,
    },
}

/// The automaton over all needles and keywords.
pub(super) struct Matcher {
    automaton: Option<AhoCorasick>,
    /// The needles by their first two bytes.
    needles: HashMap<[u8; 2], Vec<Box<[u8]>>>,
    /// Whether any needle begins with the byte.
    first_bytes: [bool; 256],
    /// What the automaton looks for, in lower case and sorted.
    patterns: Vec<Vec<u8>>,
    /// The longest of them, in bytes.
    longest_pattern: usize,
}

impl Matcher {
    /// Builds the automaton; takes about a millisecond for a hundred secrets.
    pub(super) fn new(known: &HashSet<Vec<u8>>) -> Self {
        let mut needles: HashMap<[u8; 2], Vec<Box<[u8]>>> = HashMap::new();
        let mut first_bytes = [false; 256];
        let mut patterns: Vec<Vec<u8>> = KEYWORDS
            .iter()
            .map(|(keyword, _)| keyword.to_vec())
            .collect();
        for needle in known {
            let Some(&[first, second]) = needle.first_chunk::<2>() else {
                continue;
            };
            needles
                .entry([first, second])
                .or_default()
                .push(needle.clone().into_boxed_slice());
            if let Some(flag) = first_bytes.get_mut(usize::from(first)) {
                *flag = true;
            }
            let prefix = needle.get(..PREFIX_BYTES).unwrap_or(needle);
            patterns.push(prefix.to_ascii_lowercase());
        }
        patterns.sort_unstable();
        patterns.dedup();
        let kind = if patterns.len() <= MAX_DFA_PATTERNS {
            AhoCorasickKind::DFA
        } else {
            AhoCorasickKind::ContiguousNFA
        };
        let automaton = AhoCorasick::builder()
            .kind(Some(kind))
            .match_kind(MatchKind::LeftmostFirst)
            .ascii_case_insensitive(true)
            .build(&patterns)
            .ok();
        Self {
            automaton,
            needles,
            first_bytes,
            longest_pattern: patterns.iter().map(Vec::len).max().unwrap_or_default(),
            patterns,
        }
    }

    /// Where the next candidate at or after `from` begins.
    ///
    /// Without an automaton (it could not be built for want of memory) every place is one.
    pub(super) fn candidate(&self, text: &[u8], from: usize) -> Option<usize> {
        if from >= text.len() {
            return None;
        }
        match &self.automaton {
            Some(automaton) => automaton
                .find(Input::new(text).range(from..))
                .map(|found| found.start()),
            None => Some(from),
        }
    }

    /// Where, at or after `from`, a candidate begins that the end of the text cuts off; the length
    /// of the text if there is none.
    pub(super) fn cut_candidate(&self, text: &[u8], from: usize) -> usize {
        let first = (text.len() + 1).saturating_sub(self.longest_pattern);
        (first.max(from)..text.len())
            .find(|&start| {
                let tail = text.get(start..).unwrap_or_default().to_ascii_lowercase();
                let next = self.patterns.partition_point(|pattern| *pattern < tail);
                self.patterns
                    .get(next)
                    .is_some_and(|pattern| pattern.starts_with(&tail))
            })
            .unwrap_or(text.len())
    }

    /// What known secret begins at `at`.
    pub(super) fn secret_at(&self, text: &[u8], at: usize) -> SecretAt {
        let rest = text.get(at..).unwrap_or_default();
        let Some(&first) = rest.first() else {
            return SecretAt::None;
        };
        if !self
            .first_bytes
            .get(usize::from(first))
            .copied()
            .unwrap_or_default()
        {
            return SecretAt::None;
        }
        let Some(pair) = rest.first_chunk::<2>() else {
            return SecretAt::Begun { whole: 0 };
        };
        let mut whole = 0;
        let mut begun = 0;
        for needle in self.needles.get(pair).into_iter().flatten() {
            if rest.starts_with(needle) {
                whole = whole.max(needle.len());
            } else if rest.len() < needle.len() && needle.starts_with(rest) {
                begun = begun.max(needle.len());
            }
        }
        match (whole, begun) {
            (0, 0) => SecretAt::None,
            (whole, 0) => SecretAt::Whole(whole),
            (whole, _) => SecretAt::Begun { whole },
        }
    }
}
