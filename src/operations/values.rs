//! The values of a running hub: what the rows have whole, what helm has, and what a change makes.
//!
//! Plans, looks and steps read through here, so that all of them mean the same.
//!
//! **Invariant:** nothing here changes anything.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::error::StepError;
use super::services::Services;
use crate::domain::cluster::Cluster;
use crate::domain::ids::ClusterId;
use crate::domain::names::HostName;
use crate::domain::values::change::Make;
use crate::domain::values::host::{Client, HostError, host_edits};
use crate::domain::values::text::{TextError, differences, edited};
use crate::domain::yaml::{self, YamlError};
use crate::services::helm::{Helm, HelmError, LiveValues};
use crate::store::secrets::SecretOwner;
use crate::store::vault::{CLIENT_ID, CLIENT_SECRET, Vault, VaultError, values_name};

/// How long the front end may take to tell what helm has.
pub const LIVE_LIMIT: Duration = Duration::from_secs(60);

/// Why a change makes no text.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The values of that revision were not kept whole.
    #[error("the values of revision {number} were not kept whole")]
    NotKept {
        /// The revision.
        number: i32,
    },
    /// The text can't be changed so.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The host can't be changed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The YAML can't be read or written.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// The whole values of a revision, **with secrets**; `None` if they were not kept.
///
/// # Errors
/// When the database fails or the seal does not open.
pub async fn text_of(
    vault: &Vault,
    cluster: ClusterId,
    revision: i32,
) -> Result<Option<SecretString>, VaultError> {
    let owner = SecretOwner::Cluster(cluster);
    vault.get(&owner, &values_name(revision)).await
}

/// What helm has, **with secrets**.
///
/// # Errors
/// When the front end can't be asked or there is no release.
pub async fn live(
    services: &Services,
    vault: &Vault,
    cluster: &Cluster,
) -> Result<LiveValues, StepError> {
    let asked = async {
        let frontend = services.frontend(cluster, vault).await?;
        let helm = Helm::new(&frontend, &services.settings.helm);
        helm.values().await.map_err(of_helm)
    };
    let found = tokio::time::timeout(LIVE_LIMIT, asked).await;
    let found = found.unwrap_or_else(|elapsed| {
        Err(StepError::Retry {
            reason: "the front end did not tell the values of the release in time".to_owned(),
            hint: "see whether the front end answers, then try again".to_owned(),
            source: Some(elapsed.into()),
        })
    })?;
    found.ok_or_else(|| {
        StepError::needs_human(
            "helm has no release on the front end",
            "see with `/pangeo status` what became of the hub",
        )
    })
}

/// What a change needs beside the newest revision, **with secrets**.
#[derive(Debug, Default)]
pub struct Kept {
    /// The text that a roll-back goes to.
    pub target: Option<SecretString>,
    /// The client of the host that a hub gets.
    pub client: Option<Client>,
}

/// What is kept for a change.
///
/// # Errors
/// When the database fails or the seal does not open.
pub async fn kept_for(vault: &Vault, cluster: ClusterId, make: &Make) -> Result<Kept, VaultError> {
    Ok(match make {
        Make::Revision { number } => Kept {
            target: text_of(vault, cluster, *number).await?,
            client: None,
        },
        Make::Host { to, .. } => Kept {
            target: None,
            client: client_of(vault, to).await?,
        },
        Make::Edits { .. } | Make::Adopt | Make::Overwrite => Kept::default(),
    })
}

/// The Check-in client of a host, if it is kept.
///
/// # Errors
/// When the database fails or the seal does not open.
pub async fn client_of(vault: &Vault, host: &HostName) -> Result<Option<Client>, VaultError> {
    let owner = SecretOwner::Host(host.clone());
    let id = vault.get(&owner, CLIENT_ID).await?;
    let secret = vault.get(&owner, CLIENT_SECRET).await?;
    Ok(id.zip(secret).map(|(id, secret)| Client { id, secret }))
}

/// The text that a change makes, **with secrets**; the same at every call with the same parts.
///
/// `newest` is the newest revision's number and text.
///
/// # Errors
/// [`MakeError`].
pub fn make_text(
    make: &Make,
    newest: (i32, Option<&SecretString>),
    kept: &Kept,
    live: &Value,
) -> Result<SecretString, MakeError> {
    let (number, newest) = newest;
    let not_kept = |number| MakeError::NotKept { number };
    let newest_text = || newest.map(ExposeSecret::expose_secret);
    Ok(match make {
        Make::Edits { edits } => {
            let text = newest_text().ok_or_else(|| not_kept(number))?;
            edited(text, edits)?.into()
        }
        Make::Host { from, to } => {
            let text = newest_text().ok_or_else(|| not_kept(number))?;
            let edits = host_edits(&yaml::read(text)?, (from, to), kept.client.as_ref())?;
            edited(text, &edits)?.into()
        }
        Make::Revision { number } => {
            let target = kept.target.clone();
            target.ok_or_else(|| not_kept(*number))?
        }
        Make::Overwrite => newest.cloned().ok_or_else(|| not_kept(number))?,
        Make::Adopt => match newest_text() {
            Some(text) => adopted(text, live)?.into(),
            None => yaml::write(live)?.into(),
        },
    })
}

/// The newest text with what was changed by hand; without its comments if they can't be kept.
fn adopted(text: &str, live: &Value) -> Result<String, MakeError> {
    let edits = differences(&yaml::read(text)?, live);
    match edited(text, &edits) {
        Ok(text) => Ok(text),
        Err(TextError::NotFaithful { .. } | TextError::NoMapping { .. } | TextError::TooLarge) => {
            Ok(yaml::write(live)?)
        }
        Err(error @ TextError::Yaml(_)) => Err(error.into()),
    }
}

/// An error of helm as a step's.
pub fn of_helm(error: HelmError) -> StepError {
    let hint = error.hint();
    StepError::of_service(error.is_transient(), "helm could not be run", hint, error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::values::text::{Edit, Path};

    #[test]
    fn each_kind_of_change_makes_its_text() {
        let newest = SecretString::from("# mine\na: 1\nb: 2\n");
        let kept = Kept {
            target: Some(SecretString::from("a: 0\n")),
            client: None,
        };
        let live = json!({"a": 3, "b": 2});
        let text = |make: &Make| {
            make_text(make, (2, Some(&newest)), &kept, &live)
                .unwrap()
                .expose_secret()
                .to_owned()
        };
        let edits = vec![Edit {
            path: Path::parse("a").unwrap(),
            old: Some(json!(1)),
            new: Some(json!(5)),
        }];
        assert_eq!(text(&Make::Edits { edits }), "# mine\na: 5\nb: 2\n");
        assert_eq!(text(&Make::Revision { number: 1 }), "a: 0\n");
        assert_eq!(text(&Make::Overwrite), "# mine\na: 1\nb: 2\n");
        assert_eq!(text(&Make::Adopt), "# mine\na: 3\nb: 2\n");
        let bare = make_text(&Make::Adopt, (2, None), &kept, &live).unwrap();
        assert_eq!(bare.expose_secret(), "a: 3\nb: 2\n");
        let missing = make_text(&Make::Overwrite, (2, None), &kept, &live);
        assert!(matches!(missing, Err(MakeError::NotKept { number: 2 })));
    }
}
