//! The main job, as a newcomer meets it: apply examples/quickstart, wait, take the Secret's values to other people's clients, and
//! call the orders service through a real Envoy.
//!
//! Controller, issuer and verifier are processes of their own with the permissions of `deploy/` and no more.

use crate::support::await_condition;
use crate::support::clients::{OutsideClient, TokenRequest};
use crate::support::echo::Echo;
use crate::support::envoy::{Envoy, Wire};
use crate::support::http::{Request, Response};
use crate::support::installation::{Installation, Replica};
use crate::support::processes::run;
use crate::support::root;
use crate::support::scratch::Scratch;
use crate::support::testbed::Testbed;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::process::Output;
use std::time::{Duration, Instant};

const HOST: &str = "orders.shop.svc";
const IDENTITY: [&str; 4] =
    ["x-countersign-subject", "x-countersign-client", "x-countersign-scope", "x-countersign-decision"];

/// Another tenant, whose policy would let anybody do anything; it also reaches for shop's host.
const RIVAL: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: rival}
---
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: orders, namespace: rival}
spec:
  audience: https://orders.rival.svc
  targetRefs: [{group: "", kind: Service, name: orders}]
  routes: [{hosts: [orders.shop.svc]}]
  rules:
  - name: everything
    matches: [{methods: ["GET", "DELETE"], path: {type: Prefix, value: "/"}}]
    protection: Public
"#;

#[tokio::test(flavor = "multi_thread")]
async fn quickstart_protects_a_service_behind_envoy() {
    let installation = Installation::named(&Testbed::own(), "default", &[]).with_tls();
    let [_controller, _issuer, verifier] = installation.start_all().await;
    let echo = Echo::start().await;
    let envoy = Envoy::start(&wires(&verifier), echo.address).await;

    apply(&installation);
    let tokens = tokens(&installation);
    for listener in [envoy.listener(0), envoy.listener(1)] {
        for token in &tokens {
            allowed(listener, token).await;
        }
        refused(listener, &tokens[0], &echo).await;
    }

    installation.kubectl.apply(RIVAL);
    installation.kubectl.must(&[
        "wait",
        "--for=condition=PartiallyInvalid",
        "scp/orders",
        "-n",
        "rival",
        "--timeout=20s",
    ]);
    own_proxy_decides(&envoy, &tokens[0], &echo).await;
    reads_well(&installation);
    differs_in_nothing(&installation);
    takes_effect(&installation, envoy.listener(0)).await;
}

/// Two listeners before shop's orders, one a wire, and one before rival's.
fn wires(verifier: &Replica) -> [Wire; 3] {
    [
        Wire::Grpc { verifier: verifier.grpc, policy: Some("shop/orders".to_owned()) },
        Wire::Http { verifier: verifier.http, prefix: "/ext-authz/policy/shop/orders".to_owned() },
        Wire::Grpc { verifier: verifier.grpc, policy: Some("rival/orders".to_owned()) },
    ]
}

fn quickstart() -> String {
    root().join("examples/quickstart").to_str().expect("the clone's path is text").to_owned()
}

fn apply(installation: &Installation) {
    let begun = Instant::now();
    installation.kubectl.must(&["apply", "-f", &quickstart()]);
    let applied = begun.elapsed();
    let ready = ["wait", "--for=condition=Ready", "oauthclient/checkout", "-n", "shop", "--timeout=20s"];
    installation.kubectl.must(&ready);
    println!("kubectl apply took {applied:?}; ready after {:?}", begun.elapsed());
}

/// A token for each client that other people wrote, got with what the Secret says and nothing else.
fn tokens(installation: &Installation) -> Vec<String> {
    let value = |key| installation.secret_value("shop", "checkout-oauth", key);
    let (issuer, client_id, client_secret) = (value("issuer"), value("client_id"), value("client_secret"));
    assert_eq!((client_id.as_str(), value("token_endpoint")), ("shop.checkout", format!("{issuer}/oauth2/token")));
    let folder = Scratch::new("quickstart");
    let authority = folder.join("ca.crt");
    fs::write(&authority, value("ca.crt")).expect("write the authority");
    let mut request = TokenRequest {
        issuer: &issuer,
        client_id: &client_id,
        client_secret: &client_secret,
        authority: Some(&authority),
        ..TokenRequest::default()
    };
    let get = |client: OutsideClient| {
        let begun = Instant::now();
        let token = client.token(&request);
        println!("{client:?} had its token after {:?}", begun.elapsed());
        token
    };
    let tokens = OutsideClient::ALL.map(get).to_vec();
    let wrong = format!("{client_secret}x");
    request.client_secret = &wrong;
    for client in OutsideClient::ALL {
        assert_eq!(client.ask(&request)["error"], "invalid_client", "{client:?}");
    }
    tokens
}

/// Sends a request for shop's orders, with identity headers that the caller made up.
async fn call(listener: SocketAddr, method: &str, target: &str, token: Option<&str>) -> Response {
    let mut request = Request::new(method, target).header("host", HOST);
    for name in IDENTITY {
        request = request.header(name, "admin");
    }
    if let Some(token) = token {
        request = request.bearer(token);
    }
    request.send(listener).await.expect("Envoy answers")
}

async fn allowed(listener: SocketAddr, token: &str) {
    let answer = call(listener, "GET", "/orders/7", Some(token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.json();
    assert_eq!(seen["target"], "/orders/7");
    let identity = IDENTITY.map(|name| seen["headers"][name].clone());
    let ours = ["shop.checkout", "shop.checkout", "orders:read", "allow"].map(|value| Value::from(vec![value]));
    assert_eq!(identity, ours, "{seen:#}");
}

async fn refused(listener: SocketAddr, token: &str, echo: &Echo) {
    let reached = echo.requests();
    let cut = token.rfind('.').expect("a token has three parts") + 10;
    let other = if token.as_bytes()[cut] == b'A' { "B" } else { "A" };
    let mut tampered = token.to_owned();
    tampered.replace_range(cut..=cut, other);
    for (method, target, token, status, challenge) in [
        ("DELETE", "/orders/7", Some(token), 403, r#"error="insufficient_scope""#),
        ("GET", "/invoices/7", Some(token), 403, ""),
        ("GET", "/orders/7", None, 401, "Bearer"),
        ("GET", "/orders/7", Some(&tampered), 401, r#"error="invalid_token""#),
    ] {
        let answer = call(listener, method, target, token).await;
        let said = answer.header("www-authenticate").unwrap_or_default();
        assert!(answer.status == status && said.contains(challenge), "{method} {target}: {answer:?}");
        assert_eq!(said.contains(r#"scope="orders:admin""#), method == "DELETE", "{said}");
    }
    assert_eq!(echo.requests(), reached, "a refused request came through");
}

/// Naming another tenant's host gives nobody that tenant's policy: the proxy says whose policy it asks.
async fn own_proxy_decides(envoy: &Envoy, token: &str, echo: &Echo) {
    let [grpc, http, rivals] = [0, 1, 2].map(|wire| envoy.listener(wire));
    let delete = |host| Request::new("DELETE", "/orders/7").header("host", host);
    let look = async || delete("orders.rival.svc").send(rivals).await.expect("Envoy answers");
    let through = |answer: &Response| answer.status == 200;
    await_condition("rival's own proxy to ask rival's policy", Duration::from_secs(5), look, through).await;
    let reached = echo.requests();
    for listener in [grpc, http] {
        let nobody = delete("orders.rival.svc").send(listener).await.expect("Envoy answers");
        let somebody = delete("orders.rival.svc").bearer(token).send(listener).await.expect("Envoy answers");
        assert_eq!((nobody.status, somebody.status), (401, 403), "{nobody:?} {somebody:?}");
        let own = delete(HOST).bearer(token).send(listener).await.expect("Envoy answers");
        assert_eq!(own.status, 403, "rival's claim to shop's host opened it: {own:?}");
    }
    let taken = delete(HOST).send(rivals).await.expect("Envoy answers");
    assert_ne!(taken.status, 200, "rival's policy speaks for shop's host: {taken:?}");
    assert_eq!(echo.requests(), reached, "a refused request came through");
}

/// `kubectl get` fills every column that a person looks for.
fn reads_well(installation: &Installation) {
    let listed = installation.kubectl.must(&["get", "oac,scp,sgk", "-A"]);
    println!("{listed}");
    let row = |namespace: &str, name: &str| {
        let mut rows = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.find(|row| row.starts_with(&[namespace, name])).unwrap_or_else(|| panic!("{name} is not in\n{listed}"))
    };
    let client = row("shop", "oauthclient.countersign.dev/checkout");
    assert_eq!(client[2..5], ["True", "shop.checkout", "checkout-oauth"]);
    let policy = row("shop", "scopepolicy.countersign.dev/orders");
    assert_eq!(policy[2..7], ["True", "https://orders.shop.svc", "2", "of", "2"]);
    let ring = row("countersign-system", "signingkey.countersign.dev/default");
    let [ready, active, next, keys] = ring[2..6] else { panic!("{ring:?}") };
    assert_eq!((ready, active.len(), next.len(), keys), ("True", 43, "2026-11-22T05:00:00Z".len(), "2"));
}

fn differs_in_nothing(installation: &Installation) {
    let output = installation.kubectl.run(&["diff", "--server-side", "-f", &quickstart()]);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && said[0].is_empty(), "{said:?}");
}

/// What examples/README.md says to try next: grant more, then suspend the client.
async fn takes_effect(installation: &Installation, listener: SocketAddr) {
    let patch = |object: &str, operation: &str| {
        installation.kubectl.must(&["patch", object, "-n", "shop", "--type=json", "-p", operation]);
        Instant::now()
    };
    let admin = r#"{"scopes": ["orders:admin"], "to": [{"client": "shop.checkout"}]}"#;
    patch("scp/orders", &format!(r#"[{{"op": "add", "path": "/spec/grants/-", "value": {admin}}}]"#));
    patch("oac/checkout", r#"[{"op": "add", "path": "/spec/access/0/scopes/-", "value": "orders:admin"}]"#);
    let kubeconfig = format!("--kubeconfig={}", installation.kubectl.kubeconfig().display());
    let args = ["token", "--secret=shop/checkout-oauth", "--scope=orders:admin", &kubeconfig];
    let granted = |output: &Output| output.status.success();
    let patience = Duration::from_secs(5);
    let printed = await_condition("orders:admin to be granted", patience, async || run(args), granted).await;
    let token = String::from_utf8(printed.stdout).expect("a token is text");
    let delete = async || call(listener, "DELETE", "/orders/7", Some(token.trim())).await;
    await_condition("the order to be deleted", patience, delete, |answer| answer.status == 200).await;

    let suspended = patch("oac/checkout", r#"[{"op": "replace", "path": "/spec/state", "value": "Suspended"}]"#);
    await_condition("the client's token to be refused", patience, delete, |answer| answer.status == 401).await;
    println!("a suspended client's token was refused within {:?}", suspended.elapsed());
    assert!(!run(args).status.success(), "a suspended client has a token");
}

#[tokio::test]
async fn quickstart_gone_wrong_tells_a_person_what_to_do() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let namespace = testbed.namespace("wrong").await;
    let kubectl = &installation.kubectl;
    let mistakes = MISTAKES.replace("NAMESPACE", &namespace).replace("ISSUER", &installation.issuer_name);
    kubectl.apply(&mistakes);
    let _replicas = installation.start_all().await;
    let wait = |condition: &str, client: &str| {
        let (condition, client) = (format!("--for=condition={condition}"), format!("oac/{client}"));
        kubectl.must(&["wait", &condition, &client, "-n", &namespace, "--timeout=20s"]);
        kubectl.must(&["describe", &client, "-n", &namespace])
    };
    for (client, condition, words) in [
        ("ungranted", "FullyGranted=False", ["NothingGranted", "orders:admin", "ask the audience's owner"].as_slice()),
        ("astray", "ResolvedRefs=False", &["UnknownAudience", "https://nowhere", "or write the policy"]),
        ("foreign", "CredentialsReady=False", &["SecretNotOwned", "foreign-oauth", "mode Adopt"]),
    ] {
        let told = wait(condition, client);
        for word in words {
            assert!(told.contains(word), "{client}: {word} is not in\n{told}");
        }
    }
    assert_eq!(installation.secret_value(&namespace, "foreign-oauth", "client_secret"), "somebody-elses");
}

const MISTAKES: &str = r#"
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: orders, namespace: NAMESPACE}
spec:
  issuer: ISSUER
  audience: https://orders.NAMESPACE.svc
  targetRefs: [{group: "", kind: Service, name: orders}]
  scopes: [{name: "orders:admin"}]
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: ungranted, namespace: NAMESPACE}
spec: {issuer: ISSUER, access: [{audience: "https://orders.NAMESPACE.svc", scopes: ["orders:admin"]}]}
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: astray, namespace: NAMESPACE}
spec: {issuer: ISSUER, access: [{audience: "https://nowhere.NAMESPACE.svc", scopes: ["orders:admin"]}]}
---
apiVersion: v1
kind: Secret
metadata: {name: foreign-oauth, namespace: NAMESPACE}
stringData: {client_secret: somebody-elses}
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: foreign, namespace: NAMESPACE}
spec: {issuer: ISSUER}
"#;
