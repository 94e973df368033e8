//! Calls without secrets: a pod's own ServiceAccount token, made by a real API server, gets an access token; no client secret
//! exists anywhere.

use crate::agent::Agent;
use crate::support::await_condition;
use crate::support::clients::{OutsideClient, TokenRequest};
use crate::support::http::{Request, Response};
use crate::support::installation::{Installation, Role};
use crate::support::orders::{ORDERS, client};
use crate::support::scratch::Scratch;
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The line of a client's spec that names these ServiceAccounts.
fn by(accounts: &[&str]) -> String {
    let accounts: Vec<_> = accounts.iter().map(|name| json!({"name": name})).collect();
    let methods = json!([{"type": "ServiceAccount", "serviceAccounts": accounts}]);
    format!("  authentication: {{methods: {methods}}}\n")
}

impl Tenant<'_> {
    /// A ServiceAccount, and a pod that runs as it; returns the pod's UID. Nobody schedules it: its token needs no more than that.
    async fn pod(&self, account: &str) -> String {
        let meta = json!({"name": account, "namespace": self.namespace});
        let accounts: Api<ServiceAccount> = Api::namespaced(self.api_client(), &self.namespace);
        let object = serde_json::from_value(json!({"metadata": meta})).unwrap();
        accounts.create(&PostParams::default(), &object).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(self.api_client(), &self.namespace);
        let spec = json!({"serviceAccountName": account, "containers": [{"name": "app", "image": "app"}]});
        let object = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
        pods.create(&PostParams::default(), &object).await.unwrap().metadata.uid.unwrap()
    }

    /// The token the kubelet would put into that pod, as the API server makes it.
    fn pod_token(&self, account: &str, pod_uid: &str, more: &[&str]) -> String {
        let uid = format!("--bound-object-uid={pod_uid}");
        let bound = ["--bound-object-kind=Pod", "--bound-object-name", account, &uid];
        self.account_token(account, &[&bound[..], more].concat())
    }

    fn account_token(&self, account: &str, more: &[&str]) -> String {
        self.run(&[&["create", "token", account][..], more].concat()).trim().to_owned()
    }
}

async fn ask(issuer: SocketAddr, assertion: &str, client_id: Option<&str>) -> Response {
    let fields =
        [("grant_type", "client_credentials"), ("client_assertion_type", TYPE), ("client_assertion", assertion)];
    let fields: Vec<_> = fields.into_iter().chain(client_id.map(|id| ("client_id", id))).collect();
    Request::form("/oauth2/token", &fields).send(issuer).await.expect("an answer of the issuer")
}

/// What was answered, and the OAuth code if that was a refusal.
fn told(answer: &Response) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_pods_token_opens_what_its_client_was_granted_and_no_secret_exists() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, verifier] = installation.start_all().await;
    tenant.apply(&[ORDERS, &client("checkout", &by(&["checkout", "nightly"]))].concat());
    tenant.wait_ready(&["checkout"]);
    assert_eq!(tenant.reason("checkout", "CredentialsReady"), "NoSecret");
    assert_eq!(tenant.run(&["get", "secrets", "-o", "name"]), "");
    // A program needs nothing but the ConfigMap and its token.
    let entry = |key: &str| tenant.field("configmap/checkout-oauth", &format!(".data.{key}"));
    let (issuer_url, client_id) = (entry("issuer"), entry("client_id"));
    assert_eq!(issuer_url, installation.issuer_url());
    assert_eq!(entry("token_endpoint"), format!("{issuer_url}/oauth2/token"));
    let audience = format!("--audience={issuer_url}");
    for account in ["checkout", "nightly"] {
        let pod = tenant.pod(account).await;
        let assertion = tenant.pod_token(account, &pod, &[&audience, "--duration=1h"]);
        let look = async || ask(issuer.issuer, &assertion, None).await;
        let answer = await_condition("a token", SOON, look, |answer| answer.status == 200).await.json();
        let token = answer["access_token"].as_str().expect("a token");
        let look = async || tenant.ask(verifier.http, "/orders/7", Some(token)).await;
        await_condition("the token to open orders", SOON, look, |answer| answer.status == 200).await;
        for outside in OutsideClient::ALL {
            let token = outside.token(&TokenRequest {
                issuer: &issuer_url,
                client_id: &client_id,
                auth_method: Some("client_assertion"),
                client_assertion: &assertion,
                ..TokenRequest::default()
            });
            assert_eq!(tenant.ask(verifier.http, "/orders/7", Some(&token)).await.status, 200, "{outside:?}");
        }
    }
    tenant.run(&["patch", "oac", "checkout", "--type=merge", "-p", r#"{"spec":{"state":"Suspended"}}"#]);
    let token = tenant.pod_token("checkout", &pod_uid(&tenant, "checkout"), &[&audience]);
    let look = async || told(&ask(issuer.issuer, &token, None).await);
    await_condition("a suspended client's refusal", SOON, look, |told| told.0 == 401).await;
}

fn pod_uid(tenant: &Tenant<'_>, pod: &str) -> String {
    tenant.field(&format!("pod/{pod}"), ".metadata.uid")
}

#[tokio::test]
async fn cla_05_tokens_of_the_cluster_for_anything_else_prove_nothing() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    let reports = client("reports", &by(&["checkout"]));
    tenant.apply(&[ORDERS, &client("checkout", &by(&["checkout"])), &reports].concat());
    tenant.wait_ready(&["checkout", "reports"]);
    let ours = format!("--audience={}", installation.issuer_url());
    let pod = tenant.pod("checkout").await;
    let good = tenant.pod_token("checkout", &pod, &[&ours]);
    let id = |name: &str| format!("{}.{name}", tenant.namespace);
    for name in ["checkout", "reports"] {
        let look = async || ask(issuer.issuer, &good, Some(&id(name))).await;
        await_condition("a token for either client", SOON, look, |answer| answer.status == 200).await;
    }
    assert_eq!(told(&ask(issuer.issuer, &good, None).await), (400, "invalid_request".to_owned()));
    let token_url = format!("{ours}/oauth2/token");
    for (what, assertion) in [
        ("for the API server", tenant.pod_token("checkout", &pod, &[])),
        ("for us and the API server", tenant.pod_token("checkout", &pod, &[&ours, "--audience=https://other.example"])),
        ("for the token endpoint", tenant.pod_token("checkout", &pod, &[&token_url])),
        ("of no pod", tenant.account_token("checkout", &[&ours])),
        ("cut", good[..good.len() - 3].to_owned()),
    ] {
        let answer = ask(issuer.issuer, &assertion, Some(&id("checkout"))).await;
        assert_eq!(told(&answer), (401, "invalid_client".to_owned()), "{what}");
    }
    // A namesake elsewhere, and another account here.
    let elsewhere = Tenant::new(&testbed, &installation).await;
    let namesake = elsewhere.pod("checkout").await;
    let other = tenant.pod("other").await;
    for assertion in [elsewhere.pod_token("checkout", &namesake, &[&ours]), tenant.pod_token("other", &other, &[&ours])]
    {
        let answer = ask(issuer.issuer, &assertion, Some(&id("checkout"))).await;
        assert_eq!(told(&answer), (401, "invalid_client".to_owned()));
    }
}

#[tokio::test]
async fn cla_06_a_pods_token_of_more_than_an_hour_proves_nothing() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    tenant.apply(&[ORDERS, &client("checkout", &by(&["checkout"]))].concat());
    tenant.wait_ready(&["checkout"]);
    let ours = format!("--audience={}", installation.issuer_url());
    let pod = tenant.pod("checkout").await;
    let lives = |time: &str| tenant.pod_token("checkout", &pod, &[&ours, &format!("--duration={time}")]);
    let (hour, more) = (lives("1h"), lives("61m"));
    let look = async || ask(issuer.issuer, &hour, None).await;
    await_condition("a token", SOON, look, |answer| answer.status == 200).await;
    assert_eq!(told(&ask(issuer.issuer, &more, None).await), (401, "invalid_client".to_owned()));
    // No single use: the kubelet keeps one token in the file until it writes the next.
    assert_eq!(told(&ask(issuer.issuer, &hour, None).await), (200, String::new()));
}

#[tokio::test]
async fn where_pods_are_watched_a_deleted_ones_token_is_refused_long_before_it_ends() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let _controller = installation.start(Role::Controller).await;
    let mut issuer = installation.spawn_with(Role::Issuer, &["--watch-pods"]);
    issuer.process.ready(issuer.admin).await;
    tenant.apply(&[ORDERS, &client("checkout", &by(&["checkout", "other"]))].concat());
    tenant.wait_ready(&["checkout"]);
    let ours = format!("--audience={}", installation.issuer_url());
    let mut tokens = Vec::new();
    for account in ["checkout", "other"] {
        let pod = tenant.pod(account).await;
        let token = tenant.pod_token(account, &pod, &[&ours]);
        let look = async || ask(issuer.issuer, &token, None).await;
        await_condition("a token", SOON, look, |answer| answer.status == 200).await;
        tokens.push(token);
    }
    tenant.run(&["delete", "pod", "checkout", "--grace-period=0", "--force"]);
    let look = async || told(&ask(issuer.issuer, &tokens[0], None).await);
    await_condition("the deleted pod's refusal", SOON, look, |told| *told == (401, "invalid_client".to_owned())).await;
    assert_eq!(told(&ask(issuer.issuer, &tokens[1], None).await), (200, String::new()), "the other pod is there");
}

#[tokio::test]
async fn a_client_moves_from_a_secret_to_its_pods_and_back_and_foreign_config_maps_stay() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let _controller = installation.start(Role::Controller).await;
    tenant.run(&["create", "configmap", "theirs-oauth", "--from-literal=issuer=https://theirs.example"]);
    tenant.apply(&[ORDERS, &client("checkout", ""), &client("theirs", &by(&["theirs"]))].concat());
    tenant.wait_ready(&["checkout"]);
    let look = async || tenant.reason("theirs", "Ready");
    await_condition("a foreign ConfigMap to be told", SOON, look, |reason| reason == "ConfigMapNotOwned").await;
    let (secret, map) = (("secret/checkout-oauth", ".metadata.name"), ("cm/checkout-oauth", ".metadata.name"));
    let methods = |methods: Value| {
        let patch = json!({"spec": {"authentication": methods}}).to_string();
        tenant.run(&["patch", "oac", "checkout", "--type=merge", "-p", &patch]);
    };
    methods(json!({"methods": [{"type": "ServiceAccount", "serviceAccounts": [{"name": "checkout"}]}]}));
    tenant.until(("the ConfigMap", SOON), map, |name| !name.is_empty()).await;
    tenant.until(("the Secret gone", SOON), secret, String::is_empty).await;
    tenant.run(&["patch", "cm", "checkout-oauth", "-p", r#"{"data":{"issuer":"x"}}"#, "--field-manager=meddler"]);
    let right = |issuer: &String| *issuer == installation.issuer_url();
    tenant.until(("the edit undone", SOON), ("cm/checkout-oauth", ".data.issuer"), right).await;
    methods(Value::Null);
    tenant.until(("the Secret again", SOON), secret, |name| !name.is_empty()).await;
    tenant.until(("the ConfigMap gone", SOON), map, String::is_empty).await;
    methods(json!({"methods": [{"type": "ServiceAccount", "serviceAccounts": [{"name": "checkout"}]}]}));
    tenant.until(("the ConfigMap", SOON), map, |name| !name.is_empty()).await;
    tenant.run(&["delete", "oac", "checkout", "theirs"]);
    tenant.until(("the ConfigMap gone with its client", SOON), map, String::is_empty).await;
    assert_eq!(tenant.field("cm/theirs-oauth", ".data.issuer"), "https://theirs.example");
}

/// The agent in a pod without a secret: the ConfigMap and the pod's own token are all it has, and the kubelet replaces the token.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_keeps_an_access_token_with_nothing_but_its_pods_own() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]).with_tls();
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, _issuer, verifier] = installation.start_all().await;
    tenant.apply(&[ORDERS, &client("checkout", &by(&["checkout"]))].concat());
    tenant.wait_ready(&["checkout"]);
    let mounted = Scratch::new("mounted");
    for key in ["client_id", "token_endpoint", "ca.crt"] {
        let path = format!("go-template={{{{index .data \"{key}\"}}}}");
        let value = tenant.run(&["get", "configmap", "checkout-oauth", "-o", &path]);
        fs::write(mounted.join(key), value).unwrap();
    }
    let pod = tenant.pod("checkout").await;
    // Made for somebody else: nobody gets anything for it.
    let assertion = mounted.join("token");
    fs::write(&assertion, tenant.pod_token("checkout", &pod, &[])).unwrap();
    let agent = Agent::start(&[
        format!("--credentials={}", mounted.display()),
        format!("--assertion-file={}", assertion.display()),
        "--token=orders".to_owned(),
    ]);
    let refused = async || agent.process.output().contains("invalid_client");
    await_condition("the wrong token's refusal", SOON, refused, |told| *told).await;
    assert!(!agent.token_file().exists());
    let audience = format!("--audience={}", installation.issuer_url());
    let own = tenant.pod_token("checkout", &pod, &[&audience]);
    fs::write(&assertion, &own).unwrap();
    let look = async || fs::read_to_string(agent.token_file());
    let token = await_condition("a token", SOON, look, Result::is_ok).await.unwrap();
    assert_eq!(tenant.ask(verifier.http, "/orders/7", Some(&token)).await.status, 200);
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let log = agent.process.output();
    assert!(![&own, &token].iter().any(|token| log.contains(&signature(token))), "{log}");
}
