//! `create-infrastructure`: IM runs an infrastructure of the cluster's name.
//!
//! Looks for one of that name first and adopts it, since the answer to an earlier create may have
//! got lost. IM does not list one that it is still taking in: after an error the pause before the
//! next try gives it time, and after the death of the process the step looks for a while before it
//! creates again. The id is kept right after the create. Undo deletes the infrastructure and waits until
//! IM does not know it any more, then forgets the cluster's secrets, which open nothing now.

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

/// How many pauses a create is looked for whose process died.
const LOOKS_FOR_LOST: u32 = 3;

/// What later steps and the undo need.
#[derive(Serialize, Deserialize)]
struct Output {
    /// IM's id.
    infrastructure: InfrastructureId,
}

/// That a create is under way.
#[derive(Serialize, Deserialize)]
struct Tried {
    /// When it was sent; `None` once its answer or its error is here.
    create_tried_at: Option<DateTime<Utc>>,
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
        let (now, poll) = (context.store.clock().now(), context.services.settings.poll);
        let tried: Option<Tried> = context.learnt_before();
        let tried_at = tried.and_then(|tried| tried.create_tried_at);
        let just_now = |at: DateTime<Utc>| {
            (now - at)
                .to_std()
                .is_ok_and(|ago| ago < poll * LOOKS_FOR_LOST)
        };
        if tried_at.is_some_and(just_now) {
            let note = "looks whether IM took the create whose answer is not known".to_owned();
            return Ok(Progress::Wait { after: poll, note });
        }
        let id = create(context).await?;
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
        if found.is_empty() {
            context
                .store
                .forget_infrastructure(context.cluster.id)
                .await?;
            context
                .store
                .forget_secrets(&context.cluster_secrets())
                .await?;
            context.log("the infrastructure is gone").await?;
            return Ok(Undo::Undone);
        }
        for id in &found {
            match im.delete(id, DeleteMode::Careful).await {
                Ok(()) | Err(ImError::NotFound { .. } | ImError::Conflict { .. }) => {}
                Err(error) => return Err(of_im("IM did not delete the infrastructure", error)),
            }
        }
        Ok(Undo::Wait {
            after: context.services.settings.poll,
            note: "until IM has deleted the infrastructure".to_owned(),
        })
    }
}

/// Sends the template; the id is kept at once.
async fn create(context: &StepContext<'_>) -> Result<InfrastructureId, StepError> {
    let tosca = Template::tosca(document(context).await?);
    let create_tried_at = Some(context.store.clock().now());
    context.learn(&Tried { create_tried_at }).await?;
    context.still_ours().await?;
    match context.services.im.create(&tosca).await {
        Ok(infrastructure) => {
            context
                .learn(&Output {
                    infrastructure: infrastructure.clone(),
                })
                .await?;
            Ok(infrastructure)
        }
        Err(error) => {
            context
                .learn(&Tried {
                    create_tried_at: None,
                })
                .await?;
            Err(of_im("IM did not create the infrastructure", error))
        }
    }
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
