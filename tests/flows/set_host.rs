//! `/pangeo checkin set-host`: a hub moves to another host name, with its client.

use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";
const NEW: &str = "sea.vm.fedcloud.eu";
const SET_HOST: &str = "/pangeo checkin set-host name:geo host:";

async fn keeps_client(scene: &Scene, host: &str, id: &str, secret: &str) {
    scene.world.prepare_client(id, secret, host);
    let ana = scene.person("ana");
    let typed = format!("/pangeo checkin set-client host:{host}");
    let modal = ana.runs(&typed).await.modal().await;
    let fields = [("client-id", id), ("client-secret", secret)];
    ana.fills(&modal, &fields).await.answer().await;
}

async fn refused(scene: &Scene, host: &str, words: &[&str]) {
    let typed = format!("{SET_HOST}{host}");
    let answer = scene.person("ana").runs(&typed).await.answer().await;
    for word in words {
        assert!(answer.says(word), "no {word:?} in {}", answer.text());
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_hub_moves_to_another_host_with_its_client(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    keeps_client(&scene, HOST, "geo-client", "geo-client-secret").await;
    let (ana, ben) = (scene.person("ana"), scene.person("ben"));
    let deploy = format!("/pangeo deploy name:geo host:{HOST} check-in:development");
    ana.runs(&deploy).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    ben.reacts(&plan, "✅");
    scene.sees("deploy geo · succeeded").await;
    let front_end = scene.world.dns.lookup(HOST);
    let id = scene.world.im.infrastructure("pangeo-geo").unwrap().id;

    // Everything that is missing is told at once, with what to do.
    refused(&scene, HOST, &["is at `geo.vm.fedcloud.eu` already"]).await;
    refused(&scene, "geo.example.org", &["is not ours"]).await;
    let secret = format!("/pangeo dns set-secret host:{NEW}");
    let client = format!("/pangeo checkin set-client host:{NEW}");
    refused(&scene, NEW, &[&secret, &client]).await;
    scene.keeps_dns_secret(NEW).await;
    refused(&scene, NEW, &[&client]).await;
    keeps_client(&scene, NEW, "sea-client", "sea-client-secret").await;

    ana.runs(&format!("{SET_HOST}{NEW} reason:Rename"))
        .await
        .answer()
        .await;
    let plan = scene.plan("Give the hub of `geo` the host").await;
    for words in [
        format!("- https://{HOST}/"),
        format!("+ https://{NEW}/"),
        format!("- {NEW} points to nowhere"),
        "client_secret changes".to_owned(),
        "must be told".to_owned(),
    ] {
        assert!(plan.says(&words), "no {words:?} in {}", plan.text());
    }
    ben.reacts(&plan, "✅");
    scene.sees("checkin set-host geo · succeeded").await;
    assert_eq!(scene.world.dns.lookup(NEW), front_end);
    let values = scene.world.front_ends.last_values(&id).unwrap();
    assert!(!values.contains(HOST), "{values}");
    assert!(
        values.contains("sea-client-secret"),
        "the old client stayed"
    );
    assert_eq!(values.matches(NEW).count(), 4, "{values}");
    let inputs = scene.world.im.infrastructure("pangeo-geo").unwrap().inputs;
    assert_eq!(inputs["kube_public_dns_name"], NEW);
    let status = scene.person("vic").runs("/pangeo status name:geo").await;
    let status = status.answer().await;
    let url = format!("https://{NEW}/");
    for words in [url.as_str(), "answers, JupyterHub", "Revision: 2"] {
        assert!(status.says(words), "no {words:?} in {}", status.text());
    }
    let transcript = scene.world.discord.transcript();
    assert!(!transcript.contains("sea-client-secret"));
    // The old name is free for another cluster, whose deploy would point it elsewhere.
    let typed = format!("/pangeo deploy name:old host:{HOST} check-in:development");
    let answer = ana.runs(&typed).await.answer().await;
    assert!(answer.says("plan `"), "{}", answer.text());
    scene.nothing_unexpected();
}
