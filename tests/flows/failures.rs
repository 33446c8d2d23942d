//! What is outside fails: each failure stops the operation with its cause and a way on, and once
//! it is mended `Retry` ends the deploy as if nothing had been.

use std::time::Duration;

use sandbox::discord::{Discord, Message};
use sandbox::dns::Dns;
use sandbox::faults::{Fault, Hold, On, Place};
use sandbox::frontend::{HelmFault, SshDoor};
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::{PATIENCE, Scene};

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
const ALWAYS: u32 = 1_000_000;
const UNDONE: &str = "select count(*) from operations where state = 'undone'";

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

/// Lets a step that fails have had most of its tries, with their growing pauses.
async fn was_tried(scene: &Scene, step: &str) {
    let sql = "update steps set attempts = greatest(attempts, 6) where name = $1";
    let done = sqlx::query(sql).bind(step).execute(&scene.pool).await;
    assert_eq!(done.unwrap().rows_affected(), 1);
}

async fn retry_ends_well(scene: &Scene) {
    // The message of the progress is one; a stop before this one may still show its buttons.
    let at_rest = |message: &Message| {
        let mut buttons = message.buttons().into_iter();
        message.says(" of 15 steps") && buttons.any(|button| button.label == "Retry")
    };
    let discord = &scene.world.discord;
    let progress = discord.wait_for_message(at_rest, PATIENCE).await.unwrap();
    let ana = scene.person("ana");
    ana.presses_on(&progress, "Retry").await.answer().await;
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
    scene
        .stops(
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
    scene
        .stops(
            "IM did not create the infrastructure",
            "see whether IM answers",
        )
        .await;
    faults.clear();
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_im_that_forbids_or_forgets_is_named_wherever_it_is_asked(pool: PgPool) {
    const FORBIDDEN: &str = "Error Getting Inf. prop: Access to this infrastructure not granted.";
    const GONE: &str = "Error Getting Inf. prop: Deleted infrastructure.";
    let scene = Scene::start(pool).await;
    let faults = scene.world.im.faults();
    let (state, again) = (On::get("/state"), On::put("/reconfigure"));
    faults.inject(state.clone(), Fault::answer(403, FORBIDDEN), 1);
    deploys(&scene).await;
    for (cause, next, then) in [
        (
            "the state of the infrastructure could not be read: IM does not let us use",
            "ask its owner, then retry",
            Some((state, Fault::answer(404, GONE))),
        ),
        (
            "the state of the infrastructure could not be read: IM does not know it",
            "undo this operation and deploy again",
            Some((again.clone(), Fault::answer(403, FORBIDDEN))),
        ),
        (
            "IM did not take the reconfiguration: IM does not let us use",
            "ask its owner, then retry",
            Some((again, Fault::answer(404, GONE))),
        ),
        (
            "IM did not take the reconfiguration: IM does not know it",
            "undo this operation and deploy again",
            None,
        ),
    ] {
        let stopped = scene.stops(cause, next).await;
        let Some((on, fault)) = then else { break };
        faults.inject(on, fault, 1);
        let ana = scene.person("ana");
        ana.presses_on(&stopped, "Retry").await.answer().await;
    }
    retry_ends_well(&scene).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_silent_im_is_told_while_it_is_waited_for_and_then_left_to_people(pool: PgPool) {
    let scene = Scene::start_set(pool, &[("IM_TIMEOUT_S", "1")]).await;
    let faults = scene.world.im.faults();
    let silence = Fault::hang(Duration::from_secs(600));
    faults.inject(On::get("/state"), silence, ALWAYS);
    deploys(&scene).await;
    // Nothing has stopped yet.
    let told = scene
        .sees("IM does not answer for `GET state`; try 2 of 8 follows")
        .await;
    assert!(told.says("running"), "{}", told.text());
    // The ten minutes until the last try, as the rows see them.
    was_tried(&scene, "wait-until-configured").await;
    scene
        .stops(
            "IM does not answer for `GET state`",
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
    let stopped = scene.stops("No valid host was found", "undo").await;
    scene.undoes(&stopped, "`deploy` of `geo`").await;
    scene.counts(UNDONE, 1).await;
    assert_eq!(scene.left_over().await, Vec::<String>::new());
    // The name is free again.
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let again = scene
        .plan_after(Some(&stopped), "Create cluster `geo`")
        .await;
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
    scene
        .stops(
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
    scene
        .stops("the DNS name could not be pointed", "unblock the host")
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
    scene
        .stops("the front end refuses SSH", "security group")
        .await;
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
    scene
        .stops("host key", "whether the machine was reinstalled")
        .await;
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
async fn each_failure_of_helm_is_named_and_retry_goes_on(pool: PgPool) {
    const MANY: usize = 50;
    let scene = Scene::start_set(pool, &[("OPERATIONS_POLL_MS", "20")]).await;
    let front_ends = &scene.world.front_ends;
    // Passes by itself.
    front_ends.fail_helm(&HelmFault::RepositoryUnreachable, 1);
    front_ends.fail_helm(&HelmFault::NotReady, 1);
    deploys(&scene).await;
    for (cause, next, then, times) in [
        (
            "helm failed: a part of DaskHub was not ready in time",
            "pods of the namespace `daskhub`",
            HelmFault::RolledBack,
            1,
        ),
        (
            "helm failed: the new revision failed and helm rolled it back",
            "the part that was not ready, mend it, then retry",
            HelmFault::AlreadyExists,
            1,
        ),
        (
            "helm failed: the release was installed by somebody else",
            "ask who else works on this cluster",
            HelmFault::ClusterUnreachable,
            MANY,
        ),
        (
            "Kubernetes cluster unreachable",
            "the API server runs on the front end, then retry",
            HelmFault::HookNotReady,
            MANY,
        ),
        (
            "helm failed: the images were not pulled to the nodes in time",
            "retry: the images pulled so far are kept",
            HelmFault::Hang,
            1,
        ),
    ] {
        let stopped = scene.stops(cause, next).await;
        front_ends.heal_helm();
        front_ends.fail_helm(&then, times);
        let ana = scene.person("ana");
        ana.presses_on(&stopped, "Retry").await.answer().await;
        if then == HelmFault::ClusterUnreachable {
            was_tried(&scene, "install-daskhub").await;
        }
    }
    let infrastructure = the_infrastructure(&scene);
    let runs = |_: &Discord| (front_ends.helms_running(&infrastructure) == 1).then_some(());
    let hangs = scene.world.discord.wait_until(PATIENCE, runs).await;
    hangs.unwrap();
    front_ends.fail_helm(&HelmFault::Slow(Duration::from_millis(100)), 1);
    scene.ends_hanging_helm(&infrastructure).await;
    scene.sees("succeeded").await;
    let releases = front_ends.releases(&infrastructure);
    assert_eq!(releases.last().unwrap().status, "deployed");
    let pending = releases.iter().any(|one| one.status.starts_with("pending"));
    assert!(!pending, "{releases:#?}");
    scene.nothing_unexpected();
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
    scene
        .stops("no space is left on the disk", "free space")
        .await;
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
    scene
        .stops(
            "the hub does not answer as it should",
            "above all hub and proxy",
        )
        .await;
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
    scene.stops("cancelled it", "undo").await;
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
