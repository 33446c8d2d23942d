//! `create-infrastructure`: IM runs an infrastructure of the cluster's name.
//!
//! Looks for one of that name first and adopts it, since the answer to an earlier create may have
//! got lost. IM does not list one that it is still taking in: a create whose answer is not known
//! (the process died, the time was over, half an answer came) is looked for as long as IM may take
//! to list it, and only then sent again. A create that IM definitely refused is forgotten at once.
//! The id is kept right after the create. Undo deletes the infrastructure, by its id and by its
//! name, waits in the same way for one that may still show up, and until IM knows none of them any
//! more; then it forgets the cluster's secrets, which open nothing now.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::of_im;
use crate::domain::names::InfrastructureId;
use crate::domain::tosca::{ToscaSecrets, infrastructure_name};
use crate::domain::values::generate_token;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::im::{DeleteMode, ImError, Template};
use crate::services::templates::TemplatesError;
use crate::store::clusters::ClusterFacts;
use crate::store::vault::{GATEWAY_TOKEN, GRAFANA_PASSWORD, KUBE_TOKEN};

/// See the module.
pub(super) struct CreateInfrastructure;

/// How many creates may stay without an answer until a person is asked.
const CREATES: u32 = 3;

/// What later steps and the undo need.
#[derive(Serialize, Deserialize)]
struct Output {
    /// IM's id.
    infrastructure: InfrastructureId,
}

/// That a create may have had its effect.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Tried {
    /// When it was sent; `None` once IM has refused it.
    create_tried_at: Option<DateTime<Utc>>,
    /// How many were sent whose answer is not known, since a person was asked last.
    creates: u32,
}

#[async_trait]
impl Step for CreateInfrastructure {
    fn name(&self) -> &'static str {
        "create-infrastructure"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let im = &context.services.im;
        let name = infrastructure_name(&context.cluster.name);
        if let Some(Output { infrastructure }) = context.learnt_before() {
            return keep(context, infrastructure).await;
        }
        let doing = "the infrastructures could not be listed";
        let found = im
            .find_by_name(&name)
            .await
            .map_err(|error| of_im(doing, error))?;
        if let Some(first) = found.first() {
            let others = found.len() - 1;
            let note = if others == 0 {
                String::new()
            } else {
                format!("; {others} more of that name exist")
            };
            context
                .log(&format!(
                    "adopted the infrastructure {first} of the name {name}{note}"
                ))
                .await?;
            return keep(context, first.clone()).await;
        }
        let mut tried = tried_before(context);
        if may_show_up(context, &tried) {
            return Ok(looks_for_it(context));
        }
        let Some(id) = create(context, &mut tried).await? else {
            return Ok(looks_for_it(context));
        };
        context
            .log(&format!(
                "created the infrastructure {id} of the name {name}"
            ))
            .await?;
        keep(context, id).await
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        let im = &context.services.im;
        let name = infrastructure_name(&context.cluster.name);
        let doing = "the infrastructures could not be listed";
        let found = im
            .find_by_name(&name)
            .await
            .map_err(|error| of_im(doing, error))?;
        let left = delete_all(context, found).await?;
        let poll = context.services.settings.poll;
        if left > 0 {
            return Ok(Undo::Wait {
                after: poll,
                note: "until IM has deleted the infrastructure".to_owned(),
            });
        }
        let known: Option<Output> = context.learnt_before();
        if known.is_none() && may_show_up(context, &tried_before(context)) {
            return Ok(Undo::Wait {
                after: poll,
                note: LOOKS.to_owned(),
            });
        }
        context
            .store
            .forget_infrastructure(context.cluster.id)
            .await?;
        context
            .store
            .forget_secrets(&context.cluster_secrets())
            .await?;
        context.log("the infrastructure is gone").await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some(
            "delete the infrastructure with its machines and everything on them, and forget the secrets of the cluster",
        )
    }

    fn when_stuck(&self) -> &'static str {
        "see in IM's dashboard whether the site lets go of it; then retry, which waits as long again"
    }
}

const LOOKS: &str = "looks whether IM took the create whose answer is not known";

fn looks_for_it(context: &StepContext<'_>) -> Progress {
    Progress::Wait {
        after: context.services.settings.poll,
        note: LOOKS.to_owned(),
    }
}

fn tried_before(context: &StepContext<'_>) -> Tried {
    context.learnt_before().unwrap_or_default()
}

/// Whether a create may have had its effect without being listed yet.
fn may_show_up(context: &StepContext<'_>, tried: &Tried) -> bool {
    let now = context.store.clock().now();
    let limit = context.services.settings.listed_within;
    // A moment that lies ahead is one of a clock that was set back: it counts as just now.
    tried
        .create_tried_at
        .is_some_and(|at| (now - at).to_std().unwrap_or_default() < limit)
}

/// Asks IM to delete what is listed and what is known by its id; how many are not gone yet.
async fn delete_all(
    context: &StepContext<'_>,
    listed: Vec<InfrastructureId>,
) -> Result<usize, StepError> {
    let known = context.learnt_before::<Output>();
    let mut ids = listed;
    ids.extend(known.map(|output| output.infrastructure));
    ids.extend(context.cluster.infrastructure.clone());
    ids.sort_unstable();
    ids.dedup();
    let mut left = 0;
    for id in &ids {
        match context.services.im.delete(id, DeleteMode::Careful).await {
            Ok(()) | Err(ImError::Conflict { .. }) => left += 1,
            Err(ImError::NotFound { .. }) => {}
            Err(error) => return Err(of_im("IM did not delete the infrastructure", error)),
        }
    }
    Ok(left)
}

/// Sends the template; the id is kept at once. `None` if nobody knows whether IM took it.
async fn create(
    context: &StepContext<'_>,
    tried: &mut Tried,
) -> Result<Option<InfrastructureId>, StepError> {
    let tosca = Template::tosca(document(context).await?);
    tried.create_tried_at = Some(context.store.clock().now());
    context.learn(&*tried).await?;
    context.still_ours().await?;
    let error = match context.services.im.create(&tosca).await {
        Ok(infrastructure) => {
            let output = Output { infrastructure };
            context.learn(&output).await?;
            return Ok(Some(output.infrastructure));
        }
        Err(error) => error,
    };
    let doing = "IM did not create the infrastructure";
    if !error.outcome_unknown() {
        tried.create_tried_at = None;
        context.learn(&*tried).await?;
        return Err(of_im(doing, error));
    }
    tried.creates += 1;
    let gives_up = tried.creates >= CREATES;
    if gives_up {
        tried.creates = 0;
    }
    context.learn(&*tried).await?;
    if gives_up {
        let hint = "see whether IM answers, then retry";
        return Err(StepError::of_service(false, doing, hint, error));
    }
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        step.name = context.step.name,
        "the answer to a create is not known"
    );
    context
        .log(&format!(
            "nobody knows whether IM took the create ({error}); looks for it before another is sent"
        ))
        .await?;
    Ok(None)
}

async fn keep(context: &StepContext<'_>, id: InfrastructureId) -> Result<Progress, StepError> {
    let facts = ClusterFacts {
        infrastructure: Some(id.clone()),
        ..ClusterFacts::default()
    };
    context
        .store
        .learn_about_cluster(context.cluster.id, &facts)
        .await?;
    let output = Output { infrastructure: id };
    Ok(Progress::Done(
        serde_json::to_value(output).unwrap_or_default(),
    ))
}

/// The TOSCA document, **with secrets**; the same at every call.
async fn document(context: &StepContext<'_>) -> Result<SecretString, StepError> {
    let options = context.deploy_options()?;
    let template = context
        .services
        .templates
        .fetch(options.method)
        .await
        .map_err(of_templates)?;
    if options
        .template
        .as_ref()
        .is_some_and(|planned| *planned != template.digest())
    {
        return Err(StepError::fatal(
            "the TOSCA templates are not those that the plan showed",
            "undo this operation and deploy again: the new plan shows the templates of today",
        ));
    }
    let vault = context.vault;
    let owner = context.cluster_secrets();
    let auth = context.services.im.authorization().map_err(|error| {
        of_im(
            "the credentials for IM can't be written",
            ImError::Credential(error),
        )
    })?;
    let secrets = ToscaSecrets {
        kubernetes_token: vault
            .get_or_make(&owner, KUBE_TOKEN, generate_token)
            .await?,
        grafana_password: vault
            .get_or_make(&owner, GRAFANA_PASSWORD, generate_token)
            .await?,
        jupyterhub_token: vault
            .get_or_make(&owner, GATEWAY_TOKEN, generate_token)
            .await?,
        im_auth: Some(auth),
    };
    let image = context.services.settings.image_for(&options);
    template
        .fill(&options, image.as_deref(), &secrets)
        .map_err(|error| StepError::Fatal {
            reason: "the TOSCA document could not be made".to_owned(),
            hint: "the templates changed since the plan was made; undo and deploy again".to_owned(),
            source: Some(error.into()),
        })
}

fn of_templates(error: TemplatesError) -> StepError {
    let hint = "see whether the source of the templates answers, then retry";
    StepError::of_service(
        error.is_transient(),
        "the TOSCA templates could not be read",
        hint,
        error,
    )
}
