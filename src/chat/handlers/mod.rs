//! Commands: one file per command, found by its name.
//!
//! A command that opens a form does so at once; every other is acknowledged first. A command whose
//! effect is an operation is planned, whatever its name.

mod alerts_ack;
mod alerts_list;
mod alerts_silence;
mod alerts_test_user;
mod audit;
mod checkin_check;
mod checkin_set_client;
mod checkin_sheet;
mod destroy;
mod diagnose;
mod dns_check;
mod dns_set_secret;
mod event_cancel;
mod event_list;
mod flavor_show;
mod help;
mod list;
mod lock;
mod logs;
mod logs_operation;
mod nodes_list;
mod ops_cancel;
mod ops_list;
mod ops_resume;
mod ops_retry;
mod ops_show;
mod owners_show;
mod plan;
mod schedule_list;
mod schedule_remove;
mod schedule_skip;
mod status;
mod token_renew;
mod token_status;
mod token_watch;
mod transfer;
mod unlock;
mod values_look;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use secrecy::SecretString;
use serenity::all::{CommandDataOption, CommandDataOptionValue, CommandInteraction};

use super::Shared;
use super::access::Admitted;
use super::dispatch::Ticket;
use super::forms::{self, Values};
use super::messages::answers;
use super::register::ROOT;
use super::view::View;
use crate::commands::options::{OptionError, parse_options};
use crate::commands::value::Options;
use crate::commands::value::{AttachedFile, RawValue};
use crate::commands::{Command, Effect, OptionSpec};
use crate::domain::deploy::CheckinInstance;
use crate::domain::names::HostName;
use crate::store::audit::AuditEntry;
use crate::store::secrets::SecretOwner;

/// What a handler is given.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) command: &'a Command,
    pub(crate) options: Options,
    pub(crate) caller: Admitted,
}

impl Call<'_> {
    /// The text of a required option; empty if the command's file does not have it.
    pub(crate) fn text(&self, option: &str) -> String {
        self.options.text(option).unwrap_or_default()
    }

    /// The instance of Check-in that was chosen.
    pub(crate) fn checkin_instance(&self) -> anyhow::Result<CheckinInstance> {
        let word = self.text("check-in");
        CheckinInstance::from_word(&word).with_context(|| format!("read `{word}` as a Check-in"))
    }

    /// Keeps a secret of a host; the audit tells that, not what it is.
    pub(crate) async fn keep_secret(
        &self,
        host: &HostName,
        name: &'static str,
        secret: &SecretString,
    ) -> anyhow::Result<()> {
        let parts = &self.shared.parts;
        parts
            .vault
            .put(&SecretOwner::Host(host.clone()), name, secret)
            .await
            .with_context(|| format!("keep `{name}` of `{host}`"))?;
        let details = serde_json::json!({"name": name});
        let by = self.caller.person.id;
        let entry = AuditEntry::by(by, "secret.set", host.to_string(), details);
        parts.store.audit(entry).await?;
        Ok(())
    }
}

/// A command arrived.
pub(crate) async fn take(shared: &Shared, interaction: CommandInteraction, received: Instant) {
    let ticket = Ticket::of_command(&interaction, received);
    let (name, given) = path_and_options(&interaction);
    let raw = |_command: &Command| raw_values(&interaction, given);
    take_named(shared, ticket, &name, raw).await;
}

/// A command is to be run, by its name: it was typed, or its button was pressed.
pub(crate) async fn take_named(
    shared: &Shared,
    mut ticket: Ticket<'_>,
    name: &str,
    raw: impl FnOnce(&Command) -> BTreeMap<String, RawValue> + Send,
) {
    let Some(command) = shared.parts.catalogue.get(name) else {
        shared
            .say(&ticket, View::text(answers::UNKNOWN_COMMAND))
            .await;
        return;
    };
    name.clone_into(&mut ticket.name);
    let caller = match shared.access.check(&ticket.caller, &command.may_run) {
        Ok(caller) => caller,
        Err(refusal) => return shared.refuse(&ticket, name, &refusal).await,
    };
    let options = checked(shared, command, &raw(command));
    let options = match options {
        Ok(options) => options,
        Err(errors) => {
            let text = answers::option_problems(&shared.clean, &errors);
            return shared.say(&ticket, View::text(text)).await;
        }
    };
    let modal = command.modal.as_ref();
    if modal.is_some_and(|modal| modal.opens_for(&options)) {
        return forms::open(shared, &ticket, command, &options).await;
    }
    let call = Call {
        shared,
        command,
        options,
        caller,
    };
    shared.work(&ticket, Box::pin(run(call))).await;
}

/// Parses options. A command that makes no plan names no host but ours, so that no secret is kept
/// for a name that a deploy refuses; plans look at their host themselves.
pub(crate) fn checked(
    shared: &Shared,
    command: &Command,
    raw: &BTreeMap<String, RawValue>,
) -> Result<Options, Vec<OptionError>> {
    let options = parse_options(command, raw)?;
    if command.effect == Effect::Operation {
        return Ok(options);
    }
    let domains = &shared.parts.settings.domains;
    let problem = |option: &OptionSpec| {
        let host = options.host_name(&option.name)?;
        let problem = host.problem_below(domains)?;
        Some(OptionError::new(&option.name, problem))
    };
    let problems: Vec<OptionError> = command.options.iter().filter_map(problem).collect();
    if problems.is_empty() {
        Ok(options)
    } else {
        Err(problems)
    }
}

async fn run(call: Call<'_>) -> anyhow::Result<View> {
    if call.command.effect == Effect::Operation {
        return plan::run(call).await;
    }
    match call.command.name().as_str() {
        "alerts ack" => alerts_ack::run(call).await,
        "alerts list" => alerts_list::run(call).await,
        "alerts silence" => alerts_silence::run(call).await,
        "alerts test-user" => alerts_test_user::run(call).await,
        "audit" => audit::run(call).await,
        "checkin check" => checkin_check::run(call).await,
        "checkin sheet" => checkin_sheet::run(&call),
        "diagnose" => diagnose::run(call).await,
        "dns check" => dns_check::run(call).await,
        "event cancel" => event_cancel::run(call).await,
        "event list" => event_list::run(call).await,
        "flavor show" => flavor_show::run(call).await,
        "help" => help::run(&call),
        "list" => list::run(call).await,
        "lock" => lock::run(call).await,
        "logs clues" | "logs gateway" | "logs helm" | "logs hub" | "logs im" | "logs pod"
        | "logs proxy" => logs::run(call).await,
        "logs operation" => logs_operation::run(call).await,
        "nodes list" => nodes_list::run(call).await,
        "ops cancel" => ops_cancel::run(call).await,
        "ops list" => ops_list::run(call).await,
        "ops resume" => ops_resume::run(call).await,
        "ops retry" => ops_retry::run(call).await,
        "ops show" => ops_show::run(call).await,
        "owners show" => owners_show::run(call).await,
        "schedule list" => schedule_list::run(call).await,
        "schedule remove" => schedule_remove::run(call).await,
        "schedule skip" => schedule_skip::run(call).await,
        "status" => status::run(call).await,
        "token status" => token_status::run(call).await,
        "token watch" => token_watch::run(call).await,
        "transfer" => transfer::run(call).await,
        "unlock" => unlock::run(call).await,
        "values diff" | "values drift" | "values history" | "values show" => {
            values_look::run(call).await
        }
        _no_handler => Ok(View::text(answers::UNKNOWN_COMMAND)),
    }
}

/// The form of a command was filled in; who may and what was typed are checked.
pub(crate) async fn submit(mut call: Call<'_>, values: Values) -> anyhow::Result<View> {
    match call.command.name().as_str() {
        "alerts test-user" => alerts_test_user::submit(call, values).await,
        "checkin set-client" => checkin_set_client::submit(call, values).await,
        "destroy" => destroy::submit(call, values).await,
        "dns set-secret" => dns_set_secret::submit(call, values).await,
        "owners add" | "token renew" => token_renew::submit(call, values).await,
        "values edit" => {
            let back = forms::given_back(call.command, &values);
            call.options = call.options.with_form(values);
            plan::run_or_give_back(call, back).await
        }
        _no_handler => Ok(View::text(answers::UNKNOWN_COMMAND)),
    }
}

/// The command's name below `/pangeo` and the options given to it.
pub(crate) fn path_and_options(interaction: &CommandInteraction) -> (String, &[CommandDataOption]) {
    let mut words = Vec::new();
    let mut options = interaction.data.options.as_slice();
    if interaction.data.name != ROOT {
        return (String::new(), &[]);
    }
    while let [CommandDataOption { name, value, .. }] = options {
        let (CommandDataOptionValue::SubCommand(below)
        | CommandDataOptionValue::SubCommandGroup(below)) = value
        else {
            break;
        };
        words.push(name.as_str());
        options = below;
    }
    (words.join(" "), options)
}

/// Options as they were typed; a kind that no command uses is refused by every parser.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "serenity's own enum, which may grow"
)]
pub(crate) fn raw_values(
    interaction: &CommandInteraction,
    options: &[CommandDataOption],
) -> BTreeMap<String, RawValue> {
    let files = &interaction.data.resolved.attachments;
    options
        .iter()
        .map(|option| {
            let value = match &option.value {
                CommandDataOptionValue::Boolean(value) => RawValue::Boolean(*value),
                CommandDataOptionValue::Integer(value) => RawValue::Integer(*value),
                CommandDataOptionValue::String(value) => RawValue::Text(value.clone()),
                CommandDataOptionValue::Autocomplete { value, .. } => RawValue::Text(value.clone()),
                CommandDataOptionValue::Attachment(id) => match files.get(id) {
                    Some(file) => RawValue::File(AttachedFile {
                        name: file.filename.clone(),
                        url: file.url.clone(),
                        bytes: u64::from(file.size),
                    }),
                    None => RawValue::Other,
                },
                CommandDataOptionValue::User(user) => RawValue::Text(user.to_string()),
                _other => RawValue::Other,
            };
            (option.name.clone(), value)
        })
        .collect()
}
