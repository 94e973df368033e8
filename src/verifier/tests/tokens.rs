//! Tokens through the whole verifier: what is remembered, and what is asked again on every request.

use std::time::{Duration, Instant};

use axum::body::Body;
use countersign_core::names::KeyId;
use tower::ServiceExt;

use super::*;
use crate::runtime::readiness::Readiness;
use crate::runtime::supervisor::Shutdown;

impl World {
    /// `GET /orders/7` with this token, over the simplest wire.
    pub(super) async fn get(&self, token: &str) -> u16 {
        let request = axum::http::Request::get("/ext-authz/policy/shop/orders/orders/7")
            .header("host", "orders.shop")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .expect("a request");
        self.verifier.http_router().oneshot(request).await.expect("an answer").status().as_u16()
    }
}

#[tokio::test]
async fn a_verified_token_is_remembered_and_a_refused_one_is_not() {
    let world = World::new();
    let token = world.token("orders:read");
    for _ in 0..3 {
        assert_eq!(world.get(&token).await, 200);
    }
    let (signed, _) = token.rsplit_once('.').expect("three parts");
    let tampered = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 64]));
    for _ in 0..3 {
        assert_eq!(world.get(&tampered).await, 401);
    }
    assert_eq!(world.verifier.cache.len(), 1);
    let text = world.metrics.encode().expect("metrics");
    assert!(text.contains("countersign_verifier_token_cache_total{outcome=\"hit\"} 2"), "{text}");
}

#[tokio::test]
async fn a_remembered_token_ends_when_it_says() {
    let world = World::new();
    let token = world.token("orders:read");
    assert_eq!(world.get(&token).await, 200);
    world.clock.advance(Duration::from_secs(959));
    assert_eq!(world.get(&token).await, 200, "within the leeway");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.get(&token).await, 401);
}

#[tokio::test]
async fn jwt_19_a_remembered_token_dies_with_its_key() {
    let world = World::new();
    let token = world.token("orders:read");
    assert_eq!(world.get(&token).await, 200);
    for state in [KeyState::Removed, KeyState::Revoked] {
        world.change(|snapshot| snapshot.keys = Arc::new(KeySet::build([&world.key.ring(state)], [])));
        assert_eq!(world.get(&token).await, 401, "{state:?}");
    }
    let declared: KeyId = world.key.jwk.key_id().clone();
    world.change(|snapshot| snapshot.keys = Arc::new(KeySet::build([&world.key.ring(KeyState::Active)], [declared])));
    assert_eq!(world.get(&token).await, 401, "declared in a spec");
}

#[tokio::test]
async fn a_remembered_token_dies_with_its_epoch_and_by_its_own_id() {
    let (epoch, single) = (World::new(), World::new());
    for world in [&epoch, &single] {
        assert_eq!(world.get(&world.token("orders:read")).await, 200);
    }
    let timings = countersign_core::timings::Timings::default();
    let client = Uid::new("u1").expect("a uid");
    epoch.revoke(Entry::client(client, None, 2, epoch.clock.now(), &timings));
    assert_eq!(epoch.get(&epoch.token("orders:read")).await, 401);
    let cached = single.verifier.cache.get(&cache::key_of(&single.token("orders:read")).expect("a key"));
    single.revoke(Entry::token(&cached.expect("remembered"), single.clock.now(), &timings));
    assert_eq!(single.get(&single.token("orders:read")).await, 401);
}

#[tokio::test]
async fn a_change_of_policy_counts_for_a_remembered_token_at_once() {
    let world = World::new();
    let token = world.token("orders:read");
    assert_eq!(world.get(&token).await, 200);
    world.live.publish(snapshot(&[("shop", "billing")], &[world.key.ring(KeyState::Active)]));
    assert_eq!(world.get(&token).await, 403);
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused_at_the_wire() {
    let world = World::new();
    let (header, claims) = (world.key.header(), World::claims("orders:read"));
    let with = |mut value: Value, name: &str, new: Value| {
        value[name] = new;
        value
    };
    for (what, token) in [
        ("JWT-01 alg none", world.key.sign(&with(header.clone(), "alg", json!("none")), &claims)),
        ("JWT-03 another algorithm", world.key.sign(&with(header.clone(), "alg", json!("ES256")), &claims)),
        ("JWT-08 crit", world.key.sign(&with(header.clone(), "crit", json!(["exp"])), &claims)),
        ("JWT-15 audience", world.key.sign(&header, &with(claims.clone(), "aud", json!("https://billing.other.svc")))),
        ("JWT-16 issuer", world.key.sign(&header, &with(claims.clone(), "iss", json!("https://issuer.example/")))),
        ("JWT-17 type", world.key.sign(&with(header.clone(), "typ", json!("JWT")), &claims)),
        ("JWT-11 length", format!("{}{}", world.token("orders:read"), "a".repeat(20_000))),
    ] {
        assert_eq!(world.get(&token).await, 401, "{what}");
    }
    assert_eq!(world.verifier.cache.len(), 1, "the one for another audience is good, elsewhere");
}

#[tokio::test]
async fn a_token_of_a_key_not_known_yet_waits_a_moment_for_it() {
    let world = World::new();
    let newer = Key::new();
    let token = newer.sign(&newer.header(), &World::claims("orders:read"));
    let publish = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let rings = [world.key.ring(KeyState::Active), newer.ring(KeyState::Published)];
        world.change(|snapshot| snapshot.keys = Arc::new(KeySet::build(&rings, [])));
    };
    let (status, ()) = tokio::join!(world.get(&token), publish);
    assert_eq!(status, 200);
}

/// Time stands still but for what is waited for.
#[tokio::test(start_paused = true)]
async fn jwt_06_the_wait_for_a_key_is_short_and_only_for_a_few() {
    let world = World::new();
    let unknown = Key::new();
    let token = unknown.sign(&unknown.header(), &World::claims("orders:read"));
    let waited = async || {
        let begun = tokio::time::Instant::now();
        assert_eq!(world.get(&token).await, 401);
        begun.elapsed()
    };
    let alone = waited().await;
    assert!((Duration::from_millis(50)..Duration::from_millis(52)).contains(&alone), "{alone:?}");
    let _all = world.verifier.key_waits.try_acquire_many(64).expect("all places");
    assert_eq!(waited().await, Duration::ZERO);
}

#[tokio::test]
async fn gwy_07_the_verifier_is_ready_only_while_it_has_keys() {
    let world = World::new();
    let readiness = Readiness::new();
    let shutdown = Shutdown::default();
    let kept = tokio::spawn(Arc::clone(&world.verifier).keep_ready(readiness.condition("keys"), shutdown));
    for (rings, ready) in [(vec![world.key.ring(KeyState::Active)], true), (vec![], false)] {
        world.change(|snapshot| snapshot.keys = Arc::new(KeySet::build(&rings, [])));
        let until = Instant::now() + Duration::from_secs(5);
        while readiness.is_ready() != ready && Instant::now() < until {
            tokio::task::yield_now().await;
        }
        assert_eq!(readiness.is_ready(), ready);
    }
    kept.abort();
}
