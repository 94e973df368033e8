//! Clients by their pods' ServiceAccount tokens: who gets in, who does not, and what becomes of the cluster's keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::http::{StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::client::{ClientState, Method};
use countersign_core::names::ObjectName;
use countersign_core::timings::Timings;
use countersign_core::token::{Algorithm, ClusterIssuer, PublicJwk};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::world::{Answer, BEGAN, ISSUER, World, basic, client_object, encode};
use crate::http::body::BodyLimits;
use crate::http::credentials::JWT_BEARER;
use crate::objects::{FolderStore, Key as ObjectKey, Objects, Preconditions};
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::supervisor::Supervisor;
use crate::snapshot::cluster_keys::{ClusterKeys, DiscoveryError};
use crate::snapshot::pods::Pods;

const CLUSTER: &str = "https://kubernetes.default.svc";

/// A key of the cluster's.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

/// What the API server answers now, and how often it was asked.
#[derive(Default)]
struct Cluster {
    /// The JWKS; none: it is away.
    keys: Mutex<Option<Vec<u8>>>,
    asked: AtomicUsize,
}

/// An issuer on that cluster, with the client `shop.cart` of the ServiceAccounts `cart` and `cart-jobs`.
struct Shop {
    world: World,
    cluster: Arc<Cluster>,
    key: Key,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    fn jwks(&self) -> Vec<u8> {
        let jwk = PublicJwk::from_public_key(Algorithm::ES256, self.pair.public_key().as_ref()).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(self.id);
        json!({"keys": [jwk]}).to_string().into_bytes()
    }

    fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "ES256", "kid": self.id}), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The claims of a pod's token.
fn claims(namespace: &str, account: &str) -> Value {
    json!({
        "iss": CLUSTER, "aud": [ISSUER], "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "iat": BEGAN, "nbf": BEGAN, "exp": BEGAN + 3600, "jti": "5a1d4d2c",
        "kubernetes.io": {
            "namespace": namespace,
            "pod": {"name": format!("{account}-7d9"), "uid": "u-pod"},
            "serviceaccount": {"name": account, "uid": "u-sa"},
        },
    })
}

impl Cluster {
    fn answer(&self) -> Result<ClusterIssuer, DiscoveryError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(ClusterIssuer::read(CLUSTER, &self.served().ok_or(DiscoveryError::Document)?)?)
    }

    fn served(&self) -> Option<Vec<u8>> {
        self.keys.lock().unwrap().clone()
    }

    fn set(&self, keys: Option<Vec<u8>>) {
        *self.keys.lock().unwrap() = keys;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Shop {
    /// Its issuer asks the cluster's keys in a task of its own, in tests whose time stands still.
    fn open() -> Self {
        Self::with_pods(None)
    }

    fn with_pods(pods: Option<Pods>) -> Self {
        let (key, cluster) = (Key::new("one"), Arc::new(Cluster::default()));
        let keys = ClusterKeys::new(Timings::default().offline_grace);
        cluster.set(Some(key.jwks()));
        let world = World::with(BodyLimits::default(), (Some(keys.clone()), pods));
        let asks = Arc::clone(&cluster);
        let follow =
            keys.keep(world.clock.clone(), Supervisor::new().shutdown(), move || std::future::ready(asks.answer()));
        drop(tokio::spawn(follow));
        let shop = Self { world, cluster, key };
        shop.put("shop", "cart", &["cart", "cart-jobs"]);
        shop
    }

    fn put(&self, namespace: &str, client: &str, accounts: &[&str]) {
        self.world.put_client(client_object(namespace, client));
        let accounts: Vec<_> = accounts.iter().map(|name| ObjectName::new(name).unwrap()).collect();
        self.world.change_spec(&format!("{namespace}.{client}"), |spec| {
            spec.authentication = vec![Method::ServiceAccount(accounts)];
        });
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

    /// Whose token the pod of a ServiceAccount gets, or which error.
    async fn gets(&self, claims: &Value, client_id: Option<&str>) -> String {
        who(&self.ask(&self.key.token(claims), client_id).await)
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
        // An issuer that hears nothing from the API server stops by itself, sooner or later: not what is tested here.
        self.world.contact.touch(self.world.clock.now());
    }
}

/// The client of the token in an answer, or the error.
fn who(answer: &Answer) -> String {
    let Some(token) = answer.body["access_token"].as_str() else { return format!("{:?}", answer.error()) };
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["client_id"].as_str().unwrap().to_owned()
}

const REFUSED: &str = r#"(401, "invalid_client")"#;
const UNKNOWN_YET: &str = r#"(503, "temporarily_unavailable")"#;

#[tokio::test(start_paused = true)]
async fn a_pod_is_the_client_that_names_its_service_account_as_often_as_it_asks() {
    let shop = Shop::open();
    for account in ["cart", "cart-jobs"] {
        for client_id in [None, Some("shop.cart"), None] {
            assert_eq!(shop.gets(&claims("shop", account), client_id).await, "shop.cart", "{account} {client_id:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_service_account_may_be_several_clients_and_then_says_which() {
    let shop = Shop::open();
    shop.put("shop", "reports", &["cart"]);
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, r#"(400, "invalid_request")"#);
    for id in ["shop.cart", "shop.reports"] {
        assert_eq!(shop.gets(&claims("shop", "cart"), Some(id)).await, id);
    }
    shop.world.change_spec("shop.reports", |spec| spec.state = ClientState::Suspended);
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    assert_eq!(shop.gets(&claims("shop", "cart"), Some("shop.reports")).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn an_account_is_nobody_elses_client() {
    let shop = Shop::open();
    shop.put("web", "cart", &["cart"]);
    for (namespace, account, client_id) in [
        ("shop", "other", None),
        ("shop", "other", Some("shop.cart")),
        // A namesake in another namespace.
        ("web", "cart", Some("shop.cart")),
        ("shop", "cart", Some("web.cart")),
        // These have secrets.
        ("shop", "checkout", None),
        ("shop", "checkout", Some("shop.checkout")),
        ("shop", "cart", Some("shop.checkout")),
        ("shop", "cart", Some("no:client")),
        ("shop", "cart", Some("shop.nobody")),
        ("nowhere", "cart", None),
    ] {
        let got = shop.gets(&claims(namespace, account), client_id).await;
        assert_eq!(got, REFUSED, "{namespace} {account} {client_id:?}");
    }
    assert_eq!(shop.gets(&claims("web", "cart"), None).await, r#"(400, "invalid_scope")"#, "it is the client of web");
}

#[tokio::test(start_paused = true)]
async fn cla_05_to_07_every_other_assertion_is_refused_alike() {
    let shop = Shop::open();
    let good = claims("shop", "cart");
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let members = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            members.remove(name)
        } else {
            members.insert(name.to_owned(), value)
        };
        shop.key.token(&changed)
    };
    let other = Key::new("one");
    let header = |header: Value| shop.key.token_with(&header, &good);
    let whole = shop.key.token(&good);
    let (signed, _) = whole.rsplit_once('.').unwrap();
    let assertions = [
        ("aud of another", with("/aud", json!(["https://other.example"]))),
        ("aud of several", with("/aud", json!([ISSUER, CLUSTER]))),
        ("aud is the token endpoint", with("/aud", json!([format!("{ISSUER}/oauth2/token")]))),
        ("aud is the issuer and more", with("/aud", json!([format!("{ISSUER}/")]))),
        ("no aud", with("/aud", Value::Null)),
        ("no exp", with("/exp", Value::Null)),
        ("over", with("/exp", json!(BEGAN - 61))),
        ("lives longer than an hour", with("/exp", json!(BEGAN + 3601))),
        ("no iat", with("/iat", Value::Null)),
        ("from the future", with("/iat", json!(BEGAN + 1000))),
        ("not yet", with("/nbf", json!(BEGAN + 1000))),
        ("iss of another", with("/iss", json!("https://other.example"))),
        ("iss is the client", with("/iss", json!("shop.cart"))),
        ("sub of another", with("/sub", json!("system:serviceaccount:shop:other"))),
        ("sub is the client", with("/sub", json!("shop.cart"))),
        ("of no pod", with("/kubernetes.io/pod", Value::Null)),
        ("of a pod without a UID", with("/kubernetes.io/pod/uid", Value::Null)),
        ("of an account without a UID", with("/kubernetes.io/serviceaccount/uid", Value::Null)),
        ("of a Secret, as they once were", with("/kubernetes.io", Value::Null)),
        ("another's signature", other.token(&good)),
        ("alg none", header(json!({"alg": "none", "kid": "one"}))),
        ("alg of another key", header(json!({"alg": "RS256", "kid": "one"}))),
        ("HS256", header(json!({"alg": "HS256", "kid": "one"}))),
        ("no kid", header(json!({"alg": "ES256"}))),
        ("crit", header(json!({"alg": "ES256", "kid": "one", "crit": ["exp"]}))),
        ("an access token by its type", header(json!({"alg": "ES256", "kid": "one", "typ": "at+jwt"}))),
        ("no signature", format!("{signed}.")),
        ("our own access token", {
            let answer = shop.ask(&whole, None).await;
            answer.body["access_token"].as_str().unwrap().to_owned()
        }),
        ("no JWT", "a.b".to_owned()),
    ];
    let bytes = shop.ask(".", None).await;
    assert_eq!(bytes.error(), (401, "invalid_client"));
    for (number, (what, assertion)) in assertions.into_iter().enumerate() {
        for client_id in [None, Some("shop.cart")] {
            assert_eq!(shop.ask(&assertion, client_id).await, bytes, "{number} {what} {client_id:?}");
        }
        // So that failures are not held back.
        shop.world.clock.advance(Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_not_seen_yet_is_waited_for() {
    let shop = Shop::open();
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        shop.put("shop", "new", &["new"]);
    };
    let claims = claims("shop", "new");
    let (got, ()) = tokio::join!(shop.gets(&claims, None), arrives);
    assert_eq!(got, "shop.new");
}

#[tokio::test(start_paused = true)]
async fn a_key_the_cluster_began_to_use_is_asked_for() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    let (next, before) = (Key::new("two"), shop.cluster.asked());
    shop.pass(Duration::from_secs(11)).await;
    shop.cluster.set(Some(next.jwks()));
    let mut later = claims("shop", "cart");
    later["iat"] = json!(BEGAN + 11);
    assert_eq!(who(&shop.ask(&next.token(&later), None).await), "shop.cart");
    assert_eq!(shop.cluster.asked(), before + 1);
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, REFUSED, "the key it no longer uses");
}

#[tokio::test(start_paused = true)]
async fn a_key_the_cluster_gave_up_is_good_for_minutes_at_most() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    shop.cluster.set(Some(Key::new("two").jwks()));
    shop.pass(Duration::from_secs(301)).await;
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_sent_the_cluster_is_asked_no_more_than_every_ten_seconds() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    let before = shop.cluster.asked();
    for _ in 0..100 {
        let answer = shop.ask(&Key::new("nobody's").token(&claims("shop", "cart")), None).await;
        assert!([401, 429].contains(&answer.status.as_u16()), "{answer:?}");
        shop.pass(Duration::from_millis(300)).await;
    }
    assert!(shop.cluster.asked() - before <= 3, "in 30 seconds: {}", shop.cluster.asked() - before);
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_away_the_keys_known_so_far_are_used_but_not_for_ever() {
    let shop = Shop::open();
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
    shop.cluster.set(None);
    let at = async |time: Duration| {
        shop.pass(time).await;
        let mut later = claims("shop", "cart");
        let now = shop.world.clock.now().as_second();
        (later["iat"], later["nbf"], later["exp"]) = (json!(now), json!(now), json!(now + 3600));
        shop.gets(&later, None).await
    };
    assert_eq!(at(Duration::from_hours(11)).await, "shop.cart");
    shop.cluster.set(Some(br#"{"keys": []}"#.to_vec()));
    assert_eq!(at(Duration::from_mins(30)).await, "shop.cart", "an empty set replaces nothing");
    assert_eq!(at(Duration::from_mins(31)).await, UNKNOWN_YET);
}

#[tokio::test(start_paused = true)]
async fn before_the_keys_are_known_nobody_is_told_that_an_assertion_is_wrong() {
    let shop = Shop::open();
    shop.cluster.set(None);
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, UNKNOWN_YET);
    shop.cluster.set(Some(shop.key.jwks()));
    shop.pass(Duration::from_secs(10)).await;
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, "shop.cart");
}

#[tokio::test(start_paused = true)]
async fn where_pods_are_watched_a_deleted_ones_token_is_refused_at_once() {
    let pods = Pods::new(&Metrics::new());
    let shop = Shop::with_pods(Some(pods.clone()));
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, UNKNOWN_YET, "nobody knows the pods yet");
    let objects = Objects::Folder(FolderStore::in_memory(Clock::system()).unwrap());
    let live = shop.world.live.clone();
    drop(tokio::spawn(pods.follow(objects.clone(), live, Supervisor::new().shutdown())));
    let pod = json!({"metadata": {"name": "cart-7d9", "namespace": "shop"}, "spec": {"containers": []}});
    let pod: Pod = objects.create(&serde_json::from_value(pod).unwrap()).await.unwrap();
    let mut of_pod = claims("shop", "cart");
    of_pod["kubernetes.io"]["pod"]["uid"] = json!(pod.metadata.uid);
    assert_eq!(shop.gets(&of_pod, None).await, "shop.cart");
    assert_eq!(shop.gets(&claims("shop", "cart"), None).await, REFUSED, "of a pod there never was");
    let key = ObjectKey::namespaced("shop", "cart-7d9");
    objects.delete::<Pod>(&key, &Preconditions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(shop.gets(&of_pod, None).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn without_a_cluster_no_assertion_is_good() {
    let shop = Shop { world: World::new(), cluster: Arc::default(), key: Key::new("one") };
    shop.put("shop", "cart", &["cart"]);
    let answer = shop.ask(&shop.key.token(&claims("shop", "cart")), None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
