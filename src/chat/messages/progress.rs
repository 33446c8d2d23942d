//! The message that follows an operation while it runs.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::{how_long, reference, when};
use crate::chat::custom_id::ButtonId;
use crate::chat::text::{Clean, cut};
use crate::chat::view::{Button, Card, Look, Shade, View};
use crate::domain::operation::{Direction, LogLine, Operation, OperationState, StepRow, StepState};

/// The characters of the bar.
const BAR: usize = 16;

/// Everything that the message shows.
pub(crate) struct Shown<'a> {
    pub(crate) operation: &'a Operation,
    /// The one whose turn it is, if this one waits behind it.
    pub(crate) before: Option<&'a Operation>,
    pub(crate) steps: &'a [StepRow],
    pub(crate) last_line: Option<&'a LogLine>,
    pub(crate) link: &'a str,
    pub(crate) now: DateTime<Utc>,
}

/// The message.
pub(crate) fn view(clean: &Clean, shown: &Shown<'_>) -> View {
    let operation = shown.operation;
    let mut text = format!("{}\n", bar(operation, shown.steps));
    for step in shown.steps {
        let _written = writeln!(text, "{}", step_line(clean, step, shown.now));
    }
    let is_news = |line: &&LogLine| moves(operation.state) && !is_told(line, shown.steps);
    if let Some(line) = shown.last_line.filter(is_news) {
        let _written = writeln!(text, "\n{}", clean.code(&cut(&line.text, 300)));
    }
    let _written = write!(
        text,
        "\n{}\n[page with the whole log]({})",
        note(clean, shown),
        shown.link
    );
    View {
        card: Some(Card {
            title: title(clean, operation),
            text,
            shade: shade(operation.state),
            fields: Vec::new(),
            footer: reference(&format!("progress/{}", operation.id)),
        }),
        buttons: buttons(operation),
        ..View::default()
    }
}

/// Whether a line of the log is the error that the line of its step shows already.
fn is_told(line: &LogLine, steps: &[StepRow]) -> bool {
    let Some(error) = line.text.strip_prefix("✗ ") else {
        return false;
    };
    let told = |step: &StepRow| {
        let texts = [&step.note, &step.error];
        texts.into_iter().flatten().any(|text| text.contains(error))
    };
    steps
        .iter()
        .any(|step| step.name == line.step && told(step))
}

/// Whether an operation goes on by itself.
fn moves(state: OperationState) -> bool {
    match state {
        OperationState::Queued | OperationState::Running | OperationState::Waiting => true,
        OperationState::Stopped
        | OperationState::Succeeded
        | OperationState::Failed
        | OperationState::Cancelled
        | OperationState::Undone => false,
    }
}

/// What runs, and where it stands. Whether it waits between two looks is no news: its step says
/// what for.
pub(crate) fn title(clean: &Clean, operation: &Operation) -> String {
    let words = clean.redact(&format!("{} {}", operation.command, operation.target));
    let waits = operation.state == OperationState::Waiting;
    let state = if waits {
        OperationState::Running.as_str()
    } else {
        operation.state.as_str()
    };
    match operation.direction {
        Direction::Do => format!("{words} · {state}"),
        Direction::Undo => format!("undo {words} · {state}"),
    }
}

/// The colour of a state.
pub(crate) fn shade(state: OperationState) -> Shade {
    match state {
        OperationState::Queued | OperationState::Running | OperationState::Waiting => {
            Shade::Neutral
        }
        OperationState::Succeeded => Shade::Good,
        OperationState::Stopped | OperationState::Undone | OperationState::Cancelled => Shade::Warn,
        OperationState::Failed => Shade::Bad,
    }
}

/// How far it is. An undo has to do only with the steps that had begun.
fn bar(operation: &Operation, steps: &[StepRow]) -> String {
    let count = |state: StepState| steps.iter().filter(|step| step.state == state).count();
    let (all, done, words) = match operation.direction {
        Direction::Do => {
            let (all, done) = (steps.len(), count(StepState::Done));
            (all, done, format!("{done} of {all} steps"))
        }
        Direction::Undo => {
            let all = steps.len() - count(StepState::Pending);
            let (undone, left) = (count(StepState::Undone), count(StepState::Left));
            let stay = match left {
                0 => String::new(),
                1 => ", 1 stays".to_owned(),
                left => format!(", {left} stay"),
            };
            let words = format!("{undone} of {all} steps undone{stay}");
            (all, undone + left, words)
        }
    };
    let full = (done * BAR).checked_div(all).unwrap_or(BAR).min(BAR);
    format!("`{}{}` {words}", "█".repeat(full), "░".repeat(BAR - full))
}

/// One line about a step.
pub(crate) fn step_line(clean: &Clean, step: &StepRow, now: DateTime<Utc>) -> String {
    let name = clean.code(&step.name);
    let took = |until: Option<DateTime<Utc>>| match (step.intent_at, until) {
        (Some(from), Some(until)) => format!(" {}", how_long(until - from)),
        _unknown => String::new(),
    };
    let tries = if step.attempts > 1 && step.state != StepState::Done {
        format!(" (try {})", step.attempts)
    } else {
        String::new()
    };
    let note = step.note.as_deref().map_or_else(String::new, |note| {
        format!(": {}", clean.ours(&cut(note, 160)))
    });
    match step.state {
        StepState::Pending => format!("· {name}"),
        StepState::Running => format!("▸ **{name}**{}{tries}{note}", took(Some(now))),
        StepState::Done => format!("✓ {name}{}", took(step.result_at)),
        StepState::Failed => {
            let error = step.error.as_deref().unwrap_or("it gave up");
            format!("✗ **{name}**{tries}: {}", clean.ours(&cut(error, 300)))
        }
        StepState::Undone => format!("↩ {name} undone"),
        StepState::Left => {
            let what = step.error.as_deref().unwrap_or("it can't be undone");
            format!("! **{name}** stays: {}", clean.ours(&cut(what, 300)))
        }
    }
}

/// What an operation waits behind.
fn waits(clean: &Clean, operation: &Operation, before: Option<&Operation>) -> String {
    let target = clean.code(&operation.target);
    let Some(before) = before else {
        return format!("waits for its turn on {target}");
    };
    let (id, command) = (before.id.short(), clean.code(&before.command));
    if before.state == OperationState::Stopped {
        format!(
            "waits on {target} behind {command}, which stopped and waits for a person: `/pangeo ops show operation:{id}`"
        )
    } else {
        format!("waits on {target} behind {command}, operation `{id}`")
    }
}

fn note(clean: &Clean, shown: &Shown<'_>) -> String {
    let (operation, steps) = (shown.operation, shown.steps);
    let since = operation.started_at.unwrap_or(operation.created_at);
    let mut text = match operation.state {
        OperationState::Queued => waits(clean, operation, shown.before),
        OperationState::Running | OperationState::Waiting => format!("started {}", when(since)),
        OperationState::Stopped => match untold_reason(operation, steps) {
            Some(reason) => format!("stopped: {}", clean.ours(&cut(reason, 600))),
            None => "stopped".to_owned(),
        },
        OperationState::Succeeded
        | OperationState::Failed
        | OperationState::Cancelled
        | OperationState::Undone => match operation.ended_at {
            Some(end) => format!("took {}", how_long(end - since)),
            None => operation.state.as_str().to_owned(),
        },
    };
    if !operation.state.is_final()
        && let Some(by) = operation.cancel_requested_by
    {
        let _written = write!(text, "\n<@{by}> asked to cancel it");
    }
    if let Some(hint) = &operation.hint {
        let _written = write!(text, "\nhint: {}", clean.ours(&cut(hint, 600)));
    }
    text
}

/// Why an operation stopped, unless the line of a failed step says it.
pub(super) fn untold_reason<'a>(operation: &'a Operation, steps: &[StepRow]) -> Option<&'a str> {
    let is_told = |reason: &&str| {
        steps.iter().any(|step| {
            let error = step.error.as_deref().filter(|error| !error.is_empty());
            step.state == StepState::Failed && error.is_some_and(|error| reason.contains(error))
        })
    };
    operation
        .stop_reason
        .as_deref()
        .filter(|reason| !is_told(reason))
}

/// What can be done with an operation now.
pub(crate) fn buttons(operation: &Operation) -> Vec<Button> {
    let id = operation.id;
    let cancel = Button {
        id: ButtonId::Cancel(id).to_string(),
        label: "Cancel".into(),
        look: Look::Danger,
    };
    let retry = Button {
        id: ButtonId::Retry(id).to_string(),
        label: "Retry".into(),
        look: Look::Primary,
    };
    let undo = Button {
        id: ButtonId::Undo(id).to_string(),
        label: "Undo…".into(),
        look: Look::Danger,
    };
    let leave = Button {
        id: ButtonId::Leave(id).to_string(),
        label: "Leave".into(),
        look: Look::Plain,
    };
    match operation.state {
        OperationState::Queued | OperationState::Running | OperationState::Waiting => {
            if operation.cancel_requested_by.is_some() {
                Vec::new()
            } else {
                vec![cancel]
            }
        }
        OperationState::Stopped => vec![retry, undo, leave],
        OperationState::Failed | OperationState::Cancelled => vec![retry, undo],
        OperationState::Succeeded | OperationState::Undone => Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, OperationId};
    use crate::domain::redact::Redactor;

    pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap()
    }

    pub(crate) fn operation(state: OperationState) -> Operation {
        Operation {
            id: OperationId::new(),
            plan: None,
            command: "deploy".to_owned(),
            target: "geo".to_owned(),
            cluster: ClusterId::new(),
            options: serde_json::json!({}),
            requester: DiscordUserId(7),
            channel: DiscordChannelId(5),
            state,
            direction: Direction::Do,
            attempt: 1,
            wake_at: None,
            cancel_requested_by: None,
            stop_reason: None,
            hint: None,
            deadline: at(7200),
            created_at: at(0),
            started_at: Some(at(0)),
            ended_at: None,
        }
    }

    pub(crate) fn step(name: &str, state: StepState) -> StepRow {
        StepRow {
            name: name.to_owned(),
            state,
            attempts: 1,
            intent_at: Some(at(0)),
            result_at: (state == StepState::Done).then(|| at(2)),
            output: serde_json::json!({}),
            note: None,
            error: None,
        }
    }

    fn shown(operation: &Operation, steps: &[StepRow], line: Option<&LogLine>) -> View {
        let shown = Shown {
            operation,
            before: None,
            steps,
            last_line: line,
            link: "https://bot/operations/1",
            now: at(65),
        };
        view(&Clean::new(Redactor::new()), &shown)
    }

    #[test]
    fn a_queued_operation_says_what_it_waits_behind() {
        let queued = operation(OperationState::Queued);
        let clean = Clean::new(Redactor::new());
        let waits = |before: Option<&Operation>| waits(&clean, &queued, before);
        assert_eq!(waits(None), "waits for its turn on `geo`");
        let running = operation(OperationState::Running);
        let text = waits(Some(&running));
        assert!(
            text.starts_with("waits on `geo` behind `deploy`, operation"),
            "{text}"
        );
        let text = waits(Some(&operation(OperationState::Stopped)));
        assert!(
            text.contains("which stopped and waits for a person: `/pangeo ops show"),
            "{text}"
        );
    }

    #[test]
    fn a_running_operation_shows_its_steps_and_the_current_line() {
        let operation = operation(OperationState::Running);
        let mut running = step("create-infrastructure", StepState::Running);
        running.note = Some("IM says *pending*".to_owned());
        let steps = [
            step("check-dns-name", StepState::Done),
            running,
            step("connect", StepState::Pending),
        ];
        let line = LogLine {
            line: 1,
            at: at(60),
            step: "create-infrastructure".to_owned(),
            text: "TASK [`kube`]".to_owned(),
        };
        let view = shown(&operation, &steps, Some(&line));
        let card = view.card.unwrap();
        assert_eq!(card.title, "deploy geo · running");
        assert_eq!(
            card.text,
            "`█████░░░░░░░░░░░` 1 of 3 steps\n\
             ✓ `check-dns-name` 2 s\n\
             ▸ **`create-infrastructure`** 1 min 5 s: IM says \\*pending\\*\n\
             · `connect`\n\
             \n`TASK [ˋkubeˋ]`\n\
             \nstarted <t:1790000000:R>\n\
             [page with the whole log](https://bot/operations/1)"
        );
        let labels: Vec<&str> = view
            .buttons
            .iter()
            .map(|button| button.label.as_ref())
            .collect();
        assert_eq!(labels, ["Cancel"]);
    }

    #[test]
    fn a_stopped_operation_says_why_and_what_can_be_done() {
        let mut operation = operation(OperationState::Stopped);
        operation.stop_reason = Some("the host key changed".to_owned());
        operation.hint = Some("compare it, then retry".to_owned());
        let mut failed = step("connect", StepState::Failed);
        failed.error = Some("host key changed".to_owned());
        let view = shown(&operation, &[failed], None);
        let text = view.card.unwrap().text;
        // The step says why, so that the line below does not repeat it.
        assert!(text.contains("✗ **`connect`**: host key changed"), "{text}");
        assert!(
            text.contains("\nstopped\nhint: compare it, then retry"),
            "{text}"
        );
        let labels: Vec<&str> = view
            .buttons
            .iter()
            .map(|button| button.label.as_ref())
            .collect();
        assert_eq!(labels, ["Retry", "Undo…", "Leave"]);
        let without = shown(&operation, &[], None).card.unwrap().text;
        assert!(
            without.contains("stopped: the host key changed"),
            "{without}"
        );
    }

    #[test]
    fn an_error_that_is_tried_again_stands_there_once() {
        let operation = operation(OperationState::Waiting);
        let mut tried = step("connect", StepState::Running);
        tried.note = Some("SSH refuses; try 2 of 8 follows".to_owned());
        let mut line = LogLine {
            line: 1,
            at: at(60),
            step: "connect".to_owned(),
            text: "✗ SSH refuses".to_owned(),
        };
        let text = |line: &LogLine| {
            let view = shown(&operation, std::slice::from_ref(&tried), Some(line));
            view.card.unwrap().text
        };
        assert_eq!(text(&line).matches("SSH refuses").count(), 1);
        "✗ the key is refused".clone_into(&mut line.text);
        assert!(text(&line).contains("`✗ the key is refused`"));
    }

    #[test]
    fn an_undo_counts_the_steps_that_had_begun() {
        let mut operation = operation(OperationState::Undone);
        operation.direction = Direction::Undo;
        let mut steps = vec![
            step("check-dns-name", StepState::Undone),
            step("create-infrastructure", StepState::Undone),
            step("connect", StepState::Pending),
            step("install-daskhub", StepState::Pending),
        ];
        let text = shown(&operation, &steps, None).card.unwrap().text;
        assert!(
            text.starts_with("`████████████████` 2 of 2 steps undone\n"),
            "{text}"
        );
        operation.state = OperationState::Running;
        steps[0].state = StepState::Done;
        steps[2].state = StepState::Left;
        let text = shown(&operation, &steps, None).card.unwrap().text;
        assert!(
            text.starts_with("`██████████░░░░░░` 1 of 3 steps undone, 1 stays\n"),
            "{text}"
        );
    }

    #[test]
    fn an_undo_says_what_stays() {
        let mut left = step("point-dns-name", StepState::Left);
        left.error = Some("the name may still point there".to_owned());
        let line = step_line(&Clean::new(Redactor::new()), &left, at(0));
        assert_eq!(
            line,
            "! **`point-dns-name`** stays: the name may still point there"
        );
    }

    #[test]
    fn a_cancel_can_be_asked_for_once() {
        let mut operation = operation(OperationState::Running);
        operation.cancel_requested_by = Some(DiscordUserId(8));
        let view = shown(&operation, &[], None);
        assert!(view.buttons.is_empty());
        assert!(view.card.unwrap().text.contains("<@8> asked to cancel it"));
    }
}
