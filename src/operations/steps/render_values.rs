//! `render-values`: the values of the chart are complete and fit its schema.
//!
//! The two tokens of the howto are made once and kept sealed, so that a repeat renders the same.
//! The rendered text itself is not kept: whoever needs it renders it again with [`rendered`].
//! Changes nothing outside; undo leaves the tokens to `keep-access`, which forgets all secrets of
//! the cluster.

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::Value;

use crate::domain::chart::Chart;
use crate::domain::deploy::{Auth, DeployOptions};
use crate::domain::values::{DaskhubValues, ValuesSecrets, generate_token};
use crate::operations::values::of_helm;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::helm::{ChartSchema, Helm};
use crate::store::vault::{CLIENT_ID, CLIENT_SECRET, GATEWAY_TOKEN, PROXY_TOKEN};

/// How many violations of the schema are told.
const VIOLATIONS_TOLD: usize = 5;

/// See the module.
pub(super) struct RenderValues;

#[async_trait]
impl Step for RenderValues {
    fn name(&self) -> &'static str {
        "render-values"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let options = context.deploy_options()?;
        let document = values_of(context, &options).document(&secrets(context, &options).await?);
        let frontend = context
            .services
            .frontend(context.cluster, context.vault)
            .await?;
        let helm = Helm::new(&frontend, &context.services.settings.helm);
        let schemas = helm
            .chart_schemas(&Chart::configured(&options.chart_version))
            .await
            .map_err(of_helm)?;
        for chart in &schemas {
            let violations = violations(&chart.schema, chart.part_of(&document));
            if !violations.is_empty() {
                return Err(StepError::fatal(
                    format!(
                        "the values do not fit the schema of `{}`: {}",
                        chart.name(),
                        violations.join("; ")
                    ),
                    "undo, then deploy with another chart version, or tell whoever runs the bot",
                ));
            }
        }
        let checked: Vec<&str> = schemas.iter().map(ChartSchema::name).collect();
        let checked = if checked.is_empty() {
            "the chart brings no schema to check them".to_owned()
        } else {
            format!("they fit the schema of {}", checked.join(" and "))
        };
        context.log(&format!("values rendered; {checked}")).await?;
        Ok(Progress::done())
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(Undo::Undone)
    }
}

/// The values as helm gets them, **with secrets**; the same at every call.
pub(super) async fn rendered(context: &StepContext<'_>) -> Result<SecretString, StepError> {
    let options = context.deploy_options()?;
    let secrets = secrets(context, &options).await?;
    values_of(context, &options)
        .render(&secrets)
        .map_err(|error| StepError::Fatal {
            reason: "the values could not be written".to_owned(),
            hint: "this is a fault of the bot; tell whoever runs it".to_owned(),
            source: Some(error.into()),
        })
}

/// The values without secrets.
pub(super) fn values_of(context: &StepContext<'_>, options: &DeployOptions) -> DaskhubValues {
    let settings = &context.services.settings;
    DaskhubValues::howto(
        options,
        settings.issuers.for_login(options.auth),
        &settings.vo,
    )
}

async fn secrets(
    context: &StepContext<'_>,
    options: &DeployOptions,
) -> Result<ValuesSecrets, StepError> {
    let (cluster, host) = (context.cluster_secrets(), context.host_secrets());
    let vault = context.vault;
    let (client_id, client_secret) = match options.auth {
        Auth::Native => (SecretString::from(""), SecretString::from("")),
        Auth::CheckIn(_) => {
            let id = vault.get(&host, CLIENT_ID).await?;
            let secret = vault.get(&host, CLIENT_SECRET).await?;
            id.zip(secret).ok_or_else(|| {
                StepError::needs_human(
                    format!(
                        "the Check-in client of `{}` is not known",
                        context.cluster.host
                    ),
                    format!(
                        "give it with `/pangeo checkin set-client host:{}`, then retry",
                        context.cluster.host
                    ),
                )
            })?
        }
    };
    Ok(ValuesSecrets {
        gateway_token: vault
            .get_or_make(&cluster, GATEWAY_TOKEN, generate_token)
            .await?,
        proxy_token: vault
            .get_or_make(&cluster, PROXY_TOKEN, generate_token)
            .await?,
        client_id,
        client_secret,
    })
}

/// Where a document breaks a schema; paths only, since values may be secrets.
fn violations(schema: &Value, document: &Value) -> Vec<String> {
    match jsonschema::validator_for(schema) {
        Ok(validator) => validator
            .iter_errors(document)
            .take(VIOLATIONS_TOLD)
            .map(|error| format!("`{}`", error.instance_path()))
            .collect(),
        Err(error) => vec![format!("the schema itself does not read: {error}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_tell_where_and_never_what() {
        let schema = serde_json::json!({"properties": {"token": {"type": "integer"}}});
        let found = violations(&schema, &serde_json::json!({"token": "very-secret"}));
        assert_eq!(found, ["`/token`"]);
        assert!(violations(&schema, &serde_json::json!({"token": 1})).is_empty());
    }
}
