//! The clouds: images, quotas, and what they refuse.

use serde_json::{Value, json};

use super::Inner;
use super::auth::{Cloud, CloudKind};
use super::design::Design;
use super::state::{ImState, Infrastructure};

/// The images of every site.
const IMAGES: [(&str, &str); 2] = [
    ("ubuntu-focal", "Image for Ubuntu 20.04 [Ubuntu/20.04]"),
    ("ubuntu-jammy", "Image for Ubuntu 22.04 [Ubuntu/22.04]"),
];

/// What others use of a site, and the limit, unless it was set otherwise.
const QUOTAS: [(&str, f64, f64); 5] = [
    ("cores", 20.0, 400.0),
    ("ram", 80.0, 1600.0),
    ("instances", 5.0, 100.0),
    ("floating_ips", 1.0, 20.0),
    ("security_groups", 3.0, 100.0),
];

pub(super) fn images(cloud: &Cloud) -> Value {
    let list: Vec<Value> = match cloud.kind {
        CloudKind::Dummy => (1..=2)
            .map(|n| {
                json!({
                    "uri": format!("mock0://linux.for.ev.er/image{n}"),
                    "name": format!("Image Name{n}"),
                })
            })
            .collect(),
        CloudKind::Site => IMAGES
            .iter()
            .map(
                |(id, name)| json!({"uri": format!("ost://{}/{id}", cloud.server()), "name": name}),
            )
            .collect(),
    };
    Value::Array(list)
}

pub(super) fn quotas(cloud: &Cloud, state: &ImState) -> Value {
    let mut answer = serde_json::Map::new();
    for (resource, used, limit) in QUOTAS {
        let (used, limit) = match cloud.kind {
            CloudKind::Dummy => (1.0, 10.0),
            CloudKind::Site => used_and_limit(resource, (used, limit), state),
        };
        answer.insert(
            resource.to_owned(),
            json!({"used": whole(used), "limit": whole(limit)}),
        );
    }
    Value::Object(answer)
}

/// Whole numbers as such, as Nova has them.
fn whole(number: f64) -> Value {
    match format!("{number:.0}").parse::<i64>() {
        Ok(integer) if (number - number.round()).abs() < 0.001 => integer.into(),
        Ok(_) | Err(_) => number.into(),
    }
}

fn used_and_limit(resource: &str, default: (f64, f64), state: &ImState) -> (f64, f64) {
    let (others, limit) = state.quotas.get(resource).copied().unwrap_or(default);
    let is_on_site = |i: &&Infrastructure| !i.is_dummy() && !i.failed && !i.vms.is_empty();
    let ours: f64 = state
        .infrastructures
        .values()
        .filter(is_on_site)
        .flat_map(Infrastructure::needs)
        .filter(|(name, _)| *name == resource)
        .map(|(_, amount)| amount)
        .sum();
    (others + ours, limit)
}

/// Why a site does not let us in; `None` if it does.
pub(super) fn login_refusal(im: &Inner, cloud: &Cloud) -> Option<String> {
    let refuses = |token: &String| {
        let checkin = im.checkin.as_deref();
        checkin.is_some_and(|checkin| checkin.valid_token(token).is_none())
    };
    let refused = cloud.kind == CloudKind::Site && cloud.token.as_ref().is_some_and(refuses);
    refused.then(|| "The request you have made requires authentication. (HTTP 401)".to_owned())
}

/// Why a site would not take the machines; `None` if it would.
pub(super) fn refusal(im: &Inner, cloud: &Cloud, design: &Design) -> Option<String> {
    if cloud.kind == CloudKind::Dummy {
        return None;
    }
    if let Some(text) = login_refusal(im, cloud) {
        return Some(text);
    }
    let known = images(cloud);
    let is_known = |image: &str| {
        let mut list = known.as_array().into_iter().flatten();
        list.any(|known| known["uri"] == image)
    };
    if let Some(system) = design
        .systems
        .iter()
        .find(|system| !system.image.as_deref().is_some_and(is_known))
    {
        return Some(format!(
            "Error, no concrete system to deploy: {} in cloud: {}. Check if a correct image is \
             being used",
            system.name, cloud.id
        ));
    }
    // The new infrastructure is already among those counted.
    no_room(&im.state.read(), &[])
}

/// What a site says when one more machine of a system does not fit into the quota.
pub(super) fn no_room_for(
    state: &ImState,
    infrastructure: &Infrastructure,
    system: &str,
) -> Option<String> {
    let mut one = infrastructure.design.clone();
    one.systems.retain(|known| known.name == system);
    for system in &mut one.systems {
        system.count = 1;
    }
    no_room(state, &one.needs())
}

/// Which quota would be exceeded if `more` were used too.
fn no_room(state: &ImState, more: &[(&str, f64)]) -> Option<String> {
    QUOTAS.iter().find_map(|(resource, used, limit)| {
        let (used, limit) = used_and_limit(resource, (*used, *limit), state);
        let more = more.iter().find(|(name, _)| name == resource);
        let used = used + more.map_or(0.0, |(_, amount)| *amount);
        (limit >= 0.0 && used > limit).then(|| {
            format!(
                "Quota exceeded for {resource}: {used:.0} of {limit:.0} {resource} would be in use \
                 (HTTP 403)"
            )
        })
    })
}

/// What others use of a quota unless it was set otherwise.
pub(super) fn used_by_others(resource: &str) -> Option<f64> {
    let quota = QUOTAS.iter().find(|(name, _, _)| *name == resource);
    quota.map(|(_, others, _)| *others)
}

/// What is used of a quota of every site and its limit; `None` if there is no such quota.
pub(super) fn quota(state: &ImState, resource: &str) -> Option<(f64, f64)> {
    let (_, used, limit) = QUOTAS.iter().find(|(name, _, _)| *name == resource)?;
    Some(used_and_limit(resource, (*used, *limit), state))
}
