//! What Countersign does when nothing is asked of it: nothing. And what it does when somebody else meddles.
//!
//! Every role is a process of its own, with the permissions of `deploy/`.

use crate::support::await_condition;
use crate::support::installation::{Installation, Role};
use crate::support::orders::{ORDERS, allowance, client, object};
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long nothing may be written. By hand it was tried for minutes.
const SILENCE: Duration = Duration::from_secs(20);
/// How soon a Secret somebody deleted or edited is put back.
const HEALED: Duration = Duration::from_secs(5);

/// One of each way a client can stand, and a policy of which one route is not allowed.
fn everybody() -> String {
    let method =
        |secret: &str| format!("  authentication: {{methods: [{{type: ClientSecret, secret: {{{secret}}}}}]}}\n");
    let greedy = r#"  access: [{audience: "https://orders.$NS.svc", scopes: ["orders:read", "orders:admin"]}]"#;
    [
        ORDERS.to_owned(),
        allowance("  hosts: [$NS.example.com]\n  clientIds: [$NS-legacy]\n"),
        object("ScopePolicy", "half-right", HALF_RIGHT),
        client("checkout", &method("rotation: {period: 720h, overlap: 24h}")),
        client("legacy", "  clientId: $NS-legacy\n"),
        object("OAuthClient", "greedy", &format!("{greedy}\n")),
        object("OAuthClient", "not-allowed", "  clientId: somebody-elses\n"),
        client("suspended", "  state: Suspended\n"),
        object("OAuthClient", "waiting", &method("mode: Reference")),
        foreign_secret("referring"),
        object("OAuthClient", "referring", &method("mode: Reference")),
        foreign_secret("adopting"),
        object("OAuthClient", "adopting", &method("mode: Adopt")),
    ]
    .concat()
}

const HALF_RIGHT: &str = r#"  audience: https://front.$NS.svc
  routes: [{hosts: [$NS.example.com]}, {hosts: [not-allowed.example.com]}]
  scopes: [{name: "front:read"}]
"#;

/// A Secret with a value of somebody else's, for a client that may take it.
fn foreign_secret(client: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: {client}-oauth, namespace: $NS, annotations: {{countersign.dev/client: {client}}}}}
stringData: {{client_secret: Tr0ub4dor-and-3-correct-horses-battery-staple, password: kept}}
"
    )
}

#[tokio::test]
async fn converged_nothing_but_leases_is_written_nor_by_a_restarted_controller() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [mut controller, issuer, _verifier] = installation.start_all().await;
    tenant.apply(&everybody());
    tenant.wait_ready(&["checkout", "legacy", "greedy", "referring", "adopting"]);
    for client in ["checkout", "legacy", "greedy"] {
        tenant.until_token(issuer.issuer, client).await;
    }

    let versions = tenant.at_rest().await;
    tokio::time::sleep(SILENCE).await;
    assert_eq!(tenant.versions().await, versions, "written at rest");

    controller.process.terminate().await;
    let controller = installation.start(Role::Controller).await;
    let leads = async || installation.leads(&controller);
    await_condition("the new controller to lead", SOON, leads, |leads| *leads).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(tenant.versions().await, versions, "written by a restart");
}

/// What people do to Secrets, and what the Event must say of it. Whoever only takes something away leaves no name.
const INJURIES: [(&str, &str, &str); 8] = [
    ("delete", "", "someone deleted"),
    ("key", r#"{"data":{"client_id":null}}"#, "someone changed"),
    ("value", r#"{"data":{"client_secret":"eA=="}}"#, "meddler changed"),
    ("extra", r#"{"data":{"added":"eA=="}}"#, "meddler changed"),
    ("label", r#"{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}"#, "someone changed"),
    ("owner", r#"{"metadata":{"annotations":{"countersign.dev/owner":null}}}"#, "someone changed"),
    ("immutable", r#"{"immutable":true}"#, "meddler changed"),
    ("empty", r#"{"data":null}"#, "someone changed"),
];

#[tokio::test]
async fn converged_secrets_come_back_within_seconds_and_an_event_says_who_touched_them() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    let names = INJURIES.map(|(name, ..)| name);
    tenant.open(&names);

    for (name, patch, by) in INJURIES {
        let secret = format!("secret/{name}-oauth");
        // Everything but what every write changes.
        let state = || {
            let fields = ".data} {.immutable} {.metadata.labels} {.metadata.annotations";
            let version = tenant.field(&secret, ".metadata.resourceVersion");
            let values = tenant.field(&secret, ".data.client_secret");
            (tenant.field(&secret, fields).replace(&values, "value"), version)
        };
        let (whole, before) = state();
        if patch.is_empty() {
            tenant.run(&["delete", &secret]);
        } else {
            tenant.run(&["patch", &secret, "-p", patch, "--field-manager=meddler"]);
        }
        let begun = Instant::now();
        let right = |seen: &(String, String)| seen.0 == whole && seen.1 != before;
        await_condition(&format!("{name} to be put right"), HEALED, async || state(), right).await;
        println!("{name}: put right after {:?}", begun.elapsed());
        tenant.until_token(issuer.issuer, name).await;
        let notes = format!("--field-selector=regarding.name={name},reason=SecretRestored");
        let notes = || tenant.run(&["get", "events.events.k8s.io", &notes, "-o", "jsonpath={.items[*].note}"]);
        await_condition("an Event", SOON, async || notes(), |notes| notes.contains(by)).await;
    }
}

#[tokio::test]
async fn converged_fight_over_a_secret_is_told_and_slows_down_and_ends_well() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    tenant.open(&["checkout"]);

    let secrets: Api<Secret> = Api::namespaced(tenant.api_client(), &tenant.namespace);
    let fight = tokio::spawn(async move {
        let manager = PatchParams { field_manager: Some("fighter".to_owned()), ..PatchParams::default() };
        let mut won = 0;
        for round in 0..100 {
            let seen = secrets.get("checkout-oauth").await.expect("the Secret is there");
            let value = |secret: &Secret| secret.data.clone().unwrap_or_default().remove("client_secret");
            won += u32::from(value(&seen).is_some_and(|value| value.0.starts_with(b"cs1_")));
            let patch = json!({"stringData": {"client_secret": format!("mine {round}")}});
            secrets.patch("checkout-oauth", &manager, &Patch::Merge(patch)).await.expect("fight");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        won
    });
    let contested = r#".status.conditions[?(@.type=="CredentialsReady")].message"#;
    let said = |message: &String| message.contains("fighter keeps deleting or changing Secret checkout-oauth");
    tenant.until(("the fight to be told", Duration::from_secs(10)), ("oac/checkout", contested), said).await;
    assert_eq!(tenant.reason("checkout", "Stalled") + &tenant.reason("checkout", "Ready"), "SecretContested");
    let put_back = fight.await.unwrap();
    println!("put back {put_back} times in ten seconds");
    assert!((5..=8).contains(&put_back), "put back {put_back} times in ten seconds");
    let begun = Instant::now();
    await_condition(
        "the fight to end well",
        Duration::from_secs(30),
        async || tenant.token(issuer.issuer, "checkout").await.status,
        |status| *status == 200,
    )
    .await;
    println!("right again {:?} after the fight", begun.elapsed());
    tenant.wait_ready(&["checkout"]);
}

#[tokio::test]
async fn converged_deleted_clients_leave_what_their_policy_says_and_nothing_holds_them() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    let retaining = client("retaining", "  deletionPolicy: Retain\n");
    tenant.open(&["leaving"]);
    tenant.apply(&retaining);
    tenant.wait_ready(&["retaining"]);
    let kept = tenant.field("secret/retaining-oauth", ".data.client_secret");

    let held = "{range .items[*]}{.metadata.finalizers}{.metadata.ownerReferences}{end}";
    assert_eq!(tenant.run(&["get", "oac,scp,secrets", "-o", &format!("jsonpath={held}")]), "");
    let begun = Instant::now();
    tenant.run(&["delete", "oac", "leaving", "retaining", "--timeout=5s"]);
    tenant.until(("the Secret to go", SOON), ("secret/leaving-oauth", ".metadata.name"), String::is_empty).await;
    println!("gone after {:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(tenant.field("secret/retaining-oauth", ".data.client_secret"), kept);

    tenant.apply(&retaining);
    tenant.wait_ready(&["retaining"]);
    assert_eq!(tenant.field("secret/retaining-oauth", ".data.client_secret"), kept, "taken up again as it was");
    tenant.until_token(issuer.issuer, "retaining").await;
}

/// The testbed has no namespace controller: the test does its work, in its order.
#[tokio::test]
async fn converged_namespace_that_is_deleted_goes_whole() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, _issuer, _verifier] = installation.start_all().await;
    tenant.open(&["checkout"]);
    tenant.apply(&client("retaining", "  deletionPolicy: Retain\n"));
    tenant.wait_ready(&["retaining"]);

    tenant.kubectl().must(&["delete", "namespace", &tenant.namespace, "--wait=false"]);
    // Secrets before clients: the controller may not make new ones in a namespace that ends, and must not try for ever.
    for kind in ["secrets", "oac", "scp", "events.events.k8s.io"] {
        tenant.run(&["delete", kind, "--all", "--timeout=5s"]);
    }
    let left = || tenant.run(&["get", "secrets,oac,scp", "-o", "name"]);
    await_condition("the namespace to be empty", SOON, async || left(), String::is_empty).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(left(), "", "nothing comes back");
}
