//! Clients by assertions of their own: each is good once, and what is bad uses nothing up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::client::{ClientObject, ClientState, Method, RegisteredKeys};
use countersign_core::names::Uid;
use countersign_core::revocation::Entry;
use countersign_core::timings::Timings;
use countersign_core::token::{Algorithm, ClientKey, PublicJwk};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::around::Around;
use super::world::{Answer, BEGAN, ISSUER, World, basic, client_object, encode};
use crate::http::body::BodyLimits;
use crate::http::credentials::JWT_BEARER;
use crate::store::{Embedded, Store, StoreError, Use};

/// A store that can be away, and counts what it is asked.
#[derive(Debug)]
struct Flaky {
    store: Embedded,
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Store for Flaky {
    fn first_use(&self, used: Use, now: Timestamp) -> crate::store::Answer<'_> {
        if self.away.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err(StoreError::Busy)));
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.store.first_use(used, now)
    }
}

/// An issuer with the clients `shop.cart` and `shop.reports`, which share a key.
struct Shop {
    world: World,
    store: Arc<Flaky>,
    pair: EcdsaKeyPair,
}

impl Shop {
    fn open() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let store = Arc::new(Flaky {
            store: Embedded::open(None).unwrap(),
            away: AtomicBool::default(),
            asked: AtomicUsize::default(),
        });
        let world = World::with(BodyLimits::default(), Around { store: Some(store.clone()), ..Around::default() });
        for client in ["cart", "reports"] {
            world.put_client(client_object("shop", client));
            let jwk = PublicJwk::from_public_key(Algorithm::ES256, pair.public_key().as_ref()).unwrap();
            let key = ClientKey::read(serde_json::to_value(jwk).unwrap().as_object().unwrap().clone()).unwrap();
            world.change_spec(&format!("shop.{client}"), |spec| {
                spec.authentication = vec![Method::PrivateKeyJwt(RegisteredKeys::Listed(vec![key]))];
            });
        }
        Self { world, store, pair }
    }

    fn assertion(&self, client: &str, jti: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": client, "sub": client, "aud": ISSUER, "jti": jti, "iat": BEGAN, "exp": BEGAN + 300,
        });
        change(&mut claims);
        let [header, claims] = [json!({"alg": "ES256"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn ask(&self, assertion: &str, client_id: Option<&str>) -> Answer {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ];
        form.extend(client_id.map(|id| ("client_id", id)));
        let mut request = basic("/oauth2/token", ("", ""), encode(&form));
        request.headers_mut().remove(header::AUTHORIZATION);
        self.world.send(request, "192.0.2.1").await
    }

    async fn status(&self, assertion: &str) -> u16 {
        self.ask(assertion, None).await.status.as_u16()
    }

    /// A request of `shop.cart` whose use is noted while its epoch is ahead of its object, and what happens to the object then.
    async fn unsettled(&self, assertion: &str, change: fn(&mut ClientObject)) -> u16 {
        let (client, now) = (Uid::new("uid-shop-cart").unwrap(), self.world.clock.now());
        self.world.learn(vec![Entry::client(client, None, 2, now, &Timings::default())]);
        let arrives = async {
            while self.store.asked.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            self.world.change_client("shop.cart", change);
        };
        tokio::join!(self.status(assertion), arrives).0
    }
}

#[tokio::test]
async fn cla_01_an_assertion_is_good_once() {
    let shop = Shop::open();
    let assertion = shop.assertion("shop.cart", "1", |_| {});
    assert_eq!(shop.ask(&assertion, Some("shop.cart")).await.status, 200);
    let again = shop.ask(&assertion, Some("shop.cart")).await;
    assert_eq!(again.error(), (401, "invalid_client"));
    assert_eq!(shop.status(&assertion).await, 401);
    assert_eq!(shop.status(&shop.assertion("shop.cart", "1", |claims| claims["exp"] = json!(BEGAN + 299))).await, 401);
    assert_eq!(shop.status(&shop.assertion("shop.cart", "2", |_| {})).await, 200);
    shop.world.clock.advance(Duration::from_secs(359));
    assert_eq!(shop.status(&assertion).await, 401, "to its end, leeway and all");
}

#[tokio::test]
async fn a_use_is_noted_once_a_request_however_often_it_is_looked_at() {
    let shop = Shop::open();
    let assertion = shop.assertion("shop.cart", "1", |_| {});
    assert_eq!(shop.unsettled(&assertion, |object| object.epoch = 2).await, 200);
    assert_eq!(shop.store.asked.load(Ordering::Relaxed), 1);
    assert_eq!(shop.status(&assertion).await, 401);
}

#[tokio::test]
async fn a_use_is_noted_for_the_client_that_gets_the_token() {
    let shop = Shop::open();
    let assertion = shop.assertion("shop.cart", "1", |_| {});
    let anew = |object: &mut ClientObject| object.uid = Uid::new("uid-anew").unwrap();
    assert_eq!(shop.unsettled(&assertion, anew).await, 200);
    assert_eq!(shop.status(&assertion).await, 401);
}

#[tokio::test]
async fn cla_02_of_fifty_at_once_one_is_good() {
    let shop = Shop::open();
    let assertion = shop.assertion("shop.cart", "1", |_| {});
    let statuses = futures::future::join_all((0..50).map(|_| shop.status(&assertion))).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401, 429].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn cla_03_a_name_one_client_used_is_free_for_another() {
    let shop = Shop::open();
    for client in ["shop.cart", "shop.reports"] {
        assert_eq!(shop.status(&shop.assertion(client, "1", |_| {})).await, 200, "{client}");
    }
}

#[tokio::test]
async fn cla_04_a_bad_assertion_uses_nothing_up() {
    let shop = Shop::open();
    let bad: [fn(&mut Value); 5] = [
        |claims| claims["aud"] = json!("https://other.example"),
        |claims| claims["aud"] = json!([ISSUER]),
        |claims| claims["sub"] = json!("shop.reports"),
        |claims| claims["exp"] = json!(BEGAN + 301),
        |claims| drop(claims.as_object_mut().unwrap().remove("exp")),
    ];
    let refused = shop.ask("a.b.c", None).await;
    for change in bad {
        assert_eq!(shop.ask(&shop.assertion("shop.cart", "1", change), None).await, refused);
    }
    let forged = shop.assertion("shop.cart", "1", |_| {});
    let (signed, _) = forged.rsplit_once('.').unwrap();
    assert_eq!(shop.ask(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 64])), None).await, refused);
    assert_eq!(shop.ask(&forged, Some("shop.reports")).await, refused, "presented for another client");
    assert_eq!(shop.status(&forged).await, 200);
}

#[tokio::test]
async fn while_the_store_is_away_no_assertion_is_good_and_none_is_called_bad() {
    let shop = Shop::open();
    let assertion = shop.assertion("shop.cart", "1", |_| {});
    shop.store.away.store(true, Ordering::Relaxed);
    assert_eq!(shop.ask(&assertion, None).await.error(), (503, "temporarily_unavailable"));
    shop.store.away.store(false, Ordering::Relaxed);
    assert_eq!(shop.status(&assertion).await, 200);
}

#[tokio::test]
async fn cla_07_other_clients_have_no_such_keys() {
    let shop = Shop::open();
    for client in ["shop.checkout", "shop.nobody", "web.frontend"] {
        assert_eq!(shop.status(&shop.assertion(client, "1", |_| {})).await, 401, "{client}");
    }
    shop.world.change_spec("shop.cart", |spec| spec.state = ClientState::Suspended);
    assert_eq!(shop.status(&shop.assertion("shop.cart", "1", |_| {})).await, 401);
}

#[tokio::test]
async fn without_a_store_no_assertion_is_good() {
    let shop = Shop::open();
    let world = World::new();
    world.put_client(client_object("shop", "cart"));
    let spec = shop.world.live.load().directory.client("shop.cart").unwrap().object.spec.clone().unwrap();
    world.change_spec("shop.cart", |own| own.authentication.clone_from(&spec.authentication));
    let shop = Shop { world, ..shop };
    assert_eq!(
        shop.ask(&shop.assertion("shop.cart", "1", |_| {}), None).await.error(),
        (503, "temporarily_unavailable")
    );
}
