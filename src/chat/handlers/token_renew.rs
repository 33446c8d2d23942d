//! `/pangeo token renew` by paste: takes an access token and makes the plan that writes it.
//!
//! The token is sealed under a name that is made from it, and the plan names only that; one whose
//! plan ended without an operation is forgotten a day later, long after it ended itself.

use anyhow::Context as _;
use chrono::TimeDelta;

use super::{Call, plan};
use crate::chat::forms::Values;
use crate::chat::messages::answers;
use crate::chat::view::View;
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::token::NewToken;
use crate::plans::Planned;
use crate::store::audit::AuditEntry;
use crate::store::secrets::SecretOwner;

/// How long a sealed token is kept that no operation used.
const KEPT: TimeDelta = TimeDelta::days(1);

pub(crate) async fn submit(call: Call<'_>, values: Values) -> anyhow::Result<View> {
    let parts = &call.shared.parts;
    let token = values.get("token").context("the form has no `token`")?;
    let Some(cluster) = anchor(&call).await? else {
        // The plan says what is wrong with the name.
        return plan::run(call).await;
    };
    let before = parts.store.clock().now() - KEPT;
    parts
        .store
        .forget_old_secrets(NewToken::PREFIX, before)
        .await?;
    let owner = SecretOwner::Cluster(cluster.id);
    let sealed = NewToken::secret_name(token);
    let was_there = parts.store.secret(&owner, &sealed).await?.is_some();
    parts
        .vault
        .put(&owner, &sealed, token)
        .await
        .with_context(|| format!("keep a token of `{}`", cluster.name))?;
    let details = serde_json::json!({"name": sealed});
    let by = call.caller.person.id;
    let entry = AuditEntry::by(by, "secret.set", cluster.name.to_string(), details);
    parts.store.audit(entry).await?;
    let options = call.options.clone().with_sealed(&sealed);
    let planned = plan::make(&call, &options).await?;
    if !was_there && matches!(planned, Planned::Refused(_)) {
        parts.store.forget_secret(&owner, &sealed).await?;
    }
    Ok(View::text(answers::planned(&call.shared.clean, &planned)))
}

/// The cluster to which the token belongs: the one that is named, or the first that runs.
async fn anchor(call: &Call<'_>) -> anyhow::Result<Option<Cluster>> {
    let store = &call.shared.parts.store;
    if let Some(name) = call.options.text("name") {
        return Ok(store.cluster_by_name(&name).await?);
    }
    let clusters = store.clusters().await?;
    Ok(clusters
        .into_iter()
        .find(|cluster| cluster.phase == Phase::Running))
}
