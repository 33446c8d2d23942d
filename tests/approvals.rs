//! Plans, grants and starts over a real PostgreSQL with a clock that is moved by hand, without
//! Discord.
#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pangeo_bot::approvals::{Answer, Approvals, ForceAnswer, ReactionsSeen, ReviewAnswer};
use pangeo_bot::commands::Catalogue;
use pangeo_bot::domain::approval::Verdict;
use pangeo_bot::domain::clock::Clock;
use pangeo_bot::domain::ids::{DiscordChannelId, DiscordUserId, OperationId, PlanId};
use pangeo_bot::domain::message::{MessageKind, Place};
use pangeo_bot::domain::person::{Person, Role};
use pangeo_bot::domain::plan::{
    ApprovalRule, Plan, PlanContent, PlanDigest, PlanEssence, PlanState,
};
use pangeo_bot::operations::{StartOutcome, Starter, start};
use pangeo_bot::store::audit::Verification;
use pangeo_bot::store::{MIGRATOR, Store};
use sqlx::PgPool;

const ANA: DiscordUserId = DiscordUserId(1);

fn person(id: u64, roles: &[Role]) -> Person {
    Person {
        id: DiscordUserId(id),
        roles: roles.to_vec(),
        is_bot: false,
    }
}

fn ben() -> Person {
    person(2, &[Role::Approver])
}

fn eva() -> Person {
    person(3, &[Role::Approver])
}

fn oli() -> Person {
    person(4, &[Role::Operator])
}

/// Everything that answers and starts plans.
struct Desk {
    store: Store,
    approvals: Approvals,
    starter: Starter,
    clock: Clock,
}

impl Desk {
    fn new(pool: PgPool) -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let store = Store::new(pool, clock.clone());
        let catalogue = Catalogue::built_in(&start::known_steps()).unwrap();
        Self {
            approvals: Approvals::new(store.clone()),
            starter: Starter::new(store.clone(), Arc::new(catalogue)),
            store,
            clock,
        }
    }

    /// A deploy of `name` that ana asks for, posted in full.
    async fn plan(&self, name: &str) -> PlanId {
        let plan = deploy_plan(name, self.clock.now());
        let remind_at = Some(plan.created_at + TimeDelta::hours(4));
        self.store.insert_plan(&plan, remind_at, &[]).await.unwrap();
        self.store.plan_posted_in_full(plan.id).await.unwrap();
        plan.id
    }

    async fn state(&self, id: PlanId) -> PlanState {
        self.store.plan(id).await.unwrap().unwrap().state
    }

    async fn approve(&self, id: PlanId, who: &Person) -> Answer {
        self.approvals
            .press(id, who, Verdict::Approve)
            .await
            .unwrap()
    }

    async fn start(&self, id: PlanId) -> StartOutcome {
        self.starter.start_if_approved(id).await.unwrap()
    }

    async fn force(&self, id: PlanId, who: &Person) -> ForceAnswer {
        self.approvals
            .force(id, who, "the course begins")
            .await
            .unwrap()
    }

    async fn is_told(&self, key: &str) -> bool {
        self.store.message(key).await.unwrap().is_some()
    }

    async fn is_whole(&self) -> bool {
        let audit = self.store.verify_audit().await.unwrap();
        matches!(audit, Verification::Whole { .. })
    }
}

/// How often the audit tells of an action.
async fn audited(pool: &PgPool, action: &str) -> i64 {
    sqlx::query_scalar("select count(*) from audit where action = $1")
        .bind(action)
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn sql(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.unwrap();
}

fn deploy_plan(name: &str, now: DateTime<Utc>) -> Plan {
    let options = serde_json::json!({
        "name": name, "host": format!("{name}.vm.fedcloud.eu"), "auth": {"kind": "native"},
        "email": "a@example.org", "workers_max": 5, "workers_min_free": 0,
        "worker": {"cpus": 8, "memory": "32 GB", "disk": null},
        "frontend": {"cpus": 4, "memory": "16 GB", "disk": null},
        "image": {"name": "pangeo/pangeo-notebook", "tag": "2022.09.21"},
        "chart_version": "2024.1.1", "kubernetes_version": null, "credential": null,
        "site_image": null, "method": "helm", "purpose": null, "contact": null, "ends_on": null,
    });
    let essence = PlanEssence {
        command: "deploy".to_owned(),
        target: name.to_owned(),
        options,
        target_revision: 0,
        steps: vec!["check-dns-name".to_owned(), "check-hub".to_owned()],
    };
    Plan {
        id: PlanId::new(),
        digest: PlanDigest::of(&essence),
        essence,
        content: PlanContent::default(),
        rule: ApprovalRule {
            needed: 1,
            from: vec![Role::Approver],
            then_ask: vec![Role::Operator],
            may_force: true,
        },
        requester: ANA,
        channel: DiscordChannelId(9),
        state: PlanState::Waiting,
        state_reason: None,
        superseded_by: None,
        created_at: now,
        expires_at: now + TimeDelta::hours(24),
        posted_in_full_at: None,
        reminded_at: None,
        forced: None,
        reviewed_by: None,
    }
}

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
async fn a_forced_plan_is_not_replaced_before_it_starts(pool: PgPool) {
    let desk = Desk::new(pool);
    let first = desk.plan("geo").await;
    desk.force(first, &eva()).await;
    let again = desk.plan("geo").await;
    assert!(matches!(desk.start(first).await, StartOutcome::Started(_)));
    desk.approve(again, &ben()).await;
    assert!(matches!(desk.start(again).await, StartOutcome::Void(_)));
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
