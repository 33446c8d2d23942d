//! Our clients of Infrastructure Manager, Dynamic DNS and Check-in against the sandbox: what they
//! make of faults, and what they see of changes.

#![cfg(test)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use pangeo_bot::domain::names::HostName;
use pangeo_bot::services::checkin::{CheckinClient, CheckinError, ClientCheck, read_expiry};
use pangeo_bot::services::dns::{DnsClient, DnsError, DnsUpdate, NameServer};
use pangeo_bot::services::http;
use pangeo_bot::services::im::{
    CloudCredential, ImClient, ImCredentials, ImError, ImLogin, OpenStackLogin, Template,
    TokenCell, VmState,
};
use sandbox::checkin::{Checkin, CheckinOptions, ClientRegistration};
use sandbox::dns::{Dns, DnsOptions};
use sandbox::faults::{Fault, On, Place};
use sandbox::im::{Im, ImOptions, SpeedOptions};
use sandbox::machines::{Machine, MachineRequest, Machines};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";

/// Front ends that are only an address and a key.
struct PaperMachines;

impl Machines for PaperMachines {
    fn start(&self, _request: MachineRequest) -> BoxFuture<'_, anyhow::Result<Machine>> {
        Box::pin(async {
            Ok(Machine {
                address: IpAddr::from([127, 9, 8, 7]),
                user: "cloudadm".to_owned(),
                private_key: KEY.to_owned(),
            })
        })
    }

    fn configured<'a>(
        &'a self,
        _infrastructure: &'a str,
        _host: Option<&'a str>,
        _points_here: bool,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn stop<'a>(&'a self, _infrastructure: &'a str) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

struct Clouds {
    im: Arc<Im>,
    checkin: Arc<Checkin>,
    token: TokenCell,
    client: ImClient,
}

async fn clouds() -> Clouds {
    let checkin = Checkin::start(CheckinOptions::for_tests()).await.unwrap();
    let im = Im::start(ImOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        state_file: None,
        speed: SpeedOptions::for_tests(),
        machines: Arc::new(PaperMachines),
        dns: None,
        checkin: Some(Arc::clone(&checkin)),
    })
    .await
    .unwrap();
    let minted = checkin.mint_token("ana", chrono::Duration::hours(1));
    let token = TokenCell::new(SecretString::from(minted.unwrap()));
    let credentials = ImCredentials {
        login: ImLogin::Token(token.clone()),
        clouds: vec![CloudCredential::OpenStack {
            id: "egi".to_owned(),
            host: "https://keystone.site.example:5000/v3".to_owned(),
            login: OpenStackLogin::default(),
            vo: "vo.pangeo.eu".to_owned(),
            token: token.clone(),
        }],
    };
    let url = Url::parse(&im.url()).unwrap();
    let client = ImClient::new(http::client(None).unwrap(), url, credentials);
    Clouds {
        im,
        checkin,
        token,
        client,
    }
}

const FRONT: &str = "tosca_definitions_version: tosca_simple_yaml_1_0
metadata: {infra_name: geo}
topology_template:
  node_templates:
    front:
      type: tosca.nodes.indigo.Compute
      capabilities:
        endpoint: {properties: {network_name: PUBLIC}}
        host: {properties: {num_cpus: 2, mem_size: 4 GB}}
        os: {properties: {image: 'ost://keystone.site.example/ubuntu-jammy'}}
  outputs:
    grafana_endpoint:
      value: {concat: ['https://', {get_attribute: [front, public_address, 0]}, '/grafana/']}
";

fn front() -> Template {
    Template::tosca(FRONT)
}

#[tokio::test]
async fn the_front_end_has_an_address_and_a_key() {
    let clouds = clouds().await;
    let id = clouds.client.create(&front()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while clouds.client.state(&id).await.unwrap().state != VmState::Configured {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            clouds.im.infrastructures()
        );
        ticks.tick().await;
    }
    let vm = clouds.client.vm(&id, 0).await.unwrap();
    assert_eq!(vm.public_address(), Some(IpAddr::from([127, 9, 8, 7])));
    assert_eq!(vm.user.as_deref(), Some("cloudadm"));
    assert_eq!(vm.private_key.unwrap().expose_secret(), KEY);
    let outputs = clouds.client.outputs(&id).await.unwrap();
    assert_eq!(
        outputs.text("grafana_endpoint"),
        Some("https://127.9.8.7/grafana/")
    );
    let images = clouds.client.images("egi").await.unwrap();
    let jammy = "ost://keystone.site.example/ubuntu-jammy";
    assert!(images.iter().any(|image| image.uri == jammy), "{images:?}");
}

#[tokio::test]
async fn a_create_with_a_lost_answer_is_adopted_by_its_name() {
    let clouds = clouds().await;
    let create = On::post("/infrastructures").exactly();
    let _lost = clouds.im.faults().inject(create, Fault::DropAnswer, 1);
    let error = clouds.client.create(&front()).await.unwrap_err();
    assert!(error.is_transient() && error.outcome_unknown(), "{error}");
    let found = clouds.client.find_by_name("geo").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].as_str(), clouds.im.infrastructures()[0].id);
    assert_eq!(clouds.im.create_calls(), 1);
}

#[tokio::test]
async fn faults_of_the_server_are_told_apart() {
    let clouds = clouds().await;
    let id = clouds.client.create(&front()).await.unwrap();
    let faults = clouds.im.faults();
    let state = async |fault| {
        let _fault = faults.inject(On::get("/state"), fault, 1);
        clouds.client.state(&id).await.unwrap_err()
    };
    let html = Fault::Content {
        content_type: Some("text/html".to_owned()),
        body: "<html>Sign in to the wireless network</html>".to_owned(),
    };
    for (fault, variant, transient) in [
        (Fault::answer(500, "Internal Server Error"), "Failed", true),
        (
            Fault::answer(403, "forbidden by the proxy"),
            "Refused",
            false,
        ),
        (
            Fault::answer(404, "Invalid infrastructure ID"),
            "NotFound",
            false,
        ),
        (Fault::answer(302, ""), "NotUnderstood", true),
        (Fault::DropRequest, "Unreachable", true),
        (Fault::DropAnswer, "Unreachable", true),
        (Fault::hang(Duration::from_millis(50)), "Unreachable", true),
        (Fault::HalfBody, "BrokenOff", true),
        (html, "NotUnderstood", true),
        (
            Fault::content("{\"state\": {\"state\": 7}}"),
            "NotUnderstood",
            true,
        ),
    ] {
        let error = state(fault.clone()).await;
        let shown = format!("{error:?}");
        assert!(shown.starts_with(variant), "{fault:?}: {shown}");
        assert_eq!(error.is_transient(), transient, "{fault:?}: {shown}");
    }
    let endless = Fault::content(&"x".repeat(5 * 1024 * 1024));
    assert!(matches!(state(endless).await, ImError::TooLong { .. }));
}

#[tokio::test]
async fn a_new_token_is_used_at_once() {
    let clouds = clouds().await;
    let mint = |minutes| {
        let token = clouds
            .checkin
            .mint_token("ana", chrono::Duration::minutes(minutes));
        SecretString::from(token.unwrap())
    };
    clouds.token.set(mint(-1));
    let error = clouds.client.list().await.unwrap_err();
    assert!(error.needs_token(), "{error}");
    let fresh = mint(30);
    let left = read_expiry(&fresh).unwrap() - read_expiry(&mint(0)).unwrap();
    assert!((29..=31).contains(&left.num_minutes()), "{left}");
    clouds.token.set(fresh);
    assert!(clouds.client.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_long_log_is_read_from_its_end() {
    let clouds = clouds().await;
    let id = clouds.client.create(&front()).await.unwrap();
    let log: String = (0..100_000).map(|n| format!("line {n:06}\n")).collect();
    let _content = clouds
        .im
        .faults()
        .inject(On::get("/contmsg"), Fault::content(&log), 2);
    let piece = clouds.client.contmsg(&id, 0).await.unwrap();
    assert_eq!(piece.end, 1_200_000);
    assert_eq!(piece.text.len(), 256 * 1024);
    assert!(piece.text.ends_with("line 099999\n"));
    let piece = clouds.client.contmsg(&id, 1_200_000 - 12).await.unwrap();
    assert_eq!(piece.text, "line 099999\n");
}

const HOST: &str = "pangeo.vm.fedcloud.eu";

async fn dns() -> (Arc<Dns>, DnsClient) {
    let dns = Dns::start(DnsOptions::for_tests()).await.unwrap();
    dns.add_host(HOST, "s3cret");
    let client = DnsClient::new(
        http::client(None).unwrap(),
        Url::parse(&dns.url()).unwrap(),
        NameServer::At(dns.name_server()),
    )
    .unwrap();
    (dns, client)
}

#[tokio::test]
async fn a_changed_address_is_seen_at_the_next_look() {
    let (_dns, client) = dns().await;
    let host = HostName::parse(HOST).unwrap();
    let secret = SecretString::from("s3cret");
    assert!(client.resolve(&host).await.unwrap().is_empty());
    for last in [1, 2] {
        let ip = IpAddr::from([127, 0, 7, last]);
        let update = client.update(&host, &secret, ip).await.unwrap();
        assert_eq!(update, DnsUpdate::Updated);
        assert_eq!(client.resolve(&host).await.unwrap(), [ip]);
        let again = client.update(&host, &secret, ip).await.unwrap();
        assert_eq!(again, DnsUpdate::Unchanged);
    }
    let six: IpAddr = "::1".parse().unwrap();
    client.update(&host, &secret, six).await.unwrap();
    assert_eq!(client.resolve(&host).await.unwrap(), [six]);
    for _again in 0..2 {
        client.clear(&host, &secret, six).await.unwrap();
        assert!(client.resolve(&host).await.unwrap().is_empty());
    }
    let error = client.clear(&host, &SecretString::from("wrong"), six).await;
    assert!(
        matches!(error, Err(DnsError::BadSecret { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn refused_updates_say_why_and_hold_no_secret() {
    let (dns, client) = dns().await;
    let ip = IpAddr::from([127, 0, 7, 1]);
    let (host, stranger) = (
        HostName::parse(HOST).unwrap(),
        HostName::parse("stranger.eu").unwrap(),
    );
    let good = SecretString::from("s3cret");
    let bad = SecretString::from("wr0ng-s3cret");
    let error = client.update(&host, &bad, ip).await.unwrap_err();
    assert!(matches!(error, DnsError::BadSecret { .. }), "{error}");
    assert!(!format!("{error:?} {error}").contains("wr0ng"));
    let error = client.update(&stranger, &good, ip).await.unwrap_err();
    assert!(!error.is_transient(), "{error}");
    dns.set_blocked(HOST, true);
    let error = client.update(&host, &good, ip).await.unwrap_err();
    assert!(matches!(error, DnsError::Blocked { .. }), "{error}");
    dns.set_blocked(HOST, false);
    for fault in [
        Fault::answer(200, "911"),
        Fault::answer(502, "<html>"),
        Fault::DropAnswer,
        Fault::HalfBody,
    ] {
        let injected = dns.faults().inject(On::any(), fault.clone(), 1);
        let error = client.update(&host, &good, ip).await.unwrap_err();
        assert!(error.is_transient(), "{fault:?}: {error}");
        assert_eq!(injected.hits(), 1);
    }
}

#[tokio::test]
async fn a_silent_name_server_is_an_error_and_not_an_absent_name() {
    // Bound, but nobody answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = DnsClient::new(
        http::client(None).unwrap(),
        Url::parse("http://127.0.0.1:9/").unwrap(),
        NameServer::At(silent.local_addr().unwrap()),
    )
    .unwrap();
    let host = HostName::parse(HOST).unwrap();
    let limit = tokio::time::timeout(Duration::from_secs(30), client.resolve(&host));
    let error = limit.await.expect("it gives up").unwrap_err();
    assert!(matches!(error, DnsError::Lookup { .. }) && error.is_transient());
}

#[tokio::test]
async fn a_client_is_checked_without_a_login() {
    let checkin = Checkin::start(CheckinOptions::for_tests()).await.unwrap();
    let redirect = "https://geo.example.org/hub/oauth_callback";
    checkin.add_client(
        "geo",
        ClientRegistration {
            secret: Some("hush".to_owned()),
            redirect_uris: vec![redirect.to_owned()],
            disabled: false,
        },
    );
    checkin.add_client(
        "off",
        ClientRegistration {
            disabled: true,
            ..ClientRegistration::default()
        },
    );
    let issuer = Url::parse(checkin.issuer()).unwrap();
    let client = CheckinClient::new(http::client(None).unwrap());
    let check =
        async |id: &str, redirect: &str| client.check_client(&issuer, id, redirect).await.unwrap();
    let other = "https://other.example.org/hub/oauth_callback";
    assert_eq!(check("geo", redirect).await, ClientCheck::Known);
    assert_eq!(check("geo", other).await, ClientCheck::RedirectRefused);
    assert_eq!(check("nobody", redirect).await, ClientCheck::UnknownClient);
    assert!(matches!(
        check("off", redirect).await,
        ClientCheck::Unclear(_)
    ));

    let _broken = checkin
        .faults()
        .inject(On::get("/auth?"), Fault::answer(503, "busy"), 1);
    let error = client
        .check_client(&issuer, "geo", redirect)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    // The document of one realm is not that of another.
    let wrong = Url::parse(&checkin.url()).unwrap();
    let error = client.discovery(&wrong).await.unwrap_err();
    assert!(matches!(error, CheckinError::Status { status: 404, .. }));
}

#[tokio::test]
async fn a_held_create_can_be_caught_before_and_after_its_effect() {
    let clouds = clouds().await;
    for (place, created) in [(Place::Before, 0), (Place::After, 1)] {
        let create = On::post("/infrastructures").exactly();
        let hold = clouds.im.faults().hold(create, place);
        let template = front();
        let (answer, ()) = tokio::join!(clouds.client.create(&template), async {
            hold.reached().await;
            assert_eq!(clouds.im.create_calls(), created);
            hold.discard();
        });
        assert!(answer.unwrap_err().outcome_unknown());
    }
    assert_eq!(clouds.im.create_calls(), 1);
}
