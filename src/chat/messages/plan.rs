//! The message of a plan: what would change, and who must say yes.

use super::{NO, YES, bullets, reference, roles, when};
use crate::approvals::rules;
use crate::chat::custom_id::ButtonId;
use crate::chat::text::{Clean, code_block, cut};
use crate::chat::view::{Button, Card, FIELD, File, Look, Shade, TEXT, View};
use crate::domain::approval::{Grant, GrantSource, Verdict};
use crate::domain::ids::{DiscordChannelId, OperationId};
use crate::domain::plan::{Plan, PlanFile, PlanState};

/// Everything that the message shows.
pub(crate) struct Shown<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) grants: &'a [Grant],
    /// Sent with the first post; an edit leaves them as they are.
    pub(crate) files: &'a [PlanFile],
    pub(crate) operation: Option<OperationId>,
    /// The thread of the operation that it undoes.
    pub(crate) thread: Option<DiscordChannelId>,
}

/// The message.
pub(crate) fn view(clean: &Clean, shown: &Shown<'_>) -> View {
    let plan = shown.plan;
    View {
        card: Some(Card {
            title: cut(&title(clean, plan), 200),
            text: cut(&text(clean, shown), TEXT),
            shade: shade(plan.state),
            fields: fields(clean, shown),
            footer: reference(&format!("plan/{}", plan.id)),
        }),
        buttons: buttons(plan),
        files: files(clean, shown.files),
        ..View::default()
    }
}

/// What a plan does, in two words, e.g. `deploy geo`.
pub(crate) fn title(clean: &Clean, plan: &Plan) -> String {
    let words = format!("{} {}", plan.essence.command, plan.essence.target);
    let title = clean.redact(&words);
    match plan.state {
        PlanState::Waiting => title,
        PlanState::Started => format!("{title} · approved"),
        PlanState::Refused => format!("{title} · refused"),
        PlanState::Expired => format!("{title} · expired"),
        PlanState::Void => format!("{title} · void"),
        PlanState::Superseded => format!("{title} · replaced"),
    }
}

fn text(clean: &Clean, shown: &Shown<'_>) -> String {
    let plan = shown.plan;
    let thread = shown.thread.map_or_else(String::new, |thread| {
        format!("\nwhat happened so far is in <#{thread}>")
    });
    format!(
        "{}\nasked by <@{}>{thread}",
        clean.ours(&plan.content.summary),
        plan.requester
    )
}

fn shade(state: PlanState) -> Shade {
    match state {
        PlanState::Waiting => Shade::Neutral,
        PlanState::Started => Shade::Good,
        PlanState::Refused => Shade::Bad,
        PlanState::Expired | PlanState::Void | PlanState::Superseded => Shade::Warn,
    }
}

fn fields(clean: &Clean, shown: &Shown<'_>) -> Vec<(String, String)> {
    let content = &shown.plan.content;
    let mut fields = vec![("State".to_owned(), state(clean, shown))];
    if !content.warnings.is_empty() {
        let lines: Vec<String> = content.warnings.iter().map(|w| clean.ours(w)).collect();
        fields.push(("⚠ Warnings".to_owned(), cut(&bullets(&lines), FIELD)));
    }
    if !content.difference.is_empty() {
        let lines: Vec<String> = content
            .difference
            .iter()
            .map(|l| clean.block_line(l))
            .collect();
        fields.push(("Difference".to_owned(), code_block("diff", &lines, FIELD)));
    }
    if !content.estimate.is_empty() {
        let lines: Vec<String> = content.estimate.iter().map(|l| clean.ours(l)).collect();
        fields.push(("Estimate".to_owned(), cut(&bullets(&lines), FIELD)));
    }
    fields
}

fn state(clean: &Clean, shown: &Shown<'_>) -> String {
    let plan = shown.plan;
    let reason = plan.state_reason.as_deref().unwrap_or_default();
    let reason = if reason.is_empty() {
        String::new()
    } else {
        format!(": {}", reason_text(clean, reason))
    };
    match plan.state {
        PlanState::Waiting => waiting(clean, shown),
        PlanState::Started => {
            let by = approvers(shown.grants);
            let by = match &plan.forced {
                Some(forced) => format!(
                    "forced by <@{}>: {}{}",
                    forced.by,
                    clean.prose(&forced.reason),
                    plan.reviewed_by.map_or_else(
                        || "\nnot reviewed yet".to_owned(),
                        |by| format!("\nreviewed by <@{by}>"),
                    )
                ),
                None if by.is_empty() => "needs no approval".to_owned(),
                None => format!("approved by {by}"),
            };
            let operation = shown.operation.map_or_else(String::new, |operation| {
                format!("\noperation `{}` is in the thread below", operation.short())
            });
            format!("{by}{operation}")
        }
        PlanState::Refused => format!("refused{reason}"),
        PlanState::Expired => {
            format!("expired{reason}\nhint: run the command again for a new plan")
        }
        PlanState::Void => format!("void{reason}\nhint: run the command again for a new plan"),
        PlanState::Superseded => format!("replaced{reason}"),
    }
}

/// A reason that the bot wrote itself may mention a person; everything else is made harmless.
fn reason_text(clean: &Clean, reason: &str) -> String {
    let digits = reason
        .strip_prefix("<@")
        .and_then(|rest| rest.split_once('>'))
        .filter(|(id, _rest)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
    match digits {
        Some((id, rest)) => format!("<@{id}>{}", clean.ours(rest)),
        None => clean.ours(reason),
    }
}

fn waiting(clean: &Clean, shown: &Shown<'_>) -> String {
    let plan = shown.plan;
    let (given, by) = (count(plan, shown.grants), approvers(shown.grants));
    let from = roles(&rules::who_may_answer(plan));
    let by = if by.is_empty() {
        String::new()
    } else {
        format!(" ({by})")
    };
    let forced = plan.forced.as_ref().map_or_else(String::new, |forced| {
        format!(
            "\nforced by <@{}>: {}",
            forced.by,
            clean.prose(&forced.reason)
        )
    });
    format!(
        "{given} of {} approvals{by}, from {from}; not from who asks\n\
         expires {}{forced}\n\
         react {YES} or {NO}, or press a button",
        plan.rule.needed,
        when(plan.expires_at)
    )
}

fn count(plan: &Plan, grants: &[Grant]) -> usize {
    let mut users: Vec<_> = grants
        .iter()
        .filter(|grant| grant.verdict == Verdict::Approve && grant.user != plan.requester)
        .map(|grant| grant.user)
        .collect();
    users.sort();
    users.dedup();
    users.len()
}

fn approvers(grants: &[Grant]) -> String {
    let mut words: Vec<String> = Vec::new();
    for grant in grants
        .iter()
        .filter(|grant| grant.verdict == Verdict::Approve)
    {
        let word = match grant.source {
            GrantSource::Reaction | GrantSource::Button => format!("<@{}>", grant.user),
            GrantSource::Carried => format!("<@{}> for the identical plan before", grant.user),
            GrantSource::Schedule => format!("<@{}> with the schedule", grant.user),
        };
        if !words
            .iter()
            .any(|known| known.starts_with(&format!("<@{}>", grant.user)))
        {
            words.push(word);
        }
    }
    words.join(", ")
}

fn buttons(plan: &Plan) -> Vec<Button> {
    if plan.state != PlanState::Waiting {
        return Vec::new();
    }
    let mut buttons = vec![
        Button {
            id: ButtonId::Approve(plan.id).to_string(),
            label: "Approve".into(),
            look: Look::Good,
        },
        Button {
            id: ButtonId::Refuse(plan.id).to_string(),
            label: "Refuse".into(),
            look: Look::Danger,
        },
        Button {
            id: ButtonId::TakeBack(plan.id).to_string(),
            label: "Take back".into(),
            look: Look::Plain,
        },
    ];
    if plan.rule.may_force {
        buttons.push(Button {
            id: ButtonId::Force(plan.id).to_string(),
            label: "Force…".into(),
            look: Look::Plain,
        });
    }
    buttons
}

fn files(clean: &Clean, files: &[PlanFile]) -> Vec<File> {
    files
        .iter()
        .map(|file| File {
            name: clean.redact(&file.name),
            content: clean.redact(&file.content),
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::ids::{DiscordChannelId, DiscordUserId, PlanId};
    use crate::domain::person::Role;
    use crate::domain::plan::{ApprovalRule, PlanContent, PlanDigest, PlanEssence};
    use crate::domain::redact::Redactor;

    pub(crate) fn plan() -> Plan {
        let essence = PlanEssence {
            command: "deploy".to_owned(),
            target: "geo".to_owned(),
            options: serde_json::json!({}),
            target_revision: 0,
            steps: vec!["check-dns-name".to_owned()],
        };
        let created_at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        Plan {
            id: PlanId::new(),
            digest: PlanDigest::of(&essence),
            essence,
            content: PlanContent {
                summary: "Create the cluster geo".to_owned(),
                difference: vec!["+ cluster geo".to_owned()],
                estimate: vec!["cores: 20 of 64 free".to_owned()],
                warnings: vec!["the tag is @everyone `latest`".to_owned()],
            },
            rule: ApprovalRule {
                needed: 2,
                from: vec![Role::Approver],
                then_ask: vec![],
                may_force: true,
            },
            requester: DiscordUserId(7),
            channel: DiscordChannelId(5),
            state: PlanState::Waiting,
            state_reason: None,
            superseded_by: None,
            created_at,
            expires_at: created_at + chrono::Duration::hours(24),
            posted_in_full_at: None,
            reminded_at: None,
            forced: None,
            reviewed_by: None,
        }
    }

    fn shown(plan: &Plan, grants: &[Grant]) -> Card {
        let shown = Shown {
            plan,
            grants,
            files: &[],
            operation: None,
            thread: None,
        };
        view(&Clean::new(Redactor::new()), &shown).card.unwrap()
    }

    fn grant(user: u64, source: GrantSource) -> Grant {
        Grant {
            user: DiscordUserId(user),
            source,
            verdict: Verdict::Approve,
            given_at: DateTime::from_timestamp(1_790_000_100, 0).unwrap(),
        }
    }

    fn field<'a>(card: &'a Card, name: &str) -> &'a str {
        &card
            .fields
            .iter()
            .find(|(key, _value)| key.contains(name))
            .unwrap()
            .1
    }

    #[test]
    fn a_waiting_plan_says_who_must_say_yes_and_until_when() {
        let plan = plan();
        let card = shown(&plan, &[grant(8, GrantSource::Reaction)]);
        assert_eq!(card.title, "deploy geo");
        assert_eq!(card.text, "Create the cluster geo\nasked by <@7>");
        assert_eq!(
            field(&card, "State"),
            "1 of 2 approvals (<@8>), from `approver`; not from who asks\n\
             expires <t:1790086400:R>\n\
             react ✅ or ❌, or press a button"
        );
        assert_eq!(field(&card, "Difference"), "```diff\n+ cluster geo\n```");
        assert_eq!(field(&card, "Estimate"), "• cores: 20 of 64 free");
        assert!(!field(&card, "Warnings").contains("@everyone"));
        assert_eq!(card.footer, format!("plan {}", plan.id.short()));
    }

    #[test]
    fn one_person_counts_once_and_the_requester_never() {
        let plan = plan();
        let grants = [
            grant(8, GrantSource::Reaction),
            grant(8, GrantSource::Button),
            grant(7, GrantSource::Button),
        ];
        let card = shown(&plan, &grants);
        assert!(field(&card, "State").starts_with("1 of 2 approvals"));
    }

    #[test]
    fn an_ended_plan_says_why_and_has_no_buttons() {
        let mut plan = plan();
        assert_eq!(buttons(&plan).len(), 4);
        plan.rule.may_force = false;
        assert_eq!(buttons(&plan).len(), 3);
        plan.state = PlanState::Refused;
        plan.state_reason = Some("<@8> said no".to_owned());
        assert!(buttons(&plan).is_empty());
        let card = shown(&plan, &[]);
        assert_eq!(card.title, "deploy geo · refused");
        assert_eq!(field(&card, "State"), "refused: <@8> said no");
    }
}
