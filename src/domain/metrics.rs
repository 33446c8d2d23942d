//! What the bot counts about itself, for Prometheus.
//!
//! Every part that does something worth counting has a clone of [`Metrics`]; `web` shows them.
//! Names follow Prometheus' rules: unit in the name, `_total` added for counters.
//!
//! **Invariant:** labels come from closed sets (command, step and service names) or name a cluster
//! that is watched now, never a user or a plan: otherwise the number of series would grow without
//! bound.

mod watched;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use watched::Gauges;
pub use watched::Watched;

/// Upper bounds of the buckets for times within the bot, in seconds.
const FAST: [f64; 9] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 3.0];
/// Upper bounds of the buckets for times of outside systems, in seconds.
const SLOW: [f64; 9] = [0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1200.0, 3600.0];

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As it should.
    Done,
    /// It was refused: no role, bad input.
    Refused,
    /// It will be tried again.
    Retry,
    /// It failed.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Retry => "retry",
            Outcome::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    name: String,
    outcome: &'static str,
}

impl Labels {
    fn new(name: &str, outcome: Outcome) -> Self {
        Self {
            name: name.to_owned(),
            outcome: outcome.as_str(),
        }
    }
}

#[derive(Clone)]
struct SlowHistogram;

impl MetricConstructor<Histogram> for SlowHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SLOW)
    }
}

/// The numbers. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Numbers>);

struct Numbers {
    registry: Registry,
    acknowledged: Histogram,
    interactions: Family<Labels, Counter>,
    steps: Family<Labels, Histogram, SlowHistogram>,
    calls: Family<Labels, Histogram, SlowHistogram>,
    messages: Family<Labels, Counter>,
    gateway: Gauge,
    outbox: Gauge,
    followers: Gauge,
    clusters: Gauges,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Numbers that all start at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pangeo_bot");
        let acknowledged = Histogram::new(FAST);
        let interactions = Family::<Labels, Counter>::default();
        let steps = Family::new_with_constructor(SlowHistogram);
        let calls = Family::new_with_constructor(SlowHistogram);
        let messages = Family::<Labels, Counter>::default();
        let (gateway, outbox, followers) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register_with_unit(
            "acknowledge",
            "Time from receiving an interaction to Discord's answer to our acknowledgement",
            Unit::Seconds,
            acknowledged.clone(),
        );
        registry.register(
            "interactions",
            "Interactions by command and outcome",
            interactions.clone(),
        );
        registry.register_with_unit(
            "step",
            "Time of one attempt of a step, by step and outcome",
            Unit::Seconds,
            steps.clone(),
        );
        registry.register_with_unit(
            "call",
            "Time of one call to an outside system, by service and outcome",
            Unit::Seconds,
            calls.clone(),
        );
        registry.register(
            "messages",
            "Messages posted or edited, by kind and outcome",
            messages.clone(),
        );
        registry.register(
            "gateway_connected",
            "1 while this replica is connected to Discord's gateway",
            gateway.clone(),
        );
        registry.register(
            "outbox_waiting",
            "Messages that wait to be posted or edited",
            outbox.clone(),
        );
        registry.register(
            "log_followers",
            "Pages that follow an operation now",
            followers.clone(),
        );
        let clusters = Gauges::register(&mut registry);
        Self(Arc::new(Numbers {
            registry,
            clusters,
            acknowledged,
            interactions,
            steps,
            calls,
            messages,
            gateway,
            outbox,
            followers,
        }))
    }

    /// An interaction was acknowledged.
    pub fn acknowledged(&self, took: Duration) {
        self.0.acknowledged.observe(took.as_secs_f64());
    }

    /// An interaction was dealt with; `command` is the name of a command file.
    pub fn interaction(&self, command: &str, outcome: Outcome) {
        let labels = Labels::new(command, outcome);
        self.0.interactions.get_or_create(&labels).inc();
    }

    /// An attempt of a step ended; one that waits ended with [`Outcome::Retry`].
    pub fn step(&self, step: &str, outcome: Outcome, took: Duration) {
        let labels = Labels::new(step, outcome);
        self.0
            .steps
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// A call to an outside system ended.
    pub fn call(&self, service: &str, outcome: Outcome, took: Duration) {
        let labels = Labels::new(service, outcome);
        self.0
            .calls
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// A message of the outbox was posted or edited.
    pub fn message(&self, kind: &str, outcome: Outcome) {
        self.0
            .messages
            .get_or_create(&Labels::new(kind, outcome))
            .inc();
    }

    /// Whether this replica is connected to the gateway.
    pub fn set_gateway_connected(&self, connected: bool) {
        self.0.gateway.set(i64::from(connected));
    }

    /// How many messages wait.
    pub fn set_outbox_waiting(&self, messages: i64) {
        self.0.outbox.set(messages);
    }

    /// How many pages follow an operation.
    pub fn set_log_followers(&self, followers: usize) {
        self.0
            .followers
            .set(i64::try_from(followers).unwrap_or(i64::MAX));
    }

    /// The watch has looked at a cluster.
    pub fn watched(&self, cluster: &str, seen: &Watched) {
        self.0.clusters.set(cluster, seen);
    }

    /// A cluster is not watched here any more.
    pub fn forget_cluster(&self, cluster: &str) {
        self.0.clusters.forget(cluster);
    }

    /// Everything in the text format of `OpenMetrics`.
    ///
    /// # Errors
    /// When a number can't be written as text; there is nothing to do about it.
    pub fn to_text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// Counts the calls of one client of an outside system, once it is told where.
#[derive(Clone, Debug)]
pub struct Calls {
    service: &'static str,
    metrics: Option<Metrics>,
}

impl Calls {
    /// Of a service; not counted until [`Calls::counted_by`].
    pub fn to(service: &'static str) -> Self {
        Self {
            service,
            metrics: None,
        }
    }

    /// Counted there from now on.
    #[must_use]
    pub fn counted_by(self, metrics: &Metrics) -> Self {
        Self {
            metrics: Some(metrics.clone()),
            ..self
        }
    }

    /// Calls to another service, counted in the same place.
    #[must_use]
    pub fn also_to(&self, service: &'static str) -> Self {
        Self {
            service,
            metrics: self.metrics.clone(),
        }
    }

    /// Makes one call. One that is dropped before its answer is not counted.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn count<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        let answer = call.await;
        if let Some(metrics) = &self.metrics {
            let outcome = match &answer {
                Ok(_) => Outcome::Done,
                Err(_) => Outcome::Failed,
            };
            metrics.call(self.service, outcome, began.elapsed());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_counted_by_their_outcome() {
        let metrics = Metrics::new();
        let calls = Calls::to("im");
        let answer: Result<u8, &str> = calls.count(async { Ok(1) }).await;
        assert_eq!(answer, Ok(1));
        let calls = calls.counted_by(&metrics);
        for result in [Ok(1), Err("no"), Err("no")] {
            let same: Result<u8, &str> = calls.count(async { result }).await;
            assert_eq!(same, result);
        }
        let text = metrics.to_text().unwrap();
        for line in [
            "pangeo_bot_call_seconds_count{name=\"im\",outcome=\"done\"} 1",
            "pangeo_bot_call_seconds_count{name=\"im\",outcome=\"failed\"} 2",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::new();
        let clone = metrics.clone();
        clone.interaction("deploy", Outcome::Refused);
        clone.step("check-hub", Outcome::Done, Duration::from_secs(2));
        clone.acknowledged(Duration::from_millis(1));
        clone.set_outbox_waiting(3);
        let text = metrics.to_text().unwrap();
        for line in [
            "pangeo_bot_interactions_total{name=\"deploy\",outcome=\"refused\"} 1",
            "pangeo_bot_step_seconds_bucket{le=\"5.0\",name=\"check-hub\",outcome=\"done\"} 1",
            "pangeo_bot_acknowledge_seconds_count 1",
            "pangeo_bot_outbox_waiting 3",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
