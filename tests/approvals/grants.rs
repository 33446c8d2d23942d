//! Which approvals count and until when, and who is reminded.

use std::time::Duration;

use chrono::TimeDelta;
use pangeo_bot::approvals::{Answer, ReactionsSeen};
use pangeo_bot::domain::approval::Verdict;
use pangeo_bot::domain::message::MessageKind;
use pangeo_bot::domain::person::Role;
use pangeo_bot::domain::plan::{Plan, PlanState};
use pangeo_bot::operations::StartOutcome;
use pangeo_bot::store::MIGRATOR;
use sqlx::PgPool;

use crate::desk::{Desk, ben, deploy_plan, oli, sql};

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_approval_after_the_expiry_starts_nothing(pool: PgPool) {
    let desk = Desk::new(pool);
    let plan = desk.plan("geo").await;
    desk.clock.advance(TimeDelta::hours(25));
    assert!(matches!(
        desk.approve(plan, &ben()).await,
        Answer::Ended { .. }
    ));
    assert_eq!(desk.start(plan).await, StartOutcome::Ended);
    assert_eq!(desk.approvals.sweep().await.unwrap().0, 1);
    assert_eq!(desk.state(plan).await, PlanState::Expired);
    assert_eq!(desk.approvals.sweep().await.unwrap().0, 0, "it ended twice");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_next_group_is_asked_once_and_may_answer_then(pool: PgPool) {
    let desk = Desk::new(pool);
    let plan = desk.plan("geo").await;
    assert!(matches!(
        desk.approve(plan, &oli()).await,
        Answer::MissingRole { .. }
    ));
    desk.clock.advance(TimeDelta::hours(5));
    assert_eq!(desk.approvals.sweep().await.unwrap().1, 1);
    assert_eq!(desk.approvals.sweep().await.unwrap().1, 0, "reminded twice");
    let reminder = desk
        .store
        .message(&format!("reminder/{plan}"))
        .await
        .unwrap();
    assert!(reminder.is_some(), "nobody was told");
    assert!(matches!(
        desk.approve(plan, &oli()).await,
        Answer::Counted { .. }
    ));
    assert!(matches!(desk.start(plan).await, StartOutcome::Started(_)));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_identical_plan_keeps_its_grants_and_another_does_not(pool: PgPool) {
    let desk = Desk::new(pool);
    let first = desk.plan("geo").await;
    desk.approve(first, &ben()).await;
    let again = desk.plan("geo").await;
    assert_eq!(desk.state(first).await, PlanState::Superseded);
    assert_eq!(desk.store.grants(again).await.unwrap().len(), 1);
    assert_eq!(
        desk.start(first).await,
        StartOutcome::Ended,
        "an old plan started"
    );
    let other = desk.plan("atlas").await;
    assert!(desk.store.grants(other).await.unwrap().is_empty());
    // What was carried over can be taken back by who gave it.
    assert_eq!(
        desk.approvals.take_back(first, ben().id).await.unwrap(),
        Answer::TakenBack
    );
    assert_eq!(
        desk.start(again).await,
        StartOutcome::Waiting {
            given: 0,
            needed: 1
        }
    );
    desk.approve(again, &ben()).await;
    assert!(matches!(desk.start(again).await, StartOutcome::Started(_)));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reminder_is_due_until_it_is_told(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let plan = desk.plan("geo").await;
    desk.clock.advance(TimeDelta::hours(5));
    let never = "alter table messages add constraint never check (key not like 'reminder/%')";
    sql(&pool, never).await;
    assert!(desk.approvals.sweep().await.is_err());
    let reminded = desk.store.plan(plan).await.unwrap().unwrap().reminded_at;
    assert_eq!(reminded, None, "it counts as reminded and nobody was told");
    sql(&pool, "alter table messages drop constraint never").await;
    assert_eq!(desk.approvals.sweep().await.unwrap().1, 1);
    let told = desk.store.message(&format!("reminder/{plan}")).await;
    let MessageKind::Notice(notice) = told.unwrap().unwrap().kind else {
        panic!("no notice");
    };
    assert_eq!(notice.mention_roles, [Role::Approver, Role::Operator]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_plan_that_just_starts_is_never_superseded(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let first = desk.plan("geo").await;
    desk.approve(first, &ben()).await;
    // Its start has the row in hand and is about to commit when an identical plan comes.
    let mut starting = pool.begin().await.unwrap();
    sqlx::query("update plans set state = 'started' where id = $1")
        .bind(first.as_uuid())
        .execute(&mut *starting)
        .await
        .unwrap();
    let again = deploy_plan("geo", desk.clock.now());
    let finish = async {
        waits_for_a_lock(&pool).await;
        starting.commit().await.unwrap();
    };
    let (inserted, ()) = tokio::join!(desk.store.insert_plan(&again, None, &[]), finish);
    inserted.unwrap();
    assert_eq!(desk.state(first).await, PlanState::Started);
    assert_eq!(desk.state(again.id).await, PlanState::Waiting);
    assert!(
        desk.store.grants(again.id).await.unwrap().is_empty(),
        "the grants did their work"
    );
}

/// Waits until a statement of this database waits for a row that another has in hand.
async fn waits_for_a_lock(pool: &PgPool) {
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let mut look = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..1000 {
        look.tick().await;
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(pool).await.unwrap();
        if waiting > 0 {
            return;
        }
    }
    panic!("nothing waits for a lock");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn no_grant_is_carried_from_an_expired_plan(pool: PgPool) {
    let desk = Desk::new(pool);
    let first = desk.plan("geo").await;
    desk.approve(first, &ben()).await;
    desk.clock.advance(TimeDelta::hours(24));
    // The sweep did not come by yet.
    let again = desk.plan("geo").await;
    assert!(desk.store.grants(again).await.unwrap().is_empty());
    let waits = StartOutcome::Waiting {
        given: 0,
        needed: 1,
    };
    assert_eq!(desk.start(again).await, waits);
    assert_eq!(desk.approvals.sweep().await.unwrap().0, 1);
    assert_eq!(desk.state(first).await, PlanState::Expired);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_requesters_own_grant_is_never_carried(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let first = desk.plan("geo").await;
    desk.approve(first, &ben()).await;
    // Now ben asks for the very same: what he said about it no longer counts.
    let again = Plan {
        requester: ben().id,
        ..deploy_plan("geo", desk.clock.now())
    };
    desk.store.insert_plan(&again, None, &[]).await.unwrap();
    assert_eq!(desk.state(first).await, PlanState::Superseded);
    assert!(desk.store.grants(again.id).await.unwrap().is_empty());
    let waits = StartOutcome::Waiting {
        given: 0,
        needed: 1,
    };
    assert_eq!(desk.start(again.id).await, waits);
    // Not even a row that says so counts.
    sqlx::query(
        "insert into grants (plan_id, user_id, source, verdict, given_at)
         values ($1, 2, 'carried', 'approve', now())",
    )
    .bind(again.id.as_uuid())
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(desk.start(again.id).await, waits);
    assert_eq!(desk.approve(again.id, &ben()).await, Answer::OwnRequest);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reaction_before_the_plan_was_posted_in_full_never_counts(pool: PgPool) {
    let desk = Desk::new(pool);
    let plan = deploy_plan("geo", desk.clock.now());
    desk.store.insert_plan(&plan, None, &[]).await.unwrap();
    let seen = ReactionsSeen {
        answers: vec![(ben(), Verdict::Approve)],
    };
    let answers = desk.approvals.reconcile(plan.id, &seen).await.unwrap();
    assert_eq!(answers[0].2, Answer::TooEarly);
    desk.store.plan_posted_in_full(plan.id).await.unwrap();
    desk.approvals.reconcile(plan.id, &seen).await.unwrap();
    assert_eq!(
        desk.start(plan.id).await,
        StartOutcome::Waiting {
            given: 0,
            needed: 1
        }
    );
    // Removed and given again it counts, and gone again it does not.
    desk.approvals
        .reconcile(plan.id, &ReactionsSeen::default())
        .await
        .unwrap();
    desk.approvals.reconcile(plan.id, &seen).await.unwrap();
    assert_eq!(desk.store.grants(plan.id).await.unwrap().len(), 1);
    desk.approvals
        .reconcile(plan.id, &ReactionsSeen::default())
        .await
        .unwrap();
    assert_eq!(
        desk.start(plan.id).await,
        StartOutcome::Waiting {
            given: 0,
            needed: 1
        }
    );
}
