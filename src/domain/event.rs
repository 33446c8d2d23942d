//! Events: a course on a cluster, its people and times, and the worker nodes that it needs.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::domain::clues::quantity;
use crate::domain::ids::{ClusterId, DiscordChannelId, DiscordUserId, EventId};
use crate::domain::schedule::{ScheduleWish, WhenError};
use crate::domain::time::parse_time;

/// The command that plans one.
pub const EVENT_COMMAND: &str = "event plan";

/// How many pods a kubelet takes on a node (its default, 110), less some of the system.
const PODS_PER_NODE: u64 = 100;

/// What the system's own pods ask for on a worker node: network, node exporter, image puller.
const SYSTEM: Ask = Ask {
    cpu_milli: 200,
    memory: 256 << 20,
};

/// How long a run has that comes late, until the next one.
const LATE_RUN: TimeDelta = TimeDelta::minutes(30);

/// When the nodes of an event are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTimes {
    /// How long before its start the cluster is scaled up.
    pub scale_up_before: Duration,
    /// How long after its start all people are there.
    pub people_come_within: Duration,
    /// How long after its end it is scaled down.
    pub scale_down_after: Duration,
}

impl Default for EventTimes {
    fn default() -> Self {
        Self {
            scale_up_before: Duration::from_mins(30),
            people_come_within: Duration::from_mins(30),
            scale_down_after: Duration::from_hours(1),
        }
    }
}

/// What a pod asks for, or a node has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory: u64,
}

impl Ask {
    /// What is left of a node for people, beside the system's own pods.
    pub fn for_people(self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(SYSTEM.cpu_milli),
            memory: self.memory.saturating_sub(SYSTEM.memory),
        }
    }

    /// Whether a pod that asks for this fits there.
    pub fn fits(self, node: Self) -> bool {
        self.cpu_milli <= node.cpu_milli && self.memory <= node.memory
    }

    /// How many pods that ask for this fit there, up to as many.
    fn times(self, node: Self, most: u64) -> u64 {
        let by = |has: u64, each: u64| has.checked_div(each).unwrap_or(most);
        let by_cpu = by(node.cpu_milli, self.cpu_milli);
        by_cpu.min(by(node.memory, self.memory)).min(most)
    }

    fn less(self, each: Self, count: u64) -> Self {
        let less = |has: u64, each: u64| has.saturating_sub(each.saturating_mul(count));
        Self {
            cpu_milli: less(self.cpu_milli, each.cpu_milli),
            memory: less(self.memory, each.memory),
        }
    }

    /// The larger part of a node that it takes, in millionths.
    fn share_of(self, node: Self) -> u64 {
        let share = |each: u64, has: u64| {
            let share = u128::from(each) * 1_000_000 / u128::from(has.max(1));
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        share(self.cpu_milli, node.cpu_milli).max(share(self.memory, node.memory))
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cores, part) = (self.cpu_milli / 1000, self.cpu_milli % 1000 / 100);
        let cores = match part {
            0 => cores.to_string(),
            part => format!("{cores}.{part}"),
        };
        let memory = quantity::gib(self.memory);
        let s = if cores == "1" { "" } else { "s" };
        write!(f, "{cores} core{s}, {memory}")
    }
}

/// Pods that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pods {
    /// What they are, such as `a notebook`.
    pub what: &'static str,
    /// What each asks for.
    pub each: Ask,
    /// How many there are.
    pub count: u64,
}

/// A pod that fits on no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} asks for {each}, but a worker node has only {node} to give")]
pub struct FitsNowhere {
    what: &'static str,
    each: Ask,
    node: Ask,
}

/// How many nodes hold all the pods, the largest ones placed first.
///
/// The nodes are filled one by one, as long as another pod fits: that is first-fit decreasing, and
/// no worse than what Kubernetes' scheduler does on empty nodes.
///
/// # Errors
/// When one of the pods fits on no node.
pub fn nodes_for(node: Ask, pods: &[Pods]) -> Result<u64, FitsNowhere> {
    let room = node.for_people();
    let mut left: Vec<Pods> = pods.iter().copied().filter(|one| one.count > 0).collect();
    if let Some(large) = left.iter().find(|one| !one.each.fits(room)) {
        return Err(FitsNowhere {
            what: large.what,
            each: large.each,
            node: room,
        });
    }
    left.sort_by_key(|one| std::cmp::Reverse(one.each.share_of(room)));
    let mut nodes = 0_u64;
    while left.iter().any(|one| one.count > 0) {
        nodes = nodes.saturating_add(1);
        let (mut room, mut places) = (room, PODS_PER_NODE);
        for one in &mut left {
            let here = one.each.times(room, places.min(one.count));
            room = room.less(one.each, here);
            places = places.saturating_sub(here);
            one.count = one.count.saturating_sub(here);
        }
    }
    Ok(nodes)
}

/// What is to be recorded, as the plan of an event keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventWish {
    /// How many people.
    pub people: u32,
    /// How many worker nodes shall be on for them.
    pub nodes: u32,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
    /// What it is.
    pub reason: String,
    /// What runs by itself for it, in its order: up before, down after.
    pub runs: Vec<ScheduleWish>,
}

impl EventWish {
    /// What runs when. A run whose time is over comes at once, one after it not before that has had
    /// its time.
    ///
    /// # Errors
    /// When a time was written by a version that reads times otherwise.
    pub fn times(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Vec<(&ScheduleWish, DateTime<Utc>)>, WhenError> {
        let (mut times, mut earliest) = (Vec::new(), now);
        for run in &self.runs {
            let at = match run.next_after(now)? {
                Some(at) => at.max(earliest),
                None => earliest,
            };
            times.push((run, at));
            if at == earliest {
                earliest = at + LATE_RUN;
            }
        }
        Ok(times)
    }
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id, of the operation that recorded it.
    pub id: EventId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub name: String,
    /// How many people.
    pub people: u32,
    /// How many worker nodes shall be on for them.
    pub nodes: u32,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
    /// What it is.
    pub reason: String,
    /// Who asked for it.
    pub made_by: DiscordUserId,
    /// Where it is told.
    pub channel: DiscordChannelId,
    /// Whether the cluster was scaled up for it.
    pub scaled_up: bool,
    /// Whether its lock stands; a person may have lifted it.
    pub locked: bool,
}

impl Event {
    /// Whether it runs.
    pub fn runs_at(&self, now: DateTime<Utc>) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    /// When, for how many and what, for Discord.
    pub fn in_words(&self, now: DateTime<Utc>) -> String {
        let when = if self.runs_at(now) {
            format!("runs until <t:{}:f>", self.ends_at.timestamp())
        } else {
            format!(
                "<t:{}:f> to <t:{}:f>",
                self.starts_at.timestamp(),
                self.ends_at.timestamp()
            )
        };
        let s = if self.nodes == 1 { "" } else { "s" };
        let unlocked = if self.locked {
            ""
        } else {
            " (its lock was lifted)"
        };
        format!(
            "{when}, {} people on {} node{s} (`{}`): {}{unlocked}",
            self.people,
            self.nodes,
            self.id.short(),
            self.reason
        )
    }
}

/// A point in time as one would type it: in the zone, unless clocks there make it ambiguous.
/// Seconds are left out.
pub fn typed_time(at: DateTime<Utc>, zone: Tz) -> String {
    let there = format!(
        "{} {zone}",
        at.with_timezone(&zone).format("%Y-%m-%d %H:%M")
    );
    let in_utc = at.format("%Y-%m-%d %H:%M").to_string();
    let same = parse_time(&there).is_ok_and(|read| parse_time(&in_utc) == Ok(read));
    if same && zone != Tz::UTC {
        there
    } else {
        in_utc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn ask(cpu_milli: u64, memory: u64) -> Ask {
        Ask { cpu_milli, memory }
    }

    fn pods(count: u64, cpu_milli: u64, memory: u64) -> Pods {
        Pods {
            what: "a pod",
            each: ask(cpu_milli, memory),
            count,
        }
    }

    #[test]
    fn people_need_as_many_nodes_as_hold_them() {
        let node = ask(8000, 32 * GB);
        for (name, groups, nodes) in [
            ("nobody", vec![], 0),
            ("one", vec![pods(1, 2000, 4 * GB)], 1),
            // 7.8 cores are left beside the system: three of 2 cores, not four.
            ("a node full", vec![pods(3, 2000, 4 * GB)], 1),
            ("one more", vec![pods(4, 2000, 4 * GB)], 2),
            ("a course", vec![pods(30, 2000, 4 * GB)], 10),
            // Seven of 1 core.
            ("small ones", vec![pods(30, 1000, 2 * GB)], 5),
            // Memory decides: three of 10 GB on 31.7 GB.
            ("large memory", vec![pods(7, 1000, 10 * GB)], 3),
            ("a whole node each", vec![pods(3, 7800, GB)], 3),
            // Workers fill what notebooks leave: 3 × 2 cores, 1 × 1 core and 0.8 left.
            (
                "with workers",
                vec![pods(3, 2000, 4 * GB), pods(1, 1000, 2 * GB)],
                1,
            ),
            (
                "with more workers",
                vec![pods(3, 2000, 4 * GB), pods(2, 1000, 2 * GB)],
                2,
            ),
            // Order does not matter.
            (
                "workers first",
                vec![pods(2, 1000, 2 * GB), pods(3, 2000, 4 * GB)],
                2,
            ),
            // Pods that ask for nothing are limited by the kubelet.
            ("without a guarantee", vec![pods(250, 0, 0)], 3),
            ("without a guarantee of cores", vec![pods(8, 0, 8 * GB)], 3),
            ("of nothing", vec![pods(0, 99_000, 99 * GB)], 0),
        ] {
            assert_eq!(nodes_for(node, &groups), Ok(nodes), "{name}");
        }
    }

    #[test]
    fn a_pod_that_fits_nowhere_is_named() {
        let node = ask(8000, 32 << 30);
        let error = nodes_for(node, &[pods(1, 8000, GB)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a pod asks for 8 cores, 0.9 GiB, but a worker node has only 7.8 cores, 31.7 GiB to give"
        );
        assert!(nodes_for(node, &[pods(1, 100, 32 << 30)]).is_err());
    }

    #[test]
    fn a_run_that_is_late_has_its_time_before_the_next() {
        let at = |text: &str| parse_time(text).unwrap();
        let run = |when: &str| ScheduleWish {
            command: "scale".to_owned(),
            options: std::collections::BTreeMap::new(),
            digest: String::new(),
            when: when.to_owned(),
            reason: String::new(),
            until: at(when),
        };
        let day = |time: &str| format!("2026-12-04 {time}");
        let wish = EventWish {
            people: 1,
            nodes: 1,
            starts_at: at(&day("08:00")),
            ends_at: at(&day("16:00")),
            reason: String::new(),
            runs: ["07:30", "08:30", "17:00"]
                .map(|time| run(&day(time)))
                .into(),
        };
        for (now, times) in [
            ("06:00", ["07:30", "08:30", "17:00"]),
            ("07:45", ["07:45", "08:30", "17:00"]),
            ("08:15", ["08:15", "08:45", "17:00"]),
            ("12:00", ["12:00", "12:30", "17:00"]),
            ("16:50", ["16:50", "17:20", "17:50"]),
        ] {
            let made = wish.times(at(&day(now))).unwrap();
            let made = made.iter().map(|(_run, at)| at.format("%H:%M").to_string());
            assert_eq!(made.collect::<Vec<_>>(), times, "{now}");
        }
    }

    #[test]
    fn a_time_is_written_so_that_it_reads_back() {
        let at = |text: &str| parse_time(text).unwrap();
        for (utc, zone, typed) in [
            (
                "2026-12-04 07:00",
                Tz::Europe__Paris,
                "2026-12-04 08:00 Europe/Paris",
            ),
            ("2026-12-04 07:00", Tz::UTC, "2026-12-04 07:00"),
            // Clocks show 02:30 twice that night; this is the second.
            ("2026-10-25 01:30", Tz::Europe__Paris, "2026-10-25 01:30"),
            (
                "2026-10-25 00:30",
                Tz::Europe__Paris,
                "2026-10-25 02:30 Europe/Paris",
            ),
        ] {
            assert_eq!(typed_time(at(utc), zone), typed);
            assert_eq!(at(typed), at(utc));
        }
    }
}
