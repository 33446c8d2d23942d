//! The stall: pods wait for a node and none is on its way.
//!
//! [`scaling`] makes of one look what the watch should think of a cluster's growing: demand that
//! capacity does not follow, with the first cause of the chain; or, without demand, a cause that
//! would keep the next course waiting ([`LATENT`]); or that the cause it knew is there still,
//! though nobody waits any more.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Cause, Seen, Verdict, WaitingPod, judge_all};
use crate::domain::alert::{Finding, Sighting};
use crate::domain::clues::NodeState;

/// Causes that are told without demand: once somebody needs a node it is too late. Those of the
/// token have a kind of alert of their own.
pub const LATENT: [Cause; 3] = [Cause::CluesDead, Cause::NodeNotReady, Cause::NotScaling];

/// How long after CLUES' request IM may take to show the VM.
const SHOWN_WITHIN: i64 = 120;

/// How many pods are named.
const NAMED: usize = 5;

/// The limits of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long pods may wait while nothing is on its way.
    pub stalls_after: TimeDelta,
    /// How long a cause may stand without demand.
    pub latent_after: TimeDelta,
    /// How long a node may take from the request to the first pod.
    pub boot: TimeDelta,
}

/// What is remembered of a cluster between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The VMs on their way, by number, and since when.
    pub booting: BTreeMap<u32, DateTime<Utc>>,
    /// The workers that were ready; `None` before the first look.
    pub ready: Option<usize>,
    /// When capacity last followed: a node was on its way, or one joined.
    pub progress_at: Option<DateTime<Utc>>,
    /// When a node last joined.
    #[serde(default)]
    pub joined_at: Option<DateTime<Utc>>,
    /// When any cause was last there; CLUES needs a while to act once it is gone.
    #[serde(default)]
    pub cause_at: Option<DateTime<Utc>>,
    /// When the bot's clock was set: how long something has lasted is counted from then on.
    #[serde(default)]
    pub counted_from: Option<DateTime<Utc>>,
}

impl Memory {
    /// With the clock set at that moment, if it was.
    #[must_use]
    pub fn counted_from(self, set_at: Option<DateTime<Utc>>) -> Self {
        Self {
            counted_from: set_at.or(self.counted_from),
            ..self
        }
    }

    /// How long something has lasted, as far as the clock tells.
    fn age(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
        now - self.counted_from.map_or(since, |from| from.max(since))
    }

    /// With what was seen since.
    #[must_use]
    pub fn after(&self, seen: &Seen, limits: &Limits) -> Self {
        let before = self.until(seen.now);
        let mut after = before.clone();
        if let Some(vms) = seen.vms.seen() {
            let booting = vms.iter().filter(|(_, state)| is_booting(state));
            after.booting = booting
                .map(|(number, _)| (*number, *before.booting.get(number).unwrap_or(&seen.now)))
                .collect();
        }
        if let Some(kubernetes) = seen.kubernetes.seen() {
            let workers = kubernetes.nodes.iter();
            let ready = workers.filter(|node| node.ready && !node.is_control_plane);
            after.ready = Some(ready.count());
        }
        let joined = self.ready.is_some() && after.ready > self.ready;
        if joined {
            after.joined_at = Some(seen.now);
        }
        if joined || follows(seen, &after, limits) {
            after.progress_at = Some(seen.now);
        }
        let mut causes = Cause::ALL.iter().map(|cause| cause.judge(seen));
        if causes.any(|verdict| matches!(verdict, Verdict::Found { .. })) {
            after.cause_at = Some(seen.now);
        }
        after
    }

    /// Without what is still to come: a clock that was set back makes nothing younger than it is.
    fn until(&self, now: DateTime<Utc>) -> Self {
        let past = |at: Option<DateTime<Utc>>| at.map(|at| at.min(now));
        let booting = self.booting.iter();
        Self {
            booting: booting.map(|(vm, at)| (*vm, (*at).min(now))).collect(),
            ready: self.ready,
            progress_at: past(self.progress_at),
            joined_at: past(self.joined_at),
            cause_at: past(self.cause_at),
            counted_from: past(self.counted_from),
        }
    }

    /// When something was last in the way, or on its way.
    fn moved_at(&self) -> Option<DateTime<Utc>> {
        self.progress_at.max(self.cause_at)
    }
}

fn is_booting(state: &str) -> bool {
    matches!(state, "pending" | "running")
}

/// Whether a node is on its way, and not for too long.
fn follows(seen: &Seen, memory: &Memory, limits: &Limits) -> bool {
    let booting = memory.booting.values();
    let mut ages = booting.map(|since| memory.age(*since, seen.now));
    if ages.any(|age| age < limits.boot) {
        return true;
    }
    let vms = seen.vms.seen().into_iter().flatten();
    let is_lost =
        vms.filter(|(_, state)| state != "configured").count() > 0 && memory.booting.is_empty();
    let clues = seen.clues.seen().filter(|clues| !clues.stopped);
    let mut nodes = clues.into_iter().flat_map(|clues| &clues.nodes);
    nodes.any(|node| {
        let age = node.stable_s.unwrap_or(0);
        let is_young = TimeDelta::seconds(age) < limits.boot;
        node.state == NodeState::PowOn && is_young && (!is_lost || age < SHOWN_WITHIN)
    })
}

/// What a look says about a cluster's growing. `known` is the cause of the alert that is not over.
pub fn scaling(seen: &Seen, memory: &Memory, known: Option<Cause>, limits: &Limits) -> Sighting {
    let verdicts = judge_all(seen);
    let found = |cause: &Cause| {
        let verdict = verdicts.iter().find(|(one, _)| one == cause);
        matches!(verdict, Some((_, Verdict::Found { .. })))
    };
    let on_its_way = follows(seen, memory, limits);
    let first = if on_its_way {
        [Cause::PodNeverFits, Cause::NotScaling]
            .into_iter()
            .find(found)
    } else {
        Cause::ALL.into_iter().find(found)
    };
    if let Some(kubernetes) = seen.kubernetes.seen() {
        // A node that comes helps the others, not who needs something else.
        let stalls = |pod: &&WaitingPod| !on_its_way || !seen.is_helped(pod);
        let waiting: Vec<&WaitingPod> = kubernetes.demand().filter(stalls).collect();
        let oldest = waiting.iter().filter_map(|pod| pod.since).min();
        if !waiting.is_empty() {
            // Without a cause it may be the moment between one node and the next, or between the cure
            // and what CLUES makes of it.
            let moved_at = memory.moved_at().filter(|_at| first.is_none());
            let is_cured = moved_at.is_some_and(|at| seen.now - at < limits.stalls_after);
            if known.is_some() && is_cured {
                return Sighting::Unseen;
            }
            // With a cause, too, that may stand beside a cluster that grows: a machine that failed long ago.
            let since = oldest.max(moved_at).max(memory.joined_at);
            let since = since.filter(|_| oldest.is_some());
            return Sighting::Found {
                since,
                fires_after: limits.stalls_after,
                finding: stall(&verdicts, first, &waiting),
            };
        }
    }
    // Whether the node that comes is enough is seen once it has come: another cause is there still.
    let others_wait = seen.kubernetes.seen().is_some_and(|kubernetes| {
        let mut demand = kubernetes.demand();
        demand.next().is_some()
    });
    if known.is_some() && on_its_way && others_wait && Cause::ALL.iter().any(found) {
        return Sighting::Unseen;
    }
    let latent = Cause::ALL
        .into_iter()
        .find(|cause| found(cause) && (LATENT.contains(cause) || known == Some(*cause)));
    if let Some(cause) = latent {
        return Sighting::Found {
            since: None,
            fires_after: limits.latent_after,
            finding: without_demand(&verdicts, cause),
        };
    }
    let is_known = |verdict: &Verdict| !matches!(verdict, Verdict::Unknown(_));
    let known_is_gone = known.is_none_or(|known| {
        let verdict = verdicts.iter().find(|(cause, _)| *cause == known);
        verdict.is_none_or(|(_, verdict)| is_known(verdict))
    });
    if seen.kubernetes.seen().is_some() && known_is_gone {
        Sighting::Gone
    } else {
        Sighting::Unseen
    }
}

fn stall(verdicts: &[(Cause, Verdict)], first: Option<Cause>, waiting: &[&WaitingPod]) -> Finding {
    let names: Vec<&str> = waiting.iter().map(|pod| pod.name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED);
    let named = names.get(..NAMED.min(names.len())).unwrap_or_default();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let pods = if names.len() == 1 {
        "1 pod waits"
    } else {
        &format!("{} pods wait", names.len())
    };
    let text = format!(
        "{pods} for a node and none is on its way: {}{more}",
        named.join(", ")
    );
    match first {
        Some(cause) => of_cause(
            verdicts,
            cause,
            (format!("scaling stalls: {}", cause.as_str()), text),
        ),
        None => Finding {
            title: "scaling stalls, the cause is not known".to_owned(),
            text,
            remedy: "look at CLUES' log and at the events of the pods".to_owned(),
            command: Some("logs clues".to_owned()),
            others: verdicts.iter().map(ruled_out).collect(),
            ..Finding::default()
        },
    }
}

fn without_demand(verdicts: &[(Cause, Verdict)], cause: Cause) -> Finding {
    let words = if cause == Cause::NotScaling {
        (
            "pods do not start".to_owned(),
            "they wait for something that no node gives".to_owned(),
        )
    } else {
        (
            format!("it can't grow as it should: {}", cause.as_str()),
            "nobody waits for a node now; who comes next would".to_owned(),
        )
    };
    of_cause(verdicts, cause, words)
}

fn of_cause(
    verdicts: &[(Cause, Verdict)],
    cause: Cause,
    (title, text): (String, String),
) -> Finding {
    let mut finding = Finding {
        title,
        text,
        cause: Some(cause.as_str().to_owned()),
        ..Finding::default()
    };
    for (one, verdict) in verdicts {
        let Verdict::Found { evidence, remedy } = verdict else {
            continue;
        };
        if *one == cause {
            finding.evidence.clone_from(evidence);
            remedy.words.clone_into(&mut finding.remedy);
            finding.command = remedy.command.map(str::to_owned);
        } else {
            let first = evidence.first().map_or("", String::as_str);
            finding.others.push(format!("{}: {first}", one.as_str()));
        }
    }
    finding
}

fn ruled_out((cause, verdict): &(Cause, Verdict)) -> String {
    match verdict {
        Verdict::Fine(words) => format!("not {}: {words}", cause.as_str()),
        Verdict::Unknown(why) => format!("{} is not known: {why}", cause.as_str()),
        Verdict::Found { evidence, .. } => {
            let first = evidence.first().map_or("", String::as_str);
            format!("{}: {first}", cause.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Look;
    use super::super::tests::{amount, at, clues_node, clues_of, kubernetes_of, wants, well};
    use super::*;

    const LIMITS: Limits = Limits {
        stalls_after: TimeDelta::minutes(5),
        latent_after: TimeDelta::minutes(10),
        boot: TimeDelta::minutes(25),
    };

    fn waiting() -> Seen {
        let mut seen = well();
        kubernetes_of(&mut seen).waiting = vec![WaitingPod {
            since: Some(at(-7)),
            ..wants(amount(2, 4))
        }];
        seen
    }

    fn look(seen: &Seen, known: Option<Cause>) -> Sighting {
        scaling(
            seen,
            &Memory::default().after(seen, &LIMITS),
            known,
            &LIMITS,
        )
    }

    #[track_caller]
    fn finding(sighting: Sighting) -> (Option<DateTime<Utc>>, Finding) {
        match sighting {
            Sighting::Found { since, finding, .. } => (since, finding),
            Sighting::Gone | Sighting::Unseen => panic!("nothing found: {sighting:?}"),
        }
    }

    #[test]
    fn a_cluster_that_is_well_has_nothing() {
        assert_eq!(look(&well(), None), Sighting::Gone);
    }

    #[test]
    fn demand_without_capacity_is_a_stall_and_says_what_was_ruled_out() {
        let (since, finding) = finding(look(&waiting(), None));
        assert_eq!(since, Some(at(-7)), "since the pod waits");
        assert_eq!(finding.title, "scaling stalls, the cause is not known");
        assert!(
            finding.text.contains("1 pod waits for a node"),
            "{}",
            finding.text
        );
        assert_eq!(finding.others.len(), Cause::ALL.len());
        assert!(finding.others[0].starts_with("not token expired: "));
    }

    #[test]
    fn the_first_cause_of_the_chain_explains_it() {
        let mut seen = waiting();
        if let Look::At(token) = &mut seen.token {
            token.ends_at = Some(at(-30));
        }
        clues_of(&mut seen).nodes[1].state = NodeState::OffErr;
        let (_, finding) = finding(look(&seen, None));
        assert_eq!(finding.cause.as_deref(), Some("token expired"));
        assert_eq!(finding.command.as_deref(), Some("token renew"));
        assert!(finding.evidence[0].starts_with("the token in auth.dat ended"));
        assert!(
            finding
                .others
                .iter()
                .any(|line| line.starts_with("power-on given up")),
            "{:?}",
            finding.others
        );
    }

    #[test]
    fn a_node_on_its_way_is_no_stall_until_it_is_too_old() {
        let mut booting = waiting();
        let mut node = clues_node("wn2", NodeState::PowOn);
        for (minutes, is_stall) in [(0, false), (24, false), (26, true)] {
            node.stable_s = Some(minutes * 60);
            clues_of(&mut booting).nodes[1] = node.clone();
            let found = matches!(look(&booting, None), Sighting::Found { .. });
            assert_eq!(found, is_stall, "{minutes} min");
        }
        let mut by_hand = waiting();
        let vms = |state: &str| Look::At(vec![(0, "configured".to_owned()), (1, state.to_owned())]);
        by_hand.vms = vms("running");
        let memory = Memory::default().after(&by_hand, &LIMITS);
        assert_eq!(scaling(&by_hand, &memory, None, &LIMITS), Sighting::Gone);
        by_hand.now = at(26);
        let memory = memory.after(&by_hand, &LIMITS);
        assert!(matches!(
            scaling(&by_hand, &memory, None, &LIMITS),
            Sighting::Found { .. }
        ));
        // What CLUES waits for was made and is lost.
        let mut lost = waiting();
        lost.vms = vms("unconfigured");
        node.stable_s = Some(600);
        clues_of(&mut lost).nodes[1] = node;
        let (_, finding) = finding(look(&lost, None));
        assert_eq!(finding.cause.as_deref(), Some("VM never configured"));
    }

    #[test]
    fn a_pod_that_no_node_helps_stalls_whatever_comes() {
        let mut seen = waiting();
        let mut node = clues_node("wn2", NodeState::PowOn);
        node.stable_s = Some(60);
        clues_of(&mut seen).nodes[1] = node;
        kubernetes_of(&mut seen).waiting.push(WaitingPod {
            name: "dask-worker-huge".to_owned(),
            since: Some(at(-6)),
            ..wants(amount(64, 4))
        });
        let (since, finding) = finding(look(&seen, None));
        assert_eq!(finding.cause.as_deref(), Some("pod can never fit"));
        assert_eq!(since, Some(at(-6)), "not since others wait");
        assert!(
            finding.text.ends_with(": dask-worker-huge"),
            "{}",
            finding.text
        );
    }

    #[test]
    fn between_one_node_and_the_next_nobody_is_told() {
        let mut seen = waiting();
        let memory = Memory {
            ready: Some(0),
            ..Memory::default()
        };
        let memory = memory.after(&seen, &LIMITS);
        assert_eq!(memory.progress_at, Some(at(0)), "a node joined");
        seen.now = at(1);
        let memory = memory.after(&seen, &LIMITS);
        let (since, _) = finding(scaling(&seen, &memory, None, &LIMITS));
        assert_eq!(since, Some(at(0)), "not since the pod waits");
    }

    #[test]
    fn a_node_that_joined_a_moment_ago_is_growth_whatever_stands_beside_it() {
        let mut seen = waiting();
        let mut disabled = clues_node("wn3", NodeState::Off);
        disabled.enabled = false;
        clues_of(&mut seen).nodes.push(disabled);
        let memory = Memory {
            ready: Some(0),
            ..Memory::default()
        };
        let memory = memory.after(&seen, &LIMITS);
        let (since, found) = finding(scaling(&seen, &memory, None, &LIMITS));
        assert_eq!(found.cause.as_deref(), Some("nodes disabled"));
        assert_eq!(since, Some(at(0)), "not since the pod waits");
    }

    #[test]
    fn after_the_cure_the_alert_stays_as_it_is_until_clues_has_had_its_time() {
        let mut seen = waiting();
        clues_of(&mut seen).stopped = true;
        let memory = Memory::default().after(&seen, &LIMITS);
        let known = Some(Cause::CluesDead);
        let mut cured = waiting();
        for (minutes, expected) in [(1, false), (4, false), (6, true)] {
            cured.now = at(minutes);
            let memory = memory.after(&cured, &LIMITS);
            let sighting = scaling(&cured, &memory, known, &LIMITS);
            let found = matches!(sighting, Sighting::Found { .. });
            assert_eq!(found, expected, "{minutes} min: {sighting:?}");
        }
    }

    #[test]
    fn a_cure_that_brings_one_node_ends_nothing_while_others_wait_behind_another_cause() {
        let mut seen = waiting();
        let known = Some(Cause::NodeNotReady);
        let mut node = clues_node("wn2", NodeState::PowOn);
        node.stable_s = Some(60);
        clues_of(&mut seen).nodes[1] = node;
        assert_eq!(look(&seen, known), Sighting::Gone, "nothing else is there");
        let mut disabled = clues_node("wn3", NodeState::Off);
        disabled.enabled = false;
        clues_of(&mut seen).nodes.push(disabled);
        assert_eq!(look(&seen, known), Sighting::Unseen);
        assert_eq!(
            look(&seen, None),
            Sighting::Gone,
            "it is no stall by itself"
        );
        kubernetes_of(&mut seen).waiting.clear();
        assert_eq!(look(&seen, known), Sighting::Gone, "it was enough");
    }

    #[test]
    fn a_clock_that_was_set_back_hides_no_stall() {
        let mut seen = waiting();
        let hour_ahead = Memory {
            booting: BTreeMap::from([(1, at(60))]),
            progress_at: Some(at(60)),
            cause_at: Some(at(60)),
            ..Memory::default()
        };
        let memory = hour_ahead.after(&seen, &LIMITS);
        assert_eq!(memory.moved_at(), Some(at(0)));
        seen.now = at(6);
        let memory = memory.after(&seen, &LIMITS);
        let (since, _) = finding(scaling(&seen, &memory, None, &LIMITS));
        assert_eq!(since, Some(at(0)), "six minutes, not 54 to come");
        // A machine that boots does so no longer for it.
        let vms = vec![(0, "configured".to_owned()), (1, "pending".to_owned())];
        seen.vms = Look::At(vms);
        let memory = hour_ahead.after(&seen, &LIMITS);
        seen.now = at(32);
        let memory = memory.after(&seen, &LIMITS);
        assert!(!follows(&seen, &memory, &LIMITS));
    }

    #[test]
    fn a_clock_that_was_set_forward_makes_no_machine_late() {
        let mut seen = waiting();
        let vms = vec![(0, "configured".to_owned()), (1, "pending".to_owned())];
        seen.vms = Look::At(vms);
        let memory = Memory::default().after(&seen, &LIMITS);
        seen.now = at(60);
        let late = memory.after(&seen, &LIMITS);
        assert!(!follows(&seen, &late, &LIMITS), "an hour is too long");
        let set = memory.counted_from(Some(at(59))).after(&seen, &LIMITS);
        assert!(follows(&seen, &set, &LIMITS), "a minute as far as known");
        seen.now = at(85);
        let late = set.counted_from(None).after(&seen, &LIMITS);
        assert!(!follows(&seen, &late, &LIMITS), "remembered");
    }

    #[test]
    fn without_demand_only_some_causes_are_told() {
        let mut dead = well();
        clues_of(&mut dead).stopped = true;
        let (_, told) = finding(look(&dead, None));
        assert_eq!(told.cause.as_deref(), Some("CLUES dead"));
        let mut disabled = well();
        clues_of(&mut disabled).nodes[1].enabled = false;
        assert_eq!(look(&disabled, None), Sighting::Gone);
        let known = Some(Cause::NodesDisabled);
        let (_, told) = finding(look(&disabled, known));
        assert_eq!(
            told.cause.as_deref(),
            Some("nodes disabled"),
            "it is there still"
        );
    }

    #[test]
    fn a_cause_that_can_not_be_seen_is_not_gone() {
        let mut blind = well();
        blind.clues = Look::Failed("no answer".to_owned());
        assert_eq!(look(&blind, Some(Cause::NodesDisabled)), Sighting::Unseen);
        assert_eq!(look(&blind, Some(Cause::NotConfigured)), Sighting::Gone);
        blind.kubernetes = Look::Failed("no answer".to_owned());
        assert_eq!(look(&blind, None), Sighting::Unseen);
    }
}
