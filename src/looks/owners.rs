//! `owners show`: which accounts may act on an infrastructure in IM.

use std::time::Duration;

use super::{LookError, Looks, Report, Tone};
use crate::domain::owners::shown;

/// How long IM and Check-in may take together.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

impl Looks {
    /// Who may act; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails; an IM that does not answer is part of the report.
    pub async fn owners(&self, name: &str) -> Result<Option<Report>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let title = format!("Who may act on the infrastructure of `{}`", cluster.name);
        let Some(id) = &cluster.infrastructure else {
            let text = "the cluster has no infrastructure";
            return Ok(Some(Report::new(title, Tone::Neutral, text)));
        };
        let services = &self.services;
        let look = async { tokio::join!(services.owners(id), services.own_account()) };
        let Ok((accounts, own)) = tokio::time::timeout(LOOK_LIMIT, look).await else {
            let text = "IM does not answer in time";
            return Ok(Some(Report::new(title, Tone::Bad, text).hint("try again")));
        };
        let accounts = match accounts {
            Ok(accounts) => accounts,
            Err(error) => {
                let report = Report::new(title, Tone::Bad, error.for_people());
                return Ok(Some(report.hint(error.hint())));
            }
        };
        let own = own.ok();
        let line = |(number, account): (usize, &String)| {
            let mut line = format!("• {}", shown(account));
            if number == 0 {
                line.push_str(", the first on the list");
            }
            if own.as_ref() == Some(account) {
                line.push_str(" (the bot's account)");
            }
            line
        };
        let lines: Vec<String> = accounts.iter().enumerate().map(line).collect();
        let report = Report::new(title, Tone::Neutral, lines.join("\n"))
            .field(
                "What IM does not tell",
                "whose an account is, since when it may act, and its administrators, who always may",
            )
            .hint(format!("`/pangeo owners add name:{name}` lets a colleague act, too"));
        Ok(Some(report))
    }
}
