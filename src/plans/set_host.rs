//! The plan of `checkin set-host`: a cluster's hub gets another host name.

use std::net::IpAddr;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::cluster::Cluster;
use crate::domain::dns::{HostChange, first_like, in_words};
use crate::domain::names::HostName;
use crate::domain::plan::PlanContent;
use crate::domain::values::host::needs_client;
use crate::operations::services::address_of;
use crate::operations::values::client_of;
use crate::store::secrets::SecretOwner;
use crate::store::vault::DNS_SECRET;

impl Planner {
    pub(super) async fn draft_set_host(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let Some(host) = options.host_name("host").cloned() else {
            return Ok(Err(vec!["`host` is needed".to_owned()]));
        };
        let mut problems = self.host_problems(&cluster, &host).await?;
        let address = match address_of(&cluster) {
            Ok(address) => address,
            Err(error) => return Ok(Err(vec![error.for_people()])),
        };
        let found = match self.services.dns.resolve(&host).await {
            Ok(found) => found,
            Err(error) => {
                problems.push(format!("{error}; try again later"));
                Vec::new()
            }
        };
        let before = match self.values_before(cluster.clone()).await? {
            Ok(before) => before,
            Err(more) => {
                problems.extend(more);
                return Ok(Err(problems));
            }
        };
        if needs_client(before.tree()) && client_of(&self.vault, &host).await?.is_none() {
            problems.push(format!(
                "the Check-in client of `{host}` is not known: register it (`/pangeo checkin sheet host:{host}`), then run `/pangeo checkin set-client host:{host}`"
            ));
        }
        if !problems.is_empty() {
            return Ok(Err(problems));
        }
        let hosts = (cluster.host.clone(), host.clone());
        let draft = match self
            .values_for_host(command, options, &before, hosts)
            .await?
        {
            Ok(draft) => draft,
            Err(problems) => return Ok(Err(problems)),
        };
        let change = HostChange {
            old_host: cluster.host.clone(),
            points_from: first_like(address, &found),
            points_to: address,
            host,
        };
        Ok(Ok(complete(draft, &change, &found)))
    }

    /// Why the cluster can't be at that host.
    async fn host_problems(
        &self,
        cluster: &Cluster,
        host: &HostName,
    ) -> Result<Vec<String>, PlanError> {
        let below = host.problem_below(&self.settings.domains);
        let mut problems: Vec<String> = below
            .into_iter()
            .map(|problem| format!("`host`: {problem}"))
            .collect();
        if let Some(other) = self.store.cluster_by_host(host).await? {
            let problem = if other.id == cluster.id {
                format!("`{}` is at `{host}` already", cluster.name)
            } else {
                format!("`host`: the cluster `{}` is at `{host}`", other.name)
            };
            problems.push(problem);
        }
        let owner = SecretOwner::Host(host.clone());
        if self.vault.get(&owner, DNS_SECRET).await?.is_none() {
            problems.push(format!(
                "the update secret of `{host}` is not known: add the host in the Dynamic DNS portal, then run `/pangeo dns set-secret host:{host}`"
            ));
        }
        Ok(problems)
    }
}

/// The plan of the new values with what else changes.
fn complete(mut draft: Draft, change: &HostChange, found: &[IpAddr]) -> Draft {
    let also = serde_json::to_value(change).unwrap_or_default();
    if let (Some(options), serde_json::Value::Object(also)) = (draft.options.as_object_mut(), also)
    {
        options.extend(also);
    }
    let PlanContent {
        difference,
        warnings,
        ..
    } = &mut draft.content;
    let (old, new) = (&change.old_host, &change.host);
    let lines = [
        format!("- https://{old}/"),
        format!("+ https://{new}/"),
        format!("- {new} points to {}", in_words(found)),
        format!("+ {new} points to {}", change.points_to),
        format!("~ IM's template says {new}, and the infrastructure is reconfigured"),
    ];
    difference.splice(0..0, lines);
    warnings.push(format!(
        "whoever uses https://{old}/ must be told: that address answers no more, though its DNS name is left as it is"
    ));
    draft
}
