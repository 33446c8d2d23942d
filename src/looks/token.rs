//! `token status`: how the access token on a front end is, and what IM says to it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{LookError, Looks, Report, Tone};
use crate::domain::cluster::Cluster;
use crate::domain::token::{TokenFacts, TokenWatch};
use crate::operations::StepError;
use crate::operations::services::of_ec3;
use crate::services::checkin::read_facts;
use crate::services::ec3::{AUTH_FILE, AuthFile, EXPIRED, Ec3, LogCount};

/// How long the front end and IM may take together.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// `refresh_token.py` refreshes below this; a token that lives shorter was not refreshed.
const REFRESHED_BELOW: TimeDelta = TimeDelta::minutes(10);

/// What was found on the front end.
struct Found {
    auth: AuthFile,
    refreshed_at: Option<DateTime<Utc>>,
    log: LogCount,
}

impl Looks {
    /// How the token on the front end is; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails; a front end that does not answer is part of the report.
    pub async fn token_status(&self, name: &str) -> Result<Option<Report>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let title = format!("Access token of `{}`", cluster.name);
        let look = tokio::time::timeout(LOOK_LIMIT, self.look_at_token(&cluster)).await;
        let found = match look {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                let report = Report::new(title, Tone::Bad, error.for_people());
                return Ok(Some(report.hint(error.hint())));
            }
            Err(_elapsed) => {
                let text = "the front end does not answer in time";
                return Ok(Some(Report::new(title, Tone::Bad, text).hint("try again")));
            }
        };
        let im = self.im_says(&cluster, &found.auth).await;
        let now = self.store.clock().now();
        let watch = self.store.fact(&TokenWatch::key(cluster.id)).await?;
        let watch = watch.and_then(|text| serde_json::from_str::<TokenWatch>(&text).ok());
        let report = report(title, &cluster, &found, (im, now));
        Ok(Some(report.field(
            "Watch",
            watch.map_or_else(
                || "as of every cluster: `watch.token_before_s`".to_owned(),
                |watch| format!("warns {} min before the end", watch.minutes),
            ),
        )))
    }

    async fn look_at_token(&self, cluster: &Cluster) -> Result<Found, StepError> {
        let frontend = self.services.frontend(cluster, &self.vault).await?;
        let ec3 = Ec3::of(&frontend);
        let now = self.store.clock().now();
        Ok(Found {
            auth: ec3.auth().await.map_err(of_ec3)?,
            refreshed_at: ec3.refreshed_at(now).await.map_err(of_ec3)?,
            log: ec3.expired_lines(0).await.map_err(of_ec3)?,
        })
    }

    /// What IM answers to the front end's token.
    async fn im_says(&self, cluster: &Cluster, auth: &AuthFile) -> Result<(), String> {
        let Some(infrastructure) = &cluster.infrastructure else {
            return Err("there is no infrastructure to ask about".to_owned());
        };
        let asked = self.services.im.asked_by(auth.token());
        match tokio::time::timeout(LOOK_LIMIT, asked.state(infrastructure)).await {
            Ok(Ok(_state)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("IM does not answer".to_owned()),
        }
    }
}

fn report(
    title: String,
    cluster: &Cluster,
    found: &Found,
    (im, now): (Result<(), String>, DateTime<Utc>),
) -> Report {
    let facts = read_facts(&found.auth.token());
    let left = facts.as_ref().map(|facts| facts.ends_at - now);
    let lives = left.is_some_and(|left| left > TimeDelta::zero());
    let refreshing = left.is_some_and(|left| left >= REFRESHED_BELOW);
    let (tone, text) = match (lives, &im) {
        (false, _) => (Tone::Bad, "the token has ended: CLUES can't add nodes"),
        (true, Err(_)) => (Tone::Bad, "the token lives, but IM does not take it"),
        (true, Ok(())) if found.refreshed_at.is_none() => (
            Tone::Warn,
            "the token lives, but there is no refresh token: cron makes one within 5 minutes, or the token ends",
        ),
        (true, Ok(())) if !refreshing => (
            Tone::Warn,
            "the token ends soon and was not refreshed in time: the refresh token may have ended",
        ),
        (true, Ok(())) => (Tone::Good, "the token lives and is refreshed"),
    };
    let stamp = |at: DateTime<Utc>| format!("<t:{0}:f> (<t:{0}:R>)", at.timestamp());
    let site = if found.auth.has(&found.auth.token()) {
        "the same".to_owned()
    } else {
        let other = read_facts(&found.auth.site_token());
        format!("another one: {}", ends(other.as_ref(), now))
    };
    let report = Report::new(title, tone, text)
        .field("Token for IM", ends(facts.as_ref(), now))
        .field("Token for the site", site)
        .field(
            "refresh.dat",
            found.refreshed_at.map_or_else(
                || "missing".to_owned(),
                |at| format!("written {}", stamp(at)),
            ),
        )
        .field(
            "Last refresh",
            facts
                .as_ref()
                .and_then(|facts| facts.issued_at)
                .map_or_else(|| "not known".to_owned(), stamp),
        )
        .field(
            "IM says",
            match &im {
                Ok(()) => "it may use the infrastructure".to_owned(),
                Err(text) => text.clone(),
            },
        )
        .field("Log of CLUES", lines(found.log))
        .field(
            "Issuer",
            facts.map_or_else(|| "not known".to_owned(), |facts| facts.holder.issuer),
        );
    if tone == Tone::Good {
        return report;
    }
    let name = &cluster.name;
    report.hint(format!(
        "`/pangeo token renew name:{name}` gives it a new one"
    ))
}

/// When a token ends, in words.
pub(super) fn ends(facts: Option<&TokenFacts>, now: DateTime<Utc>) -> String {
    match facts {
        None => format!("does not read: see {AUTH_FILE}"),
        Some(facts) => {
            let at = facts.ends_at.timestamp();
            let word = if facts.ends_at <= now {
                "ended"
            } else {
                "ends"
            };
            format!("{word} <t:{at}:f> (<t:{at}:R>)")
        }
    }
}

fn lines(log: LogCount) -> String {
    match log.lines {
        0 => format!("does not say `{EXPIRED}`"),
        1 => format!("one line says `{EXPIRED}`"),
        lines => format!("{lines} lines say `{EXPIRED}`"),
    }
}
