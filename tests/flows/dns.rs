//! `/pangeo dns update`: a name that points elsewhere is pointed to its front end again.

use std::net::IpAddr;
use std::time::Duration;

use sandbox::discord::Message;
use sandbox::faults::{Fault, On};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
const UPDATE: &str = "/pangeo dns update name:geo";
const ELSEWHERE: &str = "147.251.9.9";

/// A scene with a cluster, and the address of its front end.
async fn deployed(pool: PgPool) -> (Scene, IpAddr) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;
    let front_end = scene.world.dns.lookup(HOST).unwrap();
    (scene, front_end)
}

fn points_to(scene: &Scene, address: &str) {
    scene
        .world
        .dns
        .set_record(HOST, Some(address.parse().unwrap()));
}

fn updates(scene: &Scene) -> usize {
    scene.world.dns.update_calls().len()
}

/// Ana asks for it; the plan.
async fn planned(scene: &Scene, typed: &str, older: Option<&Message>) -> Message {
    let answer = scene.person("ana").runs(typed).await.answer().await;
    assert!(answer.says("plan `"), "{}", answer.text());
    scene.plan_after(older, "Point `geo.vm.fedcloud.eu`").await
}

async fn refused(scene: &Scene, typed: &str, because: &str) {
    let answer = scene.person("ana").runs(typed).await.answer().await;
    assert!(answer.says(because), "no {because:?} in {}", answer.text());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_name_that_points_elsewhere_is_pointed_to_its_front_end_again(pool: PgPool) {
    let (scene, front_end) = deployed(pool).await;
    refused(&scene, UPDATE, "already").await;
    for (address, because) in [
        ("10.0.0.1", "private"),
        ("127.0.0.1", "own"),
        ("::1", "IPv4"),
    ] {
        refused(&scene, &format!("{UPDATE} address:{address}"), because).await;
    }
    refused(&scene, "/pangeo dns update name:sea", "no cluster `sea`").await;

    points_to(&scene, ELSEWHERE);
    let check = format!("/pangeo dns check host:{HOST}");
    let looked = scene.person("vic").runs(&check).await.answer().await;
    assert!(looked.says("but its cluster is at"), "{}", looked.text());
    let plan = planned(&scene, UPDATE, None).await;
    for words in [
        format!("- {HOST} points to {ELSEWHERE}"),
        format!("+ {HOST} points to {front_end}"),
    ] {
        assert!(plan.says(&words), "no {words:?} in {}", plan.text());
    }
    let before = updates(&scene);
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("dns update geo · succeeded").await;
    assert_eq!(scene.world.dns.lookup(HOST), Some(front_end));
    assert_eq!(updates(&scene), before + 1);

    // Without its secret, or outside of the domains, the name can't be pointed.
    points_to(&scene, ELSEWHERE);
    let sql = "delete from secrets where owner_kind = 'host'";
    sqlx::raw_sql(sql).execute(&scene.pool).await.unwrap();
    refused(&scene, UPDATE, "/pangeo dns set-secret host:geo").await;
    let sql = "update clusters set host = 'geo.example.org'";
    sqlx::raw_sql(sql).execute(&scene.pool).await.unwrap();
    refused(&scene, UPDATE, "is not ours").await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_refused_update_is_not_repeated_and_trouble_passes(pool: PgPool) {
    let (scene, front_end) = deployed(pool).await;
    let (dns, ana) = (&scene.world.dns, scene.person("ana"));
    points_to(&scene, ELSEWHERE);
    dns.add_host(HOST, "another-secret");
    let plan = planned(&scene, UPDATE, None).await;
    let before = updates(&scene);
    scene.person("ben").reacts(&plan, "✅");
    let stopped = scene
        .stops("refused the secret", "/pangeo dns set-secret")
        .await;
    assert_eq!(updates(&scene), before + 1, "a refused update was repeated");
    let address = ELSEWHERE.parse().ok();
    assert_eq!(dns.lookup(HOST), address);

    // The right secret is known again, and the service has trouble for a while.
    scene.keeps_dns_secret(HOST).await;
    let faults = dns.faults();
    let trouble = faults.inject(On::get("/nic/update"), Fault::answer(200, "dnserr"), 2);
    ana.presses_on(&stopped, "Retry").await.answer().await;
    scene.sees("dns update geo · succeeded").await;
    assert_eq!(trouble.hits(), 2);
    assert_eq!(dns.lookup(HOST), Some(front_end));
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_somebody_else_pointed_is_left_and_an_undo_points_back(pool: PgPool) {
    let (scene, front_end) = deployed(pool).await;
    let (dns, ana, ben) = (&scene.world.dns, scene.person("ana"), scene.person("ben"));
    points_to(&scene, ELSEWHERE);
    let plan = planned(&scene, UPDATE, None).await;
    points_to(&scene, "147.251.9.10");
    ben.reacts(&plan, "✅");
    let ended = scene.ends_outdated("changed meanwhile").await;
    assert_eq!(dns.lookup(HOST), "147.251.9.10".parse().ok());

    // Accepted, not seen by name servers yet, and given up: the name goes back all the same.
    let typed = format!("{UPDATE} address:{ELSEWHERE}");
    let plan = planned(&scene, &typed, Some(&ended)).await;
    let warned = format!("the front end is at {front_end}");
    assert!(plan.says(&warned), "{}", plan.text());
    dns.set_propagation(Duration::from_hours(1));
    ben.reacts(&plan, "✅");
    let waits = scene.sees(&format!("resolves to {ELSEWHERE}")).await;
    assert_eq!(dns.records().get(HOST), ELSEWHERE.parse().ok().as_ref());
    ana.presses_on(&waits, "Cancel").await.answer().await;
    let cancelled = scene
        .stops_after(Some(&plan), "cancelled it", "undo what was done")
        .await;
    scene.undoes(&cancelled, "`dns update` of `geo`").await;
    let undone = "select count(*) from operations where state = 'undone'";
    scene.counts(undone, 1).await;
    let back: Option<IpAddr> = "147.251.9.10".parse().ok();
    assert_eq!(dns.records().get(HOST), back.as_ref());
    scene.nothing_unexpected();
}
