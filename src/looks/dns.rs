//! `dns check`: where a host name points, and whether its update secret is kept.

use super::{LookError, Looks, Report, Tone};
use crate::domain::names::HostName;
use crate::store::secrets::SecretOwner;
use crate::store::vault::DNS_SECRET;

impl Looks {
    /// Looks a host name up.
    ///
    /// # Errors
    /// When the database fails; a name server that does not answer is part of the report.
    pub async fn dns_check(&self, host: &HostName) -> Result<Report, LookError> {
        let owner = SecretOwner::Host(host.clone());
        let kept = self.vault.get(&owner, DNS_SECRET).await?.is_some();
        let cluster = self.store.cluster_by_host(host).await?;
        let wanted = cluster.as_ref().and_then(|cluster| cluster.address.clone());
        let title = format!("DNS name `{host}`");
        let report = match self.services.dns.resolve(host).await {
            Err(error) => Report::new(title, Tone::Bad, format!("{error}")),
            Ok(found) if found.is_empty() => Report::new(
                title,
                Tone::Warn,
                "it points to nothing yet; a deploy points it",
            ),
            Ok(found) => {
                let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
                let points = texts.join(", ");
                match &wanted {
                    Some(address) if !texts.contains(address) => Report::new(
                        title,
                        Tone::Bad,
                        format!("it points to {points}, but its cluster is at {address}"),
                    ),
                    _ => Report::new(title, Tone::Good, format!("it points to {points}")),
                }
            }
        };
        let report = report
            .field("Update secret", if kept { "kept" } else { "not known" })
            .field(
                "Cluster",
                cluster.map_or_else(|| "none".to_owned(), |c| c.name.to_string()),
            );
        Ok(if kept {
            report
        } else {
            report.hint(format!(
                "add the host in the Dynamic DNS portal, then give its secret with `/pangeo dns set-secret host:{host}`"
            ))
        })
    }
}
