//! What the watch tells over simulated days of one cluster, by the product's own rules.

#[path = "../../tests/week/simulation.rs"]
mod simulation;

use simulation::{Days, LOOK_S, Simulation, faulty_days};

use crate::table::Row;

const WEEK: i64 = 7 * 86_400;
const SEEDS: u64 = 20;
const FAULTS: usize = 30;

/// A week without and days with faults, over some seeds.
pub(crate) fn rows() -> [Row; 3] {
    let began = std::time::Instant::now();
    let told: usize = (0..SEEDS)
        .map(|seed| Simulation::new(seed, Vec::new()).watch(WEEK).len())
        .sum();
    let looks = SEEDS * u64::try_from(WEEK / LOOK_S).unwrap_or(1);
    let took = began.elapsed().as_micros() / u128::from(looks);
    let days: Vec<Days> = (0..SEEDS).map(|seed| faulty_days(seed, FAULTS)).collect();
    let sum = |of: fn(&Days) -> usize| days.iter().map(of).sum::<usize>();
    let (faults, missed) = (sum(|days| days.faults), sum(|days| days.missed.len()));
    let (alerts, invented) = (sum(|days| days.told), sum(|days| days.invented.len()));
    [
        Row::new(
            format!("{SEEDS} simulated weeks without a fault"),
            format!("{told} alerts in {looks} looks, {took} µs each"),
            "0 alerts",
        ),
        Row::new(
            format!("{FAULTS} random faults in simulated days, {SEEDS} times: recall"),
            format!("{} of {faults} found", faults - missed),
            "all",
        ),
        Row::new(
            "the same: precision",
            format!("{} of {alerts} alerts right", alerts - invented),
            "all",
        ),
    ]
}
