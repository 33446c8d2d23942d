//! What helm's error texts mean.
//!
//! helm ends with status 1 for everything; only the text tells. The texts are those of helm
//! 3.17.3 and 4.1.4, seen with the real chart and real API servers (docs/domain, 2026).

use serde::{Deserialize, Serialize};

/// Why helm failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HelmFailure {
    /// The values do not meet the chart's schema. Nothing was changed.
    ValuesRefused,
    /// Some object was not ready in time. The release is `failed`, the bad objects stay.
    NotReadyInTime,
    /// It failed and was rolled back.
    RolledBack,
    /// The hook that pulls images before the install did not end in time. Repeating goes on.
    HookNotReadyInTime,
    /// Another helm runs, or one was killed and left the release `pending-…`.
    AnotherInProgress,
    /// Somebody else installed the release in the meantime.
    AlreadyExists,
    /// The repository does not answer.
    RepositoryUnreachable,
    /// The repository has no such chart or version.
    ChartNotFound,
    /// A folder holds no chart that helm can use.
    NoChart,
    /// A folder holds another chart than the one that was approved.
    ChartChanged,
    /// The cluster lacks the chart's custom resource definitions.
    CrdsMissing,
    /// The chart wants another Kubernetes version.
    KubernetesVersion,
    /// The API server does not answer helm.
    ClusterUnreachable,
    /// helm was asked to stop.
    Cancelled,
    /// The front end's disk is full.
    DiskFull,
    /// The front end has no helm.
    NoHelm,
    /// None of the known texts.
    Other,
}

/// Texts and what they mean; the first that occurs decides.
const TEXTS: [(&str, HelmFailure); 34] = [
    ("No space left on device", HelmFailure::DiskFull),
    ("no space left on device", HelmFailure::DiskFull),
    ("helm: command not found", HelmFailure::NoHelm),
    ("helm: not found", HelmFailure::NoHelm),
    (
        "values don't meet the specifications of the schema",
        HelmFailure::ValuesRefused,
    ),
    // From here to the next mark our own script says it (`chart.sh`), or helm of a folder.
    (
        "the folder of the chart was changed meanwhile",
        HelmFailure::ChartChanged,
    ),
    ("the folder is no chart", HelmFailure::NoChart),
    ("Chart.yaml file is missing", HelmFailure::NoChart),
    ("checking for chart dependencies", HelmFailure::NoChart),
    ("no repository definition for", HelmFailure::NoChart),
    // What helm says of releases and repositories.
    (
        "another operation (install/upgrade/rollback) is in progress",
        HelmFailure::AnotherInProgress,
    ),
    (
        "rolled back due to atomic being set",
        HelmFailure::RolledBack,
    ),
    (
        "rolled back due to rollback-on-failure",
        HelmFailure::RolledBack,
    ),
    ("release: already exists", HelmFailure::AlreadyExists),
    (
        "cannot re-use a name that is still in use",
        HelmFailure::AlreadyExists,
    ),
    // Kubernetes' own kinds can only be missing from another version of it.
    ("in version \"policy/", HelmFailure::KubernetesVersion),
    ("in version \"batch/", HelmFailure::KubernetesVersion),
    ("in version \"autoscaling/", HelmFailure::KubernetesVersion),
    (
        "in version \"networking.k8s.io/",
        HelmFailure::KubernetesVersion,
    ),
    ("ensure CRDs are installed first", HelmFailure::CrdsMissing),
    (
        "resource mapping not found for name",
        HelmFailure::CrdsMissing,
    ),
    ("chart requires kubeVersion", HelmFailure::KubernetesVersion),
    (
        "is not a valid chart repository or cannot be reached",
        HelmFailure::RepositoryUnreachable,
    ),
    ("no cached repo found", HelmFailure::RepositoryUnreachable),
    ("not found in https://", HelmFailure::ChartNotFound),
    ("not found in http://", HelmFailure::ChartNotFound),
    ("chart \"daskhub\" matching", HelmFailure::ChartNotFound),
    (
        "Kubernetes cluster unreachable",
        HelmFailure::ClusterUnreachable,
    ),
    ("has been cancelled", HelmFailure::Cancelled),
    ("context canceled", HelmFailure::Cancelled),
    ("failed pre-install", HelmFailure::HookNotReadyInTime),
    ("pre-upgrade hooks failed", HelmFailure::HookNotReadyInTime),
    ("context deadline exceeded", HelmFailure::NotReadyInTime),
    (
        "timed out waiting for the condition",
        HelmFailure::NotReadyInTime,
    ),
];

impl HelmFailure {
    /// Tells by helm's error text what happened.
    pub fn read(text: &str) -> Self {
        let known = TEXTS.iter().find(|(words, _)| text.contains(words));
        match known {
            Some((_, failure)) => *failure,
            // helm 4: `resource Deployment/daskhub/proxy not ready. status: InProgress, …`
            None if text.contains("resource ") && text.contains("not ready") => {
                Self::NotReadyInTime
            }
            None if text.contains("path \"") && text.contains("\" not found") => Self::NoChart,
            None if text.contains("no matches for kind") => Self::CrdsMissing,
            None if text.contains("chart \"") && text.contains("\" not found") => {
                Self::ChartNotFound
            }
            None => Self::Other,
        }
    }

    /// Whether running the same again may succeed without anybody doing something.
    pub fn is_transient(self) -> bool {
        match self {
            Self::RepositoryUnreachable
            | Self::ClusterUnreachable
            | Self::HookNotReadyInTime
            | Self::AnotherInProgress => true,
            Self::ValuesRefused
            | Self::NotReadyInTime
            | Self::RolledBack
            | Self::AlreadyExists
            | Self::ChartNotFound
            | Self::NoChart
            | Self::ChartChanged
            | Self::CrdsMissing
            | Self::KubernetesVersion
            | Self::Cancelled
            | Self::DiskFull
            | Self::NoHelm
            | Self::Other => false,
        }
    }

    /// What it is, in words for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::ValuesRefused => "the chart's schema refuses the values; nothing was changed",
            Self::NotReadyInTime => "a part of DaskHub was not ready in time",
            Self::RolledBack => "the new revision failed and helm rolled it back",
            Self::HookNotReadyInTime => "the images were not pulled to the nodes in time",
            Self::AnotherInProgress => "the release is locked by another helm operation",
            Self::AlreadyExists => "the release was installed by somebody else in the meantime",
            Self::RepositoryUnreachable => "the chart repository can't be reached",
            Self::ChartNotFound => "the chart repository has no such chart version",
            Self::NoChart => "the folder holds no chart that helm can use",
            Self::ChartChanged => "the folder holds another chart than the one that was approved",
            Self::CrdsMissing => "the cluster lacks the chart's custom resource definitions",
            Self::KubernetesVersion => "the chart does not support this Kubernetes version",
            Self::ClusterUnreachable => "helm can't reach the Kubernetes API",
            Self::Cancelled => "helm was asked to stop",
            Self::DiskFull => "the disk of the front end is full",
            Self::NoHelm => "the front end has no helm",
            Self::Other => "for a reason that is not known to the bot",
        }
    }

    /// What to do next, one sentence.
    pub fn hint(self) -> &'static str {
        match self {
            Self::ValuesRefused => {
                "undo, then run the command again with what the text names corrected"
            }
            Self::NotReadyInTime => {
                "look at the pods of the namespace `daskhub`: an image that can't be pulled, \
                 a volume that stays pending, or no node with room are the usual causes; \
                 mend it, then retry"
            }
            Self::RolledBack => {
                "look at the log for the part that was not ready, mend it, then retry"
            }
            Self::HookNotReadyInTime => "retry: the images pulled so far are kept",
            Self::AnotherInProgress => "wait for the other operation, or retry to recover the lock",
            Self::AlreadyExists => {
                "ask who else works on this cluster; then retry, which upgrades what is there"
            }
            Self::RepositoryUnreachable => "check the network of the front end, then retry",
            Self::ChartNotFound => {
                "undo, then run the command again with a chart version that the repository has"
            }
            Self::NoChart => {
                "see that the folder, its Chart.yaml and the sub-charts that it names are there, \
                 then try again"
            }
            Self::ChartChanged => "leave this operation and run the command again for a new plan",
            Self::CrdsMissing => "retry, which first applies the definitions of this chart version",
            Self::KubernetesVersion => {
                "undo, then run the command again with a chart version that fits this version of Kubernetes"
            }
            Self::ClusterUnreachable => {
                "check that the API server runs on the front end, then retry"
            }
            Self::Cancelled => "retry, or leave the release as it is",
            Self::DiskFull => "free space on the front end, then retry",
            Self::NoHelm => {
                "reconfigure the infrastructure in IM's dashboard, then retry: it did not end well"
            }
            Self::Other => "look at the end of the log, mend what it names, then retry",
        }
    }
}

/// The lines of an output that say why helm failed: from the first `Error:` on, at most 2,000
/// characters, since manifests before it contain secrets.
pub(crate) fn error_lines(text: &str) -> String {
    let from = text
        .find("Error: ")
        .or_else(|| text.find("UPGRADE FAILED"))
        .or_else(|| text.find("INSTALLATION FAILED"));
    let lines = from.and_then(|from| text.get(from..)).unwrap_or_default();
    lines.trim_end().chars().take(2000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_helm_3_and_4_is_told_apart() {
        for (text, failure) in [
            (
                "Error: UPGRADE FAILED: values don't meet the specifications of the schema(s) in the following chart(s):\njupyterhub:\n- hub: Additional property x is not allowed",
                HelmFailure::ValuesRefused,
            ),
            (
                "Error: UPGRADE FAILED: context deadline exceeded",
                HelmFailure::NotReadyInTime,
            ),
            (
                "Error: UPGRADE FAILED: resource Deployment/daskhub/proxy not ready. status: InProgress, message: Available: 0/1\ncontext deadline exceeded",
                HelmFailure::NotReadyInTime,
            ),
            (
                "Error: UPGRADE FAILED: release daskhub failed, and has been rolled back due to atomic being set: context deadline exceeded",
                HelmFailure::RolledBack,
            ),
            (
                "Error: UPGRADE FAILED: release daskhub failed, and has been rolled back due to rollback-on-failure being set: resource Deployment/daskhub/hub not ready",
                HelmFailure::RolledBack,
            ),
            (
                "Error: failed pre-install: 1 error occurred:\n\t* timed out waiting for the condition\n",
                HelmFailure::HookNotReadyInTime,
            ),
            (
                "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
                HelmFailure::AnotherInProgress,
            ),
            ("Error: release: already exists", HelmFailure::AlreadyExists),
            (
                "Error: looks like \"https://helm.dask.org\" is not a valid chart repository or cannot be reached: Get …",
                HelmFailure::RepositoryUnreachable,
            ),
            (
                "Error: chart \"daskhub\" version \"9.9.9\" not found in https://helm.dask.org repository",
                HelmFailure::ChartNotFound,
            ),
            (
                "Error: UPGRADE FAILED: unable to build kubernetes objects from current release manifest: resource mapping not found for name: \"x\" namespace: \"\" from \"\": no matches for kind \"IngressRoute\" in version \"traefik.io/v1alpha1\"\nensure CRDs are installed first",
                HelmFailure::CrdsMissing,
            ),
            (
                "Error: unable to build kubernetes objects from current release manifest: resource mapping not found for name: \"user-scheduler\" namespace: \"daskhub\" from \"\": no matches for kind \"PodDisruptionBudget\" in version \"policy/v1\"\nensure CRDs are installed first",
                HelmFailure::KubernetesVersion,
            ),
            (
                "Error: UPGRADE FAILED: chart requires kubeVersion: >=1.25.0-0 which is incompatible with Kubernetes v1.20.2",
                HelmFailure::KubernetesVersion,
            ),
            (
                "Error: Kubernetes cluster unreachable: Get \"https://10.0.0.5:6443/version\": dial tcp: connect: connection refused",
                HelmFailure::ClusterUnreachable,
            ),
            ("sh: 1: helm: not found", HelmFailure::NoHelm),
            ("Error: path \"/opt/x\" not found", HelmFailure::NoChart),
            ("Error: Chart.yaml file is missing", HelmFailure::NoChart),
            (
                "Error: An error occurred while checking for chart dependencies. You may need to run `helm dependency build` to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: jupyterhub",
                HelmFailure::NoChart,
            ),
            (
                "Error: the folder of the chart was changed meanwhile",
                HelmFailure::ChartChanged,
            ),
            ("Error: something new", HelmFailure::Other),
        ] {
            assert_eq!(HelmFailure::read(text), failure, "{text}");
        }
    }

    #[test]
    fn manifests_before_the_error_are_not_shown() {
        let text = "secretToken: c0ffee\nError: UPGRADE FAILED: context deadline exceeded\n";
        assert_eq!(
            error_lines(text),
            "Error: UPGRADE FAILED: context deadline exceeded"
        );
        assert_eq!(error_lines("secretToken: c0ffee\n"), "");
    }
}
