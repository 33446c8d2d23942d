//! What the configuration says about the watch, in the watch's own words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::SecretString;

use crate::config;
use crate::domain::alert::{AlertKind, CallRule};
use crate::domain::diagnosis::stall::Limits;
use crate::domain::front_end::BackupRule;
use crate::domain::ids::DiscordChannelId;
use crate::services::switch::Switch;
use crate::watch::{BesideRules, WatchSettings};

/// What the configuration says about alerts; `None` if nothing is watched.
pub(super) fn watch_settings(
    watch: &config::Watch,
    channel: DiscordChannelId,
) -> Option<WatchSettings> {
    let off: BTreeSet<AlertKind> = watch
        .off
        .iter()
        .filter_map(|word| AlertKind::from_word(word))
        .collect();
    let limits = Limits {
        stalls_after: seconds(watch.stall_after),
        latent_after: seconds(watch.latent_after),
        boot: seconds(watch.boot),
    };
    let own = |given: Option<u64>, otherwise| {
        given.map_or(otherwise, |given| seconds(Duration::from_secs(given)))
    };
    let of_cluster = |cluster: &config::WatchedCluster| {
        let own = Limits {
            stalls_after: own(cluster.stall_after_s, limits.stalls_after),
            latent_after: own(cluster.latent_after_s, limits.latent_after),
            boot: own(cluster.boot_s, limits.boot),
        };
        (cluster.name.clone(), own)
    };
    (off.len() < AlertKind::ALL.len()).then(|| WatchSettings {
        channel,
        look: watch.look,
        full: watch.full_look,
        limits,
        of_clusters: watch.clusters.iter().map(of_cluster).collect(),
        switch: watch.ping_url.clone().and_then(switch),
        token_before: seconds(watch.token_before),
        beside: beside(watch),
        blind_after: seconds(watch.blind_after),
        waits_after: seconds(watch.waits_after),
        resolves_after: seconds(watch.resolve_after),
        calls: CallRule {
            escalates_after: seconds(watch.escalate_after),
            again_after: seconds(watch.again_after),
        },
        off,
    })
}

/// The dead man's switch; without it everything else goes on.
fn switch(address: SecretString) -> Option<Switch> {
    Switch::new(address)
        .inspect_err(|error| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "no HTTP client for `watch.ping_url`"
            );
        })
        .ok()
}

/// How many minutes before its end the token of a front end is told of; `None` if never.
pub(super) fn token_told(watch: &config::Watch) -> Option<u64> {
    let is_off = watch
        .off
        .iter()
        .any(|kind| kind == AlertKind::Token.as_str());
    (!is_off).then_some(watch.token_before.as_secs() / 60)
}

/// Within what time a test user's server must be ready: a node may have to come for it.
pub(super) fn proven_within(watch: &config::Watch) -> TimeDelta {
    seconds(watch.boot + watch.stall_after)
}

/// What is watched beside the growing.
fn beside(watch: &config::Watch) -> BesideRules {
    let rule = |path: &str, age: Duration| {
        (!path.is_empty()).then(|| BackupRule {
            path: path.to_owned(),
            max_age: seconds(age),
        })
    };
    let own = |cluster: &config::WatchedCluster| {
        let is_own = cluster.backup_path.is_some() || cluster.backup_age_s.is_some();
        is_own.then(|| {
            let path = cluster.backup_path.as_deref();
            let age = cluster.backup_age_s.map(Duration::from_secs);
            let rule = rule(
                path.unwrap_or(&watch.backup_path),
                age.unwrap_or(watch.backup_age),
            );
            (cluster.name.clone(), rule)
        })
    };
    let backups_of: BTreeMap<String, Option<BackupRule>> =
        watch.clusters.iter().filter_map(own).collect();
    BesideRules {
        disks: watch.disks.clone(),
        disk_percent: watch.disk_percent.into(),
        backup: rule(&watch.backup_path, watch.backup_age),
        backups_of,
    }
}

fn seconds(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
