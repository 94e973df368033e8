//! Headers that would say who calls, or several things at once: GWY-01, -02, -03, -05, -06.

use super::Edge;
use crate::ext_authz::{check, question};
use crate::support::http::{Request, Response};
use crate::support::standalone::Standalone;

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

/// What a proxy that lets underscores through has to take away.
#[tokio::test]
async fn gwy_01_every_spelling_of_an_identity_header_is_taken_away() {
    let it = Standalone::start().await;
    let names = [
        "x_countersign_client",
        "X-Countersign_Subject",
        "x.countersign.scope",
        "X-COUNTERSIGN-ROLE",
        "x-countersign-",
    ];
    let good = format!("Bearer {}", it.token().await);
    for (path, token) in [("/orders/7", Some(&*good)), ("/health", None)] {
        let headers: Vec<_> =
            names.into_iter().map(|name| (name, "admin")).chain(token.map(|token| ("authorization", token))).collect();
        let seen = check(it.grpc, &question("GET", path, &headers)).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        let http = it
            .verdict("GET", path, |request| {
                headers.iter().fold(request, |request, (name, value)| request.header(name, value))
            })
            .await;
        assert_eq!(http.status, 200, "{http:?}");
        let removed = http.header("x-envoy-auth-headers-to-remove").unwrap_or_default().to_owned();
        for name in names.map(str::to_lowercase) {
            assert!(seen.removed.contains(&name), "{name} over gRPC: {seen:?}");
            assert!(removed.split(',').any(|removed| removed == name), "{name} over HTTP: {removed}");
        }
        assert!(!seen.headers.values().any(|value| value == "admin"), "{seen:?}");
    }
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
