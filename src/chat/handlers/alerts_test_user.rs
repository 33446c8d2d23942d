//! `/pangeo alerts test-user`: keeps the token of a test user, with whose server cures are proven,
//! or forgets it.

use anyhow::Context as _;

use super::Call;
use crate::chat::forms::Values;
use crate::chat::messages::{alert, answers};
use crate::chat::view::View;
use crate::store::audit::AuditEntry;
use crate::store::secrets::SecretOwner;
use crate::store::vault::HUB_TOKEN;

/// Without a form: the token is forgotten.
pub(crate) async fn run(call: Call<'_>) -> anyhow::Result<View> {
    let (store, clean) = (&call.shared.parts.store, &call.shared.clean);
    if call.text("off") != "true" {
        return Ok(View::text(alert::TEST_USER_HOW));
    }
    let name = call.text("name");
    let Some(cluster) = store.cluster_by_name(&name).await? else {
        return Ok(View::text(answers::no_such_cluster(clean, &name)));
    };
    let owner = SecretOwner::Cluster(cluster.id);
    if call
        .shared
        .parts
        .vault
        .get(&owner, HUB_TOKEN)
        .await?
        .is_none()
    {
        return Ok(View::text(alert::test_user_none(clean, &name)));
    }
    store.forget_secret(&owner, HUB_TOKEN).await?;
    let details = serde_json::json!({"name": HUB_TOKEN});
    let by = call.caller.person.id;
    let entry = AuditEntry::by(by, "secret.forgotten", name.clone(), details);
    store.audit(entry).await?;
    Ok(View::text(alert::test_user_gone(clean, &name)))
}

/// With the form: the hub says whose the token is before it is kept.
pub(crate) async fn submit(call: Call<'_>, values: Values) -> anyhow::Result<View> {
    let (parts, clean) = (&call.shared.parts, &call.shared.clean);
    let name = call.text("name");
    let token = values.get("token").context("the form has no `token`")?;
    parts.redactor.learn(token);
    let Some(user) = parts.looks.hub_user(&name, token).await? else {
        return Ok(View::text(answers::no_such_cluster(clean, &name)));
    };
    let user = match user {
        Ok(user) if user.is_admin => {
            return Ok(View::text(alert::test_user_is_admin(clean, &user)));
        }
        Ok(user) => user,
        Err(why) => return Ok(View::text(alert::test_user_unknown(clean, &why))),
    };
    let cluster = parts.store.cluster_by_name(&name).await?;
    let Some(cluster) = cluster else {
        return Ok(View::text(answers::no_such_cluster(clean, &name)));
    };
    let owner = SecretOwner::Cluster(cluster.id);
    let kept = parts.vault.put(&owner, HUB_TOKEN, token).await;
    kept.with_context(|| format!("keep the token of a test user of `{name}`"))?;
    let details = serde_json::json!({"name": HUB_TOKEN, "user": user.name});
    let by = call.caller.person.id;
    let entry = AuditEntry::by(by, "secret.set", name.clone(), details);
    parts.store.audit(entry).await?;
    Ok(View::text(alert::test_user_kept(clean, &name, &user)))
}
