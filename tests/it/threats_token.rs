//! Attacks on the token endpoint, at the real binary. The ids are those of the threat list in SECURITY.md.

use crate::support::http::{Request, Response, raw};
use crate::support::standalone::{AUDIENCE, Standalone, assert_error};
use crate::support::{await_condition, standalone};
use std::time::Duration;

const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const FORM: &str = "application/x-www-form-urlencoded";

fn scopes(answer: &Response) -> Vec<String> {
    let json = answer.json();
    let mut scopes: Vec<_> = json["scope"].as_str().unwrap_or_default().split(' ').map(str::to_owned).collect();
    scopes.sort();
    scopes
}

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
    for twice in [GRANT, ("scope", "orders:read"), ("client_id", "shop.checkout")] {
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

#[tokio::test]
async fn tok_06_unknown_wrong_and_suspended_clients_look_the_same() {
    let it = Standalone::start().await;
    let (_, other) = it.credentials("shop", "orders");
    let attempts = [
        ("shop.nobody", "cs1_wrong"),
        ("shop.checkout", "cs1_wrong"),
        ("shop.checkout", &*other),
        ("shop.suspended", "x"),
    ];
    let mut answers = Vec::new();
    for (id, secret) in attempts {
        let mut answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic(id, secret)).await;
        assert_error(&answer, 401, "invalid_client");
        answer.headers.retain(|(name, _)| name != "date");
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}

#[tokio::test]
async fn tok_07_no_secret_no_token() {
    let it = Standalone::start().await;
    for fields in [vec![GRANT], vec![GRANT, ("client_id", "shop.checkout")]] {
        assert_error(&it.send(Request::form("/oauth2/token", &fields)).await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn tok_08_every_byte_of_a_secret_counts() {
    let it = Standalone::start().await;
    let (id, secret) = it.credentials("shop", "checkout");
    let mut changed = Vec::new();
    for at in [5, 40, 71, 72, secret.len() - 1] {
        let mut bytes = secret.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        changed.push(String::from_utf8(bytes).unwrap());
    }
    changed.extend([
        format!("{secret}A"),
        secret[..secret.len() - 1].to_owned(),
        format!("{secret} "),
        secret.to_uppercase(),
    ]);
    for wrong in changed {
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic(&id, &wrong)).await;
        // Enough wrong ones in a row may also be told to slow down.
        assert!(matches!(answer.status, 401 | 429), "{answer:?}");
    }
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
async fn tok_10_grants_not_allowed_are_refused() {
    let it = Standalone::start().await;
    let (id, secret) = it.credentials("shop", "checkout");
    for (grant, code) in [
        ("password", "unsupported_grant_type"),
        ("implicit", "unsupported_grant_type"),
        ("urn:example:own", "unsupported_grant_type"),
    ] {
        let answer = it.send(Request::form("/oauth2/token", &[("grant_type", grant)]).basic(&id, &secret)).await;
        assert_error(&answer, 400, code);
    }
    let none = it.send(Request::form("/oauth2/token", &[("scope", "orders:read")]).basic(&id, &secret)).await;
    assert_error(&none, 400, "invalid_request");
}

#[tokio::test]
async fn tok_11_only_granted_scopes_are_given() {
    let it = Standalone::start().await;
    let many = (0..10_000).map(|number| format!("s{number} ")).collect::<Vec<_>>().concat();
    for bad in ["orders:admin", "rival:all", "orders:read orders:admin", "a\"b", "a\\b", "ä"] {
        assert_error(&it.ask(&[("scope", bad)]).await, 400, "invalid_scope");
    }
    let answer = it.ask(&[("scope", many.trim_end())]).await;
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    let twice = it.ask(&[("scope", "orders:read orders:read")]).await;
    assert!(twice.status == 400 || scopes(&twice) == ["orders:read"], "{twice:?}");
    assert_eq!(scopes(&it.ask(&[]).await), ["orders:read", "orders:write"]);
}

#[tokio::test]
async fn tok_12_only_known_audiences_are_targets() {
    let it = Standalone::start().await;
    for bad in [
        "https://nowhere.example",
        "/orders",
        "https://orders.shop.svc#part",
        "https://rival.rival.svc",
        "orders.shop.svc",
    ] {
        for parameter in ["resource", "audience"] {
            assert_error(&it.ask(&[(parameter, bad)]).await, 400, "invalid_target");
        }
    }
    assert_eq!(it.ask(&[("resource", AUDIENCE)]).await.status, 200);
    assert_eq!(it.ask(&[("audience", AUDIENCE)]).await.status, 200);
}

#[tokio::test]
async fn tok_13_answers_are_not_stored_and_hold_no_refresh_token() {
    let it = Standalone::start().await;
    let good = it.ask(&[]).await;
    assert_eq!(good.header("cache-control"), Some("no-store"), "{good:?}");
    assert!(good.json()["refresh_token"].is_null());
    assert_eq!(good.json()["token_type"].as_str().map(str::to_lowercase).as_deref(), Some("bearer"));
    let cross = it.send(it.form("/oauth2/token", &[GRANT]).header("origin", "https://evil.example")).await;
    assert!(cross.header("access-control-allow-credentials").is_none(), "{cross:?}");
}

#[tokio::test]
async fn tok_14_secrets_of_others_are_refused() {
    let it = Standalone::start().await;
    let (_, others) = it.credentials("shop", "orders");
    let forged = format!("cs1_{}", "A".repeat(others.len() - 4));
    for secret in [others, forged] {
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic("shop.checkout", &secret)).await;
        assert_error(&answer, 401, "invalid_client");
    }
}

#[tokio::test]
async fn tok_14_old_secret_serves_during_the_overlap() {
    let it = Standalone::start().await;
    let (id, old) = it.credentials("shop", "checkout");
    // A value carries the next whole second; what asks for a newer one must be later than that.
    let at = jiff::Timestamp::from_second(standalone::now().as_second() + 2).unwrap();
    it.edit(
        "metadata: {name: checkout, namespace: shop}",
        &format!("metadata: {{name: checkout, namespace: shop, annotations: {{countersign.dev/rotate-at: \"{at}\"}}}}"),
    );
    let look = async || it.credentials("shop", "checkout").1;
    let new = await_condition("a new secret", Duration::from_secs(15), look, |value| *value != old).await;
    for secret in [&old, &new] {
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic(&id, secret)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn tok_15_a_suspended_client_gets_nothing_and_its_tokens_die() {
    let it = Standalone::start().await;
    let token = it.token().await;
    assert_eq!(it.check(&token).await.status, 200);
    assert_eq!(it.introspect(&token).await["active"], true);
    it.edit("namespace: shop}\nspec:\n  access: [{audience: \"https://orders.shop.svc\", scopes: [\"orders:read\", \"orders:write\"]}]",
        "namespace: shop}\nspec:\n  state: Suspended\n  access: [{audience: \"https://orders.shop.svc\", scopes: [\"orders:read\", \"orders:write\"]}]",
    );
    standalone::assert_invalid_token(&it.refused(&token).await);
    assert_eq!(it.introspect(&token).await["active"], false);
    assert_error(&it.ask(&[]).await, 401, "invalid_client");
}

#[tokio::test]
async fn tok_16_guessing_is_slowed_but_the_right_caller_gets_in() {
    let it = Standalone::start().await;
    let mut slowed = None;
    for attempt in 0..400 {
        let wrong = format!("cs1_guess{attempt}");
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic("shop.checkout", &wrong)).await;
        if answer.status == 429 {
            slowed = Some(answer);
            break;
        }
    }
    let slowed = slowed.expect("guesses are slowed");
    assert!(slowed.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), "{slowed:?}");
    assert_eq!(it.ask(&[]).await.status, 200, "the right secret is never locked out");
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
