//! The sections of what runs by itself: schedules and events.

use std::time::Duration;

use serde::Deserialize;

use super::sections::seconds;
use crate::domain::event::EventTimes;
use crate::domain::schedule::ScheduleTimes;

/// `[schedules]`: what runs by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedules {
    /// How long before a run the channel is told.
    #[serde(rename = "announce_before_s", deserialize_with = "seconds")]
    pub announce_before: Duration,
    /// How late a run may start.
    #[serde(rename = "late_at_most_s", deserialize_with = "seconds")]
    pub late_at_most: Duration,
}

impl Schedules {
    /// The same for other parts.
    pub fn times(&self) -> ScheduleTimes {
        ScheduleTimes {
            announce_before: self.announce_before,
            late_at_most: self.late_at_most,
        }
    }
}

impl Default for Schedules {
    fn default() -> Self {
        let times = ScheduleTimes::default();
        Self {
            announce_before: times.announce_before,
            late_at_most: times.late_at_most,
        }
    }
}

/// `[events]`: courses.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// How long before an event its nodes are powered on.
    #[serde(rename = "scale_up_before_s", deserialize_with = "seconds")]
    pub scale_up_before: Duration,
    /// How long after its start an event's nodes are kept free.
    #[serde(rename = "people_come_within_s", deserialize_with = "seconds")]
    pub people_come_within: Duration,
    /// How long after an event the cluster is as small as before.
    #[serde(rename = "scale_down_after_s", deserialize_with = "seconds")]
    pub scale_down_after: Duration,
}

impl Events {
    /// The same for other parts.
    pub fn times(&self) -> EventTimes {
        EventTimes {
            scale_up_before: self.scale_up_before,
            people_come_within: self.people_come_within,
            scale_down_after: self.scale_down_after,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        let times = EventTimes::default();
        Self {
            scale_up_before: times.scale_up_before,
            people_come_within: times.people_come_within,
            scale_down_after: times.scale_down_after,
        }
    }
}
