//! What helm says about the release, and how a broken one is brought back.

use serde::Deserialize;
use serde_json::Value;

use super::failure::HelmFailure;
use super::{Helm, HelmError};

/// The state of a revision, in helm's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReleaseStatus {
    /// The revision that runs.
    Deployed,
    /// An older revision.
    Superseded,
    /// It failed; its objects may be half there.
    Failed,
    /// An install runs or was killed.
    PendingInstall,
    /// An upgrade runs or was killed.
    PendingUpgrade,
    /// A roll-back runs or was killed.
    PendingRollback,
    /// It is being removed.
    Uninstalling,
    /// It was removed, its history kept.
    Uninstalled,
    /// A word that this version does not know.
    Unknown,
}

impl ReleaseStatus {
    fn read(word: &str) -> Self {
        match word {
            "deployed" => Self::Deployed,
            "superseded" => Self::Superseded,
            "failed" => Self::Failed,
            "pending-install" => Self::PendingInstall,
            "pending-upgrade" => Self::PendingUpgrade,
            "pending-rollback" => Self::PendingRollback,
            "uninstalling" => Self::Uninstalling,
            "uninstalled" => Self::Uninstalled,
            _ => Self::Unknown,
        }
    }

    /// Whether the release is locked against other helm operations.
    pub fn is_pending(self) -> bool {
        match self {
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback => true,
            Self::Deployed
            | Self::Superseded
            | Self::Failed
            | Self::Uninstalling
            | Self::Uninstalled
            | Self::Unknown => false,
        }
    }

    /// helm's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
            Self::Uninstalling => "uninstalling",
            Self::Uninstalled => "uninstalled",
            Self::Unknown => "unknown",
        }
    }
}

/// One revision of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its number, from 1.
    pub revision: u32,
    /// Its state.
    pub status: ReleaseStatus,
    /// Chart and version, `daskhub-2022.8.2`.
    pub chart: String,
    /// The version of what the chart installs.
    pub app_version: String,
    /// helm's description, such as `Install complete` or the failure.
    pub description: String,
}

/// What helm has. Its values hold secrets, so it shows nothing of them.
pub struct LiveValues {
    /// The revision.
    pub release: Release,
    /// The values that were given to it.
    pub tree: Value,
}

impl std::fmt::Debug for LiveValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveValues")
            .field("release", &self.release)
            .finish_non_exhaustive()
    }
}

impl Release {
    /// The version in `daskhub-2022.8.2`, for the chart `daskhub`.
    pub fn version_of(&self, chart: &str) -> Option<&str> {
        self.chart.strip_prefix(chart)?.strip_prefix('-')
    }
}

/// What [`Helm::recover`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The release was not locked.
    NotNeeded,
    /// The first install was unfinished: it was removed.
    Uninstalled,
    /// Back to this revision.
    RolledBack {
        /// The revision that runs again.
        to: u32,
    },
}

#[derive(Deserialize)]
struct Row {
    // A number in `history`, a string in `list`.
    revision: Value,
    #[serde(default)]
    status: String,
    #[serde(default)]
    chart: String,
    #[serde(default)]
    app_version: String,
    #[serde(default)]
    description: String,
}

/// Reads the JSON rows of `helm history` and `helm list`.
fn read_rows(what: &'static str, text: &str) -> Result<Vec<Release>, HelmError> {
    let rows: Vec<Row> =
        serde_json::from_str(text).map_err(|source| HelmError::Unreadable { what, source })?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let revision = match row.revision.as_str() {
                Some(text) => text.parse().ok()?,
                None => u32::try_from(row.revision.as_u64()?).ok()?,
            };
            Some(Release {
                revision,
                status: ReleaseStatus::read(&row.status),
                chart: row.chart,
                app_version: row.app_version,
                description: row.description,
            })
        })
        .collect())
}

impl Helm<'_> {
    /// The newest revision, whatever its state; `None` before the first install.
    ///
    /// # Errors
    /// When the front end or its API server does not answer.
    pub async fn release(&self) -> Result<Option<Release>, HelmError> {
        // Without `-a` helm hides pending and failed releases.
        let filter = format!("^{}$", self.settings.release);
        let text = self
            .ask(&["list", "-a", "-o", "json", "--filter", &filter])
            .await?;
        Ok(read_rows("`helm list`", &text)?.pop())
    }

    /// All revisions that helm keeps, oldest first; empty before the first install.
    ///
    /// # Errors
    /// When the front end or its API server does not answer.
    pub async fn history(&self) -> Result<Vec<Release>, HelmError> {
        match self
            .ask(&["history", &self.settings.release, "-o", "json"])
            .await
        {
            Ok(text) => read_rows("`helm history`", &text),
            Err(HelmError::Failed { text, .. }) if text.contains("release: not found") => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// The values that were given to the newest revision, **with secrets**, and that revision;
    /// `None` before the first install.
    ///
    /// # Errors
    /// When the front end or its API server does not answer.
    pub async fn values(&self) -> Result<Option<LiveValues>, HelmError> {
        let Some(release) = self.release().await? else {
            return Ok(None);
        };
        let revision = release.revision.to_string();
        let name = &self.settings.release;
        let words = ["get", "values", name, "-o", "json", "--revision", &revision];
        let text = self.ask(&words).await?;
        let tree = serde_json::from_str(text.trim()).map_err(|source| HelmError::Unreadable {
            what: "`helm get values`",
            source,
        })?;
        Ok(Some(LiveValues { release, tree }))
    }

    /// Brings a release back that a killed helm left `pending-…`: an unfinished first install is
    /// removed, anything else goes back to the last revision that ran.
    ///
    /// # Errors
    /// [`HelmError::StillRunning`] as long as a helm process is left on the front end: it may
    /// still end well.
    pub async fn recover(&self) -> Result<Recovery, HelmError> {
        let history = self.history().await?;
        let Some(newest) = history.last() else {
            return Ok(Recovery::NotNeeded);
        };
        if !newest.status.is_pending() {
            return Ok(Recovery::NotNeeded);
        }
        if self.is_running().await? {
            return Err(HelmError::StillRunning);
        }
        let good = history
            .iter()
            .rev()
            .find(|release| {
                matches!(
                    release.status,
                    ReleaseStatus::Deployed | ReleaseStatus::Superseded
                )
            })
            .map(|release| release.revision);
        match good {
            Some(to) => {
                self.rollback(to).await?;
                Ok(Recovery::RolledBack { to })
            }
            None => {
                self.uninstall().await?;
                Ok(Recovery::Uninstalled)
            }
        }
    }

    /// Goes back to a revision. Returns without waiting for its pods.
    ///
    /// # Errors
    /// When helm refuses.
    pub async fn rollback(&self, to: u32) -> Result<(), HelmError> {
        let revision = to.to_string();
        self.ask(&["rollback", &self.settings.release, &revision])
            .await
            .map(drop)
    }

    /// Removes the release; none is fine. User volumes stay, since the chart does not own them.
    ///
    /// # Errors
    /// When helm refuses.
    pub async fn uninstall(&self) -> Result<(), HelmError> {
        match self.ask(&["uninstall", &self.settings.release]).await {
            Ok(_) => Ok(()),
            Err(HelmError::Failed { text, .. }) if text.contains("not found") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the release exists in a state that counts as installed.
    ///
    /// # Errors
    /// When the front end or its API server does not answer.
    pub async fn is_deployed(&self) -> Result<bool, HelmError> {
        Ok(self
            .release()
            .await?
            .is_some_and(|release| release.status == ReleaseStatus::Deployed))
    }
}

impl HelmError {
    /// Which failure of helm it is, if helm said why.
    pub fn failure(&self) -> Option<HelmFailure> {
        match self {
            Self::Failed { failure, .. } => Some(*failure),
            Self::Frontend(_)
            | Self::Unreadable { .. }
            | Self::StillRunning
            | Self::BadSetting { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_as_number_and_as_text() {
        let history = r#"[{"revision":1,"updated":"2026-03-01T10:00:00Z","status":"superseded","chart":"daskhub-2022.8.2","app_version":"jh1.2.0-dg2022.6.1","description":"Install complete"},
            {"revision":2,"status":"pending-upgrade","chart":"daskhub-2024.1.1","app_version":"x","description":"Preparing upgrade"}]"#;
        let rows = read_rows("history", history).unwrap();
        assert_eq!(rows[1].revision, 2);
        assert!(rows[1].status.is_pending());
        let list = r#"[{"name":"daskhub","namespace":"daskhub","revision":"3","updated":"2026-03-01 10:00:00 +0000 UTC","status":"deployed","chart":"daskhub-2022.8.2","app_version":"x"}]"#;
        let rows = read_rows("list", list).unwrap();
        assert_eq!(
            (rows[0].revision, rows[0].status),
            (3, ReleaseStatus::Deployed)
        );
    }
}
