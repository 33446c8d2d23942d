use super::*;
use crate::domain::{deploy::tests::options, size::Size};

/// A small template of our own with the inputs that a deployment sets.
const KUBERNETES: &str = r#"
tosca_definitions_version: tosca_simple_yaml_1_0
metadata:
  template_name: Kubernetes
  tabs: { FE: fe_.* }
  childs: [a.yaml, b.yaml]
topology_template:
  inputs:
    fe_cpus: { type: integer, default: 2, required: yes, constraints: [ valid_values: [ 2, 4, 8 ] ] }
    fe_mem: { type: scalar-unit.size, default: 4 GB, constraints: [ valid_values: [ 4 GB, 16 GB ] ] }
    fe_disk_size: { type: scalar-unit.size, default: 10 GiB, constraints: [ valid_values: [ 10 GiB, 1 TiB ] ] }
    wn_num: { type: integer, default: 1 }
    wn_cpus: { type: integer, default: 2, constraints: [ valid_values: [ 2, 4, 8 ] ] }
    wn_mem: { type: scalar-unit.size, default: 4 GB, constraints: [ valid_values: [ 4 GB, 32 GB ] ] }
    wn_disk_size: { type: scalar-unit.size, default: 20 GiB }
    kube_admin_token: { type: string, default: not_secret }
    kube_version: { type: string, default: "1.35.3", constraints: [ valid_values: [ "1.35.3", "1.30.14" ] ] }
    kube_cert_manager: { type: boolean, default: no }
    kube_cert_user_email: { type: string, default: "" }
    kube_public_dns_name: { type: string, default: "" }
    kube_ingress_type: { type: string, default: traefik, constraints: [ valid_values: [ traefik, nginx ] ] }
  node_templates:
    front:
      type: tosca.nodes.indigo.Compute
      capabilities: { os: { properties: { type: linux } } }
    own:
      type: tosca.nodes.indigo.Compute
      capabilities: { os: { properties: { image: "ost://own/1" } } }
    wn_node: { type: tosca.nodes.indigo.LRMS.WorkerNode.Kubernetes, properties: { csi_driver: x } }
  outputs:
    api: { value: 1 }
"#;
const ELASTIC_TEXT: &str = r"
metadata: { parents: [ kubernetes.yaml ], tabs: { Elastic: .* } }
topology_template:
  inputs:
    max_wn_num: { type: integer, default: 1 }
    min_wn_num: { type: integer, default: 0 }
  node_templates:
    cluster: { type: tosca.nodes.ec3.ElasticCluster, properties: { im_auth: '' } }
    wn_node: { type: tosca.nodes.indigo.LRMS.WorkerNode.Kubernetes, capabilities: { wn: 1 } }
";
const PROMETHEUS_TEXT: &str = r"
metadata: { parents: [ kubernetes.yaml, oscar.yaml ] }
topology_template:
  inputs: { admin_password: { type: string, default: adminpass } }
  outputs: { grafana_endpoint: { value: g } }
";
const DASKHUB_TEXT: &str = r"
metadata: { parents: [ kubernetes.yaml ] }
topology_template:
  inputs:
    jupyterhub_token: { type: string, default: x }
    jupyterhub_image_name: { type: string, default: x }
    jupyterhub_image_tag: { type: string, default: x }
  node_templates: { dask: { type: tosca.nodes.indigo.Helm.Chart } }
";

fn text(file: &str) -> Option<&'static str> {
    match file {
        "kubernetes.yaml" => Some(KUBERNETES),
        "kubernetes_elastic.yaml" => Some(ELASTIC_TEXT),
        "prometheus.yaml" => Some(PROMETHEUS_TEXT),
        "daskhub.yaml" => Some(DASKHUB_TEXT),
        _other => None,
    }
}

fn filled(method: Method, change: impl Fn(&mut DeployOptions)) -> Value {
    let mut options = options();
    options.method = method;
    change(&mut options);
    let template = Template::merge(method, text).unwrap();
    let image = Some("ost://site/1");
    let text = template.fill_with_placeholders(&options, image).unwrap();
    yaml::read(&text).unwrap()
}

#[test]
fn additions_replace_entries_of_the_same_name() {
    let document = filled(Method::Helm, |_| {});
    let topology = &document["topology_template"];
    assert!(
        topology["node_templates"]["wn_node"]
            .get("properties")
            .is_none()
    );
    assert!(
        topology["node_templates"]["wn_node"]
            .get("capabilities")
            .is_some()
    );
    assert!(topology["node_templates"].get("dask").is_none());
    assert!(topology["outputs"].get("api").is_some());
    assert!(topology["outputs"].get("grafana_endpoint").is_some());
    assert_eq!(document["metadata"]["childs"][0], "kubernetes_elastic.yaml");
    assert_eq!(document["metadata"]["tabs"]["Elastic"], ".*");
    assert_eq!(document["metadata"]["infra_name"], "pangeo-pangeo");
    let with_daskhub = filled(Method::Tosca, |_| {});
    let inputs = &with_daskhub["topology_template"]["inputs"];
    assert_eq!(inputs["jupyterhub_image_tag"]["default"], "2022.09.21");
    assert_eq!(inputs["jupyterhub_token"]["default"], "token1");
}

#[test]
fn inputs_get_values_of_their_type() {
    let document = filled(Method::Helm, |options| {
        options.frontend.memory = Size::parse("16GB").unwrap();
        options.frontend.disk = Some(Size::parse("1024 GiB").unwrap());
        options.kubernetes_version = Some("1.30.14".to_owned());
    });
    let inputs = &document["topology_template"]["inputs"];
    let default = |input: &str| inputs[input]["default"].clone();
    assert_eq!(default("fe_cpus"), 4);
    assert_eq!(default("fe_mem"), "16 GB");
    assert_eq!(default("fe_disk_size"), "1 TiB");
    assert_eq!(default("wn_disk_size"), "20 GiB");
    assert_eq!(default("kube_cert_manager"), true);
    assert_eq!(default("kube_ingress_type"), "nginx");
    assert_eq!(default("kube_version"), "1.30.14");
    assert_eq!(default("max_wn_num"), 5);
    assert_eq!(default("kube_public_dns_name"), "pangeo.vm.fedcloud.eu");
    assert_eq!(inputs["fe_cpus"]["required"], true);
}

#[test]
fn compute_nodes_get_the_image_and_the_elastic_node_its_credentials() {
    let document = filled(Method::Helm, |_| {});
    let nodes = &document["topology_template"]["node_templates"];
    let image = |node: &str| &nodes[node]["capabilities"]["os"]["properties"]["image"];
    assert_eq!(image("front"), "ost://site/1");
    assert_eq!(image("own"), "ost://own/1");
    assert_eq!(
        nodes["front"]["properties"]["instance_name"],
        "pangeo-pangeo_front"
    );
    assert_eq!(nodes["cluster"]["properties"]["im_auth"], "im_auth");
}

#[test]
fn what_the_template_does_not_offer_is_named_with_what_it_does() {
    let template = Template::merge(Method::Helm, text).unwrap();
    assert_eq!(template.problems(&options()), []);
    let mut options = options();
    options.worker.cpus = 7;
    options.frontend.memory = Size::parse("16 GiB").unwrap();
    options.kubernetes_version = Some("1.23.11".to_owned());
    let problems: Vec<String> = template
        .problems(&options)
        .into_iter()
        .map(|(option, text)| format!("{option}: {text}"))
        .collect();
    insta::assert_snapshot!(problems.join("\n"), @r"
    worker-cpus: `7` is not offered; the TOSCA template allows `2`, `4`, `8`
    frontend-memory: `16 GiB` is not offered; the TOSCA template allows `4 GB`, `16 GB`
    kubernetes-version: `1.23.11` is not offered; the TOSCA template allows `1.35.3`, `1.30.14`
    ");
    assert_eq!(template.allowed("kube_version"), ["1.35.3", "1.30.14"]);
    assert_eq!(template.default_of("wn_disk_size").unwrap(), "20 GiB");
}

#[test]
fn settled_options_no_longer_depend_on_the_templates_defaults() {
    let template = Template::merge(Method::Helm, text).unwrap();
    let settled = template.settle(options());
    assert_eq!(settled.kubernetes_version.as_deref(), Some("1.35.3"));
    assert_eq!(settled.worker.disk, Size::parse("20 GiB").ok());
    assert_eq!(template.problems(&settled), []);
    assert_eq!(template.settle(settled.clone()), settled);
    let mut given = options();
    given.kubernetes_version = Some("1.30.14".to_owned());
    assert_eq!(
        template.settle(given.clone()).kubernetes_version,
        given.kubernetes_version
    );
}

#[test]
fn secrets_are_masked_for_people() {
    use secrecy::{ExposeSecret, SecretString};
    let template = Template::merge(Method::Tosca, text).unwrap();
    let hidden = || SecretString::from("hidden".to_owned());
    let secrets = ToscaSecrets {
        kubernetes_token: hidden(),
        grafana_password: hidden(),
        jupyterhub_token: hidden(),
        im_auth: Some(hidden()),
    };
    let sent = template.fill(&options(), None, &secrets).unwrap();
    assert_eq!(sent.expose_secret().matches("hidden").count(), 4);
    let shown = template.fill_masked(&options(), None).unwrap();
    assert_eq!(shown.matches(": secret\n").count(), 4);
}

#[test]
fn the_estimate_counts_the_front_end_and_all_workers() {
    let template = Template::merge(Method::Helm, text).unwrap();
    assert_eq!(
        template.estimate(&options()),
        Estimate {
            instances: 6,
            cores: 4 + 5 * 8,
            memory_gb: 16 + 5 * 32,
            disk_gb: 11 + 5 * 22,
        }
    );
}

#[test]
fn templates_that_do_not_hold_are_named() {
    let with = |file: &'static str, other: &'static str| {
        Template::merge(Method::Helm, move |name| {
            if name == file {
                Some(other)
            } else {
                text(name)
            }
        })
    };
    let error = with("prometheus.yaml", "a: [").unwrap_err();
    assert_eq!(error.to_string(), "read the template `prometheus.yaml`");
    let error = with("prometheus.yaml", "a: 1").unwrap_err();
    assert!(error.to_string().contains("no `topology_template`"));
    let error = with("prometheus.yaml", "topology_template: {}").unwrap_err();
    assert!(error.to_string().contains("not an addition"));
    let bare = with("kubernetes.yaml", "topology_template: {}").unwrap();
    let error = bare.fill_masked(&options(), None).unwrap_err();
    assert!(error.to_string().contains("no input `fe_cpus`"));
}
