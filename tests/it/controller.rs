//! The controller on a real API server, with the permissions of `deploy/` and no more: a client's Secret from its first
//! writing to its end.

use crate::support::installation::{Installation, Role};
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use std::time::Duration;

/// How soon a Secret somebody deleted or edited is put back.
const HEALED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn at_rest_nothing_is_written_nor_after_the_controllers_death() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let controller = installation.start(Role::Controller).await;
    let tenant = Tenant::new(&testbed, &installation).await;
    tenant.open(&["checkout"]);
    let versions = tenant.at_rest().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(tenant.versions().await, versions, "written at rest");
    drop(controller);
    let _controller = installation.start(Role::Controller).await;
    // Longer than a lease that was not given up lasts, so that the new one leads.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(tenant.versions().await, versions, "written by a restart");
}

#[tokio::test]
async fn a_secret_that_is_deleted_or_edited_comes_back_and_an_event_says_who_did_it() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let _controller = installation.start(Role::Controller).await;
    let tenant = Tenant::new(&testbed, &installation).await;
    tenant.open(&["checkout"]);
    let (secret, value) = ("secret/checkout-oauth", ".data.client_secret");
    let first = tenant.field(secret, value);
    tenant.run(&["delete", secret]);
    let fresh = |value: &String| !value.is_empty() && *value != first;
    let second = tenant.until(("a fresh value", HEALED), (secret, value), fresh).await;
    tenant.run(&["patch", secret, "-p", r#"{"data":{"issuer":"eA=="}}"#, "--field-manager=meddler"]);
    let right = |value: &String| value != "eA==";
    tenant.until(("the edit undone", HEALED), (secret, ".data.issuer"), right).await;
    assert_eq!(tenant.field(secret, value), second, "the value was not touched, so it stays");
    let told = |notes: &String| notes.contains("someone deleted Secret") && notes.contains("meddler changed Secret");
    tenant.until(("both told", SOON), ("events.events.k8s.io", ".items[*].note"), told).await;
}

#[tokio::test]
async fn a_foreign_secret_is_left_alone_and_our_own_goes_with_its_client() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let _controller = installation.start(Role::Controller).await;
    let tenant = Tenant::new(&testbed, &installation).await;
    tenant.open(&["checkout"]);
    tenant.run(&["create", "secret", "generic", "theirs", "--from-literal=client_secret=kept"]);
    let patch = r#"{"spec":{"authentication":{"methods":[{"type":"ClientSecret","secret":{"name":"theirs"}}]}}}"#;
    let ready = r#".status.conditions[?(@.type=="Ready")].reason"#;
    tenant.run(&["patch", "oac", "checkout", "--type=merge", "-p", patch]);
    tenant.until(("a refusal", SOON), ("oac/checkout", ready), |reason| reason == "SecretNotOwned").await;
    let theirs = || tenant.field("secret/theirs", ".data.client_secret");
    assert_eq!(theirs(), "a2VwdA==");
    let own = tenant.field("secret/checkout-oauth", ".data.client_secret");
    assert!(!own.is_empty(), "the Secret in use stays until there is another");
    tenant.run(&["delete", "oac", "checkout"]);
    tenant.until(("our Secret gone", SOON), ("secret/checkout-oauth", ".metadata.name"), String::is_empty).await;
    assert_eq!(theirs(), "a2VwdA==");
}
