//! Starting once, and only what is still as the plan says.

use pangeo_bot::domain::ids::{OperationId, PlanId};
use pangeo_bot::domain::plan::{Plan, PlanDigest, PlanEssence, PlanState};
use pangeo_bot::operations::StartOutcome;
use pangeo_bot::store::MIGRATOR;
use sqlx::PgPool;

use crate::desk::{Desk, ben, deploy_plan, sql};

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_plan_whose_target_changed_is_void(pool: PgPool) {
    let desk = Desk::new(pool);
    let plan = desk.plan("geo").await;
    let same_name = Plan {
        essence: PlanEssence {
            steps: vec!["check-hub".to_owned()],
            ..deploy_plan("geo", desk.clock.now()).essence
        },
        ..deploy_plan("geo", desk.clock.now())
    };
    let same_name = Plan {
        digest: PlanDigest::of(&same_name.essence),
        ..same_name
    };
    desk.store.insert_plan(&same_name, None, &[]).await.unwrap();
    desk.approve(same_name.id, &ben()).await;
    assert!(matches!(
        desk.start(same_name.id).await,
        StartOutcome::Started(_)
    ));
    desk.approve(plan, &ben()).await;
    assert!(matches!(desk.start(plan).await, StartOutcome::Void(_)));
    assert_eq!(desk.state(plan).await, PlanState::Void);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_starters_at_once_make_one_operation(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let plan = desk.plan("geo").await;
    desk.approve(plan, &ben()).await;
    let (one, two, three) = tokio::join!(desk.start(plan), desk.start(plan), desk.start(plan));
    let started = [one, two, three]
        .iter()
        .filter(|outcome| matches!(outcome, StartOutcome::Started(_)))
        .count();
    assert_eq!(started, 1);
    let rows: i64 = sqlx::query_scalar("select count(*) from operations")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(rows, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_host_name_that_was_taken_meanwhile_voids(pool: PgPool) {
    let desk = Desk::new(pool);
    let plan = desk.plan("geo").await;
    let mut rival = deploy_plan("atlas", desk.clock.now());
    rival.essence.options["host"] = serde_json::json!("geo.vm.fedcloud.eu");
    rival.digest = PlanDigest::of(&rival.essence);
    desk.store.insert_plan(&rival, None, &[]).await.unwrap();
    desk.approve(rival.id, &ben()).await;
    assert!(matches!(
        desk.start(rival.id).await,
        StartOutcome::Started(_)
    ));
    desk.approve(plan, &ben()).await;
    let StartOutcome::Void(why) = desk.start(plan).await else {
        panic!("a second cluster of one host started");
    };
    assert!(why.contains("host"), "{why}");
    assert_eq!(desk.state(plan).await, PlanState::Void);
    assert_eq!(desk.start(plan).await, StartOutcome::Ended);
}

/// A stopped deploy and a plan that undoes it, approved by ben.
async fn stopped_with_undo_plan(desk: &Desk, pool: &PgPool) -> (OperationId, PlanId) {
    let deploy = desk.plan("geo").await;
    desk.approve(deploy, &ben()).await;
    let StartOutcome::Started(operation) = desk.start(deploy).await else {
        panic!("it did not start");
    };
    sql(pool, "update operations set state = 'stopped', attempt = 3").await;
    let essence = PlanEssence {
        command: "ops undo".to_owned(),
        target: "geo".to_owned(),
        options: serde_json::json!({"operation": operation}),
        target_revision: 3,
        steps: vec!["check-dns-name".to_owned()],
    };
    let undo = Plan {
        digest: PlanDigest::of(&essence),
        essence,
        ..deploy_plan("geo", desk.clock.now())
    };
    desk.store.insert_plan(&undo, None, &[]).await.unwrap();
    desk.approve(undo.id, &ben()).await;
    (operation, undo.id)
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_undo_of_what_did_not_change_starts(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let (operation, undo) = stopped_with_undo_plan(&desk, &pool).await;
    assert_eq!(desk.start(undo).await, StartOutcome::Started(operation));
    assert_eq!(desk.start(undo).await, StartOutcome::Ended);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_undo_of_what_ran_on_meanwhile_is_void(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    for changed in [
        // Somebody retried, and it stopped at another step.
        "update operations set attempt = 4",
        // Somebody retried, and it runs or has ended well.
        "update operations set state = 'running'",
        "update operations set state = 'succeeded'",
    ] {
        sql(
            &pool,
            "truncate plans, plan_files, grants, operations, steps, clusters, messages cascade",
        )
        .await;
        let (operation, undo) = stopped_with_undo_plan(&desk, &pool).await;
        sql(&pool, changed).await;
        let before = desk.store.operation(operation).await.unwrap().unwrap();
        let outcome = desk.start(undo).await;
        assert!(
            matches!(outcome, StartOutcome::Void(_)),
            "{changed}: {outcome:?}"
        );
        assert_eq!(desk.state(undo).await, PlanState::Void, "{changed}");
        let after = desk.store.operation(operation).await.unwrap().unwrap();
        assert_eq!(before, after, "{changed}");
    }
}
