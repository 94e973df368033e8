//! The three ways in which the controller gets at Secrets, each at a real API server with exactly its permissions.

use crate::support::await_condition;
use crate::support::installation::{Installation, QUICK, Role, SecretAccess};
use crate::support::orders::{ORDERS, client};
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;

/// Whether the controller's account may do that with Secrets of the tenant's namespace.
fn may(tenant: &Tenant<'_>, verb: &str) -> bool {
    let account = tenant.installation.account(Role::Controller);
    let output = tenant.kubectl().run(&["auth", "can-i", verb, "secrets", "-n", &tenant.namespace, "--as", &account]);
    String::from_utf8_lossy(&output.stdout).trim() == "yes"
}

fn permissions(tenant: &Tenant<'_>) -> Vec<&'static str> {
    ["get", "list", "watch", "create", "update", "delete"].into_iter().filter(|verb| may(tenant, verb)).collect()
}

const REREAD: &str = "--secret-reread=1s";

#[tokio::test]
async fn named_secrets_are_kept_right_without_list_or_watch() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &QUICK).with_secret_access(SecretAccess::Named);
    let tenant = Tenant::new(&testbed, &installation).await;
    assert_eq!(permissions(&tenant), ["get", "create", "update", "delete"]);
    let mut controller = installation.spawn_with(Role::Controller, &[REREAD]);
    controller.process.ready(controller.admin).await;
    let issuer = installation.start(Role::Issuer).await;
    tenant.open(&["checkout", "billing"]);
    tenant.until_token(issuer.issuer, "checkout").await;

    let uid = || tenant.field("secret/checkout-oauth", ".metadata.uid");
    let first = uid();
    tenant.run(&["delete", "secret", "checkout-oauth"]);
    await_condition("the Secret to be put back", SOON, async || uid(), |uid| !uid.is_empty() && *uid != first).await;
    tenant.run(&[
        "patch",
        "secret",
        "checkout-oauth",
        "--type=json",
        r#"-p=[{"op": "remove", "path": "/data/issuer"}]"#,
    ]);
    let issuer_url = async || tenant.field("secret/checkout-oauth", ".data.issuer");
    await_condition("the edit to be undone", SOON, issuer_url, |value| !value.is_empty()).await;
    tenant.until_token(issuer.issuer, "checkout").await;

    tenant.run(&["delete", "oac", "checkout"]);
    await_condition("its Secret to go, too", SOON, async || uid(), String::is_empty).await;
    assert_eq!(tenant.reason("billing", "Ready"), "Ready");
    tenant.at_rest().await;
}

#[tokio::test]
async fn a_namespace_that_binds_the_role_is_served_from_then_on() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &QUICK).with_secret_access(SecretAccess::ByRoleBinding);
    let tenant = Tenant::new(&testbed, &installation).await;
    assert_eq!(permissions(&tenant), Vec::<&str>::new());
    let mut controller = installation.spawn_with(Role::Controller, &[REREAD]);
    controller.process.ready(controller.admin).await;
    let issuer = installation.start(Role::Issuer).await;
    tenant.apply(&[ORDERS.to_owned(), client("checkout", "")].concat());
    let look = async || tenant.reason("checkout", "CredentialsReady");
    await_condition("the condition", SOON, look, |reason| reason == "SecretAccessDenied").await;
    assert_eq!(tenant.reason("checkout", "Stalled"), "SecretAccessDenied");

    let message = tenant.field("oac/checkout", r#".status.conditions[?(@.type=="CredentialsReady")].message"#);
    let (_, command) = message.split_once("kubectl ").expect("the message has a command");
    let command: Vec<_> = command.split(' ').collect();
    installation.kubectl.must(&command);
    assert_eq!(permissions(&tenant), ["get", "create", "update", "delete"]);
    tenant.wait_ready(&["checkout"]);
    tenant.until_token(issuer.issuer, "checkout").await;

    // Taken back: what is there stays good, and status says why nothing is looked after any more.
    let role = command.iter().find_map(|word| word.strip_prefix("--clusterrole=")).expect("names the role");
    tenant.run(&["delete", "rolebinding", role]);
    await_condition("the condition again", SOON, look, |reason| reason == "SecretAccessDenied").await;
    tenant.until_token(issuer.issuer, "checkout").await;
    // A client is cleaned up after once that is allowed; nothing of that holds up others.
    tenant.run(&["delete", "oac", "checkout"]);
    tenant.apply(&client("billing", ""));
    let look = async || tenant.reason("billing", "CredentialsReady");
    await_condition("others to be told", SOON, look, |reason| reason == "SecretAccessDenied").await;
}
