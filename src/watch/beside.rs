//! What is watched beside the growing: the gateway, pods that start again and again, the disks of
//! the front end, the backup of the hub's database.
//!
//! **Invariant:** each part is told once: pods of a hub or gateway that is down are told with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::sightings::SeenHub;
use crate::domain::alert::{Finding, Sighting};
use crate::domain::cluster::Cluster;
use crate::domain::diagnosis::pods::crashing;
use crate::domain::diagnosis::{Look, Seen, WaitingPod};
use crate::domain::front_end::{BackupRule, Disk, NewestBackup};
use crate::domain::ids::ClusterId;
use crate::looks::{LookError, Looks};
use crate::operations::Services;
use crate::operations::services::address_of;
use crate::services::hub::gateway::Gateway;

/// How long a gateway may take to answer.
const GATEWAY_LIMIT: Duration = Duration::from_secs(20);

/// The backup is looked at once in so many full looks: it may be a folder with many files.
const BACKUP_IN_FULL_LOOKS: u32 = 3;

/// A disk that was told as full is so until it has so many percent more room: it would come and go
/// otherwise.
const STAYS_FULL: u64 = 3;

/// How many pods are named.
const NAMED: usize = 6;

/// What a gateway said.
pub type SeenGateway = Result<Gateway, String>;

/// What of a front end is watched, and what is still well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BesideRules {
    /// The folders whose file systems are watched.
    pub disks: Vec<String>,
    /// From how many percent on a file system is nearly full.
    pub disk_percent: u64,
    /// The backup that every cluster must have.
    pub backup: Option<BackupRule>,
    /// The backups of some clusters, by name; `None` for one that needs none.
    pub backups_of: BTreeMap<String, Option<BackupRule>>,
}

impl BesideRules {
    /// The backup that a cluster must have.
    pub(super) fn backup_of(&self, name: &str) -> Option<&BackupRule> {
        let own = self.backups_of.get(name);
        own.unwrap_or(&self.backup).as_ref()
    }
}

/// One look at all of it.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    /// What the gateway said; `None` if the cluster has no address.
    pub(super) gateway: Option<SeenGateway>,
    /// The file systems; `None` if none is watched.
    pub(super) disks: Option<Look<Vec<Disk>>>,
    /// The newest backup, with what it must be; `None` if none is needed, or it is not time to look
    /// again.
    pub(super) backup: Option<(BackupRule, Look<NewestBackup>)>,
}

impl Beside {
    /// What was not seen, with why.
    pub(super) fn failed(&self) -> [(&'static str, Option<&str>); 2] {
        fn why<T>(look: Option<&Look<T>>) -> Option<&str> {
            match look {
                Some(Look::Failed(why)) => Some(why),
                Some(Look::At(_)) | None => None,
            }
        }
        [
            ("the disks", why(self.disks.as_ref())),
            (
                "the backup",
                why(self.backup.as_ref().map(|(_, look)| look)),
            ),
        ]
    }
}

/// Looks at it.
#[derive(Debug)]
pub(super) struct BesideEyes {
    rules: BesideRules,
    looks: Looks,
    services: Arc<Services>,
    /// The pause between two looks at a backup.
    backup_pause: TimeDelta,
    backups_at: Mutex<BTreeMap<ClusterId, DateTime<Utc>>>,
}

impl BesideEyes {
    /// By these rules; `full` is the pause between two full looks.
    pub(super) fn new(
        rules: BesideRules,
        looks: Looks,
        services: Arc<Services>,
        full: Duration,
    ) -> Self {
        let pause = full * BACKUP_IN_FULL_LOOKS;
        Self {
            rules,
            looks,
            services,
            backup_pause: TimeDelta::from_std(pause).unwrap_or_default(),
            backups_at: Mutex::default(),
        }
    }

    /// One look; `is_backup_told` has the backup looked at each time.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn look(
        &self,
        cluster: &Cluster,
        is_backup_told: bool,
        now: DateTime<Utc>,
    ) -> Result<Beside, LookError> {
        let disks = async {
            if self.rules.disks.is_empty() {
                return Ok(None);
            }
            let disks = self.looks.disks(cluster, &self.rules.disks).await;
            disks.map(Some)
        };
        let backup = async {
            let rule = self.rules.backup_of(cluster.name.as_str());
            let Some(rule) = rule.filter(|_| is_backup_told || self.is_backup_due(cluster, now))
            else {
                return Ok::<_, LookError>(None);
            };
            let newest = self.looks.newest_backup(cluster, &rule.path).await?;
            if newest.seen().is_none() {
                // What could not be seen is looked at again, until it is told as that.
                self.forget(cluster.id);
            }
            Ok(Some((rule.clone(), newest)))
        };
        let (gateway, disks, backup) = tokio::join!(self.gateway(cluster), disks, backup);
        Ok(Beside {
            gateway,
            disks: disks?,
            backup: backup?,
        })
    }

    /// A cluster that is not watched here any more.
    pub(super) fn forget(&self, cluster: ClusterId) {
        let mut times = self
            .backups_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        times.remove(&cluster);
    }

    /// Whether it is time; if so it was looked at now.
    fn is_backup_due(&self, cluster: &Cluster, now: DateTime<Utc>) -> bool {
        let mut times = self
            .backups_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = times.get(&cluster.id);
        let is_due = last.is_none_or(|at| (now - *at).abs() >= self.backup_pause);
        if is_due {
            times.insert(cluster.id, now);
        }
        is_due
    }

    async fn gateway(&self, cluster: &Cluster) -> Option<SeenGateway> {
        let address = address_of(cluster).ok()?;
        let target = self.services.hub_target(cluster, address);
        let check = self.services.hubs.check_gateway(&target);
        Some(match tokio::time::timeout(GATEWAY_LIMIT, check).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {} s", GATEWAY_LIMIT.as_secs())),
        })
    }
}

/// Whose a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The hub, with the proxy before it.
    Hub,
    /// The Dask gateway.
    Gateway,
    /// Something else, or a user.
    Other,
}

impl Part {
    /// The part of a pod, by the names of the daskhub chart.
    fn of(pod: &WaitingPod) -> Self {
        let name = pod.name.as_str();
        if name.contains("-dask-gateway-") {
            Self::Gateway
        } else if name.starts_with("hub-") || name.starts_with("proxy-") {
            Self::Hub
        } else {
            Self::Other
        }
    }
}

/// The pods that start again and again, and whose they are; `None` if Kubernetes was not seen.
fn crashes(seen: &Seen) -> Option<Vec<(Part, String)>> {
    let kubernetes = seen.kubernetes.seen()?;
    let words = |pod: &WaitingPod| {
        let (reason, message) = pod.waiting.clone().unwrap_or_default();
        let times = pod.restarts;
        format!(
            "{}/{}: {reason}, started again {times} times: {message}",
            pod.namespace, pod.name
        )
    };
    Some(
        crashing(kubernetes)
            .map(|pod| (Part::of(pod), words(pod)))
            .collect(),
    )
}

/// The lines of a part's pods that start again and again, to stand below what is said of it.
pub(super) fn crashes_of(seen: &Seen, part: Part) -> Vec<String> {
    let all = crashes(seen).unwrap_or_default().into_iter();
    all.filter(|(of, _)| *of == part)
        .map(|(_, words)| words)
        .take(NAMED)
        .collect()
}

/// Pods start again and again.
pub(super) fn pods(
    seen: &Seen,
    (hub, gateway): (Option<&SeenHub>, Option<&SeenGateway>),
    fires_after: TimeDelta,
) -> Sighting {
    let Some(mut crashes) = crashes(seen) else {
        return Sighting::Unseen;
    };
    let (hub_down, gateway_down) = (
        matches!(hub, Some(Err(_))),
        matches!(gateway, Some(Err(_))) && matches!(hub, Some(Ok(_))),
    );
    crashes.retain(|(part, _)| match part {
        Part::Hub => !hub_down,
        Part::Gateway => !gateway_down,
        Part::Other => true,
    });
    if crashes.is_empty() {
        return Sighting::Gone;
    }
    let count = crashes.len();
    let more = count.saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("and {more} more"));
    let lines = crashes.into_iter().map(|(_, words)| words).take(NAMED);
    found(
        fires_after,
        Finding {
            title: if count == 1 {
                "a pod starts again and again".to_owned()
            } else {
                format!("{count} pods start again and again")
            },
            cause: Some("pods crash".to_owned()),
            text: "each time it ends by itself soon after; no node helps".to_owned(),
            evidence: lines.chain(more).collect(),
            remedy: "`/pangeo logs pod` shows what such a pod says; `/pangeo values history` what was changed last"
                .to_owned(),
            command: None,
            others: Vec::new(),
        },
    )
}

/// The gateway does not answer though the hub does.
pub(super) fn gateway(
    seen: &Seen,
    (hub, gateway): (Option<&SeenHub>, Option<&SeenGateway>),
    fires_after: TimeDelta,
) -> Sighting {
    match (hub, gateway) {
        (Some(Ok(_)), Some(Ok(_))) => Sighting::Gone,
        (Some(Ok(_)), Some(Err(why))) => found(
            fires_after,
            Finding {
                title: "the Dask gateway does not answer as it should".to_owned(),
                cause: Some("gateway down".to_owned()),
                text: "nobody can start or reach a Dask cluster; notebooks go on".to_owned(),
                evidence: vec![why.clone()],
                remedy: "shows what the gateway says".to_owned(),
                command: Some("logs gateway".to_owned()),
                others: crashes_of(seen, Part::Gateway),
            },
        ),
        (Some(Err(_)) | None, _) | (_, None) => Sighting::Unseen,
    }
}

/// A file system is nearly full; `is_told` if it was so before.
pub(super) fn disk(
    disks: Option<&Look<Vec<Disk>>>,
    (limit, is_told): (u64, bool),
    fires_after: TimeDelta,
) -> Sighting {
    let Some(Look::At(disks)) = disks else {
        return Sighting::Unseen;
    };
    let limit = if is_told {
        limit.saturating_sub(STAYS_FULL)
    } else {
        limit
    };
    let mut full: Vec<&Disk> = disks
        .iter()
        .filter(|disk| disk.percent() >= limit)
        .collect();
    full.sort_by_key(|disk| std::cmp::Reverse(disk.percent()));
    let Some(fullest) = full.first() else {
        return Sighting::Gone;
    };
    found(
        fires_after,
        Finding {
            title: format!("{} of the front end is nearly full", fullest.mount),
            cause: Some("disk full".to_owned()),
            text:
                "once it is full, homes, the hub's database, logs or Kubernetes itself can't write"
                    .to_owned(),
            evidence: full.iter().map(|disk| disk.words()).collect(),
            remedy: "shows the largest folders".to_owned(),
            command: Some("run disk-usage".to_owned()),
            others: Vec::new(),
        },
    )
}

/// There is no new backup of the hub's database; `None` if it was not looked at.
pub(super) fn backup(backup: Option<&(BackupRule, Look<NewestBackup>)>) -> Sighting {
    let Some((rule, Look::At(newest))) = backup else {
        return Sighting::Unseen;
    };
    let Some(problem) = newest.problem(rule) else {
        return Sighting::Gone;
    };
    found(
        TimeDelta::zero(),
        Finding {
            title: "there is no new backup of the hub's database".to_owned(),
            cause: Some("backup missing".to_owned()),
            text: "who may log in, and whose servers and tokens there are, would be lost with the volume"
                .to_owned(),
            evidence: vec![problem],
            remedy: "look at whatever writes the backups on the front end, and run it".to_owned(),
            command: None,
            others: Vec::new(),
        },
    )
}

fn found(fires_after: TimeDelta, finding: Finding) -> Sighting {
    Sighting::Found {
        since: None,
        fires_after,
        finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::diagnosis::tests::{kubernetes_of, well};

    const NOW: TimeDelta = TimeDelta::zero();
    const HUB_ANSWERS: SeenHub = Ok(None);

    #[track_caller]
    fn finding(sighting: Sighting) -> Finding {
        match sighting {
            Sighting::Found { finding, .. } => finding,
            Sighting::Gone | Sighting::Unseen => panic!("nothing found: {sighting:?}"),
        }
    }

    fn down() -> Result<Gateway, String> {
        Err("geo answers 503".to_owned())
    }

    fn with_crashes(names: &[&str]) -> Seen {
        let mut seen = well();
        kubernetes_of(&mut seen).waiting = names
            .iter()
            .map(|name| WaitingPod {
                name: (*name).to_owned(),
                namespace: "daskhub".to_owned(),
                restarts: 7,
                waiting: Some((
                    "CrashLoopBackOff".to_owned(),
                    "back-off 5m0s restarting failed container=x".to_owned(),
                )),
                ..WaitingPod::default()
            })
            .collect();
        seen
    }

    #[test]
    fn a_gateway_is_judged_only_while_its_hub_answers() {
        let hub_down: SeenHub = Err("502".to_owned());
        for (hub, answer, expected) in [
            (Some(&HUB_ANSWERS), Some(Ok(Gateway::Answers)), Some(false)),
            (Some(&HUB_ANSWERS), Some(Ok(Gateway::Absent)), Some(false)),
            (Some(&HUB_ANSWERS), Some(down()), Some(true)),
            (Some(&hub_down), Some(down()), None),
            (None, Some(down()), None),
            (Some(&HUB_ANSWERS), None, None),
        ] {
            let sighting = gateway(&well(), (hub, answer.as_ref()), NOW);
            let is_found = match &sighting {
                Sighting::Found { .. } => Some(true),
                Sighting::Gone => Some(false),
                Sighting::Unseen => None,
            };
            assert_eq!(is_found, expected, "{hub:?} {answer:?}");
        }
        let seen = with_crashes(&["api-daskhub-dask-gateway-6d9-0", "hub-6d9-0"]);
        let told = finding(gateway(&seen, (Some(&HUB_ANSWERS), Some(&down())), NOW));
        assert_eq!(told.evidence, ["geo answers 503"]);
        assert_eq!(told.others.len(), 1, "its own pod: {:?}", told.others);
    }

    #[test]
    fn pods_that_crash_are_told_with_the_part_that_is_down_or_alone() {
        let seen = with_crashes(&[
            "api-daskhub-dask-gateway-6d9-0",
            "hub-6d9-0",
            "user-scheduler-6d9-0",
        ]);
        let hub_down: SeenHub = Err("502".to_owned());
        let answers = Ok(Gateway::Answers);
        for (hub, gateway, told) in [
            (&HUB_ANSWERS, &answers, 3),
            (&HUB_ANSWERS, &down(), 2),
            // A hub that is down takes its gateway with it: that one is told by nobody else.
            (&hub_down, &down(), 2),
        ] {
            let finding = finding(pods(&seen, (Some(hub), Some(gateway)), NOW));
            assert_eq!(finding.evidence.len(), told, "{:?}", finding.evidence);
        }
        let alone = with_crashes(&["user-scheduler-6d9-0"]);
        let told = finding(pods(&alone, (None, None), NOW));
        assert_eq!(told.title, "a pod starts again and again");
        assert_eq!(
            told.evidence,
            [
                "daskhub/user-scheduler-6d9-0: CrashLoopBackOff, started again 7 times: \
                 back-off 5m0s restarting failed container=x"
            ]
        );
        assert_eq!(pods(&well(), (None, None), NOW), Sighting::Gone);
        let mut blind = well();
        blind.kubernetes = Look::Failed("no answer".to_owned());
        assert_eq!(pods(&blind, (None, None), NOW), Sighting::Unseen);
    }

    #[test]
    fn a_disk_is_full_from_the_limit_on_and_stays_so_a_little_below() {
        let disk_of = |mount: &str, percent: u64| Disk {
            mount: mount.to_owned(),
            size: 100 << 30,
            used: percent << 30,
            free: (100 - percent) << 30,
            files: None,
        };
        for (percent, is_told, is_full) in [
            (84, false, false),
            (85, false, true),
            (82, true, true),
            (81, true, false),
        ] {
            let disks = Look::At(vec![disk_of("/", 10), disk_of("/pv", percent)]);
            let sighting = disk(Some(&disks), (85, is_told), NOW);
            let is_found = matches!(sighting, Sighting::Found { .. });
            assert_eq!(is_found, is_full, "{percent} {is_told}");
        }
        let both = Look::At(vec![disk_of("/", 90), disk_of("/pv", 99)]);
        let told = finding(disk(Some(&both), (85, false), NOW));
        assert_eq!(told.title, "/pv of the front end is nearly full");
        assert_eq!(
            told.evidence,
            [
                "/pv is 99 % full: 99.0 of 100.0 GiB, 1.0 GiB free",
                "/ is 90 % full: 90.0 of 100.0 GiB, 10.0 GiB free"
            ]
        );
        let failed = Look::Failed("no way".to_owned());
        assert_eq!(disk(Some(&failed), (85, false), NOW), Sighting::Unseen);
        assert_eq!(disk(None, (85, false), NOW), Sighting::Unseen);
    }

    #[test]
    fn a_backup_that_was_not_looked_at_is_neither_there_nor_missing() {
        let rule = BackupRule {
            path: "/backup".to_owned(),
            max_age: TimeDelta::hours(26),
        };
        let with = |look| Some((rule.clone(), look));
        assert_eq!(backup(None), Sighting::Unseen);
        let failed = with(Look::Failed("no way".to_owned()));
        assert_eq!(backup(failed.as_ref()), Sighting::Unseen);
        let fresh = with(Look::At(NewestBackup::Aged(TimeDelta::hours(1))));
        assert_eq!(backup(fresh.as_ref()), Sighting::Gone);
        let gone = with(Look::At(NewestBackup::NoPath));
        let told = finding(backup(gone.as_ref()));
        assert_eq!(told.evidence, ["/backup is not there"]);
    }

    #[test]
    fn the_backup_of_one_cluster_may_be_its_own_or_none() {
        let rule = |path: &str| {
            Some(BackupRule {
                path: path.to_owned(),
                max_age: TimeDelta::hours(26),
            })
        };
        let rules = BesideRules {
            disks: Vec::new(),
            disk_percent: 85,
            backup: rule("/backup"),
            backups_of: [
                ("geo".to_owned(), rule("/srv/geo")),
                ("sea".to_owned(), None),
            ]
            .into(),
        };
        let path = |name: &str| rules.backup_of(name).map(|rule| rule.path.as_str());
        assert_eq!(path("geo"), Some("/srv/geo"));
        assert_eq!(path("sea"), None);
        assert_eq!(path("sky"), Some("/backup"));
    }
}
