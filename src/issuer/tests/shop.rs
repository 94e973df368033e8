//! An issuer on a cluster whose ServiceAccounts are clients: the tests say what the API server answers and what pods present.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::client::Method;
use countersign_core::names::ObjectName;
use countersign_core::timings::Timings;
use countersign_core::token::{Algorithm, ClusterIssuer, PublicJwk};
use serde_json::{Value, json};

use super::around::Around;
use super::world::{Answer, BEGAN, ISSUER, World, basic, client_object, encode};
use crate::http::body::BodyLimits;
use crate::http::credentials::JWT_BEARER;
use crate::runtime::metrics::Metrics;
use crate::runtime::supervisor::Supervisor;
use crate::snapshot::cluster_keys::{ClusterKeys, DiscoveryError};
use crate::snapshot::pods::Pods;

pub(super) const CLUSTER: &str = "https://kubernetes.default.svc";

/// A key of the cluster's.
pub(super) struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

/// What the API server answers now, and how often it was asked.
#[derive(Default)]
pub(super) struct Cluster {
    /// The JWKS; none: it is away.
    keys: Mutex<Option<Vec<u8>>>,
    asked: AtomicUsize,
}

/// An issuer on that cluster, with the client `shop.cart` of the ServiceAccounts `cart` and `cart-jobs`.
pub(super) struct Shop {
    pub(super) world: World,
    pub(super) cluster: Arc<Cluster>,
    pub(super) key: Key,
    pub(super) metrics: Metrics,
}

impl Key {
    pub(super) fn new(id: &'static str) -> Self {
        Self { id, pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub(super) fn jwks(&self) -> Vec<u8> {
        let jwk = PublicJwk::from_public_key(Algorithm::ES256, self.pair.public_key().as_ref()).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(self.id);
        json!({"keys": [jwk]}).to_string().into_bytes()
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "ES256", "kid": self.id}), claims)
    }

    pub(super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The claims of a pod's token.
pub(super) fn claims(namespace: &str, account: &str) -> Value {
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

    pub(super) fn set(&self, keys: Option<Vec<u8>>) {
        *self.keys.lock().unwrap() = keys;
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Shop {
    /// Its issuer asks the cluster's keys in a task of its own, in tests whose time stands still.
    pub(super) fn open() -> Self {
        Self::with_pods(None)
    }

    pub(super) fn with_pods(pods: Option<Pods>) -> Self {
        let (key, cluster) = (Key::new("one"), Arc::new(Cluster::default()));
        let metrics = Metrics::new();
        let keys = ClusterKeys::new(Timings::default().offline_grace, &metrics);
        cluster.set(Some(key.jwks()));
        let world =
            World::with(BodyLimits::default(), Around { cluster_keys: Some(keys.clone()), pods, ..Around::default() });
        let asks = Arc::clone(&cluster);
        let (asked, shutdown) = (world.readiness.condition("cluster-keys"), Supervisor::new().shutdown());
        let follow = keys.keep(world.clock.clone(), asked, shutdown, move || std::future::ready(asks.answer()));
        drop(tokio::spawn(follow));
        let shop = Self { world, cluster, key, metrics };
        shop.put("shop", "cart", &["cart", "cart-jobs"]);
        shop
    }

    pub(super) fn put(&self, namespace: &str, client: &str, accounts: &[&str]) {
        self.world.put_client(client_object(namespace, client));
        let accounts: Vec<_> = accounts.iter().map(|name| ObjectName::new(name).unwrap()).collect();
        self.world.change_spec(&format!("{namespace}.{client}"), |spec| {
            spec.authentication = vec![Method::ServiceAccount(accounts)];
        });
    }

    pub(super) async fn ask(&self, assertion: &str, client_id: Option<&str>) -> Answer {
        self.ask_from("192.0.2.1", assertion, client_id).await
    }

    pub(super) async fn ask_from(&self, address: &str, assertion: &str, client_id: Option<&str>) -> Answer {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ];
        form.extend(client_id.map(|id| ("client_id", id)));
        let mut request = basic("/oauth2/token", ("", ""), encode(&form));
        request.headers_mut().remove(header::AUTHORIZATION);
        self.world.send(request, address).await
    }

    /// Whose token the pod of a ServiceAccount gets, or which error.
    pub(super) async fn gets(&self, claims: &Value, client_id: Option<&str>) -> String {
        who(&self.ask(&self.key.token(claims), client_id).await)
    }

    pub(super) async fn pass(&self, time: Duration) {
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
pub(super) fn who(answer: &Answer) -> String {
    let Some(token) = answer.body["access_token"].as_str() else { return format!("{:?}", answer.error()) };
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["client_id"].as_str().unwrap().to_owned()
}

pub(super) const REFUSED: &str = r#"(401, "invalid_client")"#;
pub(super) const UNKNOWN_YET: &str = r#"(503, "temporarily_unavailable")"#;
