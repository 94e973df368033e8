//! The token endpoint: what is asked for, and what comes back.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use countersign_core::client::GrantType;
use countersign_core::timings::Timings;
use countersign_core::token::{AccessToken, verify};
use serde_json::json;

use super::world::{AUDIENCE, BEGAN, ISSUER, World, basic, encode};

fn read(world: &World, token: &str) -> AccessToken {
    verify(token, &world.live.load().keys, ISSUER, world.clock.now(), &Timings::default()).unwrap()
}

#[tokio::test]
async fn a_client_gets_a_token_with_the_claims_of_rfc_9068() {
    let world = World::new();
    let answer = world.token(&[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!((&answer.body["token_type"], &answer.body["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(answer.body["scope"], "orders:read orders:write");
    let token = read(&world, answer.body["access_token"].as_str().unwrap());
    assert_eq!(token.audience.as_str(), AUDIENCE);
    assert_eq!((&*token.subject, token.client_id.as_str()), ("shop.checkout", "shop.checkout"));
    assert_eq!((token.issued_at, token.expires_at), (BEGAN, BEGAN + 900));
    assert_eq!((token.client_uid.unwrap().as_str(), token.client_epoch), ("uid-shop-checkout", 1));
    assert_ne!(world.access_token().await, world.access_token().await, "each has its own jti");
}

#[tokio::test]
async fn private_claims_are_added_and_the_epoch_is_the_larger_known() {
    let world = World::new();
    world.change_spec("shop.checkout", |spec| {
        spec.tokens.claims.insert("tier".to_owned(), json!("gold"));
    });
    world.change_client("shop.checkout", |object| object.epoch = 7);
    let token = read(&world, &world.access_token().await);
    assert_eq!((&token.claims["tier"], token.client_epoch), (&json!("gold"), 7));
}

#[tokio::test]
async fn tok_01_get_is_not_allowed() {
    let world = World::new();
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let request = Request::builder().method(Method::GET).uri(path).body(Body::empty()).unwrap();
        let answer = world.send(request, "192.0.2.1").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers[header::ALLOW], "POST");
    }
}

#[tokio::test]
async fn tok_02_only_a_form_in_the_body_is_read() {
    let world = World::new();
    let form = encode(&[("grant_type", "client_credentials")]);
    let secret = world.secret("shop.checkout", 0);
    let good = || basic("/oauth2/token", ("shop.checkout", &secret), form.clone());
    assert_eq!(world.send(good(), "192.0.2.1").await.status, StatusCode::OK);

    let mut json = good();
    json.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    let mut untyped = good();
    untyped.headers_mut().remove(header::CONTENT_TYPE);
    let mut query = good();
    *query.uri_mut() = "/oauth2/token?scope=orders:read".parse().unwrap();
    for request in [json, untyped, query] {
        assert_eq!(world.send(request, "192.0.2.1").await.error(), (400, "invalid_request"));
    }
}

#[tokio::test]
async fn tok_03_each_parameter_counts_once_empty_ones_not_at_all_and_unknown_ones_never() {
    let world = World::new();
    let who = ("shop.checkout", &*world.secret("shop.checkout", 0));
    let grant = ("grant_type", "client_credentials");
    for twice in
        [vec![grant, grant], vec![grant, ("scope", "a"), ("scope", "a")], vec![grant, ("code", ""), ("code", "")]]
    {
        assert_eq!(world.post("/oauth2/token", who, &twice).await.error(), (400, "invalid_request"), "{twice:?}");
    }
    assert_eq!(world.token(&[("scope", ""), ("resource", ""), ("unknown", "x")]).await.status, StatusCode::OK);
    assert_eq!(world.post("/oauth2/token", who, &[]).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn tok_10_other_grants_are_refused() {
    let world = World::new();
    let who = ("shop.checkout", &*world.secret("shop.checkout", 0));
    for grant in ["password", "implicit", "authorization_code", "refresh_token", "Client_Credentials", "x"] {
        let answer = world.post("/oauth2/token", who, &[("grant_type", grant)]).await;
        assert_eq!(answer.error(), (400, "unsupported_grant_type"), "{grant}");
    }
    world.change_spec("shop.checkout", |spec| spec.grant_types = vec![GrantType::ClientCredentials]);
    assert_eq!(world.token(&[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tok_11_scopes_beyond_the_grant_are_refused_and_what_is_granted_is_said() {
    let world = World::new();
    for scope in [
        "orders:admin",
        "orders:read orders:admin",
        "nope",
        "a\"b",
        "a  b",
        " ",
        "orders:read ",
        "ö",
        "orders:read orders:read",
    ] {
        assert_eq!(world.token(&[("scope", scope)]).await.error(), (400, "invalid_scope"), "{scope:?}");
    }
    let many: Vec<String> = (0..5_000).map(|n| format!("s{n}")).collect();
    assert_eq!(world.token(&[("scope", &many.join(" "))]).await.error(), (400, "invalid_scope"));
    let answer = world.token(&[("scope", "orders:read")]).await;
    assert_eq!((answer.status, &answer.body["scope"]), (StatusCode::OK, &json!("orders:read")));
}

#[tokio::test]
async fn tok_12_targets_that_are_none_are_refused() {
    let world = World::new();
    for name in ["resource", "audience"] {
        for target in [
            "https://unknown.example.com",
            "orders",
            "/orders",
            "https://orders.shop.svc#x",
            "https://orders.shop.svc/",
        ] {
            assert_eq!(world.token(&[(name, target)]).await.error(), (400, "invalid_target"), "{name}={target}");
        }
        assert_eq!(world.token(&[(name, AUDIENCE)]).await.status, StatusCode::OK);
    }
    let two = [("resource", AUDIENCE), ("resource", "https://other.example.com")];
    assert_eq!(world.token(&two).await.error(), (400, "invalid_target"));
}

#[tokio::test]
async fn tok_13_answers_are_not_stored_and_hold_no_refresh_token() {
    let world = World::new();
    for answer in [world.token(&[]).await, world.token(&[("scope", "nope")]).await] {
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(answer.headers[header::PRAGMA], "no-cache");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
        assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert!(answer.body.get("refresh_token").is_none());
    }
}
