//! `migrate`, `audit verify` and `rotate-keys`.

use std::sync::Arc;

use anyhow::Context;

use super::parts::Parts;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::redact::Redactor;
use crate::store::audit::Verification;

/// Brings the schema up to date.
///
/// # Errors
/// When the database does not answer or a migration fails.
pub async fn migrate(config: Arc<Config>) -> anyhow::Result<String> {
    let parts = Parts::open(config, Clock::system(), Redactor::new()).await?;
    parts
        .store
        .migrate()
        .await
        .context("migrate the database")?;
    Ok("the schema is up to date".to_owned())
}

/// Proves the audit whole; a broken chain is an error.
///
/// # Errors
/// When the database does not answer, or the chain is broken.
pub async fn verify_audit(config: Arc<Config>) -> anyhow::Result<String> {
    let parts = Parts::open(config, Clock::system(), Redactor::new()).await?;
    match parts.store.verify_audit().await.context("read the audit")? {
        Verification::Whole { rows, last_hash } => Ok(format!(
            "the audit is whole: {rows} rows, last hash {last_hash}\n\
             hint: keep the last hash elsewhere; a later run must still contain it"
        )),
        Verification::Broken { at, reason } => {
            anyhow::bail!("the audit is broken at row {at}: {reason}")
        }
    }
}

/// Seals everything again with the current key.
///
/// # Errors
/// When the database does not answer or an older key is not configured.
pub async fn rotate_keys(config: Arc<Config>) -> anyhow::Result<String> {
    let parts = Parts::open(config, Clock::system(), Redactor::new()).await?;
    let changed = parts
        .vault
        .rotate()
        .await
        .context("rotate the sealing keys")?;
    Ok(format!(
        "{changed} secrets are sealed with key `{}` now; older keys can go once every replica has restarted",
        parts.keys.current()
    ))
}
