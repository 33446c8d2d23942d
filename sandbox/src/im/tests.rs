use std::net::IpAddr;

use futures::future::BoxFuture;
use serde_json::json;

use super::*;
use crate::checkin::CheckinOptions;
use crate::dns::DnsOptions;
use crate::faults::{Fault, On};
use crate::machines::{Machine, MachineRequest};

/// A cloud that only notes what it is asked.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Machines for Notes {
    fn start(&self, request: MachineRequest) -> BoxFuture<'_, anyhow::Result<Machine>> {
        let cpus = request.inputs.get("fe_cpus").cloned().unwrap_or_default();
        self.note(format!("start with {cpus} cpus"));
        Box::pin(async {
            Ok(Machine {
                address: IpAddr::from([127, 7, 1, 1]),
                user: "cloudadm".to_owned(),
                private_key: "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
            })
        })
    }

    fn configured<'a>(
        &'a self,
        _infrastructure: &'a str,
        host: Option<&'a str>,
        points_here: bool,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        self.note(format!("configured {host:?} {points_here}"));
        Box::pin(async { Ok(()) })
    }

    fn stop<'a>(&'a self, _infrastructure: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        self.note("stop".to_owned());
        Box::pin(async { Ok(()) })
    }
}

struct Parts {
    im: Arc<Im>,
    dns: Arc<Dns>,
    checkin: Arc<Checkin>,
    notes: Arc<Notes>,
    token: String,
}

async fn parts() -> Parts {
    parts_in(None).await
}

async fn parts_in(state_file: Option<PathBuf>) -> Parts {
    let dns = Dns::start(DnsOptions::for_tests()).await.unwrap();
    let checkin = Checkin::start(CheckinOptions::for_tests()).await.unwrap();
    let notes = Arc::new(Notes::default());
    let im = Im::start(ImOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        state_file,
        speed: SpeedOptions::for_tests(),
        machines: Arc::clone(&notes) as Arc<dyn Machines>,
        dns: Some(Arc::clone(&dns)),
        checkin: Some(Arc::clone(&checkin)),
    })
    .await
    .unwrap();
    let token = checkin
        .mint_token("ana", chrono::Duration::hours(1))
        .unwrap();
    Parts {
        im,
        dns,
        checkin,
        notes,
        token,
    }
}

impl Parts {
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let token = &self.token;
        let authorization = format!(
            "id = im; type = InfrastructureManager; token = {token}\\nid = egi; type = OpenStack; \
             host = https://keystone.site.example:5000/v3; username = egi.eu; tenant = openid; \
             auth_version = 3.x_oidc_access_token; password = {token}; vo = vo.pangeo.eu"
        );
        let response = reqwest::Client::new()
            .request(method.parse().unwrap(), format!("{}{path}", self.im.url()))
            .header("authorization", authorization)
            .header("content-type", "text/yaml")
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn create(&self, template: &str) -> String {
        let (status, uri) = self.ask("POST", "/infrastructures?async=1", template).await;
        assert_eq!(status, 200, "{uri}");
        uri.rsplit('/').next().unwrap().to_owned()
    }

    async fn wait(&self, what: &str, until: impl Fn(&Self) -> bool) {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..1000 {
            if until(self) {
                return;
            }
            ticks.tick().await;
        }
        panic!("{what} did not happen: {:?}", self.im.infrastructures());
    }

    async fn wait_for_state(&self, state: &str) {
        let is = |parts: &Self| parts.im.infrastructures().iter().all(|i| i.state == state);
        self.wait(state, is).await;
    }
}

/// The sandbox's own template with an image and a name, as the bot would complete it.
async fn template(parts: &Parts, host: &str) -> String {
    let url = format!("{}kubernetes.yaml", parts.im.templates_url());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let mut document: Value = serde_saphyr::from_str(&text).unwrap();
    document["metadata"]["infra_name"] = json!("geo");
    document["topology_template"]["inputs"]["kube_public_dns_name"]["default"] = json!(host);
    for node in ["front", "wn"] {
        let image = json!("ost://keystone.site.example/ubuntu-jammy");
        document["topology_template"]["node_templates"][node]["capabilities"]["os"]["properties"]
            ["image"] = image;
    }
    serde_saphyr::to_string(&document).unwrap()
}

#[tokio::test]
async fn a_front_end_is_started_configured_and_stopped() {
    let parts = parts().await;
    let template = template(&parts, "geo.example.org").await;
    let id = parts.create(&template).await;
    let (_, state) = parts
        .ask("GET", &format!("/infrastructures/{id}/state"), "")
        .await;
    assert!(state.contains("\"state\":\"pending\""), "{state}");
    let during_launch = parts
        .ask("DELETE", &format!("/infrastructures/{id}"), "")
        .await;
    assert_eq!(during_launch.0, 409);
    parts.wait_for_state("configured").await;

    let view = parts.im.infrastructure("geo").unwrap();
    assert_eq!(view.address.as_deref(), Some("127.7.1.1"));
    assert_eq!(view.vms.len(), 2);
    let (_, vm) = parts
        .ask("GET", &format!("/infrastructures/{id}/vms/0"), "")
        .await;
    assert!(vm.contains("disk.0.os.credentials.private_key = '-----BEGIN"));
    assert!(vm.contains("net_interface.1.ip = '127.7.1.1'"));
    let (_, outputs) = parts
        .ask("GET", &format!("/infrastructures/{id}/outputs"), "")
        .await;
    assert!(
        outputs.contains("https://127.7.1.1/dashboard/"),
        "{outputs}"
    );

    parts
        .dns
        .set_record("geo.example.org", "127.7.1.1".parse().ok());
    let path = format!("/infrastructures/{id}/reconfigure");
    assert_eq!(parts.ask("PUT", &path, "").await.0, 200);
    parts
        .wait("configured again", |p| {
            p.im.infrastructures()[0].configured == 2
        })
        .await;
    let path = format!("/infrastructures/{id}?async=1");
    assert_eq!(parts.ask("DELETE", &path, "").await.0, 200);
    parts
        .wait("gone", |p| p.im.infrastructures().is_empty())
        .await;
    assert_eq!(
        parts.notes.all(),
        [
            "start with 2 cpus",
            "configured Some(\"geo.example.org\") false",
            "configured Some(\"geo.example.org\") true",
            "stop"
        ]
    );
    let counts = (
        parts.im.create_calls(),
        parts.im.reconfigure_calls(),
        parts.im.delete_calls(),
    );
    assert_eq!(counts, (1, 1, 1));
}

#[tokio::test]
async fn the_log_grows_while_it_is_configured() {
    let parts = parts().await;
    let template = template(&parts, "").await;
    let id = parts.create(&template).await;
    let path = format!("/infrastructures/{id}/contmsg");
    let mut lengths = vec![0];
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while parts.im.infrastructures()[0].state != "configured" {
        ticks.tick().await;
        let (_, log) = parts.ask("GET", &path, "").await;
        if log.len() > *lengths.last().unwrap() {
            lengths.push(log.len());
        }
    }
    assert!(lengths.len() > 3, "{lengths:?}");
    let (_, log) = parts.ask("GET", &path, "").await;
    assert!(log.contains("PLAY RECAP"), "{log}");
}

#[tokio::test]
async fn sites_refuse_unknown_images_full_quotas_and_old_tokens() {
    let parts = parts().await;
    let good = template(&parts, "").await;
    parts.create(&good.replace("ubuntu-jammy", "debian")).await;
    parts.wait_for_state("failed").await;
    parts.im.set_quota("cores", 398.0, 400.0);
    let id = parts.create(&good).await;
    parts.wait_for_state("failed").await;
    let (_, log) = parts
        .ask("GET", &format!("/infrastructures/{id}/contmsg"), "")
        .await;
    assert!(log.contains("Quota exceeded for cores"), "{log}");
    let (status, quotas) = parts.ask("GET", "/clouds/egi/quotas", "").await;
    assert!(
        status == 200 && quotas.contains("\"limit\":400"),
        "{quotas}"
    );

    let expired = parts
        .checkin
        .mint_token("ana", chrono::Duration::minutes(-1));
    let old = Parts {
        token: expired.unwrap(),
        ..parts
    };
    let (status, text) = old.ask("GET", "/infrastructures", "").await;
    assert_eq!(status, 401);
    assert!(text.ends_with("OIDC auth Token expired."), "{text}");
    let (status, _) = old
        .ask("GET", &format!("/infrastructures/{id}/state"), "")
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn mishaps_and_lost_answers_have_their_true_effects() {
    let parts = parts().await;
    let template = template(&parts, "").await;
    let lost = On::post("/infrastructures").exactly();
    let lost = parts.im.faults().inject(lost, Fault::DropAnswer, 1);
    let request = reqwest::Client::new()
        .post(format!("{}/infrastructures?async=1", parts.im.url()))
        .header(
            "authorization",
            "type = InfrastructureManager; username = u; password = p",
        )
        .send();
    assert!(request.await.is_err());
    assert_eq!((lost.hits(), parts.im.create_calls()), (1, 1));

    parts.im.fail_next_configure();
    let id = parts.create(&template).await;
    let state = |p: &Parts| p.im.infrastructure("geo").unwrap().state;
    parts
        .wait("unconfigured", |p| state(p) == "unconfigured")
        .await;
    let path = format!("/infrastructures/{id}/reconfigure");
    assert_eq!(parts.ask("PUT", &path, "").await.0, 200);
    parts.wait("configured", |p| state(p) == "configured").await;
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let directory = std::env::temp_dir().join(format!("sandbox-im-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("im.json");
    let first = parts_in(Some(file.clone())).await;
    let template = template(&first, "").await;
    first.create(&template).await;
    first.wait_for_state("running").await;
    drop(first);
    let second = parts_in(Some(file.clone())).await;
    second.wait_for_state("configured").await;
    drop(second);
    let third = parts_in(Some(file)).await;
    third
        .wait("the machine again", |p| !p.notes.all().is_empty())
        .await;
    assert_eq!(third.notes.all(), ["start with 2 cpus"]);
    let view = third.im.infrastructure("geo").unwrap();
    assert_eq!((view.state.as_str(), view.configured), ("configured", 1));
    assert_eq!(third.im.create_calls(), 1);
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn all_templates_together_are_one_valid_template() {
    let parts = parts().await;
    let mut whole = Value::Null;
    for name in ["kubernetes", "kubernetes_elastic", "prometheus", "daskhub"] {
        let url = format!("{}{name}.yaml", parts.im.templates_url());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let part: Value = serde_saphyr::from_str(&text).unwrap();
        if whole.is_null() {
            whole = part;
        } else {
            tosca::merge(&mut whole, &part);
        }
    }
    let design = tosca::design(whole).unwrap();
    assert_eq!(design.systems.len(), 2);
    for input in ["max_wn_num", "admin_password", "jupyterhub_image_tag"] {
        assert!(design.inputs.contains_key(input), "{input}");
    }
    let outputs = design.tosca.as_ref().unwrap();
    assert!(
        outputs
            .pointer("/topology_template/outputs/grafana_endpoint")
            .is_some()
    );
}
