use super::*;
use serde_json::Value;

async fn started() -> Arc<Checkin> {
    let checkin = Checkin::start(CheckinOptions::for_tests()).await.unwrap();
    checkin.add_client(
        "geo",
        ClientRegistration {
            secret: Some("hush".to_owned()),
            redirect_uris: vec!["https://geo.example/hub/oauth_callback".to_owned()],
            disabled: false,
        },
    );
    checkin
}

async fn discovered(checkin: &Checkin) -> Value {
    let url = format!("{}/.well-known/openid-configuration", checkin.issuer());
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

async fn post(discovery: &Value, endpoint: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let response = reqwest::Client::new()
        .post(discovery[endpoint].as_str().unwrap())
        .basic_auth("geo", Some("hush"))
        .form(form)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn tokens_are_signed_with_the_published_key() {
    let checkin = started().await;
    let token = checkin
        .mint_token("ana", chrono::Duration::minutes(5))
        .unwrap();
    let discovery = discovered(&checkin).await;
    let keys: jsonwebtoken::jwk::JwkSet = reqwest::get(discovery["jwks_uri"].as_str().unwrap())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_issuer(&[checkin.issuer()]);
    let claims = jsonwebtoken::decode::<Claims>(&token, &key, &validation).unwrap();
    assert_eq!(claims.claims.sub, "ana@egi.eu");
    let other = started().await;
    assert_ne!(other.read_token(&token).unwrap().iss, other.issuer());
}

#[tokio::test]
async fn the_authorization_endpoint_says_what_is_wrong() {
    let checkin = started().await;
    let auth = discovered(&checkin).await["authorization_endpoint"].clone();
    let ask = async |client: &str, redirect: &str| {
        let response = reqwest::Client::new()
            .get(auth.as_str().unwrap())
            .query(&[
                ("client_id", client),
                ("redirect_uri", redirect),
                ("response_type", "code"),
            ])
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let right = "https://geo.example/hub/oauth_callback";
    let (status, page) = ask("nobody", right).await;
    assert!(status == 400 && page.contains("Client not found."));
    let (status, page) = ask("geo", "https://geo.example/").await;
    assert!(status == 400 && page.contains("Invalid parameter: redirect_uri"));
    let (status, page) = ask("geo", right).await;
    assert!(status == 200 && page.contains("<form"));
}

#[tokio::test]
async fn refresh_device_and_client_flows_give_tokens() {
    let checkin = started().await;
    let discovery = discovered(&checkin).await;
    let refresh = checkin.mint_refresh_token("ana");
    let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh)];
    let (status, answer) = post(&discovery, "token_endpoint", &form).await;
    assert_eq!(status, 200);
    let claims = checkin
        .read_token(answer["access_token"].as_str().unwrap())
        .unwrap();
    assert_eq!(claims.preferred_username, "ana");
    checkin.revoke_refresh_tokens("ana");
    assert_eq!(post(&discovery, "token_endpoint", &form).await.0, 400);

    let (_, device) = post(&discovery, "device_authorization_endpoint", &[]).await;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device["device_code"].as_str().unwrap()),
    ];
    let (_, waiting) = post(&discovery, "token_endpoint", &form).await;
    assert_eq!(waiting["error"], "authorization_pending");
    assert!(checkin.approve_device(device["user_code"].as_str().unwrap(), "ben"));
    assert_eq!(post(&discovery, "token_endpoint", &form).await.0, 200);

    let form = [("grant_type", "client_credentials")];
    assert_eq!(post(&discovery, "token_endpoint", &form).await.0, 200);
}

#[tokio::test]
async fn expired_and_revoked_tokens_are_refused() {
    let checkin = started().await;
    let discovery = discovered(&checkin).await;
    let ask = async |token: &str| {
        reqwest::Client::new()
            .get(discovery["userinfo_endpoint"].as_str().unwrap())
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let minutes = |n| {
        checkin
            .mint_token("ana", chrono::Duration::minutes(n))
            .unwrap()
    };
    assert_eq!(ask(&minutes(-1)).await, 401);
    let token = minutes(5);
    assert_eq!(ask(&token).await, 200);
    let form = [("token", token.as_str())];
    let (_, active) = post(&discovery, "introspection_endpoint", &form).await;
    assert_eq!(active["active"], true);
    checkin.revoke_token(&token);
    assert_eq!(ask(&token).await, 401);
}
