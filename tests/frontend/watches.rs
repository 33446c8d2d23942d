//! The pretend Kubernetes API as the field's own client watches it: `kube`, over TLS.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use sandbox::frontend::ServerSize;

use crate::world::{INFRASTRUCTURE, World};

/// With the administrator's credentials of the front end.
async fn client(world: &World) -> Client {
    let text = std::fs::read_to_string(world.file("etc/kubernetes/admin.conf")).unwrap();
    let kubeconfig = Kubeconfig::from_yaml(&text).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    config.proxy_url = None;
    Client::try_from(config).unwrap()
}

fn starts(world: &World, user: &str, cpus: u64) {
    let size = ServerSize {
        cpu_milli: cpus * 1000,
        memory: 1 << 30,
    };
    world.front_ends.start_server(INFRASTRUCTURE, user, size);
}

/// The next event; `None` if the watch has ended.
async fn next(
    events: &mut (impl Stream<Item = kube::Result<WatchEvent<Pod>>> + Unpin),
) -> Option<WatchEvent<Pod>> {
    let next = tokio::time::timeout(Duration::from_secs(10), events.next());
    next.await
        .expect("no event within 10 s")
        .map(|event| event.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_watched_from_where_a_list_ended() {
    let world = World::start().await;
    let client = client(&world).await;
    let pods: Api<Pod> = Api::all(client.clone());
    let list = pods.list(&ListParams::default().limit(500)).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    let params = WatchParams::default();
    let mut events = pin!(pods.watch(&params, &version).await.unwrap());
    starts(&world, "ana", 2);
    match next(&mut events).await {
        Some(WatchEvent::Added(pod)) => {
            assert_eq!(pod.name_any(), "jupyter-ana");
            assert!(pod.resource_version().unwrap() > version);
        }
        other => panic!("{other:?}"),
    }
    world.front_ends.stop_server(INFRASTRUCTURE, "ana");
    let gone = loop {
        match next(&mut events).await {
            Some(WatchEvent::Modified(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(gone, Some(WatchEvent::Deleted(pod)) if pod.name_any() == "jupyter-ana"));

    // The API server restarts: the watch ends, and another one goes on.
    world.front_ends.end_watches(INFRASTRUCTURE);
    assert!(next(&mut events).await.is_none());
    let mut events = pin!(pods.watch(&params, &version).await.unwrap());
    assert!(matches!(
        next(&mut events).await,
        Some(WatchEvent::Added(_))
    ));
    world.front_ends.expire_watches(INFRASTRUCTURE);
    let expired = loop {
        match next(&mut events).await {
            Some(WatchEvent::Error(status)) => break status,
            Some(_of_before) => {}
            None => panic!("it ended without a word"),
        }
    };
    assert_eq!((expired.code, expired.reason.as_str()), (410, "Expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_finds_no_node_has_an_event_that_says_why() {
    let world = World::start().await;
    let events: Api<Event> = Api::all(client(&world).await);
    starts(&world, "zoe", 64);
    let list = events.list(&ListParams::default()).await.unwrap();
    let event = &list.items[0];
    assert_eq!(event.involved_object.name.as_deref(), Some("jupyter-zoe"));
    assert_eq!(event.reason.as_deref(), Some("FailedScheduling"));
    let message = event.message.clone().unwrap();
    assert_eq!(
        message,
        "0/3 nodes are available: 1 node(s) had untolerated taint \
         {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu."
    );
}
