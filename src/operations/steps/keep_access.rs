//! `keep-access`: the front end's address, user and key are kept, its host key is pinned.
//!
//! The key goes into a sealed column. The host key is pinned once, by the first look at the new
//! machine, and only compared afterwards: a cluster that has one keeps it whatever the machine
//! shows. Undo forgets all of it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{infrastructure, of_im};
use crate::operations::services::of_frontend;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::frontend::HostKey;
use crate::store::clusters::ClusterFacts;
use crate::store::vault::PRIVATE_KEY;

/// See the module.
pub(super) struct KeepAccess;

/// What later steps and people want to know.
#[derive(Serialize, Deserialize)]
struct Output {
    /// The public address.
    address: String,
    /// The pinned key's fingerprint.
    host_key_fingerprint: String,
}

#[async_trait]
impl Step for KeepAccess {
    fn name(&self) -> &'static str {
        "keep-access"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let settings = &context.services.settings;
        let id = infrastructure(context)?;
        let doing = "the front end's VM could not be read";
        let vm = context
            .services
            .im
            .vm(id, 0)
            .await
            .map_err(|error| of_im(doing, error))?;
        let Some(address) = vm.public_address() else {
            return Ok(Progress::Wait {
                after: settings.poll,
                note: "the front end has no public address yet".to_owned(),
            });
        };
        let Some(key) = vm.private_key else {
            return Err(StepError::needs_human(
                "IM gives no key for the front end",
                "the site image may have a password only: undo, then deploy with another image",
            ));
        };
        context
            .vault
            .put(&context.cluster_secrets(), PRIVATE_KEY, &key)
            .await?;
        let pinned = context
            .cluster
            .host_key
            .as_deref()
            .and_then(|text| HostKey::parse(text).ok());
        let host_key = match pinned {
            Some(pinned) => pinned,
            None => context
                .services
                .frontends
                .scan_host_key(address, settings.ssh_port)
                .await
                .map_err(of_frontend)?,
        };
        let facts = ClusterFacts {
            address: Some(address.to_string()),
            ssh_user: vm.user.or_else(|| Some(settings.ssh_user.clone())),
            host_key: Some(host_key.to_string()),
            infrastructure: None,
        };
        context
            .store
            .learn_about_cluster(context.cluster.id, &facts)
            .await?;
        let fingerprint = host_key.fingerprint();
        context
            .log(&format!(
                "front end {address}, host key {fingerprint} pinned"
            ))
            .await?;
        let output = Output {
            address: address.to_string(),
            host_key_fingerprint: fingerprint,
        };
        Ok(Progress::Done(
            serde_json::to_value(output).unwrap_or_default(),
        ))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        context.services.forget_connection(context.cluster.id).await;
        context
            .store
            .forget_secrets(&context.cluster_secrets())
            .await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("forget the front end's address, user, key and host key")
    }
}
