//! `adopt-cluster`: the row of an adopted cluster knows its infrastructure, its front end's address
//! and the host key that the plan showed.
//!
//! Writes only that row, after a look whether IM still says what it said to the plan. Outside
//! nothing is changed, by undo neither: it forgets what was written, and `keep-access` the key.

use async_trait::async_trait;

use super::of_im;
use crate::domain::adoption::Adoption;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::im::VmState;
use crate::store::StoreError;
use crate::store::clusters::ClusterFacts;

/// See the module.
pub(super) struct AdoptCluster;

#[async_trait]
impl Step for AdoptCluster {
    fn name(&self) -> &'static str {
        "adopt-cluster"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let adoption: Adoption = context.options()?;
        let id = &adoption.infrastructure;
        let im = &context.services.im;
        let doing = "the infrastructure could not be looked at";
        let state = im.state(id).await.map_err(|error| of_im(doing, error))?;
        if state.state != VmState::Configured {
            return Err(StepError::Outdated(format!(
                "IM says `{}` of the infrastructure",
                state.state
            )));
        }
        let frontend = im.vm(id, 0).await.map_err(|error| of_im(doing, error))?;
        if frontend.public_address() != Some(adoption.address) {
            return Err(StepError::Outdated(
                "the front end has another address in IM than the plan saw".to_owned(),
            ));
        }
        let facts = ClusterFacts {
            infrastructure: Some(id.clone()),
            address: Some(adoption.address.to_string()),
            ssh_user: None,
            host_key: Some(adoption.host_key),
        };
        let learnt = context
            .store
            .learn_about_cluster(context.cluster.id, &facts)
            .await;
        match learnt {
            Ok(()) => {}
            Err(StoreError::Taken { .. }) => {
                return Err(StepError::Outdated(
                    "another cluster of the inventory has the infrastructure".to_owned(),
                ));
            }
            Err(error) => return Err(error.into()),
        }
        context
            .log(&format!(
                "infrastructure {id} with its front end {} is in the inventory",
                adoption.address
            ))
            .await?;
        Ok(Progress::done())
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        context
            .store
            .forget_infrastructure(context.cluster.id)
            .await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("take the cluster out of the inventory again; outside nothing changes")
    }
}
