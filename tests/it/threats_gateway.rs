//! Attacks at the edge of proxy and verifier, through a real Envoy on both wires. The ids are those of the threat list in SECURITY.md.

use crate::support::echo::Echo;
use crate::support::envoy::{Envoy, Wire};
use crate::support::http::{Request, Response, raw};
use crate::support::ports::free_address;
use crate::support::standalone::{HOST, POLICY, Standalone};
use std::net::SocketAddr;

const WIRES: [&str; 2] = ["gRPC", "HTTP"];

/// A verifier, Envoy asking it over both wires for `shop/orders`, and the resource server behind.
struct Edge {
    it: Standalone,
    envoy: Envoy,
    echo: Echo,
}

impl Edge {
    async fn start() -> Self {
        let (it, echo) = (Standalone::start().await, Echo::start().await);
        let envoy = Envoy::start(&wires(it.grpc, it.http, POLICY), echo.address).await;
        Self { it, envoy, echo }
    }

    /// The answers over both wires.
    async fn both(&self, request: Request) -> [(&'static str, Response); 2] {
        let request = request.header("host", HOST);
        let send = async |wire| request.send(self.envoy.listener(wire)).await.expect("Envoy answers");
        [(WIRES[0], send(0).await), (WIRES[1], send(1).await)]
    }

    /// Requires this status over both wires.
    async fn expect(&self, what: &str, status: u16, request: Request) -> [(&'static str, Response); 2] {
        let answers = self.both(request).await;
        for (wire, answer) in &answers {
            assert_eq!(answer.status, status, "{what} over {wire}: {answer:?}");
        }
        answers
    }

    /// Requires that nothing of this request reaches the resource server over either wire.
    async fn stopped(&self, what: &str, request: Request) {
        let before = self.echo.requests();
        for (wire, answer) in self.both(request).await {
            assert!((400..500).contains(&answer.status), "{what} over {wire}: {answer:?}");
        }
        assert_eq!(self.echo.requests(), before, "{what} came through");
    }
}

fn wires(grpc: SocketAddr, http: SocketAddr, policy: &str) -> [Wire; 2] {
    [
        Wire::Grpc { verifier: grpc, policy: Some(policy.to_owned()) },
        Wire::Http { verifier: http, prefix: format!("/ext-authz/policy/{policy}") },
    ]
}

#[tokio::test]
async fn gwy_01_identity_headers_are_ours_alone() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    let spoofed = |request: Request| {
        request
            .header("x-countersign-subject", "admin")
            .header("X-Countersign-Client", "admin")
            .header("x-countersign-client", "root")
            .header("x-countersign-scope", "orders:admin")
            .header("x-countersign-decision", "allow")
            .header("x-countersign-anything", "admin")
    };
    for (wire, answer) in edge.expect("allowed", 200, spoofed(Request::get("/orders/7").bearer(&token))).await {
        let headers = answer.json()["headers"].clone();
        let value = |name: &str| headers[name].clone();
        assert_eq!(value("x-countersign-client"), serde_json::json!(["shop.checkout"]), "{wire}");
        assert_eq!(value("x-countersign-subject"), serde_json::json!(["shop.checkout"]), "{wire}");
        assert_eq!(value("x-countersign-scope"), serde_json::json!(["orders:read orders:write"]), "{wire}");
        assert!(!headers.to_string().contains("admin") && !headers.to_string().contains("root"), "{wire}: {headers}");
    }
    for (wire, answer) in edge.expect("public", 200, spoofed(Request::get("/health"))).await {
        let headers = answer.json()["headers"].to_string();
        assert!(!headers.contains("admin") && !headers.contains("root"), "{wire}: {headers}");
    }
    edge.stopped("underscores", Request::get("/health").header("x_countersign_client", "admin")).await;
}

#[tokio::test]
async fn gwy_02_connection_header_strips_no_identity() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    let request = Request::get("/orders/7").bearer(&token).header("connection", "x-countersign-client");
    for (wire, answer) in edge.both(request).await {
        let kept = answer.status == 200 && answer.json()["headers"]["x-countersign-client"][0] == "shop.checkout";
        assert!(kept || (400..500).contains(&answer.status), "{wire}: {answer:?}");
    }
}

#[tokio::test]
async fn gwy_03_forwarded_names_decide_nothing() {
    let edge = Edge::start().await;
    let names = [
        "x-forwarded-uri",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-forwarded-prefix",
        "x-envoy-original-path",
    ];
    for name in names {
        edge.expect(name, 401, Request::get("/orders/7").header(name, "/health")).await;
    }
    edge.expect("x-forwarded-method", 401, Request::new("DELETE", "/health").header("x-forwarded-method", "GET")).await;
    edge.expect("x-forwarded-host", 401, Request::get("/orders/7").header("x-forwarded-host", "rival.rival.svc")).await;
}

#[tokio::test]
async fn gwy_04_a_path_has_one_reading() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    for path in [
        "/health/..%2forders/7",
        "/orders%2f7",
        "/orders/%252e%252e/health",
        "/orders\\7",
        "/orders/7%00",
        "/orders/%5c7",
        "/orders/%zz",
        "/health;x/../orders/7",
    ] {
        edge.stopped(path, Request::get(path)).await;
    }
    // Envoy normalises these before it asks: what is judged is what the resource server reads.
    for path in ["//health", "/orders/../health", "/./health", "/orders/%2e%2e/health", "/orders/..;/health"] {
        for (wire, answer) in edge.both(Request::get(path)).await {
            let same = answer.status == 200 && answer.json()["target"] == "/health";
            assert!(same || (400..500).contains(&answer.status), "{path} over {wire}: {answer:?}");
        }
    }
    edge.expect("query", 200, Request::get("/orders/7?next=/health").bearer(&token)).await;
    edge.expect("query of a public path", 401, Request::get("/orders/7?/health")).await;
}

#[tokio::test]
async fn gwy_05_one_credential() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    let good = format!("Bearer {token}");
    let get = || Request::get("/orders/7");
    for (what, request) in [
        ("good then bad", get().header("authorization", &good).header("authorization", "Bearer x")),
        ("bad then good", get().header("authorization", "Bearer x").header("authorization", &good)),
        ("twice the same", get().header("authorization", &good).header("authorization", &good)),
        ("joined by comma", get().header("authorization", &format!("{good}, Bearer x"))),
        ("two tokens", get().header("authorization", &format!("{good} {token}"))),
    ] {
        for (wire, answer) in edge.expect(what, 400, request).await {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.contains(r#"error="invalid_request""#), "{what} over {wire}: {answer:?}");
        }
    }
    edge.stopped("tab", get().header("authorization", &format!("bearer\t{token}"))).await;
    edge.stopped("also in the query", Request::get(&format!("/orders/7?access_token={token}")).bearer(&token)).await;
    edge.expect("any case of the scheme", 200, get().header("authorization", &format!("bEARER {token}"))).await;
}

#[tokio::test]
async fn gwy_06_challenges_say_what_is_missing() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    let challenge = |answer: &Response| answer.header("www-authenticate").unwrap_or_default().to_owned();
    for (wire, answer) in edge.expect("no token", 401, Request::get("/orders/7")).await {
        assert!(
            challenge(&answer).starts_with("Bearer") && !challenge(&answer).contains("error"),
            "{wire}: {answer:?}"
        );
    }
    for (wire, answer) in edge.expect("bad token", 401, Request::get("/orders/7").bearer("a.b.c")).await {
        assert!(challenge(&answer).contains(r#"error="invalid_token""#), "{wire}: {answer:?}");
    }
    for (wire, answer) in edge.expect("too little", 403, Request::new("DELETE", "/orders/7").bearer(&token)).await {
        let said = challenge(&answer);
        assert!(
            said.contains(r#"error="insufficient_scope""#) && said.contains(r#"scope="orders:admin""#),
            "{wire}: {said}"
        );
    }
    for (wire, answer) in edge.expect("no rule", 403, Request::get("/elsewhere").bearer(&token)).await {
        assert!(!challenge(&answer).contains("error"), "{wire}: {answer:?}");
    }
    edge.expect("no rule, no token", 401, Request::get("/elsewhere")).await;
}

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

#[tokio::test]
async fn gwy_09_the_effective_method_and_host_decide() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        edge.stopped(name, Request::new("DELETE", "/orders/7").bearer(&token).header(name, "GET")).await;
    }
    edge.stopped("CONNECT", Request::new("CONNECT", "orders.shop.svc:443")).await;
    let upgrade = Request::get("/orders/7").header("upgrade", "websocket").header("connection", "upgrade");
    edge.stopped("upgrade without a token", upgrade).await;
    let preflight = Request::new("OPTIONS", "/orders/7")
        .header("origin", "https://a.example")
        .header("access-control-request-method", "GET");
    edge.stopped("preflight", preflight).await;
    edge.expect("host with port and dot", 200, Request::get("/orders/7").bearer(&token)).await;
    for host in ["ORDERS.shop.svc", "orders.shop.svc:80", "orders.shop", "orders.shop.svc.cluster.local"] {
        let request = Request::get("/orders/7").bearer(&token).header("host", host);
        for (wire, name) in WIRES.iter().enumerate() {
            let answer = request.send(edge.envoy.listener(wire)).await.unwrap();
            assert_eq!(answer.status, 200, "{host} over {name}: {answer:?}");
        }
    }
    let two_hosts =
        "GET /orders/7 HTTP/1.1\r\nhost: orders.shop.svc\r\nhost: rival.rival.svc\r\nconnection: close\r\n\r\n";
    let answer = raw(edge.envoy.listener(0), two_hosts.as_bytes()).await.unwrap();
    assert!((400..500).contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn gwy_10_broken_check_requests_are_refused_and_survived() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    let call = |body: &[u8]| {
        let mut framed = vec![0];
        framed.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(body);
        framed
    };
    for body in [&b""[..], &[0xff; 64], &[0x0a, 0xff, 0xff, 0xff, 0x0f], &[0x0a, 0x02, 0x22, 0x00]] {
        let status = grpc(edge.it.grpc, call(body)).await;
        assert!(status.is_none_or(|allowed| !allowed), "{body:?} was allowed");
    }
    let mut many = Request::get("/orders/7");
    for number in 0..10_000 {
        many = many.header(&format!("x-header-{number}"), "1");
    }
    edge.stopped("10,000 headers", many.clone()).await;
    let direct = many.header("host", HOST).send(edge.it.http).await;
    assert!(direct.is_ok_and(|answer| answer.status >= 400), "10,000 headers at the verifier itself");
    edge.expect("afterwards", 200, Request::get("/orders/7").bearer(&token)).await;
}

/// Calls Check with these bytes; tells whether the answer was OK with an allowing status, if there was one.
async fn grpc(verifier: SocketAddr, framed: Vec<u8>) -> Option<bool> {
    use http_body_util::{BodyExt, Full};
    let stream = tokio::net::TcpStream::connect(verifier).await.ok()?;
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{verifier}/envoy.service.auth.v3.Authorization/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(bytes::Bytes::from(framed)))
        .ok()?;
    let answer = sender.send_request(request).await.ok()?.into_body().collect().await.ok()?;
    driver.abort();
    let grpc_ok =
        answer.trailers().is_some_and(|trailers| trailers.get("grpc-status").is_some_and(|status| status == "0"));
    let message = answer.to_bytes();
    // CheckResponse.status (field 1) is empty, or has no code, only when the request is allowed.
    Some(grpc_ok && (message.len() <= 5 || message[5] != 0x0a || message[6] == 0))
}
