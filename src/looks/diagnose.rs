//! `diagnose`: one look at all that has to do with growing, and what each cause makes of it.
//!
//! All systems are asked at the same time; what does not answer within [`LIMIT`] is said to be
//! unknown. The verdicts are those of [`crate::domain::diagnosis`].

use std::time::Duration;

use chrono::TimeDelta;

use super::logs::{Stopped, with_causes};
use super::{LookError, Looks, seen};
use crate::domain::clues::status::StatusError;
use crate::domain::cluster::Cluster;
use crate::domain::deploy::DeployOptions;
use crate::domain::diagnosis::{
    Amount, Cause, Look, Seen, SeenClues, SeenKubernetes, SeenQuota, SeenToken, Verdict,
    WaitingPod, judge_all,
};
use crate::services::checkin::read_expiry;
use crate::services::clues::{Clues, CluesError};
use crate::services::ec3::{AUTH_FILE, Ec3};
use crate::services::frontend::Frontend;
use crate::services::kubernetes::{Kubernetes, PodWarning};

/// How long each system may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Why a cluster does, or does not, grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// How many pods find no node; `None` if that is not known.
    pub demand: Option<usize>,
    /// The command that is at work on it, or stopped.
    pub at_work: Option<String>,
    /// Each cause with its verdict.
    pub verdicts: Vec<(Cause, Verdict)>,
}

impl Looks {
    /// Looks for causes why a cluster does not grow; `None` if there is none of this name.
    ///
    /// # Errors
    /// When the database fails; what does not answer is part of the answer.
    pub async fn diagnose(&self, name: &str) -> Result<Option<Diagnosis>, LookError> {
        let Some(cluster) = self.store.cluster_by_name(name).await? else {
            return Ok(None);
        };
        let kubernetes = within(Box::pin(self.seen_kubernetes(&cluster)));
        let seen = Box::pin(self.see(&cluster, kubernetes)).await?;
        let open = self.store.open_operations(name).await?;
        Ok(Some(Diagnosis {
            at_work: open.into_iter().next().map(|operation| operation.command),
            demand: seen.kubernetes.seen().map(|seen| seen.demand().count()),
            verdicts: judge_all(&seen),
        }))
    }

    /// One look at everything that has to do with growing; `kubernetes` looks at that.
    ///
    /// # Errors
    /// When the database fails; what does not answer is part of what was seen.
    pub async fn see(
        &self,
        cluster: &Cluster,
        kubernetes: impl Future<Output = Result<Look<SeenKubernetes>, LookError>>,
    ) -> Result<Seen, LookError> {
        let (kubernetes, clues, token, vms, quotas) = tokio::join!(
            kubernetes,
            within(self.seen_clues(cluster)),
            within(self.seen_token(cluster)),
            within(self.seen_vms(cluster)),
            within(self.seen_quotas(cluster)),
        );
        let options: Option<DeployOptions> = serde_json::from_value(cluster.options.clone()).ok();
        Ok(Seen {
            now: self.store.clock().now(),
            kubernetes: kubernetes?,
            clues: clues?,
            token: token?,
            vms: vms?,
            quotas: quotas?,
            flavour: options.map(|options| Amount {
                cpu_milli: u64::from(options.worker.cpus) * 1000,
                memory: options.worker.memory.bytes(),
            }),
        })
    }

    async fn seen_kubernetes(&self, cluster: &Cluster) -> Result<SeenKubernetes, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let kubernetes = Kubernetes::connect(frontend).await?;
        let (nodes, pods, warnings) = tokio::try_join!(
            kubernetes.nodes(),
            kubernetes.pods(None),
            kubernetes.pod_warnings()
        )?;
        let mut waiting: Vec<WaitingPod> = pods.iter().filter_map(seen::waiting).collect();
        let warnings: Vec<&PodWarning> = warnings.iter().collect();
        seen::warn(&mut waiting, &warnings);
        Ok(SeenKubernetes {
            waiting,
            nodes: nodes.iter().map(seen::node).collect(),
        })
    }

    async fn seen_clues(&self, cluster: &Cluster) -> Result<SeenClues, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let status = async {
            match Clues::on(frontend.clone()).status().await {
                Ok(rows) => Ok(Some(rows)),
                Err(CluesError::Status(StatusError::NotRunning)) => Ok(None),
                Err(error) => Err(Stopped::from(error)),
            }
        };
        let (rows, (recent, quiet_s)) =
            tokio::try_join!(status, self.recent_clues_lines(cluster, &frontend))?;
        Ok(SeenClues {
            stopped: rows.is_none(),
            nodes: rows.into_iter().flatten().map(Into::into).collect(),
            recent,
            quiet_s,
        })
    }

    /// For how long nobody wrote to a file, in seconds by the front end's own clock; `None` if it
    /// is missing.
    async fn quiet_since(&self, frontend: &Frontend, path: &str) -> Result<Option<i64>, Stopped> {
        // A missing file makes the status 1 and prints nothing.
        let stat = ["sudo", "stat", "-L", "-c", "%Y", "--", path];
        let written = frontend.run(&stat).await?.text();
        let now = frontend.run_ok(&["date", "+%s"], &[]).await?.text();
        let number = |text: &str| text.trim().parse::<i64>().ok();
        Ok(match (number(&written), number(&now)) {
            (Some(at), Some(now)) => Some((now - at).max(0)),
            (None, _) | (_, None) => None,
        })
    }

    async fn seen_token(&self, cluster: &Cluster) -> Result<SeenToken, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let (ec3, now) = (Ec3::of(&frontend), self.store.clock().now());
        let token = ec3.auth().await?.token();
        self.vault.redactor().learn(&token);
        let age = self.quiet_since(&frontend, AUTH_FILE).await?;
        let refreshed_at = ec3.refreshed_at(now).await?;
        let refresh = match refreshed_at {
            Some(_at) => ec3.refresh_token().await?,
            None => None,
        };
        if let Some(token) = &refresh {
            self.vault.redactor().learn(token);
        }
        Ok(SeenToken {
            ends_at: read_expiry(&token),
            written_at: age.map(|age| now - TimeDelta::seconds(age)),
            refreshed_at,
            refresh_ends_at: refresh.as_ref().and_then(read_expiry),
        })
    }

    async fn seen_vms(&self, cluster: &Cluster) -> Result<Vec<(u32, String)>, Stopped> {
        let Some(id) = &cluster.infrastructure else {
            return Err(in_the_way("it has no infrastructure"));
        };
        let state = self.services.im.state(id).await;
        let state = state.map_err(|error| in_the_way(&with_causes(&error)))?;
        Ok(state
            .vm_states
            .into_iter()
            .map(|(number, state)| (number, state.as_str().to_owned()))
            .collect())
    }

    /// The quotas of the cloud of a cluster.
    ///
    /// # Errors
    /// When the database fails; a cloud that does not answer is part of what was seen.
    pub async fn quotas(&self, cluster: &Cluster) -> Result<Look<Vec<SeenQuota>>, LookError> {
        within(self.seen_quotas(cluster)).await
    }

    async fn seen_quotas(&self, cluster: &Cluster) -> Result<Vec<SeenQuota>, Stopped> {
        let options: Option<DeployOptions> = serde_json::from_value(cluster.options.clone()).ok();
        let settings = &self.services.settings;
        let name = options.and_then(|options| settings.credential_for(&options));
        let Some(name) = name else {
            return Err(in_the_way("its cloud is not known"));
        };
        let quotas = self.services.im.quotas(&name).await;
        let quotas = quotas.map_err(|error| in_the_way(&with_causes(&error)))?;
        let named = [
            ("cores", quotas.cores),
            ("ram", quotas.ram),
            ("instances", quotas.instances),
        ];
        Ok(named
            .into_iter()
            .filter_map(|(name, quota)| {
                quota.map(|quota| SeenQuota {
                    name: name.to_owned(),
                    used: quota.used,
                    limit: quota.limit,
                })
            })
            .collect())
    }
}

fn in_the_way(text: &str) -> Stopped {
    Stopped::InTheWay(text.to_owned(), String::new())
}

/// What was seen within the limit; only the bot's own database is an error.
pub(super) async fn within<T>(
    look: impl Future<Output = Result<T, Stopped>>,
) -> Result<Look<T>, LookError> {
    match tokio::time::timeout(LIMIT, look).await {
        Ok(Ok(seen)) => Ok(Look::At(seen)),
        Ok(Err(Stopped::InTheWay(why, _))) => Ok(Look::Failed(why)),
        Ok(Err(Stopped::Look(error))) => Err(error),
        Err(_elapsed) => Ok(Look::Failed(format!(
            "no answer within {} s",
            LIMIT.as_secs()
        ))),
    }
}
