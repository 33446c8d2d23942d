//! Whose a token of a hub is.

use std::time::Duration;

use secrecy::SecretString;

use super::{LookError, Looks};
use crate::domain::proof::HubUser;
use crate::operations::services::address_of;

/// How long a hub may take.
const LIMIT: Duration = Duration::from_secs(20);

impl Looks {
    /// Whose a token of the hub is, or why that is not known; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hub_user(
        &self,
        name: &str,
        token: &SecretString,
    ) -> Result<Option<Result<HubUser, String>>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let Ok(address) = address_of(&cluster) else {
            return Ok(Some(Err("it has no hub yet".to_owned())));
        };
        let target = self.services.hub_target(&cluster, address);
        let asked = self.services.hubs.user_of(&target, token);
        Ok(Some(match tokio::time::timeout(LIMIT, asked).await {
            Ok(user) => user.map_err(|error| error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        }))
    }
}
