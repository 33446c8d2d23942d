//! `wait-for-refresh-token`: cron on each front end made a new `refresh.dat`, and CLUES' log does
//! not say any more that the token is expired.
//!
//! Changes nothing on the front ends. Its summary tells what was seen, and which front ends have no
//! new token. At the end the sealed copy of the token is forgotten. Nothing to undo.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::write_token::{Output as WriteOutput, Written};
use super::{AT_ONCE, obtain_token};
use crate::domain::token::{RenewOptions, RenewTarget};
use crate::operations::services::of_ec3;
use crate::operations::{Progress, Step, StepContext, StepError, TOLD, Undo};
use crate::services::checkin::read_facts;
use crate::services::ec3::{AUTH_FILE, CLUES_LOG, EXPIRED, Ec3, REFRESH_FILE};

/// How many front ends a summary names.
const NAMED: usize = 10;

/// See the module.
pub(super) struct WaitForRefreshToken;

/// What was seen, by the cluster's name.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Output {
    #[serde(default)]
    seen: BTreeMap<String, Seen>,
    /// When this run of waiting began; a retry begins anew.
    since: Option<DateTime<Utc>>,
}

/// What was seen of one front end.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Seen {
    /// When the new refresh token was seen first.
    refreshed: Option<DateTime<Utc>>,
    /// Since when the log is quiet.
    quiet: Option<DateTime<Utc>>,
    /// How far the log was read.
    log_size: u64,
    /// What to tell, at the end.
    told: Option<String>,
}

#[async_trait]
impl Step for WaitForRefreshToken {
    fn name(&self) -> &'static str {
        "wait-for-refresh-token"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let options: RenewOptions = context.options()?;
        let written: WriteOutput = context.output_of("write-token")?;
        let now = context.store.clock().now();
        let mut output = context.learnt_before::<Output>().unwrap_or_default();
        let since = *output.since.get_or_insert(now);
        let output = Mutex::new(output);
        let watch = Watch {
            context,
            options: &options,
            output: &output,
            since,
        };
        let looks: Vec<_> = options
            .targets
            .iter()
            .filter_map(|target| Some(watch.look(target, written.written.get(&target.name)?)))
            .collect();
        let looked: Vec<Result<(), StepError>> = stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut output = output.into_inner();
        context.learn(&output).await?;
        if let Some(failure) = looked.into_iter().find_map(Result::err) {
            // A retry waits anew.
            output.since = None;
            context.learn(&output).await?;
            return Err(failure);
        }
        let told: Vec<&str> = output
            .seen
            .values()
            .filter_map(|seen| seen.told.as_deref())
            .collect();
        if told.len() < written.written.len() {
            let note = waits_for(&output, written.written.len());
            return Ok(Progress::Wait {
                after: context.services.settings.poll,
                note,
            });
        }
        let told = summary(&told);
        obtain_token::forget(context).await?;
        if written.failed.is_empty() {
            let done = serde_json::json!({TOLD: told, "seen": output.seen});
            return Ok(Progress::Done(done));
        }
        Err(not_renewed(&told, &written.failed))
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}

fn waits_for(output: &Output, all: usize) -> String {
    let refreshed = output.seen.values().filter(|s| s.refreshed.is_some());
    match refreshed.count() {
        count if count == all => format!("until {CLUES_LOG} is quiet"),
        count if all > 1 => format!("until cron makes {REFRESH_FILE}: {count} of {all} did"),
        _none => format!("until cron makes a new {REFRESH_FILE}"),
    }
}

fn summary(told: &[&str]) -> String {
    let mut text = told
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join("\n");
    if told.len() > NAMED {
        text.push_str(&format!("\nand {} more the same way", told.len() - NAMED));
    }
    text
}

fn not_renewed(told: &str, failed: &BTreeMap<String, String>) -> StepError {
    let failed: Vec<String> = failed
        .iter()
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    StepError::fatal(
        format!(
            "{} front ends have no new token. {}. The others: {told}",
            failed.len(),
            failed.join("; ")
        ),
        "leave this operation; mend what is in the way, then run `/pangeo token renew` for these",
    )
}

/// The look at several front ends.
struct Watch<'a> {
    context: &'a StepContext<'a>,
    options: &'a RenewOptions,
    output: &'a Mutex<Output>,
    since: DateTime<Utc>,
}

impl Watch<'_> {
    async fn look(&self, target: &RenewTarget, written: &Written) -> Result<(), StepError> {
        let known = self.output.lock().await.seen.get(&target.name).cloned();
        let mut seen = known.unwrap_or_else(|| Seen {
            log_size: written.log_size,
            ..Seen::default()
        });
        if seen.told.is_some() {
            return Ok(());
        }
        self.look_closer(target, written, &mut seen).await?;
        if let Some(told) = &seen.told {
            self.context.log(told).await?;
        }
        let mut output = self.output.lock().await;
        output.seen.insert(target.name.clone(), seen);
        Ok(())
    }

    async fn look_closer(
        &self,
        target: &RenewTarget,
        written: &Written,
        seen: &mut Seen,
    ) -> Result<(), StepError> {
        let context = self.context;
        let settings = &context.services.settings;
        let cluster = context
            .store
            .cluster(target.cluster)
            .await?
            .ok_or_else(|| {
                StepError::needs_human("the cluster is not there any more", "leave this operation")
            })?;
        let frontend = context.services.frontend(&cluster, context.vault).await?;
        let ec3 = Ec3::of(&frontend);
        let now = context.store.clock().now();
        let too_long = (now - self.since)
            .to_std()
            .is_ok_and(|t| t > settings.renewals.refresh_wait);
        if ec3.refreshed_at(now).await.map_err(of_ec3)?.is_none() {
            return if too_long {
                Err(no_refresh_token(&target.name))
            } else {
                Ok(())
            };
        }
        let refreshed = *seen.refreshed.get_or_insert(now);
        let auth = ec3.auth().await.map_err(of_ec3)?;
        let stands = read_facts(&auth.token());
        if !stands.is_some_and(|t| t.holder == self.options.holder && t.ends_at > now) {
            return Err(overwritten(&target.name));
        }
        let log = ec3.expired_lines(seen.log_size).await.map_err(of_ec3)?;
        seen.log_size = log.size;
        if log.lines > 0 {
            seen.quiet = None;
        }
        let quiet_since = *seen.quiet.get_or_insert(now);
        let quiet = (now - quiet_since).to_std().unwrap_or_default();
        if quiet >= settings.renewals.quiet {
            seen.told = Some(told(
                &target.name,
                refreshed - written.at,
                written.expired_lines,
            ));
        } else if too_long {
            return Err(still_expired(&target.name));
        }
        Ok(())
    }
}

fn told(name: &str, took: TimeDelta, expired_lines: u64) -> String {
    let log = if expired_lines > 0 {
        format!("`{EXPIRED}` stopped in the log of CLUES")
    } else {
        format!("the log of CLUES did not say `{EXPIRED}` before and does not now")
    };
    let took = match took.num_seconds() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    };
    format!(
        "{name}: {AUTH_FILE} written in both places; a new refresh.dat appeared after {took}; {log}"
    )
}

fn no_refresh_token(name: &str) -> StepError {
    StepError::needs_human(
        format!("{name}: the token is written, but no new {REFRESH_FILE} appeared"),
        "see on the front end whether cron runs refresh_token.py every 5 minutes and what it prints; retry waits on",
    )
}

fn still_expired(name: &str) -> StepError {
    StepError::needs_human(
        format!("{name}: {REFRESH_FILE} is new, but {CLUES_LOG} goes on saying `{EXPIRED}`"),
        "restart CLUES on the front end (`sudo service cluesd restart`), then retry",
    )
}

fn overwritten(name: &str) -> StepError {
    StepError::needs_human(
        format!(
            "{name}: {AUTH_FILE} has an expired token or another person's again: something wrote it meanwhile"
        ),
        "leave this operation and renew once more",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_told_front_end_by_front_end() {
        let stopped = told("geo", TimeDelta::seconds(190), 3);
        assert!(
            stopped.contains("after 3 min") && stopped.contains("stopped"),
            "{stopped}"
        );
        let never = told("geo", TimeDelta::seconds(20), 0);
        assert!(
            never.contains("after 20 s") && never.contains("did not say"),
            "{never}"
        );
        let many: Vec<&str> = vec!["x"; 14];
        assert!(summary(&many).ends_with("and 4 more the same way"));
    }
}
