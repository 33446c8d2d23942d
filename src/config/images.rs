//! `[images]`: where container images are looked up.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

/// `[images]`: registries that are asked for tags.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// `name=URL` each, by the names that images begin with; empty to ask none.
    pub registries: Vec<String>,
}

impl Default for Images {
    fn default() -> Self {
        let usual = [
            "docker.io=https://registry-1.docker.io",
            "quay.io=https://quay.io",
            "ghcr.io=https://ghcr.io",
        ];
        Self {
            registries: usual.map(str::to_owned).to_vec(),
        }
    }
}

impl Images {
    /// The registries by their names.
    ///
    /// # Errors
    /// The entry that is no `name=URL`.
    pub fn by_name(&self) -> Result<BTreeMap<String, Url>, String> {
        let registries = self.registries.iter().map(|entry| {
            let parts = entry.split_once('=');
            let parsed = parts.and_then(|(name, url)| {
                let url = Url::parse(url).ok()?;
                let is_web = matches!(url.scheme(), "https" | "http") && url.path() == "/";
                (is_web && !name.is_empty()).then(|| (name.to_owned(), url))
            });
            parsed.ok_or_else(|| entry.clone())
        });
        registries.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_name_and_an_address() {
        let registries = |entry: &str| {
            let registries = vec![entry.to_owned()];
            Images { registries }.by_name()
        };
        let usual = Images::default().by_name().unwrap();
        assert_eq!(usual["docker.io"].as_str(), "https://registry-1.docker.io/");
        assert!(registries("a.example.org=https://a.example.org:8443").is_ok());
        for bad in [
            "",
            "docker.io",
            "=https://a.b",
            "a=ftp://a.b",
            "a=https://a.b/v2",
        ] {
            assert_eq!(registries(bad).unwrap_err(), bad);
        }
    }
}
