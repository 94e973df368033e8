//! The harness tried by itself: each outside part starts, does its work, and is gone afterwards.

use crate::support::clients::{OutsideClient, TokenRequest};
use crate::support::echo::{Echo, serve};
use crate::support::envoy::{Envoy, Wire};
use crate::support::http::Request;
use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::ports::free_address;
use crate::support::processes::Process;
use crate::support::testbed::{Part, Testbed};
use axum::Router;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use std::path::Path;

#[tokio::test]
async fn kubectl_sees_what_a_client_wrote_to_the_testbed() {
    let testbed = Testbed::shared();
    let namespace = testbed.namespace("harness").await;
    let maps: Api<ConfigMap> = Api::namespaced(testbed.client().await, &namespace);
    let mut map = ConfigMap::default();
    map.metadata.name = Some("note".to_owned());
    map.data = Some([("text".to_owned(), "hello".to_owned())].into());
    maps.create(&PostParams::default(), &map).await.unwrap();

    let kubectl = Kubectl::new(&testbed);
    assert_eq!(kubectl.must(&["get", "configmap", "note", "-n", &namespace, "-o", "jsonpath={.data.text}"]), "hello");
    assert!(kubectl.refused(&["get", "configmap", "other", "-n", &namespace]).contains("not found"));
}

#[tokio::test]
async fn exclusive_testbed_keeps_its_data_when_its_api_server_is_lost() {
    let testbed = Testbed::own();
    let namespace = testbed.namespace("harness").await;
    testbed.stop(Part::ApiServer);
    assert!(testbed.client().await.apiserver_version().await.is_err());
    testbed.start(Part::ApiServer).await;
    Kubectl::new(&testbed).must(&["get", "namespace", &namespace]);
}

#[tokio::test]
async fn custom_resources_and_permissions_apply_to_the_testbed() {
    let installation = Installation::new(&Testbed::shared(), &[]);
    let account = format!(
        "--as=system:serviceaccount:{0}:{1}-verifier",
        installation.system_namespace(),
        installation.issuer_name
    );
    let may = |verb: &str, what: &str| {
        installation.kubectl.run(&["auth", "can-i", verb, what, "-A", &account]).status.success()
    };
    assert!(may("list", "scopepolicies.countersign.dev"));
    assert!(!may("list", "secrets") && !may("list", "oauthclients.countersign.dev"));
}

#[tokio::test]
async fn envoy_refuses_everything_while_the_verifier_is_away() {
    let echo = Echo::start().await;
    let verifier = free_address();
    let policy = Some("shop/orders".to_owned());
    let prefix = "/ext-authz/policy/shop/orders".to_owned();
    let wires = [Wire::Grpc { verifier, policy }, Wire::Http { verifier, prefix }];
    let envoy = Envoy::start(&wires, echo.address).await;
    for wire in 0..wires.len() {
        let answer = Request::get("/orders/7").bearer("whatever").send(envoy.listener(wire)).await.unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert_eq!(echo.requests(), 0, "a request came through without a verdict");
}

#[tokio::test]
async fn envoy_lets_pass_what_an_http_verifier_allows() {
    let echo = Echo::start().await;
    let allow = get(|| async { [("x-countersign-client", "shop.checkout"), ("x-other", "dropped")] });
    let (verifier, _task) = serve(Router::new().route("/ext-authz/policy/shop/orders/orders/7", allow)).await;
    let wire = Wire::Http { verifier, prefix: "/ext-authz/policy/shop/orders".to_owned() };
    let envoy = Envoy::start(&[wire], echo.address).await;

    let seen = Request::get("/orders/7").send(envoy.listener(0)).await.unwrap().json();
    assert_eq!(seen["target"], "/orders/7");
    assert_eq!(seen["headers"]["x-countersign-client"][0], "shop.checkout");
    assert!(seen["headers"]["x-other"].is_null());
    assert_eq!(Request::get("/orders/8").send(envoy.listener(0)).await.unwrap().status, 404);
}

/// An issuer of two lines, so that a fault of the outside clients' set-up is not taken for one of ours.
async fn stub_issuer() -> String {
    let token = |headers: HeaderMap| async move {
        let json = [("content-type", "application/json"), ("cache-control", "no-store")];
        let basic = headers.get(AUTHORIZATION).is_some_and(|value| value == "Basic bWU6cmlnaHQ=");
        if basic {
            (StatusCode::OK, json, r#"{"access_token": "T", "token_type": "Bearer", "expires_in": 60}"#).into_response()
        } else {
            (StatusCode::UNAUTHORIZED, json, r#"{"error": "invalid_client"}"#).into_response()
        }
    };
    let metadata = |headers: HeaderMap| async move {
        let issuer = format!("http://{}", headers["host"].to_str().unwrap());
        let text = format!(
            r#"{{"issuer": "{issuer}", "token_endpoint": "{issuer}/oauth2/token", "response_types_supported": ["code"]}}"#
        );
        ([("content-type", "application/json")], text)
    };
    let router = Router::new()
        .route("/oauth2/token", post(token))
        .route("/.well-known/oauth-authorization-server", get(metadata));
    format!("http://{}", serve(router).await.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_clients_tell_a_token_from_a_refusal() {
    let issuer = stub_issuer().await;
    for client in OutsideClient::ALL {
        let mut request =
            TokenRequest { issuer: &issuer, client_id: "me", client_secret: "right", ..TokenRequest::default() };
        assert_eq!(client.token(&request), "T", "{client:?}");
        request.client_secret = "wrong";
        assert_eq!(client.ask(&request)["error"], "invalid_client", "{client:?}");
    }
}

#[tokio::test]
async fn dropped_process_is_gone() {
    let mut process = Process::start("sleeper", "bash", ["-c", "echo begun; exec sleep 60"]);
    crate::support::await_condition(
        "the process to write",
        std::time::Duration::from_secs(5),
        async || process.output(),
        |output| output == "begun\n",
    )
    .await;
    assert!(process.terminate().await.code().is_none(), "ended by the signal");

    let process = Process::start("sleeper", "sleep", ["60"]);
    let id = process.id();
    drop(process);
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}
