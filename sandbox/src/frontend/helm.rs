//! What the pretend `helm` does: releases and revisions as the real one keeps and prints them.
//!
//! Texts and states follow helm 3.17; docs/domain says where they were seen. Questions about the
//! release are in `helm_ask.rs`.

use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Shared;
use super::arguments::Arguments;
use super::chart;
use super::protocol::{Call, Caller, Waited};
use super::state::{Cluster, Revision, Workload};

/// What goes wrong with the next `helm upgrade`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HelmFault {
    /// A deployment does not become ready in time.
    NotReady,
    /// It fails and is rolled back.
    RolledBack,
    /// The hook that pulls images does not end in time.
    HookNotReady,
    /// The repository does not answer; also hits dry runs and fetching the chart.
    RepositoryUnreachable,
    /// The API server does not answer helm; also hits dry runs.
    ClusterUnreachable,
    /// Somebody else installs at the same moment.
    AlreadyExists,
    /// It runs until it is killed.
    Hang,
    /// It takes this much longer.
    Slow(Duration),
}

/// One run of helm.
pub(super) struct Helm<'a> {
    pub(super) shared: &'a Shared,
    pub(super) infrastructure: &'a str,
    pub(super) caller: &'a mut Caller,
}

impl Helm<'_> {
    /// Runs a command line; the result is the exit status.
    pub(super) async fn run(&mut self, call: &Call) -> u8 {
        let args = match Arguments::parse(&call.args) {
            Ok(args) => args,
            Err(text) => return self.fail(&text).await,
        };
        if args.word(0) == "version" {
            let short = "v3.17.3+ge4da497\n";
            self.caller.out(short).await;
            return 0;
        }
        let configured = self.look(|cluster| cluster.configured);
        if !configured
            && !matches!(
                args.word(0),
                "pull" | "show" | "dependency" | "repo" | "env"
            )
        {
            let text = "Error: Kubernetes cluster unreachable: Get \"https://localhost:6443/version\": dial tcp 127.0.0.1:6443: connect: connection refused\n";
            return self.fail(text).await;
        }
        match args.word(0) {
            "upgrade" => self.upgrade(&args, call).await,
            "dependency" => self.dependency(&args, call).await,
            "env" => self.environment(&args, call).await,
            "repo" => self.repository(&args, call).await,
            "rollback" => self.rollback(&args).await,
            "uninstall" => self.uninstall(&args).await,
            other => self.ask(other, &args, call).await,
        }
    }

    /// Looks at the cluster.
    pub(super) fn look<R: Default>(&self, look: impl FnOnce(&Cluster) -> R) -> R {
        self.shared
            .look(self.infrastructure, look)
            .unwrap_or_default()
    }

    fn change<R: Default>(&self, change: impl FnOnce(&mut Cluster) -> R) -> R {
        self.shared
            .change(self.infrastructure, change)
            .unwrap_or_default()
    }

    pub(super) async fn fail(&mut self, text: &str) -> u8 {
        self.caller.err(text).await;
        1
    }

    async fn upgrade(&mut self, args: &Arguments, call: &Call) -> u8 {
        let release_is_new = self.look(|cluster| cluster.releases.is_empty());
        if release_is_new && !args.has("install") {
            return self
                .fail("Error: UPGRADE FAILED: \"daskhub\" has no deployed releases\n")
                .await;
        }
        if args.get("namespace") != Some("daskhub") || args.word(1) != "daskhub" {
            let text =
                "Error: this simulation knows the release daskhub in the namespace daskhub only\n";
            return self.fail(text).await;
        }
        let prepared = match self.prepare(args, call, release_is_new) {
            Ok(prepared) => prepared,
            Err(text) => return self.fail(&text).await,
        };
        if args.has("dry-run") {
            let manifest = format!(
                "NAME: daskhub\nLAST DEPLOYED: {}\nNAMESPACE: daskhub\nSTATUS: pending-upgrade\nHOOKS:\nMANIFEST:\n---\n# Source: daskhub/charts/jupyterhub/templates/hub/secret.yaml\nkind: Secret\napiVersion: v1\nstringData:\n  values.yaml: |\n{}\n",
                Utc::now().format("%a %b %e %T %Y"),
                prepared.values
            );
            self.caller.out(manifest).await;
            return 0;
        }
        self.install(prepared, release_is_new).await
    }

    /// All that helm checks before it writes a revision.
    fn prepare(
        &self,
        args: &Arguments,
        call: &Call,
        release_is_new: bool,
    ) -> Result<Prepared, String> {
        let failed = failed(release_is_new);
        let found = self.find_chart(args, call)?;
        found.is_complete()?;
        let version = found.version.as_str();
        if self.shared.take_fault(&HelmFault::ClusterUnreachable) {
            return Err("Error: Kubernetes cluster unreachable: Get \"https://localhost:6443/version\": dial tcp: i/o timeout\n".to_owned());
        }
        let file = args.get("values").unwrap_or_default();
        let Some(text) = call.files.get(file) else {
            return Err(format!("Error: open {file}: no such file or directory\n"));
        };
        let values: Value = serde_saphyr::from_str(text).map_err(|_error| {
            format!("Error: failed to parse {file}: error converting YAML to JSON: yaml: mapping values are not allowed in this context\n")
        })?;
        if let Some(problem) = chart::judge(&values) {
            return Err(format!("{failed}{problem}\n"));
        }
        let (minor, crds, pending) = self.look(|cluster| {
            let pending = cluster
                .newest()
                .is_some_and(|r| r.status.starts_with("pending-"));
            (cluster.kubernetes_minor(), cluster.crds.clone(), pending)
        });
        let no_match = |name: &str, kind: &str, group: &str| {
            format!(
                "{failed}unable to build kubernetes objects from {} release manifest: resource mapping not found for name: \"{name}\" namespace: \"daskhub\" from \"\": no matches for kind \"{kind}\" in version \"{group}\"\nensure CRDs are installed first\n",
                if release_is_new { "current" } else { "new" }
            )
        };
        if version.starts_with("2024") && minor < 25 {
            return Err(no_match(
                "user-scheduler",
                "PodDisruptionBudget",
                "policy/v1",
            ));
        }
        let group = chart::traefik_group(version);
        let known = crds
            .as_deref()
            .is_some_and(|have| chart::traefik_group(have) == group);
        if !release_is_new && !known {
            return Err(no_match(
                "traefik-daskhub-dask-gateway",
                "IngressRoute",
                &format!("{group}/v1alpha1"),
            ));
        }
        if pending {
            return Err(format!(
                "{failed}another operation (install/upgrade/rollback) is in progress\n"
            ));
        }
        Ok(Prepared {
            chart: found.name,
            version: found.version,
            values: text.clone(),
        })
    }

    /// Writes the revision, works, and writes how it ended.
    async fn install(&mut self, prepared: Prepared, is_new: bool) -> u8 {
        let fault = self.shared.next_fault();
        if fault == Some(HelmFault::AlreadyExists) {
            return self.fail("Error: release: already exists\n").await;
        }
        let status = if is_new {
            "pending-install"
        } else {
            "pending-upgrade"
        };
        let number = self.change(|cluster| begin(cluster, &prepared, status));
        let Some(number) = number else {
            return self.fail("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress\n").await;
        };
        if is_new {
            self.caller
                .out("Release \"daskhub\" does not exist. Installing it now.\n")
                .await;
        }
        let year = Utc::now().format("%m%d %T%.6f");
        self.caller
            .err(format!("W{year}   12345 warnings.go:70] annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead\n"))
            .await;
        let waited = self.caller.wait(self.time_for(fault.as_ref())).await;
        match (waited, fault) {
            // Killed: whatever was written stays as it is.
            (Waited::Gone, _) => 137,
            (Waited::Asked, _) => {
                self.change(|cluster| end_badly(cluster, number, "context canceled"));
                let text = "Release daskhub has been cancelled.\n";
                self.caller.out(text).await;
                self.fail(&format!("{}context canceled\n", failed(is_new)))
                    .await
            }
            (
                Waited::Done,
                Some(
                    fault @ (HelmFault::NotReady | HelmFault::HookNotReady | HelmFault::RolledBack),
                ),
            ) => self.end_in_failure(number, &fault, is_new).await,
            (Waited::Done, _) => {
                self.change(|cluster| end_well(cluster, number, is_new));
                let notes = notes(number, &prepared.version);
                let headline = if is_new {
                    ""
                } else {
                    "Release \"daskhub\" has been upgraded. Happy Helming!\n"
                };
                self.caller.out(format!("{headline}{notes}")).await;
                0
            }
        }
    }

    /// Ends a run as its fault wants.
    async fn end_in_failure(&mut self, number: u32, fault: &HelmFault, is_new: bool) -> u8 {
        const LATE: &str = "context deadline exceeded";
        let failed = failed(is_new);
        let text = match fault {
            HelmFault::HookNotReady => {
                let why = "failed pre-install: 1 error occurred:\n\t* timed out waiting for the condition\n\n";
                self.change(|cluster| end_badly(cluster, number, why.trim_end()));
                format!("Error: {why}\n")
            }
            HelmFault::RolledBack => {
                self.change(|cluster| {
                    end_badly(cluster, number, LATE);
                    roll_back(cluster, None);
                });
                format!(
                    "{failed}release daskhub failed, and has been rolled back due to atomic being set: {LATE}\n"
                )
            }
            HelmFault::NotReady
            | HelmFault::RepositoryUnreachable
            | HelmFault::ClusterUnreachable
            | HelmFault::AlreadyExists
            | HelmFault::Hang
            | HelmFault::Slow(_) => {
                self.change(|cluster| end_badly(cluster, number, LATE));
                format!("{failed}{LATE}\n")
            }
        };
        self.fail(&text).await
    }

    fn time_for(&self, fault: Option<&HelmFault>) -> Duration {
        let usual = self.shared.options.install_time;
        match fault {
            Some(HelmFault::Hang) => Duration::from_secs(24 * 3600),
            Some(HelmFault::Slow(more)) => usual + *more,
            _ => usual,
        }
    }

    async fn rollback(&mut self, args: &Arguments) -> u8 {
        let to = args.word(2).parse::<u32>().ok();
        let outcome = self.change(|cluster| {
            let known = to.is_none_or(|to| cluster.releases.iter().any(|r| r.revision == to));
            if cluster.releases.is_empty() || !known {
                return Some("Error: release: not found\n");
            }
            roll_back(cluster, to);
            None
        });
        if let Some(text) = outcome {
            return self.fail(text).await;
        }
        self.caller
            .out("Rollback was a success! Happy Helming!\n")
            .await;
        0
    }

    async fn uninstall(&mut self, args: &Arguments) -> u8 {
        let name = args.word(1).to_owned();
        let there = self.change(|cluster| {
            let there = name == "daskhub" && !cluster.releases.is_empty();
            if there {
                cluster.releases.clear();
                cluster.workload = Workload::Absent;
            }
            there
        });
        if !there && !args.has("ignore-not-found") {
            let text =
                format!("Error: uninstall: Release not loaded: {name}: release: not found\n");
            return self.fail(&text).await;
        }
        self.caller
            .out(format!("release \"{name}\" uninstalled\n"))
            .await;
        0
    }
}

/// How helm begins an error of an install or an upgrade.
fn failed(is_new: bool) -> &'static str {
    if is_new {
        "Error: "
    } else {
        "Error: UPGRADE FAILED: "
    }
}

/// What an upgrade will install.
struct Prepared {
    chart: String,
    version: String,
    values: String,
}

/// Writes a new pending revision; `None` if another helm was quicker.
fn begin(cluster: &mut Cluster, prepared: &Prepared, status: &str) -> Option<u32> {
    if cluster
        .newest()
        .is_some_and(|r| r.status.starts_with("pending-"))
    {
        return None;
    }
    let number = cluster.newest().map_or(0, |revision| revision.revision) + 1;
    let word = if status == "pending-install" {
        "Initial install underway"
    } else {
        "Preparing upgrade"
    };
    // The first install brings the definitions; an upgrade never touches them.
    if number == 1 && cluster.crds.is_none() {
        cluster.crds = Some(prepared.version.clone());
    }
    cluster.helm_runs += 1;
    cluster.workload = Workload::Starting;
    cluster.releases.push(Revision {
        revision: number,
        status: status.to_owned(),
        chart: prepared.chart.clone(),
        chart_version: prepared.version.clone(),
        description: word.to_owned(),
        updated: Utc::now(),
        values: prepared.values.clone(),
    });
    Some(number)
}

fn end_well(cluster: &mut Cluster, number: u32, is_new: bool) {
    for revision in &mut cluster.releases {
        if revision.status == "deployed" {
            "superseded".clone_into(&mut revision.status);
        }
    }
    if let Some(revision) = cluster.revision_mut(number) {
        "deployed".clone_into(&mut revision.status);
        let word = if is_new {
            "Install complete"
        } else {
            "Upgrade complete"
        };
        word.clone_into(&mut revision.description);
        revision.updated = Utc::now();
        cluster.workload = Workload::Ready;
    }
}

fn end_badly(cluster: &mut Cluster, number: u32, why: &str) {
    if let Some(revision) = cluster.revision_mut(number) {
        "failed".clone_into(&mut revision.status);
        revision.description = match number {
            1 => format!("Release \"daskhub\" failed: {why}"),
            _ => format!("Upgrade \"daskhub\" failed: {why}"),
        };
        revision.updated = Utc::now();
    }
    cluster.workload = Workload::Broken {
        deployment: "hub".to_owned(),
        message: "Deployment does not have minimum availability.".to_owned(),
    };
}

/// Adds a revision that repeats an older one: `to`, or the last good one.
fn roll_back(cluster: &mut Cluster, to: Option<u32>) {
    let good = |revision: &&Revision| matches!(revision.status.as_str(), "deployed" | "superseded");
    let target = match to {
        Some(to) => cluster
            .releases
            .iter()
            .find(|revision| revision.revision == to),
        None => cluster.releases.iter().rev().find(good),
    };
    let Some(target) = target.cloned() else {
        return;
    };
    let number = cluster.newest().map_or(0, |revision| revision.revision) + 1;
    for revision in &mut cluster.releases {
        if revision.status == "deployed" || revision.status.starts_with("pending-") {
            "superseded".clone_into(&mut revision.status);
        }
    }
    cluster.workload = Workload::Ready;
    cluster.releases.push(Revision {
        revision: number,
        status: "deployed".to_owned(),
        description: format!("Rollback to {}", target.revision),
        updated: Utc::now(),
        ..target
    });
}

/// The first revision, installed by hand: it runs at once.
pub(super) fn install_by_hand(
    cluster: &mut Cluster,
    version: &str,
    values: &str,
) -> anyhow::Result<()> {
    let known = chart::VERSIONS.iter().find(|known| **known == version);
    let known = known.with_context(|| format!("there is no chart {version}"))?;
    let prepared = Prepared {
        chart: chart::NAME.to_owned(),
        version: (*known).to_owned(),
        values: values.to_owned(),
    };
    anyhow::ensure!(cluster.releases.is_empty(), "there is a release");
    let number = begin(cluster, &prepared, "pending-install").unwrap_or_default();
    end_well(cluster, number, true);
    Ok(())
}

/// A revision that somebody installed by hand: it runs at once.
pub(super) fn by_hand(cluster: &mut Cluster, values: &str) {
    let Some(newest) = cluster.newest().cloned() else {
        return;
    };
    let number = newest.revision + 1;
    cluster.releases.push(Revision {
        revision: number,
        values: values.to_owned(),
        ..newest
    });
    end_well(cluster, number, false);
}

fn notes(revision: u32, version: &str) -> String {
    format!(
        "NAME: daskhub\nLAST DEPLOYED: {}\nNAMESPACE: daskhub\nSTATUS: deployed\nREVISION: {revision}\nTEST SUITE: None\nNOTES:\nDaskHub {version}\n------------------\n(simulated) You can find the public IP of the ingress controller and the hub behind it by\n\n  kubectl --namespace=daskhub get ingress\n",
        Utc::now().format("%a %b %e %T %Y"),
    )
}
