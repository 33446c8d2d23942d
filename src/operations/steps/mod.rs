//! The steps, one file each.
//!
//! To add a step: write `<name_with_underscores>.rs` in the order module doc (what it changes
//! outside, how it recognises that it was already done, what undo does) → `Output` → `run` →
//! `undo`, with its words for people → tests; add it to [`Registry::all`]; name it in a command file. Three rules:
//!
//! 1. *Look before you act*: ask the service whether it is done already.
//! 2. *Keep what you learnt right after the effect* ([`StepContext::learn`]), before anything else.
//! 3. *At least once*: running twice must be harmless; a process may die between any two lines.
//!
//! A step that has to wait answers [`Progress::Wait`] and is run again
//! later; it never sleeps.

mod add_owner;
mod adopt_cluster;
mod check_dns_name;
mod check_hub;
mod check_oidc_client;
mod check_values;
mod clear_dns_name;
mod connect;
mod create_infrastructure;
mod delete_infrastructure;
mod drain_nodes;
mod forget_cluster;
mod install_daskhub;
mod keep_access;
mod obtain_token;
mod point_dns_name;
mod power_off_nodes;
mod power_on_nodes;
mod reconfigure;
mod record_event;
mod record_host;
mod record_revision;
mod record_schedule;
mod record_worker_counts;
mod render_values;
mod replace_owners;
mod restart_clues;
mod run_on_front_end;
mod switch_node;
mod tell_node_size;
mod uninstall_daskhub;
mod upgrade_daskhub;
mod values_text;
mod wait_for_deployments;
mod wait_for_refresh_token;
mod wait_until_configured;
mod write_node_size;
mod write_public_name;
mod write_token;
mod write_worker_counts;

use std::collections::BTreeMap;

use super::{Progress, Step, StepContext, StepError, Undo};
use crate::domain::names::InfrastructureId;
use crate::domain::runbook::Runbook;
use crate::services::im::ImError;

/// How many front ends one step works on at once.
const AT_ONCE: usize = 16;

/// All steps by name.
pub struct Registry(BTreeMap<&'static str, Box<dyn Step>>);

impl Registry {
    /// Every step that this bot knows.
    pub fn all() -> Self {
        let steps: Vec<Box<dyn Step>> = vec![
            Box::new(check_dns_name::CheckDnsName),
            Box::new(check_oidc_client::CheckOidcClient),
            Box::new(create_infrastructure::CreateInfrastructure),
            Box::new(adopt_cluster::AdoptCluster),
            Box::new(wait_until_configured::WaitUntilConfigured::FIRST),
            Box::new(keep_access::KeepAccess),
            Box::new(point_dns_name::PointDnsName),
            Box::new(reconfigure::Reconfigure),
            Box::new(wait_until_configured::WaitUntilConfigured::AGAIN),
            Box::new(connect::Connect),
            Box::new(render_values::RenderValues),
            Box::new(install_daskhub::InstallDaskhub),
            Box::new(wait_for_deployments::WaitForDeployments),
            Box::new(tell_node_size::TellNodeSize),
            Box::new(check_hub::CheckHub),
            Box::new(record_revision::RecordRevision),
            Box::new(write_node_size::WriteNodeSize),
            Box::new(restart_clues::RestartClues),
            Box::new(drain_nodes::DrainNodes),
            Box::new(write_worker_counts::WriteWorkerCounts),
            Box::new(power_off_nodes::PowerOffNodes),
            Box::new(power_on_nodes::PowerOnNodes),
            Box::new(record_worker_counts::RecordWorkerCounts),
            Box::new(record_schedule::RecordSchedule),
            Box::new(record_event::RecordEvent),
            Box::new(record_host::RecordHost),
            Box::new(write_public_name::WritePublicName),
            Box::new(switch_node::SwitchNode::ENABLE),
            Box::new(switch_node::SwitchNode::DISABLE),
            Box::new(switch_node::SwitchNode::RESET),
            Box::new(obtain_token::ObtainToken),
            Box::new(write_token::WriteToken),
            Box::new(wait_for_refresh_token::WaitForRefreshToken),
            Box::new(add_owner::AddOwner),
            Box::new(replace_owners::ReplaceOwners),
            Box::new(uninstall_daskhub::UninstallDaskhub),
            Box::new(delete_infrastructure::DeleteInfrastructure),
            Box::new(clear_dns_name::ClearDnsName),
            Box::new(forget_cluster::ForgetCluster),
            Box::new(check_values::CheckValues),
            Box::new(upgrade_daskhub::UpgradeDaskhub),
        ];
        Self(steps.into_iter().map(|step| (step.name(), step)).collect())
    }

    /// The step of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Step> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// The step of this name in an operation with these options: a runbook has steps of its own.
    pub fn find(&self, options: &serde_json::Value, name: &str) -> Option<&dyn Step> {
        let runbook = Runbook::of(options);
        if runbook.is_some_and(|runbook| runbook.run(name).is_some()) {
            return Some(&run_on_front_end::RunOnFrontEnd);
        }
        self.get(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}

/// How many times a step tries what must not keep the following ones from being done.
const TRIES_TO_REACH: i32 = 4;

/// A step that takes something away, run for its own sake: what is left is told.
fn as_progress(undo: Undo) -> Progress {
    match undo {
        Undo::Undone => Progress::done(),
        Undo::Left(what) => Progress::told(what),
        Undo::Wait { after, note } => Progress::Wait { after, note },
    }
}

/// The undo of a step that takes something away.
fn for_good() -> Undo {
    Undo::Left("what was deleted stays deleted".to_owned())
}

/// The infrastructure of the cluster.
fn infrastructure<'a>(context: &'a StepContext<'_>) -> Result<&'a InfrastructureId, StepError> {
    context.cluster.infrastructure.as_ref().ok_or_else(|| {
        StepError::needs_human(
            "the cluster has no infrastructure",
            "retry after `create-infrastructure` has run",
        )
    })
}

/// An error of Infrastructure Manager as a step's.
fn of_im(doing: &str, error: ImError) -> StepError {
    let hint = if error.needs_token() {
        "renew the access token in the bot's configuration, then retry"
    } else {
        match &error {
            ImError::NotOurs { .. } => {
                "the infrastructure belongs to somebody else: ask its owner, then retry"
            }
            ImError::NotFound { call, .. } if call.ends_with("infrastructures") => {
                "check the URL of IM in the bot's configuration, then retry"
            }
            ImError::NotFound { .. } => {
                "somebody deleted the infrastructure: undo this operation and deploy again"
            }
            ImError::LoginRefused { .. } | ImError::Credential(_) | ImError::BaseUrl => {
                "mend the IM credentials in the bot's configuration, then retry"
            }
            ImError::Refused { .. } => {
                "IM does not accept this: mend what its text names and retry, or undo and deploy \
                 with other options"
            }
            ImError::TooLong { .. } | ImError::NotUnderstood { .. } => {
                "see whether IM's dashboard works and the bot's configuration has the right URL of \
                 IM, then retry"
            }
            ImError::Unreachable { .. }
            | ImError::BrokenOff { .. }
            | ImError::TokenRefused { .. }
            | ImError::Conflict { .. }
            | ImError::Failed { .. } => "see whether IM answers, such as its dashboard, then retry",
        }
    };
    StepError::of_service(error.is_transient(), doing, hint, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_by_the_name_it_has() {
        let registry = Registry::all();
        for name in registry.names() {
            assert_eq!(registry.get(name).unwrap().name(), name);
        }
    }
}
