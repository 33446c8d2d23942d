//! What runs by itself for an event: up before its start, less kept free once people are there, down
//! after its end.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::Wish;
use super::found::Found;
use crate::domain::event::EventTimes;

/// How many nodes `scale` keeps free at most.
const MOST_FREE: u32 = 50;

/// One run of `scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) at: DateTime<Utc>,
    max: Option<u32>,
    min_free: Option<u32>,
    at_least: Option<u32>,
}

impl Run {
    /// Nothing, at a time.
    fn at(at: DateTime<Utc>) -> Self {
        Self {
            at,
            max: None,
            min_free: None,
            at_least: None,
        }
    }

    /// The options as they would be typed.
    pub(super) fn options(&self, name: &str) -> BTreeMap<String, String> {
        let numbers = [
            ("max", self.max),
            ("min-free", self.min_free),
            ("at-least", self.at_least),
        ];
        let given = numbers
            .into_iter()
            .filter_map(|(name, number)| Some((name.to_owned(), number?.to_string())));
        given
            .chain([("name".to_owned(), name.to_owned())])
            .collect()
    }
}

/// All runs of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    /// All nodes on, and kept free beside those that others use.
    pub(super) up: Run,
    /// As many kept free as before, once people came; nothing if that is no other number.
    settle: Option<Run>,
    /// As many allowed as before; nothing if that is no other number.
    down: Option<Run>,
}

impl Runs {
    /// The runs that have so many nodes on at the start, and are undone after the end.
    pub(super) fn of(found: &Found, nodes: u32, wish: &Wish, times: EventTimes) -> Self {
        let delta = |time| TimeDelta::from_std(time).unwrap_or_default();
        let was = found.files;
        // What others use now they may use then as well.
        let max = was.max.max(nodes.saturating_add(found.used));
        let free = was.min_free.max(nodes.min(MOST_FREE));
        let (is_raised, is_freer) = (max != was.max, free != was.min_free);
        let settled = wish.starts_at + delta(times.people_come_within);
        Self {
            up: Run {
                max: is_raised.then_some(max),
                min_free: is_freer.then_some(free),
                at_least: Some(nodes),
                ..Run::at(wish.starts_at - delta(times.scale_up_before))
            },
            settle: is_freer.then(|| Run {
                min_free: Some(was.min_free),
                ..Run::at(settled.min(wish.ends_at))
            }),
            down: is_raised.then(|| Run {
                max: Some(was.max),
                ..Run::at(wish.ends_at + delta(times.scale_down_after))
            }),
        }
    }

    /// In their order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Run> {
        let then = self.settle.iter().chain(&self.down);
        std::iter::once(&self.up).chain(then)
    }

    /// To how many nodes the cluster's maximum is raised, if it is.
    pub(super) fn raised_to(&self) -> Option<u32> {
        self.up.max
    }

    /// When the last one comes.
    pub(super) fn last(&self) -> DateTime<Utc> {
        self.all().map(|run| run.at).max().unwrap_or(self.up.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clues::change::Counts;
    use crate::domain::event::Ask;
    use crate::domain::time::parse_time;

    fn found((max, min_free): (u32, u32), used: u32) -> Found {
        Found {
            node: Ask {
                cpu_milli: 8000,
                memory: 32 << 30,
            },
            is_real: true,
            believed: None,
            files: Counts { max, min_free },
            used,
            values: serde_json::json!({}),
        }
    }

    fn typed(run: &Run) -> String {
        let options = run.options("geo");
        let words = options.iter().filter(|(name, _)| *name != "name");
        let words = words.map(|(name, value)| format!(" {name}:{value}"));
        format!("{}{}", run.at.format("%H:%M"), words.collect::<String>())
    }

    #[test]
    fn what_is_raised_before_is_lowered_after() {
        let at = |text: &str| parse_time(text).unwrap();
        let wish = |ends_at| Wish {
            people: 30,
            workers: 0,
            starts_at: at("2026-12-04 08:00"),
            ends_at: at(ends_at),
            zone: chrono_tz::Tz::UTC,
            reason: "Course".to_owned(),
        };
        let (long, short) = (wish("2026-12-04 16:00"), wish("2026-12-04 08:20"));
        let times = EventTimes::default();
        for (was, used, nodes, wish, runs) in [
            (
                (5, 0),
                0,
                4,
                &long,
                vec!["07:30 at-least:4 min-free:4", "08:30 min-free:0"],
            ),
            // More than there may be, beside what others use.
            (
                (5, 1),
                0,
                9,
                &long,
                vec![
                    "07:30 at-least:9 max:9 min-free:9",
                    "08:30 min-free:1",
                    "17:00 max:5",
                ],
            ),
            (
                (5, 1),
                3,
                4,
                &long,
                vec![
                    "07:30 at-least:4 max:7 min-free:4",
                    "08:30 min-free:1",
                    "17:00 max:5",
                ],
            ),
            // It ends before the last have come.
            (
                (5, 0),
                0,
                2,
                &short,
                vec!["07:30 at-least:2 min-free:2", "08:20 min-free:0"],
            ),
            (
                (99, 0),
                0,
                60,
                &long,
                vec!["07:30 at-least:60 min-free:50", "08:30 min-free:0"],
            ),
            // More are kept free already.
            ((5, 3), 0, 2, &long, vec!["07:30 at-least:2"]),
        ] {
            let made = Runs::of(&found(was, used), nodes, wish, times);
            let all: Vec<String> = made.all().map(typed).collect();
            assert_eq!(all, runs);
            assert_eq!(
                made.last().format("%H:%M").to_string(),
                runs.last().unwrap()[..5]
            );
        }
    }
}
