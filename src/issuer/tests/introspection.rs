//! Introspection and revocation: who may, and what is said to whom.

use axum::http::{StatusCode, header};
use countersign_core::client::ClientState;
use countersign_core::revocation::{Entry, Revocation};
use countersign_core::timings::Timings;
use serde_json::{Value, json};

use super::world::{AUDIENCE, Answer, BEGAN, ISSUER, World, basic, encode};

async fn introspect(world: &World, who: &str, token: &str) -> Answer {
    world.post("/oauth2/introspect", (who, &world.secret(who, 0)), &[("token", token)]).await
}

async fn revoke(world: &World, who: &str, token: &str) -> Answer {
    world.post("/oauth2/revoke", (who, &world.secret(who, 0)), &[("token", token), ("token_type_hint", "odd")]).await
}

fn inactive(answer: &Answer) -> bool {
    answer.status == StatusCode::OK && answer.body == json!({"active": false})
}

#[tokio::test]
async fn a_client_of_the_audiences_namespace_learns_what_a_token_means() {
    let world = World::new();
    let answer = introspect(&world, "shop.orders", &world.access_token().await).await;
    let Value::Object(mut body) = answer.body else { panic!("{answer:?}") };
    assert!(body.remove("jti").is_some_and(|jti| jti.is_string()));
    let expected = json!({
        "active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "shop.checkout", "client_id": "shop.checkout",
        "scope": "orders:read orders:write", "token_type": "Bearer", "iat": BEGAN, "exp": BEGAN + 900,
    });
    assert_eq!(Value::Object(body), expected);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
}

#[tokio::test]
async fn int_01_introspection_needs_a_client_that_may_know() {
    let world = World::new();
    let token = world.access_token().await;
    let mut nobody = basic("/oauth2/introspect", ("", ""), encode(&[("token", &token)]));
    nobody.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(world.send(nobody, "192.0.2.1").await.error(), (401, "invalid_client"));
    let mut bearer = basic("/oauth2/introspect", ("", ""), encode(&[("token", &token)]));
    bearer.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    assert_eq!(world.send(bearer, "192.0.2.1").await.error(), (401, "invalid_client"));
    let mut public = basic("/oauth2/introspect", ("", ""), encode(&[("token", &token), ("client_id", "shop.app")]));
    public.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(world.send(public, "192.0.2.1").await.error(), (401, "invalid_client"));
    assert!(inactive(&introspect(&world, "web.frontend", &token).await), "outside the audience");
    let who = ("shop.orders", &*world.secret("shop.orders", 0));
    let query = world.post(&format!("/oauth2/introspect?token={token}"), who, &[]).await;
    assert_eq!(query.error(), (400, "invalid_request"));
    assert_eq!(world.post("/oauth2/introspect", who, &[]).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn int_01_scanning_is_limited_and_good_tokens_are_not() {
    let world = World::new();
    let token = world.access_token().await;
    let mut limited = 0;
    for n in 0..1000 {
        let answer = introspect(&world, "shop.orders", &format!("{n}.{n}.{n}")).await;
        limited += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(limited >= 700, "{limited}");
    assert_eq!(introspect(&world, "shop.orders", &token).await.body["active"], json!(true));
}

#[tokio::test]
async fn int_02_a_token_that_is_not_good_is_inactive_and_nothing_else() {
    let world = World::new();
    let token = world.access_token().await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    for bad in [
        "x".to_owned(),
        format!("{signed}."),
        format!("{signed}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]),
        format!("{header}.{claims}"),
        world.secret("shop.checkout", 0),
        "a".repeat(20_000),
    ] {
        assert!(inactive(&introspect(&world, "shop.orders", &bad).await), "{bad:.60}");
    }
    let foreign = World::new().access_token().await;
    assert!(inactive(&introspect(&world, "shop.orders", &foreign).await), "another issuer's key");
    world.clock.advance(std::time::Duration::from_secs(900 + 59));
    assert_eq!(introspect(&world, "shop.orders", &token).await.body["active"], json!(true), "within the leeway");
    world.clock.advance(std::time::Duration::from_secs(1));
    assert!(inactive(&introspect(&world, "shop.orders", &token).await), "over");
}

#[tokio::test]
async fn tok_15_tokens_of_a_suspended_client_are_inactive() {
    let world = World::new();
    let token = world.access_token().await;
    world.change_spec("shop.checkout", |spec| spec.state = ClientState::Suspended);
    assert!(inactive(&introspect(&world, "shop.orders", &token).await));
}

#[tokio::test]
async fn int_02_a_revoked_token_is_inactive_and_an_epoch_ends_all() {
    let world = World::new();
    let (one, two) = (world.access_token().await, world.access_token().await);
    assert_eq!(revoke(&world, "shop.checkout", &one).await.status, StatusCode::OK);
    let entries = world.sink.entries.lock().unwrap().clone();
    world.learn(entries.clone());
    assert!(inactive(&introspect(&world, "shop.orders", &one).await));
    assert_eq!(introspect(&world, "shop.orders", &two).await.body["active"], json!(true));
    assert_eq!(revoke(&world, "shop.checkout", &one).await.status, StatusCode::OK);
    assert_eq!(world.sink.entries.lock().unwrap().len(), 1, "nothing is written for what is revoked already");

    let uid = "uid-shop-checkout".parse().unwrap();
    world.learn(vec![Entry::client(uid, None, 2, world.clock.now(), &Timings::default())]);
    assert!(inactive(&introspect(&world, "shop.orders", &two).await));
    world.change_client("shop.checkout", |object| object.epoch = 2);
    let fresh = world.access_token().await;
    assert_eq!(
        introspect(&world, "shop.orders", &fresh).await.body["active"],
        json!(true),
        "signed under the new epoch"
    );
}

#[tokio::test]
async fn rev_01_only_a_clients_own_token_is_revoked_and_nobody_is_told_otherwise() {
    let world = World::new();
    let token = world.access_token().await;
    let own = revoke(&world, "shop.checkout", &token).await;
    assert_eq!((own.status, &own.headers[header::CACHE_CONTROL]), (StatusCode::OK, &"no-store".parse().unwrap()));
    let written = world.sink.entries.lock().unwrap().drain(..).collect::<Vec<_>>();
    assert!(matches!(&written[..], [Entry { revocation: Revocation::Token { .. }, .. }]), "{written:?}");

    for (who, token) in
        [("shop.orders", &*token), ("web.frontend", &token), ("shop.checkout", "unknown"), ("shop.checkout", "a.b.c")]
    {
        let answer = revoke(&world, who, token).await;
        assert_eq!((answer.status, &answer.body), (own.status, &own.body), "{who} {token:.20}");
    }
    world.clock.advance(std::time::Duration::from_secs(2000));
    assert_eq!(revoke(&world, "shop.checkout", &token).await.status, StatusCode::OK, "over already");
    assert_eq!(*world.sink.entries.lock().unwrap(), []);

    let stranger = world.post("/oauth2/revoke", ("shop.checkout", "wrong"), &[("token", &token)]).await;
    assert_eq!(stranger.error(), (401, "invalid_client"));
    let who = ("shop.checkout", &*world.secret("shop.checkout", 0));
    assert_eq!(world.post("/oauth2/revoke", who, &[]).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn rev_02_what_was_not_written_is_not_confirmed() {
    let world = World::new();
    let token = world.access_token().await;
    *world.sink.fails.lock().unwrap() = true;
    let answer = revoke(&world, "shop.checkout", &token).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
}
