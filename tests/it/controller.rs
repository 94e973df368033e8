//! The controller on a real API server, with the permissions of `deploy/` and no more: a client's Secret from its first
//! writing to its end.

use crate::support::await_condition;
use crate::support::installation::{Installation, Replica, Role};
use crate::support::kubectl::Kubectl;
use crate::support::testbed::Testbed;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// How soon a Secret somebody deleted or edited is put back.
const HEALED: Duration = Duration::from_secs(5);

/// A controller and a client that is ready.
struct Shop {
    installation: Installation,
    controller: Replica,
    namespace: String,
}

impl Shop {
    async fn open(testbed: &Testbed) -> Self {
        let installation = Installation::new(testbed, &[]);
        let namespace = testbed.namespace("shop").await;
        let controller = installation.start(Role::Controller).await;
        let shop = Self { installation, controller, namespace };
        shop.kubectl().apply(&shop.manifest());
        shop.kubectl().must(&["wait", "oac/checkout", "-n", &shop.namespace, "--for=condition=Ready", "--timeout=20s"]);
        shop
    }

    fn kubectl(&self) -> &Kubectl {
        &self.installation.kubectl
    }

    fn manifest(&self) -> String {
        let Self { installation, namespace, .. } = self;
        let issuer = &installation.issuer_name;
        format!(
            "apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {{name: orders, namespace: {namespace}}}
spec:
  issuer: {issuer}
  audience: https://orders.{namespace}.svc
  scopes: [{{name: 'orders:read'}}]
  grants: [{{scopes: ['orders:read'], to: [{{namespaces: Same}}]}}]
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  issuer: {issuer}
  access: [{{audience: 'https://orders.{namespace}.svc', scopes: ['orders:read']}}]
"
        )
    }

    /// A field of an object, empty where there is none.
    fn field(&self, object: &str, path: &str) -> String {
        let path = format!("jsonpath={{{path}}}");
        self.kubectl().must(&["get", object, "-n", &self.namespace, "--ignore-not-found", "-o", &path])
    }

    fn value(&self) -> String {
        self.field("secret/checkout-oauth", ".data.client_secret")
    }

    async fn until(
        &self,
        what: &str,
        patience: Duration,
        object: &str,
        path: &str,
        accept: impl Fn(&String) -> bool,
    ) -> String {
        await_condition(what, patience, async || self.field(object, path), accept).await
    }

    /// The versions of everything of ours but Leases.
    fn versions(&self) -> String {
        let get = |kinds: &str, namespace: &str| {
            let versions = "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {end}";
            self.kubectl().must(&["get", kinds, "-n", namespace, "-o", versions])
        };
        let system = self.installation.system_namespace();
        let users = get("oac,scp,secrets,events.events.k8s.io", &self.namespace);
        let own = get("sgk,secrets,configmaps,events.events.k8s.io", &system);
        format!("{users}\n{own}\n{}", get("configmaps", &format!("{system}-replicas")))
    }
}

#[tokio::test]
async fn at_rest_nothing_is_written_nor_by_a_restarted_controller() {
    let testbed = Testbed::shared();
    let mut shop = Shop::open(&testbed).await;
    // What follows the first writes has ended when two looks some time apart see the same.
    let settled = async || {
        let before = shop.versions();
        tokio::time::sleep(Duration::from_secs(2)).await;
        (before == shop.versions()).then_some(before)
    };
    let versions = await_condition("rest", SOON, settled, Option::is_some).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(shop.versions(), versions, "written at rest");
    drop(shop.controller);
    shop.controller = shop.installation.start(Role::Controller).await;
    // Longer than a lease that was not given up lasts, so that the new one leads.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(shop.versions(), versions, "written by a restart");
}

#[tokio::test]
async fn a_secret_that_is_deleted_or_edited_comes_back_and_an_event_says_who_did_it() {
    let testbed = Testbed::shared();
    let shop = Shop::open(&testbed).await;
    let (namespace, first) = (shop.namespace.as_str(), shop.value());
    shop.kubectl().must(&["delete", "secret", "checkout-oauth", "-n", namespace]);
    let fresh = |value: &String| !value.is_empty() && *value != first;
    let second = shop.until("a fresh value", HEALED, "secret/checkout-oauth", ".data.client_secret", fresh).await;
    let patch = r#"{"data":{"issuer":"eA=="}}"#;
    let edit = ["patch", "secret", "checkout-oauth", "-n", namespace, "-p", patch, "--field-manager=meddler"];
    shop.kubectl().must(&edit);
    let right = |value: &String| value != "eA==";
    shop.until("the edit undone", HEALED, "secret/checkout-oauth", ".data.issuer", right).await;
    assert_eq!(shop.value(), second, "the value was not touched, so it stays");
    let told = |notes: &String| notes.contains("someone deleted Secret") && notes.contains("meddler changed Secret");
    shop.until("both told", SOON, "events.events.k8s.io", ".items[*].note", told).await;
}

#[tokio::test]
async fn a_foreign_secret_is_left_alone_and_our_own_goes_with_its_client() {
    let testbed = Testbed::shared();
    let shop = Shop::open(&testbed).await;
    let namespace = shop.namespace.as_str();
    shop.kubectl().must(&[
        "create",
        "secret",
        "generic",
        "theirs",
        "-n",
        namespace,
        "--from-literal=client_secret=kept",
    ]);
    let patch = r#"{"spec":{"authentication":{"methods":[{"type":"ClientSecret","secret":{"name":"theirs"}}]}}}"#;
    let ready = r#".status.conditions[?(@.type=="Ready")].reason"#;
    shop.kubectl().must(&["patch", "oac", "checkout", "-n", namespace, "--type=merge", "-p", patch]);
    shop.until("a refusal", SOON, "oac/checkout", ready, |reason| reason == "SecretNotOwned").await;
    assert_eq!(shop.field("secret/theirs", ".data.client_secret"), "a2VwdA==");
    assert!(!shop.value().is_empty(), "the Secret in use stays until there is another");
    shop.kubectl().must(&["delete", "oac", "checkout", "-n", namespace]);
    shop.until("our Secret gone", SOON, "secret/checkout-oauth", ".metadata.name", String::is_empty).await;
    assert_eq!(shop.field("secret/theirs", ".data.client_secret"), "a2VwdA==");
}
