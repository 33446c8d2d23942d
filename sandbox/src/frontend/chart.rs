//! The pretend chart `daskhub`: its versions, its schemas, and how they judge values.
//!
//! The schemas are ours and cover the fields that the bot writes; the real ones are longer.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::{Value, json};

/// Its name.
pub(super) const NAME: &str = "daskhub";

/// The versions that the pretend repository has, newest first.
pub(super) const VERSIONS: [&str; 4] = ["2024.1.1", "2024.1.0", "2023.1.0", "2022.8.2"];

/// The versions of the sub-charts that a version brings: JupyterHub (the chart), JupyterHub (the
/// program), Dask Gateway.
pub(super) fn parts_of(version: &str) -> (&'static str, &'static str, &'static str) {
    match upstream(version) {
        "2024.1.1" | "2024.1.0" => ("3.2.1", "4.0.2", "2024.1.0"),
        "2023.1.0" => ("2.0.0", "3.0.0", "2023.1.0"),
        _ => ("1.2.0", "1.5.0", "2022.6.1"),
    }
}

/// The version that a modified chart was made from: `2024.1.1` of `2024.1.1-egi.2`.
pub(super) fn upstream(version: &str) -> &str {
    version.split('-').next().unwrap_or(version)
}

/// The `appVersion` that helm shows.
pub(super) fn app_version(version: &str) -> String {
    let (jupyterhub, _, gateway) = parts_of(version);
    format!("jh{jupyterhub}-dg{gateway}")
}

/// The API group of traefik's objects, which changed with 2024.
pub(super) fn traefik_group(version: &str) -> &'static str {
    if version.starts_with("2024") {
        "traefik.io"
    } else {
        "traefik.containo.us"
    }
}

/// The custom resource definitions of a version, as YAML.
pub(super) fn crds(version: &str) -> String {
    let group = traefik_group(version);
    let one = |plural: &str, kind: &str, group: &str| {
        format!(
            "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: {plural}.{group}\nspec:\n  group: {group}\n  names:\n    kind: {kind}\n    plural: {plural}\n  scope: Namespaced\n"
        )
    };
    [
        one("daskclusters", "DaskCluster", "gateway.dask.org"),
        one("ingressroutes", "IngressRoute", group),
        one("ingressroutetcps", "IngressRouteTCP", group),
        one("middlewares", "Middleware", group),
    ]
    .concat()
}

/// The version whose definitions a YAML text holds.
pub(super) fn version_of_crds(text: &str) -> Option<&'static str> {
    VERSIONS
        .iter()
        .rev()
        .find(|version| text == crds(version))
        .copied()
}

/// The schema of a sub-chart's values.
pub(super) fn schema(chart: &str) -> Option<Value> {
    match chart {
        "jupyterhub" => Some(jupyterhub_schema()),
        "dask-gateway" => Some(gateway_schema()),
        _ => None,
    }
}

fn jupyterhub_schema() -> Value {
    let text = json!({ "type": ["string", "null"] });
    let object = json!({ "type": ["object", "null"] });
    let amount = json!({ "type": ["number", "string", "null"] });
    let limits = json!({
        "type": "object", "additionalProperties": false,
        "properties": { "limit": amount, "guarantee": amount }
    });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "enabled": { "type": ["boolean", "null"] },
            "fullnameOverride": text, "nameOverride": text, "imagePullSecret": object,
            "imagePullSecrets": { "type": "array" },
            "hub": {
                "type": "object",
                "properties": {
                    "config": object, "services": object, "extraConfig": object, "image": object,
                    "db": object, "resources": object, "networkPolicy": object
                }
            },
            "proxy": {
                "type": "object", "additionalProperties": false,
                "properties": {
                    "secretToken": text, "service": object, "chp": object, "https": object,
                    "traefik": object, "secretSync": object
                }
            },
            "singleuser": {
                "type": "object",
                "properties": {
                    "cpu": limits, "memory": limits, "defaultUrl": text, "extraEnv": object,
                    "image": {
                        "type": "object", "additionalProperties": false,
                        "properties": {
                            "name": text, "tag": text, "pullPolicy": text,
                            "pullSecrets": { "type": "array" }
                        }
                    },
                    "startTimeout": { "type": ["integer", "null"] },
                    "storage": object
                }
            },
            "ingress": {
                "type": "object", "additionalProperties": false,
                "properties": {
                    "enabled": { "type": "boolean" }, "annotations": object,
                    "ingressClassName": text, "hosts": { "type": "array" }, "pathSuffix": text,
                    "pathType": text, "tls": { "type": "array" }
                }
            },
            "scheduling": object, "prePuller": object, "cull": object, "rbac": object,
            "debug": object, "custom": object, "global": object
        }
    })
}

fn gateway_schema() -> Value {
    let text = json!({ "type": ["string", "null"] });
    let object = json!({ "type": ["object", "null"] });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "enabled": { "type": ["boolean", "null"] },
            "fullnameOverride": text, "nameOverride": text,
            "gateway": {
                "type": "object",
                "properties": {
                    "auth": {
                        "type": "object",
                        "properties": {
                            "type": { "enum": ["simple", "kerberos", "jupyterhub", "custom"] },
                            "jupyterhub": object, "simple": object
                        }
                    },
                    "extraConfig": object, "backend": object, "prefix": text
                }
            },
            "controller": object, "traefik": object, "rbac": object, "global": object
        }
    })
}

/// What is wrong with values, in helm's words; `None` if nothing is.
pub(super) fn judge(values: &Value) -> Option<String> {
    let mut found = String::new();
    for chart in ["jupyterhub", "dask-gateway"] {
        let Some(part) = values.get(chart).filter(|part| !part.is_null()) else {
            continue;
        };
        let Some(validator) = schema(chart).and_then(|s| jsonschema::validator_for(&s).ok()) else {
            continue;
        };
        let mut lines: Vec<String> = validator.iter_errors(part).map(|e| line_of(&e)).collect();
        lines.sort();
        if !lines.is_empty() {
            found.push_str(&format!("{chart}:\n{}\n", lines.join("\n")));
        }
    }
    (!found.is_empty()).then(|| {
        format!(
            "values don't meet the specifications of the schema(s) in the following chart(s):\n{found}"
        )
    })
}

fn line_of(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let place = match place.trim_start_matches('/') {
        "" => "(root)".to_owned(),
        path => path.replace('/', "."),
    };
    if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() {
        return format!(
            "- {place}: Additional property {} is not allowed",
            unexpected.join(", ")
        );
    }
    if let ValidationErrorKind::Type { kind } = error.kind() {
        let expected = match kind {
            TypeKind::Single(one) => one.to_string(),
            TypeKind::Multiple(many) => {
                let mut names: Vec<String> = many.iter().map(|one| one.to_string()).collect();
                names.sort_by_key(|name| name == "null");
                format!("[{}]", names.join(","))
            }
        };
        let given = match error.instance().as_ref() {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        return format!("- {place}: Invalid type. Expected: {expected}, given: {given}");
    }
    format!("- {place}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_named_as_helm_names_them() {
        // The lines are those of helm 3.17.3 with a chart of this schema.
        let values = json!({
            "jupyterhub": { "hubb": {}, "singleuser": { "startTimeout": "a" } }
        });
        assert_eq!(
            judge(&values).unwrap(),
            "values don't meet the specifications of the schema(s) in the following chart(s):\n\
             jupyterhub:\n- (root): Additional property hubb is not allowed\n\
             - singleuser.startTimeout: Invalid type. Expected: [integer,null], given: string\n"
        );
        assert_eq!(judge(&json!({ "jupyterhub": { "hub": {} } })), None);
    }
}
