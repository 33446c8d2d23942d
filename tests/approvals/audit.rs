//! The audit is whole, and shows when it is not.

use chrono::TimeDelta;
use pangeo_bot::domain::plan::PlanState;
use pangeo_bot::store::MIGRATOR;
use pangeo_bot::store::audit::Verification;
use sqlx::PgPool;

use crate::desk::{Desk, ben, eva};

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_audit_is_whole_after_force_review_and_expiry(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let (forced, forgotten) = (desk.plan("geo").await, desk.plan("atlas").await);
    desk.force(forced, &eva()).await;
    desk.start(forced).await;
    desk.approvals.review(forced, &ben()).await.unwrap();
    desk.clock.advance(TimeDelta::hours(30));
    assert_eq!(desk.approvals.sweep().await.unwrap().0, 1);
    assert_eq!(desk.state(forgotten).await, PlanState::Expired);
    let told: Vec<(String, String)> =
        sqlx::query_as("select action, actor from audit order by sequence")
            .fetch_all(&pool)
            .await
            .unwrap();
    let told: Vec<(&str, &str)> = told.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let expected = [
        ("plan.requested", "1"),
        ("plan.requested", "1"),
        ("plan.forced", "3"),
        ("operation.created", "bot"),
        ("plan.reviewed", "2"),
        ("plan.ended", "bot"),
    ];
    assert_eq!(told, expected);
    let whole = desk.store.verify_audit().await.unwrap();
    assert!(
        matches!(whole, Verification::Whole { rows: 6, .. }),
        "{whole:?}"
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_audit_shows_every_change_of_a_row(pool: PgPool) {
    let desk = Desk::new(pool.clone());
    let plan = desk.plan("geo").await;
    desk.approve(plan, &ben()).await;
    desk.start(plan).await;
    assert!(matches!(
        desk.store.verify_audit().await.unwrap(),
        Verification::Whole { rows: 3.., .. }
    ));
    let refused = sqlx::query("update audit set actor = '2'")
        .execute(&pool)
        .await;
    assert!(refused.is_err(), "the audit can be changed");
    sqlx::query("alter table audit disable trigger all")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("update audit set actor = '3' where sequence = 2")
        .execute(&pool)
        .await
        .unwrap();
    let broken = desk.store.verify_audit().await.unwrap();
    assert!(
        matches!(broken, Verification::Broken { at: 2, .. }),
        "{broken:?}"
    );
    sqlx::query("delete from audit where sequence = 1")
        .execute(&pool)
        .await
        .unwrap();
    let broken = desk.store.verify_audit().await.unwrap();
    assert!(
        matches!(broken, Verification::Broken { at: 1, .. }),
        "{broken:?}"
    );
}
