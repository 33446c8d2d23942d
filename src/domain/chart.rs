//! Which chart a release is installed from.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use super::names::{NameError, text_name};

/// The longest place of a chart, in characters.
const LONGEST: usize = 200;

/// How much of a digest people are shown.
const DIGEST_SHOWN: usize = 8;

/// The URL of a chart repository: `https`, without a name, a password or a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryUrl(String);

/// The name of a chart, such as `daskhub`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChartName(String);

/// A folder on a front end, by its whole path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChartFolder(String);

text_name!(RepositoryUrl);
text_name!(ChartName);
text_name!(ChartFolder);

impl RepositoryUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let good = Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https"
                && url.host_str().is_some_and(|host| host.contains('.'))
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        // What the parser would mend, such as spaces and backslashes, is no URL here.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/%+".contains(&b);
        if good && text.len() <= LONGEST && text.bytes().all(plain) {
            return Ok(Self(text.trim_end_matches('/').to_owned()));
        }
        let allowed = "write an address such as `https://helm.dask.org`; only https, without a name, a password or a query";
        Err(form("the chart repository", text, allowed))
    }
}

impl ChartName {
    /// Parses a name (<https://helm.sh/docs/chart_best_practices/conventions/>, read 2026-11-28).
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
        if starts && text.len() <= 60 && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        let allowed = "use small letters, digits, `-`, `.` and `_`, a letter first, at most 60, such as `daskhub`";
        Err(form("the chart name", text, allowed))
    }
}

impl ChartFolder {
    /// Parses a path.
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._+".contains(&b);
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(plain) && !part.starts_with(['-', '.'])
        };
        let good = path
            .strip_prefix('/')
            .is_some_and(|path| path.split('/').all(is_part));
        let system = ["/proc", "/sys", "/dev"]
            .iter()
            .any(|root| path == *root || path.starts_with(&format!("{root}/")));
        if good && !system && path.len() <= LONGEST {
            return Ok(Self(path.to_owned()));
        }
        let allowed = "write its whole path, such as `/home/cloudadm/daskhub`; letters, digits, `-`, `_`, `+` and dots within a name";
        Err(form("the folder", text, allowed))
    }
}

fn form(what: &'static str, text: &str, allowed: &'static str) -> NameError {
    NameError::Form {
        what,
        text: text.chars().take(60).collect(),
        allowed,
    }
}

/// Where a chart comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ChartSource {
    /// The repository of the bot's configuration.
    #[default]
    Configured,
    /// Another repository.
    Repository {
        /// Where it is.
        url: RepositoryUrl,
        /// The chart in it.
        chart: ChartName,
    },
    /// A folder on the front end.
    Folder {
        /// Where it is.
        path: ChartFolder,
        /// The chart that lies in it.
        chart: ChartName,
        /// What lay in it: SHA-256 over the names and digests of its files.
        digest: String,
    },
}

impl ChartSource {
    /// Whether it is the one of the configuration.
    pub fn is_configured(&self) -> bool {
        *self == Self::Configured
    }

    /// The name of the chart, if it is not the configured one.
    pub fn chart(&self) -> Option<&ChartName> {
        match self {
            Self::Configured => None,
            Self::Repository { chart, .. } | Self::Folder { chart, .. } => Some(chart),
        }
    }
}

/// A chart: where it comes from, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Where it comes from.
    pub source: ChartSource,
    /// Its version.
    pub version: String,
}

impl Chart {
    /// A version of the configured chart.
    pub fn configured(version: impl Into<String>) -> Self {
        Self {
            source: ChartSource::Configured,
            version: version.into(),
        }
    }
}

/// Such as `2024.1.1`, with its source if that is not the configured one.
impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.version;
        match &self.source {
            ChartSource::Configured => f.write_str(version),
            ChartSource::Repository { url, chart } => write!(f, "{chart} {version} of {url}"),
            ChartSource::Folder {
                path,
                chart,
                digest,
            } => {
                let short: String = digest.chars().take(DIGEST_SHOWN).collect();
                write!(f, "{chart} {version} of the folder {path} ({short})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_addresses_are_repositories() {
        for (good, kept) in [
            ("https://helm.dask.org", "https://helm.dask.org"),
            ("https://helm.dask.org/", "https://helm.dask.org"),
            (
                "https://a.example.org:8443/x",
                "https://a.example.org:8443/x",
            ),
        ] {
            assert_eq!(RepositoryUrl::parse(good).unwrap().as_str(), kept);
        }
        for bad in [
            "",
            "http://helm.dask.org",
            "oci://ghcr.io/x",
            "file:///etc",
            "https://localhost",
            "https://u:p@helm.dask.org",
            "https://helm.dask.org/?token=x",
            "https://helm.dask.org/#a",
            "https://helm.dask.org/ --post-renderer=x",
            "https:\\\\helm.dask.org",
            "--repo=https://helm.dask.org",
        ] {
            assert!(RepositoryUrl::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_whole_paths_of_plain_names_are_folders() {
        let folder = ChartFolder::parse("/home/cloudadm/dask-hub_2/").unwrap();
        assert_eq!(folder.as_str(), "/home/cloudadm/dask-hub_2");
        for bad in [
            "",
            "/",
            "//",
            "daskhub",
            "./daskhub",
            "/a/../etc",
            "/a/./b",
            "/a//b",
            "/proc/1",
            "/dev",
            "/a b",
            "/a;id",
            "/$(id)",
            "/-rf",
            "/a/\u{ff0e}",
        ] {
            assert!(ChartFolder::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_chart_name_is_no_option_and_no_path() {
        assert_eq!(ChartName::parse("daskhub").unwrap().as_str(), "daskhub");
        for bad in ["", "-x", "1a", "../a", "a/b", "Dask", "a b", "https://x.y"] {
            assert!(ChartName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_stored_source_is_read_again_and_a_wrong_one_is_not() {
        let folder = ChartSource::Folder {
            path: ChartFolder::parse("/opt/daskhub").unwrap(),
            chart: ChartName::parse("daskhub").unwrap(),
            digest: "0123456789abcdef".to_owned(),
        };
        let stored = serde_json::to_value(&folder).unwrap();
        assert_eq!(
            serde_json::from_value::<ChartSource>(stored).unwrap(),
            folder
        );
        let wrong = serde_json::json!({"kind": "repository", "url": "ftp://x", "chart": "a"});
        assert!(serde_json::from_value::<ChartSource>(wrong).is_err());
        let chart = Chart {
            source: folder,
            version: "2024.1.1".to_owned(),
        };
        assert_eq!(
            chart.to_string(),
            "daskhub 2024.1.1 of the folder /opt/daskhub (01234567)"
        );
    }
}
