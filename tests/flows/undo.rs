//! What stopped or was cancelled is undone: nothing is left, or it is said what.

use sandbox::faults::{On, Place};
use sandbox::frontend::HelmFault;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
const UNDONE: &str = "select count(*) from operations where state = 'undone'";

/// Asks for the deploy and has it approved.
async fn deploys(scene: &Scene) {
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
}

/// Lets the step that waits have begun four hours ago.
async fn four_hours_pass(scene: &Scene, step: &str) {
    let sql = "update steps set intent_at = intent_at - interval '4 hours' where name = $1";
    let done = sqlx::query(sql).bind(step).execute(&scene.pool).await;
    assert_eq!(done.unwrap().rows_affected(), 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deploy_that_is_cancelled_on_the_way_is_undone_and_leaves_nothing(pool: PgPool) {
    let scene = Scene::start(pool).await;
    // All its effects are there, only the hub was not asked yet.
    let faults = scene.world.front_ends.hub_faults();
    let hold = faults.hold(On::any(), Place::Before);
    deploys(&scene).await;
    hold.reached().await;
    let runs = scene.sees_button("Cancel").await;
    let ana = scene.person("ana");
    ana.presses_on(&runs, "Cancel").await.answer().await;
    hold.release();
    let stopped = scene.stops("cancelled it", "undo what was done").await;
    assert!(scene.world.dns.lookup(HOST).is_some());
    scene.undoes(&stopped, "`deploy` of `geo`").await;
    scene.counts(UNDONE, 1).await;
    let told = scene.sees("everything that can be undone is undone").await;
    assert!(!told.says("stays"), "{}", told.text());
    assert_eq!(scene.left_over().await, Vec::<String>::new());
    let cleared = scene.world.dns.faults().count(&On::get("/nic/delete"));
    assert_eq!(cleared, 1);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_undo_says_what_it_had_to_leave(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene
        .world
        .front_ends
        .fail_helm(&HelmFault::AlreadyExists, 1);
    deploys(&scene).await;
    let stopped = scene.stops("installed by somebody else", "retry").await;
    // The service takes no change of the name any more, so that its record stays.
    scene.world.dns.set_blocked(HOST, true);
    scene.undoes(&stopped, "`deploy` of `geo`").await;
    scene.counts(UNDONE, 1).await;
    let told = scene.sees("everything that can be undone is undone").await;
    for words in ["point-dns-name", "stays", "still points to", "portal"] {
        assert!(told.says(words), "no {words:?} in {}", told.text());
    }
    let left = scene.left_over().await;
    assert!(left.len() == 1 && left[0].contains("DNS"), "{left:?}");
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_configuration_that_fails_shows_its_words_and_is_undone(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.world.im.fail_next_configure();
    deploys(&scene).await;
    let cause = "IM could not configure it";
    let stopped = scene
        .stops(cause, "reconfigure it in IM's dashboard and retry")
        .await;
    let excerpt = "Timeout when waiting for search string 200 OK";
    assert!(stopped.says(excerpt), "{}", stopped.text());
    scene.undoes(&stopped, "`deploy` of `geo`").await;
    scene.counts(UNDONE, 1).await;
    assert_eq!(scene.left_over().await, Vec::<String>::new());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_vm_that_stays_pending_is_named_at_the_limit_and_undone(pool: PgPool) {
    let scene = Scene::start(pool).await;
    scene.world.im.next_launch_stays_pending();
    deploys(&scene).await;
    scene.sees("IM: pending").await;
    four_hours_pass(&scene, "wait-until-configured").await;
    let (cause, next) = (
        "it has waited for 3 hours: IM: pending",
        "in IM's dashboard",
    );
    let stopped = scene.stops(cause, next).await;
    // A retry waits as long again instead of stopping at once.
    let ana = scene.person("ana");
    ana.presses_on(&stopped, "Retry").await.answer().await;
    scene
        .counts("select count(*) from operations where state = 'waiting'", 1)
        .await;
    four_hours_pass(&scene, "wait-until-configured").await;
    scene.sees_rests(2).await;
    scene
        .undoes(
            &scene.stops_after(Some(&stopped), cause, next).await,
            "`deploy` of `geo`",
        )
        .await;
    scene.counts(UNDONE, 1).await;
    assert_eq!(scene.left_over().await, Vec::<String>::new());
    scene.nothing_unexpected();
}
