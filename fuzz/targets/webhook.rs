//! The admission webhook as the API server asks it: the bytes of an `AdmissionReview`, through its own routes.
//!
//! Flows in: bytes and a path. Flows out: the question and the answer to it, where it is one; what must hold of any answer is held here.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, Bytes};
use countersign::admission::{AgentSettings, Parts, RingUse, router};
use countersign::runtime::clock::Clock;
use countersign::runtime::live::Live;
use countersign::runtime::metrics::Metrics;
use countersign::runtime::readiness::Readiness;
use countersign::snapshot::Snapshot;
use countersign_core::directory::Settings;
use countersign_core::names::{IssuerName, Namespace};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ResourceRequirements;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::world::{ISSUER, now};

static WEBHOOK: LazyLock<Router> = LazyLock::new(|| {
    let issuer = IssuerName::new("default").expect("a name");
    let clock = Clock::system();
    clock.set_correction(now().duration_since(clock.now()));
    let listed = Readiness::new().condition("first-listing");
    listed.ready();
    let parts = Parts {
        snapshot: Live::new(Snapshot::empty(Arc::new(Settings::new(issuer, ISSUER, "cluster.local", Vec::new())))),
        listed,
        rings: RingUse::since(clock.now()),
        clock,
        system_namespace: Namespace::new("countersign-system").expect("a name"),
        callers: None,
        agents: Some(AgentSettings {
            image: "registry.example/agent:1".to_owned(),
            resources: ResourceRequirements::default(),
            admin: ([0, 0, 0, 0], 9191).into(),
        }),
    };
    router(parts, &Metrics::new())
});

thread_local! {
    // Waits end at once: nothing but time passes here.
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"),
    );
}

/// The request of the review and the response to it; none where it is no review.
pub fn answered(path: &str, data: &[u8]) -> Option<(Value, Value)> {
    let (status, answer) = ask(path, data);
    assert_eq!((status, &answer), (ask(path, data).0, &ask(path, data).1), "one question, one answer");
    if status != 200 {
        assert_eq!(status, 400, "what is no question is the asker's doing");
        assert!(answer.len() < 256);
        return None;
    }
    let (mut question, mut answer) = (json(data), json(&answer));
    for member in ["apiVersion", "kind"] {
        assert_eq!(answer[member], question[member]);
    }
    let (request, response) = (question["request"].take(), answer["response"].take());
    assert_eq!(response["uid"], request["uid"]);
    assert!(response["allowed"].is_boolean(), "yes or no");
    let allowed = response["allowed"] == true;
    assert_eq!(allowed, response["status"].is_null(), "a refusal says why");
    let warnings = response["warnings"].as_array().map_or(0, Vec::len);
    assert!(warnings <= 16 && (allowed || warnings == 0));
    Some((request, response))
}

/// What is answered any JSON reader reads.
fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn ask(path: &str, body: &[u8]) -> (u16, Bytes) {
    let request = http::Request::post(format!("{path}?timeout=5s"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()))
        .expect("a request");
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            let response = WEBHOOK.clone().oneshot(request).await.expect("an answer");
            let status = response.status().as_u16();
            (status, response.into_body().collect().await.expect("a body").to_bytes())
        })
    })
}
