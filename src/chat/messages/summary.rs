//! The message about how an operation came to rest.

use std::fmt::Write as _;

use serde_json::Value;

use super::{how_long, progress, reference};
use crate::chat::text::{Clean, cut};
use crate::chat::view::{Card, File, View};
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::deploy::{Auth, DeployOptions};
use crate::domain::message::Notice;
use crate::domain::operation::{Operation, OperationState, StepRow, StepState};
use crate::operations::TOLD;
use crate::operations::start::DEPLOY_COMMAND;

/// Everything that the message shows.
pub(crate) struct Shown<'a> {
    pub(crate) key: &'a str,
    pub(crate) operation: &'a Operation,
    pub(crate) steps: &'a [StepRow],
    pub(crate) cluster: Option<&'a Cluster>,
    /// The log, or its end, redacted.
    pub(crate) log: String,
    pub(crate) link: &'a str,
}

/// The message; it calls who asked.
pub(crate) fn view(clean: &Clean, shown: Shown<'_>) -> View {
    let operation = shown.operation;
    let is_answered = is_answered(shown.key, operation);
    let mut text = outcome(clean, operation, shown.steps);
    for step in shown.steps {
        match step.state {
            StepState::Failed | StepState::Left => {
                let now = step.result_at.unwrap_or(operation.created_at);
                let _written = write!(text, "\n{}", progress::step_line(clean, step, now));
            }
            StepState::Done => {
                if let Some(told) = step.output.get(TOLD).and_then(Value::as_str) {
                    let _written = write!(text, "\n{}", clean.markdown(&cut(told, 600)));
                }
            }
            StepState::Pending | StepState::Running | StepState::Undone => {}
        }
    }
    if let Some(hint) = &operation.hint {
        let _written = write!(text, "\nhint: {}", clean.ours(&cut(hint, 600)));
    }
    let mut fields = Vec::new();
    if operation.state == OperationState::Succeeded
        && let Some(cluster) = shown.cluster
        && cluster.phase == Phase::Running
        && cluster.name.as_str() == operation.target
    {
        fields.extend(addresses(cluster));
        if operation.command == DEPLOY_COMMAND
            && let Some(hint) = first_login(cluster)
        {
            let _written = write!(text, "\nhint: {hint}");
        }
    }
    fields.push((
        "Log".to_owned(),
        format!("[page with the whole log]({})", shown.link),
    ));
    let files = if shown.log.is_empty() {
        Vec::new()
    } else {
        vec![File {
            name: format!("operation-{}.log", operation.id.short()),
            content: shown.log,
        }]
    };
    View {
        content: format!("<@{}>", operation.requester),
        card: Some(Card {
            title: progress::title(clean, operation),
            text,
            shade: progress::shade(operation.state),
            fields,
            footer: reference(shown.key),
        }),
        buttons: if is_answered {
            Vec::new()
        } else {
            progress::buttons(operation)
        },
        files,
        mention_users: vec![operation.requester],
        // The rows tell of now, the message of then.
        keeps_text: is_answered,
        ..View::default()
    }
}

/// Whether somebody answered the rest that this message tells of: the operation went on since.
pub(crate) fn is_answered(key: &str, operation: &Operation) -> bool {
    let attempt = key.rsplit('/').next().and_then(|text| text.parse().ok());
    match operation.state {
        OperationState::Queued | OperationState::Running | OperationState::Waiting => true,
        OperationState::Stopped
        | OperationState::Succeeded
        | OperationState::Failed
        | OperationState::Cancelled
        | OperationState::Undone => attempt.is_some_and(|attempt: i32| attempt < operation.attempt),
    }
}

fn outcome(clean: &Clean, operation: &Operation, steps: &[StepRow]) -> String {
    let target = clean.code(&operation.target);
    let since = operation.started_at.unwrap_or(operation.created_at);
    let took = operation.ended_at.map_or_else(String::new, |end| {
        format!(" after {}", how_long(end - since))
    });
    let reason = progress::untold_reason(operation, steps).map_or_else(String::new, |reason| {
        format!(": {}", clean.ours(&cut(reason, 800)))
    });
    match operation.state {
        OperationState::Succeeded if operation.command == DEPLOY_COMMAND => {
            format!("{target} is ready{took}")
        }
        OperationState::Succeeded => format!("`{}` of {target} is done{took}", operation.command),
        OperationState::Stopped => {
            format!("{target} stands still{reason}\nretry it, undo it or leave it for inspection")
        }
        OperationState::Failed => format!("{target} is left as it is{took}{reason}"),
        OperationState::Cancelled => format!("cancelled; {target} is left as it is{took}"),
        OperationState::Undone => format!("everything that can be undone is undone{took}"),
        OperationState::Queued | OperationState::Running | OperationState::Waiting => {
            format!("{target} goes on")
        }
    }
}

/// Where people reach a cluster.
pub(crate) fn addresses(cluster: &Cluster) -> Vec<(String, String)> {
    let host = cluster.host.as_str();
    vec![
        ("Hub".to_owned(), format!("https://{host}/")),
        ("Grafana".to_owned(), format!("https://{host}/grafana/")),
    ]
}

/// What must be done at once where anybody may sign up. Said to who asked, not to the channel.
fn first_login(cluster: &Cluster) -> Option<String> {
    let options: DeployOptions = serde_json::from_value(cluster.options.clone()).ok()?;
    match options.auth {
        // NativeAuthenticator lets an administrator's name in without being accepted first:
        // https://native-authenticator.readthedocs.io (read 2026-11).
        Auth::Native => Some(format!(
            "sign up as `admin` at https://{}/hub/signup now: the first to take that name is the administrator",
            cluster.host.as_str()
        )),
        Auth::CheckIn(_) => None,
    }
}

/// The public message about a new hub.
pub(crate) fn hub_is_ready(cluster: &Cluster, operation: &Operation) -> Notice {
    let host = cluster.host.as_str();
    Notice {
        title: format!("{} is ready", cluster.name),
        text: format!(
            "Hub: https://{host}/\nGrafana: https://{host}/grafana/\nasked by <@{}>, operation `{}`",
            operation.requester,
            operation.id.short()
        ),
        mention_users: Vec::new(),
        mention_roles: Vec::new(),
        review_of: None,
        remedies: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::progress::tests::{at, operation, step};
    use super::*;
    use crate::domain::cluster::Phase;
    use crate::domain::cluster::tests::cluster;
    use crate::domain::ids::DiscordUserId;
    use crate::domain::redact::Redactor;

    fn shown(operation: &Operation, steps: &[StepRow]) -> View {
        let cluster = cluster("geo", Phase::Running);
        let shown = Shown {
            key: "summary/0192f0c1-0000-7000-8000-0000deadbeef/3",
            operation,
            steps,
            cluster: Some(&cluster),
            log: "one line\n".to_owned(),
            link: "https://bot/operations/1",
        };
        view(&Clean::new(Redactor::new()), shown)
    }

    #[test]
    fn success_shows_the_addresses_and_calls_who_asked() {
        let mut operation = operation(OperationState::Succeeded);
        operation.ended_at = Some(at(130));
        let view = shown(&operation, &[step("check-hub", StepState::Done)]);
        assert_eq!(view.mention_users, [DiscordUserId(7)]);
        assert_eq!(
            view.files[0].name,
            format!("operation-{}.log", operation.id.short())
        );
        let card = view.card.unwrap();
        assert_eq!(card.text, "`geo` is ready after 2 min 10 s");
        let hub = ("Hub".to_owned(), "https://geo.vm.fedcloud.eu/".to_owned());
        assert!(card.fields.contains(&hub));
        assert_eq!(card.footer, "operation deadbeef-3");
        assert!(view.buttons.is_empty());
    }

    #[test]
    fn another_command_says_what_it_found_and_not_that_a_hub_is_new() {
        let mut operation = operation(OperationState::Succeeded);
        operation.command = "token renew".to_owned();
        let mut done = step("renew-token", StepState::Done);
        done.output = serde_json::json!({TOLD: "a new refresh.dat is there"});
        let text = shown(&operation, &[done]).card.unwrap().text;
        assert!(text.starts_with("`token renew` of "), "{text}");
        assert!(text.contains("\na new refresh.dat is there"), "{text}");
        assert!(!text.contains("ready"), "{text}");
    }

    #[test]
    fn a_hub_with_native_login_says_how_to_become_its_administrator() {
        let options = crate::domain::deploy::tests::options();
        let mut cluster = cluster("geo", Phase::Running);
        cluster.options = serde_json::to_value(&options).unwrap();
        assert_eq!(first_login(&cluster), None);
        let options = DeployOptions {
            auth: Auth::Native,
            ..options
        };
        cluster.options = serde_json::to_value(&options).unwrap();
        let hint = first_login(&cluster).unwrap();
        assert!(
            hint.contains("https://geo.vm.fedcloud.eu/hub/signup"),
            "{hint}"
        );
    }

    #[test]
    fn a_rest_that_was_answered_keeps_its_text_and_loses_its_buttons() {
        let mut operation = operation(OperationState::Stopped);
        // The key's attempt is 3.
        operation.attempt = 3;
        let view = shown(&operation, &[]);
        assert!(!view.keeps_text && view.buttons.len() == 3);
        for (state, attempt) in [
            (OperationState::Queued, 3),
            (OperationState::Running, 4),
            (OperationState::Stopped, 4),
            (OperationState::Undone, 5),
        ] {
            (operation.state, operation.attempt) = (state, attempt);
            let view = shown(&operation, &[]);
            assert!(view.keeps_text && view.buttons.is_empty(), "{state:?}");
        }
    }

    #[test]
    fn a_stop_says_why_what_failed_and_what_to_do() {
        let mut operation = operation(OperationState::Stopped);
        operation.stop_reason = Some("IM refused the token".to_owned());
        operation.hint = Some("renew it, then retry".to_owned());
        let mut failed = step("create-infrastructure", StepState::Failed);
        failed.error = Some("401".to_owned());
        let view = shown(&operation, &[failed]);
        let card = view.card.unwrap();
        assert_eq!(
            card.text,
            "`geo` stands still: IM refused the token\n\
             retry it, undo it or leave it for inspection\n\
             ✗ **`create-infrastructure`**: 401\n\
             hint: renew it, then retry"
        );
        assert_eq!(view.buttons.len(), 3);
        assert!(card.fields.iter().all(|(name, _value)| name != "Hub"));
    }
}
