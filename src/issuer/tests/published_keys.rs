//! Clients whose keys are published at a URL of their own: fetched outside of requests, and not as often as somebody likes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use countersign_core::client::{Method, RegisteredKeys};
use countersign_core::timings::Timings;
use countersign_core::token::{Algorithm, PublicJwk};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::around::Around;
use super::world::{ISSUER, World, at, basic, client_object, encode};
use crate::http::body::BodyLimits;
use crate::http::credentials::JWT_BEARER;
use crate::issuer::published_keys::PublishedKeys;
use crate::issuer::published_keys::fetch::FetchError;
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::{Beginning, Condition, Readiness};
use crate::runtime::supervisor::Supervisor;
use crate::store::{Answer, Store, Use};

/// Takes everything for the first use, at once.
#[derive(Debug)]
struct Forgetful;

impl Store for Forgetful {
    fn first_use(&self, _: Use, _: Timestamp) -> Answer<'_> {
        Box::pin(std::future::ready(Ok(true)))
    }
}

/// A key of the client's.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    fn set(&self) -> Value {
        let jwk = PublicJwk::from_public_key(Algorithm::ES256, self.pair.public_key().as_ref()).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(self.id);
        json!({"keys": [jwk]})
    }
}

/// What the client's host says now, none: it is away; how long it takes to; and how often it was asked.
#[derive(Default)]
struct Host {
    says: Mutex<Option<Value>>,
    takes: Duration,
    asked: AtomicUsize,
}

/// An issuer with the client `shop.cart`, whose keys such a host has.
struct Shop {
    world: World,
    host: Arc<Host>,
    /// Holds once the issuer knows its clients.
    listed: Condition,
    readiness: Readiness,
}

impl Shop {
    fn open(says: Option<Value>) -> Self {
        let shop = Self::begin(Host { says: Mutex::new(says), ..Host::default() });
        shop.listed.ready();
        shop
    }

    fn begin(host: Host) -> Self {
        let host = Arc::new(host);
        let clock = Clock::fixed(at(0));
        let listed = Readiness::new().condition("first-listing");
        let (readiness, grace) = (Readiness::new(), Timings::default().offline_grace);
        let beginning = Beginning::new(listed.clone(), readiness.condition("client-keys"));
        let (published, keeper) = PublishedKeys::new(grace, clock.clone(), beginning, &Metrics::new());
        let around = Around { store: Some(Arc::new(Forgetful)), published: Some(published), ..Around::default() };
        let world = World::at(clock, BodyLimits::default(), around);
        let asked = Arc::clone(&host);
        let fetch = move |_| {
            asked.asked.fetch_add(1, Ordering::Relaxed);
            let says = asked.says.lock().unwrap().as_ref().map(|said| Bytes::from(said.to_string()));
            let takes = asked.takes;
            async move {
                tokio::time::sleep(takes).await;
                says.ok_or(FetchError::Late)
            }
        };
        drop(tokio::spawn(keeper.keep(fetch, world.live.clone(), Supervisor::new().shutdown())));
        world.put_client(client_object("shop", "cart"));
        world.change_spec("shop.cart", |spec| {
            let uri = "https://keys.example/jwks".parse().unwrap();
            spec.authentication = vec![Method::PrivateKeyJwt(RegisteredKeys::Published(uri))];
        });
        Self { world, host, listed, readiness }
    }

    fn say(&self, says: Option<Value>) {
        *self.host.says.lock().unwrap() = says;
    }

    fn asked(&self) -> usize {
        self.host.asked.load(Ordering::Relaxed)
    }

    /// What is said to an assertion signed with the key.
    async fn status(&self, key: &Key) -> u16 {
        let now = self.world.clock.now().as_second();
        let claims = json!({"iss": "shop.cart", "sub": "shop.cart", "aud": ISSUER, "jti": "1", "exp": now + 60});
        let header = json!({"alg": "ES256", "kid": key.id});
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = key.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let assertion = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ];
        let mut request = basic("/oauth2/token", ("", ""), encode(&form));
        request.headers_mut().remove(header::AUTHORIZATION);
        self.world.send(request, "192.0.2.1").await.status.as_u16()
    }

    async fn pass(&self, time: Duration) {
        // In steps, so that both clocks go together.
        let (mut left, step) = (time, (time / 100).min(Duration::from_mins(1)).max(Duration::from_millis(1)));
        while !left.is_zero() {
            let part = left.min(step);
            self.world.clock.advance(part);
            tokio::time::sleep(part).await;
            left -= part;
        }
        self.world.contact.touch(self.world.clock.now());
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_before_anybody_asks_and_no_request_fetches_any() {
    let key = Key::new("one");
    let shop = Shop::open(Some(key.set()));
    shop.pass(Duration::from_secs(1)).await;
    assert_eq!(shop.asked(), 1);
    for _ in 0..20 {
        assert_eq!(shop.status(&key).await, 200);
    }
    assert_eq!(shop.asked(), 1);
    shop.pass(Duration::from_secs(376)).await;
    assert_eq!(shop.asked(), 2, "ahead of time");
}

/// A rolling restart refuses nobody whose host answers, and one that does not delays it by seconds.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_begins_is_ready_once_its_clients_keys_were_fetched_or_tried() {
    let key = Key::new("one");
    let host =
        |seconds| Host { says: Mutex::new(Some(key.set())), takes: Duration::from_secs(seconds), ..Host::default() };
    for (host, not_yet, answer) in [(host(3), Some(2), 200), (host(3_600), Some(4), 503), (Host::default(), None, 503)]
    {
        let shop = Shop::begin(host);
        shop.listed.ready();
        if let Some(seconds) = not_yet {
            shop.pass(Duration::from_secs(seconds)).await;
            assert!(!shop.readiness.is_ready(), "{answer} after {seconds} s");
        }
        shop.pass(Duration::from_secs(2)).await;
        assert!(shop.readiness.is_ready(), "{answer}");
        assert_eq!(shop.status(&key).await, answer);
    }
    let shop = Shop::begin(host(0));
    shop.pass(Duration::from_mins(1)).await;
    assert_eq!(
        (shop.status(&key).await, shop.readiness.missing()),
        (200, vec!["client-keys"]),
        "there may be more clients"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_it_is_first_seen() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let shop = Shop::open(Some(old.set()));
    shop.pass(Duration::from_mins(1)).await;
    assert_eq!(shop.status(&old).await, 200);
    shop.say(Some(new.set()));
    assert_eq!(shop.status(&new).await, 200);
    assert_eq!((shop.asked(), shop.status(&old).await), (2, 401));
}

#[tokio::test(start_paused = true)]
async fn cla_08_whatever_is_sent_a_host_is_asked_no_more_than_every_ten_seconds() {
    let (key, unknown) = (Key::new("one"), Key::new("unknown"));
    let shop = Shop::open(Some(key.set()));
    shop.pass(Duration::from_mins(1)).await;
    let before = shop.asked();
    for _ in 0..100 {
        // Whoever fails too often is told so.
        assert!([401, 429].contains(&shop.status(&unknown).await));
        shop.pass(Duration::from_millis(100)).await;
    }
    assert!((1..=12).contains(&(shop.asked() - before)), "{}", shop.asked() - before);
    assert_eq!(shop.status(&key).await, 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_broken_replaces_nothing_but_nothing_is_used_for_ever() {
    let key = Key::new("one");
    let shop = Shop::open(Some(key.set()));
    shop.pass(Duration::from_secs(1)).await;
    for said in [None, Some(json!({"keys": []})), Some(json!("<html>"))] {
        shop.say(said);
        shop.pass(Duration::from_mins(20)).await;
        assert_eq!(shop.status(&key).await, 200);
    }
    shop.pass(Duration::from_hours(12)).await;
    assert_eq!(shop.status(&key).await, 503);
    shop.say(Some(key.set()));
    shop.pass(Duration::from_mins(7)).await;
    assert_eq!(shop.status(&key).await, 200);
}

#[tokio::test(start_paused = true)]
async fn before_the_keys_are_known_nobody_is_told_that_an_assertion_is_wrong() {
    let key = Key::new("one");
    let shop = Shop::open(None);
    assert_eq!(shop.status(&key).await, 503);
    shop.say(Some(key.set()));
    shop.pass(Duration::from_secs(30)).await;
    assert_eq!(shop.status(&key).await, 200);
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_url_nobody_names_any_more_are_forgotten() {
    let key = Key::new("one");
    let shop = Shop::open(Some(key.set()));
    shop.pass(Duration::from_secs(1)).await;
    shop.world.change_spec("shop.cart", |spec| {
        let uri = "https://other.example/jwks".parse().unwrap();
        spec.authentication = vec![Method::PrivateKeyJwt(RegisteredKeys::Published(uri))];
    });
    shop.say(None);
    shop.pass(Duration::from_secs(1)).await;
    assert_eq!(shop.status(&key).await, 503);
    let back = "https://keys.example/jwks".parse().unwrap();
    shop.world.change_spec("shop.cart", |spec| {
        spec.authentication = vec![Method::PrivateKeyJwt(RegisteredKeys::Published(back))];
    });
    assert_eq!(shop.status(&key).await, 503, "it must be fetched again");
}
