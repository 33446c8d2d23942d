//! Schedules: runs that come, runs that do not start, and the list.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{roles, when};
use crate::chat::text::{Clean, cut};
use crate::chat::view::{Card, TEXT, View};
use crate::domain::ids::{DiscordUserId, EventId};
use crate::domain::message::{Notice, Prepared};
use crate::domain::person::Role;
use crate::domain::schedule::Schedule;

/// The command that leaves one run out.
pub(crate) const SKIP_COMMAND: &str = "schedule skip";

/// A run comes soon; its button skips it.
pub(crate) fn comes_soon(schedule: &Schedule, at: DateTime<Utc>) -> Notice {
    let at_text = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Notice {
        title: format!("{}: {} runs soon", schedule.name, schedule.wish.command),
        text: format!(
            "<t:{}:F>, {}, the bot runs `{}`\n{}\nasked by <@{}>, schedule `{}`",
            at.timestamp(),
            when(at),
            shown(schedule),
            schedule.wish.reason,
            schedule.made_by,
            schedule.id.short()
        ),
        remedies: vec![Prepared {
            command: SKIP_COMMAND.to_owned(),
            options: vec![
                ("schedule".to_owned(), schedule.id.short()),
                ("at".to_owned(), at_text),
            ],
        }],
        ..Notice::default()
    }
}

/// A run does not start, and what to do.
fn does_not_run(schedule: &Schedule, at: DateTime<Utc>, why: &str, hint: &str) -> Notice {
    Notice {
        title: format!("{}: {} did not run", schedule.name, schedule.wish.command),
        text: format!(
            "`{}` was due <t:{}:f> (schedule `{}`) and did not run\n{why}\n{}\nhint: {hint}",
            shown(schedule),
            at.timestamp(),
            schedule.id.short(),
            schedule.wish.reason
        ),
        mention_users: vec![schedule.made_by],
        remedies: vec![Prepared {
            command: schedule.wish.command.clone(),
            options: schedule.wish.options.clone().into_iter().collect(),
        }],
        ..Notice::default()
    }
}

/// Its plan is refused now.
pub(crate) fn refused(schedule: &Schedule, at: DateTime<Utc>, problems: &[String]) -> Notice {
    let why: Vec<String> = problems
        .iter()
        .map(|problem| format!("• {problem}"))
        .collect();
    let hint = "the button asks for it again, as any other plan";
    does_not_run(schedule, at, &why.join("\n"), hint)
}

/// It is too late for it.
pub(crate) fn missed(schedule: &Schedule, at: DateTime<Utc>, now: DateTime<Utc>) -> Notice {
    let why = format!(
        "• the bot was away or could not plan it in time: it is {} later now",
        super::how_long(now - at)
    );
    does_not_run(schedule, at, &why, "the button asks for it now")
}

/// The command file, or the bot, is another one.
pub(crate) fn differs(schedule: &Schedule, at: DateTime<Utc>) -> Notice {
    let why = "• the command does other things now than when it was approved";
    let hint = "remove the schedule and make it anew, so that it is approved again";
    does_not_run(schedule, at, why, hint)
}

/// Who asked for it may not any more.
pub(crate) fn lost_role(schedule: &Schedule, at: DateTime<Utc>, needed: &[Role]) -> Notice {
    let why = format!(
        "• <@{}> asked for it and is not {} any more",
        schedule.made_by,
        roles(needed)
    );
    let hint = "somebody who may makes a schedule of their own, and removes this one";
    does_not_run(schedule, at, &why, hint)
}

/// Who approved it lost the role that it takes.
pub(crate) fn lost_grants(schedule: &Schedule, at: DateTime<Utc>, needed: &[Role]) -> Notice {
    let why = format!(
        "• too few of those who approved it are still {}",
        roles(needed)
    );
    let hint = "make the schedule again, so that somebody who may approves it, and remove this one";
    does_not_run(schedule, at, &why, hint)
}

/// The cluster was deleted.
pub(crate) fn cluster_is_gone(schedule: &Schedule) -> Notice {
    Notice {
        title: format!("{}: a schedule has ended", schedule.name),
        text: format!(
            "the cluster is gone, and so is schedule `{}` (`{}`)",
            schedule.id.short(),
            shown(schedule)
        ),
        ..Notice::default()
    }
}

/// Somebody skips a run.
pub(crate) fn skipped(schedule: &Schedule, at: DateTime<Utc>, by: DiscordUserId) -> Notice {
    let then = match schedule.wish.next_after(at).ok().flatten() {
        Some(next) => format!("it runs next <t:{}:F>", next.timestamp()),
        None => "it was the last time".to_owned(),
    };
    Notice {
        title: format!(
            "{}: {} is skipped once",
            schedule.name, schedule.wish.command
        ),
        text: format!(
            "<@{by}> skips `{}` of <t:{}:F> (schedule `{}`); {then}",
            shown(schedule),
            at.timestamp(),
            schedule.id.short()
        ),
        ..Notice::default()
    }
}

/// Somebody removes a schedule.
pub(crate) fn removed(schedule: &Schedule, by: DiscordUserId) -> Notice {
    Notice {
        title: format!("{}: a schedule is removed", schedule.name),
        text: format!(
            "<@{by}> removed schedule `{}`: `{}` does not run by itself any more\n{}",
            schedule.id.short(),
            shown(schedule),
            schedule.wish.reason
        ),
        mention_users: vec![schedule.made_by],
        ..Notice::default()
    }
}

/// A schedule with how its last run went.
pub(crate) struct Line {
    pub(crate) schedule: Schedule,
    /// Who approved it.
    pub(crate) approved_by: Vec<DiscordUserId>,
    /// How the last run went, and where it is told.
    pub(crate) last: Option<String>,
}

/// The schedules that are not over.
pub(crate) fn list(clean: &Clean, lines: &[Line]) -> View {
    if lines.is_empty() {
        return View::text("nothing runs by a schedule\nhint: `/pangeo schedule add` makes one");
    }
    let mut text = String::new();
    for line in lines {
        let schedule = &line.schedule;
        let next = schedule.next_at.map_or_else(String::new, |at| {
            let skipped = if schedule.is_skipped() {
                " (skipped)"
            } else {
                ""
            };
            format!("next <t:{}:F>{skipped}", at.timestamp())
        });
        let by: Vec<String> = line
            .approved_by
            .iter()
            .map(|by| format!("<@{by}>"))
            .collect();
        let last = line.last.as_ref();
        let last = last.map_or_else(String::new, |last| {
            format!("\n  last {}", clean.markdown(last))
        });
        let _written = writeln!(
            text,
            "`{}` {} · {next} · `{}`\n  {} · by <@{}>, approved by {}{last}",
            schedule.id.short(),
            clean.code(&schedule.typed()),
            clean.redact(&schedule.wish.when.replace('`', "'")),
            clean.prose(&schedule.wish.reason),
            schedule.made_by,
            if by.is_empty() {
                "nobody".to_owned()
            } else {
                by.join(", ")
            },
        );
    }
    View::card(Card {
        title: "Schedules".to_owned(),
        text: cut(&text, TEXT),
        ..Card::default()
    })
}

/// No schedule of that id.
pub(crate) fn no_such(clean: &Clean, text: &str) -> String {
    format!(
        "there is no schedule {} to come\nhint: `/pangeo schedule list` shows those that are",
        clean.code(text)
    )
}

/// A run of an event is not removed alone.
pub(crate) fn of_event(schedule: &Schedule, event: EventId) -> String {
    format!(
        "nothing was changed: schedule `{}` is a run of event `{1}`\n\
         hint: `/pangeo event cancel event:{1}` ends the event with all that runs for it; \
         `/pangeo schedule skip` leaves one run out",
        schedule.id.short(),
        event.short()
    )
}

/// The run that was to be skipped is not the next one.
pub(crate) const NOT_NEXT: &str = "that run is over, skipped already, or not the next one\n\
    hint: `/pangeo schedule list` shows the next run of each";

fn shown(schedule: &Schedule) -> String {
    schedule.typed().replace('`', "'")
}
