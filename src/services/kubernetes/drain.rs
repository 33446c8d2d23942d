//! Taking pods off a node: what `kubectl cordon` and `kubectl drain` do.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::EvictParams;

use super::pods::pod_state;
use super::{Kubernetes, KubernetesError, PodState, params};

impl Kubernetes {
    /// The pods on a node, of all namespaces, at most 500.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn pods_on(&self, node: &str) -> Result<Vec<PodState>, KubernetesError> {
        let api: Api<Pod> = Api::all(self.client.clone());
        let on_it = params().fields(&format!("spec.nodeName={node}"));
        let list = self.call("list pods", api.list(&on_it)).await?;
        Ok(list.items.iter().map(pod_state).collect())
    }

    /// Lets Kubernetes put nothing new on a node, or lets it do so again.
    ///
    /// # Errors
    /// When the API does not answer or there is no such node.
    pub async fn cordon(&self, node: &str, cordoned: bool) -> Result<(), KubernetesError> {
        let api: Api<Node> = Api::all(self.client.clone());
        if cordoned {
            self.call("cordon a node", api.cordon(node)).await?;
        } else {
            self.call("uncordon a node", api.uncordon(node)).await?;
        }
        Ok(())
    }

    /// Asks Kubernetes to end a pod, which whoever made it may make again elsewhere; `false` if a
    /// disruption budget does not allow it now. One that is gone is fine.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn evict(&self, pod: &PodState) -> Result<bool, KubernetesError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let params = EvictParams::default();
        let answer = self
            .call("evict a pod", api.evict(&pod.name, &params))
            .await;
        match answer {
            Ok(_status) => Ok(true),
            Err(error) => match error.status() {
                Some(404) => Ok(true),
                Some(429) => Ok(false),
                Some(_) | None => Err(error),
            },
        }
    }
}
