//! The section of what is looked at all the time.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::sections::seconds;

/// `[watch]`: what is looked at all the time.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// The pause between two counts of a cluster's nodes and pods.
    #[serde(rename = "sample_s", deserialize_with = "seconds")]
    pub sample: Duration,
    /// The pause between two looks at a cluster.
    #[serde(rename = "look_s", deserialize_with = "seconds")]
    pub look: Duration,
    /// The pause between two full looks at a cluster at which nobody waits.
    #[serde(rename = "full_look_s", deserialize_with = "seconds")]
    pub full_look: Duration,
    /// How long pods may wait while no node is on its way.
    #[serde(rename = "stall_after_s", deserialize_with = "seconds")]
    pub stall_after: Duration,
    /// How long a cause may last while nobody waits.
    #[serde(rename = "latent_after_s", deserialize_with = "seconds")]
    pub latent_after: Duration,
    /// How long a node may take from the request until pods run on it.
    #[serde(rename = "boot_s", deserialize_with = "seconds")]
    pub boot: Duration,
    /// How long a hub or a system may be silent.
    #[serde(rename = "blind_after_s", deserialize_with = "seconds")]
    pub blind_after: Duration,
    /// How long a stopped operation may wait for a person.
    #[serde(rename = "waits_after_s", deserialize_with = "seconds")]
    pub waits_after: Duration,
    /// How long something must be gone until its alert is over.
    #[serde(rename = "resolve_after_s", deserialize_with = "seconds")]
    pub resolve_after: Duration,
    /// How long nobody may see to an alert until others are called.
    #[serde(rename = "escalate_after_s", deserialize_with = "seconds")]
    pub escalate_after: Duration,
    /// The pause until they are called once more.
    #[serde(rename = "again_after_s", deserialize_with = "seconds")]
    pub again_after: Duration,
    /// When the digest is told each day; never if empty.
    pub digest_at: String,
    /// After how many days without a user's server a cluster is named in it; 0 is never.
    pub idle_days: u16,
    /// What is asked while all is looked at.
    #[serde(skip)]
    pub ping_url: Option<SecretString>,
    pub(super) ping_url_file: Option<PathBuf>,
    /// How long before its end a front end's access token is told of.
    #[serde(rename = "token_before_s", deserialize_with = "seconds")]
    pub token_before: Duration,
    /// The folders of front ends whose file systems are watched.
    pub disks: Vec<String>,
    /// From how many percent on a file system is nearly full.
    pub disk_percent: u8,
    /// Where front ends keep backups of the hub's database; not watched if empty.
    pub backup_path: String,
    /// How old the newest backup may be.
    #[serde(rename = "backup_age_s", deserialize_with = "seconds")]
    pub backup_age: Duration,
    /// What is not watched, by the words of [`AlertKind`](crate::domain::alert::AlertKind).
    pub off: Vec<String>,
    /// Other limits for some clusters.
    pub clusters: Vec<WatchedCluster>,
}

/// One of `[[watch.clusters]]`: limits of one cluster; those of `[watch]` where none is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchedCluster {
    /// The cluster.
    pub name: String,
    /// How long pods may wait while no node is on its way, in seconds.
    #[serde(default)]
    pub stall_after_s: Option<u64>,
    /// How long a cause may last while nobody waits, in seconds.
    #[serde(default)]
    pub latent_after_s: Option<u64>,
    /// How long a node may take from the request until pods run on it, in seconds.
    #[serde(default)]
    pub boot_s: Option<u64>,
    /// Where its front end keeps backups of the hub's database; not watched if empty.
    #[serde(default)]
    pub backup_path: Option<String>,
    /// How old its newest backup may be, in seconds.
    #[serde(default)]
    pub backup_age_s: Option<u64>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            sample: Duration::from_mins(1),
            look: Duration::from_secs(30),
            full_look: Duration::from_mins(5),
            stall_after: Duration::from_mins(5),
            latent_after: Duration::from_mins(10),
            boot: Duration::from_mins(25),
            blind_after: Duration::from_mins(5),
            waits_after: Duration::from_mins(30),
            resolve_after: Duration::from_mins(1),
            escalate_after: Duration::from_mins(30),
            again_after: Duration::from_hours(4),
            digest_at: "07:00".to_owned(),
            idle_days: 7,
            ping_url: None,
            ping_url_file: None,
            token_before: Duration::from_mins(4),
            disks: vec!["/".to_owned(), "/pv".to_owned()],
            disk_percent: 85,
            backup_path: String::new(),
            backup_age: Duration::from_hours(26),
            off: Vec::new(),
            clusters: Vec::new(),
        }
    }
}
