//! Rows of the audit, for people and for their tools.

use std::fmt::Write as _;

use anyhow::Context as _;
use chrono::SecondsFormat;

use crate::chat::text::{Clean, cut};
use crate::chat::view::{Card, File, Shade, TEXT, View};
use crate::store::audit::AuditRow;

/// How much of one row's details is shown.
const DETAILS: usize = 120;

/// How much a file may take; Discord takes 10 MiB.
const FILE_BYTES: usize = 8 << 20;

/// The newest rows, a line each.
pub(crate) fn newest(clean: &Clean, rows: &[AuditRow]) -> View {
    if rows.is_empty() {
        return View::text(NOTHING);
    }
    let mut text = String::new();
    for row in rows {
        let who = match row.actor.parse::<u64>() {
            Ok(person) => format!("<@{person}>"),
            Err(_the_bot) => clean.code(&row.actor),
        };
        let details = match row.details.as_str() {
            "{}" => String::new(),
            details => format!(" {}", clean.code(&cut(details, DETAILS))),
        };
        let _written = writeln!(
            text,
            "{} <t:{}:f> {who} **{}** {}{details}",
            row.sequence,
            row.at.timestamp(),
            clean.markdown(&row.action),
            clean.code(&row.subject),
        );
    }
    text.push_str(
        "hint: `export` gives a file with more; `pangeo-bot audit verify` proves it whole",
    );
    View::card(Card {
        title: "Audit, newest first".to_owned(),
        text: cut(&text, TEXT),
        shade: Shade::Neutral,
        fields: Vec::new(),
        footer: String::new(),
    })
}

/// A table with a header, for spreadsheets.
///
/// # Errors
/// When a row can't be written, which memory alone could be the reason for.
pub(crate) fn csv(clean: &Clean, rows: &[AuditRow]) -> anyhow::Result<View> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "sequence", "at", "actor", "action", "subject", "details", "hash",
    ];
    writer.write_record(header).context("write the header")?;
    for row in rows {
        let cells = [
            row.sequence.to_string(),
            time(row),
            row.actor.clone(),
            row.action.clone(),
            row.subject.clone(),
            row.details.clone(),
            hex::encode(&row.hash),
        ];
        let cells = cells.iter().map(|cell| harmless(cell));
        writer.write_record(cells).context("write a row")?;
    }
    let bytes = writer.into_inner().context("end the table")?;
    let text = String::from_utf8(bytes).context("read the table as text")?;
    Ok(file(clean, rows, "audit.csv", text))
}

/// A JSON object for each row, on a line of its own.
///
/// # Errors
/// When a row's details are no JSON.
pub(crate) fn json_lines(clean: &Clean, rows: &[AuditRow]) -> anyhow::Result<View> {
    let mut text = String::new();
    for row in rows {
        let details: serde_json::Value =
            serde_json::from_str(&row.details).context("read a row's details")?;
        let line = serde_json::json!({
            "sequence": row.sequence, "at": time(row), "actor": row.actor, "action": row.action,
            "subject": row.subject, "details": details, "hash": hex::encode(&row.hash),
        });
        let _written = writeln!(text, "{line}");
    }
    Ok(file(clean, rows, "audit.jsonl", text))
}

const NOTHING: &str = "nothing of that kind is in the audit\nhint: leave options out to see more";

fn time(row: &AuditRow) -> String {
    row.at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A spreadsheet takes a cell that begins so for a formula
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn harmless(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

fn file(clean: &Clean, rows: &[AuditRow], name: &str, content: String) -> View {
    if rows.is_empty() {
        return View::text(NOTHING);
    }
    if content.len() > FILE_BYTES {
        return View::text(
            "the file would be larger than Discord takes\nhint: ask for less with `since`, `name` or `person`",
        );
    }
    let s = if rows.len() == 1 { "" } else { "s" };
    View {
        files: vec![File {
            name: name.to_owned(),
            content: clean.redact(&content),
        }],
        ..View::text(format!("{} row{s} of the audit, newest first", rows.len()))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::redact::Redactor;

    fn row(subject: &str) -> AuditRow {
        AuditRow {
            sequence: 7,
            at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            actor: "9".to_owned(),
            action: "cluster.locked".to_owned(),
            subject: subject.to_owned(),
            details: r#"{"reason":"a, \"b\""}"#.to_owned(),
            previous_hash: vec![0; 2],
            hash: vec![1, 2],
        }
    }

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        let clean = Clean::new(Redactor::new());
        let view = csv(&clean, &[row("=1+1"), row("geo")]).unwrap();
        insta::assert_snapshot!(view.files[0].content, @r#"
        sequence,at,actor,action,subject,details,hash
        7,2027-01-15T08:00:00.000000Z,9,cluster.locked,'=1+1,"{""reason"":""a, \""b\""""}",0102
        7,2027-01-15T08:00:00.000000Z,9,cluster.locked,geo,"{""reason"":""a, \""b\""""}",0102
        "#);
    }

    #[test]
    fn each_line_is_an_object() {
        let clean = Clean::new(Redactor::new());
        let view = json_lines(&clean, &[row("geo")]).unwrap();
        let line: serde_json::Value = serde_json::from_str(&view.files[0].content).unwrap();
        assert_eq!(line["details"]["reason"], "a, \"b\"");
    }

    #[test]
    fn the_newest_rows_name_who_and_what() {
        let clean = Clean::new(Redactor::new());
        let card = newest(&clean, &[row("@everyone")]).card.unwrap();
        assert!(card.text.contains("<@9>"), "{}", card.text);
        assert!(card.text.contains("cluster.locked"), "{}", card.text);
        assert!(newest(&clean, &[]).content.contains("nothing of that kind"));
    }
}
