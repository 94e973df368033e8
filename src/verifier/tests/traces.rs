//! What a collector sees of the verdicts.

use super::http::PROXY;
use super::*;
use crate::runtime::traces::tests::{PARENT, SERVER, assert_told, attributes, received, traceparent};

const TRACE: &str = "7e400000000000000000000000000001";

#[tokio::test]
async fn a_verdict_is_a_span_of_the_judged_requests_trace_and_tells_no_token() {
    let (received, world) = (received(), World::new());
    let (bearer, trace) = (world.bearer("orders:read"), traceparent(TRACE));
    let headers = [("authorization", bearer.as_str()), ("traceparent", trace.as_str())];
    let by_rule = [("policy", "shop/orders"), ("rule", "rule")];
    let mut expected = Vec::new();
    for (method, target, status, outcome, reason, rule) in [
        ("GET", "/ext-authz/policy/shop/orders/orders/7", 200, "allow", "Scoped", &by_rule[..]),
        ("GET", "/ext-authz/policy/shop/orders/health", 200, "allow", "Public", &by_rule),
        ("DELETE", "/ext-authz/policy/shop/orders/orders/7", 403, "forbidden", "InsufficientScope", &by_rule),
        ("GET", "/ext-authz/policy/nobody/secret-name/orders/7", 403, "forbidden", "NoSuchPolicy", &[]),
    ] {
        assert_eq!(world.http(method, target, PROXY, &headers).await.0, status, "{target}");
        let told = [("wire", "ext_authz_http"), ("outcome", outcome), ("reason", reason)];
        expected.push((false, attributes(&[&told, rule].concat())));
    }
    assert_eq!(world.grpc_order(&headers).await, 200);
    let told = [("wire", "ext_authz_grpc"), ("outcome", "allow"), ("reason", "Scoped")];
    expected.push((false, attributes(&[&told[..], &by_rule].concat())));
    world.change(|snapshot| snapshot.keys = Arc::new(KeySet::build(&[], [])));
    assert_eq!(world.grpc_order(&headers).await, 503);
    let told = [("wire", "ext_authz_grpc"), ("outcome", "unavailable"), ("reason", "NoKeys")];
    expected.push((true, attributes(&[&told[..], &by_rule].concat())));

    let spans = received.trace(TRACE).await;
    assert!(spans.iter().all(|span| (span.kind, span.parent.as_str()) == (SERVER, PARENT)), "{spans:?}");
    let found: Vec<_> = spans.iter().map(|span| (span.failed, span.attributes.clone())).collect();
    assert_eq!(found, expected);
    assert_told("verdict", &spans);
    let token = bearer.strip_prefix("Bearer ").expect("a token");
    for text in [token, "secret-name", "/orders/7"] {
        assert!(!received.holds(text).await, "{text} reached the collector");
    }
}

#[tokio::test]
async fn of_what_an_untrusted_proxy_asks_nothing_is_read() {
    let (received, world) = (received(), World::new());
    let trace = traceparent("7e400000000000000000000000000002");
    let (status, _) = world.http("GET", "/forward-auth/shop/orders", "192.0.2.1:1", &[("traceparent", &trace)]).await;
    assert_eq!(status, 403);
    let told = attributes(&[("wire", "forward_auth"), ("outcome", "forbidden"), ("reason", "UntrustedProxy")]);
    let spans = received.all().await;
    let spans: Vec<_> = spans.iter().filter(|span| span.attributes == told).collect();
    assert!(!spans.is_empty() && spans.iter().all(|span| span.parent.is_empty()), "{spans:?}");
}
