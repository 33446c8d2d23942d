//! RADL, IM's own language: reading what tests send, writing what IM answers.

use serde_json::{Map, Value, json};

use super::design::{Design, System};
use super::tosca::bytes;

/// Reads a RADL text. The error is the text after `Error parsing request body: `.
pub(super) fn read(text: &str) -> Result<Design, String> {
    let mut design = Design::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (words, body, after) = statement(rest).ok_or("Parse error in: None")?;
        match words.as_slice() {
            ["network", id] => {
                let outbound = features(body)
                    .into_iter()
                    .any(|(n, v)| n == "outbound" && v == "yes");
                design.networks.push(((*id).to_owned(), outbound));
            }
            ["system", name] => design.systems.push(system(name, body)),
            ["deploy", name, count] => {
                let count = count
                    .parse()
                    .map_err(|_not_a_number| "Parse error in: deploy")?;
                match design.systems.iter_mut().find(|s| s.name == *name) {
                    Some(system) => system.count = count,
                    None => return Err(format!("{name} does not define any system")),
                }
            }
            ["description", _] => {
                let mut pairs = features(body).into_iter();
                design.name = pairs.find(|(n, _)| n == "name").map(|(_, value)| value);
            }
            ["contextualize"] => {}
            [..] => return Err("Parse error in: None".to_owned()),
        }
        rest = after.trim_start();
    }
    let networks = design.networks.clone();
    for system in &mut design.systems {
        system.public = system
            .networks
            .iter()
            .any(|name| networks.iter().any(|(id, public)| id == name && *public));
    }
    Ok(design)
}

/// The words before `(…)`, what is inside, and the rest of the text.
fn statement(text: &str) -> Option<(Vec<&str>, &str, &str)> {
    let line = text.lines().next()?;
    if line.starts_with("deploy ") {
        let words = line.split_whitespace().collect();
        return Some((words, "", text.get(line.len()..)?));
    }
    let (head, rest) = text.split_once('(')?;
    let (body, after) = rest.split_once(')')?;
    Some((head.split_whitespace().collect(), body, after))
}

/// The pairs of `a = 'b' and c >= 2`, without quotes and operators.
fn features(body: &str) -> Vec<(String, String)> {
    body.split(" and")
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = name.trim().trim_end_matches(['>', '<']).trim();
            let value = value.trim().trim_matches('\'').to_owned();
            Some((name.to_owned(), value))
        })
        .collect()
}

fn system(name: &str, body: &str) -> System {
    let mut system = System {
        name: name.to_owned(),
        ..System::default()
    };
    for (name, value) in features(body) {
        match name.as_str() {
            "cpu.count" => system.cpus = value.parse().ok(),
            "memory.size" => system.memory_bytes = bytes(&Value::String(value)),
            "disk.0.free_size" | "disk.0.size" => {
                system.disk_bytes = bytes(&Value::String(value));
            }
            "disk.0.image.url" => system.image = Some(value),
            _ if name.starts_with("net_interface.") && name.ends_with(".connection") => {
                system.networks.push(value);
            }
            _ => {}
        }
    }
    system
}

/// A system as IM's JSON has it; `>=` becomes the suffix `_min`.
pub(super) fn system_json(system: &System) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("class".to_owned(), json!("system"));
    object.insert("id".to_owned(), json!(system.name));
    object.insert("instance_name".to_owned(), json!(system.name));
    object.insert("disk.0.os.name".to_owned(), json!("linux"));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    put("disk.0.image.url", system.image.clone().map(Value::from));
    put("cpu.count_min", system.cpus.map(Value::from));
    put("memory.size_min", system.memory_bytes.map(Value::from));
    put("disk.0.size_min", system.disk_bytes.map(Value::from));
    for (n, bytes) in system.volumes_bytes.iter().enumerate() {
        put(&format!("disk.{}.size", n + 1), Some((*bytes).into()));
    }
    for (n, network) in system.networks.iter().enumerate() {
        let name = format!("net_interface.{n}.connection");
        put(&name, Some(json!(network)));
    }
    object
}

/// The networks as IM's JSON has them.
pub(super) fn networks_json(design: &Design) -> Vec<Value> {
    let outbound = |public: bool| if public { "yes" } else { "no" };
    design
        .networks
        .iter()
        .map(|(id, public)| json!({"class": "network", "id": id, "outbound": outbound(*public)}))
        .collect()
}

/// RADL text of objects in IM's JSON form.
pub(super) fn text(objects: &[Value]) -> String {
    let mut text = String::new();
    for object in objects.iter().filter_map(Value::as_object) {
        let of = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        if of("class") == "network" {
            let line = format!("network {} ( outbound = '{}' )\n", of("id"), of("outbound"));
            text.push_str(&line);
            continue;
        }
        let features: Vec<String> = object
            .iter()
            .filter(|(name, _)| *name != "class" && *name != "id")
            .map(|(name, value)| feature(name, value))
            .collect();
        let body = features.join(" and\n");
        text.push_str(&format!("system {} (\n{body}\n)\n\n", of("id")));
    }
    text
}

fn feature(name: &str, value: &Value) -> String {
    let (name, operator) = match name.strip_suffix("_min") {
        Some(name) => (name, ">="),
        None => (name, "="),
    };
    if let Value::String(text) = value {
        return format!("{name} {operator} '{text}'");
    }
    let unit = if name.ends_with(".size") { "B" } else { "" };
    format!("{name} {operator} {value}{unit}")
}

/// The whole design as RADL text.
pub(super) fn design_text(design: &Design) -> String {
    let mut whole = String::new();
    if let Some(name) = &design.name {
        whole.push_str(&format!("description desc (name = '{name}')\n"));
    }
    let mut objects = networks_json(design);
    objects.extend(design.systems.iter().map(|s| Value::Object(system_json(s))));
    whole.push_str(&text(&objects));
    whole.push_str("contextualize ()\n");
    for system in &design.systems {
        whole.push_str(&format!("deploy {} {}\n", system.name, system.count));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: &str = "network public (outbound = 'yes')
system front (
cpu.count>=2 and
memory.size>=4g and
net_interface.0.connection = 'public' and
disk.0.image.url = 'mock0://linux.for.ev.er/image1'
)
deploy front 1
contextualize ()
";

    #[test]
    fn what_is_written_is_what_was_read() {
        let design = read(FRONT).unwrap();
        assert_eq!(design.systems[0].cpus, Some(2));
        assert_eq!(design.systems[0].memory_bytes, Some(4_000_000_000));
        assert!(design.systems[0].public);
        assert_eq!(read(&design_text(&design)).unwrap(), design);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(read("system front (").unwrap_err(), "Parse error in: None");
        assert_eq!(read("hello").unwrap_err(), "Parse error in: None");
        assert!(read("").unwrap().systems.is_empty());
    }
}
