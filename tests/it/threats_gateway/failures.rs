//! Silence, absence and contradiction end in a refusal: GWY-07, -08.

use super::{Edge, WIRES, wires};
use crate::support::await_condition;
use crate::support::envoy::{Envoy, Wire};
use crate::support::http::Request;
use crate::support::ports::free_address;
use crate::support::standalone::{HOST, Standalone};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn gwy_07_fails_closed_without_policy_or_verifier() {
    let mut edge = Edge::start().await;
    let token = edge.it.token().await;
    let absent = Envoy::start(&wires(edge.it.grpc, edge.it.http, "shop/absent"), edge.echo.address).await;
    let unnamed = [
        Wire::Grpc { verifier: edge.it.grpc, policy: None },
        Wire::Http { verifier: free_address(), prefix: String::new() },
    ];
    let unnamed = Envoy::start(&unnamed, edge.echo.address).await;
    for (what, envoy) in [("absent", &absent), ("unnamed", &unnamed)] {
        for (wire, name) in WIRES.iter().enumerate() {
            let request = Request::get("/orders/7").bearer(&token).header("host", HOST);
            let answer = request.send(envoy.listener(wire)).await.unwrap();
            assert!(matches!(answer.status, 403 | 503), "{what} over {name}: {answer:?}");
            let public = Request::get("/health").header("host", HOST).send(envoy.listener(wire)).await.unwrap();
            assert!(public.status >= 400, "{what} over {name}: {public:?}");
        }
    }
    edge.it.process.signal("KILL");
    edge.it.process.wait().await;
    edge.expect("verifier gone", 503, Request::get("/orders/7").bearer(&token)).await;
    assert_eq!(edge.echo.requests(), 0);
}

#[tokio::test]
async fn gwy_07_a_verifier_that_hangs_lets_nothing_through() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    edge.it.process.signal("STOP");
    edge.expect("hung", 503, Request::get("/orders/7").bearer(&token)).await;
    edge.expect("hung, a public path", 503, Request::get("/health")).await;
    assert_eq!(edge.echo.requests(), 0);
    edge.it.process.signal("CONT");
    edge.expect("going on", 200, Request::get("/orders/7").bearer(&token)).await;
}

/// A rule that cannot be compiled denies what it matches; what it does not touch serves on.
#[tokio::test]
async fn gwy_07_a_broken_rule_denies_and_an_empty_policy_opens_nothing() {
    let it = Standalone::start().await;
    let token = it.token().await;
    it.edit(r#"allow: [{scopes: ["orders:read"]}]"#, r#"allow: [{scopes: ["orders:read"], when: "token.sub =="}]"#);
    let broken = it.refused(&token).await;
    assert_eq!(broken.status, 403, "{broken:?}");
    assert_eq!(it.verdict("GET", "/health", |request| request).await.status, 200);
    let empty = "apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: empty, namespace: shop}
spec: {audience: 'https://orders.shop.svc', targetRefs: [{group: '', kind: Service, name: orders}]}
";
    std::fs::write(it.manifests().join("empty.yaml"), empty).unwrap();
    let ask = async |token: Option<&str>| {
        let request = Request::get("/ext-authz/policy/shop/empty/health").header("host", HOST);
        let request = token.into_iter().fold(request, Request::bearer);
        request.send(it.http).await.unwrap().status
    };
    let status = await_condition("the empty policy", SOON, async || ask(None).await, |status| *status == 401).await;
    assert_eq!((status, ask(Some(&token)).await), (401, 403));
}

#[tokio::test]
async fn gwy_08_the_proxy_names_the_policy_not_the_request() {
    let edge = Edge::start().await;
    let rivals = Envoy::start(&wires(edge.it.grpc, edge.it.http, "rival/rival"), edge.echo.address).await;
    for (wire, name) in WIRES.iter().enumerate() {
        // At shop's proxy, with the host of a tenant that lets everyone in.
        let request = Request::get("/orders/7").header("host", "rival.rival.svc");
        let answer = request.send(edge.envoy.listener(wire)).await.unwrap();
        assert!(matches!(answer.status, 401 | 403), "{name}: {answer:?}");
        // At rival's proxy, with shop's host.
        let request = Request::get("/orders/7").header("host", HOST);
        let answer = request.send(rivals.listener(wire)).await.unwrap();
        assert!(matches!(answer.status, 401 | 403), "{name}: {answer:?}");
        let own =
            Request::get("/orders/7").header("host", "rival.rival.svc").send(rivals.listener(wire)).await.unwrap();
        assert_eq!(own.status, 200, "{name}: {own:?}");
    }
    assert_eq!(edge.echo.requests(), 2);
}

/// Two rules for one path and method contradict each other: used together, both deny; each alone means what it says.
#[tokio::test]
async fn gwy_08_overlapping_policies_together_are_as_strict_as_the_strictest() {
    let it = Standalone::start().await;
    let token = it.token().await;
    let loose = "apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: loose, namespace: shop}
spec:
  audience: https://orders.shop.svc
  targetRefs: [{group: '', kind: Service, name: orders}]
  unmatched: Authenticated
  corsPreflight: Allow
  rules:
  - {name: open, matches: [{methods: [GET], path: {type: Template, value: '/orders/{number}'}}], protection: Public}
";
    std::fs::write(it.manifests().join("loose.yaml"), loose).unwrap();
    let ask = async |policy: &str, path: &str, token: Option<&str>| {
        let request = Request::get(&format!("/ext-authz/policy/shop/{policy}{path}")).header("host", HOST);
        let request = token.into_iter().fold(request, Request::bearer);
        request.send(it.http).await.unwrap().status
    };
    let look = async || ask("loose", "/orders/7", None).await;
    await_condition("the second policy", SOON, look, |status| *status == 200).await;
    assert_eq!(ask("orders", "/orders/7", Some(&token)).await, 200);
    assert_eq!(ask("*", "/orders/7", Some(&token)).await, 403, "ambiguous: both deny");
    assert_eq!(ask("*", "/orders/7", None).await, 401);
    assert_eq!(ask("loose", "/elsewhere", Some(&token)).await, 200);
    assert_eq!(ask("*", "/elsewhere", Some(&token)).await, 403, "Deny is stricter than Authenticated");
    let preflight = Request::new("OPTIONS", "/ext-authz/policy/shop/*/orders/7").header("host", HOST);
    let preflight = preflight.header("origin", "https://a.example").header("access-control-request-method", "GET");
    assert_eq!(preflight.send(it.http).await.unwrap().status, 401, "one policy that denies preflights is enough");
}
