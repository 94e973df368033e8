//! The HTTP wires: Envoy, forward auth, nginx.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use tower::ServiceExt;

use super::*;
use crate::runtime::serve::Peer;

pub(super) const PROXY: &str = "10.1.2.3:4000";
const FORWARDED: [(&str, &str); 4] = [
    ("x-forwarded-method", "GET"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "orders.shop"),
    ("x-forwarded-uri", "/orders/7"),
];
const ORIGINAL: [(&str, &str); 2] = [("x-original-method", "GET"), ("x-original-url", "https://orders.shop/orders/7")];

impl World {
    pub(super) async fn http(
        &self,
        method: &str,
        target: &str,
        peer: &str,
        headers: &[(&str, &str)],
    ) -> (u16, HeaderMap) {
        let mut request = Request::builder().method(method).uri(target).header("host", "orders.shop");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).expect("a request");
        request.extensions_mut().insert(Peer { address: peer.parse::<SocketAddr>().expect("an address") });
        let response = self.verifier.http_router().oneshot(request).await.expect("an answer");
        (response.status().as_u16(), response.headers().clone())
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().expect("ASCII"))
}

#[tokio::test]
async fn envoy_over_http_asks_with_the_request_itself_behind_its_prefix() {
    let world = World::new();
    let bearer = world.bearer("orders:read");
    let auth = [("authorization", bearer.as_str())];
    for (method, target, expected) in [
        ("GET", "/ext-authz/policy/shop/orders/orders/7?a=b", 200),
        ("GET", "/ext-authz/policy/shop/*/orders/7", 200),
        ("GET", "/ext-authz/by-host/orders/7", 200),
        ("DELETE", "/ext-authz/policy/shop/orders/orders/7", 403),
        ("GET", "/ext-authz/policy/other/billing/orders/7", 401),
        ("GET", "/ext-authz/policy/shop/orders//orders/7", 400),
        ("GET", "/ext-authz/policy/shop/orders/../health", 400),
        ("GET", "/ext-authz/policy/shop/orders", 400),
        ("GET", "/ext-authz/policy/nobody/orders/health", 403),
        ("GET", "/ext-authz/policy/shop", 404),
        ("GET", "/elsewhere", 404),
    ] {
        assert_eq!(world.http(method, target, PROXY, &auth).await.0, expected, "{method} {target}");
    }
}

#[tokio::test]
async fn envoy_over_http_is_told_what_to_set_and_what_to_remove() {
    let world = World::new();
    let forged = [("x-countersign-subject", "admin"), ("x-countersign_scope", "admin")];
    let (status, headers) = world.http("GET", "/ext-authz/policy/shop/orders/health", PROXY, &forged).await;
    assert_eq!((status, value(&headers, "x-countersign-decision")), (200, Some("public")));
    assert_eq!(value(&headers, "x-countersign-subject"), None);
    let removed: Vec<_> = value(&headers, "x-envoy-auth-headers-to-remove").expect("names").split(',').collect();
    for name in ["x-countersign-subject", "x-countersign-client", "x-countersign-scope", "x-countersign_scope"] {
        assert!(removed.contains(&name), "{name} in {removed:?}");
    }
}

#[tokio::test]
async fn forward_auth_judges_the_original_request_as_a_trusted_proxy_tells_it() {
    let world = World::new();
    let bearer = world.bearer("orders:read");
    let asked = [FORWARDED.as_slice(), &[("authorization", bearer.as_str())]].concat();
    let (status, headers) = world.http("GET", "/forward-auth/shop/orders", PROXY, &asked).await;
    assert_eq!((status, value(&headers, "x-countersign-subject")), (200, Some("shop.checkout")));
    let delete = [&[("x-forwarded-method", "DELETE")], &asked[1..]].concat();
    assert_eq!(world.http("GET", "/forward-auth/shop/orders", PROXY, &delete).await.0, 403);
    assert_eq!(world.http("GET", "/forward-auth/shop/*", PROXY, &FORWARDED).await.0, 401);
    let elsewhere = [&FORWARDED[..2], &[("x-forwarded-host", "billing.other"), FORWARDED[3]]].concat();
    assert_eq!(world.http("GET", "/forward-auth/shop/orders", PROXY, &elsewhere).await.0, 401);
}

#[tokio::test]
async fn gwy_03_only_a_trusted_proxy_may_say_what_the_original_request_was() {
    let world = World::new();
    let health = [FORWARDED[0], FORWARDED[1], FORWARDED[2], ("x-forwarded-uri", "/health")];
    assert_eq!(world.http("GET", "/forward-auth/shop/orders", PROXY, &health).await.0, 200);
    assert_eq!(world.http("GET", "/forward-auth/shop/orders", "192.0.2.1:1", &health).await.0, 403);
    assert_eq!(world.http("GET", "/forward-auth/shop/orders", PROXY, &health[1..]).await.0, 400);
    let twice = [health.as_slice(), &[("x_forwarded_uri", "/orders/7")]].concat();
    assert_eq!(world.http("GET", "/forward-auth/shop/orders", PROXY, &twice).await.0, 400);
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn warnings(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("the log").clone()).expect("text");
        text.lines().filter(|line| line.contains(" WARN ")).map(str::to_owned).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn whoever_forgot_to_name_the_proxy_or_a_header_reads_it_in_the_log_once_a_minute() {
    let world = World::new();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let secret = [FORWARDED.as_slice(), &[("authorization", "Bearer s3cret")]].concat();
    for wire in ["/forward-auth/shop/orders", "/auth-request/shop/orders", "/forward-auth/shop/orders"] {
        assert_eq!(world.http("GET", wire, "192.0.2.1:1", &secret).await.0, 403);
    }
    let warnings = log.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["--trusted-proxy", "peer=192.0.2.1", r#"wire="forward_auth""#] {
        assert!(warnings[0].contains(part) && !warnings[0].contains("s3cret"), "{part}: {warnings:?}");
    }
    world.clock.advance(std::time::Duration::from_mins(1));
    assert_eq!(world.http("GET", "/forward-auth/shop/orders", "192.0.2.1:1", &secret).await.0, 403);
    assert_eq!(log.warnings().len(), 2);
    for _ in 0..2 {
        assert_eq!(world.http("GET", "/forward-auth/shop/orders", PROXY, &secret[1..]).await.0, 400);
    }
    let warnings = log.warnings();
    assert!(warnings.len() == 3 && warnings[2].contains("x-forwarded-method"), "{warnings:?}");
}

#[tokio::test]
async fn gwy_01_other_proxies_get_every_identity_header_so_that_the_callers_own_is_replaced() {
    let world = World::new();
    let health =
        [FORWARDED[0], FORWARDED[1], FORWARDED[2], ("x-forwarded-uri", "/health"), ("x-countersign-subject", "admin")];
    let (status, headers) = world.http("GET", "/forward-auth/shop/orders", PROXY, &health).await;
    assert_eq!((status, value(&headers, "x-countersign-decision")), (200, Some("public")));
    for name in ["x-countersign-subject", "x-countersign-client", "x-countersign-scope"] {
        assert_eq!(value(&headers, name), Some(""), "{name}");
    }
}

#[tokio::test]
async fn nginx_hears_only_what_it_understands() {
    let world = World::new();
    let bearer = world.bearer("orders:read");
    let ask = |url: &'static str, authorization: &str| {
        let authorization = authorization.to_owned();
        let world = &world;
        async move {
            let headers = [ORIGINAL[0], ("x-original-url", url), ("authorization", authorization.as_str())];
            world.http("GET", "/auth-request/shop/orders", PROXY, &headers).await
        }
    };
    let (status, headers) = ask("https://orders.shop/orders/7", &bearer).await;
    assert_eq!((status, value(&headers, "x-countersign-client")), (200, Some("shop.checkout")));
    let (status, headers) = ask("https://orders.shop/orders/7", "Bearer a.b.c").await;
    assert_eq!(
        (status, value(&headers, "www-authenticate")),
        (401, Some("Bearer realm=\"countersign\", error=\"invalid_token\""))
    );
    assert_eq!(ask("https://orders.shop/orders//7", &bearer).await.0, 403, "400 would be an error to nginx");
    assert_eq!(ask("https://orders.shop/orders/7", "Bearer a, Bearer b").await.0, 403);
    assert_eq!(ask("https://orders.shop/nothing", &bearer).await.0, 403);
    assert_eq!(ask("https://u@orders.shop/orders/7", &bearer).await.0, 403);
}

#[tokio::test]
async fn a_refusal_is_kept_by_no_cache_and_tells_the_code_alone() {
    let world = World::new();
    let (status, headers) = world
        .http(
            "DELETE",
            "/ext-authz/policy/shop/orders/orders/7",
            PROXY,
            &[("authorization", &world.bearer("orders:read"))],
        )
        .await;
    assert_eq!((status, value(&headers, "cache-control")), (403, Some("no-store")));
    assert_eq!(
        value(&headers, "www-authenticate"),
        Some("Bearer realm=\"countersign\", error=\"insufficient_scope\", scope=\"orders:admin\"")
    );
}

#[tokio::test]
async fn before_the_first_snapshot_every_wire_answers_503() {
    let world = World::new();
    world.listed.set(false);
    for (target, headers) in [
        ("/ext-authz/policy/shop/orders/health", &[][..]),
        ("/ext-authz/policy/shop/unknown/health", &[]),
        ("/ext-authz/by-host/health", &[]),
        ("/forward-auth/shop/orders", &FORWARDED),
        ("/auth-request/shop/orders", &ORIGINAL),
    ] {
        let (status, headers) = world.http("GET", target, PROXY, headers).await;
        assert_eq!((status, value(&headers, "retry-after")), (503, Some("1")), "{target}");
    }
}
