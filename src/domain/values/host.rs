//! Another host name in the values: wherever the old one stands, and the client that goes with it.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::callback_url;
use super::text::{Edit, Path};
use crate::domain::names::HostName;

/// A client at Check-in.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its id.
    pub id: SecretString,
    /// Its secret.
    pub secret: SecretString,
}

/// Why the host can't be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The old name does not stand where it should.
    #[error("`{host}` does not stand at `{path}`: change it there with `/pangeo values edit`")]
    NotThere {
        /// The old name.
        host: HostName,
        /// The place.
        path: Path,
    },
    /// People log in with Check-in, which knows a client for each host.
    #[error("the Check-in client of `{host}` is not known")]
    NoClient {
        /// The new name.
        host: HostName,
    },
}

fn authenticator(key: &str) -> Path {
    Path::of(&["jupyterhub", "hub", "config", "GenericOAuthenticator", key])
}

/// Whether people log in with a client that belongs to a host.
pub fn needs_client(tree: &Value) -> bool {
    authenticator("oauth_callback_url").find(tree).is_some()
}

/// The changes that put one host in the place of another, **with secrets**: in the ingress and its
/// certificate, and in the login where it goes by a client.
///
/// # Errors
/// [`HostError`]
pub fn host_edits(
    tree: &Value,
    (old, new): (&HostName, &HostName),
    client: Option<&Client>,
) -> Result<Vec<Edit>, HostError> {
    let mut edits = Vec::new();
    for place in ["hosts", "tls"] {
        let path = Path::of(&["jupyterhub", "ingress", place]);
        let there = path.find(tree).cloned();
        let changed = there.as_ref().map(|there| replaced(there, (old, new)));
        if changed.is_none() || changed == there {
            let host = old.clone();
            return Err(HostError::NotThere { host, path });
        }
        edits.push(Edit {
            path,
            old: there,
            new: changed,
        });
    }
    if needs_client(tree) {
        let client = client.ok_or_else(|| HostError::NoClient { host: new.clone() })?;
        let texts = [
            ("oauth_callback_url", callback_url(new)),
            ("client_id", client.id.expose_secret().to_owned()),
            ("client_secret", client.secret.expose_secret().to_owned()),
        ];
        edits.extend(texts.into_iter().map(|(key, text)| Edit {
            old: authenticator(key).find(tree).cloned(),
            path: authenticator(key),
            new: Some(json!(text)),
        }));
    }
    Ok(edits)
}

/// The same with the new name for each text that is the old one.
fn replaced(value: &Value, hosts: (&HostName, &HostName)) -> Value {
    match value {
        Value::String(text) if text == hosts.0.as_str() => json!(hosts.1.as_str()),
        Value::Array(items) => items.iter().map(|item| replaced(item, hosts)).collect(),
        Value::Object(map) => {
            let entries = map.iter();
            let entries = entries.map(|(key, value)| (key.clone(), replaced(value, hosts)));
            Value::Object(entries.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::text::{differences, edited};
    use crate::domain::yaml;

    fn host(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn client() -> Client {
        Client {
            id: "new-id".into(),
            secret: "new-secret".into(),
        }
    }

    #[test]
    fn the_host_changes_at_its_places_and_nothing_else() {
        let (old, new) = (host("pangeo.vm.fedcloud.eu"), host("sea.vm.fedcloud.eu"));
        let check_in = include_str!("expected/check-in.yaml");
        let native = include_str!("expected/native.yaml");
        for (text, places) in [(check_in, 5), (native, 2)] {
            let tree = yaml::read(text).unwrap();
            let edits = host_edits(&tree, (&old, &new), Some(&client())).unwrap();
            let made = edited(text, &edits).unwrap();
            assert!(!made.contains(old.as_str()), "{made}");
            let changed = differences(&tree, &yaml::read(&made).unwrap());
            assert_eq!(changed.len(), places, "{changed:?}");
            assert_eq!(made.contains("new-secret"), places == 5);
        }
    }

    #[test]
    fn what_can_not_be_changed_is_named() {
        let (old, new) = (host("pangeo.vm.fedcloud.eu"), host("sea.vm.fedcloud.eu"));
        let tree = yaml::read(include_str!("expected/check-in.yaml")).unwrap();
        let none = host_edits(&tree, (&old, &new), None).unwrap_err();
        assert!(none.to_string().contains("client of `sea"), "{none}");
        let other = host_edits(&tree, (&new, &old), Some(&client())).unwrap_err();
        assert!(
            other.to_string().contains("jupyterhub.ingress.hosts"),
            "{other}"
        );
    }
}
