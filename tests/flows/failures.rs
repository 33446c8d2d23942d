//! What is outside fails: each failure stops the operation with its cause and a way on, and once
//! it is mended `Retry` ends the deploy as if nothing had been.

use sandbox::discord::Message;
use sandbox::dns::Dns;
use sandbox::faults::{Fault, Hold, On, Place};
use sandbox::frontend::{HelmFault, SshDoor};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
const ALWAYS: u32 = 1_000_000;

/// Asks for the deploy and has it approved.
async fn deploys(scene: &Scene) {
    scene.keeps_dns_secret(HOST).await;
    approved(scene).await;
}

async fn approved(scene: &Scene) {
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
}

/// Stopped with this cause and this way on.
async fn stops(scene: &Scene, cause: &str, hint: &str) {
    let both =
        |message: &Message| message.says(cause) && message.says(hint) && message.says("stopped");
    let seen = scene.world.discord.wait_for_message(both, PATIENCE).await;
    seen.unwrap_or_else(|error| panic!("nobody saw {cause:?} with {hint:?}: {error}"));
    scene.sees_button("Retry").await;
    scene.sees_button("Leave").await;
}

async fn retry_ends_well(scene: &Scene) {
    scene.person("ana").presses("Retry").await.answer().await;
    scene.sees("succeeded").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    let view = scene.world.im.infrastructure("pangeo-geo").unwrap();
    let releases = scene.world.front_ends.releases(&view.id);
    assert_eq!(releases.last().unwrap().status, "deployed");
    scene.nothing_unexpected();
}

/// Holds the deploy at the update of the DNS name: the front end runs and its key is pinned.
fn hold_at_dns(dns: &Dns) -> Hold {
    dns.faults().hold(On::get("/nic/update"), Place::Before)
}

/// The id of the only infrastructure.
fn the_infrastructure(scene: &Scene) -> String {
    scene
        .world
        .front_ends
        .infrastructures()
        .first()
        .cloned()
        .unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_refused_token_asks_for_a_new_one(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let text = "Error trying to decode OIDC auth token: OIDC auth Token expired";
    let faults = scene.world.im.faults();
    faults.inject(
        On::post("/infrastructures?async").after(0),
        Fault::answer(401, text),
        ALWAYS,
    );
    deploys(&scene).await;
    stops(
        &scene,
        "IM did not create the infrastructure",
        "renew the access token",
    )
    .await;
    faults.clear();
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_im_that_fails_is_tried_again_and_then_left_to_people(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let faults = scene.world.im.faults();
    faults.inject(
        On::post("/infrastructures?async"),
        Fault::answer(500, "boom"),
        ALWAYS,
    );
    deploys(&scene).await;
    stops(
        &scene,
        "IM did not create the infrastructure",
        "see whether IM answers",
    )
    .await;
    faults.clear();
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_create_whose_answer_is_lost_is_adopted(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let faults = scene.world.im.faults();
    faults.inject(On::post("/infrastructures?async"), Fault::DropAnswer, 1);
    faults.inject(On::get("/state"), Fault::HalfBody, 2);
    deploys(&scene).await;
    scene.sees("succeeded").await;
    assert_eq!(scene.world.im.create_calls(), 1);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_launch_that_fails_is_undone_and_leaves_nothing(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.world.im.fail_next_launch("No valid host was found");
    deploys(&scene).await;
    stops(&scene, "wait-until-configured", "undo").await;
    scene.person("ana").presses("Undo…").await.answer().await;
    let plan = scene.plan("Undo `deploy` of `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees_rests(2).await;
    let state: String = sqlx::query_scalar("select state from operations")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(state, "undone");
    assert_eq!(scene.world.im.infrastructure("pangeo-geo"), None);
    let secrets: i64 =
        sqlx::query_scalar("select count(*) from secrets where owner_kind = 'cluster'")
            .fetch_one(&scene.pool)
            .await
            .unwrap();
    assert_eq!(secrets, 0, "secrets of the cluster are left");
    // The name is free again.
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let again = scene.plan_after(Some(&plan), "Create cluster `geo`").await;
    scene.person("ben").reacts(&again, "✅");
    scene.sees("succeeded").await;
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_wrong_dns_secret_is_asked_for_again(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.world.dns.add_host(HOST, "another-secret");
    let ana = scene.person("ana");
    let modal = ana
        .runs(&format!("/pangeo dns set-secret host:{HOST}"))
        .await
        .modal()
        .await;
    ana.fills(&modal, &[("secret", "not-the-secret")])
        .await
        .answer()
        .await;
    approved(&scene).await;
    stops(
        &scene,
        "the DNS name could not be pointed",
        "/pangeo dns set-secret",
    )
    .await;
    scene.keeps_dns_secret(HOST).await;
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_blocked_dns_host_stops_and_trouble_passes(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene
        .world
        .dns
        .faults()
        .inject(On::get("/nic/update"), Fault::answer(200, "911"), 2);
    scene.keeps_dns_secret(HOST).await;
    scene.world.dns.set_blocked(HOST, true);
    approved(&scene).await;
    stops(
        &scene,
        "the DNS name could not be pointed",
        "unblock the host",
    )
    .await;
    scene.world.dns.set_blocked(HOST, false);
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_front_end_that_refuses_ssh_is_waited_for(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let hold = hold_at_dns(&scene.world.dns);
    deploys(&scene).await;
    hold.reached().await;
    let infrastructure = the_infrastructure(&scene);
    scene
        .world
        .front_ends
        .set_ssh(&infrastructure, SshDoor::Refusing)
        .unwrap();
    hold.release();
    stops(&scene, "the front end could not be used", "retry").await;
    scene
        .world
        .front_ends
        .set_ssh(&infrastructure, SshDoor::Open)
        .unwrap();
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_changed_host_key_stops_and_is_never_accepted(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let hold = hold_at_dns(&scene.world.dns);
    deploys(&scene).await;
    hold.reached().await;
    let infrastructure = the_infrastructure(&scene);
    scene
        .world
        .front_ends
        .change_host_key(&infrastructure)
        .await
        .unwrap();
    hold.release();
    stops(&scene, "host key", "").await;
    let before = scene.world.front_ends.commands(&infrastructure).len();
    scene.person("ana").presses("Retry").await.answer().await;
    scene.sees_rests(2).await;
    assert_eq!(
        scene.world.front_ends.commands(&infrastructure).len(),
        before
    );
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_helm_that_fails_says_why_and_runs_again(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.world.front_ends.fail_helm(&HelmFault::NotReady, 1);
    deploys(&scene).await;
    stops(&scene, "helm failed", "").await;
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_full_disk_on_the_front_end_is_named(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let hold = hold_at_dns(&scene.world.dns);
    deploys(&scene).await;
    hold.reached().await;
    let infrastructure = the_infrastructure(&scene);
    scene
        .world
        .front_ends
        .fill_disk(&infrastructure, true)
        .unwrap();
    hold.release();
    stops(&scene, "disk", "").await;
    scene
        .world
        .front_ends
        .fill_disk(&infrastructure, false)
        .unwrap();
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_hub_that_answers_502_is_waited_for_and_then_named(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let faults = scene.world.front_ends.hub_faults();
    faults.inject(On::any(), Fault::answer(502, "Bad Gateway"), ALWAYS);
    deploys(&scene).await;
    stops(&scene, "the hub does not answer as it should", "").await;
    faults.clear();
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cancelled_deploy_is_left_and_taken_up_again(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let hold = hold_at_dns(&scene.world.dns);
    deploys(&scene).await;
    hold.reached().await;
    scene.person("ana").presses("Cancel").await.answer().await;
    hold.release();
    stops(&scene, "cancelled it", "undo").await;
    scene.person("ana").presses("Leave").await.answer().await;
    let list = scene
        .person("vic")
        .runs("/pangeo list")
        .await
        .answer()
        .await;
    assert!(list.says("failed"), "{}", list.text());
    let id: String = sqlx::query_scalar("select id::text from operations")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    let retry = format!("/pangeo ops retry operation:{}", &id[id.len() - 8..]);
    scene.person("ana").runs(&retry).await.answer().await;
    scene.sees("succeeded").await;
    scene.nothing_unexpected();
}
