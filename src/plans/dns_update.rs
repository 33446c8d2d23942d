//! The plan of `dns update`: where a cluster's name points, and where it shall.

use std::net::IpAddr;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::cluster::Cluster;
use crate::domain::dns::{NameChange, first_like, in_words};
use crate::domain::plan::PlanContent;
use crate::operations::services::address_of;
use crate::store::secrets::SecretOwner;
use crate::store::vault::DNS_SECRET;

impl Planner {
    pub(super) async fn draft_dns_update(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let front_end = address_of(&cluster).ok();
        let given = options.address("address").map(IpAddr::V4);
        let mut problems = self.cannot_be_pointed(&cluster).await?;
        let points_to = match (given, front_end) {
            (Some(given), _) => Some(given),
            (None, Some(front_end)) if is_private(front_end) => {
                problems.push(format!(
                    "the front end of `{name}` is at {front_end}, which is private: nobody outside would reach it; give a public `address`"
                ));
                None
            }
            (None, Some(front_end)) => Some(front_end),
            (None, None) => {
                problems.push(format!(
                    "the address of the front end of `{name}` is not known; give it as `address`"
                ));
                None
            }
        };
        let found = match self.services.dns.resolve(&cluster.host).await {
            Ok(found) => found,
            Err(error) => {
                problems.push(format!("{error}; try again later"));
                return Ok(Err(problems));
            }
        };
        let Some(points_to) = points_to.filter(|_address| problems.is_empty()) else {
            return Ok(Err(problems));
        };
        if found.contains(&points_to) {
            let problem = format!("`{}` points to {points_to} already", cluster.host);
            return Ok(Err(vec![problem]));
        }
        let change = NameChange {
            host: cluster.host.clone(),
            points_from: first_like(points_to, &found),
            points_to,
        };
        let mut warnings = warnings(&change, &found, front_end);
        warnings.extend(self.moved_machine(&cluster, front_end).await);
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: serde_json::to_value(&change).unwrap_or_default(),
            target_revision: cluster.revision,
            steps: command.steps(),
            content: PlanContent {
                summary: format!("Point `{}` to {points_to}", change.host),
                difference: vec![
                    format!("- {} points to {}", change.host, in_words(&found)),
                    format!("+ {} points to {points_to}", change.host),
                ],
                estimate: vec![
                    "name servers keep the old address for some minutes; it is waited for the new one"
                        .to_owned(),
                ],
                warnings,
            },
            files: Vec::new(),
        }))
    }

    /// Why the bot can't point the name of a cluster at all.
    async fn cannot_be_pointed(&self, cluster: &Cluster) -> Result<Vec<String>, PlanError> {
        let host = &cluster.host;
        let below = host.problem_below(&self.settings.domains);
        let mut problems: Vec<String> = below.into_iter().collect();
        let owner = SecretOwner::Host(host.clone());
        if self.vault.get(&owner, DNS_SECRET).await?.is_none() {
            problems.push(format!(
                "the update secret of `{host}` is not known: run `/pangeo dns set-secret host:{host}`"
            ));
        }
        Ok(problems)
    }

    /// Whether IM has the front end at another address than the inventory.
    async fn moved_machine(&self, cluster: &Cluster, front_end: Option<IpAddr>) -> Option<String> {
        let infrastructure = cluster.infrastructure.as_ref()?;
        let vm = match self.services.im.vm(infrastructure, 0).await {
            Ok(vm) => vm,
            Err(error) => {
                return Some(format!(
                    "IM can't be asked where the front end is now: {error}"
                ));
            }
        };
        let now = vm.public_address()?;
        (front_end != Some(now)).then(|| {
            format!(
                "IM has the front end at {now} now; the bot knows it at {}",
                { front_end.map_or_else(|| "no address".to_owned(), |old| old.to_string()) }
            )
        })
    }
}

/// Whether a front end is where only its own network reaches it.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn warnings(change: &NameChange, found: &[IpAddr], front_end: Option<IpAddr>) -> Vec<String> {
    let mut warnings = Vec::new();
    let points_to = change.points_to;
    if let Some(front_end) = front_end.filter(|front_end| *front_end != points_to) {
        warnings.push(format!(
            "the front end is at {front_end}: the hub is not to be reached by its name, and its certificate not renewed, unless {points_to} hands on to it"
        ));
    }
    let others = found.iter().filter(|one| Some(**one) != change.points_from);
    let others: Vec<IpAddr> = others.copied().collect();
    if !others.is_empty() {
        warnings.push(format!(
            "the name has other addresses as well, which this may leave: {}",
            in_words(&others)
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::HostName;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn another_address_than_the_front_ends_is_warned_of() {
        let (front_end, old) = (address("147.251.9.9"), address("147.251.9.10"));
        let change = |points_to| NameChange {
            host: HostName::parse("geo.vm.fedcloud.eu").unwrap(),
            points_from: Some(old),
            points_to,
        };
        let back = change(front_end);
        assert_eq!(
            warnings(&back, &[old], Some(front_end)),
            Vec::<String>::new()
        );
        let elsewhere = change(address("147.251.9.11"));
        let warned = warnings(&elsewhere, &[old, address("2001:db8::1")], Some(front_end));
        assert!(warned[0].contains("147.251.9.9"), "{warned:?}");
        assert!(warned[1].contains("2001:db8::1"), "{warned:?}");
    }

    #[test]
    fn a_private_front_end_is_known() {
        for (text, private) in [
            ("10.0.0.1", true),
            ("192.168.0.1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("147.251.9.9", false),
            ("2001:718::1", false),
        ] {
            assert_eq!(is_private(address(text)), private, "{text}");
        }
    }
}
