//! Who may, what is answered privately, and how soon.

use std::time::Duration;

use pangeo_bot::domain::plan::PlanState;
use pangeo_bot::store::MIGRATOR;
use sqlx::PgPool;

use crate::world::{World, patience};

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_are_registered_once(pool: PgPool) {
    let mut world = World::start(pool).await;
    let names = world.discord.registered_commands();
    for name in [
        "pangeo deploy",
        "pangeo dns set-secret",
        "pangeo ops list",
        "pangeo help",
    ] {
        assert!(
            names.iter().any(|known| known == name),
            "{name} is not in {names:?}"
        );
    }
    let registrations = |world: &World| {
        let requests = world.discord.requests();
        requests
            .iter()
            .filter(|r| r.method == "PUT" && r.path.ends_with("/commands"))
            .count()
    };
    assert_eq!(registrations(&world), 1);

    world.restart_bot().await;
    let help = world
        .person("vic")
        .runs("/pangeo help")
        .await
        .answer()
        .await;
    assert!(
        help.is_ephemeral() && help.says("/pangeo deploy"),
        "{}",
        help.text()
    );
    assert_eq!(
        registrations(&world),
        1,
        "nothing changed, so nothing is registered again"
    );
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn role_and_channel_stand_before_everything(pool: PgPool) {
    let world = World::start(pool).await;
    let deploy = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu";

    let refused = world.person("vic").runs(deploy).await.answer().await;
    assert!(
        refused.is_ephemeral() && refused.says("only `operator` may do this"),
        "{}",
        refused.text()
    );
    let random = sandbox::discord::RANDOM_CHANNEL;
    let refused = world
        .person("ana")
        .runs_in(random, deploy)
        .await
        .answer()
        .await;
    assert!(
        refused.is_ephemeral() && refused.says("the bot answers in"),
        "{}",
        refused.text()
    );
    let refused = world
        .person("zed")
        .runs("/pangeo help")
        .await
        .answer()
        .await;
    assert!(refused.says("may do this"), "{}", refused.text());
    assert_eq!(world.plans_asked_for(), 0);

    // Completion: nothing for those who may not, nothing outside the channel.
    let offered = world.person("ana").completes("/pangeo status name:g").await;
    assert_eq!(offered, [("geo".to_owned(), "geo".to_owned())]);
    assert!(
        world
            .person("zed")
            .completes("/pangeo status name:g")
            .await
            .is_empty()
    );
    assert!(
        world
            .person("ana")
            .completes_in(random, "/pangeo status name:g")
            .await
            .is_empty()
    );

    // Buttons: a person without any role, and one with the wrong one.
    let plan = world.plan("geo", 1).await;
    let message = world.plan_message(plan).await;
    let refused = world
        .person("zed")
        .presses_on(&message, "Approve")
        .await
        .answer()
        .await;
    assert!(refused.says("may do this"), "{}", refused.text());
    let refused = world
        .person("vic")
        .presses_on(&message, "Approve")
        .await
        .answer()
        .await;
    assert!(
        refused.says("only `approver` may answer this plan"),
        "{}",
        refused.text()
    );
    assert_eq!(world.state_of(plan).await, PlanState::Waiting);

    // A form is checked again when it is sent.
    let form = world
        .person("ana")
        .runs("/pangeo dns set-secret host:geo.vm.fedcloud.eu")
        .await
        .modal()
        .await;
    world.discord.set_roles("ana", &["viewer"]);
    let sent = world
        .person("ana")
        .fills(&form, &[("secret", "horse-battery-staple")])
        .await;
    let refused = sent.answer().await;
    assert!(
        refused.says("only `operator` may do this"),
        "{}",
        refused.text()
    );
    assert_eq!(world.secret("geo.vm.fedcloud.eu", "dns-secret").await, None);
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn wrong_options_are_answered_privately_and_change_nothing(pool: PgPool) {
    let world = World::start(pool).await;
    let ana = world.person("ana");
    for (typed, said) in [
        (
            "/pangeo deploy name:\"a b\" host:geo.vm.fedcloud.eu",
            "`name`",
        ),
        ("/pangeo deploy name:geo host:-geo.vm.fedcloud.eu", "`host`"),
        ("/pangeo deploy name:geo host:gео.vm.fedcloud.eu", "`host`"),
        (
            "/pangeo deploy name:geo;reboot host:geo.vm.fedcloud.eu",
            "`name`",
        ),
        (
            "/pangeo dns set-secret host:geo.example.org",
            "must end with `vm.fedcloud.eu`",
        ),
        (
            "/pangeo dns check host:vm.fedcloud.eu",
            "put a name before `vm.fedcloud.eu`",
        ),
    ] {
        let answer = ana.runs(typed).await.answer().await;
        let text = answer.text().replace('\\', "");
        assert!(answer.is_ephemeral(), "{typed}");
        assert!(text.contains("nothing was changed"), "{typed}: {text}");
        assert!(
            text.contains(said) || text.contains(said.trim_matches('`')),
            "{typed}: {text}"
        );
    }
    assert_eq!(world.plans_asked_for(), 0);
    let answer = ana
        .runs("/pangeo deploy name:geo host:geo.vm.fedcloud.eu")
        .await
        .answer()
        .await;
    assert!(answer.says("played plans are refused"), "{}", answer.text());
    assert_eq!(world.plans_asked_for(), 1);
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn secrets_go_through_a_form_and_are_never_shown(pool: PgPool) {
    let world = World::start(pool).await;
    let ana = world.person("ana");
    let host = "geo.vm.fedcloud.eu";
    let form = ana
        .runs(&format!("/pangeo dns set-secret host:{host}"))
        .await
        .modal()
        .await;
    let bad = ana
        .fills(&form, &[("secret", "horse\u{1}battery")])
        .await
        .answer()
        .await;
    assert!(
        bad.says("control characters") && !bad.says("battery"),
        "{}",
        bad.text()
    );

    let form = ana
        .runs(&format!("/pangeo dns set-secret host:{host}"))
        .await
        .modal()
        .await;
    let kept = ana
        .fills(&form, &[("secret", " horse-battery-staple ")])
        .await
        .answer()
        .await;
    assert!(
        kept.is_ephemeral() && kept.says("sealed and kept"),
        "{}",
        kept.text()
    );
    assert_eq!(
        world.secret(host, "dns-secret").await.as_deref(),
        Some("horse-battery-staple")
    );

    let form = ana
        .runs(&format!("/pangeo checkin set-client host:{host}"))
        .await
        .modal()
        .await;
    let fields = [
        ("client-id", "client-0001"),
        ("client-secret", "correct-horse-secret"),
    ];
    ana.fills(&form, &fields).await.answer().await;
    assert_eq!(
        world.secret(host, "client-secret").await.as_deref(),
        Some("correct-horse-secret")
    );
    assert!(!world.discord.transcript().contains("correct-horse"));
    assert_eq!(world.audited("secret.set").await, 3);
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn interactions_are_acknowledged_before_anything_slow(pool: PgPool) {
    let world = World::start(pool).await;
    world.slow_looks(Duration::from_secs(4));
    let list = world.person("vic").runs("/pangeo list").await;
    let after = list.acknowledged_after().unwrap();
    assert!(
        after < Duration::from_secs(2),
        "acknowledged after {after:?}"
    );
    assert!(list.answer().await.says("played list"));
    assert!(patience() > Duration::from_secs(4));
    world.ends_well().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_refused_token_is_fatal_and_clear(pool: PgPool) {
    let error = World::run_with_token(pool, "not-the-token")
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("Discord refuses the token"),
        "{error}"
    );
}
