//! TOSCA, as much of it as Infrastructure Manager and the bot's templates need.
//!
//! Texts of errors were seen with IM 2.0.0, tracebacks included: clients have to cope with them.

use serde_json::{Map, Value};

use super::design::{Design, System};

/// Reads a template.
///
/// The error is the text after `Error parsing TOSCA template: `.
pub(super) fn read(text: &str) -> Result<Design, String> {
    let document: Value = serde_saphyr::from_str(text).map_err(|e| python_yaml(&e, text))?;
    if let Value::String(_) = document {
        return Err("'str' object has no attribute 'get'".to_owned());
    }
    design(document)
}

/// What a document describes.
pub(super) fn design(document: Value) -> Result<Design, String> {
    if !document.is_object() {
        return Err("'list' object has no attribute 'get'".to_owned());
    }
    if document.get("tosca_definitions_version").is_none() {
        return Err(failed(
            "MissingRequiredFieldError",
            "Template is missing required field \"tosca_definitions_version\".",
        ));
    }
    let inputs = inputs(&document)?;
    check_inputs_used(&document, &inputs)?;
    let nodes = document
        .pointer("/topology_template/node_templates")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let mut systems = Vec::new();
    for (name, node) in &nodes {
        let kind = node.get("type").and_then(Value::as_str).unwrap_or_default();
        if !kind.starts_with("tosca.") {
            let text = format!("Type \"{kind}\" is not a valid type.");
            return Err(failed("InvalidTypeError", &text));
        }
        if kind.ends_with(".Compute") {
            systems.push(system(name, node, &nodes, &inputs));
        }
    }
    // VM 0 must be a front end: IM sorts public ones first (IM/tosca/Tosca.py, _order_deploys).
    systems.sort_by_key(|system| !system.public);
    let mut networks = vec![("private_net".to_owned(), false)];
    if systems.iter().any(|system| system.public) {
        networks.push(("public_net".to_owned(), true));
    }
    Ok(Design {
        name: document
            .pointer("/metadata/infra_name")
            .and_then(Value::as_str)
            .map(str::to_owned),
        inputs,
        systems,
        networks,
        tosca: Some(document),
    })
}

/// Merges as `Tosca._merge_yaml` does: maps by key, lists by index.
pub(super) fn merge(into: &mut Value, other: &Value) {
    match (into, other) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(other)) => {
            for (key, value) in other {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(other)) => {
            for (index, value) in other.iter().enumerate() {
                match into.get_mut(index) {
                    Some(old) => merge(old, value),
                    None => into.push(value.clone()),
                }
            }
        }
        (into, other) => *into = other.clone(),
    }
}

/// The values of the inputs, after a check of their types.
fn inputs(document: &Value) -> Result<Map<String, Value>, String> {
    let mut values = Map::new();
    let declared = document.pointer("/topology_template/inputs");
    for (name, input) in declared.and_then(Value::as_object).into_iter().flatten() {
        let value = input.get("default").cloned().unwrap_or(Value::Null);
        let kind = input
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("string");
        // IM looks for `random(…)` in strings before the parser sees them.
        if let ("string", Some(python)) = (kind, not_a_string(&value)) {
            return Err(format!(
                "expected string or bytes-like object, got '{python}'"
            ));
        }
        if let Some(wrong) = wrong_type(kind, &value) {
            return Err(failed("ValueError", &wrong));
        }
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// The Python type of a value that is no string.
fn not_a_string(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null | Value::String(_) => None,
        Value::Bool(_) => Some("bool"),
        Value::Number(number) if number.is_f64() => Some("float"),
        Value::Number(_) => Some("int"),
        Value::Array(_) => Some("list"),
        Value::Object(_) => Some("dict"),
    }
}

/// A value as text, strings without quotes.
pub(super) fn shown(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

fn wrong_type(kind: &str, value: &Value) -> Option<String> {
    let shown = shown(value);
    let fits = match kind {
        _ if value.is_null() => true,
        "integer" => value.is_i64() || value.as_str().is_some_and(|t| t.parse::<i64>().is_ok()),
        "boolean" => {
            value.is_boolean() || matches!(shown.to_lowercase().as_str(), "true" | "false")
        }
        "scalar-unit.size" => bytes(value).is_some(),
        _ => true,
    };
    let noun = match kind {
        "integer" => "an integer",
        "boolean" => "a boolean",
        _ => "a valid scalar-unit",
    };
    (!fits).then(|| format!("\"{shown}\" is not {noun}."))
}

/// `4 GB` is decimal, `4 GiB` binary.
pub(super) fn bytes(size: &Value) -> Option<u64> {
    if let Some(bytes) = size.as_u64() {
        return Some(bytes);
    }
    let text = size.as_str()?.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text.get(..end)?.parse().ok()?;
    let unit = text.get(end..)?.trim().to_uppercase();
    let factor: u64 = match unit.as_str() {
        "" | "B" => 1,
        "K" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        "GIB" => 1 << 30,
        "TIB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Refuses `get_input` of an input that is not declared.
fn check_inputs_used(value: &Value, inputs: &Map<String, Value>) -> Result<(), String> {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("get_input").and_then(Value::as_str)
                && !inputs.contains_key(name)
            {
                let text = format!("Unknown input \"{name}\".");
                return Err(failed("UnknownInputError", &text));
            }
            map.values().try_for_each(|v| check_inputs_used(v, inputs))
        }
        Value::Array(list) => list.iter().try_for_each(|v| check_inputs_used(v, inputs)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// A value with its `get_input` replaced.
fn resolved(value: &Value, inputs: &Map<String, Value>) -> Value {
    match value.get("get_input") {
        Some(Value::String(name)) => inputs.get(name).cloned().unwrap_or(Value::Null),
        _ => value.clone(),
    }
}

fn system(
    name: &str,
    node: &Value,
    nodes: &Map<String, Value>,
    inputs: &Map<String, Value>,
) -> System {
    let property = |path: &str| {
        node.pointer(&format!("/capabilities/{path}"))
            .map(|value| resolved(value, inputs))
    };
    let number = |path: &str| {
        let value = property(path)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    let size = |value: Option<Value>| value.as_ref().and_then(bytes).filter(|bytes| *bytes > 0);
    let public = property("endpoint/properties/network_name")
        .and_then(|value| value.as_str().map(|name| name.starts_with("PUBLIC")))
        .unwrap_or(false);
    let mut networks = vec!["private_net".to_owned()];
    if public {
        networks.push("public_net".to_owned());
    }
    let volumes = node
        .get("requirements")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|requirement| requirement.pointer("/local_storage/node")?.as_str())
        .filter_map(|volume| nodes.get(volume)?.pointer("/properties/size"))
        .filter_map(|value| size(Some(resolved(value, inputs))))
        .collect();
    let removal_list = property("scalable/properties/removal_list")
        .and_then(|list| list.as_array().cloned())
        .unwrap_or_default();
    System {
        name: name.to_owned(),
        count: number("scalable/properties/count")
            .or_else(|| number("scalable/properties/default_instances"))
            .or_else(|| number("scalable/properties/min_instances"))
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(1),
        cpus: number("host/properties/num_cpus"),
        memory_bytes: size(property("host/properties/mem_size")),
        disk_bytes: size(property("host/properties/disk_size")),
        volumes_bytes: volumes,
        image: property("os/properties/image")
            .and_then(|image| image.as_str().map(str::to_owned))
            .filter(|image| !image.is_empty()),
        public,
        networks,
        removal_list: removal_list
            .iter()
            .filter_map(|n| shown(n).parse().ok())
            .collect(),
    }
}

/// What `outputs` can say about a running infrastructure.
pub(super) struct Facts<'a> {
    /// The public address of the front end.
    pub(super) public_address: Option<String>,
    /// User and secret of a login, as `credential` gives it.
    pub(super) login: Option<(String, String, &'static str)>,
    /// The kubeconfig of the front end, once configured.
    pub(super) kubeconfig: Option<String>,
    /// The values of the inputs.
    pub(super) inputs: &'a Map<String, Value>,
}

/// The values of the outputs.
pub(super) fn outputs(document: &Value, facts: &Facts<'_>) -> Map<String, Value> {
    let declared = document.pointer("/topology_template/outputs");
    declared
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, output)| {
            let value = output.get("value").unwrap_or(&Value::Null);
            (name.clone(), evaluated(value, facts))
        })
        .collect()
}

fn evaluated(value: &Value, facts: &Facts<'_>) -> Value {
    let Some((function, argument)) = value.as_object().and_then(|map| map.iter().next()) else {
        return value.clone();
    };
    match (function.as_str(), argument) {
        ("get_input", Value::String(name)) => {
            facts.inputs.get(name).cloned().unwrap_or(Value::Null)
        }
        ("concat", Value::Array(parts)) => {
            let parts: Vec<Value> = parts.iter().map(|part| evaluated(part, facts)).collect();
            if parts.iter().any(Value::is_null) {
                return Value::Null;
            }
            Value::String(parts.iter().map(shown).collect())
        }
        ("get_attribute", Value::Array(path)) => attribute(path, facts),
        _ => value.clone(),
    }
}

fn attribute(path: &[Value], facts: &Facts<'_>) -> Value {
    let has = |word: &str| path.iter().any(|part| part.as_str() == Some(word));
    if has("public_address") {
        return facts.public_address.clone().into();
    }
    if has("credential") {
        return match &facts.login {
            Some((user, token, kind)) => serde_json::json!({
                "user": user, "token": token, "token_type": kind,
            }),
            None => Value::Null,
        };
    }
    if has("kube_conf") {
        // What Ansible registered is JSON: the kubeconfig is its `stdout`.
        return match &facts.kubeconfig {
            Some(text) => Value::String(serde_json::json!({ "stdout": text }).to_string()),
            None => Value::Null,
        };
    }
    Value::Null
}

/// An error of the TOSCA parser, with its traceback.
fn failed(kind: &str, text: &str) -> String {
    const PACKAGES: &str = "/usr/local/lib/python3.12/site-packages";
    let frames = [
        ("IM/im_service.py", 200, "main", "launch_daemon()"),
        ("IM/im_service.py", 64, "launch_daemon", "rest_server.run()"),
        (
            "uvicorn/protocols/http/httptools_impl.py",
            422,
            "run_asgi",
            "result = await app(  # type: ignore[func-returns-value]",
        ),
        (
            "IM/rest/routers/__init__.py",
            244,
            "parse_deployment",
            "tosca_data = Tosca(raw)",
        ),
        (
            "IM/tosca/Tosca.py",
            50,
            "__init__",
            "self.tosca = ToscaTemplate(yaml_dict_tpl=copy.deepcopy(self.yaml))",
        ),
        (
            "toscaparser/tosca_template.py",
            107,
            "__init__",
            "self.topology_template = self._topology_template()",
        ),
        (
            "toscaparser/entity_template.py",
            277,
            "_common_validate_field",
            "ExceptionCollector.appendException(",
        ),
    ];
    let mut error = format!(
        "\nThe pre-parsed input failed validation with the following error(s): \n\n\t{kind}: {text}\n"
    );
    for (file, line, function, code) in frames {
        error.push_str(&format!(
            "\t\tFile {PACKAGES}/{file}, line {line}, in {function}\n\t\t\t{code}\n"
        ));
    }
    error
}

/// An error of the YAML parser, in `PyYAML`'s form.
fn python_yaml(error: &serde_saphyr::Error, text: &str) -> String {
    let (line, column) = error
        .location()
        .map_or((1, 1), |at| (at.line(), at.column()));
    let source = usize::try_from(line.saturating_sub(1))
        .ok()
        .and_then(|line| text.lines().nth(line))
        .unwrap_or_default();
    let caret = " ".repeat(usize::try_from(column.saturating_sub(1)).unwrap_or(0));
    format!(
        "while parsing a block mapping\n  in \"<unicode string>\", line {line}, column {column}:\n    \
         {source}\n    {caret}^\nexpected <block end>, but found '<stream end>'\n  \
         in \"<unicode string>\", line {line}, column {column}:\n    {source}\n    {caret}^"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SMALL: &str = "
tosca_definitions_version: tosca_simple_yaml_1_0
metadata: {infra_name: geo}
topology_template:
  inputs:
    wn_num: {type: integer, default: 2}
    kube_public_dns_name: {type: string, default: geo.example}
  node_templates:
    wn:
      type: tosca.nodes.indigo.Compute
      capabilities:
        scalable: {properties: {count: {get_input: wn_num}}}
        host: {properties: {num_cpus: 4, mem_size: 8 GB, disk_size: 20 GiB}}
    front:
      type: tosca.nodes.indigo.Compute
      capabilities:
        endpoint: {properties: {network_name: PUBLIC}}
        host: {properties: {num_cpus: 2, mem_size: 4 GB}}
      requirements:
        - local_storage: {node: disk}
    disk: {type: tosca.nodes.BlockStorage, properties: {size: 10 GiB}}
  outputs:
    url: {value: {concat: ['https://', {get_attribute: [front, public_address, 0]}, '/']}}
    host: {value: {get_input: kube_public_dns_name}}
";

    #[test]
    fn the_front_end_comes_first_and_the_estimate_is_that_of_im() {
        let design = read(SMALL).unwrap();
        assert_eq!(design.name.as_deref(), Some("geo"));
        assert_eq!(design.host(), Some("geo.example"));
        let names: Vec<&str> = design.systems.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["front", "wn"]);
        let (compute, storage) = design.estimate();
        // As IM 2.0.0 answers for the same template.
        let worker = json!({"cpuCores": 4, "memoryInMegabytes": 8000, "diskSizeInGigabytes": 21});
        assert_eq!(
            json!({"compute": compute, "storage": storage}),
            json!({
                "compute": [
                    {"cpuCores": 2, "memoryInMegabytes": 4000, "publicIP": 1},
                    worker, worker
                ],
                "storage": [
                    {"sizeInGigabytes": 11}, {"sizeInGigabytes": 21}, {"sizeInGigabytes": 21}
                ]
            })
        );
    }

    #[test]
    fn outputs_are_null_until_there_is_an_address() {
        let design = read(SMALL).unwrap();
        let mut facts = Facts {
            public_address: None,
            login: None,
            kubeconfig: None,
            inputs: &design.inputs,
        };
        let document = design.tosca.as_ref().unwrap();
        assert_eq!(outputs(document, &facts)["url"], Value::Null);
        facts.public_address = Some("127.7.0.1".to_owned());
        assert_eq!(outputs(document, &facts)["url"], "https://127.7.0.1/");
        assert_eq!(outputs(document, &facts)["host"], "geo.example");
    }

    #[test]
    fn bad_templates_are_refused_in_the_words_of_the_parser() {
        for (change, expected) in [
            (
                ("default: 2", "default: two"),
                "ValueError: \"two\" is not an integer.",
            ),
            (
                ("get_input: wn_num", "get_input: wn_nun"),
                "UnknownInputError: Unknown input \"wn_nun\".",
            ),
            (
                ("tosca_definitions_version", "version"),
                "MissingRequiredFieldError:",
            ),
        ] {
            let error = read(&SMALL.replace(change.0, change.1)).unwrap_err();
            assert!(
                error.contains(expected) && error.contains("File /"),
                "{error}"
            );
        }
        let error = read(&SMALL.replace("default: geo.example", "default: 1.30")).unwrap_err();
        assert_eq!(error, "expected string or bytes-like object, got 'float'");
        assert!(
            read("a: [b")
                .unwrap_err()
                .contains("in \"<unicode string>\", line")
        );
        assert_eq!(
            read("just text").unwrap_err(),
            "'str' object has no attribute 'get'"
        );
    }

    #[test]
    fn merging_goes_by_key_and_by_index() {
        let mut into = json!({"a": {"b": 1, "c": [1, {"d": 2}]}, "e": 1});
        merge(
            &mut into,
            &json!({"a": {"b": 2, "c": [3, {"f": 4}, 5]}, "e": null}),
        );
        assert_eq!(
            into,
            json!({"a": {"b": 2, "c": [3, {"d": 2, "f": 4}, 5]}, "e": 1})
        );
    }
}
