//! Envoy `ext_authz` over gRPC: answers and the gateway threats.

use std::collections::HashMap;

use axum::body::Body;
use bytes::{BufMut, BytesMut};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use http_body_util::BodyExt;
use prost::Message;
use tower::ServiceExt;

use super::*;

/// One question Envoy could ask.
#[derive(Clone)]
struct Call {
    policy: Option<&'static str>,
    http: HttpRequest,
}

/// What Envoy would make of the answer: status, headers set or sent, headers removed.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) status: i32,
    headers: BTreeMap<String, String>,
    removed: Vec<String>,
    code: i32,
}

fn call(method: &str, path: &str) -> Call {
    let http = HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        host: "orders.shop".to_owned(),
        scheme: "https".to_owned(),
        ..HttpRequest::default()
    };
    Call { policy: Some("shop/orders"), http }
}

impl Call {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.http.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    fn raw(mut self, name: &str, value: &[u8]) -> Self {
        let map = self.http.header_map.get_or_insert_with(HeaderMap::default);
        map.headers.push(HeaderValue { key: name.to_owned(), value: String::new(), raw_value: value.to_vec() });
        self
    }

    fn host(mut self, host: &str) -> Self {
        self.http.host = host.to_owned();
        self
    }

    fn named(mut self, policy: Option<&'static str>) -> Self {
        self.policy = policy;
        self
    }

    fn message(self) -> CheckRequest {
        let context_extensions: HashMap<_, _> =
            self.policy.into_iter().map(|policy| ("countersign.dev/policy".to_owned(), policy.to_owned())).collect();
        let request = Some(Request { http: Some(self.http), ..Request::default() });
        let attributes = Some(AttributeContext { request, context_extensions, ..AttributeContext::default() });
        CheckRequest { attributes }
    }
}

impl World {
    /// Asks for an order, with these headers.
    #[cfg(feature = "otlp")]
    pub(super) async fn grpc_order(&self, headers: &[(&str, &str)]) -> i32 {
        let asked = headers.iter().fold(call("GET", "/orders/7"), |call, (name, value)| call.header(name, value));
        self.status(asked).await
    }

    async fn grpc(&self, call: Call) -> Seen {
        self.grpc_bytes(&call.message().encode_to_vec()).await
    }

    pub(super) async fn grpc_bytes(&self, message: &[u8]) -> Seen {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).expect("a short message"));
        frame.put_slice(message);
        self.grpc_body(Body::from(frame.freeze())).await
    }

    async fn grpc_body(&self, body: Body) -> Seen {
        let request = axum::http::Request::post("/envoy.service.auth.v3.Authorization/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .expect("a request");
        let response = self.verifier.grpc_service().oneshot(request).await.expect("an answer");
        assert_eq!(
            response.headers().get("content-type").map(axum::http::HeaderValue::as_bytes),
            Some(&b"application/grpc"[..])
        );
        let body = response.into_body().collect().await.expect("a body");
        let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
        assert_eq!(status.map(axum::http::HeaderValue::as_bytes), Some(&b"0"[..]), "never a gRPC error");
        let mut body = body.to_bytes();
        let answer = CheckResponse::decode(body.split_off(5)).expect("a CheckResponse");
        seen(answer)
    }

    async fn status(&self, call: Call) -> i32 {
        self.grpc(call).await.status
    }
}

fn seen(answer: CheckResponse) -> Seen {
    let code = answer.status.expect("a status").code;
    let (status, headers, removed) = match answer.http_response.expect("an HTTP answer") {
        HttpResponse::OkResponse(ok) => (200, ok.headers, ok.headers_to_remove),
        HttpResponse::DeniedResponse(denied) => (denied.status.expect("a status").code, denied.headers, vec![]),
        HttpResponse::ErrorResponse(_) => panic!("a client's doing is never an error of ours"),
    };
    let headers = headers.into_iter().map(|option| {
        assert_eq!(option.append_action, 2, "overwrites");
        let header = option.header.expect("a header");
        (header.key, header.value)
    });
    Seen { status, headers: headers.collect(), removed, code }
}

#[tokio::test]
async fn a_call_with_the_scope_passes_as_its_client() {
    let world = World::new();
    let answer = world.grpc(call("GET", "/orders/7").header("authorization", &world.bearer("orders:read"))).await;
    let expected = [
        ("x-countersign-client", "shop.checkout"),
        ("x-countersign-decision", "allow"),
        ("x-countersign-scope", "orders:read"),
        ("x-countersign-subject", "shop.checkout"),
    ];
    assert_eq!((answer.status, answer.code), (200, 0));
    assert_eq!(answer.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(answer.removed.iter().all(|name| name.contains('_')), "{:?}", answer.removed);
}

#[tokio::test]
async fn gwy_06_each_refusal_has_its_status_its_challenge_and_its_code() {
    let world = World::new();
    let bearer = world.bearer("orders:read");
    for (call, status, code, challenge) in [
        (call("GET", "/orders/7"), 401, 16, Some("Bearer realm=\"countersign\"")),
        (
            call("DELETE", "/orders/7").header("authorization", &bearer),
            403,
            7,
            Some("Bearer realm=\"countersign\", error=\"insufficient_scope\", scope=\"orders:admin\""),
        ),
        (call("GET", "/nothing").header("authorization", &bearer), 403, 7, None),
        (
            call("GET", "/orders/7").header("authorization", "Bearer a.b.c"),
            401,
            16,
            Some("Bearer realm=\"countersign\", error=\"invalid_token\""),
        ),
        (call("GET", "//orders/7"), 400, 3, Some("Bearer realm=\"countersign\", error=\"invalid_request\"")),
    ] {
        let answer = world.grpc(call).await;
        assert_eq!((answer.status, answer.code), (status, code));
        assert_eq!(answer.headers.get("www-authenticate").map(String::as_str), challenge);
    }
}

#[tokio::test]
async fn the_policy_is_the_one_the_proxy_names_whatever_host_the_request_names() {
    let world = World::new();
    let with = |policy, host: &str| call("GET", "/health").named(policy).host(host);
    assert_eq!(world.status(with(Some("shop/orders"), "orders.shop.svc.cluster.local:8080")).await, 200);
    assert_eq!(world.status(with(Some("shop/*"), "orders.shop.svc")).await, 200);
    assert_eq!(world.status(with(Some("by-host"), "billing.other.svc")).await, 200);
    assert_eq!(world.status(with(Some("shop/orders"), "billing.other.svc")).await, 401);
    for policy in [None, Some("shop/unknown"), Some("nobody/*"), Some("*/*"), Some(""), Some("shop")] {
        assert_eq!(world.status(with(policy, "orders.shop")).await, 403, "{policy:?}");
    }
    let token = world.bearer("orders:read");
    let foreign =
        call("GET", "/orders/7").named(Some("shop/orders")).host("billing.other").header("authorization", &token);
    assert_eq!(world.status(foreign).await, 403);
    let own =
        call("GET", "/orders/7").named(Some("other/billing")).host("billing.other").header("authorization", &token);
    assert_eq!(world.status(own).await, 401, "another tenant's token");
}

#[tokio::test]
async fn gwy_01_the_callers_own_identity_headers_are_removed_in_every_spelling() {
    let world = World::new();
    let spellings = ["X-Countersign-Subject", "x_countersign_client", "x-countersign_scope", "x.countersign.extra"];
    let forged = |call: Call| spellings.iter().fold(call, |call, name| call.header(name, "admin"));
    let public = world.grpc(forged(call("GET", "/health"))).await;
    assert_eq!(public.headers, BTreeMap::from([("x-countersign-decision".to_owned(), "public".to_owned())]));
    for name in ["x-countersign-subject", "x-countersign-client", "x-countersign-scope"].into_iter().chain(spellings) {
        assert!(public.removed.contains(&name.to_ascii_lowercase()), "{name} in {:?}", public.removed);
    }
    let marks =
        call("OPTIONS", "/orders/7").header("origin", "https://web").header("access-control-request-method", "GET");
    let preflight = world.grpc(forged(marks)).await;
    assert_eq!((preflight.status, preflight.headers["x-countersign-decision"].as_str()), (200, "preflight"));
    assert!(preflight.removed.contains(&"x-countersign-subject".to_owned()));
    let allowed =
        world.grpc(forged(call("GET", "/orders/7").header("authorization", &world.bearer("orders:read")))).await;
    assert_eq!(allowed.headers["x-countersign-subject"], "shop.checkout");
    assert!(allowed.removed.contains(&"x-countersign_scope".to_owned()));
}

#[tokio::test]
async fn gwy_02_identity_headers_cannot_be_made_hop_by_hop() {
    let world = World::new();
    let nominated = call("GET", "/health").header("connection", "close, x-countersign-subject");
    assert_eq!(world.status(nominated).await, 400);
}

#[tokio::test]
async fn gwy_03_headers_that_rewrite_the_path_play_no_part() {
    let world = World::new();
    for name in ["x-forwarded-uri", "x-original-url", "x-forwarded-prefix", "x-rewrite-url", "x-envoy-original-path"] {
        let forged = call("GET", "/orders/7").header(name, "/health").header("x-forwarded-method", "OPTIONS");
        assert_eq!(world.status(forged).await, 401, "{name}");
    }
}

#[tokio::test]
async fn gwy_04_a_path_two_readers_could_read_differently_is_refused() {
    let world = World::new();
    for path in [
        "//health",
        "/a/..;/health",
        "/%2e%2e/health",
        "/health%2f",
        "/health\\",
        "/health;x",
        "/%252e/health",
        "http://orders.shop/health",
        "/health#x",
        "/health?x#y",
        "/health#",
        "/./health",
        "/health%00",
        "",
        "*",
    ] {
        assert_eq!(world.status(call("GET", path)).await, 400, "{path}");
    }
    assert_eq!(world.status(call("GET", "/%68ealth?x=/../")).await, 200);
    assert_eq!(world.status(call("GET", "/health%20")).await, 401);
}

#[tokio::test]
async fn gwy_05_more_than_one_credential_is_refused() {
    let world = World::new();
    let bearer = world.bearer("orders:read");
    for value in
        [format!("{bearer},{bearer}"), bearer.replace(' ', "\t"), bearer.replace(' ', "  "), format!("{bearer} x")]
    {
        assert_eq!(world.status(call("GET", "/orders/7").header("authorization", &value)).await, 400, "{value}");
    }
    let twice =
        call("GET", "/orders/7").raw("authorization", bearer.as_bytes()).raw("Authorization", bearer.as_bytes());
    assert_eq!(world.status(twice).await, 400);
    let in_query = call("GET", "/orders/7?access_token=x").header("authorization", &bearer);
    assert_eq!(world.status(in_query).await, 400);
    assert_eq!(
        world.status(call("GET", "/orders/7").header("authorization", &bearer.replace("Bearer", "bEARER"))).await,
        200
    );
    assert_eq!(world.status(call("GET", "/orders/7").raw("authorization", bearer.as_bytes())).await, 200);
}

#[tokio::test]
async fn gwy_07_without_keys_or_policies_nothing_protected_passes() {
    let world = World::new();
    let bearer = world.bearer("orders:read");
    let ask = || call("GET", "/orders/7").header("authorization", &bearer);
    world.change(|snapshot| snapshot.keys = Arc::new(KeySet::build([], [])));
    let answer = world.grpc(ask()).await;
    assert_eq!((answer.status, answer.code), (503, 14));
    assert_eq!(answer.headers.get("retry-after").map(String::as_str), Some("1"));
    let fresh = world.key.sign(&world.key.header(), &World::claims("orders:admin"));
    assert_eq!(
        world.status(call("DELETE", "/orders/7").header("authorization", &format!("Bearer {fresh}"))).await,
        503
    );
    world.live.publish(snapshot(&[], &[world.key.ring(KeyState::Active)]));
    assert_eq!(world.status(ask()).await, 403);
    assert_eq!(world.status(call("GET", "/health").named(Some("by-host"))).await, 403);
}

#[tokio::test]
async fn before_the_first_snapshot_the_answer_is_503_and_no_verdict() {
    let world = World::new();
    world.listed.set(false);
    for policy in ["shop/orders", "shop/unknown", "shop/*", "by-host"] {
        let answer = world.grpc(call("GET", "/health").named(Some(policy))).await;
        assert_eq!((answer.status, answer.code), (503, 14), "{policy}");
        assert_eq!(answer.headers.get("retry-after").map(String::as_str), Some("1"), "{policy}");
    }
    assert_eq!(world.status(call("GET", "/health").named(None)).await, 403, "that is the proxy's own fault");
    assert_eq!(world.status(call("GET", "//health")).await, 400, "and that the caller's");
    let text = world.metrics.encode().expect("metrics");
    assert!(text.contains("countersign_verifier_reasons_total{reason=\"NotReady\"} 4"), "{text}");
    world.listed.ready();
    assert_eq!(world.status(call("GET", "/health")).await, 200);
}

#[tokio::test]
async fn gwy_09_the_effective_request_is_judged_and_nothing_overrides_it() {
    let world = World::new();
    let bearer = world.bearer("orders:read");
    let get = || call("GET", "/orders/7").header("authorization", &bearer);
    assert_eq!(world.status(get().header("x-http-method-override", "DELETE")).await, 400);
    assert_eq!(world.status(get().header(":authority", "orders.shop").header("host", "billing.other")).await, 400);
    assert_eq!(world.status(get().header("upgrade", "websocket").header("connection", "upgrade")).await, 200);
    assert_eq!(world.status(call("CONNECT", "").header("authorization", &bearer)).await, 400);
    assert_eq!(world.status(call("get", "/orders/7").header("authorization", &bearer)).await, 400);
    let rpc =
        call("POST", "/shop.Orders/Get").header("content-type", "application/grpc").header("authorization", &bearer);
    assert_eq!(world.status(rpc).await, 200);
    assert_eq!(world.status(call("POST", "/shop.Orders/Other").header("authorization", &bearer)).await, 403);
}

#[tokio::test]
async fn gwy_10_a_message_that_cannot_be_read_is_a_denial_and_no_error() {
    let world = World::new();
    let whole = call("GET", "/health").message().encode_to_vec();
    assert_eq!(world.grpc_bytes(&whole[..whole.len() - 3]).await.status, 400);
    assert_eq!(world.grpc_bytes(b"\xff\xff\xff").await.status, 400);
    assert_eq!(world.grpc_bytes(b"").await.status, 400);
    let mut not_utf8 = whole.clone();
    let at = not_utf8.windows(6).position(|bytes| bytes == b"health").expect("the path");
    not_utf8[at] = 0xff;
    assert_eq!(world.grpc_bytes(&not_utf8).await.status, 400);
    let many = (0..10_000).fold(call("GET", "/health"), |call, n| call.header(&format!("x-{n}"), "a"));
    assert_eq!(world.status(many).await, 400);
    assert_eq!(world.status(call("GET", "/health").header("a", "b").raw("a", b"b")).await, 400);
    assert_eq!(world.status(call("GET", "/health").raw("x-a", b"\xff\xfe")).await, 200);
}

#[tokio::test(start_paused = true)]
async fn gwy_10_a_message_too_large_too_slow_or_broken_off_is_a_denial_and_no_error() {
    let world = World::new();
    let large = |size: usize| call("GET", "/health").header("x-large", &"a".repeat(size));
    assert_eq!(world.status(large(900 << 10)).await, 200);
    assert_eq!(world.status(large(1 << 20)).await, 400);
    let whole = [&[0, 0, 0, 0, 9][..], &[b'a'; 8]].concat();
    for broken in [whole.clone(), whole[..4].to_vec(), vec![], [&[1][..], &whole[1..]].concat(), vec![0; 10]] {
        assert_eq!(world.grpc_body(Body::from(broken)).await.status, 400);
    }
    let begun = futures::stream::iter([Ok::<_, std::io::Error>(whole)]);
    let never_ends = Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()));
    assert_eq!(world.grpc_body(never_ends).await.status, 400);
}

#[tokio::test]
async fn a_condition_sees_single_headers_and_never_credentials() {
    let world = World::new();
    let ask = |path: &str| call("GET", path).header("authorization", &world.bearer("orders:read"));
    assert_eq!(world.status(ask("/tenants/t1").header("x-tenant", "t1")).await, 200);
    assert_eq!(world.status(ask("/tenants/t2").header("x-tenant", "t1")).await, 403);
    assert_eq!(world.status(ask("/tenants/t1")).await, 403);
}

#[tokio::test]
async fn verdicts_are_counted_by_wire_and_reason() {
    let world = World::new();
    world.grpc(call("GET", "/health")).await;
    world.grpc(call("GET", "/orders/7")).await;
    world.grpc(call("GET", "/health").named(None)).await;
    let text = world.metrics.encode().expect("metrics");
    for line in [
        "countersign_verifier_verdicts_total{wire=\"ext_authz_grpc\",outcome=\"allow\"} 1",
        "countersign_verifier_verdicts_total{wire=\"ext_authz_grpc\",outcome=\"unauthorized\"} 1",
        "countersign_verifier_reasons_total{reason=\"Public\"} 1",
        "countersign_verifier_reasons_total{reason=\"NoPolicyNamed\"} 1",
        "countersign_verifier_reasons_total{reason=\"NotReady\"} 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("Other"), "{text}");
}
