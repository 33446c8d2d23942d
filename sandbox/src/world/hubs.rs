//! What the panel breaks of hubs, beside that they do not answer: gateway, pods, certificates.

use super::World;
use crate::faults::{Fault, On};

/// How many requests a fault lasts, unless it is healed before.
const MANY: u32 = 1_000_000;

/// What it breaks and mends: id, title, group, whether it wants a host, whether it hurts.
pub(super) const ACTIONS: &[(&str, &str, &str, bool, bool)] = &[
    (
        "gateway-503",
        "Dask gateways answer 503",
        "Front ends",
        false,
        true,
    ),
    (
        "pods-crash",
        "Schedulers' pods crash",
        "Front ends",
        false,
        true,
    ),
    (
        "certificates-end",
        "Certificates end in 10 days",
        "Front ends",
        false,
        true,
    ),
];

/// Does an action; `None` if it is not one of these.
pub(super) fn act(world: &World, action: &str) -> anyhow::Result<Option<String>> {
    let said = match action {
        "gateway-503" => {
            let faults = world.front_ends.hub_faults();
            let on = On::get("/services/dask-gateway");
            drop(faults.inject(on, Fault::answer(503, "Service Unavailable"), MANY));
            "the hubs' proxies do not reach the Dask gateways"
        }
        "pods-crash" => {
            every_pod(world, true);
            "the pods of user-scheduler start again and again"
        }
        "certificates-end" => {
            world.front_ends.issue_certificates(10)?;
            "the certificates of all hubs end in 10 days"
        }
        _ => return Ok(None),
    };
    Ok(Some(said.to_owned()))
}

/// Mends all of it.
pub(super) fn heal(world: &World) -> anyhow::Result<()> {
    every_pod(world, false);
    world.front_ends.issue_certificates(90)
}

fn every_pod(world: &World, crashes: bool) {
    let front_ends = &world.front_ends;
    for infrastructure in front_ends.infrastructures() {
        front_ends.crash_deployment(&infrastructure, "user-scheduler", crashes);
    }
}
