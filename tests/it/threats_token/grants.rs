//! Grants, scopes and audiences nobody may have: TOK-10 to -13.

use super::{GRANT, scopes};
use crate::support::http::Request;
use crate::support::standalone::{AUDIENCE, Standalone, assert_error};

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
