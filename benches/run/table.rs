//! The one table.

use std::time::Duration;

/// One thing that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What.
    pub(crate) what: String,
    /// The figure, with its unit.
    pub(crate) seen: String,
    /// What `design.md` asks for; empty if nothing.
    pub(crate) wanted: String,
}

impl Row {
    /// A row.
    pub(crate) fn new(
        what: impl Into<String>,
        seen: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            seen: seen.into(),
            wanted: wanted.into(),
        }
    }
}

/// The rows as a table in Markdown, its columns aligned.
pub(crate) fn text(rows: &[Row]) -> String {
    let head = Row::new("what", "seen", "designed for");
    let width = |of: fn(&Row) -> &String| {
        let lengths = rows
            .iter()
            .chain([&head])
            .map(|row| of(row).chars().count());
        lengths.max().unwrap_or_default()
    };
    let (what, seen, wanted) = (width(|r| &r.what), width(|r| &r.seen), width(|r| &r.wanted));
    let line = |row: &Row| {
        format!(
            "| {:what$} | {:seen$} | {:wanted$} |\n",
            row.what, row.seen, row.wanted
        )
    };
    let rule = format!(
        "|{}|{}|{}|\n",
        "-".repeat(what + 2),
        "-".repeat(seen + 2),
        "-".repeat(wanted + 2)
    );
    let mut text = line(&head);
    text.push_str(&rule);
    text.extend(rows.iter().map(line));
    text
}

/// Milliseconds with as many digits as matter.
pub(crate) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else {
        format!("{ms:.0} ms")
    }
}
