//! What the panel shows and does about the growing of clusters: nodes, pods and users, the causes of
//! a stall, and how fast pretend time goes.

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{StallCause, World, hubs};
use crate::frontend::ServerSize;

/// The paces that the panel offers.
const PACES: [u32; 4] = [1, 10, 60, 600];

/// The seed of the users whom the panel lets come.
const SEED: u64 = 1;

/// Clusters with a front end: id and name.
fn clusters(world: &World) -> Vec<(String, String)> {
    let views = world.im.infrastructures().into_iter();
    views
        .filter(|view| world.front_ends.address(&view.id).is_some())
        .map(|view| {
            let name = view.name.unwrap_or_else(|| view.id.clone());
            (view.id, name)
        })
        .collect()
}

/// How a cluster's nodes, pods and users are.
pub(super) fn rows(world: &World, id: &str) -> Vec<Value> {
    let front_ends = &world.front_ends;
    let nodes = front_ends.nodes(id);
    let count = |states: &[&str]| {
        let of = nodes.iter().filter(|n| states.contains(&n.state.as_str()));
        of.count()
    };
    let (on, coming) = (count(&["idle", "used", "on (err"]), count(&["powon"]));
    let failed = count(&["off (err"]);
    let mut words = format!("{on} of {} on", nodes.len());
    if coming > 0 {
        words.push_str(&format!(", {coming} come"));
    }
    if failed > 0 {
        words.push_str(&format!(", {failed} failed"));
    }
    let servers = front_ends.servers(id);
    let running = servers.iter().filter(|(_, node)| node.is_some()).count();
    let waiting = servers.len() - running;
    let state = |bad: bool, other: &'static str| if bad { "warn" } else { other };
    let mut rows = vec![
        json!([
            "  nodes",
            words,
            state(failed > 0, if coming > 0 { "busy" } else { "ok" })
        ]),
        json!([
            "  servers",
            format!("{running} run, {waiting} wait"),
            state(waiting > 0, "ok")
        ]),
    ];
    if let Some(clock) = front_ends.load_clock(id) {
        rows.push(json!(["  users come and go", clock, "busy"]));
    }
    let causes = world.causes(id);
    let titles = causes.iter().map(|cause| cause.title());
    rows.extend(titles.map(|title| json!(["  can't grow", title, "bad"])));
    rows
}

/// How fast time goes.
pub(super) fn time(world: &World) -> Vec<Value> {
    let words = match world.pace() {
        Some(times) => format!("{times} ×"),
        None => "as it began".to_owned(),
    };
    vec![json!(["pretend time", words, ""])]
}

/// The actions that there are now.
pub(super) fn actions(world: &World) -> Vec<Value> {
    let clusters = clusters(world);
    let mut actions: Vec<Value> = PACES
        .iter()
        .map(|pace| {
            let tick = if world.pace() == Some(*pace) {
                "✓ "
            } else {
                ""
            };
            json!({
                "id": format!("pace-{pace}"), "title": format!("{tick}{pace} ×"), "group": "Time",
                "args": [], "danger": false
            })
        })
        .collect();
    if clusters.is_empty() {
        return actions;
    }
    let only = (clusters.len() == 1).then(|| clusters.first()).flatten();
    let choices: Vec<Value> = clusters
        .iter()
        .map(|(id, name)| json!({ "value": id, "name": name }))
        .collect();
    let which =
        json!({ "name": "cluster", "title": "Cluster", "kind": "choice", "choices": choices });
    let switch =
        json!({ "name": "on", "title": "Switch", "kind": "choice", "choices": ["on", "off"] });
    // With one cluster a button knows what to do; with several it must be told.
    let toggle = |id: &str, group: &str, title: &str, is_on: bool, hurts: bool| {
        let (title, args, danger) = match only {
            Some(_) if is_on => (format!("✓ {title}"), json!([]), false),
            Some(_) => (title.to_owned(), json!([]), hurts),
            None => (title.to_owned(), json!([which, switch]), hurts),
        };
        json!({ "id": id, "title": title, "group": group, "args": args, "danger": danger })
    };
    let load = only.and_then(|(id, _)| world.front_ends.load_clock(id));
    let comes = load.is_some();
    actions.push(toggle("load", "Users", "Users come and go", comes, false));
    actions.extend(servers(only.is_none().then_some(&which)));
    let on = only.map(|(id, _)| world.causes(id)).unwrap_or_default();
    actions.extend(StallCause::ALL.iter().map(|cause| {
        let id = format!("stall-{}", cause.id());
        toggle(
            &id,
            "Why it can't grow",
            cause.title(),
            on.contains(cause),
            true,
        )
    }));
    actions
}

/// A user's own server; `which` asks for the cluster where there are several.
fn servers(which: Option<&Value>) -> [Value; 2] {
    let user = json!({ "name": "user", "title": "User", "kind": "text", "default": "dan" });
    let stop: Vec<Value> = which.cloned().into_iter().chain([user]).collect();
    let mut start = stop.clone();
    start.push(json!({ "name": "cpus", "title": "CPUs", "kind": "number", "default": 1 }));
    start.push(json!({ "name": "memory", "title": "GB", "kind": "number", "default": 4 }));
    let action = |id: &str, title: &str, args: Vec<Value>| json!({ "id": id, "title": title, "group": "Users", "args": args, "danger": false });
    [
        action("server-start", "A user starts a server", start),
        action("server-stop", "A user stops it", stop),
    ]
}

/// Does an action; `None` if it is not one of these.
pub(super) fn act(
    world: &World,
    action: &str,
    args: &Map<String, Value>,
) -> anyhow::Result<Option<String>> {
    if let Some(pace) = action.strip_prefix("pace-") {
        let pace = pace.parse().context("this is no pace")?;
        world.set_pace(pace);
        return Ok(Some(format!("pretend time passes {pace} times as fast")));
    }
    let text = |name: &str| args.get(name).and_then(Value::as_str).map(str::trim);
    let clusters = clusters(world);
    let cluster = || {
        let found = match text("cluster") {
            Some(id) => clusters.iter().find(|(known, _)| known == id),
            None => clusters.first(),
        };
        found.context("there is no such cluster")
    };
    let cause = action.strip_prefix("stall-").and_then(StallCause::of_id);
    let said = match (action, cause) {
        ("load", _) => {
            let (id, name) = cluster()?;
            let is_on = world.front_ends.load_clock(id).is_some();
            let on = text("on").map_or(!is_on, |word| word == "on");
            world.front_ends.set_load(id, on.then_some(SEED));
            let word = if on { "come and go" } else { "have gone" };
            format!("users of {name} {word}")
        }
        ("server-start", _) => {
            let (id, name) = cluster()?;
            let number = |name: &str| args.get(name).and_then(Value::as_u64).unwrap_or(1);
            let user = user(text("user"))?;
            let size = ServerSize {
                cpu_milli: number("cpus").min(1000) * 1000,
                memory: number("memory").min(10_000) * 1_000_000_000,
            };
            world.front_ends.stop_server(id, user);
            world.front_ends.start_server(id, user, size);
            format!("{user} starts a server on {name}")
        }
        ("server-stop", _) => {
            let (id, _) = cluster()?;
            let user = user(text("user"))?;
            world.front_ends.stop_server(id, user);
            format!("{user}'s server is gone")
        }
        (_, Some(cause)) => {
            let (id, name) = cluster()?;
            let is_on = world.causes(id).contains(&cause);
            let on = text("on").map_or(!is_on, |word| word == "on");
            world.cause(id, cause, on)?;
            let word = if on { "on" } else { "off" };
            format!("{} is {word} in {name}", cause.title())
        }
        (_, None) => return hubs::act(world, action),
    };
    Ok(Some(said))
}

/// A name that can be part of a pod's.
fn user(text: Option<&str>) -> anyhow::Result<&str> {
    let is_good = |text: &&str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=30).contains(&text.len()) && text.bytes().all(allowed)
    };
    text.filter(is_good)
        .context("give a name of small letters, digits and dashes")
}
