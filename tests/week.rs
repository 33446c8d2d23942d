//! Simulated days of one cluster: what the watch tells, and what it does not.
#![cfg(test)]

#[path = "week/simulation.rs"]
mod simulation;

use pangeo_bot::domain::diagnosis::Cause;
use simulation::{FAULTS, Fault, LOOK_S, Simulation, faulty_days, limits};

const WEEK: i64 = 7 * 86_400;

#[test]
fn a_normal_week_is_told_nothing() {
    for seed in 0..5 {
        let told = Simulation::new(seed, Vec::new()).watch(WEEK);
        assert!(told.is_empty(), "seed {seed}: {told:?}");
    }
}

#[test]
fn every_fault_alone_is_told_in_time_by_its_cause_and_is_over_with_it() {
    for cause in FAULTS {
        let fault = Fault {
            cause,
            from: 10 * 3600,
            until: 12 * 3600,
        };
        let told = Simulation::new(7, vec![fault]).watch(20 * 3600);
        let [only] = told.as_slice() else {
            panic!("{}: {told:?}", cause.as_str());
        };
        assert_eq!(only.cause.as_deref(), Some(cause.as_str()), "{only:?}");
        let limits = limits();
        // What breaks a node on its way is no stall before the node is late, or seen to be lost.
        let slack = if [Cause::NotConfigured, Cause::MaximumReached].contains(&cause) {
            limits.boot.num_seconds()
        } else if [Cause::NodeNotReady, Cause::NotScaling].contains(&cause) {
            // Nobody waits for a node, or others come.
            limits.latent_after.num_seconds()
        } else {
            2 * LOOK_S
        };
        let latest = fault.from + limits.stalls_after.num_seconds() + slack + LOOK_S;
        assert!(only.at <= latest, "{}: {only:?}", cause.as_str());
        let until = only.until.unwrap_or(i64::MAX);
        assert!(until >= fault.until, "{}: {only:?}", cause.as_str());
        // A refusal of the cloud stands in the log of the last hour if nobody asks again.
        assert!(until <= fault.until + 3600, "{}: {only:?}", cause.as_str());
    }
}

#[test]
fn thirty_random_faults_are_all_found_and_none_is_invented() {
    for seed in 0..20 {
        let days = faulty_days(seed, 30);
        assert!(days.missed.is_empty(), "seed {seed}: {days:#?}");
        assert!(days.invented.is_empty(), "seed {seed}: {days:#?}");
        assert_eq!(days.told, days.faults, "seed {seed}: each once");
    }
}
