//! `/pangeo token`: the access token on a front end is looked at and renewed.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sandbox::discord::Message;
use sandbox::frontend::ServerSize;
use sandbox::world::BOT_USER;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::alerts::{QUICK, deployed_with};
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";
const AUTH: &str = "usr/local/ec3/auth.dat";

/// A scene with a cluster, its infrastructure's id, and an expired token on its front end.
async fn expired(pool: PgPool) -> (Scene, String) {
    let scene = Scene::start(pool).await;
    scene.keeps_dns_secret(HOST).await;
    scene.person("ana").runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("succeeded").await;
    let id = scene.world.im.infrastructure("pangeo-geo").unwrap().id;
    scene.world.expire_front_ends().unwrap();
    (scene, id)
}

fn token(scene: &Scene, user: &str, minutes: i64) -> String {
    let lifetime = chrono::Duration::minutes(minutes);
    scene.world.checkin.mint_token(user, lifetime).unwrap()
}

/// Ana pastes a token; what the bot answers.
async fn pastes(scene: &Scene, token: &str) -> Message {
    let ana = scene.person("ana");
    let modal = ana.runs("/pangeo token renew name:geo").await.modal().await;
    let answer = ana.fills(&modal, &[("token", token)]).await.answer().await;
    assert!(answer.is_ephemeral());
    answer
}

/// Secrets that are named like sealed tokens.
async fn sealed(scene: &Scene) -> i64 {
    let sql = "select count(*) from secrets where name like 'access-token/%'";
    sqlx::query_scalar(sql)
        .fetch_one(&scene.pool)
        .await
        .unwrap()
}

/// Nobody saw the token: not the channel, not the log, not the rows.
async fn was_told_nowhere(scene: &Scene, token: &str) {
    assert!(!scene.world.discord.transcript().contains(token));
    let sql = "select count(*) from (
                 select options::text as t from plans union all select content::text from plans
                 union all select text from operation_log union all select output::text from steps
                 union all select details from audit) as rows where position($1 in t) > 0";
    let rows: i64 = sqlx::query_scalar(sql)
        .bind(token)
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(rows, 0, "the token stands in a row");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_expired_token_is_seen_and_renewed_by_paste(pool: PgPool) {
    let (scene, id) = expired(pool).await;
    let auth = scene.world.front_ends.root(&id).unwrap().join(AUTH);
    std::fs::set_permissions(&auth, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&auth, Some(65534), Some(65534)).unwrap();
    let log = scene
        .world
        .front_ends
        .root(&id)
        .unwrap()
        .join("var/log/clues2/clues2.log");
    let expired_lines = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.matches("OIDC auth Token expired").count()
    };
    scene
        .world
        .discord
        .wait_until(crate::scene::PATIENCE, |_| {
            (expired_lines() > 0).then_some(())
        })
        .await
        .unwrap();
    let vic = scene.person("vic");
    let answer = vic
        .runs("/pangeo token status name:geo")
        .await
        .answer()
        .await;
    for word in ["has ended", "refresh.dat", "IM says", "expired"] {
        assert!(answer.says(word), "no {word:?} in {}", answer.text());
    }

    let new = token(&scene, BOT_USER, 60);
    let answer = pastes(&scene, &new).await;
    assert!(answer.says("plan"), "{}", answer.text());
    let plan = scene.plan("Renew the access token").await;
    scene.person("ben").reacts(&plan, "✅");
    scene.sees("auth.dat written in both places").await;
    scene.sees("stopped in the log of CLUES").await;

    let text = scene.world.front_ends.auth_dat(&id).unwrap();
    assert_eq!(text.lines().count(), 2, "{} lines", text.lines().count());
    let stands = scene.world.front_ends.clues_token(&id).unwrap().unwrap();
    let claims = scene.world.checkin.valid_token(&stands).unwrap();
    assert_eq!(claims.preferred_username, BOT_USER);
    let refresh = scene.world.front_ends.refresh_dat(&id).unwrap().unwrap();
    assert!(refresh.starts_with("refresh-") && !refresh.contains("expired"));
    let kept = std::fs::metadata(&auth).unwrap();
    assert_eq!(
        (kept.mode() & 0o777, kept.uid(), kept.gid()),
        (0o640, 65534, 65534)
    );
    let parts = std::fs::read_dir(auth.parent().unwrap()).unwrap();
    assert_eq!(parts.count(), 2, "something was left beside auth.dat");
    assert_eq!(
        sealed(&scene).await,
        0,
        "the sealed token was not forgotten"
    );
    was_told_nowhere(&scene, &new).await;
    let answer = vic
        .runs("/pangeo token status name:geo")
        .await
        .answer()
        .await;
    assert!(answer.says("lives and is refreshed"), "{}", answer.text());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn tokens_that_may_not_be_used_are_refused_before_anybody_is_asked(pool: PgPool) {
    let (scene, id) = expired(pool).await;
    let before = scene.world.front_ends.auth_dat(&id).unwrap();
    let good = token(&scene, BOT_USER, 60);
    let (head, tail) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", tail.chars().rev().collect::<String>());
    let other = sandbox::checkin::Checkin::start(sandbox::checkin::CheckinOptions::for_tests())
        .await
        .unwrap();
    let foreign = other
        .mint_token(BOT_USER, chrono::Duration::hours(1))
        .unwrap();
    for (token, because) in [
        (token(&scene, BOT_USER, -5), "expired"),
        (token(&scene, BOT_USER, 8), "must live at least"),
        (token(&scene, "ana", 60), "does not own the infrastructure"),
        (forged, "signature"),
        (foreign, "issuer"),
        ("this is no token at all".to_owned(), "not an access token"),
    ] {
        let answer = pastes(&scene, &token).await;
        assert!(answer.says(because), "no {because:?} in {}", answer.text());
        assert!(answer.says("nothing was changed"), "{}", answer.text());
        was_told_nowhere(&scene, &token).await;
    }
    // Somebody else's cluster: IM would let ana, but the front end's token is not hers.
    let plans: i64 = sqlx::query_scalar("select count(*) from plans where command = 'token renew'")
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!(plans, 0);
    assert_eq!(sealed(&scene).await, 0, "a refused token was kept");
    assert_eq!(scene.world.front_ends.auth_dat(&id).unwrap(), before);
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn killed_at_every_intent_and_result_a_renewal_ends_right(pool: PgPool) {
    use crate::kill::{Point, arm, kill_there, start_again};
    let (mut scene, id) = expired(pool).await;
    let auth = scene.world.front_ends.root(&id).unwrap().join(AUTH);
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                if let Ok(text) = std::fs::read_to_string(&auth) {
                    // cron's own script empties the file before it writes.
                    seen.insert((text.lines().count(), text.matches("eyJ").count() / 2));
                }
            }
            seen
        })
    };
    pastes(&scene, &token(&scene, BOT_USER, 60)).await;
    let plan = scene.plan("Renew the access token").await;
    let points: Vec<Point<'_>> = ["obtain-token", "write-token", "wait-for-refresh-token"]
        .into_iter()
        .flat_map(|step| [Point::Step(step, "running"), Point::Step(step, "done")])
        .collect();
    arm(&scene.pool, points[0]).await;
    scene.person("ben").reacts(&plan, "✅");
    for (at, point) in points.iter().enumerate() {
        kill_there(&mut scene, *point).await;
        start_again(&mut scene, points.get(at + 1).copied()).await;
    }
    scene.sees("auth.dat written in both places").await;
    over.store(true, Ordering::Relaxed);
    let seen = reader.join().unwrap();
    let whole = |seen: &(usize, usize)| *seen == (2, 2) || *seen == (0, 0);
    assert!(seen.iter().all(whole), "half-written: {seen:?}");
    let stands = scene.world.front_ends.clues_token(&id).unwrap().unwrap();
    assert!(scene.world.checkin.valid_token(&stands).is_some());
    assert_eq!(
        sealed(&scene).await,
        0,
        "the sealed token was not forgotten"
    );
    scene.nothing_unexpected();
}

/// The code that came privately, of the newest login.
async fn code(scene: &Scene, number: usize) -> String {
    let private = |message: &Message| message.says("Log in to renew the token");
    let discord = &scene.world.discord;
    let found = |_: &sandbox::discord::Discord| {
        let told: Vec<Message> = discord
            .direct_messages(&scene.person("ana"))
            .into_iter()
            .filter(private)
            .collect();
        (told.len() >= number)
            .then(|| told.last().cloned())
            .flatten()
    };
    let message = discord
        .wait_until(crate::scene::PATIENCE, found)
        .await
        .unwrap();
    let text = message.text();
    let (_, code) = text.split_once("Code: `").unwrap();
    let (code, _) = code.split_once('`').unwrap();
    code.to_owned()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_login_gives_the_token_and_what_is_kept_renews_every_cluster(pool: PgPool) {
    let (scene, id) = expired(pool).await;
    let ana = scene.person("ana");
    let answer = ana
        .runs("/pangeo token renew name:geo way:kept")
        .await
        .answer()
        .await;
    assert!(answer.says("no refresh token is kept"), "{}", answer.text());
    ana.runs("/pangeo token renew name:geo way:login keep:true")
        .await
        .answer()
        .await;
    let plan = scene.plan("Renew the access token").await;
    scene.person("ben").reacts(&plan, "✅");
    let first = code(&scene, 1).await;
    assert!(
        !scene
            .world
            .discord
            .messages(plan.channel_id)
            .iter()
            .any(|m| m.says(&first))
    );
    // The wrong person logs in: nothing is written, and a retry asks anew.
    let before = scene.world.front_ends.auth_dat(&id).unwrap();
    assert!(scene.world.checkin.approve_device(&first, "ben"));
    scene.sees("another person").await;
    assert_eq!(scene.world.front_ends.auth_dat(&id).unwrap(), before);
    ana.presses("Retry").await.answer().await;
    let second = code(&scene, 2).await;
    assert_ne!(first, second);
    assert!(scene.world.checkin.approve_device(&second, BOT_USER));
    scene.sees("auth.dat written in both places").await;
    scene.sees_rests(3).await;
    let stands = || scene.world.front_ends.clues_token(&id).unwrap().unwrap();
    let renewed = stands();
    assert!(scene.world.checkin.valid_token(&renewed).is_some());
    let kept = "select count(*) from secrets where name in ('refresh-token')";
    let kept: i64 = sqlx::query_scalar(kept)
        .fetch_one(&scene.pool)
        .await
        .unwrap();
    assert_eq!((kept, sealed(&scene).await), (1, 0));

    scene.world.expire_front_ends().unwrap();
    ana.runs("/pangeo token renew every:true way:kept")
        .await
        .answer()
        .await;
    let all = scene.plan("Renew the access tokens on 1 front ends").await;
    scene.person("ben").reacts(&all, "✅");
    scene.sees_rests(4).await;
    assert_ne!(stands(), renewed);
    assert!(scene.world.checkin.valid_token(&stands()).is_some());
    scene.nothing_unexpected();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_token_is_told_of_before_it_ends_and_once(pool: PgPool) {
    let (scene, id) = deployed_with(pool, QUICK).await;
    let ana = scene.person("ana");
    let watch = "/pangeo token watch name:geo minutes:30";
    let answer = ana.runs(watch).await.answer().await;
    assert!(answer.says("less than 30 min"), "{}", answer.text());
    let vic = scene.person("vic");
    let status = vic.runs("/pangeo token status name:geo").await;
    let status = status.answer().await;
    assert!(status.says("warns 30 min before"), "{}", status.text());

    // 25 minutes left is in time for cron, which has no reason to refresh yet.
    let soon = token(&scene, BOT_USER, 25);
    scene.world.front_ends.leave_with_token(&id, &soon).unwrap();
    let alert = scene.sees("geo: its access token ends soon").await;
    for words in [
        "nobody waits for a node now",
        "the token in auth.dat ends 20",
        "`/pangeo token renew name:geo`",
        "docs/alerts.md#token-ends-soon",
    ] {
        assert!(alert.says(words), "{words}: {}", alert.text());
    }
    // It ends after all, and somebody comes: one message, which says so.
    let ended = token(&scene, BOT_USER, -1);
    scene
        .world
        .front_ends
        .leave_with_token(&id, &ended)
        .unwrap();
    for user in ["ada", "bob", "cyd"] {
        let size = ServerSize {
            cpu_milli: 6000,
            memory: 20_000_000_000,
        };
        scene.world.front_ends.start_server(&id, user, size);
    }
    let worse = scene.sees("geo: its access token has ended").await;
    assert_eq!(worse.id, alert.id);
    let waiting = scene.sees("pods wait for a node; once it has").await;
    assert_eq!(waiting.id, alert.id);
    let fresh = token(&scene, BOT_USER, 60);
    scene.world.front_ends.renew_by_hand(&id, &fresh).unwrap();
    for user in ["ada", "bob", "cyd"] {
        scene.world.front_ends.stop_server(&id, user);
    }
    scene.sees("its access token has ended (over)").await;
    let kinds: Vec<String> =
        sqlx::query_scalar("select kind from alerts where fired_at is not null")
            .fetch_all(&scene.pool)
            .await
            .unwrap();
    assert_eq!(kinds, ["token"]);

    // What refreshes it has an end, too.
    let root = scene.world.front_ends.root(&id).unwrap();
    let refresh = token(&scene, BOT_USER, 13 * 24 * 60);
    std::fs::write(root.join("usr/local/ec3/refresh.dat"), &refresh).unwrap();
    let ends = scene.sees("geo: its refresh token ends soon").await;
    assert!(ends.says("in refresh.dat ends 20"), "{}", ends.text());
    was_told_nowhere(&scene, &refresh).await;

    let off = "/pangeo token watch name:geo off:true";
    let answer = ana.runs(off).await.answer().await;
    assert!(answer.says("less than 4 min"), "{}", answer.text());
    scene
        .counts(
            "select count(*) from facts where key like 'token-watch/%'",
            0,
        )
        .await;
    scene.nothing_unexpected();
}
