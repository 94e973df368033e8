//! Requests that are none, or several in one: TOK-01 to -05, -09, -17.

use super::{FORM, GRANT, SOON, scopes};
use crate::support::await_condition;
use crate::support::http::{Request, raw};
use crate::support::standalone::{Standalone, assert_error};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn tok_01_only_post_asks_for_tokens() {
    let it = Standalone::start().await;
    for method in ["GET", "PUT", "DELETE"] {
        let answer = it.send(Request::new(method, "/oauth2/token?grant_type=client_credentials")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}: {answer:?}");
    }
}

#[tokio::test]
async fn tok_02_only_a_form_in_the_body_counts() {
    let it = Standalone::start().await;
    let (id, secret) = it.credentials("shop", "checkout");
    let request = |target| Request::new("POST", target).basic(&id, &secret);
    let json = request("/oauth2/token").body("application/json", br#"{"grant_type":"client_credentials"}"#);
    let bare = Request::new("POST", "/oauth2/token").basic(&id, &secret).header("content-length", "0");
    let query = request("/oauth2/token?grant_type=client_credentials").body(FORM, b"scope=orders:read");
    for bad in [json, bare, query] {
        let answer = it.send(bad).await;
        assert!(matches!(answer.status, 400 | 415), "{answer:?}");
    }
}

#[tokio::test]
async fn tok_03_parameters_count_once() {
    let it = Standalone::start().await;
    for twice in [GRANT, ("scope", "orders:read"), ("client_id", "shop.checkout"), ("code", "a"), ("unheard_of", "1")] {
        assert_error(&it.ask(&[twice, twice]).await, 400, "invalid_request");
    }
    let plain = it.ask(&[("scope", ""), ("resource", ""), ("unheard_of", "1")]).await;
    assert_eq!((plain.status, scopes(&plain)), (200, vec!["orders:read".to_owned(), "orders:write".to_owned()]));
}

#[tokio::test]
async fn tok_04_one_client_authentication_at_a_time() {
    let it = Standalone::start().await;
    let (_, secret) = it.credentials("shop", "checkout");
    let assertion = [
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", "a.b.c"),
    ];
    assert_error(&it.ask(&[("client_secret", &secret)]).await, 400, "invalid_request");
    assert_error(&it.ask(&assertion).await, 400, "invalid_request");
    assert_error(&it.ask(&[("client_id", "shop.orders")]).await, 400, "invalid_request");
    assert_eq!(it.ask(&[("client_id", "shop.checkout")]).await.status, 200);
}

#[tokio::test]
async fn tok_05_malformed_basic_is_an_unknown_client() {
    use base64::Engine;
    let it = Standalone::start().await;
    let basic = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let bad = [
        basic(b"no-colon"),
        "%%%".to_owned(),
        basic(b"shop.checkout:%ZZ"),
        basic(b"shop.checkout:\xff\xfe"),
        basic(b"shop.checkout:a\0b"),
        basic(b":secret"),
    ];
    for value in bad {
        let request = Request::form("/oauth2/token", &[GRANT]).header("authorization", &format!("Basic {value}"));
        let answer = it.send(request).await;
        assert_error(&answer, 401, "invalid_client");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Basic")), "{answer:?}");
    }
    let (id, secret) = it.credentials("shop", "checkout");
    let encoded = id.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic(&encoded, &secret)).await;
    assert_eq!(answer.status, 200, "a form-encoded id is the id: {answer:?}");
}

/// Both halves of Basic are form-encoded, which matters once a secret holds what forms escape.
#[tokio::test]
async fn tok_05_a_secret_of_awkward_characters_is_taken_as_it_is() {
    let it = Standalone::start().await;
    let secret = ":%+&=/?#Tr0ub4dor-3-correct%20horses:battery+staple";
    let manifests = format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: awkward-oauth, namespace: shop, annotations: {{countersign.dev/client: awkward}}}}
stringData: {{client_secret: '{secret}'}}
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {{name: awkward, namespace: shop}}
spec:
  access: [{{audience: 'https://orders.shop.svc', scopes: ['orders:read']}}]
  authentication: {{methods: [{{type: ClientSecret, secret: {{mode: Reference}}}}]}}
"
    );
    std::fs::write(it.manifests().join("awkward.yaml"), manifests).unwrap();
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let ask =
        async |secret: &str| it.send(Request::form("/oauth2/token", &[GRANT]).basic("shop.awkward", secret)).await;
    await_condition("the client", SOON, async || ask(&encoded).await, |answer| answer.status == 200).await;
    let in_form = Request::form("/oauth2/token", &[GRANT, ("client_id", "shop.awkward"), ("client_secret", secret)]);
    assert_eq!(it.send(in_form).await.status, 200);
    assert_error(&ask(secret).await, 401, "invalid_client");
    assert_error(&ask(&secret.replace("%20", " ")).await, 401, "invalid_client");
}

#[tokio::test]
async fn tok_09_large_requests_are_refused_unread() {
    let it = Standalone::start().await;
    let huge = "x".repeat(1 << 20);
    let many = (0..10_000).map(|number| format!("p{number}=1&")).collect::<Vec<_>>().concat();
    let (id, secret) = it.credentials("shop", "checkout");
    let request = |body: &str| Request::new("POST", "/oauth2/token").basic(&id, &secret).body(FORM, body.as_bytes());
    let bodies =
        [format!("grant_type=client_credentials&client_secret={huge}"), format!("{many}grant_type=client_credentials")];
    for body in bodies {
        let answer = it.send(request(&body)).await;
        assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    }
}

#[tokio::test]
async fn tok_09_a_secret_of_a_megabyte_is_refused_in_either_place() {
    let it = Standalone::start().await;
    let huge = "x".repeat(1 << 20);
    let answer = Request::form("/oauth2/token", &[GRANT]).basic("shop.checkout", &huge).send(it.issuer).await;
    assert!(answer.is_ok_and(|answer| matches!(answer.status, 400 | 431)));
    // As large as what still fits a body: one digest, and no.
    let fits = "x".repeat(60 << 10);
    let answer =
        it.send(Request::form("/oauth2/token", &[GRANT, ("client_id", "shop.checkout"), ("client_secret", &fits)]));
    assert_error(&answer.await, 401, "invalid_client");
    assert_eq!(it.ask(&[]).await.status, 200);
}

#[tokio::test]
async fn tok_17_ambiguous_framing_is_refused() {
    let it = Standalone::start().await;
    let body = "grant_type=client_credentials";
    let head = format!("POST /oauth2/token HTTP/1.1\r\nhost: {}\r\ncontent-type: {FORM}\r\n", it.issuer);
    let length = body.len();
    let requests = [
        format!(
            "{head}content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        ),
        format!("{head}content-length: {length}\r\ncontent-length: 5\r\n\r\n{body}"),
        format!("{head}x-folded: a\r\n b\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("{head}content-length: +{length}\r\n\r\n{body}"),
        format!("{head}content-length : {length}\r\n\r\n{body}"),
        format!("{head}content-length: {length}\n\r\n{body}"),
        format!("{head}x-bare: a\nb: c\r\ncontent-length: {length}\r\n\r\n{body}"),
    ];
    for request in requests {
        match raw(it.issuer, request.as_bytes()).await {
            Ok(answer) => assert_eq!(answer.status, 400, "{request:?} got {answer:?}"),
            Err(closed) => assert_ne!(closed.kind(), std::io::ErrorKind::TimedOut, "{request:?}"),
        }
    }
}

#[tokio::test]
async fn tok_17_chunks_that_end_in_two_ways_are_refused() {
    let it = Standalone::start().await;
    let (id, secret) = it.credentials("shop", "checkout");
    let basic = format!(
        "Basic {}",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{id}:{secret}"))
    );
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nhost: {}\r\ncontent-type: {FORM}\r\nauthorization: {basic}\r\ntransfer-encoding: chunked\r\n\r\n",
        it.issuer
    );
    let body = "grant_type=client_credentials";
    let good = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(raw(it.issuer, good.as_bytes()).await.unwrap().status, 200);
    for chunks in ["0\r\n\r\n", "\r\n\r\n", "-1\r\n", "0x1d\r\n", "ffffffffffffffffff\r\n", "1d;\n", "1d\n", "1d \r\nx"]
    {
        let request = format!("{head}{chunks}{body}\r\n0\r\n\r\n");
        match raw(it.issuer, request.as_bytes()).await {
            Ok(answer) => assert_eq!(answer.status, 400, "{chunks:?} got {answer:?}"),
            Err(closed) => assert_ne!(closed.kind(), std::io::ErrorKind::TimedOut, "{chunks:?}"),
        }
    }
}

/// Whoever sends a body a byte a minute is told so, or cut off, and holds nobody up.
#[tokio::test]
async fn tok_17_a_slow_body_has_a_deadline() {
    let it = Standalone::start().await;
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nhost: {}\r\ncontent-type: {FORM}\r\ncontent-length: 29\r\n\r\ngrant",
        it.issuer
    );
    let mut stream = TcpStream::connect(it.issuer).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(it.ask(&[]).await.status, 200, "others are served meanwhile");
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await.expect("an end").unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") || answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
}
