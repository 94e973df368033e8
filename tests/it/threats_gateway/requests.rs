//! Requests a backend might read otherwise: GWY-04, -09.

use super::{Edge, WIRES};
use crate::support::http::{Request, raw};

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

/// A gRPC call is a POST to a path of two segments; its name is no way around the rules.
#[tokio::test]
async fn gwy_09_grpc_calls_are_requests_like_any_other() {
    let edge = Edge::start().await;
    let token = edge.it.token().await;
    let call =
        |path: &str| Request::new("POST", path).header("content-type", "application/grpc").header("te", "trailers");
    for path in ["/shop.Orders/Get", "/orders/7", "/health"] {
        for (wire, answer) in edge.both(call(path)).await {
            // To a gRPC client Envoy tells a refusal as the status of the call: 16 for 401, 7 for 403.
            let told = answer.header("grpc-status").is_some_and(|status| ["7", "16"].contains(&status));
            assert!(
                (400..500).contains(&answer.status) || (answer.status == 200 && told),
                "{path} over {wire}: {answer:?}"
            );
        }
        for (wire, answer) in edge.both(call(path).bearer(&token)).await {
            let told = answer.header("grpc-status") == Some("7");
            assert!(answer.status == 403 || (answer.status == 200 && told), "{path} over {wire}: {answer:?}");
        }
    }
    assert_eq!(edge.echo.requests(), 0);
}
