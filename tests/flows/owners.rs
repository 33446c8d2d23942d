//! `/pangeo owners`: who may act on an infrastructure in IM, so that a colleague can act when the
//! creator is away.

use sandbox::discord::Message;
use sandbox::world::BOT_USER;
use sqlx::PgPool;

use crate::MIGRATOR;
use crate::scene::Scene;

const HOST: &str = "geo.vm.fedcloud.eu";
const DEPLOY: &str = "/pangeo deploy name:geo host:geo.vm.fedcloud.eu auth:native";

fn token(scene: &Scene, user: &str, minutes: i64) -> String {
    let lifetime = chrono::Duration::minutes(minutes);
    scene.world.checkin.mint_token(user, lifetime).unwrap()
}

/// Ana runs a command and pastes a token into its form; what the bot answers.
async fn pastes(scene: &Scene, typed: &str, token: &str) -> Message {
    let ana = scene.person("ana");
    let modal = ana.runs(typed).await.modal().await;
    let answer = ana.fills(&modal, &[("token", token)]).await.answer().await;
    assert!(answer.is_ephemeral());
    answer
}

async fn sealed(scene: &Scene) -> i64 {
    let sql = "select count(*) from secrets where name like 'access-token/%'";
    sqlx::query_scalar(sql)
        .fetch_one(&scene.pool)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_colleague_is_let_act_renews_the_token_and_is_taken_off_again(pool: PgPool) {
    let scene = Scene::start(pool).await;
    let (ana, ben) = (scene.person("ana"), scene.person("ben"));
    scene.keeps_dns_secret(HOST).await;
    ana.runs(DEPLOY).await.answer().await;
    let plan = scene.plan("Create cluster `geo`").await;
    ben.reacts(&plan, "✅");
    scene.sees("succeeded").await;
    let view = || scene.world.im.infrastructure("pangeo-geo").unwrap();
    let (id, bot) = (view().id, format!("__OPENID__{BOT_USER}"));
    assert_eq!(view().owners, [bot.as_str()]);

    // What can't be taken is said at once, and nothing is kept of it.
    let add = "/pangeo owners add name:geo";
    let ends_soon = token(&scene, "eva", 8);
    for (token, because) in [
        (token(&scene, BOT_USER, 60), "may act on the infrastructure"),
        (token(&scene, "eva", -5), "expired"),
        (ends_soon, "must live at least"),
        ("this is no token at all".to_owned(), "not an access token"),
    ] {
        let answer = pastes(&scene, add, &token).await;
        assert!(answer.says(because), "no {because:?} in {}", answer.text());
        assert!(answer.says("nothing was changed"), "{}", answer.text());
    }
    assert_eq!(sealed(&scene).await, 0, "a refused token was kept");
    // Eva's token would renew nothing yet; the answer says what helps.
    let renew = "/pangeo token renew name:geo";
    let answer = pastes(&scene, renew, &token(&scene, "eva", 60)).await;
    assert!(answer.says("/pangeo owners add"), "{}", answer.text());

    let eva = token(&scene, "eva", 60);
    pastes(&scene, add, &eva).await;
    let plan = scene.plan("Let eva act on the infrastructure").await;
    for words in [
        format!("may act now: {BOT_USER}"),
        "+ eva, who logs in at".to_owned(),
        "can't take one account off".to_owned(),
    ] {
        assert!(plan.says(&words), "no {words:?} in {}", plan.text());
    }
    ben.reacts(&plan, "✅");
    scene.sees(&format!("accounts now: {BOT_USER}, eva")).await;
    assert_eq!(view().owners, [bot.as_str(), "__OPENID__eva"]);
    scene
        .counts(
            "select count(*) from secrets where name like 'access-token/%'",
            0,
        )
        .await;
    assert!(!scene.world.discord.transcript().contains(&eva));

    let vic = scene.person("vic");
    let answer = vic
        .runs("/pangeo owners show name:geo")
        .await
        .answer()
        .await;
    for words in ["(the bot's account)", "• eva", "What IM does not tell"] {
        assert!(answer.says(words), "no {words:?} in {}", answer.text());
    }

    // The creator's token has ended, and the creator is away: eva renews it.
    scene.world.expire_front_ends().unwrap();
    pastes(&scene, renew, &token(&scene, "eva", 60)).await;
    let plan = scene.plan("Renew the access token").await;
    assert!(plan.says("another person's"), "{}", plan.text());
    ben.reacts(&plan, "✅");
    scene.sees("auth.dat written in both places").await;
    let stands = scene.world.front_ends.clues_token(&id).unwrap().unwrap();
    let claims = scene.world.checkin.valid_token(&stands).unwrap();
    assert_eq!(claims.preferred_username, "eva");

    // IM can only replace the list: who loses access with eva is said before.
    scene.world.im.let_act(&id, "zoe");
    let remove = "/pangeo owners remove name:geo account:";
    for (account, because) in [("fay", "these may: "), (BOT_USER, "the bot's own account")] {
        let answer = ana.runs(&format!("{remove}{account}")).await.answer().await;
        assert!(answer.says(because), "no {because:?} in {}", answer.text());
    }
    ana.runs(&format!("{remove}eva")).await.answer().await;
    let plan = scene.plan("Take eva off the infrastructure").await;
    for words in [
        "- zoe",
        "zoe lose access too",
        "/pangeo owners add name:geo",
    ] {
        assert!(plan.says(words), "no {words:?} in {}", plan.text());
    }
    // Somebody else is added meanwhile: the plan is not about that.
    scene.world.im.let_act(&id, "fay");
    ben.reacts(&plan, "✅");
    let ended = scene
        .ends_outdated("changed meanwhile: other accounts")
        .await;
    assert_eq!(view().owners.len(), 4);
    ana.runs(&format!("{remove}eva")).await.answer().await;
    let again = scene.plan_after(Some(&ended), "Take eva off").await;
    assert!(again.says("zoe, fay lose access too"), "{}", again.text());
    ben.reacts(&again, "✅");
    scene
        .sees(&format!("accounts that may act now: {BOT_USER}"))
        .await;
    assert_eq!(view().owners, [bot.as_str()]);
    scene.nothing_unexpected();
}
