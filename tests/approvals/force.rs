//! Starting without approval, and the review of it.

use chrono::TimeDelta;
use pangeo_bot::approvals::{ForceAnswer, ReviewAnswer};
use pangeo_bot::domain::ids::DiscordChannelId;
use pangeo_bot::domain::message::{MessageKind, Place};
use pangeo_bot::domain::person::Role;
use pangeo_bot::domain::plan::PlanState;
use pangeo_bot::operations::StartOutcome;
use pangeo_bot::store::MIGRATOR;
use sqlx::PgPool;

use crate::desk::{Desk, audited, ben, eva, oli, sql};

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_forced_start_is_told_and_reviewed_by_somebody_else(pool: PgPool) {
    let desk = Desk::new(pool);
    let plan = desk.plan("geo").await;
    let missing = desk.approvals.force(plan, &oli(), "course").await.unwrap();
    assert!(matches!(missing, ForceAnswer::MissingRole { .. }));
    assert_eq!(
        desk.approvals.force(plan, &eva(), "course").await.unwrap(),
        ForceAnswer::Forced
    );
    assert!(matches!(desk.start(plan).await, StartOutcome::Started(_)));
    assert!(
        desk.store
            .message(&format!("forced/{plan}"))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        desk.approvals.review(plan, &eva()).await.unwrap(),
        ReviewAnswer::OwnForce
    );
    assert_eq!(
        desk.approvals.review(plan, &ben()).await.unwrap(),
        ReviewAnswer::Reviewed
    );
    assert_eq!(
        desk.approvals.review(plan, &ben()).await.unwrap(),
        ReviewAnswer::NothingToReview
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_force_counts_only_together_with_its_message(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let plan = desk.plan("geo").await;
    // The message can't be kept: as if the bot were killed before it.
    let never = "alter table messages add constraint never check (key not like 'forced/%')";
    sql(&pool, never).await;
    assert!(desk.approvals.force(plan, &eva(), "course").await.is_err());
    assert!(
        desk.store
            .plan(plan)
            .await
            .unwrap()
            .unwrap()
            .forced
            .is_none(),
        "it may start and nobody is told"
    );
    assert_eq!(audited(&pool, "plan.forced").await, 0);
    sql(&pool, "alter table messages drop constraint never").await;
    assert_eq!(desk.force(plan, &eva()).await, ForceAnswer::Forced);
    assert!(desk.is_told(&format!("forced/{plan}")).await);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_expired_plan_is_not_forced(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let (late, soon) = (desk.plan("geo").await, desk.plan("atlas").await);
    desk.clock
        .advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    assert_eq!(desk.force(soon, &eva()).await, ForceAnswer::Forced);
    desk.clock.advance(TimeDelta::seconds(1));
    let ended = ForceAnswer::Ended {
        state: PlanState::Expired,
        reason: None,
    };
    assert_eq!(desk.force(late, &eva()).await, ended);
    assert_eq!(desk.start(late).await, StartOutcome::Ended);
    assert!(!desk.is_told(&format!("forced/{late}")).await);
    // The sweep ends it, and leaves the one that was forced in time to its start.
    assert_eq!(desk.approvals.sweep().await.unwrap().0, 1);
    assert_eq!(desk.state(late).await, PlanState::Expired);
    assert!(matches!(desk.start(soon).await, StartOutcome::Started(_)));
    assert_eq!(audited(&pool, "plan.forced").await, 1);
    assert!(desk.is_whole().await);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_forced_plan_that_could_not_start_ends_too(pool: PgPool) {
    let desk = Desk::new(pool);
    let plan = desk.plan("geo").await;
    assert_eq!(desk.force(plan, &eva()).await, ForceAnswer::Forced);
    desk.clock.advance(TimeDelta::hours(26));
    assert_eq!(desk.start(plan).await, StartOutcome::Ended);
    assert_eq!(desk.approvals.sweep().await.unwrap().0, 1);
    assert_eq!(desk.state(plan).await, PlanState::Expired);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn only_the_first_force_counts(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let plan = desk.plan("geo").await;
    assert_eq!(desk.force(plan, &eva()).await, ForceAnswer::Forced);
    let by_eva = ForceAnswer::AlreadyForced { by: eva().id };
    assert_eq!(desk.force(plan, &ben()).await, by_eva);
    assert!(matches!(desk.start(plan).await, StartOutcome::Started(_)));
    assert_eq!(desk.force(plan, &ben()).await, by_eva, "also once it runs");
    assert_eq!(audited(&pool, "plan.forced").await, 1);
    let forced = desk
        .store
        .plan(plan)
        .await
        .unwrap()
        .unwrap()
        .forced
        .unwrap();
    assert_eq!(forced.by, eva().id);
    // Whoever forced it first still can't review it.
    let own = desk.approvals.review(plan, &eva()).await.unwrap();
    assert_eq!(own, ReviewAnswer::OwnForce);

    // At the same moment it is one of them, too.
    let plan = desk.plan("atlas").await;
    let (one, two) = (ben(), eva());
    let (one, two) = tokio::join!(desk.force(plan, &one), desk.force(plan, &two));
    let counted = [&one, &two]
        .iter()
        .filter(|answer| ***answer == ForceAnswer::Forced)
        .count();
    assert_eq!(counted, 1, "{one:?}, {two:?}");
    assert_eq!(audited(&pool, "plan.forced").await, 2);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_reason_of_a_force_stands_in_plan_audit_and_notice(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let plan = desk.plan("geo").await;
    desk.force(plan, &eva()).await;
    let forced = desk
        .store
        .plan(plan)
        .await
        .unwrap()
        .unwrap()
        .forced
        .unwrap();
    assert_eq!(forced.reason, "the course begins");
    let details: String = sqlx::query_scalar(
        "select actor || ' ' || subject || ' ' || details::text from audit
         where action = 'plan.forced'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    for word in ["3", &plan.to_string(), "the course begins"] {
        assert!(details.contains(word), "no {word:?} in {details}");
    }
    let told = desk.store.message(&format!("forced/{plan}")).await;
    let told = told.unwrap().unwrap();
    assert_eq!(told.place, Place::Channel(DiscordChannelId(9)));
    let MessageKind::Notice(notice) = told.kind else {
        panic!("{:?}", told.kind);
    };
    assert!(
        notice.text.contains("the course begins") && notice.text.contains("<@3>"),
        "{}",
        notice.text
    );
    assert_eq!(notice.review_of, Some(plan));
    assert_eq!(notice.mention_roles, [Role::Approver]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_forced_plan_is_not_replaced_before_it_starts(pool: PgPool) {
    let desk = Desk::new(pool);
    let first = desk.plan("geo").await;
    desk.force(first, &eva()).await;
    let again = desk.plan("geo").await;
    assert!(matches!(desk.start(first).await, StartOutcome::Started(_)));
    desk.approve(again, &ben()).await;
    assert!(matches!(desk.start(again).await, StartOutcome::Void(_)));
}
