//! `write-token`: the new access token stands in both places of each front end's `auth.dat`, and
//! `refresh.dat` is gone, so that cron trades the token for a refresh token.
//!
//! Done already if the file has the token, or if it was written and noted before. A file whose
//! token is another person's than the plan says is left alone. Up to 16 front ends at once; where
//! there are several, one that fails is noted and the others go on. Undo leaves the new token: the
//! one before had ended or would have, and is not kept.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{AT_ONCE, obtain_token};
use crate::domain::token::{Holder, NEEDED_TO_WRITE, RenewOptions, RenewTarget};
use crate::operations::services::of_ec3;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::checkin::read_facts;
use crate::services::ec3::{AUTH_FILE, Ec3};

/// How often several front ends are tried before the others go on without one.
const TRIES: i32 = 3;

/// See the module.
pub(super) struct WriteToken;

/// What was done, by the cluster's name.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Output {
    /// Front ends that have the new token.
    #[serde(default)]
    pub(super) written: BTreeMap<String, Written>,
    /// Front ends that have not, and why.
    #[serde(default)]
    pub(super) failed: BTreeMap<String, String>,
}

/// One front end that has the new token.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Written {
    /// When.
    pub(super) at: DateTime<Utc>,
    /// The size of CLUES' log then.
    pub(super) log_size: u64,
    /// How many of its last lines said that the token is expired.
    pub(super) expired_lines: u64,
}

#[async_trait]
impl Step for WriteToken {
    fn name(&self) -> &'static str {
        "write-token"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let options: RenewOptions = context.options()?;
        let obtained: obtain_token::Output = context.output_of("obtain-token")?;
        let token = obtain_token::sealed(context, &obtained.secret).await?;
        let done = Mutex::new(context.learnt_before::<Output>().unwrap_or_default());
        let renewal = Renewal {
            context,
            token: &token,
            holder: &options.holder,
            done: &done,
        };
        let work: Vec<_> = options.targets.iter().map(|t| renewal.of(t)).collect();
        let failures: Vec<Option<(String, StepError)>> =
            stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
        let mut done = done.into_inner();
        let single = options.targets.len() == 1;
        for (name, error) in failures.into_iter().flatten() {
            let tried_enough = context.step.attempts >= TRIES || !error.is_transient();
            if single || error.is_fenced() || !tried_enough || done.written.is_empty() {
                return Err(error);
            }
            done.failed.insert(name, error.for_people());
        }
        Ok(Progress::Done(
            serde_json::to_value(done).unwrap_or_default(),
        ))
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Left(format!(
            "{AUTH_FILE} keeps the new token: the one before is not kept"
        )))
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("nothing: the front ends keep the new token, the one before is not kept")
    }
}

/// One token on its way to several front ends.
struct Renewal<'a> {
    context: &'a StepContext<'a>,
    token: &'a SecretString,
    holder: &'a Holder,
    done: &'a Mutex<Output>,
}

impl Renewal<'_> {
    async fn of(&self, target: &RenewTarget) -> Option<(String, StepError)> {
        let failure = self.write(target).await.err()?;
        Some((target.name.clone(), failure))
    }

    async fn write(&self, target: &RenewTarget) -> Result<(), StepError> {
        if self.done.lock().await.written.contains_key(&target.name) {
            return Ok(());
        }
        let context = self.context;
        let cluster = context
            .store
            .cluster(target.cluster)
            .await?
            .ok_or_else(|| {
                StepError::needs_human("the cluster is not there any more", "leave this operation")
            })?;
        let frontend = context.services.frontend(&cluster, context.vault).await?;
        let ec3 = Ec3::of(&frontend);
        let old = ec3.auth().await.map_err(of_ec3)?;
        let log = ec3.expired_lines(0).await.map_err(of_ec3)?;
        if !old.has(self.token) {
            self.may_replace(target, &old.token())?;
            let new = old.with(self.token).map_err(of_ec3)?;
            context.still_ours().await?;
            ec3.write(&old, &new).await.map_err(of_ec3)?;
        }
        context.still_ours().await?;
        ec3.forget_refresh_token().await.map_err(of_ec3)?;
        let written = Written {
            at: context.store.clock().now(),
            log_size: log.size,
            expired_lines: log.lines,
        };
        let mut done = self.done.lock().await;
        done.written.insert(target.name.clone(), written);
        context.learn(&*done).await?;
        drop(done);
        context
            .log(&format!(
                "{}: {AUTH_FILE} has the new token in both places, and the refresh token is removed",
                target.name
            ))
            .await
    }

    /// The token that stands there must be of the person whom the plan names, and the new one must
    /// live until cron has used it.
    fn may_replace(&self, target: &RenewTarget, old: &SecretString) -> Result<(), StepError> {
        let expected = target.instead_of.as_ref().unwrap_or(self.holder);
        if read_facts(old).is_some_and(|facts| facts.holder != *expected) {
            return Err(StepError::needs_human(
                "the front end's token is another person's by now: changed meanwhile",
                "find out who changed it, then run the command again",
            ));
        }
        let now = self.context.store.clock().now();
        let lives = read_facts(self.token).is_some_and(|new| new.ends_at - now >= NEEDED_TO_WRITE);
        if lives {
            return Ok(());
        }
        Err(StepError::needs_human(
            "the new token ends too soon to be written",
            "leave this operation and run the command again with a new token",
        ))
    }
}
