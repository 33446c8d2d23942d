use std::time::Duration;

use super::*;
use axum::routing::{get, post};

async fn serve(faults: &Faults) -> (String, Arc<AtomicUsize>) {
    let effects = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&effects);
    let router = Router::new()
        .route("/read", get(|| async { "0123456789" }))
        .route(
            "/do",
            post(move |_: String| async move {
                counted.fetch_add(1, Ordering::SeqCst);
                "done"
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = faults.wrap(router);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, effects)
}

async fn post_do(url: &str) -> reqwest::Result<reqwest::Response> {
    reqwest::Client::new()
        .post(format!("{url}/do"))
        .body("x")
        .send()
        .await
}

#[tokio::test]
async fn an_answer_is_given_n_times_without_the_effect() {
    let faults = Faults::new();
    let (url, effects) = serve(&faults).await;
    let injected = faults.inject(On::post("/do").after(1), Fault::answer(503, "busy"), 2);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(post_do(&url).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    assert_eq!(effects.load(Ordering::SeqCst), 2);
    assert_eq!(injected.hits(), 2);
    assert!(faults.active().is_empty());
    assert_eq!(faults.count(&On::post("/do").exactly()), 4);
    assert_eq!(faults.count(&On::get("/do")), 0);
}

#[tokio::test]
async fn a_dropped_answer_has_its_effect_and_a_dropped_request_has_none() {
    let faults = Faults::new();
    let (url, effects) = serve(&faults).await;
    let _answer = faults.inject(On::any(), Fault::DropAnswer, 1);
    let error = post_do(&url).await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    assert_eq!(effects.load(Ordering::SeqCst), 1);
    let _request = faults.inject(On::any(), Fault::DropRequest, 1);
    assert!(post_do(&url).await.is_err());
    assert_eq!(effects.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn half_a_body_arrives() {
    let faults = Faults::new();
    let (url, _) = serve(&faults).await;
    let _half = faults.inject(On::get("/read"), Fault::HalfBody, 1);
    let mut response = reqwest::get(format!("{url}/read")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.chunk().await.unwrap().unwrap(), "01234");
    assert!(response.chunk().await.is_err());
}

#[tokio::test]
async fn a_held_request_is_carried_out_even_if_its_client_is_gone() {
    let faults = Faults::new();
    let (url, effects) = serve(&faults).await;
    let hold = faults.hold(On::post("/do"), Place::Before);
    let client = tokio::spawn({
        let url = url.clone();
        async move { post_do(&url).await }
    });
    hold.reached().await;
    client.abort();
    assert!(client.await.is_err());
    assert_eq!(effects.load(Ordering::SeqCst), 0);
    hold.release();
    tokio::time::timeout(Duration::from_secs(5), async {
        while effects.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    // The next one passes, since the hold is over.
    assert_eq!(post_do(&url).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_discarded_request_never_happened() {
    let faults = Faults::new();
    let (url, effects) = serve(&faults).await;
    let hold = faults.hold(On::post("/do"), Place::Before);
    let (answer, ()) = tokio::join!(post_do(&url), async {
        hold.reached().await;
        hold.discard();
    });
    assert!(answer.is_err());
    assert_eq!(effects.load(Ordering::SeqCst), 0);
}
