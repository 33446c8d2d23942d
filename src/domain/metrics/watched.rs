//! What the watch sees of each cluster, as gauges with the label `cluster`.
//!
//! A cluster that is not watched any more has no series. What could not be seen has none either,
//! so that a rule on it does not go by what was last seen.

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::alert::AlertKind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCluster {
    cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAlert {
    cluster: String,
    kind: &'static str,
}

/// One look at a cluster, in numbers; `None` is what could not be seen.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// When it was looked at.
    pub looked_at: DateTime<Utc>,
    /// Pods that find no node.
    pub pods_waiting: Option<usize>,
    /// Workers that are ready.
    pub nodes_ready: Option<usize>,
    /// When the access token on the front end ends.
    pub token_ends_at: Option<DateTime<Utc>>,
    /// When the hub's certificate ends.
    pub certificate_ends_at: Option<DateTime<Utc>>,
    /// The kinds of which an alert fires.
    pub firing: Vec<AlertKind>,
}

type PerCluster = Family<OfCluster, Gauge>;

/// The gauges. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Gauges {
    looked_at: PerCluster,
    pods_waiting: PerCluster,
    nodes_ready: PerCluster,
    token: PerCluster,
    certificate: PerCluster,
    firing: Family<OfAlert, Gauge>,
}

impl Gauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        registry.register_with_unit(
            "watch_looked_at",
            "When the watch last looked at all systems of a cluster, since 1970",
            Unit::Seconds,
            gauges.looked_at.clone(),
        );
        registry.register(
            "watch_pods_waiting",
            "Pods of a cluster that find no node",
            gauges.pods_waiting.clone(),
        );
        registry.register(
            "watch_nodes_ready",
            "Workers of a cluster that are ready",
            gauges.nodes_ready.clone(),
        );
        registry.register_with_unit(
            "watch_token_ends_at",
            "When the access token on the front end ends, since 1970",
            Unit::Seconds,
            gauges.token.clone(),
        );
        registry.register_with_unit(
            "watch_certificate_ends_at",
            "When the certificate of the hub ends, since 1970",
            Unit::Seconds,
            gauges.certificate.clone(),
        );
        registry.register(
            "alert_firing",
            "1 while an alert of this kind fires for a cluster",
            gauges.firing.clone(),
        );
        gauges
    }

    pub(super) fn set(&self, cluster: &str, seen: &Watched) {
        let time = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp());
        let count = |count: Option<usize>| count.and_then(|count| i64::try_from(count).ok());
        for (family, value) in [
            (&self.looked_at, Some(seen.looked_at.timestamp())),
            (&self.pods_waiting, count(seen.pods_waiting)),
            (&self.nodes_ready, count(seen.nodes_ready)),
            (&self.token, time(seen.token_ends_at)),
            (&self.certificate, time(seen.certificate_ends_at)),
        ] {
            let label = of(cluster);
            match value {
                Some(value) => {
                    family.get_or_create(&label).set(value);
                }
                None => {
                    family.remove(&label);
                }
            }
        }
        for kind in AlertKind::ALL {
            let fires = i64::from(seen.firing.contains(&kind));
            self.firing.get_or_create(&alert(cluster, kind)).set(fires);
        }
    }

    pub(super) fn forget(&self, cluster: &str) {
        for family in [
            &self.looked_at,
            &self.pods_waiting,
            &self.nodes_ready,
            &self.token,
            &self.certificate,
        ] {
            family.remove(&of(cluster));
        }
        for kind in AlertKind::ALL {
            self.firing.remove(&alert(cluster, kind));
        }
    }
}

fn of(cluster: &str) -> OfCluster {
    OfCluster {
        cluster: cluster.to_owned(),
    }
}

fn alert(cluster: &str, kind: AlertKind) -> OfAlert {
    OfAlert {
        cluster: cluster.to_owned(),
        kind: kind.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn what_is_not_seen_or_not_watched_has_no_series() {
        let metrics = Metrics::new();
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut seen = Watched {
            looked_at: at,
            pods_waiting: Some(3),
            nodes_ready: Some(2),
            firing: vec![AlertKind::Scaling],
            ..Watched::default()
        };
        metrics.watched("geo", &seen);
        let text = metrics.to_text().unwrap();
        for line in [
            "pangeo_bot_watch_looked_at_seconds{cluster=\"geo\"} 1800000000",
            "pangeo_bot_watch_pods_waiting{cluster=\"geo\"} 3",
            "pangeo_bot_alert_firing{cluster=\"geo\",kind=\"scaling\"} 1",
            "pangeo_bot_alert_firing{cluster=\"geo\",kind=\"hub\"} 0",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("token_ends_at_seconds{"), "{text}");
        seen.pods_waiting = None;
        metrics.watched("geo", &seen);
        let text = metrics.to_text().unwrap();
        assert!(!text.contains("pods_waiting{"), "{text}");
        metrics.forget_cluster("geo");
        let text = metrics.to_text().unwrap();
        assert!(!text.contains("\"geo\""), "{text}");
    }
}
