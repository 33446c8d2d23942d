//! The contract with Infrastructure Manager: our client against the sandbox's server and against
//! the real one, with the same expectations.
//!
//! Each check runs twice, as `sandbox::…` and as `real::…`. [`same_answers`] then compares the two
//! servers request by request, below our client. Where they differ, the sandbox is wrong.
//!
//! The real server is the package `im` of PyPI, with its cloud `Dummy`, which starts no machine.

#![cfg(test)]
#![expect(
    clippy::doc_markdown,
    reason = "names of other projects are no identifiers"
)]

#[path = "contract_im/real.rs"]
mod real_server;
#[path = "contract_im/same_answers.rs"]
mod same_answers;
#[path = "contract_im/server.rs"]
mod server;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pangeo_bot::domain::names::InfrastructureId;
use pangeo_bot::services::im::{
    Contextualize, DeleteMode, ImClient, ImError, ImLogin, Power, Template, TokenCell, VmState,
};
use secrecy::{ExposeSecret, SecretString};
use server::Server;

/// How long the servers may take for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Each check for both servers.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        mod sandbox_server_keeps {
            $(#[tokio::test] async fn $name() {
                super::$name(super::Server::sandbox().await).await;
            })*
        }
        mod real_server_keeps {
            $(#[tokio::test] async fn $name() {
                super::$name(super::Server::real().await).await;
            })*
        }
    };
}

checks!(
    the_version_needs_no_login,
    bad_tokens_are_told_from_bad_logins,
    what_belongs_to_others_is_refused,
    an_infrastructure_lives_and_is_deleted,
    bad_templates_are_refused_in_one_readable_line,
    what_is_not_there_is_not_found,
    a_dry_run_creates_nothing,
    quotas_and_images_of_a_cloud,
    a_name_finds_what_a_lost_answer_created,
    a_template_has_outputs_and_is_stored,
    numbers_of_machines_follow_the_template,
    machines_are_stopped_started_and_configured_again,
    without_a_cloud_a_create_is_accepted_and_fails,
    owners_are_added_one_by_one_and_only_replaced_together,
);

const RADL: &str = "
network public (outbound = 'yes')
system front (
cpu.count>=2 and
memory.size>=4g and
net_interface.0.connection = 'public' and
disk.0.os.name='linux' and
disk.0.image.url = 'mock0://linux.for.ev.er/image1'
)
deploy front 1
contextualize ()
";

/// A template of two systems. The public types for a `count` would have to be imported over the
/// network, so it declares one.
fn tosca(name: &str, workers: u32) -> Template {
    Template::tosca(format!(
        "tosca_definitions_version: tosca_simple_yaml_1_0
description: contract
metadata:
  infra_name: {name}
capability_types:
  tosca.capabilities.contract.Scalable:
    derived_from: tosca.capabilities.Scalable
    properties:
      min_instances: {{type: integer, required: false, default: 1}}
      max_instances: {{type: integer, required: false, default: 1}}
      count: {{type: integer, required: false, default: 1}}
node_types:
  tosca.nodes.contract.Compute:
    derived_from: tosca.nodes.Compute
    capabilities:
      scalable: {{type: tosca.capabilities.contract.Scalable}}
topology_template:
  inputs:
    wn_num: {{type: integer, default: {workers}}}
    fe_mem: {{type: scalar-unit.size, default: 4 GB}}
    host: {{type: string, default: geo.example.org}}
  node_templates:
    wn:
      type: tosca.nodes.contract.Compute
      capabilities:
        scalable: {{properties: {{count: {{get_input: wn_num}}}}}}
        host: {{properties: {{num_cpus: 4, mem_size: 8 GB, disk_size: 20 GiB}}}}
        os: {{properties: {{type: linux}}}}
    front:
      type: tosca.nodes.Compute
      capabilities:
        endpoint: {{properties: {{network_name: PUBLIC}}}}
        host: {{properties: {{num_cpus: 2, mem_size: {{get_input: fe_mem}}}}}}
        os: {{properties: {{type: linux}}}}
  outputs:
    url: {{value: {{concat: ['https://', {{get_input: host}}, '/grafana/']}}}}
"
    ))
}

/// Waits until a question has the wanted answer.
async fn until<T: std::fmt::Debug>(
    what: &str,
    mut ask: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + LIMIT;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: still {answer:?}");
    }
}

async fn configured(im: &ImClient, id: &InfrastructureId) {
    until(
        "configured",
        async || im.state(id).await.unwrap(),
        |state| state.state == VmState::Configured,
    )
    .await;
}

/// Deletes an infrastructure and waits until it is gone.
///
/// The real server may lose a delete: whoever asks for the state meanwhile writes the old row
/// back. So the delete is repeated, as a user of it has to do.
async fn deleted(im: &ImClient, id: &InfrastructureId) {
    until(
        "deleted",
        async || match im.delete(id, DeleteMode::Careful).await {
            Ok(()) => "accepted",
            Err(ImError::NotFound { .. }) => "gone",
            Err(ImError::Conflict { .. }) => "not now",
            Err(error) => panic!("{error}"),
        },
        |answer| *answer == "gone",
    )
    .await;
    let error = im.state(id).await.unwrap_err();
    assert!(matches!(error, ImError::NotFound { .. }), "{error}");
}

async fn the_version_needs_no_login(server: Server) {
    let nobody = server.with_login(ImLogin::Token(TokenCell::empty()));
    assert_eq!(nobody.version().await.unwrap(), "2.0.0");
    assert!(matches!(
        nobody.list().await.unwrap_err(),
        ImError::Credential(_)
    ));
}

async fn bad_tokens_are_told_from_bad_logins(server: Server) {
    let unknown = InfrastructureId::parse("unknown").unwrap();
    // `{"iss":"http://x","exp":…}`: one expired in 1970, one valid until 2286 of a strange issuer.
    let expired = "e30.eyJpc3MiOiJodHRwOi8veCIsImV4cCI6MX0.c2ln";
    let strange = "e30.eyJpc3MiOiJodHRwOi8veCIsImV4cCI6OTk5OTk5OTk5OX0.c2ln";
    for token in ["notajwt", expired, strange] {
        let im = server.with_token(token);
        for error in [
            im.list().await.unwrap_err(),
            im.state(&unknown).await.unwrap_err(),
            im.create(&Template::radl(RADL)).await.unwrap_err(),
            im.delete(&unknown, DeleteMode::Careful).await.unwrap_err(),
            im.quotas("dummy").await.unwrap_err(),
        ] {
            assert!(
                error.needs_token() && !error.is_transient() && !error.outcome_unknown(),
                "{token}: {error}"
            );
            assert!(!error.to_string().contains(token), "{error}");
        }
    }
    let reserved = server.with_login(ImLogin::Password {
        username: "__OPENID__ana".to_owned(),
        password: SecretString::from("p"),
    });
    let error = reserved.list().await.unwrap_err();
    assert!(matches!(error, ImError::LoginRefused { .. }), "{error}");
}

async fn what_belongs_to_others_is_refused(server: Server) {
    let (ana, ben) = (server.new_user(), server.new_user());
    let id = ana.create(&Template::radl(RADL)).await.unwrap();
    for error in [
        ben.state(&id).await.unwrap_err(),
        ben.vm(&id, 0).await.unwrap_err(),
        ben.reconfigure(&id).await.unwrap_err(),
        ben.delete(&id, DeleteMode::Force).await.unwrap_err(),
    ] {
        assert!(matches!(error, ImError::NotOurs { .. }), "{error}");
    }
    assert!(ben.list().await.unwrap().is_empty());
    assert_eq!(ana.list().await.unwrap(), std::slice::from_ref(&id));
    let owners = ana.owners(&id).await.unwrap();
    assert!(
        owners.len() == 1 && owners[0].starts_with("user-"),
        "{owners:?}"
    );
    let error = ana.add_owner(&id, &token("notajwt")).await.unwrap_err();
    assert!(error.needs_token(), "{error}");
}

fn token(text: &str) -> ImLogin {
    ImLogin::Token(TokenCell::new(SecretString::from(text)))
}

async fn owners_are_added_one_by_one_and_only_replaced_together(server: Server) {
    let (ana, ben, eva) = (server.new_user(), server.new_user(), server.new_user());
    let id = ana.create(&Template::radl(RADL)).await.unwrap();
    let error = ben.add_owner(&id, ben.login()).await.unwrap_err();
    assert!(matches!(error, ImError::NotOurs { .. }), "{error}");
    let unknown = InfrastructureId::parse("unknown").unwrap();
    let error = ana.add_owner(&unknown, ben.login()).await.unwrap_err();
    assert!(matches!(error, ImError::NotFound { .. }), "{error}");

    ana.add_owner(&id, ben.login()).await.unwrap();
    ana.add_owner(&id, ben.login()).await.unwrap();
    // Whoever was added may add others, and sees the infrastructure among the own ones.
    ben.add_owner(&id, eva.login()).await.unwrap();
    let all = [&ana, &ben, &eva].map(|im| {
        let ImLogin::Password { username, .. } = im.login() else {
            panic!("a user has a password");
        };
        username.clone()
    });
    assert_eq!(eva.owners(&id).await.unwrap(), all);
    assert_eq!(eva.list().await.unwrap(), std::slice::from_ref(&id));

    // A bad login replaces nobody.
    let error = ben
        .replace_owners(&id, &token("notajwt"))
        .await
        .unwrap_err();
    assert!(error.needs_token(), "{error}");
    assert_eq!(ana.owners(&id).await.unwrap(), all);
    ben.replace_owners(&id, ben.login()).await.unwrap();
    assert_eq!(ben.owners(&id).await.unwrap(), all[1..2]);
    for other in [&ana, &eva] {
        let error = other.state(&id).await.unwrap_err();
        assert!(matches!(error, ImError::NotOurs { .. }), "{error}");
        assert!(other.list().await.unwrap().is_empty());
    }
}

async fn an_infrastructure_lives_and_is_deleted(server: Server) {
    let im = server.new_user();
    let id = im.create(&Template::radl(RADL)).await.unwrap();
    configured(&im, &id).await;
    assert_eq!(im.vms(&id).await.unwrap(), [0]);
    let state = im.state(&id).await.unwrap();
    assert_eq!(state.vm_states[&0], VmState::Configured);

    let vm = im.vm(&id, 0).await.unwrap();
    assert_eq!(vm.state, VmState::Configured);
    assert_eq!(vm.user.as_deref(), Some("username"));
    assert!(vm.private_key.is_none());
    assert_eq!(vm.public_address(), "10.0.0.1".parse::<IpAddr>().ok());
    assert_eq!((vm.cpus, vm.memory_bytes), (Some(2), Some(4_000_000_000)));

    let log = im.contmsg(&id, 0).await.unwrap();
    assert_eq!(
        log.text,
        "Contextualization disabled by the RADL/TOSCA template.\n\n"
    );
    let rest = im.contmsg(&id, 30).await.unwrap();
    assert_eq!((rest.start, rest.end), (30, log.end));
    assert_eq!(rest.text, log.text[30..]);
    assert_eq!(im.contmsg(&id, log.end).await.unwrap().text, "");
    assert_eq!(im.vm_contmsg(&id, 0, 0).await.unwrap().text, "");

    // RADL has neither outputs nor a TOSCA document.
    assert_eq!(im.outputs(&id).await.unwrap().names().count(), 0);
    assert!(im.tosca(&id).await.unwrap().is_none());

    deleted(&im, &id).await;
    // The real one may go on listing it, but nothing else knows it any more.
    let error = im.infra_name(&id).await.unwrap_err();
    assert!(matches!(error, ImError::NotFound { .. }), "{error}");
    // For a moment the real one may still accept another delete (seen under load).
    let began = Instant::now();
    let error = loop {
        match im.delete(&id, DeleteMode::Careful).await {
            Err(error) => break error,
            Ok(()) => assert!(began.elapsed() < LIMIT, "deletes are accepted for ever"),
        }
    };
    assert!(matches!(error, ImError::NotFound { .. }), "{error}");
}

async fn bad_templates_are_refused_in_one_readable_line(server: Server) {
    let im = server.new_user();
    let good = tosca("geo", 1);
    let Template::Tosca(good) = good else {
        panic!("not TOSCA");
    };
    let changed = |from: &str, to: &str| {
        let text = good.expose_secret();
        assert!(text.contains(from), "{from}");
        Template::tosca(text.replace(from, to))
    };
    for (template, expected) in [
        (Template::tosca("a: [b"), "line 1, column"),
        (
            Template::tosca("just text"),
            "'str' object has no attribute 'get'",
        ),
        (Template::tosca("a: b"), "tosca_definitions_version"),
        (
            changed("get_input: wn_num", "get_input: wn_nun"),
            "Unknown input \"wn_nun\".",
        ),
        (
            changed("default: 4 GB", "default: plenty"),
            "\"plenty\" is not a valid scalar-unit.",
        ),
        (
            changed("default: 1}", "default: one}"),
            "\"one\" is not an integer.",
        ),
        (
            changed("default: geo.example.org", "default: 5"),
            "expected string or bytes-like object, got 'int'",
        ),
        (Template::radl("system front ("), "Parse error"),
    ] {
        let error = im.create(&template).await.unwrap_err();
        let ImError::Refused { status, text, .. } = &error else {
            panic!("{template:?}: {error}");
        };
        assert_eq!(*status, 400);
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(text.starts_with("Error parsing request body:"), "{text}");
        for leak in ["/usr/", "site-packages", ".py", "File ", "\n"] {
            assert!(!text.contains(leak), "{leak:?} in {text}");
        }
        assert!(!error.is_transient() && !error.outcome_unknown());
    }
    assert!(im.list().await.unwrap().is_empty());
}

async fn what_is_not_there_is_not_found(server: Server) {
    let im = server.new_user();
    let unknown = InfrastructureId::parse("1624dc60-e7ee-11f1-93cd-02fc00000001").unwrap();
    let id = im.create(&Template::radl(RADL)).await.unwrap();
    configured(&im, &id).await;
    let new = tosca("geo", 1);
    for error in [
        im.state(&unknown).await.unwrap_err(),
        im.contmsg(&unknown, 0).await.unwrap_err(),
        im.outputs(&unknown).await.unwrap_err(),
        im.vms(&unknown).await.unwrap_err(),
        im.vm(&unknown, 0).await.unwrap_err(),
        im.reconfigure(&unknown).await.unwrap_err(),
        im.power_all(&unknown, Power::Stop).await.unwrap_err(),
        im.update(&unknown, &new, Contextualize::Skip)
            .await
            .unwrap_err(),
        im.delete(&unknown, DeleteMode::Careful).await.unwrap_err(),
        im.vm(&id, 7).await.unwrap_err(),
        im.vm_contmsg(&id, 7, 0).await.unwrap_err(),
        im.power_vm(&id, 7, Power::Reboot).await.unwrap_err(),
        im.delete_vms(&id, &[7]).await.unwrap_err(),
    ] {
        assert!(matches!(error, ImError::NotFound { .. }), "{error}");
    }
}

async fn a_dry_run_creates_nothing(server: Server) {
    let im = server.new_user();
    let estimate = im.estimate(&tosca("geo", 2)).await.unwrap();
    let cloud = &estimate.0["dummy"];
    assert_eq!(cloud.cloud_type, "Dummy");
    let totals = cloud.totals();
    assert_eq!((totals.cores, totals.memory_gb), (10.0, 20.0));
    assert_eq!((totals.instances, totals.public_ips), (3, 1));
    assert_eq!(totals.disk_gb, 42.0);
    let estimate = im.estimate(&Template::radl(RADL)).await.unwrap();
    assert_eq!(estimate.0["dummy"].totals().instances, 1);
    let error = im.estimate(&Template::tosca("a: b")).await.unwrap_err();
    assert!(matches!(error, ImError::Refused { .. }), "{error}");
    assert!(im.list().await.unwrap().is_empty());
}

async fn quotas_and_images_of_a_cloud(server: Server) {
    let im = server.new_user();
    let quotas = im.quotas("dummy").await.unwrap();
    assert_eq!(quotas.cores.unwrap().left(), Some(9.0));
    assert_eq!(quotas.floating_ips.unwrap().left(), Some(9.0));
    assert!(quotas.volumes.is_none());
    let images = im.images("dummy").await.unwrap();
    assert_eq!(images.len(), 2);
    assert!(images[0].uri.starts_with("mock0://") && !images[0].name.is_empty());
    for error in [
        im.quotas("nope").await.unwrap_err(),
        im.images("nope").await.unwrap_err(),
    ] {
        let ImError::Refused {
            status: 400, text, ..
        } = error
        else {
            panic!("{error}");
        };
        assert!(text.ends_with("Cloud ID nope not found."), "{text}");
    }
}

async fn a_name_finds_what_a_lost_answer_created(server: Server) {
    let im = server.new_user();
    assert!(im.find_by_name("geo-1").await.unwrap().is_empty());
    let geo = im.create(&tosca("geo-1", 1)).await.unwrap();
    let named_radl = Template::radl(format!("description desc (name = 'geo-2')\n{RADL}"));
    let radl = im.create(&named_radl).await.unwrap();
    let nameless = im.create(&Template::radl(RADL)).await.unwrap();
    for id in [&geo, &radl, &nameless] {
        configured(&im, id).await;
    }
    assert_eq!(
        im.find_by_name("geo-1").await.unwrap(),
        std::slice::from_ref(&geo)
    );
    assert_eq!(im.find_by_name("geo-2").await.unwrap(), [radl]);
    assert!(im.find_by_name("geo").await.unwrap().is_empty());
    assert_eq!(im.infra_name(&nameless).await.unwrap(), None);
    let twin = im.create(&tosca("geo-1", 1)).await.unwrap();
    configured(&im, &twin).await;
    assert_eq!(im.find_by_name("geo-1").await.unwrap().len(), 2);
    // Somebody else's list is another one.
    let other = server.new_user();
    assert!(other.find_by_name("geo-1").await.unwrap().is_empty());
}

async fn a_template_has_outputs_and_is_stored(server: Server) {
    let im = server.new_user();
    let id = im.create(&tosca("geo", 1)).await.unwrap();
    configured(&im, &id).await;
    let outputs = im.outputs(&id).await.unwrap();
    assert_eq!(
        outputs.text("url"),
        Some("https://geo.example.org/grafana/")
    );
    let stored = im.tosca(&id).await.unwrap().unwrap();
    let stored: serde_json::Value = serde_saphyr::from_str(stored.expose_secret()).unwrap();
    assert_eq!(stored["metadata"]["infra_name"], "geo");
    assert_eq!(
        stored["topology_template"]["inputs"]["wn_num"]["default"],
        1
    );
    // VM 0 is the one with a public network, though the other stands first in the template.
    let front = im.vm(&id, 0).await.unwrap();
    assert_eq!(front.cpus, Some(2));
    assert_eq!(front.addresses.len(), 1);
    assert!(
        !front.addresses[0].public,
        "10.0.0.1 is on the private network"
    );
    assert_eq!(
        im.vm(&id, 1).await.unwrap().memory_bytes,
        Some(8_000_000_000)
    );
}

async fn numbers_of_machines_follow_the_template(server: Server) {
    let im = server.new_user();
    let id = im.create(&tosca("geo", 2)).await.unwrap();
    configured(&im, &id).await;
    let update = async |workers, contextualize| {
        im.update(&id, &tosca("geo", workers), contextualize)
            .await
            .unwrap()
    };
    assert_eq!(im.vms(&id).await.unwrap(), [0, 1, 2]);
    assert!(update(1, Contextualize::Now).await.is_empty());
    assert_eq!(im.vms(&id).await.unwrap(), [0, 2]);
    assert_eq!(update(3, Contextualize::Now).await, [3, 4]);
    configured(&im, &id).await;
    assert!(update(3, Contextualize::Skip).await.is_empty());
    assert_eq!(im.vms(&id).await.unwrap(), [0, 2, 3, 4]);
    im.delete_vms(&id, &[2, 4]).await.unwrap();
    assert_eq!(im.vms(&id).await.unwrap(), [0, 3]);
    // What scaling relies on: the count of what is there changes no machine, whatever was stored.
    assert!(update(1, Contextualize::Skip).await.is_empty());
    assert_eq!(im.vms(&id).await.unwrap(), [0, 3]);
    let error = im.delete_vms(&id, &[2]).await.unwrap_err();
    assert!(matches!(error, ImError::NotFound { .. }), "{error}");
}

async fn machines_are_stopped_started_and_configured_again(server: Server) {
    let im = server.new_user();
    let id = im.create(&tosca("geo", 1)).await.unwrap();
    configured(&im, &id).await;
    let states = async || im.state(&id).await.unwrap();
    im.power_all(&id, Power::Stop).await.unwrap();
    assert_eq!(states().await.state, VmState::Stopped);
    im.power_all(&id, Power::Start).await.unwrap();
    configured(&im, &id).await;
    im.power_vm(&id, 1, Power::Stop).await.unwrap();
    let state = states().await;
    assert_eq!(state.vm_states[&1], VmState::Stopped);
    assert_eq!(state.vm_states[&0], VmState::Configured);
    im.power_vm(&id, 1, Power::Start).await.unwrap();
    im.power_vm(&id, 1, Power::Reboot).await.unwrap();
    configured(&im, &id).await;
    im.reconfigure(&id).await.unwrap();
    configured(&im, &id).await;
}

async fn without_a_cloud_a_create_is_accepted_and_fails(server: Server) {
    let im = server.new_user().with_clouds(Vec::new());
    let id = im.create(&Template::radl(RADL)).await.unwrap();
    until(
        "failed",
        async || im.state(&id).await.unwrap().state,
        |state| *state == VmState::Failed,
    )
    .await;
    let log = im.contmsg(&id, 0).await.unwrap();
    assert!(
        log.text.contains("No cloud provider available"),
        "{}",
        log.text
    );
    deleted(&im, &id).await;
}
