//! What stands behind the front end: the Kubernetes API, the hub, the sandbox itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pangeo_bot::services::frontend::FrontendError;
use pangeo_bot::services::helm::Helm;
use pangeo_bot::services::hub::{CertificateProblem, HubClient, HubError};
use pangeo_bot::services::kubernetes::Kubernetes;
use sandbox::faults::{Fault, On};
use sandbox::frontend::{FrontEnds, FrontEndsOptions, HelmFault};
use sandbox::machines::{MachineRequest, Machines};

use crate::world::{
    HOST, INFRASTRUCTURE, VERSION, World, chart, install, run_id, until_over, values,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_kubernetes_api_is_read_through_ssh() {
    let world = World::start().await;
    let frontend = Arc::new(world.connect().await);
    let kubernetes = Kubernetes::connect(Arc::clone(&frontend)).await.unwrap();
    assert_eq!(kubernetes.version().await.unwrap(), "v1.28.15");
    // However often it is opened, the connection has one forward.
    let again = Kubernetes::connect(Arc::clone(&frontend)).await.unwrap();
    assert_eq!(again.version().await.unwrap(), "v1.28.15");
    let port = 6443;
    let first = frontend.forward("front.localdomain", port).await.unwrap();
    let second = frontend.forward("front.localdomain", port).await.unwrap();
    let other = frontend.forward("elsewhere", port).await.unwrap();
    assert_eq!(first, second);
    assert_ne!(first, other);
    assert_eq!(kubernetes.deployments("daskhub").await.unwrap(), []);
    assert_eq!(kubernetes.pod_count("daskhub").await.unwrap(), 0);
    let nodes = kubernetes.nodes().await.unwrap();
    assert_eq!(nodes.len(), 3);
    assert!(nodes[0].is_control_plane && nodes[0].ready && !nodes[1].is_control_plane);
    assert_eq!(nodes[1].allocatable_cpu, "8");
    let helm = Helm::new(&frontend, &world.settings);
    install(&helm).await;
    let deployments = kubernetes.deployments("daskhub").await.unwrap();
    assert_eq!(deployments.len(), 6);
    assert!(
        deployments.iter().all(|deployment| deployment.is_ready()),
        "{deployments:?}"
    );
    assert_eq!(kubernetes.pod_count("daskhub").await.unwrap(), 7);
    world.front_ends.fail_helm(&HelmFault::NotReady, 1);
    let run = run_id();
    helm.start_or_attach(&run, &chart(VERSION), &values())
        .await
        .unwrap();
    until_over(&helm, &run).await;
    let deployments = kubernetes.deployments("daskhub").await.unwrap();
    let broken: Vec<_> = deployments.iter().filter(|d| !d.is_ready()).collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].name, "hub");
    assert!(
        broken[0]
            .reason
            .as_deref()
            .unwrap()
            .contains("minimum availability")
    );
    world
        .front_ends
        .kubernetes_faults()
        .inject(On::any(), Fault::answer(503, "{}"), 1);
    let error = kubernetes.nodes().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_counts_only_with_a_valid_certificate() {
    let world = World::start().await;
    let (client, target) = world.hub();
    let error = client.check(&target).await.unwrap_err();
    let HubError::Certificate {
        problem, subject, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(*problem, CertificateProblem::NotTrusted);
    assert!(subject.contains("Fake Certificate"), "{subject}");
    world
        .front_ends
        .configured(INFRASTRUCTURE, Some(HOST), true)
        .await
        .unwrap();
    let error = client.check(&target).await.unwrap_err();
    assert!(
        matches!(error, HubError::NotReady { status: 404, .. }),
        "{error:?}"
    );
    let frontend = world.connect().await;
    install(&Helm::new(&frontend, &world.settings)).await;
    let check = client.check(&target).await.unwrap();
    assert_eq!(check.login_status, 200);
    assert_eq!(check.version.as_deref(), Some("1.5.0"));
    let left = check.certificate_expires_at.unwrap().timestamp()
        - i64::try_from(
            std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .unwrap()
                .as_secs(),
        )
        .unwrap();
    assert!((88 * 86_400..=90 * 86_400).contains(&left), "{left} s");
    world
        .front_ends
        .hub_faults()
        .inject(On::any(), Fault::answer(502, "Bad Gateway"), 1);
    let error = client.check(&target).await.unwrap_err();
    assert!(
        matches!(error, HubError::NotReady { status: 502, .. }),
        "{error:?}"
    );
    let strict = HubClient::new(None).unwrap();
    let error = strict.check(&target).await.unwrap_err();
    assert!(matches!(error, HubError::Certificate { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_sandbox_keeps_the_cluster() {
    let mut world = World::start().await;
    let frontend = world.connect().await;
    install(&Helm::new(&frontend, &world.settings)).await;
    let options = FrontEndsOptions::new(world.dir.join("world"));
    assert!(
        FrontEnds::start(options.clone()).await.is_err(),
        "two sandboxes share a folder"
    );
    let other = FrontEnds::start(FrontEndsOptions::new(world.dir.join("other")));
    let old = std::mem::replace(&mut world.front_ends, other.await.unwrap());
    drop(old);
    let begin = Instant::now();
    while frontend.run(&["true"]).await.is_ok() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "sshd outlives its sandbox"
        );
    }
    world.front_ends = FrontEnds::start(options).await.unwrap();
    let frontend = world.connect().await;
    let helm = Helm::new(&frontend, &world.settings);
    assert!(helm.is_deployed().await.unwrap());
    let request = MachineRequest {
        infrastructure: INFRASTRUCTURE.to_owned(),
        inputs: serde_json::Map::new(),
    };
    let again = Machines::start(world.front_ends.as_ref(), request)
        .await
        .unwrap();
    assert_eq!(again.address, world.access.address);
    world.front_ends.stop(INFRASTRUCTURE).await.unwrap();
    assert_eq!(world.front_ends.infrastructures(), Vec::<String>::new());
    assert!(matches!(
        world.client.connect(&world.access).await,
        Err(FrontendError::Refused { .. })
    ));
}
