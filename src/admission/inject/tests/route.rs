//! The route: reviews as the API server sends them, and others.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::names::Namespace;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::super::super::{Parts, RingUse, router};
use super::*;
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Readiness;
use crate::snapshot::Snapshot;

/// The route, with an installation that injects.
async fn send(body: impl Into<Body>) -> (StatusCode, String) {
    let installation = Arc::new(directory().settings().clone());
    let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
    let parts = Parts {
        snapshot: Live::new(Snapshot { directory: Arc::new(directory()), ..Snapshot::empty(installation) }),
        listed: Readiness::new().condition("listed"),
        clock: clock.clone(),
        system_namespace: Namespace::new("countersign-system").unwrap(),
        rings: RingUse::since(clock.now()),
        callers: None,
        agents: Some(settings()),
    };
    let request = Request::post("/inject?timeout=5s").header("content-type", "application/json");
    let answer = router(parts, &Metrics::new()).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn response(review: Value) -> Value {
    let (status, body) = send(review.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["response"]["uid"], "review-1");
    answer["response"].clone()
}

#[tokio::test]
async fn the_api_server_is_handed_a_json_patch_before_anything_was_listed() {
    let asks = asking(json!({}), one_container());
    let answer = response(review(&asks)).await;
    assert_eq!((&answer["allowed"], &answer["patchType"]), (&json!(true), &json!("JSONPatch")));
    let patch = BASE64_STANDARD.decode(answer["patch"].as_str().unwrap()).unwrap();
    let patch: Vec<Value> = serde_json::from_slice(&patch).unwrap();
    assert_eq!(applied(&asks, &patch), patched(&asks));
    let answer = response(review(&pod(json!({}), one_container()))).await;
    assert_eq!(answer, json!({"uid": "review-1", "allowed": true}));
}

#[tokio::test]
async fn what_is_no_review_of_a_pod_is_refused_and_nothing_falls_over() {
    let good = review(&asking(json!({}), one_container()));
    let with = |path: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(path).unwrap() = value;
        review
    };
    for (body, status) in [
        (with("/apiVersion", json!("admission.k8s.io/v1beta1")).to_string(), 400),
        (with("/request/uid", Value::Null).to_string(), 400),
        (with("/request", Value::Null).to_string(), 400),
        (good.to_string().replacen("\"spec\":{", "\"spec\":{\"os\":null,\"os\":null,", 1), 400),
        ("garbage".to_owned(), 400),
        (format!("\"{}\"", "a".repeat(3 * 1024 * 1024)), 400),
    ] {
        assert_eq!(send(body).await.0.as_u16(), status);
    }
    for (body, why) in [
        (with("/request/object", Value::Null), "holds no object"),
        (with("/request/object", json!("text")), "holds no object"),
        (with("/request/object/spec", json!(7)), "the Pod cannot be read"),
        (with("/request/object/metadata/annotations", json!({INJECT: 7})), "the Pod cannot be read"),
        (with("/request/kind/kind", json!("Deployment")), "take everything else out of the webhook's rules"),
        (with("/request/kind/group", json!("apps")), "take everything else out of the webhook's rules"),
        (with("/request/operation", json!("UPDATE")), "take everything else out of the webhook's rules"),
        (with("/request/operation", json!("DELETE")), "take everything else out of the webhook's rules"),
    ] {
        let answer = response(body).await;
        assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(false), None));
        assert!(answer["status"]["message"].as_str().unwrap().contains(why), "{why}: {answer}");
    }
}
