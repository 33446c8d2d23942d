//! One VM, as IM describes it in RADL.

use serde_json::{Map, Value, json};

use super::design::System;
use super::radl;
use super::state::{Infrastructure, Vm};

/// Networks and the system of a VM, in IM's JSON form.
pub(super) fn objects(infrastructure: &Infrastructure, vm: &Vm) -> Vec<Value> {
    let mut objects = radl::networks_json(&infrastructure.design);
    let system = infrastructure.design.system(&vm.system);
    objects.push(Value::Object(system_of(infrastructure, vm, system)));
    objects
}

fn system_of(
    infrastructure: &Infrastructure,
    vm: &Vm,
    system: Option<&System>,
) -> Map<String, Value> {
    let mut object = system.map(radl::system_json).unwrap_or_default();
    let kind = if infrastructure.is_dummy() {
        "Dummy"
    } else {
        "OpenStack"
    };
    object.insert("state".to_owned(), json!(vm.state.word()));
    object.insert("provider.type".to_owned(), json!(kind));
    let name = match super::workers::node_name(infrastructure, vm) {
        Some(node) => node,
        None => format!("vnode-{}", vm.number),
    };
    object.insert("net_interface.0.dns_name".to_owned(), json!(name));
    let public_at = system.and_then(|system| {
        let is_public = |id: &String| {
            let mut networks = infrastructure.design.networks.iter();
            networks.any(|(network, public)| network == id && *public)
        };
        system.networks.iter().position(is_public)
    });
    let optional = [
        ("net_interface.0.ip".to_owned(), &vm.private_address),
        (
            format!("net_interface.{}.ip", public_at.unwrap_or(1)),
            &vm.public_address,
        ),
        ("disk.0.os.credentials.username".to_owned(), &vm.user),
        ("disk.0.os.credentials.password".to_owned(), &vm.password),
        (
            "disk.0.os.credentials.private_key".to_owned(),
            &vm.private_key,
        ),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            object.insert(name, json!(value));
        }
    }
    object
}
