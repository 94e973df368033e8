//! What people delete or break that the controller made or lives by, on a real API server.
//!
//! Flows in: an installation of every role and a client with a token. Flows out: what becomes of tokens, of values and of
//! what denied, after the client-secret keyring, a SigningKey or the readability of a ScopePolicy is lost.

use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::installation::{Installation, QUICK, Role};
use crate::support::orders::{client, signing_key};
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use serde_json::json;
use std::net::SocketAddr;

/// Tokens live ten seconds; a key that signs no more verifies for nineteen.
const LIVES: [&str; 4] = [
    "--max-access-token-lifetime=10s",
    "--default-access-token-lifetime=10s",
    "--offline-grace=8s",
    "--shutdown-delay=1s",
];

/// A SigningKey beside `default`, and a client whose tokens it signs.
fn other() -> String {
    [signing_key("other", ""), client("other", "  tokens: {signingKey: other}\n")].concat()
}

#[tokio::test]
async fn a_deleted_client_secret_keyring_ends_no_value() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let [mut controller, issuer, _verifier] = installation.start_all().await;
    let tenant = Tenant::new(&testbed, &installation).await;
    tenant.open(&["checkout"]);
    tenant.until_token(issuer.issuer, "checkout").await;
    let value = tenant.field("secret/checkout-oauth", ".data.client_secret");
    let system = installation.system_namespace();
    let keyring = |path: &str| {
        let path = format!("jsonpath={{{path}}}");
        let name = "configmap/client-secret-keyring";
        tenant.kubectl().must(&["get", name, "-n", &system, "--ignore-not-found", "-o", &path])
    };
    let uid = keyring(".metadata.uid");
    let lose = || tenant.kubectl().must(&["delete", "configmap", "client-secret-keyring", "-n", &system]);
    let back = |before: String| move |now: &String| !now.is_empty() && *now != before;

    lose();
    let second = await_condition("the keyring to be back", SOON, async || keyring(".metadata.uid"), back(uid)).await;
    assert_eq!(tenant.token(issuer.issuer, "checkout").await.status, 200);
    assert_eq!(tenant.field("secret/checkout-oauth", ".data.client_secret"), value, "by the process that remembers");

    controller.process.terminate().await;
    lose();
    let restarted = installation.start(Role::Controller).await;
    await_condition("the keyring to be back", SOON, async || keyring(".metadata.uid"), back(second)).await;
    // An issuer that was not there before knows only what lies in the keyring now.
    let fresh = installation.start(Role::Issuer).await;
    tenant.until_token(fresh.issuer, "checkout").await;
    assert_eq!(tenant.field("secret/checkout-oauth", ".data.client_secret"), value, "by one that found the halves");
    drop(restarted);
}

#[tokio::test]
async fn a_deleted_signing_key_is_followed_to_its_end_for_minutes() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[&QUICK[..], &LIVES].concat());
    let [_controller, issuer, verifier] = installation.start_all().await;
    let tenant = Tenant::new(&testbed, &installation).await;
    let system = installation.system_namespace();
    tenant.open(&["checkout"]);
    tenant.apply(&other());
    tenant.wait_ready(&["other"]);
    tenant.until_token(issuer.issuer, "other").await;
    let token = tenant.token(issuer.issuer, "other").await.access_token();
    let look = async || tenant.ask(verifier.http, "/orders/7", Some(&token)).await.status;
    await_condition("the verifier to take the token", SOON, look, |status| *status == 200).await;

    let kubectl = tenant.kubectl();
    let keys = format!("{system}-keys");
    let ring = ["-l", "countersign.dev/ring=other", "-o", "name"];
    let halves = || kubectl.must(&[&["get", "secrets", "-n", keys.as_str()][..], &ring[..]].concat());
    let map = || kubectl.must(&[&["get", "configmaps", "-n", system.as_str()][..], &ring[..]].concat());
    assert!(!halves().is_empty() && !map().is_empty());
    let last = tenant.token(issuer.issuer, "other").await.access_token();
    kubectl.must(&["delete", "sgk", "other", "-n", &system]);
    let asked = async || tenant.token(issuer.issuer, "other").await.status;
    await_condition("nothing to be signed", SOON, asked, |status| *status != 200).await;
    assert_eq!(tenant.ask(verifier.http, "/orders/7", Some(&last)).await.status, 200, "it lives to its end");
    await_condition("the private halves to go", SOON, async || halves(), String::is_empty).await;
    await_condition("the keyring to go", 2 * SOON, async || map(), String::is_empty).await;
    assert_eq!(tenant.token(issuer.issuer, "checkout").await.status, 200, "the other ring goes on");

    // The name may be used again, and nobody is alarmed.
    tenant.apply(&other());
    tenant.until_token(issuer.issuer, "other").await;
    let conditions = ["get", "sgk", "other", "-n", &system, "-o", "jsonpath={.status.conditions[*].type}"];
    let conditions = kubectl.must(&conditions);
    assert!(!conditions.contains("RollbackDetected") && !conditions.contains("KeyringLost"), "{conditions}");
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_answers_503_under_its_own_name() {
    // Of its own: it changes what the API server takes.
    let testbed = Testbed::own();
    let installation = Installation::new(&testbed, &[]);
    let [_controller, issuer, mut verifier] = installation.start_all().await;
    let tenant = Tenant::new(&testbed, &installation).await;
    tenant.open(&["checkout"]);
    tenant.until_token(issuer.issuer, "checkout").await;
    let statuses = async |verifier: SocketAddr| {
        [tenant.ask(verifier, "/healthz", None).await.status, tenant.ask(verifier, "/orders/7", None).await.status]
    };
    let before = async || statuses(verifier.http).await;
    await_condition("the policy to be in force", SOON, before, |statuses| *statuses == [200, 401]).await;

    // The selectable fields must stay.
    let text = json!({"type": "string"});
    let anything = json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"issuer": text, "audience": text}
    });
    let relax = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec", "value": anything}]);
    let crd = ["patch", "crd", "scopepolicies.countersign.dev", "--type=json", "-p", &relax.to_string()];
    tenant.kubectl().must(&crd);
    let spoil = json!({"spec": {"rules": "none"}}).to_string();
    let store = async || {
        let mut args = vec!["patch", "scp", "orders", "--type=merge", "-p", &spoil];
        args.extend(["-n", &tenant.namespace]);
        tenant.kubectl().run(&args).status.success()
    };
    await_condition("the API server to take it", SOON, store, |taken| *taken).await;

    // One that has read it goes on as it was; one that has not denies whatever it is asked.
    let left_out = async || Request::get("/metrics").send(verifier.admin).await.unwrap().text();
    let one = |metrics: &String| metrics.contains("\ncountersign_objects_left_out 1\n");
    await_condition("the verifier to have seen it", SOON, left_out, one).await;
    assert_eq!(statuses(verifier.http).await, [200, 401]);
    verifier.process.terminate().await;
    let verifier = installation.start(Role::Verifier).await;
    assert_eq!(statuses(verifier.http).await, [503, 503]);
}
