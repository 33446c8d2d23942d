//! The desk at which tests answer and start plans.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use pangeo_bot::approvals::{Answer, Approvals, ForceAnswer};
use pangeo_bot::commands::Catalogue;
use pangeo_bot::domain::approval::Verdict;
use pangeo_bot::domain::clock::Clock;
use pangeo_bot::domain::ids::{DiscordChannelId, DiscordUserId, PlanId};
use pangeo_bot::domain::person::{Person, Role};
use pangeo_bot::domain::plan::{
    ApprovalRule, Plan, PlanContent, PlanDigest, PlanEssence, PlanState,
};
use pangeo_bot::operations::{StartOutcome, Starter, start};
use pangeo_bot::store::Store;
use pangeo_bot::store::audit::Verification;
use sqlx::PgPool;

pub(crate) const ANA: DiscordUserId = DiscordUserId(1);

pub(crate) fn person(id: u64, roles: &[Role]) -> Person {
    Person {
        id: DiscordUserId(id),
        roles: roles.to_vec(),
        is_bot: false,
    }
}

pub(crate) fn ben() -> Person {
    person(2, &[Role::Approver])
}

pub(crate) fn eva() -> Person {
    person(3, &[Role::Approver])
}

pub(crate) fn oli() -> Person {
    person(4, &[Role::Operator])
}

/// Everything that answers and starts plans.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) approvals: Approvals,
    pub(crate) starter: Starter,
    pub(crate) clock: Clock,
}

impl Desk {
    pub(crate) fn new(pool: PgPool) -> Self {
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
    pub(crate) async fn plan(&self, name: &str) -> PlanId {
        let plan = deploy_plan(name, self.clock.now());
        let remind_at = Some(plan.created_at + TimeDelta::hours(4));
        self.store.insert_plan(&plan, remind_at, &[]).await.unwrap();
        self.store.plan_posted_in_full(plan.id).await.unwrap();
        plan.id
    }

    pub(crate) async fn state(&self, id: PlanId) -> PlanState {
        self.store.plan(id).await.unwrap().unwrap().state
    }

    pub(crate) async fn approve(&self, id: PlanId, who: &Person) -> Answer {
        self.approvals
            .press(id, who, Verdict::Approve)
            .await
            .unwrap()
    }

    pub(crate) async fn start(&self, id: PlanId) -> StartOutcome {
        self.starter.start_if_approved(id).await.unwrap()
    }

    pub(crate) async fn force(&self, id: PlanId, who: &Person) -> ForceAnswer {
        self.approvals
            .force(id, who, "the course begins")
            .await
            .unwrap()
    }

    pub(crate) async fn is_told(&self, key: &str) -> bool {
        self.store.message(key).await.unwrap().is_some()
    }

    pub(crate) async fn is_whole(&self) -> bool {
        let audit = self.store.verify_audit().await.unwrap();
        matches!(audit, Verification::Whole { .. })
    }
}

/// How often the audit tells of an action.
pub(crate) async fn audited(pool: &PgPool, action: &str) -> i64 {
    sqlx::query_scalar("select count(*) from audit where action = $1")
        .bind(action)
        .fetch_one(pool)
        .await
        .unwrap()
}

pub(crate) async fn sql(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.unwrap();
}

pub(crate) fn deploy_plan(name: &str, now: DateTime<Utc>) -> Plan {
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
